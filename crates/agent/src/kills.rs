//! OOM kills as the kernel itself tells them: whom it took and why and, of targets under watch, the
//! heap profile of the moment, which the victim copies in the kernel.
//!
//! One probe for all targets, in a thread of its own; ten times a second it looks whether targets came
//! or went.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use capture::bpf::{OomEvent, OomProbe, VictimProfile};
use capture::{CaptureError, LiveTarget, ProcessTarget, cpu_time};
use decode::pprof;
use model::probe::OomVictim;
use model::{CaptureKind, TargetId};

use crate::captures::{self, Captures, Evidence, Taken};
use crate::events::{Event, Publish};
use crate::failures::Part;
use crate::processes::Processes;
use crate::registry::{Registry, Watched};
use crate::standing::Standing;
use crate::watch::Settings;

/// Why a capture was taken that shows a program as it was killed.
pub const OOM_KILL: &str = "oom-kill";

/// How often is read what the kernel has told, and targets are told to it that came and went.
const STEP: Duration = Duration::from_millis(100);
/// What is told of a target that was left this long ago has come.
const LATE: Duration = Duration::from_secs(30);

/// What the thread needs.
pub(crate) struct Kills {
    pub(crate) captures: Arc<Captures>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) processes: Arc<Processes>,
    pub(crate) publish: Publish,
    pub(crate) stop: Arc<AtomicBool>,
}

/// The probe, and the targets that it was told of, by pid.
struct Open {
    probe: OomProbe,
    known: BTreeMap<u32, Known>,
    /// The registry's changes that are known.
    changes: Option<u64>,
}

struct Known {
    watched: Arc<Watched>,
    /// When it was no longer under watch.
    left: Option<Instant>,
}

impl Kills {
    /// Listens until told to stop.
    pub(crate) fn run(&self) {
        let mut standing = Standing::default();
        while !self.stop.load(Ordering::Relaxed) {
            let open = || {
                let (probe, known) = (OomProbe::open()?, BTreeMap::new());
                Ok(Open { probe, known, changes: None })
            };
            let told = |why: &str, is_fault: bool| {
                if is_fault {
                    self.warn(&format!("the heap of programs that are killed is not kept: {why}"));
                }
            };
            match standing.keep_to(self.settings.get().oom_probe, open, told) {
                Some(open) => self.step(open),
                None => std::thread::sleep(STEP),
            }
        }
    }

    fn step(&self, open: &mut Open) {
        self.sync(open);
        let mut events = Vec::new();
        open.probe.read(Duration::ZERO, |event| events.push(event));
        for event in events {
            match event {
                OomEvent::Killed(victim) => self.killed(open, &victim),
                OomEvent::Profile(copy) => self.copied(open, &copy),
            }
        }
        std::thread::sleep(STEP);
    }

    /// Has the kernel know the targets under watch, and no others.
    fn sync(&self, open: &mut Open) {
        Self::forget(open);
        let changes = Some(self.registry.changes());
        if open.changes == changes {
            return;
        }
        open.changes = changes;
        let all = self.registry.all();
        let ids: BTreeSet<TargetId> = all.iter().map(|watched| watched.id).collect();
        for known in open.known.values_mut() {
            let is_watched = ids.contains(&known.watched.id);
            known.left =
                if is_watched { None } else { known.left.or_else(|| Some(Instant::now())) };
        }
        for watched in all {
            let LiveTarget::Process(process) = &watched.live else { continue };
            let pid = process.pid();
            if open.known.get(&pid).is_some_and(|known| known.watched.id == watched.id) {
                continue;
            }
            // One without a heap profile, or that has just ended, is told without; asking again
            // would change nothing.
            let _ = open.probe.watch(process);
            open.known.insert(pid, Known { watched, left: None });
        }
    }

    /// Has the kernel forget those that were left long ago.
    fn forget(open: &mut Open) {
        let is_over = |known: &Known| known.left.is_some_and(|left| left.elapsed() > LATE);
        let over: Vec<u32> =
            open.known.iter().filter(|(_, known)| is_over(known)).map(|(pid, _)| *pid).collect();
        for pid in over {
            open.known.remove(&pid);
            open.probe.forget(pid);
        }
    }

    fn killed(&self, open: &Open, victim: &OomVictim) {
        let target = open.known.get(&victim.pid).map(|known| known.watched.id);
        self.processes.killed(victim.pid, victim.time);
        (self.publish)(Event::Killed { target, victim: victim.clone() });
    }

    fn copied(&self, open: &Open, copy: &VictimProfile) {
        let Some(known) = open.known.get(&copy.pid) else { return };
        let LiveTarget::Process(process) = &known.watched.live else { return };
        let kept = taken(process, copy)
            .map_err(|error| error.to_string())
            .and_then(|taken| self.keep(&known.watched, &taken).map_err(|error| error.to_string()));
        if let Err(error) = kept {
            self.captures.not_kept(
                known.watched.id,
                &format!("the heap in the moment of its OOM kill was not stored: {error}"),
            );
        }
    }

    fn keep(&self, watched: &Watched, taken: &Taken) -> Result<(), store::StoreError> {
        let capture = self.captures.keep(watched.id, OOM_KILL, taken)?;
        self.captures.store.put_kill(watched.id, taken.time, capture.id)
    }

    fn warn(&self, text: &str) {
        Part::Watch.failed();
        (self.publish)(Event::Warning { target: None, text: text.to_owned() });
    }
}

fn taken(process: &ProcessTarget, copy: &VictimProfile) -> Result<Taken, CaptureError> {
    let started = cpu_time();
    let profile = process.heap_profile_in(copy)?;
    let bytes = pprof::write(&profile);
    let evidence = Evidence::Heap(Box::new(profile));
    let taken = captures::taken(CaptureKind::Heap, capture::now(), started, bytes, evidence);
    Ok(Taken { is_consistent: copy.unread == 0, ..taken })
}
