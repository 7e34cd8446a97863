//! The targets under watch now, for whoever acts on them beside the schedule, and the kernel's
//! signals about their cgroups.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use capture::LiveTarget;
use capture::events::{KernelEvent, Signals, SourceState, WatchId};
use capture::signals::CgroupDirs;
use model::{Target, TargetId};

use crate::figures::Latest;

/// A target under watch.
#[derive(Debug)]
pub struct Watched {
    /// Key in the store.
    pub id: TargetId,
    /// What it is.
    pub target: Target,
    /// How it is read; from any thread.
    pub live: LiveTarget,
    /// Its cgroup, when it has a memory controller.
    pub cgroup: Option<CgroupDirs>,
    /// What was read of it last.
    pub latest: Latest,
}

/// All targets under watch.
#[derive(Debug, Default)]
pub struct Registry {
    targets: Mutex<BTreeMap<TargetId, Arc<Watched>>>,
    /// How often targets came or went.
    changes: AtomicU64,
    cgroups: Mutex<Option<Cgroups>>,
}

/// Takes what the kernel tells, with the targets it is about: those of the cgroup, or all. It is
/// called from a thread of its own, which waits for it.
pub type OnKernel = Arc<dyn Fn(&KernelEvent, &[Arc<Watched>]) + Send + Sync>;

/// The cgroups that are watched, each once however many targets live in it.
#[derive(Debug)]
struct Cgroups {
    signals: Signals,
    percents: Vec<u8>,
    known: HashMap<PathBuf, (WatchId, usize)>,
}

impl Registry {
    /// A target under watch.
    pub fn get(&self, id: TargetId) -> Option<Arc<Watched>> {
        self.lock().get(&id).cloned()
    }

    /// All targets under watch, by key.
    pub fn all(&self) -> Vec<Arc<Watched>> {
        self.lock().values().cloned().collect()
    }

    /// Another number once a target came or went.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// The targets that an event is about.
    pub fn about(&self, cgroup: Option<&Path>) -> Vec<Arc<Watched>> {
        let is_in = |watched: &&Arc<Watched>| {
            cgroup.is_none_or(|dir| watched.cgroup.as_ref().is_some_and(|dirs| dirs.own == dir))
        };
        self.lock().values().filter(is_in).cloned().collect()
    }

    /// Has the cgroups of all targets watched from now on.
    pub(crate) fn watch_cgroups(&self, signals: Signals, percents: Vec<u8>) {
        let cgroups = Cgroups { signals, percents, known: HashMap::new() };
        *self.cgroups.lock().unwrap_or_else(PoisonError::into_inner) = Some(cgroups);
    }

    /// Ends watching cgroups, and with it the thread that waits for them.
    pub(crate) fn forget_cgroups(&self) {
        let cgroups = self.cgroups.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(cgroups);
    }

    /// Enters a target; says what of its cgroup cannot be watched as it happens.
    pub(crate) fn enter(&self, watched: Arc<Watched>) -> Vec<SourceState> {
        let dirs = watched.cgroup.clone();
        self.lock().insert(watched.id, watched);
        self.changes.fetch_add(1, Ordering::Release);
        let mut cgroups = self.cgroups.lock().unwrap_or_else(PoisonError::into_inner);
        match (cgroups.as_mut(), dirs) {
            (Some(cgroups), Some(dirs)) => cgroups.enter(&dirs),
            _ => Vec::new(),
        }
    }

    /// Forgets a target that has ended.
    pub(crate) fn leave(&self, id: TargetId) {
        let left = self.lock().remove(&id);
        self.changes.fetch_add(1, Ordering::Release);
        let mut cgroups = self.cgroups.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(cgroups), Some(dirs)) =
            (cgroups.as_mut(), left.and_then(|left| left.cgroup.clone()))
        {
            cgroups.leave(&dirs);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<TargetId, Arc<Watched>>> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cgroups {
    fn enter(&mut self, dirs: &CgroupDirs) -> Vec<SourceState> {
        if let Some((_, targets)) = self.known.get_mut(&dirs.own) {
            *targets += 1;
            return Vec::new();
        }
        let (id, states) = self.signals.watch(dirs, &self.percents);
        self.known.insert(dirs.own.clone(), (id, 1));
        states
    }

    fn leave(&mut self, dirs: &CgroupDirs) {
        let Some((id, targets)) = self.known.get_mut(&dirs.own) else { return };
        *targets -= 1;
        if *targets == 0 {
            self.signals.unwatch(*id);
            self.known.remove(&dirs.own);
        }
    }
}
