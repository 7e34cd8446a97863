//! Samples a live target for a while, for `diagnose`.

use std::time::{Duration, Instant};

use analyze::growth::Series;
use capture::{CaptureError, ErrorKind, LiveTarget};
use model::{GoroutineSnapshot, Observation, Target, TargetSpec, Timestamp};

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
    /// What could not be read.
    pub warnings: Vec<String>,
}

const STEP: Duration = Duration::from_secs(1);
const HEAP_STEPS: u64 = 2;
const GOROUTINE_STEPS: u64 = 4;

impl Samples {
    /// Samples `spec` for `duration`; ends early when the target does.
    pub(crate) fn collect(spec: &TargetSpec, duration: Duration) -> Result<Samples, Failure> {
        let live = LiveTarget::attach(spec)?;
        let mut samples = Samples {
            target: live.target().clone(),
            observations: Vec::new(),
            heaps: Series::default(),
            goroutines: Vec::new(),
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
        if step.is_multiple_of(HEAP_STEPS) {
            match live.heap_profile() {
                Ok(heap) if heap.is_consistent => self.heaps.push(heap.time, &heap.profile),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Gone => return Err(error),
                Err(error) => self.warn(&error),
            }
        }
        if step.is_multiple_of(GOROUTINE_STEPS) {
            match live.goroutines() {
                Ok(snapshot) => self.goroutines.push((capture::now(), snapshot)),
                Err(error) if error.kind() == ErrorKind::Gone => return Err(error),
                Err(error) => self.warn(&error),
            }
        }
        Ok(())
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
