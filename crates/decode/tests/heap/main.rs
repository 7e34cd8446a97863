//! Heap dumps of real programs against what their runtimes count and what other readers
//! see. A test whose peer cannot be had prints that it is skipped.

mod dominators;
mod go;
mod peers;
mod reading;
mod writing;
