//! Two object graphs of a target whose heap seems to leak, and what they say about it.
//!
//! Taking one stops the target for milliseconds and clones it, so nobody's is taken unless
//! the watch was told that it may. Each target has two taken, some time apart, when the
//! verdict turns to a leak; they stay in the store. Comparing them costs as much CPU time as
//! reading both, which the budget of rounds then makes up for.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use analyze::heap::Dominators;
use analyze::heap::diff::Side;
use analyze::heap::growth::{Growth, growth};
use capture::snapshot::Options;
use capture::{CaptureError, Image, LiveTarget, ScratchColumns, cpu_time};
use decode::goheap::Keep;
use decode::heapfile::{self, Verify};
use model::{CaptureId, CaptureKind, Diagnosis, TargetId, Timestamp};
use store::{Store, StoreError};

/// Between the two graphs, at least: what a leak adds must show.
const APART: Duration = Duration::from_secs(30);
/// What was found is looked for again after this time, and after a failure.
const AGAIN: Duration = Duration::from_secs(3600);

/// How far it is with a target.
#[derive(Default)]
pub(crate) enum Graphs {
    /// No leak so far.
    #[default]
    None,
    /// The first graph lies in the store.
    First { id: CaptureId, time: Timestamp, taken: Instant },
    /// Both were compared, or could not be.
    Done { growth: Growth, at: Instant },
}

/// What a step did.
pub(crate) struct Step {
    /// The graph that was stored.
    pub(crate) stored: Option<CaptureId>,
    /// What did not work.
    pub(crate) warning: Option<String>,
}

impl Graphs {
    /// Takes a graph where it is time for one, and adds what is known to the verdict.
    pub(crate) fn step(
        &mut self,
        store: &Store,
        live: &LiveTarget,
        target: TargetId,
        diagnosis: &mut Diagnosis,
    ) -> Step {
        let mut step = Step { stored: None, warning: None };
        if !analyze::diagnose::is_heap_leak(diagnosis) {
            *self = Graphs::None;
            return step;
        }
        match self {
            Graphs::First { taken, .. } if taken.elapsed() < APART => {}
            Graphs::Done { at, .. } if at.elapsed() < AGAIN => {}
            Graphs::None | Graphs::First { .. } | Graphs::Done { .. } => {
                match self.advance(store, live, target) {
                    Ok(id) => step.stored = Some(id),
                    Err(text) => {
                        step.warning = Some(format!("no snapshot of the heap: {text}"));
                        *self = Graphs::Done { growth: Growth::default(), at: Instant::now() };
                    }
                }
            }
        }
        if let Graphs::Done { growth, .. } = self {
            analyze::diagnose::add_growth(diagnosis, growth);
        }
        step
    }

    fn advance(
        &mut self,
        store: &Store,
        live: &LiveTarget,
        target: TargetId,
    ) -> Result<CaptureId, String> {
        let (id, time) = take(store, live, target)?;
        *self = match self {
            Graphs::First { id: first, time: before, .. } => {
                let seconds = (time.0 - before.0) as f64 / 1000.0;
                let growth = compare(store, *first, id, seconds)?;
                Graphs::Done { growth, at: Instant::now() }
            }
            _ => Graphs::First { id, time, taken: Instant::now() },
        };
        Ok(id)
    }
}

/// Takes a graph and stores it.
fn take(
    store: &Store,
    live: &LiveTarget,
    target: TargetId,
) -> Result<(CaptureId, Timestamp), String> {
    let LiveTarget::Process(process) = live else {
        return Err("only a process on this machine has a heap to take".to_owned());
    };
    let told = |error: CaptureError| match error.next_step() {
        Some(next) => format!("{error} ({next})"),
        None => error.to_string(),
    };
    let started = cpu_time();
    let options = Options::default();
    let columns = ScratchColumns::new(&options.scratch_dir);
    let graph =
        process.object_graph(&options, Keep::Nothing, &columns, &mut |_, _| {}).map_err(told)?;
    let time = graph.source.time.unwrap_or_else(capture::now);
    let failed = |error: StoreError| error.to_string();
    let mut begun = store.begin_file(target, CaptureKind::Graph, time).map_err(failed)?;
    heapfile::write(&graph, &mut begun).map_err(|error| error.to_string())?;
    let cost = cpu_time().saturating_sub(started);
    let micros = u64::try_from(cost.as_micros()).unwrap_or(u64::MAX);
    Ok((store.put_file(begun, "leak", micros).map_err(failed)?.id, time))
}

fn compare(
    store: &Store,
    first: CaptureId,
    second: CaptureId,
    seconds: f64,
) -> Result<Growth, String> {
    let path = |id| store.capture_path(id).map_err(|error| error.to_string());
    let open = |path: PathBuf| Image::open(path).map_err(|error| error.to_string());
    let (before, after) = (open(path(first)?)?, open(path(second)?)?);
    let read = |image| heapfile::read(image, Verify::All).map_err(|error| error.to_string());
    let (before, after) = (read(before.as_ref())?, read(after.as_ref())?);
    let dominators = (Dominators::of(&before), Dominators::of(&after));
    let before = Side { graph: &before, dominators: &dominators.0 };
    Ok(growth(before, Side { graph: &after, dominators: &dominators.1 }, seconds))
}
