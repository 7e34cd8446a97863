//! One target's schedule: observe often, capture less often, judge after each capture.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use capture::{CaptureError, ErrorKind, LiveTarget, cpu_time};
use model::{CaptureKind, FindingKind, Observation, Target, TargetId, TargetSpec, Timestamp};
use store::{NewCapture, Store, StoreError};

use crate::events::{Event, Publish};
use crate::graphs::Graphs;
use crate::window::Window;

/// Goroutines are taken with every so many heap profiles, and where the resident memory is.
const GOROUTINES_EVERY: u64 = 2;
const RSS_EVERY: u64 = 2;
/// A round may cost this share of the time until the next one.
const BUDGET: u32 = 100;
/// How long to wait before looking again at a target that cannot be read.
const RETRY: Duration = Duration::from_secs(30);

pub(crate) struct Watcher {
    pub(crate) store: Arc<Store>,
    pub(crate) every: Duration,
    pub(crate) graphs: bool,
    pub(crate) publish: Publish,
    pub(crate) stop: Arc<AtomicBool>,
}

/// The state of one watched target.
struct Watched {
    live: LiveTarget,
    target: Target,
    id: TargetId,
    window: Window,
    unsaved: Vec<Observation>,
    verdict: Option<FindingKind>,
    rounds: u64,
    graphs: Graphs,
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
    /// Watches until the target ends or the watch stops.
    pub(crate) fn run(&self, spec: &TargetSpec) {
        let live = match LiveTarget::attach(spec) {
            Ok(live) => live,
            Err(error) => {
                // Not `ended`: discovery would come back at once and warn for ever.
                self.warn(None, &error.to_string(), error.next_step().as_deref());
                self.pause(Instant::now() + RETRY);
                return;
            }
        };
        let target = live.target().clone();
        let id = match self.store.put_target(&target, capture::now()) {
            Ok(id) => id,
            Err(error) => {
                self.warn(None, &error.to_string(), error.next_step());
                self.pause(Instant::now() + RETRY);
                return;
            }
        };
        let (name, pid) = (target.name.clone(), target.pid);
        (self.publish)(Event::TargetFound { target: id, name, pid });
        let window = Window::default();
        let (unsaved, verdict, rounds, graphs) = (Vec::new(), None, 0, Graphs::default());
        let mut watched = Watched { live, target, id, window, unsaved, verdict, rounds, graphs };
        self.rounds(&mut watched);
        let _ = self.save(&mut watched);
        if !self.stop.load(Ordering::Relaxed) {
            let _ = self.store.mark_ended(id);
            (self.publish)(Event::TargetEnded { target: id });
        }
    }

    fn rounds(&self, watched: &mut Watched) {
        let step = (self.every / 5).clamp(Duration::from_millis(500), Duration::from_secs(10));
        let mut next_capture = Instant::now();
        while !self.stop.load(Ordering::Relaxed) {
            let mut next = Instant::now() + step;
            let is_capture = Instant::now() >= next_capture;
            let started = (Instant::now(), cpu_time());
            let result = match is_capture {
                true => self.capture_round(watched),
                false => observe(watched).map_err(RoundError::from),
            };
            match result {
                Err(RoundError::Capture(error)) if error.kind() == ErrorKind::Gone => return,
                Err(RoundError::Capture(error)) => self.note(watched, &error),
                Err(RoundError::Store(error)) => {
                    self.warn(Some(watched.id), &error.to_string(), error.next_step());
                    next += RETRY;
                }
                Ok(()) => {}
            }
            if is_capture {
                let cost = cpu_time().saturating_sub(started.1);
                next_capture = started.0 + self.every.max(cost * BUDGET);
            }
            self.pause(next.min(next_capture.max(Instant::now())));
        }
    }

