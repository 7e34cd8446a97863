//! The objects that waste memory, one kind after the other.

use model::heap::{Extents, FillKind, HeapGraph, ObjectId, Objects, TypeKind};

use super::collect::Collector;
use super::{Offender, WasteKind};
use crate::heap::{Dominators, Node};

/// Rounding up to a size class takes up to an eighth of the slot, and a header 8 bytes:
/// what lies behind a capacity counts as pinned only beyond that.
fn rounding_max(bytes: u64) -> u64 {
    (bytes / 8).saturating_add(8)
}

/// Maps with no more slots than these are one group.
const SMALL_FILL: u64 = 8;

pub(super) fn find(
    graph: &HeapGraph<'_>,
    dominators: &Dominators,
    kind: WasteKind,
    found: &mut Collector<'_>,
) {
    match kind {
        WasteKind::DuplicateStrings => duplicates(graph, dominators, found),
        WasteKind::PinnedArrays | WasteKind::SpareCapacity => {
            arrays(graph, dominators, kind, found);
        }
        WasteKind::SparseMaps => fills(graph, dominators, FillKind::Map, 3, found),
        WasteKind::EmptyChannels => fills(graph, dominators, FillKind::Channel, 2, found),
        WasteKind::SparseLists => fills(graph, dominators, FillKind::List, 2, found),
        WasteKind::Rounding => rounding(graph, dominators, found),
        // They have a search of their own.
        WasteKind::Pools => {}
    }
}

fn is_live(dominators: &Dominators, object: u32) -> bool {
    dominators.is_reachable(Node::Object(ObjectId(object)))
}

/// Every text but the first of equal ones is wasted, with the whole object around it.
fn duplicates(graph: &HeapGraph<'_>, dominators: &Dominators, found: &mut Collector<'_>) {
    let texts = &graph.texts;
    let all = texts.object.iter().zip(texts.bytes.iter()).zip(texts.hash.iter());
    let mut sorted: Vec<(u64, u32, u32)> = all
        .filter(|((object, bytes), _)| **bytes > 0 && is_live(dominators, **object))
        .map(|((object, bytes), hash)| (*hash, *bytes, *object))
        .collect();
    sorted.sort_unstable();
    for equal in sorted.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
        let [(_, _, first), rest @ ..] = equal else { continue };
        let mut sum = 0;
        for (_, _, object) in rest {
            let bytes = graph.objects.bytes(ObjectId(*object));
            found.add(*object, bytes);
            sum = bytes.saturating_add(sum);
        }
        if sum > 0 {
            let object = ObjectId(*first);
            found.tell(Offender { object, wasted_bytes: sum, used: 1, of: equal.len() as u64 });
        }
    }
}

/// The object, lowest byte, end of lengths and of capacities of each entry.
fn extents<'e>(extents: &'e Extents<'_>) -> impl Iterator<Item = (u32, u64, u64, u64)> + 'e {
    let ends = extents.used.iter().zip(extents.capacity.iter());
    let starts = extents.object.iter().zip(extents.low.iter());
    let wide = |value: &u32| u64::from(*value);
    starts.zip(ends).map(move |((object, low), (used, capacity))| {
        (*object, wide(low), wide(used), wide(capacity))
    })
}

fn arrays(
    graph: &HeapGraph<'_>,
    dominators: &Dominators,
    kind: WasteKind,
    found: &mut Collector<'_>,
) {
    for (object, low, used, capacity) in extents(&graph.extents) {
        if !is_live(dominators, object) {
            continue;
        }
        let id = ObjectId(object);
        let bytes = graph.objects.bytes(id);
        // Beyond 2^32 the ends are not exact: nothing is said of what lies behind.
        let capacity = if capacity == u64::from(u32::MAX) { bytes } else { capacity.min(bytes) };
        let (low, used) = (low.min(capacity), used.min(capacity));
        let behind = bytes - capacity;
        let behind = if behind > rounding_max(bytes) { behind } else { 0 };
        let (wasted, used) = match kind {
            WasteKind::PinnedArrays => (low.saturating_add(behind), capacity - low),
            _ => (capacity - used.max(low), used - low.min(used)),
        };
        if wasted > 0 {
            found.add(object, wasted);
            found.tell(Offender { object: id, wasted_bytes: wasted, used, of: bytes });
        }
    }
}

/// Containers of which less than one part in `parts` is used.
fn fills(
    graph: &HeapGraph<'_>,
    dominators: &Dominators,
    kind: FillKind,
    parts: u64,
    found: &mut Collector<'_>,
) {
    for fill in graph.fills.iter().filter(|fill| fill.kind == kind) {
        let is_sparse = fill.used.saturating_mul(parts) < fill.capacity;
        let is_small = kind == FillKind::Map && fill.capacity <= SMALL_FILL;
        if !is_sparse || is_small || !is_live(dominators, fill.object.0) {
            continue;
        }
        let free = fill.capacity.saturating_sub(fill.used);
        let wasted = free.saturating_mul(fill.element_bytes);
        if wasted > 0 {
            found.add(fill.object.0, wasted);
            let (object, used, of) = (fill.object, fill.used, fill.capacity);
            found.tell(Offender { object, wasted_bytes: wasted, used, of });
        }
    }
}

/// What is left of slots whose values are known. Only spans round up.
fn rounding(graph: &HeapGraph<'_>, dominators: &Dominators, found: &mut Collector<'_>) {
    if !matches!(graph.objects, Objects::Spans(_)) {
        return;
    }
    let mut arrays = extents(&graph.extents).peekable();
    graph.objects.each_size(|object, bytes| {
        while arrays.next_if(|array| array.0 < object.0).is_some() {}
        let capacity = arrays.next_if(|array| array.0 == object.0).map(|array| array.3);
        if !is_live(dominators, object.0) {
            return;
        }
        let used = match capacity {
            // Without a capacity the rest of an array is not known to be free.
            Some(capacity) if bytes.saturating_sub(capacity) <= rounding_max(bytes) => capacity,
            Some(_) => return,
            None => match used_by_values(graph, object, bytes) {
                Some(used) => used,
                None => return,
            },
        };
        let wasted = bytes.saturating_sub(used);
        if wasted > 0 {
            found.add(object.0, wasted);
            found.tell(Offender { object, wasted_bytes: wasted, used, of: bytes });
        }
    });
}

/// Bytes of the values that a slot holds as many of as fit.
fn used_by_values(graph: &HeapGraph<'_>, object: ObjectId, bytes: u64) -> Option<u64> {
    let found = graph.heap_type(graph.type_of(object))?;
    let value = match (found.kind, found.element) {
        (TypeKind::Unknown | TypeKind::Text, _) => return None,
        (TypeKind::Array, Some(element)) => graph.heap_type(element)?.bytes,
        _ => found.bytes,
    };
    let used = bytes - bytes.checked_rem(value)?;
    // More than rounding could explain: the type is not all that is in the slot.
    (used > 0 && bytes - used <= rounding_max(bytes).max(16)).then_some(used)
}
