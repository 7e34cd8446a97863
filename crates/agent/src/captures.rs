//! The one way to take and to store a capture, on a schedule or when a rule asks.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use analyze::families::Families;
use capture::bpf::{Method, NativeProbe, Source};
use capture::http::HttpTarget;
use capture::names::ProcessNames;
use capture::snapshot::Options;
use capture::{CaptureError, LiveTarget, ScratchColumns, cpu_time, pprof_of};
use decode::goheap::Keep;
use decode::{heapfile, pprof, records};
use model::{
    Capture, CaptureKind, GoroutineSnapshot, Profile, Rss, RuntimeMetrics, TargetId, Timestamp,
};
use store::{BegunFile, NewCapture, Store, StoreError};

use crate::budget::{CpuBudget, Turns};
use crate::events::{Event, Publish};
use crate::failures::Part;
use crate::probes::{
    self, AllocationsSoFar, AnyProcess, FaultLook, MappingLook, NativeSoFar, Run, Runs,
};
use crate::safety;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TakeError {
    /// The target could not be read.
    #[error("{0}")]
    Capture(#[from] CaptureError),
    /// The store could not be written.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// What was read shows nothing, or cannot be read back: it is not stored.
    #[error("the {kind} capture {what}; it was not stored", kind = .kind.as_str())]
    Empty {
        /// Its kind.
        kind: CaptureKind,
        /// What is wrong with it.
        what: String,
    },
    /// Writing a large capture ended early.
    #[error("the {kind} capture ended early: {cause}", kind = .kind.as_str())]
    Ended {
        /// Its kind.
        kind: CaptureKind,
        /// Why.
        cause: io::Error,
    },
    /// It could do harm, or its turn did not come.
    #[error("{0}")]
    Refused(String),
}

impl TakeError {
    /// What can be done about it.
    pub fn next_step(&self) -> Option<String> {
        match self {
            TakeError::Capture(error) => error.next_step(),
            TakeError::Store(error) => error.next_step().map(str::to_owned),
            TakeError::Empty { .. } | TakeError::Ended { .. } | TakeError::Refused(_) => None,
        }
    }
}

/// What a capture shows, beside its bytes.
#[derive(Clone, Debug)]
pub enum Evidence {
    /// A heap profile.
    Heap(Box<Profile>),
    /// Goroutines.
    Goroutines(GoroutineSnapshot),
    /// The runtime's metrics.
    Metrics(RuntimeMetrics),
    /// Where the resident memory is.
    Rss(Box<Rss>),
    /// A profile of goroutines that can never go on.
    GoroutineLeak,
    /// What a probe saw.
    Probe,
}

/// A capture that is not stored yet.
#[derive(Clone, Debug)]
pub struct Taken {
    /// Its kind.
    pub kind: CaptureKind,
    /// When it was taken.
    pub time: Timestamp,
    /// CPU time it cost us.
    pub cost: Duration,
    /// As its kind is stored.
    pub bytes: Vec<u8>,
    /// What it shows.
    pub evidence: Evidence,
    /// Nothing changed in the target while it was read.
    pub is_consistent: bool,
}

/// Which heap profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeapOf {
    /// What the program itself publishes: as of the collection before the last.
    Published,
    /// Everything allocated up to this moment.
    Now,
}

/// Takes captures of any target into one store, within budgets.
pub struct Captures {
    /// Where they go.
    pub store: Arc<Store>,
    /// CPU time of all targets together.
    pub cpu: CpuBudget,
    /// What we may hold in memory; none at 0.
    memory: AtomicU64,
    /// Graphs and traces take turns.
    pub(crate) turns: Turns,
    /// Probes that are at work, those that clients asked for included.
    pub runs: Arc<Runs>,
    publish: Publish,
    urgent: AtomicUsize,
    /// By kind: how many, their bytes, CPU microseconds.
    taken: Mutex<BTreeMap<CaptureKind, (u64, u64, u64)>>,
}

/// While it lives, what is scheduled waits.
pub(crate) struct Urgent<'a>(&'a AtomicUsize);

impl Drop for Urgent<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Captures {
    /// Captures into `store`, with a share of one core for all targets together.
    pub fn new(store: Arc<Store>, publish: Publish, cpu_share: f64) -> Captures {
        let cpu = CpuBudget::new(cpu_share, Instant::now());
        let (turns, urgent) = (Turns::default(), AtomicUsize::new(0));
        let (memory, taken) = (AtomicU64::new(0), Mutex::default());
        let runs = Arc::new(Runs::new(Arc::clone(&publish)));
        Captures { store, cpu, memory, turns, runs, publish, urgent, taken }
    }

