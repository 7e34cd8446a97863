//! Reading stacks as a Go programmer does: without the allocator on top, with one
//! line for all instantiations of a generic function, and with stacks that the
//! runtime cut off marked, and continued where that is safe.
//!
//! The runtime records a limited number of frames from the leaf up. A stack counts as
//! cut off when it is as deep as the limit (which is 32 to Go 1.22, then 128 unless
//! GODEBUG=profstackdepth says otherwise) and no shorter stack starts with its
//! outermost function, so that this is not where a goroutine begins. Programs whose
//! deepest stack happens to have about 32 or 64 frames are common; there something
//! must also be seen to call that function, in one of those stacks at least.
//!
//! A cut stack is continued with the callers of another one only when
//! 1. its outermost [`RUN`] frames (function, file and line) occur in stacks that are
//!    whole, everywhere with the same callers, and
//! 2. none of these frames' functions occurs again in the cut stack or in the callers:
//!    with recursion nobody knows how many rounds are missing.
//!
//! All else gets `(truncated)` as its root.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use model::StrId;

use super::stacks::{FrameId, FrameName, Stacks};
use crate::code::fold_type_arguments;

/// Root of stacks whose outer frames are missing.
pub const TRUNCATED: &str = "(truncated)";

/// How many frames must agree before a cut stack is continued.
const RUN: usize = 8;
/// Depths at which stacks are commonly cut.
const LIMITS: [usize; 6] = [32, 64, 128, 256, 512, 1024];
/// Up to this limit chance alone is a likely explanation of a stack's depth.
const COMMON_DEPTH: usize = 64;
/// Go hides the allocator's own frames, which counted against the limit.
const HIDDEN: usize = 4;
/// An allocation that starts a collection has more of them: a stack that is shorter by no more
/// than this may be cut off, and is no witness of where a goroutine begins.
const HIDDEN_MAX: usize = 16;
/// Go keeps two frames more than it says.
const EXTRA: usize = 2;

/// How to read stacks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading {
    /// Keeps type arguments of generic functions.
    pub full_names: bool,
    /// Keeps the runtime's frames at the leaf.
    pub runtime_frames: bool,
    /// The depth at which the runtime cut stacks off; guessed when `None`.
    pub depth: Option<usize>,
}

/// What reading found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// The depth at which stacks were cut off.
    pub depth: usize,
    /// Stacks that were cut off.
    pub truncated: usize,
    /// Those of them that could be continued.
    pub rerooted: usize,
}

/// Callers of a cut stack, in [`Stacks::path`]; `None` where they are not known.
type Cut = HashMap<usize, Option<Range<usize>>>;

impl Stacks {
    /// Rewrites the stacks; see the module description.
    pub fn read(&mut self, reading: &Reading) {
        let (cut, notes) = find_cut(self, reading);
        self.notes = notes;
        let is_hidden: Vec<bool> = self
            .frames
            .iter()
            .map(|frame| {
                let name = self.strings.get(frame.function);
                !reading.runtime_frames && is_machinery(name, &self.kind)
            })
            .collect();
        let renamed = self.rename_frames(reading);
        let marker = self.strings.intern(TRUNCATED);
        let old = std::mem::take(&mut self.path);
        let mut rows = std::mem::take(&mut self.rows);
        for (number, row) in rows.iter_mut().enumerate() {
            let mut frames = old.get(row.start as usize..row.end as usize).unwrap_or(&[]);
            let hidden = |id: &FrameId| is_hidden.get(id.0 as usize).copied().unwrap_or(false);
            // A stack that is all runtime is the runtime's own and stays.
            if let Some(last) = frames.iter().rposition(|id| !hidden(id)) {
                frames = frames.get(..=last).unwrap_or(frames);
            }
            row.start = self.path.len() as u32;
            match cut.get(&number) {
                Some(Some(callers)) => {
                    let callers = old.get(callers.clone()).unwrap_or(&[]);
                    self.extend(callers, &renamed);
                }
                Some(None) => {
                    let frame = FrameName { function: marker, file: StrId(0), line: 0 };
                    let id = self.intern(frame);
                    self.path.push(id);
                }
                None => (),
            }
            self.extend(frames, &renamed);
            row.end = self.path.len() as u32;
        }
        self.rows = rows;
    }

    fn extend(&mut self, frames: &[FrameId], renamed: &[FrameId]) {
        self.path.extend(frames.iter().filter_map(|id| renamed.get(id.0 as usize)));
    }

    /// Gives every frame its short name; the new id of each old one.
    fn rename_frames(&mut self, reading: &Reading) -> Vec<FrameId> {
        let old = std::mem::take(&mut self.frames);
        if reading.full_names {
            self.frames = old;
            return (0..self.frames.len() as u32).map(FrameId).collect();
        }
        self.ids.clear();
        let mut ids = Vec::with_capacity(old.len());
        for mut frame in old {
            let short = match fold_type_arguments(self.strings.get(frame.function)) {
                std::borrow::Cow::Owned(short) => Some(short),
                std::borrow::Cow::Borrowed(_) => None,
            };
            if let Some(short) = short {
                frame.function = self.strings.intern(&short);
            }
            ids.push(self.intern(frame));
        }
        ids
    }
}

