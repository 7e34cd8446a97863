//! MemStats text and goroutine dumps.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = decode::gotext::memstats(text);
    let _ = decode::gotext::goroutines(text);
});