    /// How long a scheduled capture has to wait: for urgent ones, and for the budget.
    pub fn wait(&self) -> Duration {
        /// An urgent capture is over within this time, or is retried by nobody.
        const GIVE_WAY: Duration = Duration::from_millis(500);
        match self.urgent.load(Ordering::Relaxed) {
            0 => self.cpu.wait(Instant::now()),
            _ => GIVE_WAY,
        }
    }

    /// Bounds what captures may take of our own memory from now on.
    pub fn set_memory(&self, budget: Option<u64>) {
        self.memory.store(budget.unwrap_or(0), Ordering::Relaxed);
    }

    /// Refuses a capture that could do harm: to the target, to us, to the machine.
    pub(crate) fn refuse_harm(
        &self,
        kind: CaptureKind,
        live: &LiveTarget,
    ) -> Result<(), TakeError> {
        // Only what reads every goroutine depends on how many there are.
        let observed = (kind == CaptureKind::Goroutine).then(|| live.observe().ok()).flatten();
        let goroutines = observed.and_then(|it| it.runtime.goroutines);
        let budget = Some(self.memory.load(Ordering::Relaxed)).filter(|budget| *budget > 0);
        let dir = self.store.dir();
        let situation = safety::situation(live.target().pid, goroutines, budget, dir);
        safety::check(kind, &situation).map(drop).map_err(TakeError::Refused)
    }

    pub(crate) fn urgent(&self) -> Urgent<'_> {
        self.urgent.fetch_add(1, Ordering::Relaxed);
        Urgent(&self.urgent)
    }

    /// Stores a capture; when this returns, it is on disk.
    ///
    /// # Errors
    /// When the disk is full or fails; then nothing is stored.
    pub fn keep(
        &self,
        target: TargetId,
        reason: &str,
        taken: &Taken,
    ) -> Result<Capture, StoreError> {
        let Taken { kind, time, cost, bytes, .. } = taken;
        let (kind, time, cost_micros) = (*kind, *time, micros(*cost));
        let new = NewCapture { target, kind, time, reason, cost_micros, bytes };
        let capture = self.store.put_capture(&new)?;
        self.count(&capture);
        (self.publish)(Event::Captured { target, capture: capture.id });
        Ok(capture)
    }

    /// Takes a graph and stores it.
    ///
    /// # Errors
    /// When it cannot be taken or stored.
    pub fn graph(
        &self,
        target: TargetId,
        reason: &str,
        live: &LiveTarget,
    ) -> Result<Capture, TakeError> {
        let LiveTarget::Process(process) = live else {
            let why = "only a process on this machine has a heap to take";
            return Err(CaptureError::Unsupported(why.to_owned()).into());
        };
        let started = cpu_time();
        let options = Options::default();
        let columns = ScratchColumns::new(&options.scratch_dir);
        let graph = process.object_graph(&options, Keep::Nothing, &columns, &mut |_, _| {})?;
        let kind = CaptureKind::Graph;
        if graph.is_empty() {
            return Err(TakeError::Empty { kind, what: "has no objects".to_owned() });
        }
        let time = graph.source.time.unwrap_or_else(capture::now);
        let mut begun = self.store.begin_file(target, kind, time)?;
        let ended = |cause| TakeError::Ended { kind, cause };
        heapfile::write(&graph, &mut begun).map_err(ended)?;
        self.keep_file(target, reason, begun, cpu_time().saturating_sub(started))
    }

    /// Has the target write a trace and stores it.
    ///
    /// # Errors
    /// When the target serves no net/http/pprof, or the trace cannot be stored.
    pub fn trace(
        &self,
        target: TargetId,
        reason: &str,
        live: &LiveTarget,
        length: Duration,
    ) -> Result<Capture, TakeError> {
        /// How much longer than asked for an answer may take.
        const ANSWER: Duration = Duration::from_secs(20);
        let (started, time, kind) = (cpu_time(), capture::now(), CaptureKind::Trace);
        let path = format!("trace?seconds={}", length.as_secs_f64());
        let mut stream = with_pprof(live, |http| http.stream(&path, length + ANSWER))?;
        let mut begun = self.store.begin_file(target, kind, time)?;
        let ended = |cause| TakeError::Ended { kind, cause };
        let mut head = [0; TRACE_MAGIC.len()];
        io::Read::read_exact(&mut stream, &mut head).map_err(ended)?;
        if head != *TRACE_MAGIC {
            let what = "does not begin as a trace of Go does".to_owned();
            return Err(TakeError::Empty { kind, what });
        }
        io::copy(&mut io::Read::chain(&head[..], stream), &mut begun).map_err(ended)?;
        self.keep_file(target, reason, begun, cpu_time().saturating_sub(started))
    }

    fn keep_file(
        &self,
        target: TargetId,
        reason: &str,
        begun: BegunFile,
        cost: Duration,
    ) -> Result<Capture, TakeError> {
        let capture = self.store.put_file(begun, reason, micros(cost))?;
        self.count(&capture);
        (self.publish)(Event::Captured { target, capture: capture.id });
        Ok(capture)
    }

    /// Something about captures could not be kept.
    pub(crate) fn not_kept(&self, target: TargetId, text: &str) {
        Part::Store.failed();
        (self.publish)(Event::Warning { target: Some(target), text: text.to_owned() });
    }

    fn count(&self, capture: &Capture) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, bytes, micros) = taken.entry(capture.kind).or_default();
        *count += 1;
        *bytes += capture.bytes;
        *micros += capture.cost_micros;
    }

    /// Captures so far, and what they cost.
    pub fn families(&self, families: &mut Families) {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let rows =
            taken.iter().map(|(kind, (count, bytes, micros))| (*kind, *count, *bytes, *micros));
        families.captures(&rows.collect::<Vec<_>>());
    }

    /// A turn for what is heavy; `None` when it did not come in time.
    pub(crate) fn turn(&self, stop: &AtomicBool) -> Option<MutexGuard<'_, ()>> {
        /// Longer than a graph of a large program takes.
        const TURN: Duration = Duration::from_secs(300);
        self.turns.take(TURN, stop)
    }
}

