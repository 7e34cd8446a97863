//! A small query language over the objects of a heap.
//!
//! ```text
//! select type, count(*), sum(bytes), retained(*) from objects
//! where type ~ "^main\\." and bytes > 1k group by type order by 3 desc limit 20
//! ```
//!
//! Columns: `address`, `type`, `package`, `kind`, `bytes`, `retained`, `retained_objects`,
//! `reachable`, `depth` (pointers from the nearest root), `dominator`, `dominator_type`,
//! `refs` (pointers it has), `referrers` (pointers to it), `root` (the nearest, also
//! `goroutine`); `.field.inner` is a field: the address it points to, or what it holds
//! where the snapshot kept contents. Operators: `and or not = != < <= > >= ~ !~ in`,
//! `is null`, `+ - * / %`. Sums: `count sum min max avg`, and `retained(*)`, what the
//! objects of a group retain together; `sum(retained)` counts what is held by several of
//! them several times. Unknown values are null and pass no filter. Sizes: `64k`, `1.5M`.

mod evaluate;
mod lexer;
mod parser;
mod source;
mod syntax;
mod value;

use model::heap::HeapGraph;

use super::Dominators;
use syntax::{Expr, Syntax};

pub use value::Value;

/// Why a query is refused, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryError {
    /// The byte of the query it is about.
    pub at: usize,
    /// What is wrong.
    pub what: String,
}

impl QueryError {
    fn new(at: usize, what: impl Into<String>) -> QueryError {
        QueryError { at, what: what.into() }
    }

    /// The error with the query's line and a mark below the place.
    pub fn shown_in(&self, query: &str) -> String {
        let before = query.get(..self.at).unwrap_or(query);
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = query.get(start..).and_then(|rest| rest.lines().next()).unwrap_or("");
        let column = before.get(start..).map_or(0, |text| text.chars().count());
        format!("{self}\n  {line}\n  {:column$}^", "")
    }
}

impl std::fmt::Display for QueryError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "query, column {}: {}", self.at + 1, self.what)
    }
}

impl std::error::Error for QueryError {}

/// How large answers may get.
#[derive(Clone, Copy, Debug)]
pub struct QueryOptions {
    /// Rows of an answer, whatever the query's own limit.
    pub rows_max: usize,
    /// Groups before the query is given up.
    pub groups_max: usize,
}

impl Default for QueryOptions {
    fn default() -> QueryOptions {
        QueryOptions { rows_max: 100_000, groups_max: 1_000_000 }
    }
}

/// The rows of an answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// What the columns are called.
    pub names: Vec<String>,
    /// The values, one a column.
    pub rows: Vec<Vec<Value>>,
    /// Whether there were more rows than the options allow.
    pub is_cut: bool,
}

/// Answers a query.
///
/// # Errors
/// When the query cannot be read, or has more groups than the options allow.
pub fn query(
    graph: &HeapGraph<'_>,
    dominators: &Dominators,
    text: &str,
    options: &QueryOptions,
) -> Result<Answer, QueryError> {
    let mut query = parser::parse(text)?;
    if query.is_grouped() {
        check_grouping(&mut query)?;
    } else if query.having.is_some() {
        return Err(QueryError::new(0, "`having` needs groups; `where` chooses objects"));
    }
    keep_results_by_type(&mut query);
    evaluate::run(graph, dominators, &query, options)
}

/// In a grouped query whatever is not summed must be one of the columns grouped by.
fn check_grouping(query: &mut Syntax) -> Result<(), QueryError> {
    let group = query.group.clone();
    let mut to_key =
        |expr: Expr| expr.map(&mut |part| group.iter().position(|key| key == part).map(Expr::Key));
    let is_settled = |expr: &Expr| {
        let mut is_settled = true;
        expr.visit(&mut |part| {
            is_settled &= !matches!(part, Expr::Column(_) | Expr::Field(_));
            true
        });
        is_settled
    };
    for item in &mut query.items {
        item.expr = to_key(item.expr.clone());
        if !is_settled(&item.expr) {
            let what = format!("`{}` is neither grouped by nor summed up", item.name);
            return Err(QueryError::new(item.at, what));
        }
    }
    query.having = query.having.take().map(&mut to_key);
    query.order = query.order.drain(..).map(|(expr, down)| (to_key(expr), down)).collect();
    let mut rest = query.having.iter().chain(query.order.iter().map(|(expr, _)| expr));
    if !rest.all(is_settled) {
        let what = "`having` and `order by` need columns that are grouped by or summed up";
        return Err(QueryError::new(0, what));
    }
    Ok(())
}

/// Marks what depends on the type only: it is worked out once for each type, not for each
/// of its objects.
fn keep_results_by_type(query: &mut Syntax) {
    let mut count = 0;
    let mut mark = |expr: Expr| {
        expr.map(&mut |part| {
            part.is_of_type().then(|| {
                count += 1;
                Expr::OfType(Box::new(part.clone()), count - 1)
            })
        })
    };
    query.filter = query.filter.take().map(&mut mark);
    query.group = query.group.drain(..).map(&mut mark).collect();
    query.of_type = count;
}
