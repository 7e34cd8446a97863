//! Probes in the kernel (eBPF): what only it sees, at next to no cost, of any process and without
//! touching it.
//!
//! Programs are C (`programs/`), committed beside their source as objects of a few kilobytes, so
//! that building needs no clang; a test proves that they match. They are attached to tracepoints by
//! the types of the kernel's BTF, which needs no tracefs, and to code of a process at the very file
//! it has mapped. Which processes are meant is decided in the kernel; every table there has a
//! bound, and what was not told is counted. When this process ends, in whatever way, the kernel
//! takes all of it out again.

mod alloc;
mod exec;
mod faults;
mod mmap;
mod multi;
mod native;
mod object;
mod oom;
mod record;
mod ring;
mod stacks;
mod support;
#[cfg(test)]
mod tests;
mod unwinding;
mod way;

pub use alloc::{AllocProbe, STACK_MAX};
pub use exec::ExecProbe;
pub use faults::FaultProbe;
pub use mmap::{Mapped, MmapProbe, mapped};
pub use native::{Allocator, Method, NativeProbe, Source};
pub use object::ProbeCost;
pub use oom::{OomEvent, OomProbe, VictimProfile};
pub use support::checks;
pub use way::way_cost;