/// Frames that say how, where the frame below says what for: the allocator's in a
/// heap profile, and in a goroutine profile the parking that all waiting ends in.
fn is_machinery(function: &str, kind: &str) -> bool {
    let counts_heap = kind.ends_with("space") || kind.ends_with("objects");
    if counts_heap {
        return function.starts_with("runtime.") || function.starts_with("internal/runtime/");
    }
    kind.starts_with("goroutine") && matches!(function, "runtime.gopark" | "runtime.goparkunlock")
}

/// Finds the stacks that were cut off, and the callers of those that can be continued.
fn find_cut(stacks: &Stacks, reading: &Reading) -> (Cut, Notes) {
    let longest = stacks.rows.iter().map(|row| stacks.path(row).len()).max().unwrap_or(0);
    let guess = || LIMITS.into_iter().find(|l| (l - HIDDEN..=l + EXTRA).contains(&longest));
    let Some(depth) = reading.depth.or_else(guess).filter(|depth| *depth > HIDDEN) else {
        return Default::default();
    };
    let root = |row| stacks.path(row).first().map(|id| stacks.frame(*id).function);
    let is_deep = |row| stacks.path(row).len() >= depth - HIDDEN;
    let witness_max = depth - HIDDEN_MAX.min(depth / 2);
    let is_witness = |row: &&_| stacks.path(row).len() < witness_max;
    let starts: HashSet<StrId> = stacks.rows.iter().filter(is_witness).filter_map(root).collect();
    let is_cut = |row| {
        let of_runtime = |root| stacks.strings.get(root).starts_with("runtime.");
        is_deep(row) && root(row).is_some_and(|root| !starts.contains(&root) && !of_runtime(root))
    };
    let cut_rows: Vec<bool> = stacks.rows.iter().map(is_cut).collect();
    if reading.depth.is_none() && depth <= COMMON_DEPTH {
        let called = stacks.rows.iter().flat_map(|row| stacks.path(row).iter().skip(1));
        let called: HashSet<StrId> = called.map(|id| stacks.frame(*id).function).collect();
        let mut cut = stacks.rows.iter().zip(&cut_rows).filter(|(_, is_cut)| **is_cut);
        if !cut.any(|(row, _)| root(row).is_some_and(|root| called.contains(&root))) {
            return Default::default();
        }
    }
    let callers = known_callers(stacks, &cut_rows);
    let mut cut = Cut::new();
    for (number, row) in
        stacks.rows.iter().enumerate().filter(|(n, _)| cut_rows.get(*n) == Some(&true))
    {
        let run = stacks.path(row).first_chunk::<RUN>();
        let found = run.and_then(|run| callers.get(run).cloned().flatten());
        cut.insert(number, found);
    }
    let rerooted = cut.values().flatten().count();
    let notes = Notes { depth, truncated: cut.len(), rerooted };
    (cut, notes)
}

/// For the outermost frames of every cut stack that may be continued: where the
/// callers that all whole stacks agree on lie, if they do.
fn known_callers(
    stacks: &Stacks,
    is_cut: &[bool],
) -> HashMap<[FrameId; RUN], Option<Range<usize>>> {
    let function = |id: &FrameId| stacks.frame(*id).function;
    let mut unsafe_runs = HashSet::new();
    let mut wanted: HashMap<[FrameId; RUN], Vec<Range<usize>>> = HashMap::new();
    for row in stacks.rows.iter().zip(is_cut).filter(|(_, cut)| **cut).map(|(row, _)| row) {
        let path = stacks.path(row);
        let Some(run) = path.first_chunk::<RUN>() else { continue };
        let names: HashSet<StrId> = run.iter().map(function).collect();
        let again = path.iter().skip(RUN).any(|id| names.contains(&function(id)));
        if names.len() < RUN || again {
            unsafe_runs.insert(*run);
        }
        wanted.entry(*run).or_default();
    }
    wanted.retain(|run, _| !unsafe_runs.contains(run));
    for row in stacks.rows.iter().zip(is_cut).filter(|(_, cut)| !**cut).map(|(row, _)| row) {
        for (at, window) in stacks.path(row).array_windows::<RUN>().enumerate() {
            let Some(places) = wanted.get_mut(window) else { continue };
            let start = row.start as usize;
            let callers = start..start + at;
            let frames = |range: &Range<usize>| stacks.path.get(range.clone()).unwrap_or(&[]);
            // Two different ones are enough to know that they do not agree.
            let is_new = places.iter().all(|known| frames(known) != frames(&callers));
            if is_new && places.len() < 2 {
                places.push(callers);
            }
        }
    }
    let one = |run: &[FrameId; RUN], places: Vec<Range<usize>>| {
        let [callers] = <[Range<usize>; 1]>::try_from(places).ok()?;
        let frames = stacks.path.get(callers.clone())?;
        let names: HashSet<StrId> = run.iter().map(function).collect();
        let is_recursive = frames.iter().any(|id| names.contains(&function(id)));
        (!frames.is_empty() && !is_recursive).then_some(callers)
    };
    wanted.into_iter().map(|(run, places)| (run, one(&run, places))).collect()
}
