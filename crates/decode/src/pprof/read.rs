//! Reading profile.proto into the columnar model.
//!
//! One pass over a stream. Samples come before the tables they refer to, so their
//! locations and texts are kept by the file's numbers and renamed at the end.

use std::collections::HashMap;
use std::io::Read;

use model::profile::{Location, Mapping};
use model::{
    Addr, Function, FunctionId, Label, LabelValue, Line, LocationId, MappingId, Profile, StackId,
    StrId, ValueType,
};

use super::PprofError;
use super::stream::{self, Field, FieldStream};
use super::wire::{Fields, Value, each_number};
use crate::compress;

/// Limits of a read.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Largest inflated profile.
    pub inflated_bytes_max: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options { inflated_bytes_max: 8 << 30 }
    }
}

/// A profile and what was wrong with it.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// The profile.
    pub profile: Profile,
    /// What could not be read.
    pub warnings: Vec<String>,
}

/// Reads a profile: plain, gzip or zstd.
///
/// # Errors
/// When the bytes are no profile, are damaged or too large.
pub fn read(bytes: &[u8]) -> Result<Parsed, PprofError> {
    read_with(bytes, Options::default())
}

/// Reads a profile with other limits.
///
/// # Errors
/// As [`read`].
pub fn read_with(bytes: &[u8], options: Options) -> Result<Parsed, PprofError> {
    let reader = compress::reader(bytes)?;
    read_plain(Vec::new(), reader, options, false)
}

/// Reads an inflated profile: `head`, then the rest. `is_truncated` says that it is known
/// to end early.
pub(crate) fn read_plain(
    head: Vec<u8>,
    rest: impl Read,
    options: Options,
    is_truncated: bool,
) -> Result<Parsed, PprofError> {
    let mut fields = FieldStream::new(head, rest, options.inflated_bytes_max);
    let mut builder = Builder::default();
    let result = builder.take_all(&mut fields);
    builder.is_truncated = is_truncated || fields.is_truncated;
    match result {
        Err(
            error @ (PprofError::TooLarge(_) | PprofError::Gzip(_) | PprofError::Unreadable(_)),
        ) => return Err(error),
        Err(error) if !builder.is_truncated => return Err(error),
        _ => {}
    }
    builder.finish()
}

/// Fields of the Profile message.
mod field {
    pub(super) const SAMPLE_TYPE: u64 = 1;
    pub(super) const SAMPLE: u64 = 2;
    pub(super) const MAPPING: u64 = 3;
    pub(super) const LOCATION: u64 = 4;
    pub(super) const FUNCTION: u64 = 5;
    pub(super) const STRING: u64 = 6;
    pub(super) const DROP_FRAMES: u64 = 7;
    pub(super) const KEEP_FRAMES: u64 = 8;
    pub(super) const TIME: u64 = 9;
    pub(super) const DURATION: u64 = 10;
    pub(super) const PERIOD_TYPE: u64 = 11;
    pub(super) const PERIOD: u64 = 12;
    pub(super) const COMMENT: u64 = 13;
    pub(super) const DEFAULT_SAMPLE_TYPE: u64 = 14;
    pub(super) const DOC_URL: u64 = 15;
}

/// A message and where it starts.
type Part<'a> = (&'a [u8], usize);

/// Ids of the file to positions. Go numbers from 1 without gaps, so a vector
/// serves; other producers use addresses.
#[derive(Default)]
struct Ids {
    dense: Vec<u32>,
    sparse: HashMap<u64, u32>,
}

impl Ids {
    fn insert(&mut self, id: u64, index: u32) {
        if id == self.dense.len() as u64 + 1 {
            self.dense.push(index);
        } else {
            self.sparse.insert(id, index);
        }
    }

    fn get(&self, id: u64) -> Option<u32> {
        let dense = usize::try_from(id).ok().and_then(|id| id.checked_sub(1));
        let found = dense.and_then(|index| self.dense.get(index)).copied();
        found.or_else(|| self.sparse.get(&id).copied())
    }
}

/// Location ids of samples in 32 bits: small ids stand for themselves, others for
/// their place in a list.
#[derive(Default)]
struct ShortIds {
    large: Vec<u64>,
    places: HashMap<u64, u32>,
}

const LARGE: u32 = 1 << 31;

impl ShortIds {
    #[inline]
    fn short(&mut self, id: u64) -> u32 {
        if id < u64::from(LARGE) {
            return id as u32;
        }
        *self.places.entry(id).or_insert_with(|| {
            self.large.push(id);
            LARGE | (self.large.len() as u32 - 1)
        })
    }

    fn long(&self, short: u32) -> u64 {
        match short & LARGE {
            0 => short.into(),
            _ => self.large.get((short ^ LARGE) as usize).copied().unwrap_or(0),
        }
    }
}

