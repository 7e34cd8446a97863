//! The tree of a query.

use super::functions::Function;
use super::matcher::Matcher;

/// An expression and where it starts.
#[derive(Clone, Debug)]
pub(crate) struct Expr {
    /// What it is.
    pub kind: Kind,
    /// Byte of the text it starts at.
    pub at: usize,
    /// Levels of expressions within.
    pub height: usize,
}

/// What an expression gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    /// A number.
    Scalar,
    /// A value per series.
    Vector,
    /// Values over time per series.
    Matrix,
    /// A text.
    Text,
}

impl Type {
    /// The words of Prometheus's documentation.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Type::Scalar => "scalar",
            Type::Vector => "instant vector",
            Type::Matrix => "range vector",
            Type::Text => "string",
        }
    }
}

/// Kinds of expressions.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// `1`, `0x1f`, `5m`, `Inf`.
    Number(f64),
    /// `"text"`.
    Text(String),
    /// `name{label="value"} offset 5m @ 10`.
    Selector(Selector),
    /// `name[5m]`.
    Matrix { selector: Selector, range: i64 },
    /// `expr[1h:1m]`.
    Subquery { id: usize, expr: Box<Expr>, range: i64, step: Option<i64>, moment: Moment },
    /// `rate(...)`.
    Call { function: &'static Function, args: Vec<Expr> },
    /// `sum by (a) (...)`.
    Aggregate {
        op: AggregateOp,
        expr: Box<Expr>,
        param: Option<Box<Expr>>,
        grouping: Vec<String>,
        without: bool,
    },
    /// `-expr`.
    Negate(Box<Expr>),
    /// `(expr)` and `+expr`.
    Paren(Box<Expr>),
    /// `a + on (b) c`.
    Binary { op: BinaryOp, lhs: Box<Expr>, rhs: Box<Expr>, matching: Matching },
}

/// Which series, and when.
#[derive(Clone, Debug)]
pub(crate) struct Selector {
    /// Number of this selector or subquery in its query.
    pub id: usize,
    /// What a series must have. The name, if given outside the braces, is the last.
    pub matchers: Vec<Matcher>,
    /// The name stands before the braces.
    pub is_named: bool,
    /// When.
    pub moment: Moment,
}

/// `offset` and `@`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Moment {
    /// Milliseconds back; negative is forward.
    pub offset: Option<i64>,
    /// A fixed time.
    pub at: Option<At>,
}

/// What follows `@`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum At {
    /// `start()`.
    Start,
    /// `end()`.
    End,
    /// Milliseconds since 1970.
    Time(i64),
}

/// Aggregation operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AggregateOp {
    Sum,
    Avg,
    Min,
    Max,
    Count,
    Group,
    Stddev,
    Stdvar,
    Topk,
    Bottomk,
    Limitk,
    Quantile,
    CountValues,
}

impl AggregateOp {
    /// Names and operators.
    pub(crate) const ALL: [(&'static str, AggregateOp); 13] = [
        ("sum", AggregateOp::Sum),
        ("avg", AggregateOp::Avg),
        ("min", AggregateOp::Min),
        ("max", AggregateOp::Max),
        ("count", AggregateOp::Count),
        ("group", AggregateOp::Group),
        ("stddev", AggregateOp::Stddev),
        ("stdvar", AggregateOp::Stdvar),
        ("topk", AggregateOp::Topk),
        ("bottomk", AggregateOp::Bottomk),
        ("limitk", AggregateOp::Limitk),
        ("quantile", AggregateOp::Quantile),
        ("count_values", AggregateOp::CountValues),
    ];

    /// What its parameter must be; `None` where it takes none.
    pub(crate) fn param(self) -> Option<Type> {
        match self {
            AggregateOp::Topk
            | AggregateOp::Bottomk
            | AggregateOp::Limitk
            | AggregateOp::Quantile => Some(Type::Scalar),
            AggregateOp::CountValues => Some(Type::Text),
            _ => None,
        }
    }
}

/// Binary operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BinaryOp {
    Or,
    And,
    Unless,
    Equal,
    NotEqual,
    LessOrEqual,
    Less,
    GreaterOrEqual,
    Greater,
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Atan2,
    Pow,
}

impl BinaryOp {
    /// How tightly it binds.
    pub(crate) fn precedence(self) -> u8 {
        match self {
            BinaryOp::Or => 1,
            BinaryOp::And | BinaryOp::Unless => 2,
            BinaryOp::Add | BinaryOp::Sub => 4,
            BinaryOp::Mul | BinaryOp::Div | BinaryOp::Mod | BinaryOp::Atan2 => 5,
            BinaryOp::Pow => 6,
            _ => 3,
        }
    }

