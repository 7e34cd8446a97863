//! Reading profile.proto into the columnar model.

use std::collections::HashMap;
use std::io::Read;

use model::profile::{Location, Mapping};
use model::{
    Addr, Function, FunctionId, Label, LabelValue, Line, LocationId, MappingId, Profile, StrId,
    ValueType,
};

use super::PprofError;
use super::wire::{Fields, Value, numbers};

/// Limits of a read.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Largest inflated profile.
    pub inflated_bytes_max: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options { inflated_bytes_max: 2 << 30 }
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

/// Reads a profile, gzip or plain.
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
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let (inflated, is_truncated) = inflate(bytes, options.inflated_bytes_max)?;
        return parse(&inflated, is_truncated);
    }
    if bytes.len() as u64 > options.inflated_bytes_max {
        return Err(PprofError::TooLarge(options.inflated_bytes_max));
    }
    parse(bytes, false)
}

fn inflate(bytes: &[u8], max: u64) -> Result<(Vec<u8>, bool), PprofError> {
    // Profiles shrink four- to sixfold; a wrong guess costs one reallocation.
    let mut inflated = Vec::with_capacity(bytes.len().saturating_mul(5).min(64 << 20));
    let mut decoder = flate2::read::MultiGzDecoder::new(bytes).take(max.saturating_add(1));
    let result = decoder.read_to_end(&mut inflated);
    if inflated.len() as u64 > max {
        return Err(PprofError::TooLarge(max));
    }
    match result {
        Ok(_) => Ok((inflated, false)),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof && !inflated.is_empty() => {
            Ok((inflated, true))
        }
        Err(error) => Err(PprofError::Gzip(error.to_string())),
    }
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

/// A message of the profile and where it starts.
type Part<'a> = (&'a [u8], usize);

/// The messages by kind, before they are joined: samples may come before the
/// strings and locations they refer to.
#[derive(Default)]
struct Parts<'a> {
    sample_types: Vec<Part<'a>>,
    samples: Vec<Part<'a>>,
    mappings: Vec<Part<'a>>,
    locations: Vec<Part<'a>>,
    functions: Vec<Part<'a>>,
    strings: Vec<&'a [u8]>,
    period_type: Option<Part<'a>>,
    comments: Vec<u64>,
    scalars: [u64; 16],
}

fn parse(bytes: &[u8], is_truncated: bool) -> Result<Parsed, PprofError> {
    let mut warnings = Vec::new();
    let parts = match split(bytes) {
        (parts, None) => parts,
        (parts, Some(_)) if is_truncated => parts,
        (_, Some(error)) => return Err(error),
    };
    if parts.sample_types.is_empty() || parts.strings.is_empty() {
        return Err(PprofError::NotAProfile);
    }
    if is_truncated {
        warnings.push("the file ends early; what could be read is shown".to_owned());
    }
    let mut builder = Builder { is_truncated, ..Builder::default() };
    builder.build(&parts)?;
    if builder.skipped > 0 {
        warnings
            .push(format!("{} samples refer to missing parts and were left out", builder.skipped));
    }
    Ok(Parsed { profile: builder.profile, warnings })
}

fn split(bytes: &[u8]) -> (Parts<'_>, Option<PprofError>) {
    let mut parts = Parts::default();
    let mut fields = Fields::new(bytes, 0);
    while let Some(result) = fields.next() {
        let (number, value) = match result {
            Ok(field) => field,
            Err(error) => return (parts, Some(error)),
        };
        match (number, value) {
            (field::SAMPLE_TYPE, Value::Bytes(b, at)) => parts.sample_types.push((b, at)),
            (field::SAMPLE, Value::Bytes(b, at)) => parts.samples.push((b, at)),
            (field::MAPPING, Value::Bytes(b, at)) => parts.mappings.push((b, at)),
            (field::LOCATION, Value::Bytes(b, at)) => parts.locations.push((b, at)),
            (field::FUNCTION, Value::Bytes(b, at)) => parts.functions.push((b, at)),
            (field::STRING, Value::Bytes(b, _)) => parts.strings.push(b),
            (field::PERIOD_TYPE, Value::Bytes(b, at)) => parts.period_type = Some((b, at)),
            (field::COMMENT, value) => {
                if let Err(error) = numbers(value, &mut parts.comments) {
                    return (parts, Some(error));
                }
            }
            (number, Value::Varint(value)) => {
                if let Some(slot) = parts.scalars.get_mut(number as usize) {
                    *slot = value;
                }
            }
            _ => {}
        }
    }
    (parts, None)
}

