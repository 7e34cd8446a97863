//! The Firefox Profiler's "processed profile" format, version 48
//! (docs-developer/CHANGELOG-formats.md in its repository; later versions of the
//! profiler upgrade it when they load it).
//!
//! Every column of a profile becomes a thread. A profile of memory has no time line:
//! samples follow each other at one a millisecond, and their weights carry the values.
//! The tables are written from columns of numbers: as JSON values they would take ten
//! times their size.

use std::collections::HashMap;

use analyze::code::{Owner, owner};
use analyze::report::{FrameId, Stacks};
use model::StrId;
use serde::{Serialize, Serializer};
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
///
/// # Errors
/// When the JSON writer fails, which it does not for these tables.
pub fn write(
    columns: &[Stacks],
    shown: usize,
    name: &str,
    time_nanos: i64,
) -> serde_json::Result<String> {
    let category = |(name, color): &(&str, &str)| json!({ "name": name, "color": color, "subcategories": ["Other"] });
    let meta = json!({
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
    });
    let threads = columns.iter().enumerate();
    let threads = threads.map(|(number, stacks)| thread(stacks, number, name)).collect();
    serde_json::to_string(&File { meta, libs: [], pages: [], threads })
}

#[derive(Serialize)]
struct File<'a> {
    meta: Value,
    libs: [(); 0],
    pages: [(); 0],
    threads: Vec<Thread<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Thread<'a> {
    #[serde(flatten)]
    about: Value,
    samples: Samples,
    stack_table: StackTable,
    frame_table: FrameTable,
    func_table: FuncTable,
    string_array: Vec<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Samples {
    length: usize,
    stack: Vec<Option<u32>>,
    time: Vec<u32>,
    weight: Weights,
    weight_type: &'static str,
}

/// Integers where the unit is the profiler's own.
#[derive(Serialize)]
#[serde(untagged)]
enum Weights {
    Whole(Vec<i64>),
    Scaled(Vec<f64>),
}

#[derive(Serialize)]
struct StackTable {
    length: usize,
    frame: Vec<u32>,
    prefix: Vec<Option<u32>>,
    category: Vec<u8>,
    subcategory: Same<u8>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FrameTable {
    length: usize,
    address: Same<i8>,
    inline_depth: Same<u8>,
    category: Vec<u8>,
    subcategory: Same<u8>,
    func: Vec<u32>,
    native_symbol: Same<()>,
    #[serde(rename = "innerWindowID")]
    inner_window_id: Same<u8>,
    line: Vec<Option<u32>>,
    column: Same<()>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FuncTable {
    length: usize,
    name: Vec<u32>,
    file_name: Vec<Option<u32>>,
    #[serde(rename = "isJS")]
    is_js: Same<bool>,
    #[serde(rename = "relevantForJS")]
    relevant_for_js: Same<bool>,
    resource: Same<i8>,
    line_number: Same<()>,
    column_number: Same<()>,
}

/// A column with one value everywhere.
struct Same<T>(T, usize);

impl<T: Serialize> Serialize for Same<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(std::iter::repeat_n(&self.0, self.1))
    }
}

fn thread<'a>(stacks: &'a Stacks, number: usize, name: &str) -> Thread<'a> {
    let mut nodes = Nodes::default();
    let stack: Vec<Option<u32>> =
        stacks.rows.iter().map(|row| nodes.add(stacks.path(row))).collect();
    let (weight_type, scale) = weight_type(&stacks.unit);
    let weights = stacks.rows.iter().map(|row| row.cell.delta());
    let weight = match scale {
        None => Weights::Whole(weights.collect()),
        Some(scale) => Weights::Scaled(weights.map(|weight| weight as f64 / scale).collect()),
    };
    let functions = Functions::of(stacks);
    let length = stack.len();
    let time = (0..length as u32).collect();
    Thread {
        about: about(stacks, number, name),
        samples: Samples { length, stack, time, weight, weight_type },
        stack_table: nodes.table(&functions),
        func_table: functions.table(),
        frame_table: functions.frame_table(stacks),
        string_array: stacks.strings.iter().collect(),
    }
}

