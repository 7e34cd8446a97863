//! Pages for Prometheus in both formats; what was read is written and read again. And pages one
//! after the other, each of which is read as it is alone.
#![no_main]

use libfuzzer_sys::fuzz_target;
use model::series::Exposition;
use render::exposition::{Style, page};

fuzz_target!(|bytes: &[u8]| {
    for format in [Exposition::Text, Exposition::OpenMetrics] {
        let read = decode::exposition::read(bytes, format);
        let style = Style { format: Exposition::OpenMetrics, with_created: true };
        let written = page(&read.families, style);
        let again = decode::exposition::read(written.as_bytes(), Exposition::OpenMetrics);
        assert_eq!(again.samples, read.samples, "{written}");
        let mut pages = decode::exposition::Pages::default();
        for page in bytes.split(|byte| *byte == 0) {
            let alone = decode::exposition::read(page, format);
            let in_row = pages.read(page.to_vec(), format, &mut Some);
            // NaN is unlike itself.
            let families = [&in_row.families, &alone.families].map(|all| format!("{all:?}"));
            assert_eq!(families[0], families[1]);
            assert_eq!((in_row.samples, in_row.warnings), (alone.samples, alone.warnings));
        }
    }
});