/// Ids of the file to indexes of the model. Go numbers from 1 without gaps, so a
/// vector serves; other producers use addresses.
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

#[derive(Default)]
struct Builder {
    profile: Profile,
    strings: Vec<StrId>,
    mappings: Ids,
    functions: Ids,
    locations: Ids,
    is_truncated: bool,
    skipped: u64,
}

impl Builder {
    fn build(&mut self, parts: &Parts<'_>) -> Result<(), PprofError> {
        for bytes in &parts.strings {
            let id = self.profile.strings.intern(&String::from_utf8_lossy(bytes));
            self.strings.push(id);
        }
        for part in &parts.sample_types {
            let value_type = self.value_type(*part)?;
            self.profile.sample_types.push(value_type);
            self.profile.samples.values.push(Vec::with_capacity(parts.samples.len()));
        }
        if let Some(part) = parts.period_type {
            self.profile.period_type = Some(self.value_type(part)?);
        }
        self.scalars(parts)?;
        for part in &parts.mappings {
            self.mapping(*part)?;
        }
        for part in &parts.functions {
            self.function(*part)?;
        }
        for part in &parts.locations {
            self.location(*part)?;
        }
        let mut scratch = Scratch::default();
        for part in &parts.samples {
            match self.sample(*part, &mut scratch) {
                Err(_) if self.is_truncated => self.skipped += 1,
                result => result?,
            }
        }
        Ok(())
    }

    fn scalars(&mut self, parts: &Parts<'_>) -> Result<(), PprofError> {
        let scalar = |number: u64| parts.scalars.get(number as usize).copied().unwrap_or(0);
        self.profile.drop_frames = self.string(scalar(field::DROP_FRAMES))?;
        self.profile.keep_frames = self.string(scalar(field::KEEP_FRAMES))?;
        self.profile.doc_url = self.string(scalar(field::DOC_URL))?;
        self.profile.time_nanos = scalar(field::TIME).cast_signed();
        self.profile.duration_nanos = scalar(field::DURATION).cast_signed();
        self.profile.period = scalar(field::PERIOD).cast_signed();
        let default = scalar(field::DEFAULT_SAMPLE_TYPE);
        if default != 0 {
            self.profile.default_sample_type = Some(self.string(default)?);
        }
        for &comment in &parts.comments {
            let comment = self.string(comment)?;
            self.profile.comments.push(comment);
        }
        Ok(())
    }

    fn string(&self, index: u64) -> Result<StrId, PprofError> {
        let found = usize::try_from(index).ok().and_then(|index| self.strings.get(index)).copied();
        match found {
            Some(id) => Ok(id),
            None if self.is_truncated => Ok(StrId(0)),
            None => Err(PprofError::UnknownId { what: "string", id: index }),
        }
    }

    fn value_type(&self, (bytes, base): Part<'_>) -> Result<ValueType, PprofError> {
        let mut value_type = ValueType { kind: StrId(0), unit: StrId(0) };
        let mut fields = Fields::new(bytes, base);
        while let Some(field) = fields.next() {
            match field? {
                (1, Value::Varint(index)) => value_type.kind = self.string(index)?,
                (2, Value::Varint(index)) => value_type.unit = self.string(index)?,
                _ => {}
            }
        }
        Ok(value_type)
    }

    fn mapping(&mut self, (bytes, base): Part<'_>) -> Result<(), PprofError> {
        let mut mapping = Mapping::default();
        let mut id = 0;
        let mut fields = Fields::new(bytes, base);
        while let Some(field) = fields.next() {
            let (number, Value::Varint(value)) = field? else { continue };
            match number {
                1 => id = value,
                2 => mapping.start = Addr(value),
                3 => mapping.limit = Addr(value),
                4 => mapping.file_offset = value,
                5 => mapping.filename = self.string(value)?,
                6 => mapping.build_id = self.string(value)?,
                7 => mapping.has_functions = value != 0,
                8 => mapping.has_filenames = value != 0,
                9 => mapping.has_line_numbers = value != 0,
                10 => mapping.has_inline_frames = value != 0,
                _ => {}
            }
        }
        self.mappings.insert(id, self.profile.mappings.len() as u32);
        self.profile.mappings.push(mapping);
        Ok(())
    }

