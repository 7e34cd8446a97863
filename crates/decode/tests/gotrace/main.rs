//! Execution traces against Go's own reader of them: its test files, and traces recorded by
//! programs that each toolchain builds. A test without Go prints that it is skipped.

mod damage;
mod encode;
mod go;
mod goldens;
mod lines;
mod objects;
mod streams;

#[path = "../../../../fixtures/toolchains.rs"]
mod toolchains;
