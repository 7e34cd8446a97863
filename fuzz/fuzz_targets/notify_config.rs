//! Configurations of alerts: read and checked; nothing is started.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|yaml: &str| {
    if let Ok(config) = serde_saphyr::from_str::<notify::Config>(yaml) {
        let _ = config.check();
    }
});