    fn function(&mut self, (bytes, base): Part<'_>) -> Result<(), PprofError> {
        let mut function = Function::default();
        let mut id = 0;
        let mut fields = Fields::new(bytes, base);
        while let Some(field) = fields.next() {
            let (number, Value::Varint(value)) = field? else { continue };
            match number {
                1 => id = value,
                2 => function.name = self.string(value)?,
                3 => function.system_name = self.string(value)?,
                4 => function.filename = self.string(value)?,
                5 => function.start_line = value.cast_signed(),
                _ => {}
            }
        }
        self.functions.insert(id, self.profile.functions.len() as u32);
        self.profile.functions.push(function);
        Ok(())
    }

    fn location(&mut self, (bytes, base): Part<'_>) -> Result<(), PprofError> {
        let mut location = Location::default();
        let mut id = 0;
        let mut fields = Fields::new(bytes, base);
        while let Some(field) = fields.next() {
            match field? {
                (1, Value::Varint(value)) => id = value,
                (2, Value::Varint(value)) if value != 0 => {
                    let index = self.mappings.get(value);
                    let unknown = PprofError::UnknownId { what: "mapping", id: value };
                    location.mapping = Some(MappingId(index.ok_or(unknown)?));
                }
                (3, Value::Varint(value)) => location.address = Addr(value),
                (4, Value::Bytes(bytes, at)) => location.lines.push(self.line((bytes, at))?),
                (5, Value::Varint(value)) => location.is_folded = value != 0,
                _ => {}
            }
        }
        self.locations.insert(id, self.profile.locations.len() as u32);
        self.profile.locations.push(location);
        Ok(())
    }

    fn line(&self, (bytes, base): Part<'_>) -> Result<Line, PprofError> {
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
        let unknown = PprofError::UnknownId { what: "function", id: function };
        let function = FunctionId(self.functions.get(function).ok_or(unknown)?);
        Ok(Line { function, line, column })
    }

    fn sample(&mut self, (bytes, base): Part<'_>, scratch: &mut Scratch) -> Result<(), PprofError> {
        scratch.clear();
        let mut fields = Fields::new(bytes, base);
        while let Some(field) = fields.next() {
            match field? {
                (1, value) => numbers(value, &mut scratch.ids)?,
                (2, value) => numbers(value, &mut scratch.values)?,
                (3, Value::Bytes(bytes, at)) => scratch.labels.push(self.label((bytes, at))?),
                _ => {}
            }
        }
        for &id in &scratch.ids {
            let index = self.locations.get(id);
            let index = index.ok_or(PprofError::UnknownId { what: "location", id })?;
            scratch.stack.push(LocationId(index));
        }
        let expected = self.profile.sample_types.len();
        if scratch.values.len() != expected {
            return Err(PprofError::ValueCount { expected, found: scratch.values.len() });
        }
        scratch.signed.extend(scratch.values.iter().map(|value| value.cast_signed()));
        self.profile.push_sample(&scratch.stack, &scratch.signed, &scratch.labels);
        Ok(())
    }

    fn label(&self, (bytes, base): Part<'_>) -> Result<Label, PprofError> {
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
        let value = match text {
            0 => LabelValue::Num(number.cast_signed(), self.string(unit)?),
            text => LabelValue::Str(self.string(text)?),
        };
        Ok(Label { key: self.string(key)?, value })
    }
}

/// Buffers of one sample, reused.
#[derive(Default)]
struct Scratch {
    ids: Vec<u64>,
    values: Vec<u64>,
    signed: Vec<i64>,
    stack: Vec<LocationId>,
    labels: Vec<Label>,
}

impl Scratch {
    fn clear(&mut self) {
        self.ids.clear();
        self.values.clear();
        self.signed.clear();
        self.stack.clear();
        self.labels.clear();
    }
}
