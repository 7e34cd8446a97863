//! Heap dumps of real programs against what their runtimes count and what other readers
//! see. A test whose peer cannot be had prints that it is skipped.

mod go;
mod peers;
mod reach;
mod reading;
mod writing;
