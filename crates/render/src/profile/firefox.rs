//! The Firefox Profiler's "processed profile" format, version 48
//! (docs-developer/CHANGELOG-formats.md in its repository; later versions of the
//! profiler upgrade it when they load it).
//!
//! Every column of a profile becomes a thread. A profile of memory has no time line:
//! samples follow each other at one a millisecond, and their weights carry the values.

use std::collections::HashMap;

use analyze::code::{Owner, owner};
use analyze::report::{FrameId, Stacks};
use model::StrId;
use serde_json::{Value, json};

const VERSION: u32 = 48;
/// Categories colour the frames; the first is for what nobody knows.
const CATEGORIES: [(&str, &str); 4] = [
    ("Other", "grey"),
    ("Program", "yellow"),
    ("Dependency", "blue"),
    ("Standard library", "green"),
];

/// The columns of a profile taken at `time_nanos`, `shown` being selected first.
pub fn value(columns: &[Stacks], shown: usize, name: &str, time_nanos: i64) -> Value {
    let category = |(name, color): &(&str, &str)| json!({ "name": name, "color": color, "subcategories": ["Other"] });
    let threads = columns.iter().enumerate();
    let threads: Vec<Value> =
        threads.map(|(number, stacks)| thread(stacks, number, name)).collect();
    json!({
        "meta": {
            "preprocessedProfileVersion": VERSION,
            // The version of Gecko's own format, which the profiler wants to see.
            "version": 24,
            "product": name,
            "importedFrom": concat!("memsight ", env!("CARGO_PKG_VERSION")),
            "interval": 1,
            "startTime": time_nanos / 1_000_000,
            "processType": 0,
            "stackwalk": 1,
            "debug": false,
            "symbolicated": true,
            "initialSelectedThreads": [shown],
            "categories": CATEGORIES.iter().map(category).collect::<Vec<_>>(),
            "markerSchema": [],
        },
        "libs": [],
        "pages": [],
        "threads": threads,
    })
}

fn thread(stacks: &Stacks, number: usize, name: &str) -> Value {
    let mut nodes = Nodes::default();
    let ends: Vec<Option<usize>> =
        stacks.rows.iter().map(|row| nodes.add(stacks.path(row))).collect();
    let functions = Functions::of(stacks);
    let (weight_type, scale) = weight_type(&stacks.unit);
    let weights = stacks.rows.iter().map(|row| weight(row.cell.delta(), scale));
    json!({
        "name": stacks.kind,
        "isMainThread": true,
        "processName": name,
        "processType": "default",
        "processStartupTime": 0,
        "processShutdownTime": null,
        "registerTime": 0,
        "unregisterTime": null,
        "pausedRanges": [],
        // A process each, so that the profiler shows all of them.
        "pid": number.to_string(),
        "tid": number,
        "samples": {
            "length": ends.len(),
            "stack": ends,
            "time": (0..ends.len()).collect::<Vec<_>>(),
            "weight": weights.collect::<Vec<_>>(),
            "weightType": weight_type,
        },
        "markers": { "length": 0, "category": [], "data": [], "endTime": [], "name": [],
                     "phase": [], "startTime": [] },
        "stackTable": nodes.table(&functions),
        "frameTable": functions.frame_table(stacks),
        "funcTable": functions.table(),
        "resourceTable": { "length": 0, "lib": [], "name": [], "host": [], "type": [] },
        "nativeSymbols": { "length": 0, "address": [], "functionSize": [], "libIndex": [],
                           "name": [] },
        "stringArray": stacks.strings.iter().collect::<Vec<_>>(),
    })
}

/// The stacks as a tree: every node is a frame and its caller.
#[derive(Default)]
struct Nodes {
    list: Vec<(Option<usize>, FrameId)>,
    ids: HashMap<(Option<usize>, FrameId), usize>,
}

