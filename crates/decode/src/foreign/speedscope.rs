//! speedscope's JSON (file-format-schema.json of speedscope.app): sampled and evented
//! profiles.

use model::{Label, LabelValue, LocationId, Profile};
use serde::Deserialize;

use super::named::NamedFrames;

#[derive(Deserialize)]
struct File {
    shared: Shared,
    profiles: Vec<Part>,
}

#[derive(Deserialize)]
struct Shared {
    frames: Vec<Frame>,
}

#[derive(Deserialize)]
struct Frame {
    name: String,
    #[serde(default)]
    file: Option<String>,
    #[serde(default)]
    line: Option<i64>,
    #[serde(default)]
    col: Option<i64>,
}

#[derive(Deserialize)]
struct Part {
    #[serde(default)]
    name: String,
    #[serde(default)]
    unit: String,
    #[serde(default)]
    samples: Vec<Vec<usize>>,
    #[serde(default)]
    weights: Vec<f64>,
    #[serde(default)]
    events: Vec<Event>,
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    at: f64,
    frame: usize,
}

/// Reads a file. Profiles of another unit than the first are left out.
pub(super) fn read(text: &str) -> Result<(Profile, Vec<String>), String> {
    let file: File = serde_json::from_str(text)
        .map_err(|error| format!("a JSON file, but not speedscope's: {error}"))?;
    let unit = file.profiles.first().map_or("none", |part| part.unit.as_str()).to_owned();
    let (kind, shown_unit) = match unit.as_str() {
        "bytes" => ("space", "bytes"),
        "" | "none" => ("samples", "count"),
        time => ("time", time),
    };
    let mut profile = Profile::new(&[(kind, shown_unit)]);
    let mut frames = NamedFrames::default();
    let locations: Vec<LocationId> = file
        .shared
        .frames
        .iter()
        .map(|frame| {
            let (line, column) = (frame.line.unwrap_or(0), frame.col.unwrap_or(0));
            let source = frame.file.as_deref().unwrap_or("");
            frames.location(&mut profile, &frame.name, source, line, column)
        })
        .collect();
    let mut warnings = Vec::new();
    let is_several = file.profiles.len() > 1;
    for part in &file.profiles {
        if part.unit != unit {
            warnings.push(format!("profile {:?} counts {}, not {unit}", part.name, part.unit));
            continue;
        }
        let mut labels = Vec::new();
        if is_several {
            let key = profile.strings.intern("profile");
            let value = LabelValue::Str(profile.strings.intern(&part.name));
            labels.push(Label { key, value });
        }
        let stacks = if part.samples.is_empty() { evented(part) } else { sampled(part) };
        for (stack, weight) in stacks {
            let stack: Option<Vec<LocationId>> =
                stack.iter().rev().map(|frame| locations.get(*frame).copied()).collect();
            let stack = stack.ok_or("damaged speedscope file: a stack names a missing frame")?;
            profile.push_sample(&stack, &[weight.round() as i64], &labels);
        }
    }
    Ok((profile, warnings))
}

/// Stacks, root first, and their weights.
fn sampled(part: &Part) -> Vec<(Vec<usize>, f64)> {
    let weights = part.weights.iter().copied().chain(std::iter::repeat(1.0));
    part.samples.iter().cloned().zip(weights).collect()
}

/// The time between events belongs to the stack that is open.
fn evented(part: &Part) -> Vec<(Vec<usize>, f64)> {
    let mut stacks = Vec::new();
    let mut open: Vec<usize> = Vec::new();
    let mut last = part.events.first().map_or(0.0, |event| event.at);
    for event in &part.events {
        if event.at > last && !open.is_empty() {
            stacks.push((open.clone(), event.at - last));
        }
        last = event.at;
        match event.kind.as_str() {
            // Depth is bounded so that hostile files do not make quadratic work.
            "O" if open.len() < 4096 => open.push(event.frame),
            _ => {
                open.pop();
            }
        }
    }
    stacks
}
