//! A profile in columns: interned strings, functions, locations and stacks, and
//! one value column per sample type.
//!
//! The shape is profile.proto's (many sample types, labels, mappings, several
//! lines per location for inlined calls) so that reading and writing pprof loses
//! nothing. Stacks are interned and leaf first; samples refer to them by id.

use std::hash::{BuildHasher, Hasher};

use ahash::RandomState;
use hashbrown::HashTable;

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
    /// Id in the file it was read from; 0 is the position plus one.
    pub id: u64,
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
    /// Id in the file it was read from; 0 is the position plus one.
    pub id: u64,
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
    /// Id in the file it was read from; 0 is the position plus one.
    pub id: u64,
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
    /// Hashes and ids; behind `frames` when `indexed` is below their number. Hashes are
    /// kept because computing them anew when the table grows costs more than the table.
    index: HashTable<(u32, u32)>,
    indexed: usize,
    hasher: RandomState,
}

impl Stacks {
    /// Makes room for `stacks` stacks of `frames` frames together.
    pub fn reserve(&mut self, stacks: usize, frames: usize) {
        self.ends.reserve(stacks);
        self.frames.reserve(frames);
    }

    /// Returns the id of `stack` (leaf first), adding it when it is new.
    ///
    /// # Panics
    /// When all stacks together exceed 2^32 frames; decoders bound their input.
    pub fn intern(&mut self, stack: &[LocationId]) -> StackId {
        self.catch_up();
        let hash = self.hash(stack);
        let is_same = |&(known, id): &(u32, u32)| known == hash && self.get(StackId(id)) == stack;
        if let Some(&(_, id)) = self.index.find(spread(hash), is_same) {
            return StackId(id);
        }
        let id = self.push(stack);
        self.insert(id, hash);
        id
    }

    fn hash(&self, stack: &[LocationId]) -> u32 {
        let mut hasher = self.hasher.build_hasher();
        let (pairs, rest) = stack.as_chunks::<2>();
        for [first, second] in pairs {
            hasher.write_u64(u64::from(first.0) << 32 | u64::from(second.0));
        }
        for last in rest {
            hasher.write_u64(u64::from(last.0) | 1 << 63);
        }
        hasher.finish() as u32
    }

    fn push(&mut self, stack: &[LocationId]) -> StackId {
        let id = StackId(u32::try_from(self.ends.len()).expect("fewer than 2^32 stacks"));
        self.frames.extend_from_slice(stack);
        self.ends.push(u32::try_from(self.frames.len()).expect("fewer than 2^32 frames"));
        id
    }

    fn insert(&mut self, id: StackId, hash: u32) {
        self.index.insert_unique(spread(hash), (hash, id.0), |&(hash, _)| spread(hash));
        self.indexed += 1;
    }

    fn catch_up(&mut self) {
        while let Some(id) = (self.indexed < self.ends.len()).then_some(self.indexed as u32) {
            let hash = self.hash(self.get(StackId(id)));
            self.insert(StackId(id), hash);
        }
    }

    /// The frames of a stack, leaf first; empty for a foreign id.
    pub fn get(&self, id: StackId) -> &[LocationId] {
        slice(&self.frames, &self.ends, id)
    }

    /// Number of distinct stacks.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Reports whether there is no stack.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Renames every location of every stack.
    pub fn rename(&mut self, mut rename: impl FnMut(LocationId) -> LocationId) {
        self.frames.iter_mut().for_each(|frame| *frame = rename(*frame));
        self.index = HashTable::new();
        self.indexed = 0;
    }

    /// Number of frames of all stacks together.
    pub fn frame_count(&self) -> usize {
        self.frames.len()
    }
}

/// A hash for the table, which looks at the upper and the lower bits.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn slice<'a>(frames: &'a [LocationId], ends: &[u32], id: StackId) -> &'a [LocationId] {
    let index = id.0 as usize;
    let start = if index == 0 { 0 } else { ends.get(index - 1).copied().unwrap_or(0) };
    let end = ends.get(index).copied().unwrap_or(start);
    frames.get(start as usize..end as usize).unwrap_or(&[])
}

