//! Which metrics there are: names, kinds and releases as Go's `metrics.All` has them from
//! Go 1.21 to 1.27, without the counters of /godebug, which is another list in each release.

use super::MetricKind::{Float, Histogram, Unsigned};
use super::{Metric, MetricKind};

/// Whether values only grow.
#[derive(Clone, Copy)]
enum Growth {
    Cumulative,
    Instant,
}

use Growth::{Cumulative, Instant};

const fn row(
    name: &'static str,
    since: u16,
    kind: MetricKind,
    growth: Growth,
    meaning: &'static str,
) -> Metric {
    Metric { name, since, kind, is_cumulative: matches!(growth, Cumulative), meaning }
}

/// The metric of this name.
pub fn metric(name: &str) -> Option<&'static Metric> {
    let index = METRICS.binary_search_by_key(&name, |metric| metric.name).ok()?;
    METRICS.get(index)
}

/// All metrics, by name.
#[rustfmt::skip]
pub static METRICS: [Metric; 66] = [
    row("/cgo/go-to-c-calls:calls", 21, Unsigned, Cumulative, "calls from Go to C"),
    row("/cpu/classes/gc/mark/assist:cpu-seconds", 21, Float, Cumulative, "marking by goroutines that allocate"),
    row("/cpu/classes/gc/mark/dedicated:cpu-seconds", 21, Float, Cumulative, "marking by processors set aside for it"),
    row("/cpu/classes/gc/mark/idle:cpu-seconds", 21, Float, Cumulative, "marking by processors that had nothing else to do"),
    row("/cpu/classes/gc/pause:cpu-seconds", 21, Float, Cumulative, "stopped for collection, times GOMAXPROCS"),
    row("/cpu/classes/gc/total:cpu-seconds", 21, Float, Cumulative, "all of collection"),
    row("/cpu/classes/idle:cpu-seconds", 21, Float, Cumulative, "processors without work"),
    row("/cpu/classes/scavenge/assist:cpu-seconds", 21, Float, Cumulative, "giving memory back under pressure of the limit"),
    row("/cpu/classes/scavenge/background:cpu-seconds", 21, Float, Cumulative, "giving memory back in the background"),
    row("/cpu/classes/scavenge/total:cpu-seconds", 21, Float, Cumulative, "all of giving memory back"),
    row("/cpu/classes/total:cpu-seconds", 21, Float, Cumulative, "GOMAXPROCS times the time since the start"),
    row("/cpu/classes/user:cpu-seconds", 21, Float, Cumulative, "everything that is none of the others"),
    row("/gc/cleanups/executed:cleanups", 26, Unsigned, Cumulative, "functions of runtime.AddCleanup that ran"),
    row("/gc/cleanups/queued:cleanups", 26, Unsigned, Cumulative, "functions of runtime.AddCleanup that became due"),
    row("/gc/cycles/automatic:gc-cycles", 21, Unsigned, Cumulative, "completed cycles that the runtime began"),
    row("/gc/cycles/forced:gc-cycles", 21, Unsigned, Cumulative, "completed cycles that the program asked for"),
    row("/gc/cycles/total:gc-cycles", 21, Unsigned, Cumulative, "completed cycles"),
    row("/gc/finalizers/executed:finalizers", 26, Unsigned, Cumulative, "finalizers that ran"),
    row("/gc/finalizers/queued:finalizers", 26, Unsigned, Cumulative, "finalizers that became due"),
    row("/gc/gogc:percent", 21, Unsigned, Instant, "GOGC"),
    row("/gc/gomemlimit:bytes", 21, Unsigned, Instant, "GOMEMLIMIT"),
    row("/gc/heap/allocs-by-size:bytes", 21, Histogram, Cumulative, "allocated objects by size"),
    row("/gc/heap/allocs:bytes", 21, Unsigned, Cumulative, "allocated since the start"),
    row("/gc/heap/allocs:objects", 21, Unsigned, Cumulative, "objects allocated since the start, without tiny ones"),
    row("/gc/heap/frees-by-size:bytes", 21, Histogram, Cumulative, "freed objects by size"),
    row("/gc/heap/frees:bytes", 21, Unsigned, Cumulative, "freed since the start"),
    row("/gc/heap/frees:objects", 21, Unsigned, Cumulative, "objects freed since the start, without tiny ones"),
    row("/gc/heap/goal:bytes", 21, Unsigned, Instant, "heap size that the running or next cycle aims at"),
    row("/gc/heap/live:bytes", 21, Unsigned, Instant, "what the last cycle marked"),
    row("/gc/heap/objects:objects", 21, Unsigned, Instant, "objects in the heap, dead ones not yet swept included"),
    row("/gc/heap/tiny/allocs:objects", 21, Unsigned, Cumulative, "small objects without pointers that share a block"),
    row("/gc/limiter/last-enabled:gc-cycle", 21, Unsigned, Instant, "last cycle whose CPU time was limited, 0 for never"),
    row("/gc/pauses:seconds", 21, Histogram, Cumulative, "the older name of /sched/pauses/total/gc"),
    row("/gc/scan/globals:bytes", 21, Unsigned, Instant, "global variables with pointers"),
    row("/gc/scan/heap:bytes", 21, Unsigned, Instant, "heap with pointers"),
    row("/gc/scan/stack:bytes", 21, Unsigned, Instant, "stacks that the last cycle scanned"),
    row("/gc/scan/total:bytes", 21, Unsigned, Instant, "all that may hold pointers"),
    row("/gc/stack/starting-size:bytes", 21, Unsigned, Instant, "stack of a new goroutine"),
    row("/memory/classes/heap/free:bytes", 21, Unsigned, Instant, "free spans, not given back"),
    row("/memory/classes/heap/objects:bytes", 21, Unsigned, Instant, "objects, dead ones not yet swept included"),
    row("/memory/classes/heap/released:bytes", 21, Unsigned, Instant, "given back to the operating system"),
    row("/memory/classes/heap/stacks:bytes", 21, Unsigned, Instant, "stacks of goroutines"),
    row("/memory/classes/heap/unused:bytes", 21, Unsigned, Instant, "free places in spans that hold objects"),
    row("/memory/classes/metadata/mcache/free:bytes", 21, Unsigned, Instant, "mcache structures not in use"),
    row("/memory/classes/metadata/mcache/inuse:bytes", 21, Unsigned, Instant, "mcache structures in use"),
    row("/memory/classes/metadata/mspan/free:bytes", 21, Unsigned, Instant, "mspan structures not in use"),
    row("/memory/classes/metadata/mspan/inuse:bytes", 21, Unsigned, Instant, "mspan structures in use"),
    row("/memory/classes/metadata/other:bytes", 21, Unsigned, Instant, "the collector and other structures of the runtime"),
    row("/memory/classes/os-stacks:bytes", 21, Unsigned, Instant, "stacks of threads that the operating system gave"),
    row("/memory/classes/other:bytes", 21, Unsigned, Instant, "trace buffers, specials of finalizers and profiles, and more"),
    row("/memory/classes/profiling/buckets:bytes", 21, Unsigned, Instant, "table of profiled stacks"),
    row("/memory/classes/total:bytes", 21, Unsigned, Instant, "all that the runtime has from the operating system"),
    row("/sched/gomaxprocs:threads", 21, Unsigned, Instant, "GOMAXPROCS"),
    row("/sched/goroutines-created:goroutines", 26, Unsigned, Cumulative, "goroutines started since the start"),
    row("/sched/goroutines/not-in-go:goroutines", 26, Unsigned, Instant, "goroutines in system calls and C"),
    row("/sched/goroutines/runnable:goroutines", 26, Unsigned, Instant, "goroutines that wait for a processor"),
    row("/sched/goroutines/running:goroutines", 26, Unsigned, Instant, "goroutines on a processor"),
    row("/sched/goroutines/waiting:goroutines", 26, Unsigned, Instant, "goroutines that wait for something else"),
    row("/sched/goroutines:goroutines", 21, Unsigned, Instant, "goroutines; since Go 1.26 with those of the runtime"),
    row("/sched/latencies:seconds", 21, Histogram, Cumulative, "time goroutines waited for a processor"),
    row("/sched/pauses/stopping/gc:seconds", 22, Histogram, Cumulative, "time until all had stopped for collection"),
    row("/sched/pauses/stopping/other:seconds", 22, Histogram, Cumulative, "time until all had stopped for something else"),
    row("/sched/pauses/total/gc:seconds", 22, Histogram, Cumulative, "stops of the world for collection"),
    row("/sched/pauses/total/other:seconds", 22, Histogram, Cumulative, "stops of the world for something else"),
    row("/sched/threads/total:threads", 26, Unsigned, Instant, "threads of the runtime"),
    row("/sync/mutex/wait/total:seconds", 21, Float, Cumulative, "time goroutines waited for mutexes and locks of the runtime"),];

#[cfg(test)]
mod tests {
    use super::{METRICS, Metric, metric};

    #[test]
    fn names_are_sorted_and_found() {
        assert!(METRICS.is_sorted_by_key(|metric| metric.name));
        for known in &METRICS {
            assert_eq!(metric(known.name).map(|found| found.name), Some(known.name));
            assert!(!known.unit().is_empty() && known.path().starts_with('/'), "{known:?}");
        }
        assert_eq!(metric("/gc/heap/live"), None);
        let exported = |name| metric(name).map(Metric::prometheus_name).unwrap();
        assert_eq!(exported("/gc/heap/live:bytes"), "go_gc_heap_live_bytes");
        assert_eq!(exported("/sched/latencies:seconds"), "go_sched_latencies_seconds");
        assert_eq!(
            exported("/gc/cycles/automatic:gc-cycles"),
            "go_gc_cycles_automatic_gc_cycles_total"
        );
        // As many as metrics.All lists without /godebug.
        let of = |minor: u16| METRICS.iter().filter(|metric| metric.since <= minor).count();
        assert_eq!([21, 22, 25, 26, 27].map(of), [52, 56, 56, 66, 66]);
    }
}
