//! Java heap dumps against the virtual machine's own histogram and against other readers.
//! A test whose peer cannot be had prints that it is skipped.

mod dominators;
mod peers;
mod reading;
