//! memsight command line.
fn main() {}
