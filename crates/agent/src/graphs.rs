//! Two object graphs of a target whose heap seems to leak, and what they say about it.
//!
//! Taking one stops the target for milliseconds and clones it, so nobody's is taken unless
//! the watch was told that it may. Each target has two taken, some time apart, when the
//! verdict turns to a leak; they stay in the store. Comparing them costs as much CPU time as
//! reading both, which the budget of rounds then makes up for.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use analyze::heap::Dominators;
use analyze::heap::diff::Side;
use analyze::heap::growth::{Growth, growth};
use capture::{Image, LiveTarget};
use decode::heapfile::{self, Verify};
use model::{CaptureId, CaptureKind, Diagnosis, TargetId, Timestamp};
use store::Store;

use crate::captures::Captures;

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

impl Graphs {
    /// Takes a graph where it is time for one, and adds what is known to the verdict. Returns
    /// what did not work.
    pub(crate) fn step(
        &mut self,
        captures: &Captures,
        stop: &AtomicBool,
        live: &LiveTarget,
        target: TargetId,
        diagnosis: &mut Diagnosis,
    ) -> Option<String> {
        if !analyze::diagnose::is_heap_leak(diagnosis) {
            *self = Graphs::None;
            return None;
        }
        let mut warning = None;
        match self {
            Graphs::First { taken, .. } if taken.elapsed() < APART => {}
            Graphs::Done { at, .. } if at.elapsed() < AGAIN => {}
            Graphs::None | Graphs::First { .. } | Graphs::Done { .. } => {
                // Another one is being taken: the next round will do.
                let turn = captures.turns.take(Duration::ZERO, stop)?;
                if let Err(text) = self.advance(captures, live, target) {
                    warning = Some(format!("no snapshot of the heap: {text}"));
                    *self = Graphs::Done { growth: Growth::default(), at: Instant::now() };
                }
                drop(turn);
            }
        }
        if let Graphs::Done { growth, .. } = self {
            analyze::diagnose::add_growth(diagnosis, growth);
        }
        warning
    }

    fn advance(
        &mut self,
        captures: &Captures,
        live: &LiveTarget,
        target: TargetId,
    ) -> Result<(), String> {
        let harmless = captures.refuse_harm(CaptureKind::Graph, live);
        let taken = harmless.and_then(|()| captures.graph(target, "leak", live));
        let taken = taken.map_err(|error| match error.next_step() {
            Some(next) => format!("{error} ({next})"),
            None => error.to_string(),
        })?;
        let (id, time) = (taken.id, taken.time);
        *self = match self {
            Graphs::First { id: first, time: before, .. } => {
                let seconds = (time.0 - before.0) as f64 / 1000.0;
                let growth = compare(&captures.store, *first, id, seconds)?;
                Graphs::Done { growth, at: Instant::now() }
            }
            _ => Graphs::First { id, time, taken: Instant::now() },
        };
        Ok(())
    }
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
