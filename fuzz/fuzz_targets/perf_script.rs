//! The output of perf script.
#![no_main]

use libfuzzer_sys::fuzz_target;

const HEADS: &[&[u8]] = &[
    b"app 1/2 [000] 1.5: 9 cycles:\n\t7f1 malloc+0x1d (/lib/libc.so.6)\n",
    b"app 1 1.5: cycles: \n",
];

fuzz_target!(|data: &[u8]| memsight_fuzz::read_with_head(HEADS, data));
