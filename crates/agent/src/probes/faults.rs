//! Page faults of a process of any program, by stack and by what memory it was.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use analyze::faults::{FaultedMemory, ResidentCurve};
use capture::bpf::FaultProbe;
use capture::{CaptureError, resident, signals};
use decode::resident::Areas;
use model::probe::{FaultAccess, FaultCount, MonotonicNanos, ProbeCounts};
use model::{Addr, Label, LabelValue, Profile, StackId};

use super::{AnyProcess, End, stamp, too_dear};

/// What one takes more while it is looked at (bench/probes).
const FAULT: Duration = Duration::from_nanos(1200);

/// A look that has begun.
pub struct FaultLook {
    probe: FaultProbe,
    areas: Areas,
    resident_before: Option<u64>,
    major_before: Option<u64>,
    begun: MonotonicNanos,
}

/// Faults that are one sample of the profile.
#[derive(Clone, Debug, PartialEq)]
pub struct FaultRow {
    /// Whose they are, in the profile.
    pub stack: StackId,
    /// What memory it was.
    pub memory: FaultedMemory,
    /// What was done.
    pub access: FaultAccess,
    /// How many.
    pub faults: u64,
}

/// What was seen.
#[derive(Clone, Debug)]
pub struct FaultsSeen {
    /// Faults of its own code.
    pub user: u64,
    /// Faults in the kernel on behalf of it.
    pub kernel: u64,
    /// Those that had to wait for a disk; unknown when it has ended.
    pub major: Option<u64>,
    /// What was resident at first.
    pub resident_before: Option<u64>,
    /// What was resident at last; unknown when it has ended.
    pub resident_after: Option<u64>,
    /// When it began.
    pub begun: MonotonicNanos,
    /// How resident memory changed meanwhile.
    pub curve: ResidentCurve,
    /// The samples of the profile.
    pub rows: Vec<FaultRow>,
    /// The faults, with the labels `region` and `access`.
    pub profile: Profile,
    /// What was lost.
    pub counts: ProbeCounts,
    /// How long it was looked at.
    pub took: Duration,
    /// Why it is over.
    pub end: End,
}

impl FaultLook {
    /// Begins to count: what the process does from now on is seen.
    ///
    /// # Errors
    /// When the process may not be read, or the probe cannot be used.
    pub fn begin(process: &AnyProcess) -> Result<FaultLook, CaptureError> {
        let areas = resident::areas(process.pid)?;
        let mut probe = FaultProbe::open(&process.names)?;
        let before = signals::process(process.pid, false);
        let begun = MonotonicNanos(capture::monotonic_nanos().cast_unsigned());
        probe.attach(process.pid)?;
        let (resident_before, major_before) = (before.rss_bytes, before.major_faults);
        Ok(FaultLook { probe, areas, resident_before, major_before, begun })
    }

    /// Counts for as long as `step`, which is told how many there were, says how long to wait, and
    /// it takes no more than `cost_max` of a core.
    pub fn follow(
        mut self,
        process: &mut AnyProcess,
        cost_max: f64,
        step: &mut dyn FnMut(u64) -> Option<Duration>,
    ) -> FaultsSeen {
        let mut curve = ResidentCurve::default();
        let (took, end) = self.read(process, cost_max, &mut curve, step);
        let faults = self.probe.faults(process.pid);
        let (user, kernel) = self.probe.total(process.pid);
        let counts = self.probe.counts();
        drop(self.probe);
        let after = signals::process(process.pid, false);
        // Of one that ended, what was known last.
        let areas = resident::areas(process.pid).unwrap_or(self.areas);
        let (mut profile, rows) = named(process, &faults, &areas);
        stamp(&mut profile, took);
        let major = after.major_faults.zip(self.major_before);
        FaultsSeen {
            user,
            kernel,
            major: major.map(|(after, before)| after.saturating_sub(before)),
            resident_before: self.resident_before,
            resident_after: after.rss_bytes,
            begun: self.begun,
            curve,
            rows,
            profile,
            counts,
            took,
            end,
        }
    }

    fn read(
        &mut self,
        process: &mut AnyProcess,
        cost_max: f64,
        curve: &mut ResidentCurve,
        step: &mut dyn FnMut(u64) -> Option<Duration>,
    ) -> (Duration, End) {
        let begun = Instant::now();
        loop {
            let (user, kernel) = self.probe.total(process.pid);
            if let Some(end) = too_dear(FAULT, user + kernel, begun.elapsed(), cost_max) {
                return (begun.elapsed(), end);
            }
            let Some(wait) = step(user + kernel) else { return (begun.elapsed(), End::Asked) };
            self.probe.read(wait, |sample| curve.push(sample));
            if process.refresh() {
                // What cannot be written is unwound by frame pointers.
                let _ = self.probe.refresh(&process.names);
                if let Ok(now) = resident::areas(process.pid) {
                    self.areas = now;
                }
            }
            if !process.names.is_alive() {
                return (begun.elapsed(), End::Ended);
            }
        }
    }
}

/// A profile with one sample for each row, and the rows.
fn named(
    process: &mut AnyProcess,
    faults: &[FaultCount],
    areas: &Areas,
) -> (Profile, Vec<FaultRow>) {
    let mut profile = Profile::new(&[("faults", "count")]);
    let stacks: Vec<&[Addr]> = faults.iter().map(|of| &of.stack[..]).collect();
    let ids = process.name(&mut profile, &stacks);
    let mut sums: BTreeMap<(StackId, FaultedMemory, FaultAccess), u64> = BTreeMap::new();
    for (of, stack) in faults.iter().zip(ids) {
        let memory = FaultedMemory::of(of, |at| areas.of(at));
        *sums.entry((stack, memory, of.access)).or_default() += of.faults;
    }
    let (region, access) = (profile.strings.intern("region"), profile.strings.intern("access"));
    let row = |((stack, memory, access), faults)| FaultRow { stack, memory, access, faults };
    let rows: Vec<FaultRow> = sums.into_iter().map(row).collect();
    for row in &rows {
        let mut text = |text: &str| LabelValue::Str(profile.strings.intern(text));
        let labels = [
            Label { key: region, value: text(&row.memory.name()) },
            Label { key: access, value: text(row.access.as_str()) },
        ];
        profile.samples.push(row.stack, &[row.faults.cast_signed()], &labels);
    }
    (profile, rows)
}
