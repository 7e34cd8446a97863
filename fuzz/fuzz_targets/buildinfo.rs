//! The .go.buildinfo section.
#![no_main]

use decode::buildinfo::BuildInfo;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Some(info) = BuildInfo::from_section(data) {
        let _ = (info.go_version(), info.setting("vcs.revision"));
    }
});