impl Nodes {
    /// Adds a stack; its innermost node.
    fn add(&mut self, path: &[FrameId]) -> Option<usize> {
        path.iter().fold(None, |caller, frame| {
            let new = self.list.len();
            let node = *self.ids.entry((caller, *frame)).or_insert(new);
            if node == new {
                self.list.push((caller, *frame));
            }
            Some(node)
        })
    }

    fn table(&self, functions: &Functions) -> Value {
        let category = |(_, frame): &(Option<usize>, FrameId)| functions.category(*frame);
        json!({
            "length": self.list.len(),
            "frame": self.list.iter().map(|(_, frame)| frame.0).collect::<Vec<_>>(),
            "prefix": self.list.iter().map(|(caller, _)| *caller).collect::<Vec<_>>(),
            "category": self.list.iter().map(category).collect::<Vec<_>>(),
            "subcategory": vec![0; self.list.len()],
        })
    }
}

/// Functions: names in files, each with a category.
struct Functions {
    list: Vec<(StrId, StrId, usize)>,
    of_frame: Vec<usize>,
}

impl Functions {
    fn of(stacks: &Stacks) -> Functions {
        let mut functions = Functions { list: Vec::new(), of_frame: Vec::new() };
        let mut ids: HashMap<(StrId, StrId), usize> = HashMap::new();
        for frame in &stacks.frames {
            let id = *ids.entry((frame.function, frame.file)).or_insert_with(|| {
                let category = category(stacks.strings.get(frame.function));
                functions.list.push((frame.function, frame.file, category));
                functions.list.len() - 1
            });
            functions.of_frame.push(id);
        }
        functions
    }

    fn category(&self, frame: FrameId) -> usize {
        let function = self.of_frame.get(frame.0 as usize).and_then(|id| self.list.get(*id));
        function.map_or(0, |(_, _, category)| *category)
    }

    fn table(&self) -> Value {
        let len = self.list.len();
        let file = |(_, file, _): &(StrId, StrId, usize)| (file.0 != 0).then_some(file.0);
        json!({
            "length": len,
            "name": self.list.iter().map(|(name, _, _)| name.0).collect::<Vec<_>>(),
            "fileName": self.list.iter().map(file).collect::<Vec<_>>(),
            "isJS": vec![false; len],
            "relevantForJS": vec![false; len],
            "resource": vec![-1; len],
            "lineNumber": vec![Value::Null; len],
            "columnNumber": vec![Value::Null; len],
        })
    }

    fn frame_table(&self, stacks: &Stacks) -> Value {
        let len = stacks.frames.len();
        let frames = 0..len as u32;
        let line = |line: u32| (line > 0).then_some(line);
        json!({
            "length": len,
            "address": vec![-1; len],
            "inlineDepth": vec![0; len],
            "category": frames.map(|id| self.category(FrameId(id))).collect::<Vec<_>>(),
            "subcategory": vec![0; len],
            "func": self.of_frame,
            "nativeSymbol": vec![Value::Null; len],
            "innerWindowID": vec![0; len],
            "line": stacks.frames.iter().map(|frame| line(frame.line)).collect::<Vec<_>>(),
            "column": vec![Value::Null; len],
        })
    }
}

/// Whose code it is, as an index into [`CATEGORIES`].
fn category(function: &str) -> usize {
    match owner(function, "") {
        _ if function.is_empty() || function.starts_with(['(', '0']) => 0,
        Owner::Program => 1,
        Owner::Dependency => 2,
        Owner::Standard => 3,
    }
}

/// The profiler's unit for ours, and by what values are divided.
fn weight_type(unit: &str) -> (&'static str, f64) {
    match unit {
        "bytes" => ("bytes", 1.0),
        "nanoseconds" => ("tracing-ms", 1e6),
        "microseconds" => ("tracing-ms", 1e3),
        "milliseconds" => ("tracing-ms", 1.0),
        "seconds" => ("tracing-ms", 1e-3),
        _ => ("samples", 1.0),
    }
}

fn weight(value: i64, scale: f64) -> Value {
    if scale == 1.0 { value.into() } else { crate::json::number(value as f64 / scale) }
}