/// A profile while it is read.
#[derive(Default)]
struct Builder {
    profile: Profile,
    strings: Vec<StrId>,
    mappings: Ids,
    functions: Ids,
    locations: Ids,
    short_ids: ShortIds,
    /// Mapping id of each location.
    mapping_of: Vec<u64>,
    scalars: [u64; 16],
    comments: Vec<u64>,
    period_type: Option<ValueType>,
    scratch: Scratch,
    is_truncated: bool,
    value_count: Option<usize>,
}

impl Builder {
    fn take_all<R: Read>(&mut self, fields: &mut FieldStream<R>) -> Result<(), PprofError> {
        while let Some(field) = fields.next()? {
            match field {
                Field::Bytes(field::SAMPLE, bytes, at) => self.sample((bytes, at))?,
                Field::Bytes(field::STRING, bytes, _) => {
                    let id = self.profile.strings.intern(&String::from_utf8_lossy(bytes));
                    self.strings.push(id);
                }
                Field::Bytes(field::SAMPLE_TYPE, bytes, at) => {
                    let value_type = value_type((bytes, at))?;
                    self.profile.sample_types.push(value_type);
                }
                Field::Bytes(field::PERIOD_TYPE, bytes, at) => {
                    self.period_type = Some(value_type((bytes, at))?);
                }
                Field::Bytes(field::MAPPING, bytes, at) => self.mapping((bytes, at))?,
                Field::Bytes(field::LOCATION, bytes, at) => self.location((bytes, at))?,
                Field::Bytes(field::FUNCTION, bytes, at) => self.function((bytes, at))?,
                Field::Number(field::COMMENT, _) | Field::Bytes(field::COMMENT, ..) => {
                    stream::numbers(&field, &mut self.comments)?;
                }
                Field::Number(field::TIME, _) if self.scalar(field::TIME) != 0 => {
                    return Err(PprofError::Concatenated);
                }
                Field::Number(number, value) => {
                    if let Some(slot) = self.scalars.get_mut(number as usize) {
                        *slot = value;
                    }
                }
                Field::Bytes(..) => {}
            }
        }
        Ok(())
    }

    fn scalar(&self, number: u64) -> u64 {
        self.scalars.get(number as usize).copied().unwrap_or(0)
    }

    fn mapping(&mut self, (bytes, base): Part<'_>) -> Result<(), PprofError> {
        let mut mapping = Mapping::default();
        let mut fields = Fields::new(bytes, base);
        while let Some(field) = fields.next() {
            let (number, Value::Varint(value)) = field? else { continue };
            match number {
                1 => mapping.id = value,
                2 => mapping.start = Addr(value),
                3 => mapping.limit = Addr(value),
                4 => mapping.file_offset = value,
                5 => mapping.filename = pending(value),
                6 => mapping.build_id = pending(value),
                7 => mapping.has_functions = value != 0,
                8 => mapping.has_filenames = value != 0,
                9 => mapping.has_line_numbers = value != 0,
                10 => mapping.has_inline_frames = value != 0,
                _ => {}
            }
        }
        self.mappings.insert(mapping.id, self.profile.mappings.len() as u32);
        self.profile.mappings.push(mapping);
        Ok(())
    }

    fn function(&mut self, (bytes, base): Part<'_>) -> Result<(), PprofError> {
        let mut function = Function::default();
        let mut fields = Fields::new(bytes, base);
        while let Some(field) = fields.next() {
            let (number, Value::Varint(value)) = field? else { continue };
            match number {
                1 => function.id = value,
                2 => function.name = pending(value),
                3 => function.system_name = pending(value),
                4 => function.filename = pending(value),
                5 => function.start_line = value.cast_signed(),
                _ => {}
            }
        }
        self.functions.insert(function.id, self.profile.functions.len() as u32);
        self.profile.functions.push(function);
        Ok(())
    }

    /// Functions usually follow; `line.function` holds a short id until then.
    fn location(&mut self, (bytes, base): Part<'_>) -> Result<(), PprofError> {
        let mut location = Location::default();
        let mut mapping = 0;
        let mut fields = Fields::new(bytes, base);
        while let Some(field) = fields.next() {
            match field? {
                (1, Value::Varint(value)) => location.id = value,
                (2, Value::Varint(value)) => mapping = value,
                (3, Value::Varint(value)) => location.address = Addr(value),
                (4, Value::Bytes(bytes, at)) => location.lines.push(self.line((bytes, at))?),
                (5, Value::Varint(value)) => location.is_folded = value != 0,
                _ => {}
            }
        }
        location.lines.shrink_to_fit();
        self.locations.insert(location.id, self.profile.locations.len() as u32);
        self.profile.locations.push(location);
        self.mapping_of.push(mapping);
        Ok(())
    }

