//! Which field of an object a pointer lies in: `.Items`, `[3].key`.

use model::heap::{HeapGraph, HeapType, ObjectId, TypeId, TypeKind};

/// How elements of arrays are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Each with its index: `[3]`.
    Exact,
    /// All alike: `[...]`.
    Merged,
}

/// Types nest no deeper than this, or the graph is not from a compiler.
const DEPTH_MAX: usize = 32;

/// The field of an object that a slot lies in.
pub fn field_of_object(graph: &HeapGraph<'_>, object: ObjectId, slot: u32, style: Style) -> String {
    walk(graph, graph.type_of(object), slot, style, holds_several(graph, object))
}

/// Whether an object holds several values of its type: the type of an array's memory may
/// be that of its elements.
pub(super) fn holds_several(graph: &HeapGraph<'_>, object: ObjectId) -> bool {
    let value = graph.heap_type(graph.type_of(object)).map_or(0, |found| found.bytes);
    // Where slots count fields, arrays have types of their own.
    graph.slot_bytes != 1 && value > 0 && graph.objects.bytes(object) / 2 >= value
}

/// The field of a type that a slot lies in, or the offset where that is all that is known.
pub fn field(graph: &HeapGraph<'_>, of: TypeId, slot: u32, style: Style) -> String {
    walk(graph, of, slot, style, false)
}

fn walk(
    graph: &HeapGraph<'_>,
    of: TypeId,
    slot: u32,
    style: Style,
    mut is_several: bool,
) -> String {
    let mut path = String::new();
    let mut next = Some(of);
    let mut offset = u64::from(slot) * u64::from(graph.slot_bytes);
    for depth in 0..DEPTH_MAX {
        let Some(found) = next.and_then(|of| graph.heap_type(of)) else { break };
        if found.kind == TypeKind::Unknown {
            if depth == 0 {
                push_offset(&mut path, offset, style);
            }
            break;
        }
        let is_array = found.element.is_some() || found.kind == TypeKind::Array;
        if let Some(index) = offset.checked_div(stride(graph, found))
            && (is_array || is_several)
        {
            push_index(&mut path, index, style);
            offset %= stride(graph, found);
        }
        is_several = false;
        if found.element.is_some() {
            next = found.element;
            continue;
        }
        let fields = graph.fields_of(found);
        let after = fields.partition_point(|field| field.offset <= offset);
        let inside = after.checked_sub(1).and_then(|index| fields.get(index));
        let Some(inside) = inside else { break };
        let name = graph.strings.get(inside.name);
        if !name.is_empty() {
            path.push('.');
            path.push_str(name);
        }
        offset -= inside.offset;
        next = inside.of;
    }
    path
}

/// From one value to the next; 0 where that is not known.
fn stride(graph: &HeapGraph<'_>, found: &HeapType) -> u64 {
    // Where slots count fields, elements follow one another slot by slot.
    if graph.slot_bytes == 1 {
        return 1;
    }
    let element = found.element.and_then(|element| graph.heap_type(element));
    element.map(|element| element.bytes).filter(|bytes| *bytes > 0).unwrap_or(found.bytes)
}

fn push_index(path: &mut String, index: u64, style: Style) {
    match style {
        Style::Exact => path.push_str(&format!("[{index}]")),
        Style::Merged => path.push_str("[...]"),
    }
}

fn push_offset(path: &mut String, offset: u64, style: Style) {
    match style {
        Style::Exact => path.push_str(&format!("+{offset}")),
        // Offsets into memory without a type are as many as its words.
        Style::Merged => path.push_str("+?"),
    }
}
