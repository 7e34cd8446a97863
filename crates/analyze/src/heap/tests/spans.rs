//! How full spans are, on drawn heaps.

use model::heap::{HeapGraph, HolderKind, Objects, SpanSizes, Spans};

use super::{Chance, Drawing};
use crate::heap::Dominators;
use crate::heap::waste::spans::{Fragmentation, fragmentation};

/// A span that is being drawn.
#[derive(Clone)]
struct Span {
    slot_bytes: u64,
    slots: u32,
    is_noscan: bool,
    is_cached: bool,
    /// The slots in use: live or not.
    used: Vec<(u32, bool)>,
}

const PAGE: u64 = 8192;

impl Span {
    fn new(slot_bytes: u64, live: u32, dead: u32) -> Span {
        let used = (0..live + dead).map(|slot| (slot, slot < live)).collect();
        let slots = (PAGE / slot_bytes).max(1) as u32;
        Span { slot_bytes, slots, is_noscan: true, is_cached: false, used }
    }

    fn bytes(&self) -> u64 {
        self.slot_bytes.next_multiple_of(PAGE).max(PAGE)
    }
}

/// The heap of these spans; objects have types `T0`, `T1`, `T2` by turns.
fn heap(all: &[Span]) -> HeapGraph<'static> {
    let mut drawing = Drawing::new();
    let types = [0, 1, 2].map(|index| drawing.type_of(&format!("main.T{index}"), 8, &[]));
    let mut columns = Spans::default();
    let mut live = Vec::new();
    let (mut base, mut count) = (0x10000_u64, 0_u32);
    columns.first.to_mut().push(0);
    columns.word.to_mut().push(0);
    for span in all {
        let mut words = vec![0_u64; span.slots.div_ceil(64) as usize];
        for (slot, is_live) in &span.used {
            words[*slot as usize / 64] |= 1 << (slot % 64);
            drawing.object(types[count as usize % 3], span.slot_bytes);
            live.extend(is_live.then_some(count));
            count += 1;
        }
        columns.base.to_mut().push(base);
        columns.slot_bytes.to_mut().push(span.slot_bytes);
        columns.is_noscan.to_mut().push(u8::from(span.is_noscan));
        columns.first.to_mut().push(count);
        columns.allocated.to_mut().extend(words);
        let end = columns.allocated.len() as u32;
        columns.word.to_mut().push(end);
        let sizes = &mut columns.sizes;
        sizes.span_bytes.to_mut().push(span.bytes());
        sizes.slots.to_mut().push(span.slots);
        sizes.is_cached.to_mut().push(u8::from(span.is_cached));
        base += span.bytes();
    }
    drawing.holder(HolderKind::Global, "live", &live);
    let mut graph = drawing.done();
    graph.objects = Objects::Spans(columns);
    assert_eq!(graph.check(), Ok(()));
    graph
}

fn find(graph: &HeapGraph<'_>) -> Option<Fragmentation> {
    fragmentation(graph, &Dominators::of(graph), 100)
}

#[test]
fn what_few_objects_pin_would_go_back() {
    // Eight slots of 1,024 bytes in a page.
    let mut spans = vec![Span::new(1024, 1, 0); 10];
    spans.push(Span::new(1024, 6, 0));
    let found = find(&heap(&spans)).unwrap();
    let sparse = found.total.sparse;
    assert_eq!((sparse.spans, sparse.live.objects, sparse.span_bytes), (10, 10, 10 * PAGE));
    // Two move to the eleventh span, eight fill one page.
    assert_eq!(sparse.returnable_bytes, 9 * PAGE);
    assert_eq!(found.classes.len(), 1);
    assert_eq!(found.classes[0].slot_bytes, Some(1024));
    let pins: Vec<_> = found
        .pins
        .iter()
        .map(|p| (p.name.as_str(), p.live.objects, p.spans, p.span_bytes))
        .collect();
    let pin = |name, count| (name, count, count, count * PAGE);
    assert_eq!(pins, [pin("main.T0", 4), pin("main.T1", 3), pin("main.T2", 3)]);
}

