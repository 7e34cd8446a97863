//! The query language: text to a checked tree. No evaluation here.

mod ast;
mod check;
mod functions;
mod lex;
mod matcher;
mod parse;

pub(crate) use ast::{
    AggregateOp, At, BinaryOp, Cardinality, Expr, Kind, Matching, Moment, Selector, Type,
};
pub(crate) use lex::{number, unquote};
pub use matcher::{MatchOp, Matcher};
pub(crate) use parse::parse;
pub use parse::{parse_matchers, parse_metric};
