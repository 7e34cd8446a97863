//! One target's schedule: observe often, capture less often, judge after each capture.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use capture::{CaptureError, ErrorKind, LiveTarget, cpu_time, signals};
use model::{CaptureId, CaptureKind, FindingKind, Observation, TargetId, TargetSpec};
use store::StoreError;

use crate::captures::{self, Captures, Evidence, HeapOf, Taken};
use crate::events::{Event, Publish};
use crate::failures::{Part, note_capture};
use crate::figures::Latest;
use crate::graphs::Graphs;
use crate::pool::{Lane, Next};
use crate::registry::{self, Registry};
use crate::rules::Input;
use crate::runner::Runner;
use crate::watch::Settings;
use crate::window::{LOOKS_MAX, Window};

/// Goroutines are taken with every so many heap profiles, and where the resident memory is.
const GOROUTINES_EVERY: u64 = 2;
const RSS_EVERY: u64 = 2;
/// A round may cost this share of the time until the next one.
const BUDGET: u32 = 100;
/// Observations that wait to be written: a few in one transaction, and few that can be lost.
const SAVE_EVERY: usize = 6;
/// What waits for a store that takes nothing: an hour at the usual interval. A multiple of the above.
const UNSAVED_MAX: usize = 60 * SAVE_EVERY;
/// An observation of this age is as good as a new one.
const FRESH: Duration = Duration::from_secs(1);
/// How long to wait before looking again at a target that cannot be read.
const RETRY: Duration = Duration::from_secs(30);

/// Watches one target, a step at a time.
pub(crate) struct Watcher {
    pub(crate) spec: TargetSpec,
    pub(crate) captures: Arc<Captures>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) settings: Arc<Settings>,
    /// It is no longer to be watched.
    pub(crate) is_unwanted: Arc<AtomicBool>,
    pub(crate) publish: Publish,
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) rules: Option<Arc<Runner>>,
    /// `None` until it is attached.
    pub(crate) watched: Option<Box<Watched>>,
}

/// The state of one watched target.
pub(crate) struct Watched {
    shared: Arc<registry::Watched>,
    window: Window,
    unsaved: Vec<Observation>,
    verdict: Option<FindingKind>,
    rounds: u64,
    graphs: Graphs,
    /// The last look at malloc that is part of the evidence.
    native: Option<CaptureId>,
    observed: Option<Instant>,
    next_observation: Instant,
    next_capture: Instant,
    /// The store did not take the last round; that was told.
    store_fails: bool,
}

impl Watched {
    fn new(shared: Arc<registry::Watched>) -> Watched {
        let now = Instant::now();
        Watched {
            shared,
            window: Window::default(),
            unsaved: Vec::with_capacity(SAVE_EVERY),
            verdict: None,
            rounds: 0,
            graphs: Graphs::default(),
            native: None,
            observed: None,
            next_observation: now,
            next_capture: now,
            store_fails: false,
        }
    }

    fn next(&self) -> Next {
        match self.next_capture <= self.next_observation {
            true => Next { at: self.next_capture, lane: Lane::Heavy },
            false => Next { at: self.next_observation, lane: Lane::Quick },
        }
    }
}

enum RoundError {
    Capture(CaptureError),
    Store(StoreError),
}

impl From<CaptureError> for RoundError {
    fn from(error: CaptureError) -> RoundError {
        RoundError::Capture(error)
    }
}

impl From<StoreError> for RoundError {
    fn from(error: StoreError) -> RoundError {
        RoundError::Store(error)
    }
}

impl Watcher {
    /// Does what is due; `None` when the target has ended or the watch stops.
    pub(crate) fn step(&mut self, lane: Lane) -> Option<Next> {
        let is_over = self.stop.load(Ordering::Relaxed) || self.is_unwanted.load(Ordering::Relaxed);
        let Some(mut watched) = self.watched.take() else {
            return if is_over { None } else { Some(self.attach()) };
        };
        if is_over || !self.round(&mut watched, lane) {
            self.leave(&mut watched);
            return None;
        }
        let next = watched.next();
        self.watched = Some(watched);
        Some(next)
    }

