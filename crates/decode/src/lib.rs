//! Foreign bytes to [`model`], one folder per format.
//!
//! Nothing here opens a file or reads a clock: callers pass bytes, or a
//! [`goruntime::Memory`] that reads another process. Input is never trusted:
//! every count is bounded by the bytes that are left, and nothing panics.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing))]

mod bytes;
mod places;

pub mod allocators;
pub mod buildinfo;
pub mod code;
pub mod compress;
pub mod disasm;
pub mod elf;
pub mod exposition;
mod foreign;
pub mod gctrace;
pub mod goheap;
pub mod goruntime;
pub mod gotext;
pub mod gotrace;
pub mod heapdump;
pub mod heapfile;
pub mod hprof;
pub mod legacy;
pub mod metricpage;
pub mod pclntab;
pub mod pprof;
pub mod procfs;
pub mod profile;
pub mod records;
pub mod resident;
pub mod symbols;
pub mod unwind;
pub mod usdt;
