//! Reports with the semantics of google/pprof: its options, the order of its
//! filters, its way to trim and sort, so that answers are equal byte for byte.
//!
//! [`report::Report::prepare`] takes a profile through the options; what comes out is
//! drawn by the formats of the render crate. Source for every rule: github.com/google/pprof,
//! internal/driver, internal/report, internal/graph and profile, as Go 1.26 vendors them.
//!
//! Work is done once for each distinct stack, not for each sample, and once for each
//! location, not for each frame.

pub mod config;
pub mod filter;
pub mod graph;
pub mod labels;
pub mod measure;
pub mod merge;
pub mod number;
pub mod paths;
pub mod regexp;
pub mod report;
mod stacks;
pub mod tagfilter;

pub use config::Config;
pub use regexp::Pattern;
pub use report::{Format, Report};
