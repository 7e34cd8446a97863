//! Memory of spans that holds no object: free slots, and what is left behind the last.
//!
//! A span goes back as a whole or not at all, and serves objects of one size class only. A
//! heap that shrank may therefore keep many spans for a few objects each. What is dead but
//! not collected yet is told apart from what is free: it will be free, but is not now.

use std::collections::BTreeMap;

use model::heap::{HeapGraph, ObjectId, Objects, Spans};

use crate::heap::{Dominators, Node, Retained};

/// A span is sparse when at most one slot in this many holds a live object.
pub const SPARSE_PART: u64 = 4;
/// Objects of this size are alone in their span.
const LARGE: u64 = 32 << 10;

/// What spans come to, of one size class or all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpanUse {
    /// How many spans.
    pub spans: u64,
    /// Their memory; it is the sum of the next four.
    pub span_bytes: u64,
    /// Objects that roots reach.
    pub live: Retained,
    /// Objects that the collector has not taken yet.
    pub dead: Retained,
    /// Slots without an object.
    pub free_bytes: u64,
    /// What is no slot: too small for another, or the runtime's own bits.
    pub tail_bytes: u64,
    /// How many slots there are.
    pub slots: u64,
    /// Those that are nearly empty.
    pub sparse: Sparse,
}

/// Spans of which at most a quarter of the slots holds live objects, but at least one.
///
/// A span that a processor was taking slots from is not among them: it is being filled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sparse {
    /// How many spans.
    pub spans: u64,
    /// Their memory.
    pub span_bytes: u64,
    /// The live objects in them, which pin them.
    pub live: Retained,
    /// What would go back if those moved together: into free slots of other spans of the
    /// class, and into new spans where these do not suffice.
    pub returnable_bytes: u64,
}

/// One size class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassUse {
    /// Bytes of a slot; `None` for objects of 32 KiB and more, which have spans of their own.
    pub slot_bytes: Option<u64>,
    /// What its spans come to.
    pub used: SpanUse,
}

/// Who pins sparse spans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// A type.
    pub name: String,
    /// Its live objects in sparse spans.
    pub live: Retained,
    /// In how many spans they are. A span counts for each type that is in it.
    pub spans: u64,
    /// The memory of those spans.
    pub span_bytes: u64,
}

/// Spans of the heap, and how full they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fragmentation {
    /// All of them.
    pub total: SpanUse,
    /// By size class: most returnable bytes first, then most free bytes.
    pub classes: Vec<ClassUse>,
    /// By type of the objects that pin sparse spans: most memory first.
    pub pins: Vec<Pin>,
}

/// What spans come to; at most `limit` rows of each table.
///
/// `None` where there are no spans or, in files of earlier versions, their sizes are not
/// known. Costs one pass over the objects.
pub fn fragmentation(
    graph: &HeapGraph<'_>,
    dominators: &Dominators,
    limit: usize,
) -> Option<Fragmentation> {
    let Objects::Spans(spans) = &graph.objects else { return None };
    if !spans.sizes.is_known() {
        return None;
    }
    let mut classes: BTreeMap<(Option<u64>, bool), Class> = BTreeMap::new();
    let mut pins: BTreeMap<&str, Pin> = BTreeMap::new();
    for span in 0..spans.len() {
        let Some(one) = span_use(spans, dominators, span) else { continue };
        let slot_bytes = spans.slot_bytes.get(span).copied().filter(|bytes| *bytes < LARGE);
        let is_noscan = spans.is_noscan.get(span) == Some(&1);
        classes.entry((slot_bytes, is_noscan)).or_default().add(&one);
        if one.sparse.spans > 0 {
            pin(graph, dominators, spans.objects_of(span), one.span_bytes, &mut pins);
        }
    }
    let mut result = Fragmentation::default();
    let mut by_size: BTreeMap<Option<u64>, SpanUse> = BTreeMap::new();
    for ((slot_bytes, _), class) in classes {
        let used = class.finish();
        result.total += used;
        *by_size.entry(slot_bytes).or_default() += used;
    }
    let class = |(slot_bytes, used)| ClassUse { slot_bytes, used };
    result.classes = by_size.into_iter().map(class).collect();
    let rank = |class: &ClassUse| (class.used.sparse.returnable_bytes, class.used.free_bytes);
    result.classes.sort_by_key(|class| std::cmp::Reverse(rank(class)));
    result.classes.truncate(limit);
    result.pins = pins.into_values().collect();
    result.pins.sort_by(|a, b| b.span_bytes.cmp(&a.span_bytes).then_with(|| a.name.cmp(&b.name)));
    result.pins.truncate(limit);
    Some(result)
}

