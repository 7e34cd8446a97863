//! One column of a profile as weighted stacks, optionally against a base.

use std::collections::HashMap;

use model::{Profile, StrId, StringTable};

use super::noise::{Noise, Sampling};
use super::reading::Notes;

/// Index into [`Stacks::frames`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrameId(pub u32);

/// A frame as reports show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FrameName {
    /// Function name; `0x...` where there is no symbol.
    pub function: StrId,
    /// Source file.
    pub file: StrId,
    /// Line of the call; 0 when unknown.
    pub line: u32,
}

/// A value and the base's value. Without a base the base is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    /// In the profile.
    pub value: i64,
    /// In the base.
    pub base: i64,
}

impl Cell {
    /// Value less base.
    pub fn delta(self) -> i64 {
        self.value.saturating_sub(self.base)
    }

    /// Adds both parts; saturates.
    pub fn add(&mut self, other: Cell) {
        self.value = self.value.saturating_add(other.value);
        self.base = self.base.saturating_add(other.base);
    }
}

/// One stack and its weight.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub(super) start: u32,
    pub(super) end: u32,
    /// The weight.
    pub cell: Cell,
    /// How certain it is.
    pub noise: Noise,
}

/// Says yes or no to a frame, given function and file.
pub type FramePredicate<'a> = &'a dyn Fn(&str, &str) -> bool;

/// Which column of a profile, and which stacks of it.
#[derive(Clone, Copy, Default)]
pub struct Select<'a> {
    /// Name of the sample type; `None` is the profile's default.
    pub column: Option<&'a str>,
    /// Keeps stacks with a frame for which this says yes.
    pub focus: Option<FramePredicate<'a>>,
    /// Drops stacks with a frame for which this says yes.
    pub ignore: Option<FramePredicate<'a>>,
}

/// The profile has no such sample type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownColumn {
    /// What was asked for.
    pub asked: String,
    /// What there is.
    pub known: Vec<String>,
}

impl std::fmt::Display for UnknownColumn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let known = self.known.join(", ");
        write!(f, "the profile has no sample type {:?}; it has {known}", self.asked)
    }
}

impl std::error::Error for UnknownColumn {}

/// Weighted stacks, root first, with distinct frames.
#[derive(Debug, Default)]
pub struct Stacks {
    /// Names.
    pub strings: StringTable,
    /// Distinct frames.
    pub frames: Vec<FrameName>,
    /// Stacks with a non-zero weight.
    pub rows: Vec<Row>,
    /// Sample type.
    pub kind: String,
    /// Its unit.
    pub unit: String,
    /// There is a base.
    pub is_diff: bool,
    /// Sum over the stacks that were kept.
    pub total: Cell,
    /// How certain the sum is.
    pub noise: Noise,
    /// Bytes between samples, where the column is a sampled one of a heap.
    pub sampled_every: Option<i64>,
    /// The noise says how far values are from the truth. Of a difference, of two
    /// profiles or within one, it does not: what did not change cancels.
    pub has_errors: bool,
    /// What [`Stacks::read`] found.
    pub notes: Notes,
    pub(super) path: Vec<FrameId>,
    pub(super) ids: HashMap<FrameName, FrameId>,
}

impl Stacks {
    /// Takes one column of a profile.
    ///
    /// # Errors
    /// When the profile has no such column.
    pub fn of(profile: &Profile, select: &Select<'_>) -> Result<Stacks, UnknownColumn> {
        let mut stacks = Stacks::default();
        stacks.fill(profile, select, |value| Cell { value, base: 0 })?;
        Ok(stacks)
    }

    /// Takes the same column of a profile and of an earlier one.
    ///
    /// # Errors
    /// When one of them has no such column.
    pub fn diff(
        profile: &Profile,
        base: &Profile,
        select: &Select<'_>,
    ) -> Result<Stacks, UnknownColumn> {
        let mut stacks = Stacks { is_diff: true, ..Stacks::default() };
        stacks.fill(profile, select, |value| Cell { value, base: 0 })?;
        // The base must show what the profile shows, whatever its own default is.
        let kind = stacks.kind.clone();
        let select = Select { column: Some(&kind), ..*select };
        stacks.fill(base, &select, |base| Cell { value: 0, base })?;
        Ok(stacks)
    }

    /// The frames of a row, root first.
    pub fn path(&self, row: &Row) -> &[FrameId] {
        self.path.get(row.start as usize..row.end as usize).unwrap_or(&[])
    }

    /// Turns every stack round: leaves first.
    pub fn reverse(&mut self) {
        for row in &self.rows {
            if let Some(path) = self.path.get_mut(row.start as usize..row.end as usize) {
                path.reverse();
            }
        }
    }