const TRACE_MAGIC: &[u8; 5] = b"go 1.";

fn micros(cost: Duration) -> u64 {
    u64::try_from(cost.as_micros()).unwrap_or(u64::MAX)
}

/// Takes a heap profile.
///
/// # Errors
/// When the target has ended, or sampling is off in it.
pub fn heap(live: &LiveTarget, of: HeapOf) -> Result<Taken, CaptureError> {
    let heap = match of {
        HeapOf::Published => live.heap_profile()?,
        HeapOf::Now => live.heap_profile_now()?,
    };
    let bytes = pprof::write(&heap.profile);
    let (kind, time, cost) = (CaptureKind::Heap, heap.time, heap.cost);
    let (is_consistent, evidence) = (heap.is_consistent, Evidence::Heap(Box::new(heap.profile)));
    Ok(Taken { kind, time, cost, bytes, evidence, is_consistent })
}

/// Has a probe look at a process for as long as the run is meant to last, or until told to stop; the
/// run shows what it has found so far.
///
/// # Errors
/// When it is no process of this machine, or the probe cannot be used on it.
pub fn probe(live: &LiveTarget, run: &Run, stop: &AtomicBool) -> Result<Taken, CaptureError> {
    /// How often it is looked at whether to stop.
    const STEP: Duration = Duration::from_millis(200);
    let LiveTarget::Process(process) = live else {
        let why = "only a process on this machine can be probed";
        return Err(CaptureError::Unsupported(why.to_owned()));
    };
    let (kind, started, mut end) = (run.kind, cpu_time(), None);
    let mut step = || {
        // From when it looks: until then names of a large program may have to be read.
        let end = *end.get_or_insert_with(|| Instant::now() + run.length);
        let left = end.checked_duration_since(Instant::now())?;
        (!stop.load(Ordering::Relaxed)).then(|| left.min(STEP))
    };
    let profile = match kind {
        CaptureKind::Native => {
            let mut names = ProcessNames::open(process.pid())?;
            let probe =
                NativeProbe::attach(&names, Source::Malloc { every: NATIVE_EVERY }, Method::Best)?;
            // What is as young as this may yet be freed.
            let older = |took: Duration| took / 4;
            let mut show = |so_far: &mut NativeSoFar<'_>| {
                probes::show_native(run, so_far);
                step()
            };
            probes::native(probe, &mut names, &older, probes::COST_MAX, &mut show)?.profile
        }
        CaptureKind::Faults => {
            let mut any = AnyProcess::open(process.pid())?;
            let look = FaultLook::begin(&any)?;
            look.follow(&mut any, probes::COST_MAX, &mut |_| step()).profile
        }
        CaptureKind::Mmap => {
            let mut any = AnyProcess::open(process.pid())?;
            let look = MappingLook::begin(&any)?;
            look.follow(&mut any, probes::COST_MAX, &mut |_, _| step()).profile
        }
        _ => {
            let mut show = |so_far: &mut AllocationsSoFar<'_>| {
                probes::show_allocations(run, process, so_far);
                step()
            };
            probes::allocations(process, probes::COST_MAX, &mut show)?.profile(process)?
        }
    };
    let (bytes, time) = (pprof::write(&profile), capture::now());
    Ok(taken(kind, time, started, bytes, Evidence::Probe))
}

/// As often as Go samples its own heap.
const NATIVE_EVERY: u64 = 512 << 10;

/// Takes all goroutines.
///
/// # Errors
/// When the target has ended or its goroutines cannot be read.
pub fn goroutines(live: &LiveTarget) -> Result<Taken, CaptureError> {
    let started = cpu_time();
    let snapshot = live.goroutines()?;
    let time = capture::now();
    let bytes = pprof::write(&pprof::goroutines::to_profile(&snapshot, time));
    Ok(taken(CaptureKind::Goroutine, time, started, bytes, Evidence::Goroutines(snapshot)))
}

