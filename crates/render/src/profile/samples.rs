//! A whole profile as JSON, every column and label.

use model::{LabelValue, Profile, ValueType};
use serde_json::{Map, Value, json};

use crate::json::integer;

/// The schema is in docs/api.md: stacks are lists of indexes into `frames`, leaf first;
/// addresses are hex strings, and values beyond 2^53 are strings.
pub fn value(profile: &Profile) -> Value {
    let value_type =
        |t: &ValueType| json!({ "kind": profile.str(t.kind), "unit": profile.str(t.unit) });
    let types: Vec<Value> = profile.sample_types.iter().map(value_type).collect();
    let mut frames: Vec<Value> = Vec::new();
    let mut of_location: Vec<Vec<usize>> = Vec::new();
    for location in &profile.locations {
        let mut ids = Vec::new();
        for line in &location.lines {
            let function = profile.functions.get(line.function.0 as usize);
            let text = |id: Option<model::StrId>| id.map_or("", |id| profile.str(id));
            ids.push(frames.len());
            frames.push(json!({
                "function": text(function.map(|f| f.name)),
                "file": text(function.map(|f| f.filename)),
                "line": line.line,
                "address": location.address.to_string(),
            }));
        }
        if location.lines.is_empty() {
            ids.push(frames.len());
            frames.push(json!({ "function": "", "file": "", "line": 0,
                                "address": location.address.to_string() }));
        }
        of_location.push(ids);
    }
    let samples: Vec<Value> = profile
        .samples
        .ids()
        .map(|sample| {
            let stack = profile.samples.stacks.get(sample.0 as usize).copied();
            let locations = stack.map_or(&[][..], |stack| profile.stacks.get(stack));
            let stack: Vec<usize> = locations
                .iter()
                .filter_map(|location| of_location.get(location.0 as usize))
                .flatten()
                .copied()
                .collect();
            let column = |c: &Vec<i64>| integer(c.get(sample.0 as usize).copied().unwrap_or(0));
            let values: Vec<Value> = profile.samples.values.iter().map(column).collect();
            json!({ "stack": stack, "values": values, "labels": labels(profile, sample) })
        })
        .collect();
    json!({
        "sample_types": types,
        "default_sample_type": profile.default_sample_type.map(|kind| profile.str(kind)),
        "period": integer(profile.period),
        "period_type": profile.period_type.as_ref().map(value_type),
        "time_ms": profile.time_nanos / 1_000_000,
        "duration_ms": profile.duration_nanos / 1_000_000,
        "frames": frames,
        "samples": samples,
    })
}

fn labels(profile: &Profile, sample: model::SampleId) -> Map<String, Value> {
    let mut labels = Map::new();
    for label in profile.samples.labels(sample) {
        let value = match label.value {
            LabelValue::Str(text) => profile.str(text).into(),
            LabelValue::Num(number, _) => integer(number),
        };
        labels.insert(profile.str(label.key).to_owned(), value);
    }
    labels
}
