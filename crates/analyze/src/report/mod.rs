//! Reports on profiles: top functions, callers and callees, call trees, sandwiches,
//! each of one profile or of the difference of two.
//!
//! [`Stacks`] brings one value column of a profile (and of a base) into a common
//! form: interned frames, and stacks root first. Every report is one pass over it.
//! Inlined calls are frames of their own, as in `go tool pprof`.

mod sandwich;
mod stacks;
mod table;
mod tree;

pub use sandwich::{Sandwich, sandwich};
pub use stacks::{Cell, FrameId, FrameName, FramePredicate, Row, Select, Stacks, UnknownColumn};
pub use table::{Edge, FunctionRow, functions, neighbours};
pub use tree::{CallTree, Node};

#[cfg(test)]
mod tests;
