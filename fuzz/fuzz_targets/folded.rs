//! Folded stacks.
#![no_main]

use libfuzzer_sys::fuzz_target;

const HEADS: &[&[u8]] = &[b"main;a;b 12\n", b"a 1\n"];

fuzz_target!(|data: &[u8]| memsight_fuzz::read_with_head(HEADS, data));
