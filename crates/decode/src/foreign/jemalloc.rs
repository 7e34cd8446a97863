//! jemalloc's heap dumps (`heap_v2/RATE`), scaled from what was sampled to what there was.

use model::Profile;

use crate::legacy::JemallocSink;

/// Reads a dump.
pub(super) fn read(text: &str) -> Result<(Profile, Vec<String>), String> {
    let mut lines = text.lines();
    let first = lines.next().unwrap_or("");
    let rate = first.strip_prefix("heap_v2/").and_then(|rate| rate.trim().parse().ok());
    let mut sink = JemallocSink::new(rate.ok_or("heap_v2: the sampling rate is missing")?);
    let mut stack: Option<&str> = None;
    let mut bad = 0_u64;
    let mut maps = Vec::new();
    while let Some(line) = lines.next() {
        let line = line.trim();
        if line.starts_with("MAPPED_LIBRARIES:") {
            maps.extend(lines.by_ref());
        } else if let Some(addresses) = line.strip_prefix('@') {
            stack = Some(addresses);
        } else if let (Some(counts), Some(addresses)) = (line.strip_prefix("t*:"), stack) {
            // One line for all threads, then one for each; before the first stack, totals.
            let known = numbers(counts).and_then(|counts| sink.push(addresses, counts));
            bad += u64::from(known.is_none());
        }
    }
    let mut warnings = Vec::new();
    if bad > 0 {
        warnings.push(format!("{bad} stacks of the jemalloc dump were not understood"));
    }
    Ok((sink.finish(&maps), warnings))
}

/// `1: 64 [2: 128]`.
fn numbers(text: &str) -> Option<[i64; 4]> {
    let mut numbers = text
        .split([':', '[', ']', ' '])
        .filter(|word| !word.is_empty())
        .map(|word| word.parse::<i64>().ok());
    let mut next = || numbers.next()?;
    Some([next()?, next()?, next()?, next()?])
}
