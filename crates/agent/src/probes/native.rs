//! What a program of any language has from malloc and its kin and has not freed.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use analyze::outstanding::{OutstandingBlocks, older_comment, outstanding};
use capture::CaptureError;
use capture::bpf::{NativeProbe, way_cost};
use capture::names::{ProcessNames, StackNamer};
use model::probe::{CallStackId, NativeHeap, ProbeCounts};
use model::{Addr, Label, LabelValue, Profile, StackId};

use super::{End, stamp, too_dear};

/// How often is looked for libraries that were loaded.
const REFRESH_EVERY: Duration = Duration::from_secs(1);
/// What the kernel's program takes of a call that is not sampled (bench/probes/native).
const PROGRAM: Duration = Duration::from_nanos(60);

/// What was seen.
#[derive(Clone, Debug)]
pub struct NativeSeen {
    /// What is outstanding, by the stacks of the profile.
    pub found: OutstandingBlocks,
    /// The same with the four columns of heap profiles and the label `bytes`.
    pub profile: Profile,
    /// Mean number of bytes between two samples; nothing where the process itself took them.
    pub every: Option<u64>,
    /// What was lost.
    pub counts: ProbeCounts,
    /// How long it was looked at.
    pub took: Duration,
    /// Why it is over.
    pub end: End,
}

/// What is known while a probe looks.
pub struct NativeSoFar<'a> {
    probe: &'a mut NativeProbe,
    names: &'a mut ProcessNames,
    begun: Instant,
    older: &'a dyn Fn(Duration) -> Duration,
}

impl NativeSoFar<'_> {
    /// What would be told if it ended now: the kernel's tables are read as they change.
    pub fn found(&mut self) -> NativeSeen {
        let (heap, counts, took) = (self.probe.so_far(), self.counts(), self.begun.elapsed());
        seen(&heap, self.names, (self.older)(took), counts, took)
    }

    /// What was seen and lost.
    pub(super) fn counts(&self) -> ProbeCounts {
        self.probe.counts()
    }

    /// How long it has looked.
    pub(super) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Whose calls they are.
    pub(super) fn executable(&self) -> &str {
        self.names.executable()
    }
}

/// Lets an attached probe look for as long as `step` says how long to wait, and it takes no more than
/// `cost_max` of a core; then adds up what is outstanding and at least as old as `older` makes of the
/// time that it looked, which may have been shorter than was asked for.
///
/// # Errors
/// When the kernel's tables cannot be read or written.
pub fn native(
    mut probe: NativeProbe,
    names: &mut ProcessNames,
    older: &dyn Fn(Duration) -> Duration,
    cost_max: f64,
    step: &mut dyn FnMut(&mut NativeSoFar<'_>) -> Option<Duration>,
) -> Result<NativeSeen, CaptureError> {
    let (begun, mut refreshed, mut end) = (Instant::now(), Instant::now(), End::Asked);
    while let Some(wait) = step(&mut NativeSoFar { probe: &mut probe, names, begun, older }) {
        std::thread::sleep(wait);
        if !names.is_alive() {
            end = End::Ended;
            break;
        }
        if let Some(dear) = too_dear(call_cost(), probe.counts().seen, begun.elapsed(), cost_max) {
            end = dear;
            break;
        }
        if refreshed.elapsed() >= REFRESH_EVERY {
            refreshed = Instant::now();
            // It may end at any moment.
            if names.refresh().is_ok() {
                probe.refresh(names)?;
            }
        }
    }
    let took = begun.elapsed();
    let (heap, counts) = probe.finish()?;
    Ok(NativeSeen { end, ..seen(&heap, names, older(took), counts, took) })
}

/// What the probe has cost, in the target's own time.
pub(super) fn cost(counts: &ProbeCounts) -> Duration {
    call_cost().mul_f64(counts.seen as f64)
}

/// What a call takes that is not sampled.
fn call_cost() -> Duration {
    way_cost() + PROGRAM
}

fn seen(
    heap: &NativeHeap,
    names: &mut ProcessNames,
    older: Duration,
    counts: ProbeCounts,
    took: Duration,
) -> NativeSeen {
    let (mut profile, stacks) = named(heap, names);
    let found = outstanding(heap, &stacks, older);
    fill(&mut profile, &found, heap.every, older);
    stamp(&mut profile, took);
    NativeSeen { found, profile, every: heap.every, counts, took, end: End::Asked }
}

/// A profile with the stacks by name, and which is which.
fn named(heap: &NativeHeap, names: &mut ProcessNames) -> (Profile, HashMap<CallStackId, StackId>) {
    // The call is what lies before the address that it returns to.
    let call = |address: &Addr| Addr(address.0.saturating_sub(1));
    names.look_up(heap.stacks.values().flat_map(|stack| &stack.calls).map(call));
    let mut profile = Profile::new(&COLUMNS);
    let (mut namer, mut stacks) = (StackNamer::new(&mut profile, names), HashMap::new());
    let mut ids: Vec<CallStackId> = heap.stacks.keys().copied().collect();
    // So that equal input makes equal files.
    ids.sort_unstable();
    for id in ids {
        let calls: Vec<Addr> = heap.stacks[&id].calls.iter().map(call).collect();
        stacks.insert(id, namer.stack(&mut profile, names, &calls));
    }
    (profile, stacks)
}

/// As heap profiles of Go have them.
const COLUMNS: [(&str, &str); 4] = [
    ("alloc_objects", "count"),
    ("alloc_space", "bytes"),
    ("inuse_objects", "count"),
    ("inuse_space", "bytes"),
];

/// Adds what is outstanding: as in heap profiles of Go a sample for each stack and size of block, so
/// that the error of sampling can be told from it. What was asked for in all is known by stack only.
fn fill(profile: &mut Profile, found: &OutstandingBlocks, every: Option<u64>, older: Duration) {
    profile.period_type = Some(profile.value_type("space", "bytes"));
    profile.period = every.unwrap_or(0).cast_signed();
    profile.default_sample_type = profile.strings.lookup("inuse_space");
    let comment = profile.strings.intern(&older_comment(older));
    profile.comments.push(comment);
    let key = profile.strings.intern("bytes");
    for of in &found.stacks {
        let stack = of.stack.unwrap_or_else(|| profile.stacks.intern(&[]));
        for (size, objects) in &of.sizes {
            let bytes = objects * *size as f64;
            let label = Label { key, value: LabelValue::Num(size.cast_signed(), key) };
            let values = [0, 0, objects.round() as i64, bytes.round() as i64];
            profile.samples.push(stack, &values, &[label]);
        }
        let (objects, bytes) = (of.allocated.objects.round(), of.allocated.bytes.round());
        if bytes > 0.0 {
            profile.samples.push(stack, &[objects as i64, bytes as i64, 0, 0], &[]);
        }
    }
}
