//! The command line on real programs, against tools that are not ours.

mod agent;
mod at_work;
mod errors;
mod foreign;
mod forward;
mod gctrace;
mod generate;
mod heap;
mod heap_pages;
mod lifetimes;
mod metrics;
mod namespaces;
mod native_growth;
mod oom;
mod outputs;
mod package;
mod pages;
mod planted;
mod planted_waste;
mod pprof;
mod probe;
mod probe_ends;
mod probe_native;
mod processes;
mod profiles;
mod record;
mod remote;
mod retained;
mod rss;
mod rules;
mod serve;
mod support;
mod told;
mod touched;
mod trace;
mod trace_export;
mod trace_mmu;
mod trace_tasks;
mod trace_timeline;

#[path = "../../../../fixtures/toolchains.rs"]
mod toolchains;

#[path = "../../../../fixtures/climber.rs"]
mod climber;

#[path = "../../../../fixtures/receivers.rs"]
mod receivers;
