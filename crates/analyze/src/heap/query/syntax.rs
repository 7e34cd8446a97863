//! A query once it is read.

use super::value::Value;

/// What is known of every object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Address,
    Type,
    Package,
    Kind,
    Bytes,
    Retained,
    RetainedObjects,
    Reachable,
    Depth,
    Dominator,
    DominatorType,
    Refs,
    Referrers,
    Root,
}

impl Column {
    pub(super) const ALL: [(&'static str, Column); 16] = [
        ("address", Column::Address),
        ("type", Column::Type),
        ("package", Column::Package),
        ("kind", Column::Kind),
        ("bytes", Column::Bytes),
        ("retained", Column::Retained),
        ("retained_bytes", Column::Retained),
        ("retained_objects", Column::RetainedObjects),
        ("reachable", Column::Reachable),
        ("depth", Column::Depth),
        ("dominator", Column::Dominator),
        ("dominator_type", Column::DominatorType),
        ("refs", Column::Refs),
        ("referrers", Column::Referrers),
        ("root", Column::Root),
        ("goroutine", Column::Root),
    ];

    /// Whether it is the same for all objects of a type.
    fn is_of_type(self) -> bool {
        matches!(self, Column::Type | Column::Package | Column::Kind)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expr {
    Literal(Value),
    Column(Column),
    /// A path of fields: index into the query's fields.
    Field(usize),
    Not(Box<Expr>),
    Negate(Box<Expr>),
    Binary(Operator, Box<Expr>, Box<Expr>),
    /// A pattern matches somewhere: index into the query's patterns.
    Matches(Box<Expr>, usize),
    IsNull(Box<Expr>),
    /// One of the query's aggregates.
    Aggregate(usize),
    /// One of the columns the query groups by.
    Key(usize),
    /// Depends on the type only: index of its results by type.
    OfType(Box<Expr>, usize),
}

impl Expr {
    /// Calls `visit` with the expression and everything in it until that returns false.
    pub(super) fn visit(&self, visit: &mut dyn FnMut(&Expr) -> bool) {
        if !visit(self) {
            return;
        }
        match self {
            Expr::Not(inner) | Expr::Negate(inner) | Expr::IsNull(inner) => inner.visit(visit),
            Expr::Matches(inner, _) | Expr::OfType(inner, _) => inner.visit(visit),
            Expr::Binary(_, left, right) => {
                left.visit(visit);
                right.visit(visit);
            }
            _ => {}
        }
    }

    /// The expression with `change` applied from the outside in; where that gives
    /// something it is not looked into any further.
    pub(super) fn map(self, change: &mut dyn FnMut(&Expr) -> Option<Expr>) -> Expr {
        if let Some(changed) = change(&self) {
            return changed;
        }
        match self {
            Expr::Not(inner) => Expr::Not(Box::new(inner.map(change))),
            Expr::Negate(inner) => Expr::Negate(Box::new(inner.map(change))),
            Expr::IsNull(inner) => Expr::IsNull(Box::new(inner.map(change))),
            Expr::Matches(inner, pattern) => Expr::Matches(Box::new(inner.map(change)), pattern),
            Expr::Binary(operator, left, right) => {
                let left = left.map(change);
                Expr::Binary(operator, Box::new(left), Box::new(right.map(change)))
            }
            other => other,
        }
    }

    /// Whether its value is the same for all objects of a type, and not cheaper by itself.
    pub(super) fn is_of_type(&self) -> bool {
        let (mut has_column, mut is_of_type) = (false, true);
        self.visit(&mut |part| {
            match part {
                Expr::Column(column) => {
                    has_column = true;
                    is_of_type &= column.is_of_type();
                }
                Expr::Field(_) | Expr::Aggregate(_) | Expr::Key(_) | Expr::OfType(..) => {
                    is_of_type = false;
                }
                _ => {}
            }
            true
        });
        has_column && is_of_type
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Summing {
    Count,
    Sum,
    Least,
    Most,
    Mean,
    /// What the objects of the group retain together.
    Retained,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Aggregate {
    pub(super) kind: Summing,
    /// `None` for all objects: `count(*)`.
    pub(super) argument: Option<Expr>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Item {
    pub(super) expr: Expr,
    pub(super) name: String,
    /// Where it stands, for errors.
    pub(super) at: usize,
}

/// A query.
#[derive(Clone, Debug, Default)]
pub(super) struct Syntax {
    pub(super) items: Vec<Item>,
    pub(super) filter: Option<Expr>,
    pub(super) group: Vec<Expr>,
    pub(super) having: Option<Expr>,
    /// What rows are sorted by, and whether the largest comes first.
    pub(super) order: Vec<(Expr, bool)>,
    pub(super) limit: Option<usize>,
    pub(super) aggregates: Vec<Aggregate>,
    pub(super) fields: Vec<Vec<String>>,
    pub(super) patterns: Vec<crate::pprof::regexp::Pattern>,
    /// How many expressions depend on the type only.
    pub(super) of_type: usize,
}

impl Syntax {
    pub(super) fn is_grouped(&self) -> bool {
        !self.group.is_empty() || !self.aggregates.is_empty()
    }

    /// Whether any part of the query needs a column.
    pub(super) fn uses(&self, column: Column) -> bool {
        let mut is_used = false;
        let arguments = self.aggregates.iter().filter_map(|aggregate| aggregate.argument.as_ref());
        let items = self.items.iter().map(|item| &item.expr);
        let order = self.order.iter().map(|(expr, _)| expr);
        let tail = self.filter.iter().chain(&self.group).chain(&self.having);
        for expr in items.chain(order).chain(arguments).chain(tail) {
            expr.visit(&mut |part| {
                is_used |= *part == Expr::Column(column);
                true
            });
        }
        is_used
    }
}
