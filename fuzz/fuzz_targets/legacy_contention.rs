//! Contention of C++ and of Go.
#![no_main]

use libfuzzer_sys::fuzz_target;

const HEADS: &[&[u8]] = &[
    b"--- contentionz 1 ---\n",
    b"--- mutex:\n",
    b"--- contention:\ncycles/second = 1000\nsampling period = 10\n",
];

fuzz_target!(|data: &[u8]| memsight_fuzz::read_with_head(HEADS, data));
