//! Writing profile.proto. The output is deterministic: ids are indexes plus one.

use std::io::Write;

use model::{LabelValue, Profile, SampleId, ValueType};

use super::wire::{put_bytes, put_number, put_varint};

/// Writes a gzip profile.
pub fn write(profile: &Profile) -> Vec<u8> {
    let plain = write_plain(profile);
    let out = Vec::with_capacity(plain.len() / 4);
    let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::new(3));
    // Writing to memory does not fail.
    let _ = encoder.write_all(&plain);
    encoder.finish().unwrap_or_default()
}

/// Writes an uncompressed profile.
pub fn write_plain(profile: &Profile) -> Vec<u8> {
    let mut out = Vec::new();
    let mut message = Vec::new();
    for value_type in &profile.sample_types {
        put_value_type(&mut out, 1, *value_type, &mut message);
    }
    put_samples(&mut out, profile, &mut message);
    put_mappings(&mut out, profile, &mut message);
    put_locations(&mut out, profile, &mut message);
    for (index, function) in profile.functions.iter().enumerate() {
        message.clear();
        put_number(&mut message, 1, index as u64 + 1);
        put_number(&mut message, 2, function.name.0.into());
        put_number(&mut message, 3, function.system_name.0.into());
        put_number(&mut message, 4, function.filename.0.into());
        put_number(&mut message, 5, function.start_line.cast_unsigned());
        put_bytes(&mut out, 5, &message);
    }
    for text in profile.strings.iter() {
        put_bytes(&mut out, 6, text.as_bytes());
    }
    put_number(&mut out, 7, profile.drop_frames.0.into());
    put_number(&mut out, 8, profile.keep_frames.0.into());
    put_number(&mut out, 9, profile.time_nanos.cast_unsigned());
    put_number(&mut out, 10, profile.duration_nanos.cast_unsigned());
    if let Some(value_type) = profile.period_type {
        put_value_type(&mut out, 11, value_type, &mut message);
    }
    put_number(&mut out, 12, profile.period.cast_unsigned());
    for comment in &profile.comments {
        put_number(&mut out, 13, comment.0.into());
    }
    put_number(&mut out, 14, profile.default_sample_type.map_or(0, |kind| kind.0.into()));
    put_number(&mut out, 15, profile.doc_url.0.into());
    out
}

fn put_value_type(out: &mut Vec<u8>, field: u64, value_type: ValueType, message: &mut Vec<u8>) {
    message.clear();
    put_number(message, 1, value_type.kind.0.into());
    put_number(message, 2, value_type.unit.0.into());
    put_bytes(out, field, message);
}

fn put_samples(out: &mut Vec<u8>, profile: &Profile, message: &mut Vec<u8>) {
    let mut packed = Vec::new();
    for (index, stack) in profile.samples.stacks.iter().enumerate() {
        message.clear();
        packed.clear();
        for location in profile.stacks.get(*stack) {
            put_varint(&mut packed, u64::from(location.0) + 1);
        }
        put_bytes(message, 1, &packed);
        packed.clear();
        for column in &profile.samples.values {
            put_varint(&mut packed, column.get(index).copied().unwrap_or(0).cast_unsigned());
        }
        put_bytes(message, 2, &packed);
        for label in profile.samples.labels(SampleId(index as u32)) {
            packed.clear();
            put_number(&mut packed, 1, label.key.0.into());
            match label.value {
                LabelValue::Str(text) => put_number(&mut packed, 2, text.0.into()),
                LabelValue::Num(number, unit) => {
                    put_number(&mut packed, 3, number.cast_unsigned());
                    put_number(&mut packed, 4, unit.0.into());
                }
            }
            put_bytes(message, 3, &packed);
        }
        put_bytes(out, 2, message);
    }
}

fn put_mappings(out: &mut Vec<u8>, profile: &Profile, message: &mut Vec<u8>) {
    for (index, mapping) in profile.mappings.iter().enumerate() {
        message.clear();
        put_number(message, 1, index as u64 + 1);
        put_number(message, 2, mapping.start.0);
        put_number(message, 3, mapping.limit.0);
        put_number(message, 4, mapping.file_offset);
        put_number(message, 5, mapping.filename.0.into());
        put_number(message, 6, mapping.build_id.0.into());
        put_number(message, 7, mapping.has_functions.into());
        put_number(message, 8, mapping.has_filenames.into());
        put_number(message, 9, mapping.has_line_numbers.into());
        put_number(message, 10, mapping.has_inline_frames.into());
        put_bytes(out, 3, message);
    }
}

fn put_locations(out: &mut Vec<u8>, profile: &Profile, message: &mut Vec<u8>) {
    let mut part = Vec::new();
    for (index, location) in profile.locations.iter().enumerate() {
        message.clear();
        put_number(message, 1, index as u64 + 1);
        put_number(message, 2, location.mapping.map_or(0, |mapping| u64::from(mapping.0) + 1));
        put_number(message, 3, location.address.0);
        for line in &location.lines {
            part.clear();
            put_number(&mut part, 1, u64::from(line.function.0) + 1);
            put_number(&mut part, 2, line.line.cast_unsigned());
            put_number(&mut part, 3, line.column.cast_unsigned());
            put_bytes(message, 4, &part);
        }
        put_number(message, 5, location.is_folded.into());
        put_bytes(out, 4, message);
    }
}