    fn attach(&mut self) -> Next {
        // Not over after a failure: discovery would come back at once and warn for ever.
        let again = || Next { at: Instant::now() + RETRY, lane: Lane::Quick };
        let live = match LiveTarget::attach(&self.spec) {
            Ok(live) => live,
            Err(error) => {
                note_capture(&error);
                self.warn(None, &error.to_string(), error.next_step().as_deref());
                return again();
            }
        };
        let target = live.target().clone();
        let id = match self.captures.store.put_target(&target, capture::now()) {
            Ok(id) => id,
            Err(error) => {
                Part::Store.failed();
                self.warn(None, &error.to_string(), error.next_step());
                return again();
            }
        };
        let (name, pid) = (target.name.clone(), target.pid);
        (self.publish)(Event::TargetFound { target: id, name, pid });
        let (cgroup, latest) = (pid.and_then(signals::cgroup_dirs), Latest::default());
        let shared = Arc::new(registry::Watched { id, target, live, cgroup, latest });
        self.registry.enter(Arc::clone(&shared));
        self.watched = Some(Box::new(Watched::new(shared)));
        // Observed at once, while its first captures wait for their turn.
        Next { at: Instant::now(), lane: Lane::Quick }
    }

    fn leave(&self, watched: &mut Watched) {
        let id = watched.shared.id;
        self.registry.leave(id);
        if let Some(rules) = &self.rules {
            rules.ended(&watched.shared);
        }
        if self.save(watched).is_err() {
            Part::Store.failed();
        }
        if !self.stop.load(Ordering::Relaxed) {
            if self.captures.store.mark_ended(id).is_err() {
                Part::Store.failed();
            }
            (self.publish)(Event::TargetEnded { target: id });
        }
    }

    /// Observes or takes captures, if that is due; `false` when the target is gone.
    fn round(&self, watched: &mut Watched, lane: Lane) -> bool {
        let started = (Instant::now(), cpu_time());
        let is_capture = lane == Lane::Heavy && self.may_capture(watched, started.0);
        if !is_capture && started.0 < watched.next_observation {
            return true;
        }
        let config = self.settings.get();
        watched.next_observation = started.0 + config.observe;
        let result = match is_capture {
            true => self.capture_round(watched),
            false => self.observation(watched),
        };
        match result {
            Err(RoundError::Capture(error)) if error.kind() == ErrorKind::Gone => return false,
            Err(RoundError::Capture(error)) => self.note(watched, &error),
            Err(RoundError::Store(error)) => {
                Part::Store.failed();
                if !std::mem::replace(&mut watched.store_fails, true) {
                    self.warn(Some(watched.shared.id), &error.to_string(), error.next_step());
                }
                // Rules go on seeing what they need, also when nothing can be written.
                watched.next_observation += if is_capture { RETRY } else { Duration::ZERO };
            }
            Ok(()) if is_capture => watched.store_fails = false,
            Ok(()) => {}
        }
        let cost = cpu_time().saturating_sub(started.1);
        self.captures.cpu.spend(cost, Instant::now());
        if is_capture {
            watched.next_capture = started.0 + config.every.max(cost * BUDGET);
        }
        true
    }

    /// An observation between captures. A few are written together.
    fn observation(&self, watched: &mut Watched) -> Result<(), RoundError> {
        self.observe(watched)?;
        if !watched.unsaved.len().is_multiple_of(SAVE_EVERY) {
            return Ok(());
        }
        self.save(watched)?;
        // What somebody had looked at belongs into the verdict now, however far apart captures are.
        if self.native(watched)? { self.judge(watched) } else { Ok(()) }
    }

