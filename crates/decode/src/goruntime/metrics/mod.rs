//! The metrics of package runtime/metrics, computed as `metrics.Read` computes them, from outside.
//!
//! Names, units, kinds and bucket boundaries are Go's. The counters of /godebug are not read:
//! they lie in structures of the program's own packages. The program runs while it is read, so
//! that figures of different structures are microseconds apart; see [`Process::runtime_metrics`]
//! for what is done about it. Costs some 25 system calls and one for each thread and
//! processor, twice.
//!
//! As in `metrics.Read`, CPU classes are those of the end of the last collection: the runtime
//! adds up the time since then only when the next one ends (runtime/metrics.go,
//! `cpuStatsAggregate`).

mod goal;
mod heap;
mod histogram;
mod layout;
mod scheduler;

use model::Addr;
use model::metrics::{MetricValue, RuntimeMetrics, pause_quantiles};

pub(super) use goal::{CONTROLLER_BYTES, Controller};
pub(super) use layout::Layout as MetricsLayout;

use self::heap::HeapStats;
use self::histogram::{TIME_HISTOGRAM_BYTES, size_histogram, time_histogram};
use self::layout::Layout;
use self::scheduler::{Processors, Sched};
use super::memory::Memory;
use super::{Process, RuntimeError};
use crate::bytes::Bytes;

/// The program reads its own statistics all the time, or its memory is damaged.
const UNSETTLED: &str = "the heap's counters never rested while they were read; they may be counted twice or be missing";

/// Length of mstats.pause_ns and pause_end.
const PAUSES: usize = 256;

/// Reads what lies together.
type Group<P> = fn(&P, &Layout, &mut RuntimeMetrics) -> Result<(), RuntimeError>;

