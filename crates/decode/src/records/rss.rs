//! What the resident memory of a process consists of. Mappings are left out: a program may
//! have tens of thousands.

use std::collections::BTreeMap;

use model::Timestamp;
use model::rss::{HugePages, Rss, RssBytes, RssClass, RssKind, RssStacks};
use serde::{Deserialize, Serialize};

use super::{RecordError, pack, unpack};

#[derive(Serialize, Deserialize)]
struct Record {
    time_ms: i64,
    /// By the kind's word: resident bytes, and of these in huge pages.
    kinds: BTreeMap<String, (u64, u64)>,
    /// By name; what is unknown is not there.
    figures: BTreeMap<String, i64>,
    classes: Vec<Class>,
    stacks: Option<Stacks>,
    huge_pages: Huge,
    has_runtime: bool,
    warnings: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Class(#[serde(with = "ClassFields")] RssClass);

#[derive(Serialize, Deserialize)]
struct Stacks(#[serde(with = "StacksFields")] RssStacks);

#[derive(Serialize, Deserialize)]
struct Huge(#[serde(with = "HugeFields")] HugePages);

#[derive(Serialize, Deserialize)]
#[serde(remote = "RssClass")]
struct ClassFields {
    slot_bytes: Option<u64>,
    is_noscan: bool,
    spans: u64,
    span_bytes: u64,
    marked_bytes: u64,
    new_bytes: u64,
    dead_bytes: u64,
    free_bytes: u64,
    tail_bytes: u64,
    slots: u64,
    objects: u64,
    sparse_spans: u64,
    sparse_bytes: u64,
    sparse_objects: u64,
    room: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "RssStacks")]
struct StacksFields {
    goroutines: u64,
    bytes: u64,
    largest_bytes: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "HugePages")]
struct HugeFields {
    enabled: String,
    max_ptes_none: Option<u64>,
}

/// A figure that is a number or unknown.
struct Figure {
    name: &'static str,
    get: fn(&Rss) -> Option<i64>,
    set: fn(&mut Rss, i64),
}

/// One list for both ways: numbers, and numbers that may be unknown.
macro_rules! figures {
    ($($known:ident),*; $($name:ident = $($part:ident).+),* $(,)?) => {
        &[
            $(Figure {
                name: stringify!($known),
                get: |rss| i64::try_from(rss.$known).ok(),
                set: |rss, value| rss.$known = value.try_into().unwrap_or_default(),
            },)*
            $(Figure {
                name: stringify!($name),
                get: |rss| rss.$($part).+.and_then(|value| i64::try_from(value).ok()),
                set: |rss, value| rss.$($part).+ = value.try_into().ok(),
            }),*
        ]
    };
}

const FIGURES: &[Figure] = figures![
    released_bytes, malloc_arenas, threads, smaps_bytes, lazy_free_bytes, cost_micros;
    status_rss_bytes = process.rss_bytes,
    pss_bytes = process.pss_bytes,
    swap_bytes = process.swap_bytes,
    page_table_bytes = process.page_table_bytes,
    cgroup_usage_bytes = cgroup.usage_bytes,
    cgroup_limit_bytes = cgroup.limit_bytes,
    cgroup_page_cache_bytes = cgroup.file_bytes,
    cgroup_kernel_bytes = cgroup.kernel_bytes,
    cgroup_slab_bytes = cgroup.slab_bytes,
    cgroup_sock_bytes = cgroup.sock_bytes,
    cgroup_kernel_stack_bytes = cgroup.kernel_stack_bytes,
    cgroup_page_table_bytes = cgroup.page_table_bytes,
    heap_live_bytes = runtime.heap_live_bytes,
    heap_in_use_bytes = runtime.heap_in_use_bytes,
    heap_idle_bytes = runtime.heap_idle_bytes,
    heap_released_bytes = runtime.heap_released_bytes,
    heap_alloc_bytes = runtime.heap_alloc_bytes,
    heap_goal_bytes = runtime.heap_goal_bytes,
    stacks_bytes = runtime.stacks_bytes,
    metadata_bytes = runtime.metadata_bytes,
    sys_bytes = runtime.sys_bytes,
    gc_cycles = runtime.gc_cycles,
    gogc_percent = runtime.gogc_percent,
    gomemlimit_bytes = runtime.gomemlimit_bytes,
    goroutines = runtime.goroutines,
];

/// `{"time_ms", "kinds": {KIND: [bytes, huge bytes]}, "figures": {...}, "classes": [...], ...}`.
pub fn write_rss(rss: &Rss) -> Vec<u8> {
    let kinds = RssKind::all().filter(|kind| rss.tally.of(*kind).bytes > 0).map(|kind| {
        let RssBytes { bytes, huge_bytes } = rss.tally.of(kind);
        (kind.as_str().to_owned(), (bytes, huge_bytes))
    });
    let figures = FIGURES.iter().filter_map(|it| Some((it.name.to_owned(), (it.get)(rss)?)));
    let record = Record {
        time_ms: rss.time.0,
        kinds: kinds.collect(),
        figures: figures.collect(),
        classes: rss.classes.iter().copied().map(Class).collect(),
        stacks: rss.stacks.map(Stacks),
        huge_pages: Huge(rss.huge_pages.clone()),
        has_runtime: rss.has_runtime,
        warnings: rss.warnings.clone(),
    };
    // Maps with keys that are texts, and numbers: that always is JSON.
    pack(&serde_json::to_value(record).unwrap_or_default())
}

/// Reads what [`write_rss`] wrote.
///
/// # Errors
/// When the bytes are something else. Kinds that are unknown here count as unattributed.
pub fn read_rss(bytes: &[u8]) -> Result<Rss, RecordError> {
    let record: Record = serde_json::from_value(unpack(bytes)?)?;
    let mut rss = Rss {
        time: Timestamp(record.time_ms),
        classes: record.classes.into_iter().map(|class| class.0).collect(),
        stacks: record.stacks.map(|stacks| stacks.0),
        huge_pages: record.huge_pages.0,
        has_runtime: record.has_runtime,
        warnings: record.warnings,
        ..Rss::default()
    };
    for (word, (bytes, huge_bytes)) in record.kinds {
        let kind = RssKind::all().find(|kind| kind.as_str() == word);
        rss.tally.add(kind.unwrap_or(RssKind::Unattributed), RssBytes { bytes, huge_bytes });
    }
    for figure in FIGURES {
        if let Some(value) = record.figures.get(figure.name) {
            (figure.set)(&mut rss, *value);
        }
    }
    Ok(rss)
}

#[cfg(test)]
mod tests {
    use model::Timestamp;
    use model::rss::{Rss, RssBytes, RssClass, RssKind, RssStacks};

    use super::{read_rss, write_rss};

    #[test]
    fn what_is_written_is_read() {
        let mut rss = Rss { time: Timestamp(7), threads: 9, has_runtime: true, ..Rss::default() };
        rss.tally.add(RssKind::HeapMarked, RssBytes { bytes: 1 << 40, huge_bytes: 1 << 21 });
        rss.tally.add(RssKind::Unattributed, RssBytes { bytes: 5, huge_bytes: 0 });
        rss.classes.push(RssClass {
            slot_bytes: Some(48),
            spans: 3,
            room: 2,
            ..RssClass::default()
        });
        rss.stacks = Some(RssStacks { goroutines: 4, bytes: 8192, largest_bytes: 4096 });
        rss.runtime.gogc_percent = Some(-1);
        rss.runtime.gomemlimit_bytes = Some(i64::MAX);
        rss.process.rss_bytes = Some(123);
        rss.cgroup.slab_bytes = Some(1);
        rss.huge_pages.enabled = "madvise".to_owned();
        rss.warnings.push("it runs".to_owned());
        assert_eq!(read_rss(&write_rss(&rss)).unwrap(), rss);
    }

    #[test]
    fn other_bytes_are_errors() {
        assert!(read_rss(b"").is_err());
        assert!(read_rss(&super::pack(&serde_json::json!({ "time_ms": 1 }))).is_err());
    }
}