fn about(stacks: &Stacks, number: usize, name: &str) -> Value {
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
        "markers": { "length": 0, "category": [], "data": [], "endTime": [], "name": [],
                     "phase": [], "startTime": [] },
        "resourceTable": { "length": 0, "lib": [], "name": [], "host": [], "type": [] },
        "nativeSymbols": { "length": 0, "address": [], "functionSize": [], "libIndex": [],
                           "name": [] },
    })
}

/// The stacks as a tree: every node is a frame and its caller.
#[derive(Default)]
struct Nodes {
    frames: Vec<u32>,
    callers: Vec<Option<u32>>,
    ids: HashMap<(Option<u32>, u32), u32>,
}

impl Nodes {
    /// Adds a stack; its innermost node.
    fn add(&mut self, path: &[FrameId]) -> Option<u32> {
        path.iter().fold(None, |caller, frame| {
            let new = self.frames.len() as u32;
            let node = *self.ids.entry((caller, frame.0)).or_insert(new);
            if node == new {
                self.frames.push(frame.0);
                self.callers.push(caller);
            }
            Some(node)
        })
    }

    fn table(self, functions: &Functions) -> StackTable {
        let length = self.frames.len();
        StackTable {
            length,
            category: self.frames.iter().map(|frame| functions.category(*frame)).collect(),
            frame: self.frames,
            prefix: self.callers,
            subcategory: Same(0, length),
        }
    }
}

/// Functions: names in files, each with a category.
struct Functions {
    list: Vec<(StrId, StrId, u8)>,
    of_frame: Vec<u32>,
}

impl Functions {
    fn of(stacks: &Stacks) -> Functions {
        let mut functions = Functions { list: Vec::new(), of_frame: Vec::new() };
        let mut ids: HashMap<(StrId, StrId), u32> = HashMap::new();
        for frame in &stacks.frames {
            let id = *ids.entry((frame.function, frame.file)).or_insert_with(|| {
                let category = category(stacks.strings.get(frame.function));
                functions.list.push((frame.function, frame.file, category));
                functions.list.len() as u32 - 1
            });
            functions.of_frame.push(id);
        }
        functions
    }

    fn category(&self, frame: u32) -> u8 {
        let function = self.of_frame.get(frame as usize);
        let function = function.and_then(|id| self.list.get(*id as usize));
        function.map_or(0, |(_, _, category)| *category)
    }

    fn table(&self) -> FuncTable {
        let length = self.list.len();
        let file = |(_, file, _): &(StrId, StrId, u8)| (file.0 != 0).then_some(file.0);
        FuncTable {
            length,
            name: self.list.iter().map(|(name, _, _)| name.0).collect(),
            file_name: self.list.iter().map(file).collect(),
            is_js: Same(false, length),
            relevant_for_js: Same(false, length),
            resource: Same(-1, length),
            line_number: Same((), length),
            column_number: Same((), length),
        }
    }

    fn frame_table(self, stacks: &Stacks) -> FrameTable {
        let length = stacks.frames.len();
        let line = |line: u32| (line > 0).then_some(line);
        FrameTable {
            length,
            address: Same(-1, length),
            inline_depth: Same(0, length),
            category: (0..length as u32).map(|frame| self.category(frame)).collect(),
            subcategory: Same(0, length),
            func: self.of_frame,
            native_symbol: Same((), length),
            inner_window_id: Same(0, length),
            line: stacks.frames.iter().map(|frame| line(frame.line)).collect(),
            column: Same((), length),
        }
    }
}

/// Whose code it is, as an index into [`CATEGORIES`].
fn category(function: &str) -> u8 {
    match owner(function, "") {
        _ if function.is_empty() || function.starts_with(['(', '0']) => 0,
        Owner::Program => 1,
        Owner::Dependency => 2,
        Owner::Standard => 3,
    }
}

/// The profiler's unit for ours, and by what values are divided to be in it.
fn weight_type(unit: &str) -> (&'static str, Option<f64>) {
    match unit {
        "bytes" => ("bytes", None),
        "nanoseconds" => ("tracing-ms", Some(1e6)),
        "microseconds" => ("tracing-ms", Some(1e3)),
        "milliseconds" => ("tracing-ms", None),
        "seconds" => ("tracing-ms", Some(1e-3)),
        _ => ("samples", None),
    }
}
