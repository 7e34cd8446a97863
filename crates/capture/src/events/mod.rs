//! What the kernel tells of memory, as it happens: usage that passes a share of the limit,
//! kills, pressure. One thread waits for everything.
//!
//! A wake-up is only a hint; what happened is told from the cgroup's files before and after,
//! so nothing depends on how often the kernel wakes us. Where it does not (version 2 has no
//! usage thresholds, version 1 asks for the right to write `cgroup.event_control`), the
//! same files are polled: the sooner again, the nearer the usage is to the next threshold.
//! Every source that does not work says why, and the others go on.

mod kernel;
mod level;
mod waiting;

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use model::Timestamp;
use rustix::event::EventfdFlags;
use rustix::fd::OwnedFd;

use crate::signals::CgroupDirs;
use kernel::Armed;
use waiting::Waiting;

pub use kernel::PsiTrigger;

/// Events that nobody has taken yet; further ones are counted and dropped.
const BACKLOG: usize = 4096;

/// Where an event came from, and what can fail to work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// A trigger on /proc/pressure/memory.
    Psi,
    /// A trigger on a cgroup's memory.pressure.
    CgroupPsi,
    /// Version 1: usage thresholds.
    UsageThreshold,
    /// Version 1: notices of an out-of-memory condition.
    OomControl,
    /// Version 1: pressure levels.
    PressureLevel,
    /// Version 2: changes of memory.events.
    MemoryEvents,
    /// Files that are read again and again.
    Polled,
}

impl Source {
    /// All sources.
    pub const ALL: [Source; 7] = [
        Source::Psi,
        Source::CgroupPsi,
        Source::UsageThreshold,
        Source::OomControl,
        Source::PressureLevel,
        Source::MemoryEvents,
        Source::Polled,
    ];

    /// The name for people and in labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Source::Psi => "psi",
            Source::CgroupPsi => "cgroup-psi",
            Source::UsageThreshold => "usage-threshold",
            Source::OomControl => "oom-control",
            Source::PressureLevel => "pressure-level",
            Source::MemoryEvents => "memory-events",
            Source::Polled => "polled",
        }
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// The usage passed a share of the limit upwards, and with it every lower one.
    Threshold {
        /// The share, percent.
        percent: u8,
        /// The same in bytes.
        bytes: u64,
        /// The usage when it was read, page cache included.
        usage_bytes: u64,
        /// The limit.
        limit_bytes: u64,
    },
    /// Processes were killed for want of memory.
    OomKill {
        /// How many since the last event.
        count: u64,
    },
    /// Tasks waited for memory for longer than was asked for.
    Pressure,
    /// The limit was hit, and memory had to be reclaimed.
    LimitHit {
        /// How often since the last event.
        count: u64,
    },
    /// memory.high was passed.
    High {
        /// How often since the last event.
        count: u64,
    },
    /// The cgroup is gone.
    Removed,
}

/// What the kernel told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelEvent {
    /// When it was noticed.
    pub time: Timestamp,
    /// How.
    pub source: Source,
    /// Where; `None` is the whole machine.
    pub cgroup: Option<Arc<Path>>,
    /// What.
    pub kind: EventKind,
}

/// How well one source works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceState {
    /// Which.
    pub source: Source,
    /// Why it does not, if it does not.
    pub works: Result<(), String>,
}

/// What is being watched; give it to [`Signals::unwatch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatchId(u64);

/// The thread that waits, and what it waits for.
#[derive(Debug)]
pub struct Signals {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    next: AtomicU64,
}

#[derive(Debug)]
struct Shared {
    wake: OwnedFd,
    inbox: Mutex<Vec<Command>>,
    stop: AtomicBool,
    dropped: AtomicU64,
}

#[derive(Debug)]
enum Command {
    Watch(u64, Box<Armed>),
    Unwatch(u64),
    Trigger(kernel::Trigger),
}

impl Signals {
    /// Starts the thread; events come out of the receiver.
    ///
    /// # Errors
    /// When there can be no more descriptors or threads.
    pub fn start() -> io::Result<(Signals, Receiver<KernelEvent>)> {
        let wake = rustix::event::eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        let (inbox, stop, dropped) = (Mutex::default(), AtomicBool::new(false), AtomicU64::new(0));
        let shared = Arc::new(Shared { wake, inbox, stop, dropped });
        let (sender, receiver) = sync_channel(BACKLOG);
        let waiting = Waiting::new(Arc::clone(&shared), sender);
        let thread = std::thread::Builder::new()
            .name("kernel signals".to_owned())
            .stack_size(256 << 10)
            .spawn(move || waiting.run())?;
        let signals = Signals { shared, thread: Some(thread), next: AtomicU64::new(0) };
        Ok((signals, receiver))
    }

    /// Watches a cgroup: the shares of its limit in `percents`, kills, hits of the limit and
    /// pressure. Says how well each source works; what does not is polled instead.
    ///
    /// A cgroup that is removed is told once and looked for again, until it is given up with
    /// [`unwatch`](Self::unwatch); one whose limit changes has its thresholds set anew.
    pub fn watch(&self, dirs: &CgroupDirs, percents: &[u8]) -> (WatchId, Vec<SourceState>) {
        let armed = Armed::new(dirs.clone(), percents);
        let states = armed.states();
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.shared.tell(Command::Watch(id, Box::new(armed)));
        (WatchId(id), states)
    }

    /// Ends watching a cgroup.
    pub fn unwatch(&self, id: WatchId) {
        self.shared.tell(Command::Unwatch(id.0));
    }

    /// Watches the pressure of the whole machine. Returns the trigger that the kernel took:
    /// without CAP_SYS_RESOURCE windows are multiples of two seconds.
    ///
    /// # Errors
    /// When this kernel has no triggers, or the file may not be written.
    pub fn watch_pressure(&self, wanted: &PsiTrigger) -> Result<PsiTrigger, String> {
        let (trigger, taken) = kernel::host_trigger(wanted)?;
        self.shared.tell(Command::Trigger(trigger));
        Ok(taken)
    }

    /// Events that were lost because nobody took them.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.shared.wake();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has nothing more to say.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn tell(&self, command: Command) {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner).push(command);
        self.wake();
    }

    fn wake(&self) {
        // It fails only when the counter is full: then the thread wakes anyway.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    fn send(&self, out: &SyncSender<KernelEvent>, event: KernelEvent) {
        if out.try_send(event).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Which sources work on this machine, for `doctor`: tried on the cgroup of this process and
/// on /proc/pressure/memory.
pub fn probe() -> Vec<SourceState> {
    let wanted = PsiTrigger::default();
    let psi = kernel::host_trigger(&wanted).map(drop);
    let mut states = vec![SourceState { source: Source::Psi, works: psi }];
    if let Some(dirs) = crate::signals::cgroup_dirs(std::process::id()) {
        states.extend(Armed::new(dirs, &[90]).states());
    }
    states
}

/// Between two events of one kind of a cgroup, except thresholds and kills.
const QUIET: Duration = Duration::from_secs(1);
