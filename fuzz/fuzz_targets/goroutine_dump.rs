//! Goroutine dumps of debug=2 and of panics, as profiles.
#![no_main]

use libfuzzer_sys::fuzz_target;

const HEADS: &[&[u8]] = &[
    b"goroutine 1 [running]:\nmain.f(0x1)\n\t/x/main.go:12 +0x1d\n",
    b"goroutine 7 [chan receive, 5 minutes]:\n",
];

fuzz_target!(|data: &[u8]| memsight_fuzz::read_with_head(HEADS, data));