    /// A frame's names.
    pub fn frame(&self, id: FrameId) -> FrameName {
        let unknown = FrameName { function: StrId(0), file: StrId(0), line: 0 };
        self.frames.get(id.0 as usize).copied().unwrap_or(unknown)
    }

    /// Name of a frame's function.
    pub fn function(&self, id: FrameId) -> &str {
        self.strings.get(self.frame(id).function)
    }

    fn fill(
        &mut self,
        profile: &Profile,
        select: &Select<'_>,
        cell: impl Fn(i64) -> Cell,
    ) -> Result<(), UnknownColumn> {
        let column = find_column(profile, select.column)?;
        if let Some(value_type) = profile.sample_types.get(column) {
            self.kind = profile.str(value_type.kind).to_owned();
            self.unit = profile.str(value_type.unit).to_owned();
        }
        // Every stack once: many samples share one (labels and sizes differ).
        let mut sums: Vec<i64> = vec![0; profile.stacks.len()];
        let values = profile.samples.values.get(column).map_or(&[][..], Vec::as_slice);
        for (stack, value) in profile.samples.stacks.iter().zip(values) {
            if let Some(sum) = sums.get_mut(stack.0 as usize) {
                *sum = sum.saturating_add(*value);
            }
        }
        let noises = self.noises(profile, column);
        self.has_errors = !noises.is_empty() && !self.is_diff && sums.iter().all(|sum| *sum >= 0);
        let names = self.frame_ids(profile);
        for (index, sum) in sums.into_iter().enumerate().filter(|(_, sum)| *sum != 0) {
            let start = self.path.len();
            let stack = profile.stacks.get(model::StackId(index as u32));
            for location in stack.iter().rev() {
                let frames = names.get(location.0 as usize).map_or(&[][..], Vec::as_slice);
                self.path.extend(frames.iter().rev());
            }
            if !self.is_wanted(start, select) {
                self.path.truncate(start);
                continue;
            }
            let cell = cell(sum);
            let noise = noises.get(index).copied().unwrap_or_default();
            self.total.add(cell);
            self.noise.add(noise);
            self.rows.push(Row { start: start as u32, end: self.path.len() as u32, cell, noise });
        }
        Ok(())
    }

    /// The noise of every stack; nothing where the column is not sampled.
    fn noises(&mut self, profile: &Profile, column: usize) -> Vec<Noise> {
        let Some(sampling) = Sampling::of(profile, column) else { return Vec::new() };
        self.sampled_every = Some(sampling.period);
        let mut noises = vec![Noise::default(); profile.stacks.len()];
        for (stack, sample) in profile.samples.stacks.iter().zip(profile.samples.ids()) {
            if let Some(noise) = noises.get_mut(stack.0 as usize) {
                noise.add(sampling.noise(sample));
            }
        }
        noises
    }

    /// The frames of every location, innermost first.
    fn frame_ids(&mut self, profile: &Profile) -> Vec<Vec<FrameId>> {
        let mut names = Vec::with_capacity(profile.locations.len());
        for location in &profile.locations {
            let mut frames: Vec<FrameId> = Vec::with_capacity(location.lines.len().max(1));
            for line in &location.lines {
                let function = profile.functions.get(line.function.0 as usize);
                let text = |id: Option<StrId>| id.map_or("", |id| profile.str(id));
                let name = FrameName {
                    function: self.strings.intern(text(function.map(|f| f.name))),
                    file: self.strings.intern(text(function.map(|f| f.filename))),
                    line: u32::try_from(line.line).unwrap_or(0),
                };
                frames.push(self.intern(name));
            }
            if location.lines.is_empty() {
                let function = self.strings.intern(&location.address.to_string());
                frames.push(self.intern(FrameName { function, file: StrId(0), line: 0 }));
            }
            names.push(frames);
        }
        names
    }

    pub(super) fn intern(&mut self, name: FrameName) -> FrameId {
        *self.ids.entry(name).or_insert_with(|| {
            self.frames.push(name);
            FrameId(self.frames.len() as u32 - 1)
        })
    }

    fn is_wanted(&self, start: usize, select: &Select<'_>) -> bool {
        let path = self.path.get(start..).unwrap_or(&[]);
        let any = |matches: FramePredicate<'_>| {
            path.iter().any(|id| {
                let frame = self.frame(*id);
                matches(self.strings.get(frame.function), self.strings.get(frame.file))
            })
        };
        select.focus.is_none_or(any) && !select.ignore.is_some_and(any)
    }
}

fn find_column(profile: &Profile, asked: Option<&str>) -> Result<usize, UnknownColumn> {
    let found = match asked {
        Some(kind) => profile.column(kind),
        None => profile.default_column(),
    };
    found.ok_or_else(|| UnknownColumn {
        asked: asked.unwrap_or("").to_owned(),
        known: profile.sample_types.iter().map(|t| profile.str(t.kind).to_owned()).collect(),
    })
}
