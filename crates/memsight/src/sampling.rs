//! Samples a live target for a while, for `diagnose`.

use std::time::{Duration, Instant};

use analyze::growth::Series;
use capture::{CaptureError, ErrorKind, LiveTarget};
use model::{GoroutineSnapshot, Observation, Rss, RuntimeMetrics, Target, TargetSpec, Timestamp};

use crate::failure::Failure;
use crate::terminal::Progress;

/// What was seen.
pub(crate) struct Samples {
    /// Of whom.
    pub target: Target,
    /// Level signals, one a second.
    pub observations: Vec<Observation>,
    /// Heap profiles, every two seconds.
    pub heaps: Series,
    /// Goroutines, every four seconds.
    pub goroutines: Vec<(Timestamp, GoroutineSnapshot)>,
    /// Accounts of the resident memory, every ten seconds; without their mappings.
    pub accounts: Vec<Rss>,
    /// The runtime's metrics, every ten seconds.
    pub metrics: Vec<(Timestamp, RuntimeMetrics)>,
    /// What could not be read.
    pub warnings: Vec<String>,
}

const STEP: Duration = Duration::from_secs(1);
const HEAP_STEPS: u64 = 2;
const GOROUTINE_STEPS: u64 = 4;
const FIGURES_STEPS: u64 = 10;

impl Samples {
    /// Samples `spec` for `duration`; ends early when the target does.
    pub(crate) fn collect(spec: &TargetSpec, duration: Duration) -> Result<Samples, Failure> {
        let live = LiveTarget::attach(spec)?;
        let mut samples = Samples {
            target: live.target().clone(),
            observations: Vec::new(),
            heaps: Series::default(),
            goroutines: Vec::new(),
            accounts: Vec::new(),
            metrics: Vec::new(),
            warnings: Vec::new(),
        };
        let started = Instant::now();
        let mut progress = Progress::new();
        let mut step = 0;
        loop {
            match samples.take(&live, step) {
                Err(error) if error.kind() == ErrorKind::Gone && step > 0 => {
                    samples.warn(&error);
                    break;
                }
                result => result?,
            }
            step += 1;
            let next = started + STEP * step as u32;
            if next > started + duration {
                break;
            }
            progress.show(&format!(
                "{}: {} of {} s, {} heap profiles",
                samples.target.name,
                started.elapsed().as_secs(),
                duration.as_secs(),
                samples.heaps.len()
            ));
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        Ok(samples)
    }

    fn take(&mut self, live: &LiveTarget, step: u64) -> Result<(), CaptureError> {
        self.observations.push(live.observe()?);
        if step.is_multiple_of(HEAP_STEPS)
            && let Some(heap) = self.taken(live.heap_profile())?
            && heap.is_consistent
        {
            self.heaps.push(heap.time, &heap.profile);
        }
        if step.is_multiple_of(GOROUTINE_STEPS)
            && let Some(snapshot) = self.taken(live.goroutines())?
        {
            self.goroutines.push((capture::now(), snapshot));
        }
        if step.is_multiple_of(FIGURES_STEPS) {
            self.figures(live)?;
        }
        Ok(())
    }

    fn figures(&mut self, live: &LiveTarget) -> Result<(), CaptureError> {
        let time = capture::now();
        if let Some(metrics) = self.taken(live.runtime_metrics())? {
            self.metrics.push((time, metrics));
        }
        if matches!(live, LiveTarget::Process(_))
            && let Some(mut rss) = self.taken(live.rss())?
        {
            rss.maps = Vec::new();
            self.accounts.push(rss);
        }
        Ok(())
    }

    /// What was taken; a failure is noted unless the target has ended.
    fn taken<T>(&mut self, result: Result<T, CaptureError>) -> Result<Option<T>, CaptureError> {
        match result {
            Ok(taken) => Ok(Some(taken)),
            Err(error) if error.kind() == ErrorKind::Gone => Err(error),
            Err(error) => {
                self.warn(&error);
                Ok(None)
            }
        }
    }

    fn warn(&mut self, error: &CaptureError) {
        let text = match error.next_step() {
            Some(next) => format!("{error} ({next})"),
            None => error.to_string(),
        };
        if !self.warnings.contains(&text) {
            self.warnings.push(text);
        }
    }
}
