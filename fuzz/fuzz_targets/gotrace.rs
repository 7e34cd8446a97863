//! Execution traces: the first byte chooses the version, the rest is what follows the header.
//! Reading and every analysis end, within memory that follows the size.
#![no_main]

use analyze::trace::Analysis;
use analyze::trace::collections::Collector;
use analyze::trace::goroutines::Grouper;
use analyze::trace::lifetimes::{Options, Tracker};
use analyze::trace::profile::{Profiler, Wait};
use analyze::trace::summary::Summarizer;
use decode::gotrace::{Reader, Whole};
use libfuzzer_sys::fuzz_target;

const HEADS: [&[u8; 16]; 7] = [
    b"go 1.11 trace\0\0\0",
    b"go 1.19 trace\0\0\0",
    b"go 1.21 trace\0\0\0",
    b"go 1.22 trace\0\0\0",
    b"go 1.23 trace\0\0\0",
    b"go 1.25 trace\0\0\0",
    b"go 1.26 trace\0\0\0",
];

/// The worst are types of objects with two histograms each, by some fifteen bytes.
const BYTES_PER_BYTE: usize = 400;

fuzz_target!(|data: &[u8]| {
    let Some((choice, rest)) = data.split_first() else { return };
    let bytes = [HEADS[usize::from(*choice) % HEADS.len()].as_slice(), rest].concat();
    memsight_fuzz::bounded((1 << 20) + BYTES_PER_BYTE * bytes.len(), || read(&bytes));
});

fn read(bytes: &[u8]) {
    let Ok(mut reader) = Reader::new(bytes) else { return };
    let (mut summary, mut collections) = (Summarizer::default(), Collector::default());
    let mut goroutines = Grouper::default();
    let mut profile = Profiler::new(Wait::Scheduler);
    let mut lifetimes = Tracker::new(Options::default(), None);
    let mut last = i64::MIN;
    let error = loop {
        match reader.next() {
            Ok(Some(event)) => {
                // Where clocks have not run out, time goes on.
                assert!(event.time.0 > last || last == i64::MAX, "{event:?} after {last}");
                last = event.time.0;
                let tables = reader.tables();
                summary.event(&event, tables);
                collections.event(&event, tables);
                goroutines.event(&event, tables);
                profile.event(&event, tables);
                lifetimes.event(&event, tables);
            }
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
    };
    assert_eq!(reader.next(), Ok(None), "nothing comes after the end");
    if let Some(error) = error {
        assert!(error.offset() <= bytes.len() as u64, "{error}");
    }
    let _ = (summary.finish(), collections.finish(), goroutines.finish(), profile.finish());
    let _ = lifetimes.finish();
    let mut whole = Whole::default();
    whole.push(bytes);
    assert!(whole.len() <= bytes.len() as u64);
}
