//! How long objects live, from a trace with GODEBUG=traceallocfree=1: every object that was
//! allocated and found dead, by type and by the function its goroutine started with.
//!
//! An object's lifetime ends when the sweeper frees it, which is some time after it became
//! garbage. It survived as many collections as began after it was allocated, less the one that
//! found it dead. Sizes are those of slots: what was asked for is not recorded.
//!
//! Memory goes with the objects that live (about 16 bytes a slot) and with types, not with
//! events. Source: runtime/traceallocfree.go, malloc.go and mgcsweep.go of Go 1.26.

mod functions;
mod slots;
mod survival;
#[cfg(test)]
mod tests;
mod tracker;
mod types;

pub use survival::{COLLECTION_CLASSES, Ends, TIME_CLASSES, time_class};
pub use tracker::{Options, Tracker};
pub use types::{BYTES_NAME, UNKNOWN_NAME};

/// Objects and the bytes of their slots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// How many.
    pub objects: u64,
    /// Bytes of their slots.
    pub bytes: u64,
}

impl Count {
    fn add(&mut self, bytes: u64) {
        self.objects += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// What became of all objects.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lifetimes {
    /// From the first event to the last.
    pub duration_nanos: u64,
    /// Collections that began, or were under way at the start.
    pub collections: u32,
    /// Counts that the runtime's own can be compared with.
    pub totals: Totals,
    /// How many objects have the name of a type.
    pub named: Named,
    /// Events that do not fit the others.
    pub unmatched: Unmatched,
    /// Figures of each type, those that allocate most bytes first.
    pub types: Vec<TypeLifetimes>,
    /// By the function that goroutines start with, those that allocate most bytes first.
    pub functions: Vec<FunctionLifetimes>,
}

impl Lifetimes {
    /// Whether the trace has events about objects at all.
    pub fn has_objects(&self) -> bool {
        self.totals != Totals::default()
    }
}

/// Counts of all objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// There when the trace began, dead ones that were not yet swept included.
    pub existed: Count,
    /// Slots taken since.
    pub allocated: Count,
    /// Allocations besides that found room in the slot of another tiny object. With
    /// `allocated` they are what MemStats.Mallocs grew by.
    pub packed: u64,
    /// Slots freed since. With `packed` they are what MemStats.Frees grew by, which counts
    /// tiny objects as freed at once.
    pub freed: Count,
    /// Slots in use now.
    pub living: Count,
}

/// How many objects have a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// Objects that were there at the start and have one by the trace itself.
    pub existed_by_trace: u64,
    /// Those that have one by the snapshot.
    pub existed_by_snapshot: u64,
    /// Objects of which both tell the type.
    pub compared: u64,
    /// Of these, those with another type in each: what came into the slot after the snapshot.
    pub differing: u64,
    /// Objects that were there at the start and live at the end.
    pub existed_living: u64,
    /// Of these, those that have one. Of what was garbage already, a snapshot tells little.
    pub existed_living_named: u64,
    /// Objects allocated since that have one.
    pub allocated: u64,
    /// Objects allocated since for which the runtime says no type: bytes without pointers.
    pub allocated_bytes: u64,
}

/// Events that do not fit the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unmatched {
    /// Frees of slots in which no object is known.
    pub frees: u64,
    /// Allocations and frees outside of known spans: the trace lacks its beginning.
    pub without_span: u64,
    /// Objects allocated in a slot before the free of the object before them, which came
    /// soon after: clocks of threads are not that exact. They are counted rightly.
    pub early: u64,
    /// Those whose free never came.
    pub early_unresolved: u64,
    /// Objects that were in a span when it was freed.
    pub lost_with_span: u64,
}

/// What became of the objects of a type.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TypeLifetimes {
    /// The type; `[]T` where the slot is larger than one T needs.
    pub name: String,
    /// There when the trace began.
    pub existed: Count,
    /// Of these, freed since.
    pub existed_freed: Count,
    /// Allocated since.
    pub allocated: Count,
    /// Allocated since in the slot of another tiny object; their lifetimes are not known.
    pub packed: u64,
    /// Of those allocated since, freed.
    pub freed: Count,
    /// Of these, freed by the first collection after their allocation.
    pub young: Count,
    /// Of these, freed within the time of [`Options::within_nanos`].
    pub within: Count,
    /// How many are known to have survived [`Options::gcs`] collections.
    pub survivors: u64,
    /// The estimated share that does; `None` when none was watched for so long.
    pub survival: Option<f64>,
    /// Lifetimes by classes of nanoseconds, see [`time_class`].
    pub by_time: Ends<TIME_CLASSES>,
    /// By how many collections they survived. The last collection, which may not have swept
    /// all, kills nobody here.
    pub by_collections: Ends<COLLECTION_CLASSES>,
}

impl TypeLifetimes {
    /// Objects that live at the end.
    pub fn living(&self) -> Count {
        let of = |all: fn(&Count) -> u64| {
            let gone = all(&self.existed_freed).saturating_add(all(&self.freed));
            all(&self.existed).saturating_add(all(&self.allocated)).saturating_sub(gone)
        };
        Count { objects: of(|count| count.objects), bytes: of(|count| count.bytes) }
    }
}

/// What goroutines that start with a function allocated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FunctionLifetimes {
    /// The function; empty when no event told.
    pub function: String,
    /// Allocated.
    pub allocated: Count,
    /// Of these, freed by the first collection after their allocation.
    pub young: Count,
    /// Of all, freed.
    pub freed: Count,
}

/// Where the name of an object's type is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Naming {
    Named,
    Bytes,
    Unknown,
}
