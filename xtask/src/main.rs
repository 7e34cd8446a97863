//! Repository chores: `cargo xtask tidy`, `cargo xtask corpus`, `cargo xtask ci`.
fn main() {}
