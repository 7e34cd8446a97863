//! The command line on real programs, against tools that are not ours.

mod errors;
mod foreign;
mod gctrace;
mod heap;
mod heap_pages;
mod lifetimes;
mod metrics;
mod namespaces;
mod outputs;
mod pages;
mod planted;
mod planted_waste;
mod pprof;
mod profiles;
mod record;
mod remote;
mod retained;
mod rss;
mod serve;
mod support;
mod trace;
mod trace_export;
mod trace_mmu;
mod trace_tasks;
mod trace_timeline;

#[path = "../../../../fixtures/toolchains.rs"]
mod toolchains;
