//! What runtime/debug.WriteHeapDump writes: all objects with their contents and pointers,
//! goroutines, globals.
//!
//! The format names no types, so objects are known by their sizes. It lacks cleanups, weak
//! handles and stack objects, and the globals of plugins. The runtime also writes objects
//! that do not exist, where spans keep bitmaps behind their last slot; they are left out.
//! Two passes over the bytes, 18 bytes an object beside the columns of the graph. Format:
//! runtime/heapdump.go, the same from Go 1.7 on.

mod graph;
mod wire;

pub use graph::read;
use model::heap::HeapGraph;

/// A dump.
#[derive(Clone, Debug, Default)]
pub struct HeapDump {
    /// Its objects.
    pub graph: HeapGraph<'static>,
    /// What the runtime counted.
    pub figures: Figures,
}

/// runtime.MemStats, as it was when the dump was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Mallocs: objects ever allocated.
    pub mallocs: u64,
    /// Frees: objects ever freed.
    pub frees: u64,
    /// HeapAlloc: bytes of allocated objects.
    pub heap_alloc_bytes: u64,
    /// HeapSys: bytes of heap memory had from the system.
    pub heap_sys_bytes: u64,
    /// HeapIdle: bytes of spans without objects.
    pub heap_idle_bytes: u64,
    /// HeapInuse: bytes of spans with objects.
    pub heap_in_use_bytes: u64,
    /// HeapReleased: bytes given back to the system.
    pub heap_released_bytes: u64,
    /// HeapObjects: allocated objects; tiny ones count each for itself.
    pub heap_objects: u64,
    /// StackInuse: bytes of stacks.
    pub stack_in_use_bytes: u64,
    /// Sys: bytes had from the system in all.
    pub sys_bytes: u64,
    /// NextGC: the size of heap at which the next collection ends.
    pub next_gc_bytes: u64,
    /// NumGC: finished collections.
    pub gc_count: u64,
}

/// Why a dump cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeapDumpError {
    /// The bytes begin otherwise.
    #[error("not a heap dump of Go: expected \"go1.7 heap dump\"")]
    NotHeapDump,
    /// Pointers of a size that Go does not have.
    #[error("damaged heap dump: pointers of {0} bytes, expected 4 or 8")]
    PointerSize(u64),
    /// There is no object in it.
    #[error("the heap dump holds no objects")]
    NoObjects,
    /// The graph has no numbers for so many.
    #[error("the dump has {0} objects, more than can be numbered")]
    TooManyObjects(u64),
}