/// Takes the runtime's metrics.
///
/// # Errors
/// When the target has ended, or shows no metrics.
pub fn metrics(live: &LiveTarget) -> Result<Taken, CaptureError> {
    let (time, started) = (capture::now(), cpu_time());
    let metrics = live.runtime_metrics()?;
    let bytes = records::write_metrics(time, &metrics);
    Ok(taken(CaptureKind::Runtime, time, started, bytes, Evidence::Metrics(metrics)))
}

/// Takes an account of the resident memory.
///
/// # Errors
/// When the target has ended, or is known only by a URL.
pub fn rss(live: &LiveTarget) -> Result<Taken, CaptureError> {
    let started = cpu_time();
    let rss = Box::new(live.rss()?);
    let bytes = records::write_rss(&rss);
    Ok(taken(CaptureKind::Rss, rss.time, started, bytes, Evidence::Rss(rss)))
}

/// Has the target look for goroutines that can never go on; it runs a collection for that.
///
/// # Errors
/// When its release has no such profile, or it serves no net/http/pprof.
pub fn goroutine_leak(live: &LiveTarget) -> Result<Taken, CaptureError> {
    /// Go 1.27 has the profile, 1.26 with an experiment.
    const MINOR_MIN: u16 = 26;
    const NEEDS: &str = "a profile of leaked goroutines needs Go 1.27, or Go 1.26 built with \
                         GOEXPERIMENT=goroutineleakprofile, and net/http/pprof";
    if let LiveTarget::Process(process) = live
        && process.binary().version.minor < MINOR_MIN
    {
        let version = &process.binary().info.version;
        return Err(CaptureError::Unsupported(format!("{NEEDS}; this is {version}")));
    }
    let (time, started) = (capture::now(), cpu_time());
    let bytes =
        with_pprof(live, |http| http.get("goroutineleak")).map_err(|error| match error {
            CaptureError::Http { is_unreachable: false, message, .. } => {
                CaptureError::Unsupported(format!("{NEEDS}; {message}"))
            }
            error => error,
        })?;
    Ok(taken(CaptureKind::GoroutineLeak, time, started, bytes, Evidence::GoroutineLeak))
}

pub(crate) fn taken(
    kind: CaptureKind,
    time: Timestamp,
    started: Duration,
    bytes: Vec<u8>,
    evidence: Evidence,
) -> Taken {
    let cost = cpu_time().saturating_sub(started);
    Taken { kind, time, cost, bytes, evidence, is_consistent: true }
}

/// Asks the pprof endpoint of a target.
fn with_pprof<T>(
    live: &LiveTarget,
    ask: impl FnOnce(&HttpTarget) -> Result<T, CaptureError>,
) -> Result<T, CaptureError> {
    match live {
        LiveTarget::Process(process) => ask(&pprof_of(process.pid())?),
        LiveTarget::Http(http) => ask(http),
    }
}

/// Reads a capture back as whoever opens it later will, and looks whether it shows anything.
///
/// # Errors
/// When it does not.
pub fn verify(taken: &Taken) -> Result<(), TakeError> {
    let kind = taken.kind;
    let unreadable = |error: &dyn std::fmt::Display| {
        Err(TakeError::Empty { kind, what: format!("cannot be read back ({error})") })
    };
    let count = match kind {
        CaptureKind::Heap
        | CaptureKind::Goroutine
        | CaptureKind::GoroutineLeak
        | CaptureKind::Alloc
        | CaptureKind::Native
        | CaptureKind::Faults
        | CaptureKind::Mmap => match pprof::read(&taken.bytes) {
            Ok(parsed) => parsed.profile.samples.len(),
            Err(error) => return unreadable(&error),
        },
        CaptureKind::Runtime => match records::read_metrics(&taken.bytes) {
            Ok((_, metrics)) => metrics.samples.len(),
            Err(error) => return unreadable(&error),
        },
        CaptureKind::Rss => match records::read_rss(&taken.bytes) {
            Ok(rss) => usize::from(rss.tally.total().bytes > 0),
            Err(error) => return unreadable(&error),
        },
        // Written as they come; see `Captures::graph` and `Captures::trace`.
        CaptureKind::Graph | CaptureKind::Trace => 1,
    };
    // That nothing leaks, faults or is mapped is an answer.
    let may_be_empty = kind == CaptureKind::GoroutineLeak || kind.is_probe();
    if count == 0 && (!may_be_empty || kind == CaptureKind::Alloc) {
        return Err(TakeError::Empty { kind, what: "is empty".to_owned() });
    }
    Ok(())
}