fn span_use(spans: &Spans<'_>, dominators: &Dominators, span: usize) -> Option<SpanUse> {
    let slot_bytes = *spans.slot_bytes.get(span)?;
    let span_bytes = *spans.sizes.span_bytes.get(span)?;
    let slots = u64::from(*spans.sizes.slots.get(span)?);
    let is_live = |id: &u32| dominators.is_reachable(Node::Object(ObjectId(*id)));
    let objects = spans.objects_of(span);
    let all = u64::from(objects.end.saturating_sub(objects.start));
    let live = objects.filter(is_live).count() as u64;
    // A checked graph has no more objects than slots, and no larger slots than the span.
    let sum = |count: u64| Retained { bytes: count.saturating_mul(slot_bytes), objects: count };
    let dead = all.saturating_sub(live);
    let free_bytes = sum(slots.saturating_sub(all)).bytes;
    let tail_bytes = span_bytes.saturating_sub(sum(slots).bytes);
    let (live, dead) = (sum(live), sum(dead));
    let mut one = SpanUse {
        spans: 1,
        span_bytes,
        live,
        dead,
        free_bytes,
        tail_bytes,
        slots,
        ..SpanUse::default()
    };
    let is_sparse = live.objects > 0 && live.objects.saturating_mul(SPARSE_PART) <= slots;
    if is_sparse && spans.sizes.is_cached.get(span) != Some(&1) {
        one.sparse = Sparse { spans: 1, span_bytes, live, returnable_bytes: 0 };
    }
    Some(one)
}

/// Spans of one size with or without pointers, which cannot stand in for each other.
#[derive(Default)]
struct Class {
    used: SpanUse,
    /// Slots of spans that are not sparse and hold no live object.
    room: u64,
}

impl Class {
    fn add(&mut self, one: &SpanUse) {
        self.used += *one;
        // What has no live object goes back by itself.
        if one.sparse.spans == 0 && one.live.objects > 0 {
            self.room = self.room.saturating_add(one.slots.saturating_sub(one.live.objects));
        }
    }

    fn finish(self) -> SpanUse {
        let mut used = self.used;
        let sparse = &mut used.sparse;
        let left = sparse.live.objects.saturating_sub(self.room);
        let needed = spans_for(left, used.slots, used.spans).min(sparse.spans);
        // Spans of a class are of one size.
        let bytes = used.span_bytes / used.spans.max(1);
        sparse.returnable_bytes = sparse.span_bytes.saturating_sub(needed.saturating_mul(bytes));
        used
    }
}

/// How many spans `objects` need, where `spans` have `slots` together.
pub(crate) fn spans_for(objects: u64, slots: u64, spans: u64) -> u64 {
    objects.div_ceil((slots / spans.max(1)).max(1))
}

/// Counts a sparse span for the types of its live objects.
fn pin<'g>(
    graph: &'g HeapGraph<'_>,
    dominators: &Dominators,
    objects: std::ops::Range<u32>,
    span_bytes: u64,
    pins: &mut BTreeMap<&'g str, Pin>,
) {
    let mut names: BTreeMap<&str, Retained> = BTreeMap::new();
    for object in objects.map(ObjectId) {
        if dominators.is_reachable(Node::Object(object)) {
            let name = graph.type_name(graph.type_of(object));
            let bytes = graph.objects.bytes(object);
            *names.entry(name).or_default() += Retained { bytes, objects: 1 };
        }
    }
    for (name, live) in names {
        let row = pins.entry(name).or_insert_with(|| Pin {
            name: name.to_owned(),
            live: Retained::default(),
            spans: 0,
            span_bytes: 0,
        });
        row.live += live;
        row.spans += 1;
        row.span_bytes = row.span_bytes.saturating_add(span_bytes);
    }
}

impl std::ops::AddAssign for SpanUse {
    fn add_assign(&mut self, other: SpanUse) {
        // Sizes in a file may be anything.
        let add = |sum: &mut u64, value: u64| *sum = sum.saturating_add(value);
        add(&mut self.spans, other.spans);
        add(&mut self.span_bytes, other.span_bytes);
        self.live += other.live;
        self.dead += other.dead;
        add(&mut self.free_bytes, other.free_bytes);
        add(&mut self.tail_bytes, other.tail_bytes);
        add(&mut self.slots, other.slots);
        add(&mut self.sparse.spans, other.sparse.spans);
        add(&mut self.sparse.span_bytes, other.sparse.span_bytes);
        self.sparse.live += other.sparse.live;
        add(&mut self.sparse.returnable_bytes, other.sparse.returnable_bytes);
    }
}