    /// Captures are due and may be taken; otherwise they are put off.
    fn may_capture(&self, watched: &mut Watched, now: Instant) -> bool {
        if now < watched.next_capture || watched.rounds == 0 {
            return now >= watched.next_capture;
        }
        let wait = self.captures.wait();
        // Those that wait must not all come back at once.
        let share = f64::from(watched.shared.id.0 as u32 % 64) / 64.0;
        watched.next_capture += wait + wait.mul_f64(share);
        wait.is_zero()
    }

    fn capture_round(&self, watched: &mut Watched) -> Result<(), RoundError> {
        // Right after an observation another one says nothing, and rates of nothing are noise.
        if watched.observed.is_none_or(|at| at.elapsed() >= FRESH) {
            self.observe(watched)?;
        }
        let (mut observed, mut failed) = (false, None);
        match self.heap(watched) {
            Ok(()) => observed = true,
            Err(RoundError::Capture(error)) if error.kind() != ErrorKind::Gone => {
                failed = Some(error);
            }
            Err(error) => return Err(error),
        }
        if watched.rounds.is_multiple_of(GOROUTINES_EVERY) {
            self.goroutines(watched)?;
            observed = true;
        }
        self.metrics(watched)?;
        if watched.rounds.is_multiple_of(RSS_EVERY) {
            self.rss(watched)?;
        }
        watched.rounds += 1;
        self.save(watched)?;
        if observed {
            self.native(watched)?;
            self.judge(watched)?;
        }
        failed.map_or(Ok(()), |error| Err(error.into()))
    }

    fn heap(&self, watched: &mut Watched) -> Result<(), RoundError> {
        let taken = captures::heap(&watched.shared.live, HeapOf::Published)?;
        if !taken.is_consistent {
            // A collection ended in the middle of the walk; the next round will do.
            return Ok(());
        }
        self.keep(watched, taken)
    }

    fn goroutines(&self, watched: &mut Watched) -> Result<(), RoundError> {
        let taken = captures::goroutines(&watched.shared.live)?;
        self.keep(watched, taken)
    }

    fn metrics(&self, watched: &mut Watched) -> Result<(), RoundError> {
        let taken = captures::metrics(&watched.shared.live);
        match self.taken(watched, taken)? {
            Some(taken) => self.keep(watched, taken),
            None => Ok(()),
        }
    }

    fn rss(&self, watched: &mut Watched) -> Result<(), RoundError> {
        if !matches!(watched.shared.live, LiveTarget::Process(_)) {
            return Ok(());
        }
        let taken = captures::rss(&watched.shared.live);
        match self.taken(watched, taken)? {
            Some(taken) => self.keep(watched, taken),
            None => Ok(()),
        }
    }

    /// Adds what probes of malloc saw since the last time, whoever had them look: rules and clients
    /// store it, as also an agent before this one may have. Says whether there was anything.
    fn native(&self, watched: &mut Watched) -> Result<bool, RoundError> {
        let registry::Watched { id, target, .. } = &*watched.shared;
        let store = &self.captures.store;
        let captures = store.captures(*id, Some(CaptureKind::Native), LOOKS_MAX)?;
        let known = watched.native;
        for capture in captures.iter().rev().filter(|capture| Some(capture.id) > known) {
            watched.native = Some(capture.id);
            let profile = store.read_capture(capture.id).map_err(|error| error.to_string());
            let profile = profile
                .and_then(|bytes| decode::pprof::read(&bytes).map_err(|error| error.to_string()));
            match profile {
                Ok(read) => watched.window.push_native(target, capture, &read.profile),
                // It went meanwhile, or is damaged: the verdict does without it.
                Err(text) => drop(watched.window.warn(&text)),
            }
        }
        Ok(watched.native != known)
    }

