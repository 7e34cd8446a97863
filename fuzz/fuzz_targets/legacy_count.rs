//! Counts as Go prints them with debug=1.
#![no_main]

use libfuzzer_sys::fuzz_target;

const HEADS: &[&[u8]] = &[
    b"goroutine profile: total 3\n",
    b"threadcreate profile: total 0\n",
    b"goroutine profile: total 1\n1 @ 0x401000\n#\t0x401000\tmain.f+0x1\t/x/main.go:3\n",
];

fuzz_target!(|data: &[u8]| memsight_fuzz::read_with_head(HEADS, data));
