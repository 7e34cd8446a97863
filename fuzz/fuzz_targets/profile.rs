//! Every profile format: any bytes give a profile or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // Compressed ones have a target of their own, with its own bounds.
    if !data.starts_with(&[0x1f, 0x8b]) && !data.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        memsight_fuzz::read_profile(data);
    }
});