impl<M: Memory> Process<'_, M> {
    /// All metrics that this release has and that can be read.
    ///
    /// They are read twice; what changed in between is named in `moved`.
    ///
    /// # Errors
    /// When nothing can be read at all.
    pub fn runtime_metrics(&self) -> Result<RuntimeMetrics, RuntimeError> {
        let first = self.reading()?;
        let mut metrics = self.reading()?;
        let changed = metrics
            .samples
            .iter()
            .filter(|sample| first.get(sample.metric.name) != Some(&sample.value));
        metrics.moved = changed.map(|sample| sample.metric.name).collect();
        Ok(metrics)
    }

    fn reading(&self) -> Result<RuntimeMetrics, RuntimeError> {
        let mut metrics = RuntimeMetrics {
            go_version: Some(self.binary.info.version.clone()),
            ..RuntimeMetrics::default()
        };
        let layout =
            Layout::of(self.binary.version, self.binary.machine).with_m_next(self.variables.m_next);
        let groups: [Group<Self>; 7] = [
            Self::read_memory,
            Self::read_pacer,
            Self::read_cpu,
            Self::read_limiter,
            Self::read_scheduler,
            Self::read_goroutines,
            Self::read_settings,
        ];
        let results = groups.map(|read| read(self, &layout, &mut metrics));
        if metrics.samples.is_empty() {
            results.iter().cloned().collect::<Result<(), _>>()?;
        }
        let warnings = results.iter().filter_map(|result| result.as_ref().err());
        metrics.warnings.extend(warnings.map(RuntimeError::to_string));
        metrics.warnings.dedup();
        metrics.samples.retain(|sample| sample.metric.since <= layout.minor);
        metrics.sort();
        Ok(metrics)
    }

    /// runtime.memstats and what of runtime.mheap_ belongs to it.
    fn read_memory(
        &self,
        layout: &Layout,
        metrics: &mut RuntimeMetrics,
    ) -> Result<(), RuntimeError> {
        let memstats = self.memstats(&layout.shared)?;
        if !memstats.is_settled {
            metrics.warnings.push(UNSETTLED.to_owned());
        }
        let heap = &memstats.heap;
        heap_metrics(heap, metrics);
        let bytes = Bytes(&memstats.bytes);
        let word = |offset: usize| bytes.u64(layout.shared.stacks_sys as usize + offset);
        let word = |offset: usize| word(offset).unwrap_or(0);
        let [os_stacks, spans, caches, buckets, collector, other] =
            [word(0), word(8), word(16), word(24), word(32), word(40)];
        let system = [os_stacks, spans, caches, buckets, collector, other];
        let mapped = heap.committed.wrapping_add(heap.released);
        let total = system.iter().fold(mapped, |sum, part| sum.wrapping_add(*part));
        metrics.push_unsigned("/memory/classes/total:bytes", total);
        metrics.push_unsigned("/memory/classes/os-stacks:bytes", os_stacks);
        metrics.push_unsigned("/memory/classes/profiling/buckets:bytes", buckets);
        metrics.push_unsigned("/memory/classes/other:bytes", other);
        let metadata = heap.in_metadata.wrapping_add(collector);
        metrics.push_unsigned("/memory/classes/metadata/other:bytes", metadata);
        let numgc = layout.shared.numgc as usize;
        let [done, forced] = [numgc, numgc + 4].map(|at| bytes.u32(at).unwrap_or(0));
        metrics.push_unsigned("/gc/cycles/total:gc-cycles", done.into());
        metrics.push_unsigned("/gc/cycles/forced:gc-cycles", forced.into());
        metrics.push_unsigned("/gc/cycles/automatic:gc-cycles", done.wrapping_sub(forced).into());
        metrics.collector.last_gc_nanos = Some(word(48));
        metrics.collector.pause_total_nanos = Some(word(56));
        let ring = numgc - 2 * PAUSES * 8;
        let pauses = (0..PAUSES.min(done as usize)).filter_map(|index| bytes.u64(ring + index * 8));
        let mut pauses: Vec<u64> = pauses.collect();
        metrics.collector.pause_quantiles_nanos = Some(pause_quantiles(&mut pauses));
        self.read_mheap(layout, spans, caches, metrics)
    }

    fn read_mheap(
        &self,
        layout: &Layout,
        spans: u64,
        caches: u64,
        metrics: &mut RuntimeMetrics,
    ) -> Result<(), RuntimeError> {
        let at = self.variable(self.variables.mheap, "runtime.mheap_")?;
        let classes =
            [("mspan", spans, layout.spans_in_use), ("mcache", caches, layout.caches_in_use)];
        for (class, system, offset) in classes {
            let in_use = self.memory.read_u64(Addr(at.0.wrapping_add(offset)))?;
            let path = format!("/memory/classes/metadata/{class}");
            metrics.push_unsigned(&format!("{path}/inuse:bytes"), in_use);
            metrics.push_unsigned(&format!("{path}/free:bytes"), system.wrapping_sub(in_use));
        }
        Ok(())
    }

    fn read_pacer(&self, _: &Layout, metrics: &mut RuntimeMetrics) -> Result<(), RuntimeError> {
        let at = self.variable(self.variables.gc_controller, "runtime.gcController")?;
        let bytes = self.memory.read_vec(at, CONTROLLER_BYTES)?;
        let pacer = Controller::parse(&bytes).unwrap_or_default();
        metrics.push_unsigned("/gc/gogc:percent", i64::from(pacer.gogc_percent).cast_unsigned());
        metrics.push_unsigned("/gc/gomemlimit:bytes", pacer.memory_limit);
        metrics.push_unsigned("/gc/heap/goal:bytes", pacer.heap_goal());
        metrics.push_unsigned("/gc/heap/live:bytes", pacer.heap_marked);
        let scans = [
            ("/gc/scan/globals:bytes", pacer.globals_scan),
            ("/gc/scan/heap:bytes", pacer.heap_scan),
            ("/gc/scan/stack:bytes", pacer.stack_scan),
        ];
        let mut total = 0_u64;
        for (name, scan) in scans {
            metrics.push_unsigned(name, scan);
            total = total.wrapping_add(scan);
        }
        metrics.push_unsigned("/gc/scan/total:bytes", total);
        Ok(())
    }

    fn read_cpu(&self, layout: &Layout, metrics: &mut RuntimeMetrics) -> Result<(), RuntimeError> {
        // The fields of runtime.cpuStats, in nanoseconds.
        const CLASSES: [&str; 11] = [
            "gc/mark/assist",
            "gc/mark/dedicated",
            "gc/mark/idle",
            "gc/pause",
            "gc/total",
            "scavenge/assist",
            "scavenge/background",
            "scavenge/total",
            "idle",
            "user",
            "total",
        ];
        let of_work = self.variables.work.and_then(|work| work.checked_add(layout.cpu_stats));
        let at = self.variable(self.variables.cpu_stats.or(of_work), "runtime.work")?;
        let bytes = self.memory.read_vec(at, CLASSES.len() * 8)?;
        for (index, class) in CLASSES.iter().enumerate() {
            let nanos = Bytes(&bytes).u64(index * 8).unwrap_or(0);
            metrics.push_float(&format!("/cpu/classes/{class}:cpu-seconds"), seconds(nanos));
        }
        Ok(())
    }

    fn read_limiter(
        &self,
        layout: &Layout,
        metrics: &mut RuntimeMetrics,
    ) -> Result<(), RuntimeError> {
        let at = self.variable(self.variables.gc_limiter, "runtime.gcCPULimiter")?;
        let cycle = self.memory.read_u32(Addr(at.0.wrapping_add(layout.last_enabled)))?;
        metrics.push_unsigned("/gc/limiter/last-enabled:gc-cycle", cycle.into());
        Ok(())
    }

    /// Histograms and times of runtime.sched, and what its threads add to them.
    fn read_scheduler(
        &self,
        layout: &Layout,
        metrics: &mut RuntimeMetrics,
    ) -> Result<(), RuntimeError> {
        let sched = self.sched(*layout)?;
        let histogram = |metrics: &mut RuntimeMetrics, name: &str, at: usize| {
            let found = sched.bytes().slice(at, TIME_HISTOGRAM_BYTES).and_then(time_histogram);
            if let Some(found) = found {
                metrics.push(name, MetricValue::Histogram(found));
            }
        };
        histogram(metrics, "/sched/latencies:seconds", layout.latencies);
        if layout.pauses != 0 {
            let nth = |index: usize| layout.pauses + index * TIME_HISTOGRAM_BYTES;
            histogram(metrics, "/sched/pauses/stopping/gc:seconds", nth(0));
            histogram(metrics, "/sched/pauses/stopping/other:seconds", nth(1));
            histogram(metrics, "/sched/pauses/total/gc:seconds", nth(2));
            histogram(metrics, "/sched/pauses/total/other:seconds", nth(3));
            histogram(metrics, "/gc/pauses:seconds", nth(2));
        } else {
            let at = self.variable(self.variables.memstats, "runtime.memstats")?;
            let at = Addr(at.0.wrapping_add(layout.pauses_in_mstats));
            let bytes = self.memory.read_vec(at, TIME_HISTOGRAM_BYTES)?;
            if let Some(found) = time_histogram(Bytes(&bytes)) {
                metrics.push("/gc/pauses:seconds", MetricValue::Histogram(found));
            }
        }
        let threads = self.threads(layout)?;
        metrics.collector.threads = Some(threads.count);
        let mut waited = sched.word(layout.mutex_wait);
        if layout.lock_wait != 0 {
            waited = waited.wrapping_add(sched.word(layout.lock_wait));
            waited = waited.wrapping_add(threads.lock_wait_nanos);
        }
        metrics.push_float("/sync/mutex/wait/total:seconds", seconds(waited));
        let at = self.variable(self.variables.cgo_calls, "runtime.ncgocall")?;
        let calls = self.memory.read_u64(at)?.wrapping_add(threads.cgo_calls);
        metrics.push_unsigned("/cgo/go-to-c-calls:calls", calls);
        Ok(())
    }

    fn read_goroutines(
        &self,
        layout: &Layout,
        metrics: &mut RuntimeMetrics,
    ) -> Result<(), RuntimeError> {
        let allgs = self.variable(self.variables.allgs, "runtime.allgs")?;
        let made = self.memory.read_u64(Addr(allgs.0.wrapping_add(8)))?;
        let sched = self.sched(*layout)?;
        let processors = self.processors(layout)?;
        let total = sched.goroutines(made, &processors);
        let own = total.saturating_sub(sched.system_goroutines()).max(1);
        metrics.collector.goroutines = Some(own);
        // The runtime counts its own ones since 1.26.
        let shown = if layout.minor >= 26 { total } else { own };
        metrics.push_unsigned("/sched/goroutines:goroutines", shown);
        if layout.minor < 26 {
            return Ok(());
        }
        let states = self.read_states(layout, &sched, &processors, total, metrics);
        states.and(self.read_queues(layout, &processors, metrics))
    }

    /// What the runtime counts since 1.26: goroutines by state, and threads.
    fn read_states(
        &self,
        layout: &Layout,
        sched: &Sched,
        processors: &Processors,
        goroutines: u64,
        metrics: &mut RuntimeMetrics,
    ) -> Result<(), RuntimeError> {
        let not_in_go = processors.in_syscall + sched.in_syscall();
        let runnable = processors.runnable + sched.queued();
        // Go 1.26 lets the difference wrap around where the counts overlap, 1.27 does not.
        let waiting = goroutines.saturating_sub(not_in_go + runnable + processors.running);
        metrics.push_unsigned("/sched/goroutines/not-in-go:goroutines", not_in_go);
        metrics.push_unsigned("/sched/goroutines/runnable:goroutines", runnable);
        metrics.push_unsigned("/sched/goroutines/running:goroutines", processors.running);
        metrics.push_unsigned("/sched/goroutines/waiting:goroutines", waiting);
        let created = sched.word(layout.goroutines_created);
        let created = created.wrapping_add(processors.goroutines_created);
        metrics.push_unsigned("/sched/goroutines-created:goroutines", created);
        let extra_in_use = self.variable(self.variables.extra_in_use, "runtime.extraMInUse")?;
        let extra_length = self.variable(self.variables.extra_length, "runtime.extraMLength")?;
        let [in_use, length] = [extra_in_use, extra_length].map(|at| self.memory.read_u32(at));
        let extra = u64::from(in_use?) + u64::from(length?);
        let threads = sched.threads().wrapping_sub(extra);
        metrics.push_unsigned("/sched/threads/total:threads", threads);
        Ok(())
    }

    /// Finalizers and cleanups, since 1.26.
    fn read_queues(
        &self,
        layout: &Layout,
        processors: &Processors,
        metrics: &mut RuntimeMetrics,
    ) -> Result<(), RuntimeError> {
        let read =
            |addr, name| Ok::<_, RuntimeError>(self.memory.read_u64(self.variable(addr, name)?)?);
        let queued = read(self.variables.finalizers_queued, "runtime.finqueued")?;
        let executed = read(self.variables.finalizers_executed, "runtime.finexecuted")?;
        metrics.push_unsigned("/gc/finalizers/queued:finalizers", queued);
        metrics.push_unsigned("/gc/finalizers/executed:finalizers", executed);
        let at = self.variable(self.variables.cleanups, "runtime.gcCleanups")?;
        let queue = self.memory.read_vec(Addr(at.0.wrapping_add(layout.cleanups_queued)), 16)?;
        let [queued, executed] = [0, 8].map(|at| Bytes(&queue).u64(at).unwrap_or(0));
        let queued = queued.wrapping_add(processors.cleanups_queued);
        metrics.push_unsigned("/gc/cleanups/queued:cleanups", queued);
        metrics.push_unsigned("/gc/cleanups/executed:cleanups", executed);
        Ok(())
    }

    fn read_settings(&self, _: &Layout, metrics: &mut RuntimeMetrics) -> Result<(), RuntimeError> {
        let at = self.variable(self.variables.gomaxprocs, "runtime.gomaxprocs")?;
        metrics.push_unsigned("/sched/gomaxprocs:threads", self.memory.read_u32(at)?.into());
        let at = self.variable(self.variables.stack_size, "runtime.startingStackSize")?;
        metrics.push_unsigned("/gc/stack/starting-size:bytes", self.memory.read_u32(at)?.into());
        Ok(())
    }
}

