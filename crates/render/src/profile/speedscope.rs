//! speedscope's file format ("sampled" profile), schema at
//! <https://www.speedscope.app/file-format-schema.json>.

use analyze::report::Stacks;
use serde_json::{Value, json};

/// The stacks as a speedscope file. speedscope knows no negative weights: of a
/// difference only what grew is shown.
pub fn value(stacks: &Stacks, name: &str) -> Value {
    let frames: Vec<Value> = stacks
        .frames
        .iter()
        .map(|frame| {
            json!({
                "name": stacks.strings.get(frame.function),
                "file": stacks.strings.get(frame.file),
                "line": frame.line,
            })
        })
        .collect();
    let mut samples: Vec<Vec<u32>> = Vec::new();
    let mut weights: Vec<i64> = Vec::new();
    for row in stacks.rows.iter().filter(|row| row.cell.delta() > 0) {
        samples.push(stacks.path(row).iter().map(|id| id.0).collect());
        weights.push(row.cell.delta());
    }
    let unit = match stacks.unit.as_str() {
        unit @ ("bytes" | "nanoseconds" | "microseconds" | "milliseconds" | "seconds") => unit,
        _ => "none",
    };
    json!({
        "$schema": "https://www.speedscope.app/file-format-schema.json",
        "name": name,
        "exporter": concat!("memsight ", env!("CARGO_PKG_VERSION")),
        "activeProfileIndex": 0,
        "shared": { "frames": frames },
        "profiles": [{
            "type": "sampled",
            "name": stacks.kind,
            "unit": unit,
            "startValue": 0,
            "endValue": weights.iter().fold(0_i64, |sum, weight| sum.saturating_add(*weight)),
            "samples": samples,
            "weights": weights,
        }],
    })
}
