//! Pages with metrics: expvar, heap profiles as text, Prometheus.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|page: &[u8]| {
    let _ = decode::metricpage::read(page);
});
