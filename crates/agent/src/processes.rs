//! Lives of all processes of the machine, as a probe in the kernel tells of beginnings and ends.
//!
//! Held in memory, within bounds (`analyze::lives`): a few megabytes. What the probe tells is read a few
//! times a second and no faster than so many events; on a machine that starts more, the kernel drops and
//! counts the rest.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use analyze::lives::{Chosen, Life, Lives, Omitted, Wanted};
use capture::bpf::ExecProbe;
use capture::find::present;
use capture::{CaptureError, signals};
use model::probe::ProcessEvent;
use model::{Bytes, TargetId, Timestamp};

use crate::config::ProbeUse;
use crate::events::{Event, Publish};
use crate::failures::Part;
use crate::registry::Registry;
use crate::seeds::Seeds;
use crate::standing::Standing;
use crate::watch::Settings;

/// Processes that have ended, some 20,000 of them.
const ENDED_BYTES_MAX: usize = 4 << 20;
/// How often is read what the kernel has told.
const STEP: Duration = Duration::from_millis(200);
/// Events that are read in a second; 1 to 2 µs each.
const EVENTS_PER_SECOND: f64 = 20_000.0;
/// How often it is looked at who is under watch, and after losses at who lives.
const SYNC: Duration = Duration::from_secs(1);
const CHECK: Duration = Duration::from_secs(5);

/// What is known of the machine's processes.
#[derive(Debug, Default)]
pub struct Processes(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    lives: Option<Lives>,
    since: Option<Timestamp>,
    /// Why nothing is known.
    reason: String,
    dropped: u64,
}

/// Lives within a time.
#[derive(Clone, Debug)]
pub struct Timeline {
    /// The lives; `None` while nobody tells of any.
    pub chosen: Option<Chosen>,
    /// Why nobody does; empty before it is tried.
    pub reason: String,
    /// Since when beginnings and ends are seen.
    pub since: Option<Timestamp>,
    /// What is not there.
    pub omitted: Omitted,
    /// Beginnings and ends that came faster than they were read.
    pub dropped: u64,
}

/// What the thread needs that listens.
pub(crate) struct Telling {
    pub(crate) processes: Arc<Processes>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) publish: Publish,
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) seeds: Seeds,
}

struct Open {
    probe: ExecProbe,
    synced: Instant,
    checked: Instant,
    /// Losses at the last check.
    dropped: u64,
}

impl Processes {
    /// The lives that are wanted. The peak of those that live is that of this moment.
    pub fn timeline(&self, wanted: &Wanted<'_>) -> Timeline {
        let mut timeline = {
            let state = self.lock();
            Timeline {
                chosen: state.lives.as_ref().map(|lives| lives.choose(wanted)),
                reason: state.reason.clone(),
                since: state.since,
                omitted: state.lives.as_ref().map(Lives::omitted).unwrap_or_default(),
                dropped: state.dropped,
            }
        };
        let lives = timeline.chosen.iter_mut().flat_map(|chosen| &mut chosen.lives);
        for life in lives.filter(|life| life.ended.is_none()) {
            life.peak = signals::process(life.pid, false).rss_peak_bytes.map(Bytes);
        }
        timeline
    }

    /// The OOM killer took one.
    pub(crate) fn killed(&self, pid: u32, time: Timestamp) {
        if let Some(lives) = &mut self.lock().lives {
            lives.killed(pid, time);
        }
    }

    /// Begins: with those that are there.
    fn begin(&self) {
        let (mut lives, now) = (Lives::new(ENDED_BYTES_MAX), capture::now());
        lives.enter_present(present(), capture::now());
        let mut state = self.lock();
        *state = State { lives: Some(lives), since: Some(now), ..State::default() };
    }

    fn end(&self, reason: &str) {
        *self.lock() = State { reason: reason.to_owned(), ..State::default() };
    }

    fn take(&self, events: Vec<ProcessEvent>, dropped: u64) {
        let mut state = self.lock();
        state.dropped = dropped;
        if let Some(lives) = &mut state.lives {
            events.into_iter().for_each(|event| lives.push(event));
        }
    }

    fn watched(&self, targets: &BTreeMap<u32, TargetId>) {
        if let Some(lives) = &mut self.lock().lives {
            targets.iter().for_each(|(pid, target)| lives.watched(*pid, *target));
        }
    }

    /// Ends those that live no longer.
    fn check(&self) {
        let alive: Vec<u32> = match &self.lock().lives {
            Some(lives) => lives.all().filter(|life| life.ended.is_none()).map(pid_of).collect(),
            None => return,
        };
        let is_gone = |pid: &u32| !Path::new(&format!("/proc/{pid}")).exists();
        let mut gone: Vec<u32> = alive.into_iter().filter(is_gone).collect();
        gone.sort_unstable();
        if let Some(lives) = &mut self.lock().lives {
            lives.check(|pid| gone.binary_search(&pid).is_err(), capture::now());
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pid_of(life: &Life) -> u32 {
    life.pid
}

impl Telling {
    /// Listens until told to stop.
    pub(crate) fn run(&mut self) {
        let mut standing = Standing::default();
        while !self.stop.load(Ordering::Relaxed) {
            let told = |why: &str, is_fault: bool| {
                self.processes.end(why);
                if is_fault {
                    Part::Watch.failed();
                    let text = format!("processes that come and go are not seen: {why}");
                    (self.publish)(Event::Warning { target: None, text });
                }
            };
            let wanted = self.settings.get().exec_probe;
            match standing.keep_to(wanted, || self.open(), told) {
                Some(open) => self.step(open),
                None => {
                    if wanted == ProbeUse::Never {
                        self.processes.end("the configuration says so (probes.exec)");
                    }
                    std::thread::sleep(STEP);
                }
            }
        }
    }

    fn open(&self) -> Result<Open, CaptureError> {
        let probe = ExecProbe::open()?;
        // What happens from here on is told, so that nobody is missed.
        self.processes.begin();
        let now = Instant::now();
        Ok(Open { probe, synced: now, checked: now, dropped: 0 })
    }

    fn step(&mut self, open: &mut Open) {
        let mut events = Vec::new();
        open.probe.read(Duration::ZERO, |event| events.push(event));
        let rest = Duration::from_secs_f64(events.len() as f64 / EVENTS_PER_SECOND);
        let dropped = open.probe.counts().dropped;
        self.seeds.see(&events);
        self.processes.take(events, dropped);
        if open.synced.elapsed() >= SYNC {
            open.synced = Instant::now();
            let targets = self.registry.all();
            let pids = targets.iter().filter_map(|it| Some((it.target.pid?, it.id))).collect();
            self.processes.watched(&pids);
        }
        if dropped > open.dropped && open.checked.elapsed() >= CHECK {
            (open.checked, open.dropped) = (Instant::now(), dropped);
            self.processes.check();
        }
        std::thread::sleep(STEP.max(rest));
    }
}
