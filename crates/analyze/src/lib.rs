//! Pure algorithms on [`model`] data: statistics, growth of allocation sites and
//! goroutines, memory levels, forecasts, the verdict that joins them, and what keeps the
//! objects of a heap alive.
//!
//! Nothing here opens a file, reads a clock or prints.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing))]

pub mod code;
pub mod diagnose;
pub mod families;
pub mod faults;
pub mod forecast;
pub mod frames;
pub mod gctrace;
pub mod goroutines;
pub mod growth;
pub mod heap;
pub mod layout;
pub mod level;
pub mod lives;
pub mod mappings;
pub mod metrics;
pub mod names;
pub mod outstanding;
pub mod pprof;
pub mod readings;
pub mod report;
pub mod rss;
pub mod samples;
pub mod stats;
pub mod trace;
