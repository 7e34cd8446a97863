//! Heap dumps of jemalloc.
#![no_main]

use libfuzzer_sys::fuzz_target;

const HEADS: &[&[u8]] =
    &[b"heap_v2/1024\n", b"heap_v2/1\n@ 0x1001 0x2001\n  t*: 2: 200 [0: 0]\nMAPPED_LIBRARIES:\n"];

fuzz_target!(|data: &[u8]| memsight_fuzz::read_with_head(HEADS, data));