    /// `and`, `or`, `unless`.
    pub(crate) fn is_set(self) -> bool {
        matches!(self, BinaryOp::Or | BinaryOp::And | BinaryOp::Unless)
    }

    /// `==`, `<` and the like.
    pub(crate) fn is_comparison(self) -> bool {
        self.precedence() == 3
    }

    /// As it is written.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            BinaryOp::Or => "or",
            BinaryOp::And => "and",
            BinaryOp::Unless => "unless",
            BinaryOp::Equal => "==",
            BinaryOp::NotEqual => "!=",
            BinaryOp::LessOrEqual => "<=",
            BinaryOp::Less => "<",
            BinaryOp::GreaterOrEqual => ">=",
            BinaryOp::Greater => ">",
            BinaryOp::Add => "+",
            BinaryOp::Sub => "-",
            BinaryOp::Mul => "*",
            BinaryOp::Div => "/",
            BinaryOp::Mod => "%",
            BinaryOp::Atan2 => "atan2",
            BinaryOp::Pow => "^",
        }
    }
}

/// How many series of each side may match.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Cardinality {
    #[default]
    OneToOne,
    /// `group_left`.
    ManyToOne,
    /// `group_right`.
    OneToMany,
}

/// How the sides of a binary operator are joined.
#[derive(Clone, Debug, Default)]
pub(crate) struct Matching {
    /// `bool`.
    pub is_bool: bool,
    /// `on (...)`; otherwise `ignoring (...)`.
    pub is_on: bool,
    /// The labels of that.
    pub labels: Vec<String>,
    /// `group_left` and `group_right`.
    pub cardinality: Cardinality,
    /// Labels these take from the "one" side.
    pub include: Vec<String>,
    /// Value of a series that is missing on the left.
    pub fill_left: Option<f64>,
    /// Value of a series that is missing on the right.
    pub fill_right: Option<f64>,
}

impl Expr {
    /// Of its parts.
    pub(crate) fn new(kind: Kind, at: usize) -> Expr {
        let within = match &kind {
            Kind::Number(_) | Kind::Text(_) | Kind::Selector(_) | Kind::Matrix { .. } => 0,
            Kind::Subquery { expr, .. } | Kind::Negate(expr) | Kind::Paren(expr) => expr.height,
            Kind::Call { args, .. } => args.iter().map(|arg| arg.height).max().unwrap_or(0),
            Kind::Aggregate { expr, param, .. } => {
                expr.height.max(param.as_ref().map_or(0, |param| param.height))
            }
            Kind::Binary { lhs, rhs, .. } => lhs.height.max(rhs.height),
        };
        Expr { kind, at, height: within + 1 }
    }

    /// What it gives.
    pub(crate) fn kind_of_result(&self) -> Type {
        match &self.kind {
            Kind::Number(_) => Type::Scalar,
            Kind::Text(_) => Type::Text,
            Kind::Selector(_) | Kind::Aggregate { .. } => Type::Vector,
            Kind::Matrix { .. } | Kind::Subquery { .. } => Type::Matrix,
            Kind::Call { function, .. } => function.result,
            Kind::Negate(inner) | Kind::Paren(inner) => inner.kind_of_result(),
            Kind::Binary { lhs, rhs, .. } => {
                let scalars = [lhs, rhs].iter().all(|e| e.kind_of_result() == Type::Scalar);
                if scalars { Type::Scalar } else { Type::Vector }
            }
        }
    }

    /// Without parentheses around it.
    pub(crate) fn bare(&self) -> &Expr {
        let mut expr = self;
        while let Kind::Paren(inner) = &expr.kind {
            expr = inner;
        }
        expr
    }

    /// Calls `f` on it and on all within.
    pub(crate) fn visit<'a>(&'a self, f: &mut dyn FnMut(&'a Expr)) {
        f(self);
        match &self.kind {
            Kind::Number(_) | Kind::Text(_) | Kind::Selector(_) | Kind::Matrix { .. } => {}
            Kind::Subquery { expr, .. } | Kind::Negate(expr) | Kind::Paren(expr) => expr.visit(f),
            Kind::Call { args, .. } => args.iter().for_each(|arg| arg.visit(f)),
            Kind::Aggregate { expr, param, .. } => {
                expr.visit(f);
                if let Some(param) = param {
                    param.visit(f);
                }
            }
            Kind::Binary { lhs, rhs, .. } => {
                lhs.visit(f);
                rhs.visit(f);
            }
        }
    }
}
