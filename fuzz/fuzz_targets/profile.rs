//! Every profile format: any bytes give a profile or an error; what is read can be
//! written and read again.
#![no_main]

use decode::pprof::write_plain;
use decode::profile::read;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(parsed) = read(data) else { return };
    let written = write_plain(&parsed.profile);
    let again = decode::pprof::read(&written).expect("what was written can be read");
    assert_eq!(again.profile.samples.len(), parsed.profile.samples.len());
});