#[test]
fn a_quarter_is_sparse_and_more_is_not() {
    let check = |live, dead, is_cached, expected| {
        let span = Span { is_cached, ..Span::new(1024, live, dead) };
        let found = find(&heap(&[span])).unwrap();
        assert_eq!(found.total.sparse.spans, expected, "{live} live, {dead} dead, {is_cached}");
    };
    check(2, 0, false, 1);
    check(3, 0, false, 0);
    // What is dead pins nothing.
    check(2, 6, false, 1);
    // Without live objects it goes back by itself.
    check(0, 1, false, 0);
    check(0, 0, false, 0);
    // A processor fills it.
    check(1, 0, true, 0);
}

#[test]
fn objects_without_pointers_do_not_move_to_those_with() {
    let with = |is_noscan, live| Span { is_noscan, ..Span::new(1024, live, 0) };
    let apart = find(&heap(&[with(true, 1), with(false, 7)])).unwrap();
    assert_eq!(apart.total.sparse.returnable_bytes, 0);
    let alike = find(&heap(&[with(true, 1), with(true, 7)])).unwrap();
    assert_eq!(alike.total.sparse.returnable_bytes, PAGE);
    // Tables are by size alone.
    assert_eq!(apart.classes.len(), 1);
}

#[test]
fn live_dead_free_and_tails_are_all_there_is() {
    let mut chance = Chance(271_828);
    for _ in 0..200 {
        let spans: Vec<Span> = (0..chance.below(20) + 1)
            .map(|_| {
                let sizes = [16, 48, 576, 1152, 8192, 100_000];
                let mut span = Span::new(sizes[chance.below(6) as usize], 0, 0);
                span.is_noscan = chance.below(2) == 0;
                let share = chance.below(10);
                for slot in 0..span.slots {
                    if chance.below(10) < share {
                        span.used.push((slot, chance.below(3) > 0));
                    }
                }
                span
            })
            .collect();
        let graph = heap(&spans);
        let dominators = Dominators::of(&graph);
        let found = find(&graph).unwrap();
        let all = found.total;
        let bytes: u64 = spans.iter().map(Span::bytes).sum();
        assert_eq!((all.spans, all.span_bytes), (spans.len() as u64, bytes));
        let parts = all.live.bytes + all.dead.bytes + all.free_bytes + all.tail_bytes;
        assert_eq!(parts, bytes);
        assert_eq!(all.live, dominators.reachable());
        assert_eq!(all.dead, dominators.unreachable());
        assert!(all.sparse.returnable_bytes <= all.sparse.span_bytes);
        let of_classes: u64 = found.classes.iter().map(|class| class.used.span_bytes).sum();
        assert_eq!(of_classes, bytes);
        let large = spans.iter().any(|span| span.slot_bytes == 100_000);
        assert_eq!(found.classes.iter().any(|class| class.slot_bytes.is_none()), large);
    }
}

#[test]
fn without_sizes_nothing_is_said() {
    let mut graph = heap(&[Span::new(1024, 1, 0)]);
    let Objects::Spans(spans) = &mut graph.objects else { unreachable!("these are spans") };
    spans.sizes = SpanSizes::default();
    assert_eq!(find(&graph), None);
    let mut drawing = Drawing::new();
    drawing.objects(3);
    assert_eq!(find(&drawing.done()), None);
}

#[test]
fn absurd_sizes_do_not_overflow() {
    let mut graph = heap(&[Span::new(1024, 1, 0), Span::new(1024, 1, 1), Span::new(1024, 0, 1)]);
    let Objects::Spans(spans) = &mut graph.objects else { unreachable!("these are spans") };
    let base: Vec<u64> = vec![0, 1, 2];
    spans.sizes.span_bytes = base.iter().map(|base| u64::MAX - base).collect::<Vec<_>>().into();
    spans.sizes.slots = vec![u32::MAX; 3].into();
    spans.slot_bytes = vec![1 << 31; 3].into();
    spans.base = base.into();
    assert_eq!(graph.check(), Ok(()));
    let found = find(&graph).unwrap();
    assert_eq!((found.total.spans, found.total.span_bytes), (3, u64::MAX));
}
