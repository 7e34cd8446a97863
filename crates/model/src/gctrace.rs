//! What the Go runtime prints about itself under GODEBUG: gctrace, scavtrace, schedtrace,
//! gcpacertrace.

/// One of the lines.
#[derive(Clone, Debug, PartialEq)]
pub enum RuntimeLine {
    /// `gctrace=1`: a garbage collection that ended.
    Cycle(GcCycle),
    /// `gctrace=2`: what the cycle before scanned, one of several lines.
    Scan(ScanStats),
    /// `scavtrace=1`: memory given back to the system.
    Scavenge(Scavenge),
    /// `schedtrace=N`: the scheduler at one time.
    Scheduler(Scheduler),
    /// `gcpacertrace=1`: the pacer when a cycle begins.
    PacerStart(PacerStart),
    /// `gcpacertrace=1`: the pacer when a cycle ends.
    PacerEnd(PacerEnd),
    /// `gcpacertrace=1`: sweeping ended.
    SweepDone(SweepDone),
}

/// A garbage collection. Times are milliseconds, sizes MiB rounded down, as printed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct GcCycle {
    /// Its number since the program began.
    pub number: u64,
    /// Seconds since the program began.
    pub at_seconds: f64,
    /// Share of CPU spent on collection since the program began, percent.
    pub cpu_percent: u32,
    /// A cycle that looked for leaked goroutines (1.26).
    pub is_leak_check: bool,
    /// The first pause, sweep termination.
    pub sweep_term_ms: f64,
    /// Marking, beside the program.
    pub mark_ms: f64,
    /// The second pause, mark termination.
    pub mark_term_ms: f64,
    /// CPU of the first pause on all processors.
    pub sweep_term_cpu_ms: f64,
    /// CPU that allocating goroutines spent on marking.
    pub assist_cpu_ms: f64,
    /// CPU of the marking workers.
    pub background_cpu_ms: f64,
    /// CPU of marking on processors that had nothing else to do.
    pub idle_cpu_ms: f64,
    /// CPU of the second pause on all processors.
    pub mark_term_cpu_ms: f64,
    /// Heap when the cycle began.
    pub start_mib: u64,
    /// Heap when marking ended.
    pub end_mib: u64,
    /// What is alive.
    pub live_mib: u64,
    /// The size at which the cycle should have ended.
    pub goal_mib: u64,
    /// Stacks that were scanned; not printed by old releases.
    pub stacks_mib: Option<u64>,
    /// Globals that were scanned; not printed by old releases.
    pub globals_mib: Option<u64>,
    /// Processors.
    pub procs: u32,
    /// The program called runtime.GC.
    pub is_forced: bool,
}

impl GcCycle {
    /// Time the program stood still.
    pub fn pause_ms(&self) -> f64 {
        self.sweep_term_ms + self.mark_term_ms
    }

    /// CPU of the whole cycle without processors that had nothing else to do.
    pub fn busy_cpu_ms(&self) -> f64 {
        self.sweep_term_cpu_ms + self.assist_cpu_ms + self.background_cpu_ms + self.mark_term_cpu_ms
    }
}

/// What one cycle scanned, of objects of one size class.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScanStats {
    /// `total`, a size like `48B`, or `L` for large objects.
    pub class: String,
    /// Objects.
    pub objects: u64,
    /// Spans.
    pub spans: u64,
}

/// Memory given back to the system since the line before. Sizes are KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Scavenge {
    /// By the background scavenger; by everybody in releases that do not tell them apart.
    pub background_kib: u64,
    /// By goroutines that allocated near the memory limit.
    pub eager_kib: Option<u64>,
    /// All that is given back now.
    pub released_kib: u64,
    /// Share of the retained heap that is in use.
    pub utilisation_percent: u32,
    /// `debug.FreeOSMemory`.
    pub is_forced: bool,
}

/// The scheduler at one time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scheduler {
    /// Since tracing began.
    pub at_ms: u64,
    /// Processors.
    pub procs: u32,
    /// Processors without work.
    pub idle_procs: u32,
    /// Threads.
    pub threads: u32,
    /// Threads that look for work.
    pub spinning_threads: u32,
    /// Threads that sleep.
    pub idle_threads: u32,
    /// Goroutines in the global queue.
    pub queue: u64,
    /// Goroutines in the queue of each processor.
    pub local_queues: Vec<u64>,
}

/// The pacer when a cycle begins.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PacerStart {
    /// Scan work an allocated byte must pay for.
    pub assist_ratio: f64,
    /// Heap that is expected to be scanned, MiB.
    pub scan_mib: u64,
    /// Heap when the cycle began, MiB.
    pub live_mib: u64,
    /// The goal, MiB.
    pub goal_mib: u64,
    /// Processors that do nothing but mark.
    pub dedicated_workers: u32,
    /// Share of one more.
    pub fractional_worker: f64,
}

/// The pacer when a cycle ends. Work is bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PacerEnd {
    /// CPU that marking took.
    pub cpu_percent: u32,
    /// CPU that it should have taken.
    pub expected_cpu_percent: u32,
    /// Bytes of the heap that were scanned.
    pub heap_work: u64,
    /// Bytes of stacks.
    pub stack_work: u64,
    /// Bytes of globals.
    pub globals_work: u64,
    /// Bytes that were expected.
    pub expected_work: u64,
    /// Heap at which the cycle began.
    pub trigger_bytes: u64,
    /// Heap at its end.
    pub end_bytes: u64,
    /// How far that is from the goal.
    pub goal_difference: i64,
    /// Allocation against marking, bytes a second each.
    pub cons_mark: f64,
}

/// Sweeping ended.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SweepDone {
    /// The heap then, MiB.
    pub live_mib: u64,
    /// Allocated meanwhile, MiB.
    pub allocated_mib: u64,
    /// Pages that were swept.
    pub pages: u64,
}
