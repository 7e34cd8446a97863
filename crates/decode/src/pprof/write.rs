//! Writing profile.proto byte for byte as Go's library does: texts numbered in the
//! order of their first use, lists of three and more packed, labels sorted by key.

use std::collections::HashMap;
use std::io::{self, Write};

use model::{FunctionId, Label, LabelValue, LocationId, MappingId, Profile, SampleId, StrId};

use super::wire::{put_bytes, put_number, put_varint};

/// Writes a gzip profile.
pub fn write(profile: &Profile) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(3));
    // Writing to memory does not fail.
    let _ = write_to(profile, &mut encoder);
    encoder.finish().unwrap_or_default()
}

/// Writes an uncompressed profile.
pub fn write_plain(profile: &Profile) -> Vec<u8> {
    let mut out = Vec::new();
    let _ = write_to(profile, &mut out);
    out
}

/// Streams an uncompressed profile.
///
/// # Errors
/// When `out` cannot be written.
pub fn write_to(profile: &Profile, out: &mut impl Write) -> io::Result<()> {
    let mut encoder = Encoder { profile, texts: Texts::new(profile), message: Vec::new() };
    encoder.number_texts();
    encoder.put_all(out)
}

/// Texts in the order of their first use.
struct Texts {
    numbers: Vec<u64>,
    order: Vec<StrId>,
}

impl Texts {
    fn new(profile: &Profile) -> Texts {
        let mut texts = Texts { numbers: vec![u64::MAX; profile.strings.len()], order: Vec::new() };
        texts.add(StrId(0));
        texts
    }

    fn add(&mut self, id: StrId) {
        if let Some(number) = self.numbers.get_mut(id.0 as usize).filter(|n| **n == u64::MAX) {
            *number = self.order.len() as u64;
            self.order.push(id);
        }
    }

    fn number(&self, id: StrId) -> u64 {
        self.numbers.get(id.0 as usize).copied().filter(|n| *n != u64::MAX).unwrap_or(0)
    }
}

struct Encoder<'a> {
    profile: &'a Profile,
    texts: Texts,
    message: Vec<u8>,
}

