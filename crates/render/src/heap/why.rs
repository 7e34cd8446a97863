//! Why objects are alive: paths from roots, as text and as JSON.

use analyze::heap::paths::{MergedPaths, Step};
use analyze::heap::select::Named;
use analyze::heap::{Node, Retained};
use model::heap::{HolderKind, ObjectId};
use model::{Bytes, HeapGraph};
use serde_json::{Value, json};

use crate::json;
use crate::paint::Paint;
use crate::quantity::count;

/// Why one object is alive.
#[derive(Clone, Debug)]
pub struct One {
    /// The object.
    pub object: ObjectId,
    /// How many bytes into it the address lies that was asked for.
    pub offset: u64,
    /// What it retains; `None` where nothing holds it.
    pub retained: Option<Retained>,
    /// Ways in which it is held.
    pub paths: Vec<Vec<Step>>,
    /// What refers to it without keeping it alive, where that was asked for.
    pub weak: Vec<Step>,
}

/// Why many objects are alive.
#[derive(Clone, Debug)]
pub struct Many {
    /// How they were named.
    pub named: Named,
    /// They.
    pub objects: Retained,
    /// What would go with all of them.
    pub retained: Retained,
    /// Ways in which they are held, alike ones as one.
    pub paths: MergedPaths,
}

/// The answer about one object for people.
pub fn one_text(graph: &HeapGraph<'_>, one: &One, paint: Paint) -> String {
    let name = super::type_name(graph, graph.type_of(one.object));
    let address = graph.objects.address(one.object).unwrap_or_default();
    let inside = match one.offset {
        0 => String::new(),
        bytes => format!(" (asked for: {bytes} bytes into it)"),
    };
    let bytes = Bytes(graph.objects.bytes(one.object));
    let mut out = format!("{} at {address}{inside}: {bytes}", paint.bold(name));
    let Some(retained) = one.retained else {
        return out + "\n\nnothing holds it; the collector has not taken it yet\n";
    };
    let objects = super::objects(retained.objects);
    out += &format!(", retains {} in {objects}\n", Bytes(retained.bytes));
    if let Some(stack) = allocated_at(graph, one.object) {
        out += &paint.dim(&format!("allocated by {stack}"));
        out.push('\n');
    }
    for steps in &one.paths {
        out.push('\n');
        out += &path(steps, paint);
    }
    for step in &one.weak {
        out += &format!("\nweakly, which keeps nothing alive: {}\n", step.text());
    }
    out
}

/// The answer about many objects for people.
pub fn many_text(graph: &HeapGraph<'_>, many: &Many, paint: Paint) -> String {
    let objects = count(many.objects.objects);
    let what = match &many.named {
        Named::Types(types) => match types.as_slice() {
            [one] => format!("{objects} {}", super::type_name(graph, *one)),
            all => format!("{objects} objects of {} types", all.len()),
        },
        Named::Functions(functions) => {
            format!("{objects} sampled objects that {} allocated", functions.join(", "))
        }
        _ => format!("{objects} objects"),
    };
    let (bytes, retained) = (Bytes(many.objects.bytes), Bytes(many.retained.bytes));
    let mut out = format!("{}: {bytes}, retain {retained}\n", paint.bold(&what));
    for way in &many.paths.paths {
        out += &format!("\n{}\n", held(way.objects, many.objects));
        out += &path(&way.steps, paint);
    }
    if many.paths.other_paths > 0 {
        let (ways, rest) = (count(many.paths.other_paths), many.paths.other_objects);
        out += &format!("\n{} in {ways} other ways (-n 0 shows all)\n", held(rest, many.objects));
    }
    if many.paths.unreachable.objects > 0 {
        out += &format!("\n{} held by nothing\n", held(many.paths.unreachable, many.objects));
    }
    out
}

fn held(part: Retained, whole: Retained) -> String {
    let share = super::share(part.objects, whole.objects);
    format!("{} ({share}), {}", count(part.objects), Bytes(part.bytes))
}

/// A path, the root first, one step a line.
fn path(steps: &[Step], paint: Paint) -> String {
    let mut out = String::new();
    for (index, step) in steps.iter().enumerate() {
        out += &match index {
            0 => format!("  {}\n", paint.bold(&step.text())),
            _ => format!("  -> {}\n", step.text()),
        };
    }
    out
}

/// The innermost frames that allocated an object, if the profiler sampled it.
fn allocated_at(graph: &HeapGraph<'_>, object: ObjectId) -> Option<String> {
    const FRAMES: usize = 3;
    let index = graph.allocated_at.iter().find(|sample| sample.object == object)?.stack;
    let frames = graph.stacks.get(index as usize)?.iter().take(FRAMES);
    let texts = frames.map(|frame| format!("{} ({}:{})", frame.function, frame.file, frame.line));
    Some(texts.collect::<Vec<String>>().join(" < "))
}

/// The answer about one object as the contract has it.
pub fn one_value(graph: &HeapGraph<'_>, one: &One) -> Value {
    let retained = one.retained;
    json!({
        "object": {
            "address": super::address(graph, one.object),
            "id": one.object.0,
            "type": super::type_name(graph, graph.type_of(one.object)),
            "bytes": json::unsigned(graph.objects.bytes(one.object)),
            "retained_bytes": retained.map(|retained| json::unsigned(retained.bytes)),
            "retained_objects": retained.map(|retained| retained.objects),
            "allocated_at": allocated_at(graph, one.object),
        },
        "paths": one.paths.iter().map(|steps| texts(graph, steps)).collect::<Vec<Value>>(),
        "weak": one.weak.iter().map(Step::text).collect::<Vec<String>>(),
    })
}

/// The answer about many objects: `object` is null, `objects` says which and how many.
pub fn many_value(graph: &HeapGraph<'_>, many: &Many) -> Value {
    let (types, functions) = match &many.named {
        Named::Types(types) => {
            let names = types.iter().map(|id| super::type_name(graph, *id).to_owned());
            (names.collect(), Vec::new())
        }
        Named::Functions(functions) => (Vec::new(), functions.clone()),
        _ => (Vec::new(), Vec::new()),
    };
    let ways = &many.paths.paths;
    json!({
        "object": null,
        "objects": {
            "types": types,
            "functions": functions,
            "count": many.objects.objects,
            "bytes": json::unsigned(many.objects.bytes),
            "retained_bytes": json::unsigned(many.retained.bytes),
        },
        "paths": ways.iter().map(|way| texts(graph, &way.steps)).collect::<Vec<Value>>(),
        "held": ways.iter().map(|way| super::sized(way.objects)).collect::<Vec<Value>>(),
        "other_paths": many.paths.other_paths,
        "other": super::sized(many.paths.other_objects),
        "unreachable": super::sized(many.paths.unreachable),
    })
}

/// The steps of a path; a package variable by its bare name.
pub(super) fn texts(graph: &HeapGraph<'_>, steps: &[Step]) -> Value {
    let text = |step: &Step| {
        let text = step.text();
        let Node::Holder(id) = step.node else { return text };
        let kind = graph.holders.get(id.0 as usize).map(|holder| holder.kind);
        match text.strip_suffix(" (global)") {
            Some(name) if kind == Some(HolderKind::Global) => name.to_owned(),
            _ => text,
        }
    };
    steps.iter().map(text).map(Value::from).collect()
}
