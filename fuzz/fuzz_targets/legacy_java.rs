//! Heaps and contention of Java.
#![no_main]

use libfuzzer_sys::fuzz_target;

const HEADS: &[&[u8]] = &[
    b"--- heapz 1 ---\nformat = java\nresolution = bytes\n",
    b"--- contentionz 1 ---\nformat = java\nresolution = microseconds\n",
];

fuzz_target!(|data: &[u8]| memsight_fuzz::read_with_head(HEADS, data));
