//! Lists of targets that files and servers give.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = agent::scrape::parse_targets(text);
});
