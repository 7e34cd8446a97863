//! Leak suspects, and what grew between two heaps, as text and as JSON.

use analyze::heap::diff::{Diff, PathChange};
use analyze::heap::leaks::{Suspect, SuspectKind};
use analyze::heap::names::{Label, node_name};
use analyze::heap::{Node, Retained};
use model::{Bytes, HeapGraph};
use serde_json::{Value, json};

use crate::json;
use crate::paint::Paint;
use crate::quantity::{change, count};

/// What grew since an earlier heap.
#[derive(Clone, Debug)]
pub struct Growth {
    /// The difference.
    pub diff: Diff,
    /// The ways in which the types that grew are held.
    pub paths: Vec<PathChange>,
}

/// Suspects for people, and before them what grew.
pub fn text(
    graph: &HeapGraph<'_>,
    suspects: &[Suspect],
    growth: Option<&Growth>,
    limit: usize,
    paint: Paint,
) -> String {
    let mut out = growth.map(|growth| growth_text(growth, limit, paint)).unwrap_or_default();
    if suspects.is_empty() {
        return out + "no suspect: nothing retains an unusual share of the heap\n";
    }
    let limit = super::limit(limit);
    for (index, suspect) in suspects.iter().take(limit).enumerate() {
        out += &suspect_text(graph, index + 1, suspect, paint);
    }
    if suspects.len() > limit {
        out += &format!("... {} more suspects (-n 0 shows all)\n", suspects.len() - limit);
    }
    out
}

fn suspect_text(graph: &HeapGraph<'_>, number: usize, suspect: &Suspect, paint: Paint) -> String {
    let share = format!("{:.1}% of the heap", suspect.share * 100.0);
    let (bytes, objects) =
        (Bytes(suspect.retained.bytes), super::objects(suspect.retained.objects));
    let name = paint.bold(&name(suspect));
    let verb = if suspect.nodes == 1 { "retains" } else { "retain" };
    let mut out = format!("{number}. {name} {verb} {bytes} in {objects}, {share}\n");
    if let SuspectKind::Goroutines { stack_bytes, .. } = suspect.kind {
        out += &format!("   their stacks take {} more\n", Bytes(stack_bytes));
    }
    if let Node::Object(_) = suspect.accumulation {
        let (at, bytes) =
            (node_name(graph, suspect.accumulation), Bytes(suspect.accumulated.bytes));
        out += &format!("   it accumulates in {at}: {bytes}\n");
        for (index, step) in suspect.path.iter().enumerate() {
            let arrow = if index == 0 { "" } else { "-> " };
            out += &format!("     {arrow}{}\n", step.text());
        }
    }
    for (index, group) in suspect.held.iter().enumerate() {
        let word = if index == 0 { "which hold" } else { "" };
        let (nodes, name) = (count(group.nodes), group.label.name(graph));
        out += &format!("   {word:<10} {nodes} {name}, {}\n", Bytes(group.retained.bytes));
    }
    out + "\n"
}

fn name(suspect: &Suspect) -> String {
    match suspect.kind {
        SuspectKind::Many(Label::Holder(_)) => format!("{} roots", suspect.name),
        _ => suspect.name.clone(),
    }
}

fn growth_text(growth: &Growth, limit: usize, paint: Paint) -> String {
    let mut out = super::diff::headline(&growth.diff) + "\n";
    let grew = |path: &&PathChange| path.objects.1.bytes > path.objects.0.bytes;
    for path in growth.paths.iter().filter(grew).take(super::limit(limit)) {
        let (before, after) = path.objects;
        let bytes = change(delta(after.bytes, before.bytes), "bytes");
        let objects = change(delta(after.objects, before.objects), "count");
        out += &format!("{} {objects} {}\n", paint.bad(&bytes), paint.bold(&path.name));
        for (index, step) in path.steps.iter().enumerate() {
            let arrow = if index == 0 { "" } else { "-> " };
            out += &format!("  {arrow}{}\n", step.text());
        }
        out.push('\n');
    }
    out
}

/// A difference of unsigned numbers.
pub(super) fn delta(after: u64, before: u64) -> i64 {
    let size = i64::try_from(after.abs_diff(before)).unwrap_or(i64::MAX);
    if after >= before { size } else { -size }
}

/// Suspects and growth for programs.
pub fn value(
    graph: &HeapGraph<'_>,
    suspects: &[Suspect],
    growth: Option<&Growth>,
    limit: usize,
) -> Value {
    let suspects = suspects.iter().take(super::limit(limit));
    let growth = growth.map(|growth| {
        let paths = growth.paths.iter().take(super::limit(limit)).map(|path| {
            let steps: Vec<String> = path.steps.iter().map(|step| step.text()).collect();
            json!({
                "type": path.name,
                "path": steps,
                "before": super::sized(path.objects.0),
                "after": super::sized(path.objects.1),
            })
        });
        json!({
            "before": super::sized(growth.diff.live.0),
            "after": super::sized(growth.diff.live.1),
            "paths": paths.collect::<Vec<Value>>(),
        })
    });
    json!({
        "suspects": suspects.map(|suspect| suspect_value(graph, suspect)).collect::<Vec<Value>>(),
        "growth": growth,
    })
}

fn suspect_value(graph: &HeapGraph<'_>, suspect: &Suspect) -> Value {
    let (kind, stack_bytes) = match suspect.kind {
        SuspectKind::Node(_) => ("node", None),
        SuspectKind::Many(_) => ("many", None),
        SuspectKind::Goroutines { stack_bytes, .. } => ("goroutines", Some(stack_bytes)),
        _ => ("other", None),
    };
    let held = suspect.held.iter().map(|group| {
        json!({
            "type": group.label.name(graph),
            "objects": group.nodes,
            "bytes": json::unsigned(group.bytes),
            "retained_bytes": json::unsigned(group.retained.bytes),
        })
    });
    let Retained { bytes, objects } = suspect.retained;
    json!({
        "kind": kind,
        "name": suspect.name,
        "nodes": suspect.nodes,
        "retained_bytes": json::unsigned(bytes),
        "retained_objects": objects,
        "share": json::number(suspect.share),
        "stack_bytes": stack_bytes.map(json::unsigned),
        "accumulation": {
            "name": node_name(graph, suspect.accumulation),
            "address": match suspect.accumulation {
                Node::Object(object) => super::address(graph, object),
                _ => Value::Null,
            },
            "retained_bytes": json::unsigned(suspect.accumulated.bytes),
        },
        "path": super::why::texts(graph, &suspect.path),
        "held": held.collect::<Vec<Value>>(),
    })
}
