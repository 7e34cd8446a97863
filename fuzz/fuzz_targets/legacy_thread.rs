//! Thread dumps.
#![no_main]

use libfuzzer_sys::fuzz_target;

const HEADS: &[&[u8]] = &[b"--- threadz 1 ---\n\n", b"--- Thread 7f0 (name: a/1) stack: ---\n"];

fuzz_target!(|data: &[u8]| memsight_fuzz::read_with_head(HEADS, data));