impl Encoder<'_> {
    fn number_texts(&mut self) {
        let Encoder { profile, texts, .. } = self;
        for value_type in &profile.sample_types {
            texts.add(value_type.kind);
            texts.add(value_type.unit);
        }
        let mut order = LabelOrder::default();
        for sample in profile.samples.ids() {
            for label in order.sorted(profile, sample) {
                texts.add(label.key);
                match label.value {
                    LabelValue::Str(text) => texts.add(text),
                    LabelValue::Num(_, unit) => texts.add(unit),
                }
            }
        }
        for mapping in &profile.mappings {
            texts.add(mapping.filename);
            texts.add(mapping.build_id);
        }
        for function in &profile.functions {
            texts.add(function.name);
            texts.add(function.system_name);
            texts.add(function.filename);
        }
        texts.add(profile.drop_frames);
        texts.add(profile.keep_frames);
        if let Some(value_type) = profile.period_type {
            texts.add(value_type.kind);
            texts.add(value_type.unit);
        }
        profile.comments.iter().for_each(|comment| texts.add(*comment));
        texts.add(profile.default_sample_type.unwrap_or_default());
        texts.add(profile.doc_url);
    }

    fn put_all(&mut self, out: &mut impl Write) -> io::Result<()> {
        let profile = self.profile;
        let mut whole = Vec::new();
        for value_type in &profile.sample_types {
            self.put_value_type(&mut whole, 1, *value_type);
        }
        self.put_samples(&mut whole, out)?;
        self.put_tables(&mut whole);
        for id in &self.texts.order {
            put_bytes(&mut whole, 6, profile.str(*id).as_bytes());
        }
        put_number(&mut whole, 7, self.texts.number(profile.drop_frames));
        put_number(&mut whole, 8, self.texts.number(profile.keep_frames));
        put_number(&mut whole, 9, profile.time_nanos.cast_unsigned());
        put_number(&mut whole, 10, profile.duration_nanos.cast_unsigned());
        if let Some(value_type) = profile.period_type
            && (value_type.kind, value_type.unit) != (StrId(0), StrId(0))
        {
            self.put_value_type(&mut whole, 11, value_type);
        }
        put_number(&mut whole, 12, profile.period.cast_unsigned());
        let comments = profile.comments.iter().map(|comment| self.texts.number(*comment));
        put_list(&mut whole, 13, comments);
        // Go writes this one even when it is zero.
        put_varint(&mut whole, 14 << 3);
        put_varint(&mut whole, self.texts.number(profile.default_sample_type.unwrap_or_default()));
        put_number(&mut whole, 15, self.texts.number(profile.doc_url));
        out.write_all(&whole)
    }

    fn put_value_type(&mut self, out: &mut Vec<u8>, field: u64, value_type: model::ValueType) {
        self.message.clear();
        put_number(&mut self.message, 1, self.texts.number(value_type.kind));
        put_number(&mut self.message, 2, self.texts.number(value_type.unit));
        put_bytes(out, field, &self.message);
    }

    fn put_samples(&mut self, whole: &mut Vec<u8>, out: &mut impl Write) -> io::Result<()> {
        let profile = self.profile;
        let mut part = Vec::new();
        let mut order = LabelOrder::default();
        let message = &mut self.message;
        for (sample, stack) in profile.samples.ids().zip(&profile.samples.stacks) {
            message.clear();
            let frames = profile.stacks.get(*stack).iter();
            put_list(message, 1, frames.map(|location| profile.location_id(*location)));
            put_list(message, 2, profile.samples.row(sample).map(i64::cast_unsigned));
            for label in order.sorted(profile, sample) {
                part.clear();
                put_number(&mut part, 1, self.texts.number(label.key));
                match label.value {
                    LabelValue::Str(text) => put_number(&mut part, 2, self.texts.number(text)),
                    LabelValue::Num(number, unit) => {
                        put_number(&mut part, 3, number.cast_unsigned());
                        put_number(&mut part, 4, self.texts.number(unit));
                    }
                }
                put_bytes(message, 3, &part);
            }
            put_bytes(whole, 2, message);
            if whole.len() > 1 << 20 {
                out.write_all(whole)?;
                whole.clear();
            }
        }
        Ok(())
    }

    fn put_tables(&mut self, out: &mut Vec<u8>) {
        let profile = self.profile;
        let texts = &self.texts;
        let message = &mut self.message;
        for (index, mapping) in profile.mappings.iter().enumerate() {
            message.clear();
            put_number(message, 1, profile.mapping_id(MappingId(index as u32)));
            put_number(message, 2, mapping.start.0);
            put_number(message, 3, mapping.limit.0);
            put_number(message, 4, mapping.file_offset);
            put_number(message, 5, texts.number(mapping.filename));
            put_number(message, 6, texts.number(mapping.build_id));
            put_number(message, 7, mapping.has_functions.into());
            put_number(message, 8, mapping.has_filenames.into());
            put_number(message, 9, mapping.has_line_numbers.into());
            put_number(message, 10, mapping.has_inline_frames.into());
            put_bytes(out, 3, message);
        }
        let mut part = Vec::new();
        for (index, location) in profile.locations.iter().enumerate() {
            message.clear();
            put_number(message, 1, profile.location_id(LocationId(index as u32)));
            put_number(message, 2, location.mapping.map_or(0, |id| profile.mapping_id(id)));
            put_number(message, 3, location.address.0);
            for line in &location.lines {
                part.clear();
                put_number(&mut part, 1, profile.function_id(line.function));
                put_number(&mut part, 2, line.line.cast_unsigned());
                put_number(&mut part, 3, line.column.cast_unsigned());
                put_bytes(message, 4, &part);
            }
            put_number(message, 5, location.is_folded.into());
            put_bytes(out, 4, message);
        }
        for (index, function) in profile.functions.iter().enumerate() {
            message.clear();
            put_number(message, 1, profile.function_id(FunctionId(index as u32)));
            put_number(message, 2, texts.number(function.name));
            put_number(message, 3, texts.number(function.system_name));
            put_number(message, 4, texts.number(function.filename));
            put_number(message, 5, function.start_line.cast_unsigned());
            put_bytes(out, 5, message);
        }
    }
}

/// Writes a repeated number: packed from three on.
fn put_list(out: &mut Vec<u8>, field: u64, numbers: impl Iterator<Item = u64> + Clone) {
    if numbers.clone().take(3).count() < 3 {
        for number in numbers {
            put_varint(out, field << 3);
            put_varint(out, number);
        }
        return;
    }
    let bytes = numbers.clone().map(varint_len).sum::<usize>();
    put_varint(out, field << 3 | 2);
    put_varint(out, bytes as u64);
    numbers.for_each(|number| put_varint(out, number));
}

fn varint_len(number: u64) -> usize {
    (64 - (number | 1).leading_zeros() as usize).div_ceil(7)
}

/// Labels as Go writes them: texts before numbers, each by key.
#[derive(Default)]
struct LabelOrder {
    labels: Vec<Label>,
    ranks: HashMap<StrId, u32>,
}

impl LabelOrder {
    fn sorted(&mut self, profile: &Profile, sample: SampleId) -> &[Label] {
        let labels = profile.samples.labels(sample);
        self.labels.clear();
        self.labels.extend_from_slice(labels);
        if labels.len() > 1 {
            if labels.iter().any(|label| !self.ranks.contains_key(&label.key)) {
                let mut keys: Vec<StrId> = self.ranks.keys().copied().collect();
                keys.extend(labels.iter().map(|label| label.key));
                keys.sort_by_key(|key| profile.str(*key));
                keys.dedup();
                self.ranks = keys.into_iter().zip(0..).collect();
            }
            let ranks = &self.ranks;
            self.labels.sort_by_key(|label| {
                (matches!(label.value, LabelValue::Num(..)), ranks.get(&label.key).copied())
            });
        }
        &self.labels
    }
}
