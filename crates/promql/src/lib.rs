//! Prometheus's query language, its rule files and its templates, evaluated here.
//!
//! Pure: no files, no clock, no network. Series come from a [`Storage`], times from the caller.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing))]

mod error;
mod eval;
mod lang;
mod memory;
pub mod notation;
pub mod rules;
pub mod template;

pub use error::{Error, Place};
pub use eval::{Answer, InstantValue, Options, Query, SeriesData, Storage};
pub use lang::{MatchOp, Matcher, parse_matchers, parse_metric};
pub use memory::MemoryStorage;
