//! A heap as JSON lines: one value a line, so that `jq` and databases read it as it comes.
//! First the source, then types, roots, and last the objects with their pointers.

use std::io::{self, Write};

use analyze::heap::{Dominators, Node};
use model::HeapGraph;
use model::heap::{HolderId, ObjectId};
use serde_json::{Value, json};

use crate::json;

/// Writes a heap.
///
/// # Errors
/// When writing fails.
pub fn write(
    graph: &HeapGraph<'_>,
    dominators: &Dominators,
    out: &mut impl Write,
) -> io::Result<()> {
    line(out, &json!({ "source": super::source(graph) }))?;
    for (index, found) in graph.types.iter().enumerate() {
        let name = graph.strings.get(found.name);
        let package = graph.strings.get(found.package);
        line(
            out,
            &json!({ "type": { "id": index, "name": name, "package": package, "bytes": json::unsigned(found.bytes) } }),
        )?;
    }
    for index in 0..graph.holders.len() as u32 {
        line(out, &json!({ "root": root(graph, dominators, HolderId(index)) }))?;
    }
    for index in 0..graph.len() as u32 {
        line(out, &json!({ "object": object(graph, dominators, ObjectId(index)) }))?;
    }
    Ok(())
}

fn line(out: &mut impl Write, value: &Value) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}

fn root(graph: &HeapGraph<'_>, dominators: &Dominators, id: HolderId) -> Value {
    let Some(holder) = graph.holders.get(id.0 as usize) else { return Value::Null };
    let pointers = graph.pointers_of(id).iter();
    let targets: Vec<u32> = pointers.map(|pointer| pointer.target.0).collect();
    let retained = dominators.retained(Node::Holder(id));
    json!({
        "id": id.0,
        "kind": holder.kind.as_str(),
        "name": graph.strings.get(holder.name),
        "place": graph.strings.get(holder.place),
        "parent": holder.parent.map(|parent| parent.0),
        "retained_bytes": json::unsigned(retained.bytes),
        "retained_objects": retained.objects,
        "points_to": targets,
    })
}

fn object(graph: &HeapGraph<'_>, dominators: &Dominators, id: ObjectId) -> Value {
    let pointers = graph.edges.of(id).map(|(slot, target)| {
        let offset = u64::from(slot) * u64::from(graph.slot_bytes);
        json!({ "offset": offset, "to": target.0 })
    });
    let pointers: Vec<Value> = pointers.collect();
    let is_reachable = dominators.is_reachable(Node::Object(id));
    let retained = dominators.retained(Node::Object(id));
    json!({
        "id": id.0,
        "address": graph.objects.address(id).map(|address| address.to_string()),
        "type": graph.type_of(id).0,
        "bytes": json::unsigned(graph.objects.bytes(id)),
        "reachable": is_reachable,
        "retained_bytes": is_reachable.then(|| json::unsigned(retained.bytes)),
        "points_to": pointers,
    })
}