    fn capture_round(&self, watched: &mut Watched) -> Result<(), RoundError> {
        observe(watched)?;
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
            self.judge(watched)?;
        }
        failed.map_or(Ok(()), |error| Err(error.into()))
    }

    fn heap(&self, watched: &mut Watched) -> Result<(), RoundError> {
        let heap = watched.live.heap_profile()?;
        if !heap.is_consistent {
            // A collection ended in the middle of the walk; the next round will do.
            return Ok(());
        }
        watched.window.push_heap(heap.time, &heap.profile);
        let bytes = decode::pprof::write(&heap.profile);
        self.put(watched, CaptureKind::Heap, heap.time, heap.cost, &bytes)
    }

    fn goroutines(&self, watched: &mut Watched) -> Result<(), RoundError> {
        let started = cpu_time();
        let snapshot = watched.live.goroutines()?;
        let (time, cost) = (capture::now(), cpu_time().saturating_sub(started));
        let profile = decode::pprof::goroutines::to_profile(&snapshot, time);
        watched.window.push_goroutines(time, snapshot);
        let bytes = decode::pprof::write(&profile);
        self.put(watched, CaptureKind::Goroutine, time, cost, &bytes)
    }

    fn metrics(&self, watched: &mut Watched) -> Result<(), RoundError> {
        let (time, started) = (capture::now(), cpu_time());
        let taken = watched.live.runtime_metrics();
        let Some(metrics) = self.taken(watched, taken)? else { return Ok(()) };
        let cost = cpu_time().saturating_sub(started);
        let bytes = decode::records::write_metrics(time, &metrics);
        watched.window.push_metrics(time, metrics);
        self.put(watched, CaptureKind::Runtime, time, cost, &bytes)
    }

    fn rss(&self, watched: &mut Watched) -> Result<(), RoundError> {
        if !matches!(watched.live, LiveTarget::Process(_)) {
            return Ok(());
        }
        let started = cpu_time();
        let taken = watched.live.rss();
        let Some(rss) = self.taken(watched, taken)? else { return Ok(()) };
        let (time, cost) = (rss.time, cpu_time().saturating_sub(started));
        let bytes = decode::records::write_rss(&rss);
        watched.window.push_rss(rss);
        self.put(watched, CaptureKind::Rss, time, cost, &bytes)
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

    fn put(
        &self,
        watched: &Watched,
        kind: CaptureKind,
        time: Timestamp,
        cost: Duration,
        bytes: &[u8],
    ) -> Result<(), RoundError> {
        let cost_micros = u64::try_from(cost.as_micros()).unwrap_or(u64::MAX);
        let target = watched.id;
        let reason = "schedule";
        let new = NewCapture { target, kind, time, reason, cost_micros, bytes };
        let capture = self.store.put_capture(&new)?.id;
        (self.publish)(Event::Captured { target, capture });
        Ok(())
    }

    /// Writes the observations that have gathered, in one transaction.
    fn save(&self, watched: &mut Watched) -> Result<(), RoundError> {
        if !watched.unsaved.is_empty() {
            self.store.put_observations(watched.id, &watched.unsaved)?;
            watched.unsaved.clear();
            (self.publish)(Event::Observed { target: watched.id });
        }
        Ok(())
    }

    fn judge(&self, watched: &mut Watched) -> Result<(), RoundError> {
        let mut diagnosis = watched.window.diagnose(&watched.target);
        if self.graphs {
            let Watched { graphs, live, id, .. } = watched;
            let step = graphs.step(&self.store, live, *id, &mut diagnosis);
            if let Some(capture) = step.stored {
                (self.publish)(Event::Captured { target: watched.id, capture });
            }
            if let Some(text) = step.warning
                && watched.window.warn(&text)
            {
                (self.publish)(Event::Warning { target: Some(watched.id), text });
            }
        }
        self.store.put_diagnosis(watched.id, &diagnosis)?;
        let verdict = diagnosis.verdict();
        let is_new = watched.verdict.replace(verdict) != Some(verdict);
        let first = diagnosis.findings.first();
        (self.publish)(Event::Diagnosed {
            target: watched.id,
            verdict,
            confidence: first.map_or(0.0, |finding| finding.confidence.0),
            is_new,
            summary: first.map(|finding| finding.summary.clone()).unwrap_or_default(),
        });
        Ok(())
    }

    fn note(&self, watched: &mut Watched, error: &CaptureError) {
        let text = match error.next_step() {
            Some(next) => format!("{error} ({next})"),
            None => error.to_string(),
        };
        if watched.window.warn(&text) {
            (self.publish)(Event::Warning { target: Some(watched.id), text });
        }
    }

    fn warn(&self, target: Option<TargetId>, text: &str, next: Option<&str>) {
        let next = next.map(|next| format!(" ({next})")).unwrap_or_default();
        (self.publish)(Event::Warning { target, text: format!("{text}{next}") });
    }

    /// Sleeps until then, in steps short enough to stop promptly.
    fn pause(&self, until: Instant) {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || self.stop.load(Ordering::Relaxed) {
                return;
            }
            std::thread::sleep(left.min(Duration::from_millis(250)));
        }
    }
}

fn observe(watched: &mut Watched) -> Result<(), CaptureError> {
    let observation = watched.live.observe()?;
    watched.unsaved.push(observation.clone());
    watched.window.push_observation(observation);
    Ok(())
}