/// The samples, one row each.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    /// Stack of each sample.
    pub stacks: Vec<StackId>,
    /// One column per sample type, each as long as `stacks`.
    pub values: Vec<Vec<i64>>,
    /// Where the labels of each sample end; shorter than `stacks` when the samples
    /// past its end have none.
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

    /// Makes room for `rows` rows with `labels` labels together.
    pub fn reserve(&mut self, rows: usize, labels: usize) {
        self.stacks.reserve(rows);
        self.values.iter_mut().for_each(|column| column.reserve(rows));
        self.label_ends.reserve(if labels > 0 { rows } else { 0 });
        self.labels.reserve(labels);
    }

    /// Number of labels of all samples together.
    pub fn label_count(&self) -> usize {
        self.labels.len()
    }

    /// Adds a row; the caller keeps all columns equally long.
    pub fn push(&mut self, stack: StackId, values: &[i64], labels: &[Label]) -> SampleId {
        let id = SampleId(self.stacks.len() as u32);
        self.stacks.push(stack);
        for (column, &value) in self.values.iter_mut().zip(values) {
            column.push(value);
        }
        self.push_labels(id.0 as usize, labels);
        id
    }

    fn push_labels(&mut self, index: usize, labels: &[Label]) {
        if !labels.is_empty() {
            self.label_ends.resize(index, self.labels.len() as u32);
            self.labels.extend_from_slice(labels);
            self.label_ends.push(self.labels.len() as u32);
        }
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

    /// Values of a sample, one a sample type.
    pub fn row(&self, sample: SampleId) -> impl Iterator<Item = i64> + Clone + '_ {
        let index = sample.0 as usize;
        self.values.iter().map(move |column| column.get(index).copied().unwrap_or(0))
    }

    /// Keeps the samples for which `keep` says yes.
    pub fn retain(&mut self, mut keep: impl FnMut(SampleId) -> bool) {
        let kept: Vec<bool> = self.ids().map(&mut keep).collect();
        if kept.iter().all(|kept| *kept) {
            return;
        }
        if !self.labels.is_empty() {
            let old = std::mem::take(self);
            let survivors = old.ids().filter(|id| kept.get(id.0 as usize) == Some(&true));
            for (row, id) in survivors.enumerate() {
                self.push_labels(row, old.labels(id));
            }
            self.stacks = old.stacks;
            self.values = old.values;
        }
        fn compact<T>(column: &mut Vec<T>, kept: &[bool]) {
            let mut flags = kept.iter();
            column.retain(|_| flags.next() == Some(&true));
        }
        compact(&mut self.stacks, &kept);
        self.values.iter_mut().for_each(|column| compact(column, &kept));
    }

    /// Changes the labels of every sample.
    pub fn edit_labels(&mut self, mut edit: impl FnMut(SampleId, &mut Vec<Label>)) {
        let old_ends = std::mem::take(&mut self.label_ends);
        let old = std::mem::take(&mut self.labels);
        let mut scratch = Vec::new();
        let mut start = 0;
        for index in 0..self.stacks.len() {
            let end = old_ends.get(index).copied().unwrap_or(start);
            scratch.clear();
            scratch.extend_from_slice(old.get(start as usize..end as usize).unwrap_or(&[]));
            start = end;
            edit(SampleId(index as u32), &mut scratch);
            self.push_labels(index, &scratch);
        }
    }

    /// Changes every label in place.
    pub fn labels_mut(&mut self) -> &mut [Label] {
        &mut self.labels
    }

    /// Reports whether no sample has a label.
    pub fn are_unlabelled(&self) -> bool {
        self.labels.is_empty()
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
        self.samples.push(stack, values, labels)
    }

    /// Id of a mapping in files.
    pub fn mapping_id(&self, mapping: MappingId) -> u64 {
        file_id(self.mappings.get(mapping.0 as usize).map(|mapping| mapping.id), mapping.0)
    }

    /// Id of a location in files.
    pub fn location_id(&self, location: LocationId) -> u64 {
        file_id(self.locations.get(location.0 as usize).map(|location| location.id), location.0)
    }

    /// Id of a function in files.
    pub fn function_id(&self, function: FunctionId) -> u64 {
        file_id(self.functions.get(function.0 as usize).map(|function| function.id), function.0)
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

fn file_id(id: Option<u64>, index: u32) -> u64 {
    id.filter(|id| *id != 0).unwrap_or(u64::from(index) + 1)
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

    #[test]
    fn retained_samples_keep_their_labels() {
        let mut profile = Profile::new(&[("objects", "count")]);
        let key = profile.strings.intern("bytes");
        let label = |value| Label { key, value: LabelValue::Num(value, StrId(0)) };
        profile.push_sample(&[LocationId(0)], &[1], &[label(8)]);
        profile.push_sample(&[LocationId(1)], &[2], &[]);
        profile.push_sample(&[LocationId(2)], &[3], &[label(16), label(32)]);
        profile.samples.retain(|sample| sample.0 != 0);
        assert_eq!(profile.samples.values[0], [2, 3]);
        assert_eq!(profile.samples.labels(SampleId(0)), []);
        assert_eq!(profile.samples.labels(SampleId(1)), [label(16), label(32)]);
        profile.samples.edit_labels(|_, labels| labels.truncate(1));
        assert_eq!(profile.samples.labels(SampleId(1)), [label(16)]);
    }

    #[test]
    fn renamed_stacks_are_found_by_their_new_content() {
        let mut stacks = Stacks::default();
        let first = stacks.intern(&[LocationId(5), LocationId(6)]);
        stacks.rename(|location| LocationId(location.0 - 5));
        assert_eq!(stacks.intern(&[LocationId(0), LocationId(1)]), first);
        assert_ne!(stacks.intern(&[LocationId(5), LocationId(6)]), first);
    }
}