    /// What was taken; a failure is noted unless the target has ended.
    fn taken<T>(
        &self,
        watched: &mut Watched,
        result: Result<T, CaptureError>,
    ) -> Result<Option<T>, RoundError> {
        match result {
            Ok(taken) => Ok(Some(taken)),
            Err(error) if error.kind() == ErrorKind::Gone => Err(error.into()),
            Err(error) => {
                self.note(watched, &error);
                Ok(None)
            }
        }
    }

    /// Stores a capture and adds it to the evidence.
    fn keep(&self, watched: &mut Watched, taken: Taken) -> Result<(), RoundError> {
        self.captures.keep(watched.shared.id, "schedule", &taken)?;
        let (time, window) = (taken.time, &mut watched.window);
        match taken.evidence {
            Evidence::Heap(profile) => window.push_heap(time, &profile),
            Evidence::Goroutines(snapshot) => window.push_goroutines(time, snapshot),
            Evidence::Metrics(metrics) => {
                window.push_metrics(time, &metrics);
                watched.shared.latest.measured(metrics);
            }
            Evidence::Rss(rss) => window.push_rss(*rss),
            Evidence::GoroutineLeak | Evidence::Probe => {}
        }
        Ok(())
    }

    /// Writes the observations that have gathered, in one transaction.
    fn save(&self, watched: &mut Watched) -> Result<(), RoundError> {
        if !watched.unsaved.is_empty() {
            self.captures.store.put_observations(watched.shared.id, &watched.unsaved)?;
            watched.unsaved.clear();
            (self.publish)(Event::Observed { target: watched.shared.id });
        }
        Ok(())
    }

    fn judge(&self, watched: &mut Watched) -> Result<(), RoundError> {
        let registry::Watched { id, target, live, .. } = &*watched.shared;
        let mut diagnosis = watched.window.diagnose(target);
        if self.settings.get().graphs {
            let graphs = &mut watched.graphs;
            let warning = graphs.step(&self.captures, &self.stop, live, *id, &mut diagnosis);
            if let Some(text) = warning
                && watched.window.warn(&text)
            {
                (self.publish)(Event::Warning { target: Some(*id), text });
            }
        }
        self.captures.store.put_diagnosis(*id, &diagnosis)?;
        watched.shared.latest.diagnosed(&diagnosis);
        if let Some(rules) = &self.rules {
            let input = Input { findings: Some(&diagnosis.findings), ..Input::default() };
            rules.learned(&watched.shared, &input);
        }
        let verdict = diagnosis.verdict();
        let is_new = watched.verdict.replace(verdict) != Some(verdict);
        let first = diagnosis.findings.first();
        (self.publish)(Event::Diagnosed {
            target: *id,
            verdict,
            confidence: first.map_or(0.0, |finding| finding.confidence.0),
            is_new,
            summary: first.map(|finding| finding.summary.clone()).unwrap_or_default(),
        });
        Ok(())
    }

    fn note(&self, watched: &mut Watched, error: &CaptureError) {
        note_capture(error);
        let text = match error.next_step() {
            Some(next) => format!("{error} ({next})"),
            None => error.to_string(),
        };
        if watched.window.warn(&text) {
            (self.publish)(Event::Warning { target: Some(watched.shared.id), text });
        }
    }

    fn warn(&self, target: Option<TargetId>, text: &str, next: Option<&str>) {
        let next = next.map(|next| format!(" ({next})")).unwrap_or_default();
        (self.publish)(Event::Warning { target, text: format!("{text}{next}") });
    }

    fn observe(&self, watched: &mut Watched) -> Result<(), CaptureError> {
        let observation = watched.shared.live.observe()?;
        watched.shared.latest.observed(&observation);
        if let Some(rules) = &self.rules {
            let input = Input { observation: Some(&observation), ..Input::default() };
            rules.learned(&watched.shared, &input);
        }
        watched.observed = Some(Instant::now());
        if watched.unsaved.len() >= UNSAVED_MAX {
            watched.unsaved.remove(0);
        }
        watched.unsaved.push(observation.clone());
        watched.window.push_observation(observation);
        Ok(())
    }
}
