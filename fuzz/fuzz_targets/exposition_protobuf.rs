//! Pages for Prometheus as protocol buffers.
#![no_main]

use decode::exposition::{Classic, Pages};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut pages = Pages::default();
    for classic in [Classic::Too, Classic::Instead] {
        let page = pages.read_protobuf(bytes, classic, &mut Some);
        let points: usize = page.families.iter().map(|family| family.points.len()).sum();
        assert_eq!(points, page.samples);
    }
});
