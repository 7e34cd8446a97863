//! profile.proto: what reads must write, and read again to the same bytes from the second
//! time on. The first may differ: a label whose text is an empty string other than the
//! table's first is one that Go keeps when reading and loses when writing.
#![no_main]

use decode::pprof::{Options, goroutines, read, read_with, write_plain};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(parsed) = read_with(data, Options { inflated_bytes_max: 16 << 20 }) else { return };
    let rewrite = |bytes: &[u8]| {
        write_plain(&read(bytes).expect("what was written can be read").profile)
    };
    let written = rewrite(&write_plain(&parsed.profile));
    assert_eq!(rewrite(&written), written);
    let _ = goroutines::from_profile(&parsed.profile);
});
