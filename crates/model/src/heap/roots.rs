//! What holds objects from outside the heap.

use super::{ObjectId, TypeId};
use crate::strings::StrId;

/// Index into the graph's holders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HolderId(pub u32);

/// What a holder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum HolderKind {
    /// A variable of a package, or a static field.
    Global,
    /// A goroutine or thread: the parent of its variables.
    Goroutine,
    /// A variable in a frame.
    Local,
    /// A register of a thread.
    Register,
    /// A function set by runtime.SetFinalizer, and what its object points to.
    Finalizer,
    /// A function set by runtime.AddCleanup.
    Cleanup,
    /// The handle of weak pointers.
    WeakHandle,
    /// The runtime itself, or the virtual machine.
    Runtime,
    /// Code in another language.
    Native,
}

impl HolderKind {
    /// All kinds, in the order of [`HolderKind::code`].
    pub const ALL: [HolderKind; 9] = [
        HolderKind::Global,
        HolderKind::Goroutine,
        HolderKind::Local,
        HolderKind::Register,
        HolderKind::Finalizer,
        HolderKind::Cleanup,
        HolderKind::WeakHandle,
        HolderKind::Runtime,
        HolderKind::Native,
    ];

    /// A number that stays the same in files.
    pub fn code(self) -> u32 {
        HolderKind::ALL.iter().position(|kind| *kind == self).unwrap_or(0) as u32
    }

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            HolderKind::Global => "global",
            HolderKind::Goroutine => "goroutine",
            HolderKind::Local => "local",
            HolderKind::Register => "register",
            HolderKind::Finalizer => "finalizer",
            HolderKind::Cleanup => "cleanup",
            HolderKind::WeakHandle => "weak-handle",
            HolderKind::Runtime => "runtime",
            HolderKind::Native => "native",
        }
    }
}

/// Something outside the heap that holds objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// What it is.
    pub kind: HolderKind,
    /// `main.cache`, `goroutine 17`, `orders`.
    pub name: StrId,
    /// Where it is, for a local: `main.serve (server.go:42)`.
    pub place: StrId,
    /// The goroutine of a local; it comes earlier in the list.
    pub parent: Option<HolderId>,
    /// Index into the graph's goroutines.
    pub goroutine: Option<u32>,
    /// The variable's type.
    pub of: Option<TypeId>,
    /// Whether the collector itself only guesses that these are pointers.
    pub is_conservative: bool,
}

/// A pointer from a holder into the heap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RootPointer {
    /// Whose it is.
    pub holder: HolderId,
    /// Where in the holder it lies, in units of the graph's `slot_bytes`.
    pub slot: u32,
    /// What it points to.
    pub target: ObjectId,
}

/// A goroutine at the moment of the snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeapGoroutine {
    /// Its number.
    pub id: u64,
    /// `running`, `waiting`, ...
    pub state: String,
    /// Why it waits.
    pub wait_reason: String,
    /// Bytes of its stack.
    pub stack_bytes: u64,
    /// Its stack: index into the graph's stacks.
    pub stack: Option<u32>,
}
