//! A profile in columns: interned strings, functions, locations and stacks, and
//! one value column per sample type.
//!
//! The shape is profile.proto's (many sample types, labels, mappings, several
//! lines per location for inlined calls) so that reading and writing pprof loses
//! nothing. Stacks are interned and leaf first; samples refer to them by id.

use ahash::AHashMap;

use crate::strings::{StrId, StringTable};
use crate::units::Addr;

/// What a value column counts: `inuse_space` in `bytes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ValueType {
    /// Name of the quantity.
    pub kind: StrId,
    /// Unit of the quantity.
    pub unit: StrId,
}

/// Index into [`Profile::mappings`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MappingId(pub u32);
/// Index into [`Profile::functions`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FunctionId(pub u32);
/// Index into [`Profile::locations`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocationId(pub u32);
/// Index into [`Stacks`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StackId(pub u32);
/// Index of a sample, its row in every column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SampleId(pub u32);

/// A mapped binary, as in profile.proto.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Mapping {
    /// First mapped address.
    pub start: Addr,
    /// First address past the mapping.
    pub limit: Addr,
    /// Offset of the mapping in the file.
    pub file_offset: u64,
    /// Path of the file.
    pub filename: StrId,
    /// Build id of the file.
    pub build_id: StrId,
    /// Function names are known.
    pub has_functions: bool,
    /// File names are known.
    pub has_filenames: bool,
    /// Line numbers are known.
    pub has_line_numbers: bool,
    /// Inlined frames are listed.
    pub has_inline_frames: bool,
}

/// A function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Function {
    /// Readable name.
    pub name: StrId,
    /// Name as the linker knows it.
    pub system_name: StrId,
    /// Source file.
    pub filename: StrId,
    /// Line of the function's declaration; 0 when unknown.
    pub start_line: i64,
}

/// One source position of a location.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Line {
    /// The function.
    pub function: FunctionId,
    /// The line; 0 when unknown.
    pub line: i64,
    /// The column; 0 when unknown.
    pub column: i64,
}

/// A code address and its source positions, innermost inlined call first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Location {
    /// Where the code lies, if in a known mapping.
    pub mapping: Option<MappingId>,
    /// The address; 0 when the profile carries names only.
    pub address: Addr,
    /// Innermost inlined function first, the function that contains it last.
    pub lines: Vec<Line>,
    /// Several functions were folded into this code by the linker.
    pub is_folded: bool,
}

/// The value of a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LabelValue {
    /// A text.
    Str(StrId),
    /// A number with its unit (empty when none is given).
    Num(i64, StrId),
}

/// A key and a value attached to a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Label {
    /// The key.
    pub key: StrId,
    /// The value.
    pub value: LabelValue,
}

/// Distinct stacks, end to end, leaf first.
#[derive(Clone, Debug, Default)]
pub struct Stacks {
    frames: Vec<LocationId>,
    ends: Vec<u32>,
    ids: AHashMap<Box<[LocationId]>, StackId>,
}

impl Stacks {
    /// Returns the id of `stack` (leaf first), adding it when it is new.
    ///
    /// # Panics
    /// When all stacks together exceed 2^32 frames; decoders bound their input.
    pub fn intern(&mut self, stack: &[LocationId]) -> StackId {
        if let Some(&id) = self.ids.get(stack) {
            return id;
        }
        let id = StackId(u32::try_from(self.ends.len()).expect("fewer than 2^32 stacks"));
        self.frames.extend_from_slice(stack);
        self.ends.push(u32::try_from(self.frames.len()).expect("fewer than 2^32 frames"));
        self.ids.insert(stack.into(), id);
        id
    }

    /// The frames of a stack, leaf first; empty for a foreign id.
    pub fn get(&self, id: StackId) -> &[LocationId] {
        let index = id.0 as usize;
        let start = if index == 0 { 0 } else { self.ends.get(index - 1).copied().unwrap_or(0) };
        let end = self.ends.get(index).copied().unwrap_or(start);
        self.frames.get(start as usize..end as usize).unwrap_or(&[])
    }

    /// Number of distinct stacks.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Reports whether there is no stack.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}

/// The samples, one row each.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    /// Stack of each sample.
    pub stacks: Vec<StackId>,
    /// One column per sample type, each as long as `stacks`.
    pub values: Vec<Vec<i64>>,
    label_ends: Vec<u32>,
    labels: Vec<Label>,
}

impl Samples {
    /// Number of samples.
    pub fn len(&self) -> usize {
        self.stacks.len()
    }

    /// Reports whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.stacks.is_empty()
    }

    /// Labels of a sample, in the order they were added.
    pub fn labels(&self, sample: SampleId) -> &[Label] {
        let index = sample.0 as usize;
        let start =
            if index == 0 { 0 } else { self.label_ends.get(index - 1).copied().unwrap_or(0) };
        let end = self.label_ends.get(index).copied().unwrap_or(start);
        self.labels.get(start as usize..end as usize).unwrap_or(&[])
    }

    /// Row ids in order.
    pub fn ids(&self) -> impl Iterator<Item = SampleId> + use<> {
        (0..self.stacks.len() as u32).map(SampleId)
    }
}