    fn line(&mut self, (bytes, base): Part<'_>) -> Result<Line, PprofError> {
        let mut function = 0;
        let (mut line, mut column) = (0, 0);
        let mut fields = Fields::new(bytes, base);
        while let Some(field) = fields.next() {
            match field? {
                (1, Value::Varint(value)) => function = value,
                (2, Value::Varint(value)) => line = value.cast_signed(),
                (3, Value::Varint(value)) => column = value.cast_signed(),
                _ => {}
            }
        }
        Ok(Line { function: FunctionId(self.short_ids.short(function)), line, column })
    }

    fn sample(&mut self, (bytes, base): Part<'_>) -> Result<(), PprofError> {
        let Builder { scratch, short_ids, .. } = self;
        scratch.clear();
        let mut fields = Fields::new(bytes, base);
        while let Some(field) = fields.next() {
            match field? {
                (1, value) => {
                    each_number(value, |id| scratch.stack.push(LocationId(short_ids.short(id))))?;
                }
                (2, value) => {
                    each_number(value, |value| scratch.values.push(value.cast_signed()))?;
                }
                (3, Value::Bytes(bytes, at)) => scratch.labels.extend(label((bytes, at))?),
                _ => {}
            }
        }
        let found = scratch.values.len();
        let expected = *self.value_count.get_or_insert(found);
        if expected != found {
            return Err(PprofError::ValueCount { expected, found });
        }
        let profile = &mut self.profile;
        if profile.samples.is_empty() {
            profile.samples.values.resize_with(found, Vec::new);
        }
        let stack = profile.stacks.intern(&scratch.stack);
        profile.samples.push(stack, &scratch.values, &scratch.labels);
        Ok(())
    }

    /// Puts positions where the file has ids, texts where it has numbers.
    fn finish(mut self) -> Result<Parsed, PprofError> {
        if self.profile.sample_types.is_empty() || self.strings.is_empty() && !self.is_truncated {
            return Err(PprofError::NotAProfile);
        }
        self.name_header()?;
        self.name_tables()?;
        self.name_labels()?;
        let expected = self.profile.sample_types.len();
        match self.value_count {
            Some(found) if found != expected => {
                return Err(PprofError::ValueCount { expected, found });
            }
            _ => self.profile.samples.values.resize_with(expected, Vec::new),
        }
        let dropped = self.name_stacks()?;
        let mut warnings = Vec::new();
        if self.is_truncated {
            warnings.push("the file ends early; what could be read is shown".to_owned());
        }
        if dropped > 0 {
            warnings.push(format!("{dropped} samples refer to missing parts and were left out"));
        }
        Ok(Parsed { profile: self.profile, warnings })
    }

    fn string(&self, pending: StrId) -> Result<StrId, PprofError> {
        match self.strings.get(pending.0 as usize) {
            Some(id) => Ok(*id),
            None if self.is_truncated => Ok(StrId(0)),
            None => Err(PprofError::UnknownId { what: "string", id: pending.0.into() }),
        }
    }

    fn named(&self, value_type: ValueType) -> Result<ValueType, PprofError> {
        Ok(ValueType { kind: self.string(value_type.kind)?, unit: self.string(value_type.unit)? })
    }

    fn name_header(&mut self) -> Result<(), PprofError> {
        let sample_types: Result<_, _> =
            self.profile.sample_types.iter().map(|value_type| self.named(*value_type)).collect();
        let comments: Result<_, _> =
            self.comments.iter().map(|comment| self.string(pending(*comment))).collect();
        let text = |number| self.string(pending(self.scalar(number)));
        let default = text(field::DEFAULT_SAMPLE_TYPE)?;
        let (drop, keep) = (text(field::DROP_FRAMES)?, text(field::KEEP_FRAMES)?);
        let doc_url = text(field::DOC_URL)?;
        let period_type = self.period_type.map(|value_type| self.named(value_type)).transpose()?;
        let signed = |number| self.scalar(number).cast_signed();
        let (time, duration) = (signed(field::TIME), signed(field::DURATION));
        let period = signed(field::PERIOD);
        let profile = &mut self.profile;
        profile.sample_types = sample_types?;
        profile.comments = comments?;
        profile.default_sample_type = (default != StrId(0)).then_some(default);
        (profile.drop_frames, profile.keep_frames, profile.doc_url) = (drop, keep, doc_url);
        (profile.period_type, profile.period) = (period_type, period);
        (profile.time_nanos, profile.duration_nanos) = (time, duration);
        Ok(())
    }

