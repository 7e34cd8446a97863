//! gzip and zstd, damaged, cut, nested, and such that inflate to much.
#![no_main]

use libfuzzer_sys::fuzz_target;
use memsight_fuzz::{BYTES_PER_BYTE, bounded};

const HEADS: [&[u8]; 3] = [b"\x1f\x8b\x08\0\0\0\0\0\0\xff", b"\x28\xb5\x2f\xfd", b""];

fuzz_target!(|data: &[u8]| {
    let Some((choice, rest)) = data.split_first() else { return };
    let bytes = [HEADS[usize::from(*choice) % HEADS.len()], rest].concat();
    let inflated_max = decode::compress::inflated_bytes_max(bytes.len() as u64) as usize;
    let _ = bounded(BYTES_PER_BYTE * inflated_max, || decode::profile::read(&bytes[..]));
});
