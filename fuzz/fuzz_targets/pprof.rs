//! profile.proto: what reads must write, and read again to the same bytes.
#![no_main]

use decode::pprof::{Options, goroutines, read, read_with, write_plain};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(parsed) = read_with(data, Options { inflated_bytes_max: 16 << 20 }) else { return };
    let written = write_plain(&parsed.profile);
    let again = read(&written).expect("what was written can be read");
    assert_eq!(write_plain(&again.profile), written);
    let _ = goroutines::from_profile(&parsed.profile);
});
