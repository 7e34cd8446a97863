//! The live machine: processes and their memory, kernel signals, pprof endpoints; and what
//! is left of a process, a core file.
//!
//! Everything that touches the operating system unsafely is in this crate. Nothing
//! here changes a target but [`switch`] and [`snapshot`], which are asked for by name.

pub mod allocator;
pub mod bpf;
mod columns;
pub mod core;
pub mod doctor;
mod error;
pub mod events;
mod executable;
pub mod find;
mod graph;
pub mod http;
mod image;
mod kernel_file;
mod libraries;
mod live;
mod mapping;
mod memory;
pub mod names;
mod program;
pub mod resident;
mod scratch;
pub mod signals;
pub mod snapshot;
mod sockets;
pub mod switch;

pub use columns::ScratchColumns;
pub use error::{CaptureError, ErrorKind};
pub use find::{GoProcess, Readable};
pub use image::Image;
pub use live::{HeapCapture, LiveTarget, ProcessTarget, cpu_time, monotonic_nanos, now};
pub use memory::ProcessMemoryReader;
pub use program::Program;
pub use sockets::pprof_of;
