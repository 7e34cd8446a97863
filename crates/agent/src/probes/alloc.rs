//! Sampled objects of a Go program, from birth to death.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use analyze::samples::{Estimate, GoroutineSamples, Samples, SiteSamples};
use capture::bpf::{AllocProbe, ProbeCost};
use capture::find::exe_path;
use capture::{CaptureError, ProcessTarget, monotonic_nanos};
use decode::goruntime::{Bucket, Counts, HeapBuckets};
use model::probe::{MonotonicNanos, ProbeCounts};
use model::{Addr, LabelValue, Profile};

use super::{COST_AFTER, End};

/// What was seen of the sampled objects of a process.
#[derive(Clone, Debug)]
pub struct Allocations {
    /// The stacks, those of which most lives first.
    pub sites: Vec<SiteSamples>,
    /// The goroutines, those first that allocated most; known once it is over.
    pub goroutines: Vec<GoroutineSamples>,
    /// All that was allocated.
    pub allocated: Estimate,
    /// What of it lives.
    pub live: Estimate,
    /// Deaths that were not told.
    pub missed_deaths: u64,
    /// What was lost.
    pub counts: ProbeCounts,
    /// Mean number of bytes between two samples.
    pub rate: i64,
    /// How long it was looked at.
    pub took: Duration,
    /// What that cost, in the target's own time.
    pub cost: ProbeCost,
    /// Why it is over.
    pub end: End,
}

/// What is known while a probe looks.
pub struct AllocationsSoFar<'a> {
    /// The samples.
    pub samples: &'a Samples,
    probe: &'a AllocProbe,
    begun: Instant,
    rate: i64,
}

impl AllocationsSoFar<'_> {
    /// What would be told if it ended now.
    pub fn found(&self) -> Allocations {
        let now = MonotonicNanos(monotonic_nanos().cast_unsigned());
        let (allocated, live) = self.samples.total();
        Allocations {
            sites: self.samples.sites(now),
            goroutines: Vec::new(),
            allocated,
            live,
            missed_deaths: self.samples.missed_deaths(),
            counts: self.probe.counts(),
            rate: self.rate,
            took: self.begun.elapsed(),
            cost: self.probe.cost(),
            end: End::Asked,
        }
    }

    /// What was lost.
    pub(super) fn counts(&self) -> ProbeCounts {
        self.probe.counts()
    }

    /// How long it has looked.
    pub(super) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// What the probe has cost, in the target's own time.
    pub(super) fn cost(&self) -> ProbeCost {
        self.probe.cost()
    }
}

/// Follows the sampled objects of a process from birth to death, for as long as `step` says how long
/// to wait for the next, and it takes no more than `cost_max` of a core.
///
/// # Errors
/// When the program takes no samples, or the probe cannot be used.
pub fn allocations(
    target: &ProcessTarget,
    cost_max: f64,
    step: &mut dyn FnMut(&mut AllocationsSoFar<'_>) -> Option<Duration>,
) -> Result<Allocations, CaptureError> {
    // Also what names need when the process ends meanwhile.
    target.profile_place()?;
    let rate = target.sampling_rate()?;
    let (mut probe, mut samples) = (AllocProbe::open()?, Samples::new(rate));
    probe.attach(target)?;
    let (begun, mut dropped, mut end) = (Instant::now(), 0, End::Asked);
    while let Some(wait) =
        step(&mut AllocationsSoFar { samples: &samples, probe: &probe, begun, rate })
    {
        probe.read(wait, |sample| samples.push(sample));
        let counts = probe.counts();
        if counts.dropped > dropped {
            dropped = counts.dropped;
            let live: HashSet<Addr> = probe.live(target.pid()).into_iter().collect();
            samples.keep_live(&live);
        }
        let share = probe.cost().share(begun.elapsed());
        if begun.elapsed() > COST_AFTER && share > cost_max {
            end = End::TooDear(share);
            break;
        }
        if !target.runs_its_program() {
            // One that has ended and whose parent has not asked yet has no program any more.
            let has_program = target.is_alive() && exe_path(target.pid()).is_some();
            end = if has_program { End::Replaced } else { End::Ended };
            break;
        }
    }
    let found = AllocationsSoFar { samples: &samples, probe: &probe, begun, rate }.found();
    Ok(Allocations { end, goroutines: samples.goroutines(), ..found })
}

impl Allocations {
    /// The profile that the program's own sampler would have made of it: a sample for each stack and
    /// size, those of a site one after the other, with the time that half of the objects live.
    ///
    /// # Errors
    /// When the executable is damaged.
    pub fn profile(&self, target: &ProcessTarget) -> Result<Profile, CaptureError> {
        let (mut buckets, mut lifetimes) = (Vec::new(), Vec::new());
        for site in &self.sites {
            for &(size, allocs, frees) in &site.sizes {
                let published = Counts {
                    allocs,
                    frees,
                    alloc_bytes: allocs.saturating_mul(size),
                    free_bytes: frees.saturating_mul(size),
                };
                let (stack, unpublished) = (site.stack.clone(), Counts::default());
                buckets.push(Bucket { size, stack, published, unpublished });
                lifetimes.push(site.lifetime_seconds);
            }
        }
        let (rate, is_consistent) = (self.rate, true);
        let samples = HeapBuckets { rate, is_consistent, buckets, ..HeapBuckets::default() };
        let mut profile = target.profile_of_samples(&samples)?;
        let (key, unit) =
            (profile.strings.intern("half_live"), profile.strings.intern("nanoseconds"));
        profile.samples.edit_labels(|id, labels| {
            if let Some(seconds) = lifetimes.get(id.0 as usize).copied().flatten() {
                let value = LabelValue::Num((seconds * 1e9) as i64, unit);
                labels.push(model::Label { key, value });
            }
        });
        profile.duration_nanos = i64::try_from(self.took.as_nanos()).unwrap_or(i64::MAX);
        Ok(profile)
    }
}
