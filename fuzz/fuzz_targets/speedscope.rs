//! Files of speedscope.
#![no_main]

use libfuzzer_sys::fuzz_target;

const HEADS: &[&[u8]] = &[
    b"{\"shared\":{\"frames\":[{\"name\":\"m\"}]},\"profiles\":[",
    b"{\"profiles\":[{\"type\":\"evented\",\"unit\":\"bytes\",\"events\":[",
    b"{",
];

fuzz_target!(|data: &[u8]| memsight_fuzz::read_with_head(HEADS, data));