    fn name_tables(&mut self) -> Result<(), PprofError> {
        let mut mappings = std::mem::take(&mut self.profile.mappings);
        for mapping in &mut mappings {
            mapping.filename = self.string(mapping.filename)?;
            mapping.build_id = self.string(mapping.build_id)?;
        }
        let mut functions = std::mem::take(&mut self.profile.functions);
        for function in &mut functions {
            function.name = self.string(function.name)?;
            function.system_name = self.string(function.system_name)?;
            function.filename = self.string(function.filename)?;
        }
        let mut locations = std::mem::take(&mut self.profile.locations);
        for (location, &mapping) in locations.iter_mut().zip(&self.mapping_of) {
            location.mapping = self.mappings.get(mapping).map(MappingId);
            for line in &mut location.lines {
                let id = self.short_ids.long(line.function.0);
                match self.functions.get(id) {
                    Some(index) => line.function = FunctionId(index),
                    None if self.is_truncated => line.function = FunctionId(u32::MAX),
                    None => return Err(PprofError::UnknownId { what: "function", id }),
                }
            }
            location.lines.retain(|line| line.function.0 != u32::MAX);
        }
        self.profile.mappings = mappings;
        self.profile.functions = functions;
        self.profile.locations = locations;
        Ok(())
    }

    fn name_labels(&mut self) -> Result<(), PprofError> {
        let mut samples = std::mem::take(&mut self.profile.samples);
        for label in samples.labels_mut() {
            label.key = self.string(label.key)?;
            label.value = match label.value {
                LabelValue::Str(text) => LabelValue::Str(self.string(text)?),
                LabelValue::Num(number, unit) => LabelValue::Num(number, self.string(unit)?),
            };
        }
        self.profile.samples = samples;
        Ok(())
    }

    /// Returns how many samples were dropped because their locations are missing.
    fn name_stacks(&mut self) -> Result<usize, PprofError> {
        let mut unknown = None;
        let Builder { profile, short_ids, locations, .. } = self;
        profile.stacks.rename(|short| {
            let id = short_ids.long(short.0);
            let index = locations.get(id);
            if index.is_none() {
                unknown.get_or_insert(id);
            }
            LocationId(index.unwrap_or(u32::MAX))
        });
        match unknown {
            None => return Ok(0),
            Some(id) if !self.is_truncated => {
                return Err(PprofError::UnknownId { what: "location", id });
            }
            Some(_) => {}
        }
        let before = profile.samples.len();
        let stacks = &profile.stacks;
        let is_whole = |id: StackId| stacks.get(id).iter().all(|location| location.0 != u32::MAX);
        let whole: Vec<bool> = profile.samples.stacks.iter().map(|id| is_whole(*id)).collect();
        profile.samples.retain(|sample| whole.get(sample.0 as usize) == Some(&true));
        Ok(before - profile.samples.len())
    }
}

/// A text by its number in the file, until the texts are there.
fn pending(number: u64) -> StrId {
    StrId(u32::try_from(number).unwrap_or(u32::MAX))
}

fn value_type((bytes, base): Part<'_>) -> Result<ValueType, PprofError> {
    let mut value_type = ValueType { kind: StrId(0), unit: StrId(0) };
    let mut fields = Fields::new(bytes, base);
    while let Some(field) = fields.next() {
        match field? {
            (1, Value::Varint(index)) => value_type.kind = pending(index),
            (2, Value::Varint(index)) => value_type.unit = pending(index),
            _ => {}
        }
    }
    Ok(value_type)
}

/// A label; one that has neither text, number nor unit says nothing.
fn label((bytes, base): Part<'_>) -> Result<Option<Label>, PprofError> {
    let (mut key, mut text, mut number, mut unit) = (0, 0, 0, 0);
    let mut fields = Fields::new(bytes, base);
    while let Some(field) = fields.next() {
        match field? {
            (1, Value::Varint(value)) => key = value,
            (2, Value::Varint(value)) => text = value,
            (3, Value::Varint(value)) => number = value,
            (4, Value::Varint(value)) => unit = value,
            _ => {}
        }
    }
    let value = match (text, number, unit) {
        (0, 0, 0) => return Ok(None),
        (0, ..) => LabelValue::Num(number.cast_signed(), pending(unit)),
        (text, ..) => LabelValue::Str(pending(text)),
    };
    Ok(Some(Label { key: pending(key), value }))
}

/// Buffers of one sample, reused.
#[derive(Default)]
struct Scratch {
    values: Vec<i64>,
    stack: Vec<LocationId>,
    labels: Vec<Label>,
}

impl Scratch {
    fn clear(&mut self) {
        self.values.clear();
        self.stack.clear();
        self.labels.clear();
    }
}
