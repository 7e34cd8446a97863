//! runtime.MemStats as JSON (expvar) and as text, and what it says under the names of
//! runtime/metrics.
//!
//! Source: runtime/mstats.go (`readmemstats_m`), which fills MemStats from the figures that
//! runtime/metrics has. `Mallocs` and `Frees` both count tiny objects, so that only their
//! difference has a name.

use std::collections::BTreeMap;

use model::RuntimeMetrics;
use model::metrics::{MetricsSource, pause_quantiles};
use serde::Deserialize;
use serde_json::Value;

/// Metrics that are fields of MemStats.
const FIELDS: [(&str, &str); 13] = [
    ("/gc/cycles/forced:gc-cycles", "NumForcedGC"),
    ("/gc/cycles/total:gc-cycles", "NumGC"),
    ("/gc/heap/allocs:bytes", "TotalAlloc"),
    ("/gc/heap/goal:bytes", "NextGC"),
    ("/memory/classes/heap/objects:bytes", "HeapAlloc"),
    ("/memory/classes/heap/released:bytes", "HeapReleased"),
    ("/memory/classes/heap/stacks:bytes", "StackInuse"),
    ("/memory/classes/metadata/mcache/inuse:bytes", "MCacheInuse"),
    ("/memory/classes/metadata/mspan/inuse:bytes", "MSpanInuse"),
    ("/memory/classes/metadata/other:bytes", "GCSys"),
    ("/memory/classes/other:bytes", "OtherSys"),
    ("/memory/classes/profiling/buckets:bytes", "BuckHashSys"),
    ("/memory/classes/total:bytes", "Sys"),
];

/// Metrics that are differences of two fields.
const DIFFERENCES: [(&str, &str, &str); 8] = [
    ("/gc/cycles/automatic:gc-cycles", "NumGC", "NumForcedGC"),
    ("/gc/heap/frees:bytes", "TotalAlloc", "HeapAlloc"),
    ("/gc/heap/objects:objects", "Mallocs", "Frees"),
    ("/memory/classes/heap/free:bytes", "HeapIdle", "HeapReleased"),
    ("/memory/classes/heap/unused:bytes", "HeapInuse", "HeapAlloc"),
    ("/memory/classes/metadata/mcache/free:bytes", "MCacheSys", "MCacheInuse"),
    ("/memory/classes/metadata/mspan/free:bytes", "MSpanSys", "MSpanInuse"),
    ("/memory/classes/os-stacks:bytes", "StackSys", "StackInuse"),
];

/// Length of MemStats.PauseNs.
const PAUSES: u64 = 256;

/// Adds what MemStats says.
pub(super) fn add(metrics: &mut RuntimeMetrics, field: impl Fn(&str) -> Option<u64>) {
    for (name, source) in FIELDS {
        if let Some(value) = field(source) {
            metrics.push_unsigned(name, value);
        }
    }
    for (name, whole, part) in DIFFERENCES {
        // A negative difference is damage.
        let values = field(whole).zip(field(part));
        if let Some(value) = values.and_then(|(whole, part)| whole.checked_sub(part)) {
            metrics.push_unsigned(name, value);
        }
    }
}

fn add_pauses(metrics: &mut RuntimeMetrics, cycles: Option<u64>, ring: &[u64]) {
    let Some(cycles) = cycles.filter(|_| ring.len() as u64 == PAUSES) else { return };
    let mut pauses = ring.get(..cycles.min(PAUSES) as usize).unwrap_or_default().to_vec();
    metrics.collector.pause_quantiles_nanos = Some(pause_quantiles(&mut pauses));
}

/// Of `/debug/vars` only this is looked at; everything else is the program's own.
#[derive(Deserialize)]
struct Vars {
    memstats: BTreeMap<String, Value>,
}

/// Reads `/debug/vars`.
pub(super) fn expvar(page: &[u8]) -> Option<RuntimeMetrics> {
    let Vars { memstats } = serde_json::from_slice(page).ok()?;
    let field = |name: &str| memstats.get(name).and_then(Value::as_u64);
    let mut metrics = RuntimeMetrics { source: MetricsSource::Expvar, ..RuntimeMetrics::default() };
    add(&mut metrics, field);
    metrics.collector.last_gc_nanos = field("LastGC");
    metrics.collector.pause_total_nanos = field("PauseTotalNs");
    let ring = memstats.get("PauseNs").and_then(Value::as_array);
    let ring = ring.map(|ring| ring.iter().filter_map(Value::as_u64).collect::<Vec<u64>>());
    add_pauses(&mut metrics, field("NumGC"), &ring.unwrap_or_default());
    Some(metrics)
}

/// Reads what comes after the mark in `/debug/pprof/heap?debug=1`: `# HeapAlloc = 7`, and
/// `# Stack = 7 / 9` for two fields.
pub(super) fn heap_text(tail: &str) -> RuntimeMetrics {
    let mut fields = BTreeMap::new();
    let mut ring = Vec::new();
    for line in tail.lines() {
        let Some((name, value)) = line.strip_prefix("# ").and_then(|l| l.split_once(" = ")) else {
            continue;
        };
        let number = |text: &str| text.trim().parse::<u64>().ok();
        match value.split_once(" / ") {
            Some((in_use, system)) => {
                fields.insert(format!("{name}Inuse"), number(in_use));
                fields.insert(format!("{name}Sys"), number(system));
            }
            None if name == "PauseNs" => {
                let numbers = value.trim_matches(['[', ']']).split(' ');
                ring = numbers.take(PAUSES as usize).filter_map(number).collect();
            }
            None => _ = fields.insert(name.to_owned(), number(value)),
        }
    }
    let field = |name: &str| fields.get(name).copied().flatten();
    let mut metrics =
        RuntimeMetrics { source: MetricsSource::HeapText, ..RuntimeMetrics::default() };
    add(&mut metrics, field);
    metrics.collector.last_gc_nanos = field("LastGC");
    add_pauses(&mut metrics, field("NumGC"), &ring);
    metrics
}
