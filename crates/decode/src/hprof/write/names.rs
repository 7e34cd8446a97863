//! Names that Java's tools can show.

use model::heap::{HeapGraph, TypeId, TypeKind};

/// Types nest no deeper than this, or the graph is not from a compiler.
const DEPTH_MAX: usize = 32;

/// The field of a type that a slot lies in: `Items`, `[3].key`, `+0x18` where it is unknown.
pub(super) fn slot_name(graph: &HeapGraph<'_>, of: TypeId, slot: u32) -> String {
    let start = u64::from(slot) * u64::from(graph.slot_bytes);
    let mut offset = start;
    let mut path = String::new();
    let mut next = Some(of);
    for depth in 0..DEPTH_MAX {
        let Some(found) = next.and_then(|of| graph.heap_type(of)) else { break };
        let element = found.element.and_then(|element| graph.heap_type(element));
        let stride = match (element, graph.slot_bytes) {
            (Some(_), 1) => 1,
            (Some(element), _) if element.bytes > 0 => element.bytes,
            (Some(_), _) => found.bytes,
            // The type of an array's memory is that of its elements.
            (None, 2..) if depth == 0 && found.kind != TypeKind::Unknown => found.bytes,
            _ => 0,
        };
        let index = offset.checked_div(stride).unwrap_or(0);
        if stride > 0 && (element.is_some() || index > 0) {
            path.push_str(&format!("[{index}]"));
            offset %= stride;
        }
        if element.is_some() {
            next = found.element;
            continue;
        }
        let fields = graph.fields_of(found);
        let after = fields.partition_point(|field| field.offset <= offset);
        let Some(field) = after.checked_sub(1).and_then(|at| fields.get(at)) else { break };
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(graph.strings.get(field.name));
        offset -= field.offset;
        next = field.of;
    }
    if path.is_empty() { format!("+{start:#x}") } else { path }
}

/// The name of a class of instances. Java's tools take a leading bracket for an array's
/// dimension.
pub(super) fn class_name(type_name: &str) -> String {
    match type_name {
        "" => "unnamed".to_owned(),
        name if name.starts_with('[') => format!("array {name}"),
        name if name.ends_with("[]") => format!("array {name}"),
        name => name.to_owned(),
    }
}

/// The name of the class of arrays that objects of a type are written as: `[]*main.Order`
/// shows as `*main.Order[]`.
pub(super) fn array_class_name(type_name: &str) -> String {
    let element = match type_name.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((_, element)) => element,
        None => type_name.strip_suffix("[]").unwrap_or(type_name),
    };
    let element = if element.starts_with('[') { class_name(element) } else { element.to_owned() };
    format!("[L{element};")
}
