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
    field(graph, graph.type_of(object), slot, style)
}

/// The field of a type that a slot lies in, or the offset where that is all that is known.
pub fn field(graph: &HeapGraph<'_>, of: TypeId, slot: u32, style: Style) -> String {
    let mut path = String::new();
    let mut next = Some(of);
    let mut offset = u64::from(slot) * u64::from(graph.slot_bytes);
    for depth in 0..DEPTH_MAX {
        let Some(found) = next.and_then(|of| graph.heap_type(of)) else { break };
        let stride = stride(graph, found, depth == 0);
        if let Some(index) = offset.checked_div(stride)
            && (found.element.is_some() || index > 0)
        {
            push_index(&mut path, index, style);
            offset %= stride;
        }
        if found.element.is_some() {
            next = found.element;
            continue;
        }
        let fields = graph.fields_of(found);
        let after = fields.partition_point(|field| field.offset <= offset);
        let Some(inside) = after.checked_sub(1).and_then(|index| fields.get(index)) else {
            if depth == 0 && found.kind == TypeKind::Unknown {
                push_offset(&mut path, offset, style);
            }
            break;
        };
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

/// Bytes from one value to the next; 0 where there is one value only.
fn stride(graph: &HeapGraph<'_>, found: &HeapType, is_whole_object: bool) -> u64 {
    // Where slots count fields, elements follow one another slot by slot.
    let counts_fields = graph.slot_bytes == 1;
    match found.element {
        Some(_) if counts_fields => 1,
        Some(element) => match graph.heap_type(element).map_or(0, |element| element.bytes) {
            0 => found.bytes,
            bytes => bytes,
        },
        // The type of an array's memory is that of its elements.
        None if is_whole_object && !counts_fields && found.kind != TypeKind::Unknown => found.bytes,
        None => 0,
    }
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
