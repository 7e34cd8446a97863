//! Reports on profiles: top functions, callers and callees, call trees, sandwiches,
//! each of one profile or of the difference of two.
//!
//! [`Stacks`] brings one value column of a profile (and of a base) into a common
//! form: interned frames, and stacks root first. Every report is one pass over it.
//! Inlined calls are frames of their own, as in `go tool pprof`. [`Stacks::read`]
//! makes them easier to read for people who write Go.

mod noise;
mod path_id;
mod reading;
mod sandwich;
mod stacks;
mod table;
mod tree;

pub use noise::Noise;
pub use path_id::PathId;
pub use reading::{Notes, Reading, TRUNCATED};
pub use sandwich::{Sandwich, sandwich};
pub use stacks::{Cell, FrameId, FrameName, FramePredicate, Row, Select, Stacks, UnknownColumn};
pub use table::{Edge, FunctionRow, functions, neighbours};
pub use tree::{CallTree, Direction, Node};

#[cfg(test)]
mod tests;
