//! speedscope's file format ("sampled" profiles), schema at
//! <https://www.speedscope.app/file-format-schema.json>.

use std::collections::HashMap;

use analyze::report::Stacks;
use serde_json::{Value, json};

/// The columns of a profile as a speedscope file, one profile each; `shown` is opened
/// first. speedscope knows no negative weights: stacks with one are left out.
pub fn value(columns: &[Stacks], shown: usize, name: &str) -> Value {
    let mut frames = Frames::default();
    let profiles: Vec<Value> = columns.iter().map(|stacks| sampled(stacks, &mut frames)).collect();
    json!({
        "$schema": "https://www.speedscope.app/file-format-schema.json",
        "name": name,
        "exporter": concat!("memsight ", env!("CARGO_PKG_VERSION")),
        "activeProfileIndex": shown,
        "shared": { "frames": frames.list },
        "profiles": profiles,
    })
}

/// The frames that all profiles of a file share.
#[derive(Default)]
struct Frames<'a> {
    list: Vec<Value>,
    ids: HashMap<(&'a str, &'a str, u32), usize>,
}

impl<'a> Frames<'a> {
    /// Where each of the column's frames lies in the file.
    fn of(&mut self, stacks: &'a Stacks) -> Vec<usize> {
        let mut places = Vec::with_capacity(stacks.frames.len());
        for frame in &stacks.frames {
            let (name, file) = (stacks.strings.get(frame.function), stacks.strings.get(frame.file));
            let place = *self.ids.entry((name, file, frame.line)).or_insert_with(|| {
                let mut value = json!({ "name": name });
                if !file.is_empty() {
                    value["file"] = file.into();
                }
                if frame.line > 0 {
                    value["line"] = frame.line.into();
                }
                self.list.push(value);
                self.list.len() - 1
            });
            places.push(place);
        }
        places
    }
}

fn sampled<'a>(stacks: &'a Stacks, frames: &mut Frames<'a>) -> Value {
    let places = frames.of(stacks);
    let mut samples: Vec<Vec<usize>> = Vec::new();
    let mut weights: Vec<i64> = Vec::new();
    for row in stacks.rows.iter().filter(|row| row.cell.delta() > 0) {
        let path = stacks.path(row).iter().filter_map(|id| places.get(id.0 as usize));
        samples.push(path.copied().collect());
        weights.push(row.cell.delta());
    }
    let unit = match stacks.unit.as_str() {
        unit @ ("bytes" | "nanoseconds" | "microseconds" | "milliseconds" | "seconds") => unit,
        _ => "none",
    };
    json!({
        "type": "sampled",
        "name": stacks.kind,
        "unit": unit,
        "startValue": 0,
        "endValue": weights.iter().fold(0_i64, |sum, weight| sum.saturating_add(*weight)),
        "samples": samples,
        "weights": weights,
    })
}