fn heap_metrics(heap: &HeapStats, metrics: &mut RuntimeMetrics) {
    let (allocated, freed) = (&heap.allocated, &heap.freed);
    let objects_bytes = allocated.bytes().wrapping_sub(freed.bytes());
    let objects = allocated.objects().wrapping_sub(freed.objects());
    let figures = [
        ("/gc/heap/allocs:bytes", allocated.bytes()),
        ("/gc/heap/allocs:objects", allocated.objects()),
        ("/gc/heap/frees:bytes", freed.bytes()),
        ("/gc/heap/frees:objects", freed.objects()),
        ("/gc/heap/objects:objects", objects),
        ("/gc/heap/tiny/allocs:objects", heap.tiny_allocs),
        ("/memory/classes/heap/free:bytes", heap.free()),
        ("/memory/classes/heap/objects:bytes", objects_bytes),
        ("/memory/classes/heap/released:bytes", heap.released),
        ("/memory/classes/heap/stacks:bytes", heap.in_stacks),
        ("/memory/classes/heap/unused:bytes", heap.in_heap.wrapping_sub(objects_bytes)),
    ];
    for (name, value) in figures {
        metrics.push_unsigned(name, value);
    }
    let by_size = |sized| MetricValue::Histogram(size_histogram(sized));
    metrics.push("/gc/heap/allocs-by-size:bytes", by_size(allocated));
    metrics.push("/gc/heap/frees-by-size:bytes", by_size(freed));
}

/// Nanoseconds as a signed number, in seconds.
fn seconds(nanos: u64) -> f64 {
    nanos.cast_signed() as f64 / 1e9
}