/// A profile: see the module description.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// All texts.
    pub strings: StringTable,
    /// The value columns' meanings.
    pub sample_types: Vec<ValueType>,
    /// Which column is shown when none is asked for (the last one when unset).
    pub default_sample_type: Option<StrId>,
    /// What `period` counts.
    pub period_type: Option<ValueType>,
    /// Events between samples; for a Go heap profile the bytes (MemProfileRate).
    pub period: i64,
    /// When it was taken, nanoseconds since the Unix epoch; 0 when unknown.
    pub time_nanos: i64,
    /// How long it ran; 0 for a snapshot.
    pub duration_nanos: i64,
    /// Free texts.
    pub comments: Vec<StrId>,
    /// Regular expression of frames to drop.
    pub drop_frames: StrId,
    /// Regular expression of frames to keep although dropped.
    pub keep_frames: StrId,
    /// Where the profile is documented.
    pub doc_url: StrId,
    /// Mapped binaries.
    pub mappings: Vec<Mapping>,
    /// Functions.
    pub functions: Vec<Function>,
    /// Locations.
    pub locations: Vec<Location>,
    /// Distinct stacks.
    pub stacks: Stacks,
    /// Samples.
    pub samples: Samples,
}

impl Profile {
    /// Starts a profile with these value columns, given as (kind, unit).
    pub fn new(sample_types: &[(&str, &str)]) -> Profile {
        let mut profile = Profile::default();
        for (kind, unit) in sample_types {
            let value_type = profile.value_type(kind, unit);
            profile.sample_types.push(value_type);
            profile.samples.values.push(Vec::new());
        }
        profile
    }

    /// Interns a value type.
    pub fn value_type(&mut self, kind: &str, unit: &str) -> ValueType {
        ValueType { kind: self.strings.intern(kind), unit: self.strings.intern(unit) }
    }

    /// Adds a sample. `values` must have one entry per sample type.
    ///
    /// # Panics
    /// When the number of values differs from the number of sample types.
    pub fn push_sample(
        &mut self,
        stack: &[LocationId],
        values: &[i64],
        labels: &[Label],
    ) -> SampleId {
        assert_eq!(values.len(), self.sample_types.len(), "one value per sample type");
        let stack = self.stacks.intern(stack);
        let id = SampleId(self.samples.stacks.len() as u32);
        self.samples.stacks.push(stack);
        for (column, &value) in self.samples.values.iter_mut().zip(values) {
            column.push(value);
        }
        self.samples.labels.extend_from_slice(labels);
        self.samples.label_ends.push(self.samples.labels.len() as u32);
        id
    }

    /// The text with this id.
    pub fn str(&self, id: StrId) -> &str {
        self.strings.get(id)
    }

    /// The column with this sample type name, if there is one.
    pub fn column(&self, kind: &str) -> Option<usize> {
        self.sample_types.iter().position(|value_type| self.str(value_type.kind) == kind)
    }

    /// The column that is shown when none is asked for.
    pub fn default_column(&self) -> Option<usize> {
        let named = self.default_sample_type.and_then(|kind| {
            self.sample_types.iter().position(|value_type| value_type.kind == kind)
        });
        named.or_else(|| self.sample_types.len().checked_sub(1))
    }

    /// The numeric label `key` of a sample.
    pub fn num_label(&self, sample: SampleId, key: &str) -> Option<i64> {
        self.samples.labels(sample).iter().find_map(|label| match label.value {
            LabelValue::Num(value, _) if self.str(label.key) == key => Some(value),
            _ => None,
        })
    }

    /// The lines of a sample's stack, innermost call first, inlined calls
    /// included; a location without symbols gives none.
    pub fn lines(&self, sample: SampleId) -> impl Iterator<Item = Line> + '_ {
        let stack = self.samples.stacks.get(sample.0 as usize).copied();
        let frames = stack.map_or(&[][..], |stack| self.stacks.get(stack));
        frames
            .iter()
            .filter_map(|location| self.locations.get(location.0 as usize))
            .flat_map(|location| location.lines.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_keep_values_labels_and_interned_stacks() {
        let mut profile = Profile::new(&[("objects", "count"), ("space", "bytes")]);
        let name = profile.strings.intern("main.main");
        profile.functions.push(Function { name, ..Function::default() });
        let line = Line { function: FunctionId(0), line: 7, column: 0 };
        profile.locations.push(Location { lines: vec![line], ..Location::default() });
        let key = profile.strings.intern("bytes");
        let label = Label { key, value: LabelValue::Num(16, StrId(0)) };
        let first = profile.push_sample(&[LocationId(0)], &[1, 16], &[label]);
        let second = profile.push_sample(&[LocationId(0)], &[2, 32], &[]);

        assert_eq!(profile.stacks.len(), 1);
        assert_eq!(profile.num_label(first, "bytes"), Some(16));
        assert_eq!(profile.num_label(second, "bytes"), None);
        assert_eq!(profile.samples.values[1], [16, 32]);
        assert_eq!(profile.default_column(), Some(1));
        assert_eq!(profile.lines(second).map(|line| line.line).collect::<Vec<_>>(), [7]);
    }
}
