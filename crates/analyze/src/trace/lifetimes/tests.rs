//! Hand-drawn traces. What real ones say is compared with the runtime in memsight's tests.

use model::Addr;
use model::heap::{HeapType, Objects, Spans, TypeKind};
use model::trace::{
    Event, GoId, HeapInfo, ObjectType, ObjectTypeId, ProcId, Range, StackId, Tables, ThreadId,
    Time, What,
};
use model::{HeapGraph, StringTable};

use super::{Lifetimes, Options, Tracker, TypeLifetimes, UNKNOWN_NAME};
use crate::trace::Analysis;

const BASE: u64 = 0xc0_0000_0000;

// Codes of events, and classes of spans: twice the size class, plus one without pointers,
// shifted by the bit of spans that are not for objects.
const SPAN: u8 = 129;
const SPAN_FREE: u8 = 130;
const EXISTED: u8 = 131;
const ALLOC: u8 = 132;
const FREE: u8 = 133;
const CLASS_48: u64 = (5 << 1) << 1;
const CLASS_1024: u64 = (32 << 1) << 1;
const CLASS_TINY: u64 = (2 << 1 | 1) << 1;
const CLASS_LARGE: u64 = 0;
const MANUAL: u64 = 1;

/// Objects, given as bytes from the base, in units of alignment.
const fn at(bytes: u64) -> u64 {
    bytes / 8
}

/// 1: main.node of 48 bytes, 2: main.big of 1000 bytes with pointers, 3: int16.
fn tables() -> Tables<'static> {
    let mut tables = Tables::default();
    let types: [(u64, u64, &[u8]); 3] =
        [(48, 16, b"main.node"), (1000, 8, b"main.big"), (2, 0, b"int16")];
    for (index, (bytes, pointer_bytes, name)) in types.into_iter().enumerate() {
        let id = ObjectTypeId(index as u64 + 1);
        let address = Addr(0x50_0000 + id.0 * 64);
        tables.add_type(id, ObjectType { address, bytes, pointer_bytes, name });
    }
    tables.set_heap(HeapInfo {
        base: Addr(BASE),
        page_bytes: 8192,
        align_bytes: 8,
        stack_bytes: 2048,
    });
    tables.seal().unwrap();
    tables
}

fn object(code: u8, first: u64, second: u64, third: u64) -> What {
    What::Experiment { code, arguments: [first, second, third] }
}

const GC: What = What::RangeBegin(Range::Mark);

fn track(events: &[What], snapshot: Option<&HeapGraph<'_>>) -> Lifetimes {
    let tables = tables();
    let options = Options { gcs: 1, within_nanos: 100 };
    let mut tracker = Tracker::new(options, snapshot);
    for (index, what) in [What::Sync { number: 1 }].iter().chain(events).enumerate() {
        let event = Event {
            time: Time(index as i64 * 10),
            thread: ThreadId(1),
            proc: ProcId(0),
            goroutine: GoId(1),
            stack: StackId(0),
            what: *what,
        };
        tracker.event(&event, &tables);
    }
    tracker.finish()
}

fn of_type<'l>(all: &'l Lifetimes, name: &str) -> &'l TypeLifetimes {
    let found = all.types.iter().find(|it| it.name == name);
    found.unwrap_or_else(|| panic!("no {name} in {:?}", all.types))
}

#[test]
fn collections_between_birth_and_death_were_survived() {
    let all = track(
        &[
            object(SPAN, 0, 1, CLASS_48),
            object(EXISTED, at(0), 0, 0),
            object(ALLOC, at(48), 1, 0),
            GC,
            object(FREE, at(0), 0, 0),
            object(ALLOC, at(0), 1, 0),
            object(ALLOC, at(96), 1, 0),
            GC,
            object(FREE, at(48), 0, 0),
            object(FREE, at(96), 0, 0),
            GC,
        ],
        None,
    );
    let node = of_type(&all, "main.node");
    assert_eq!((node.allocated.objects, node.freed.objects, node.young.objects), (3, 2, 1));
    assert_eq!(node.by_collections.ended[..3], [1, 1, 0]);
    // The one left was allocated after the first of three; the last is not known to be over.
    assert_eq!(node.by_collections.left[..3], [0, 1, 0]);
    assert_eq!((node.survivors, node.survival), (2, Some(2.0 / 3.0)));
    assert_eq!(node.within.objects, 2);
    assert_eq!((node.by_time.ended[6], node.by_time.ended[4]), (0, 1));
    assert_eq!(node.living().objects, 1);
    let unknown = of_type(&all, UNKNOWN_NAME);
    assert_eq!((unknown.existed.objects, unknown.existed_freed.objects), (1, 1));
    assert_eq!((all.totals.living.objects, all.totals.living.bytes), (1, 48));
}

#[test]
fn whom_the_last_collection_killed_is_not_counted_as_survived_by_others() {
    let all = track(
        &[
            object(SPAN, 0, 1, CLASS_48),
            object(ALLOC, at(0), 1, 0),
            object(ALLOC, at(48), 1, 0),
            GC,
            GC,
            // Of two dead objects only this one is swept when the trace ends.
            object(FREE, at(0), 0, 0),
        ],
        None,
    );
    let node = of_type(&all, "main.node");
    assert_eq!(node.by_collections.left[..2], [0, 2]);
    assert_eq!(node.survival, Some(1.0));
    assert_eq!(node.freed.objects, 1);
}

#[test]
fn headers_and_arrays_are_told_by_slots() {
    let all = track(
        &[
            object(SPAN, 0, 1, CLASS_1024),
            // The pointer that the program gets lies behind the header.
            object(ALLOC, at(1024 + 8), 2, 0),
            object(ALLOC, at(2048), 1, 0),
            object(SPAN, 9, 100, CLASS_LARGE),
            object(ALLOC, at(9 * 8192), 1, 0),
            GC,
            object(FREE, at(1024), 0, 0),
            object(FREE, at(9 * 8192), 0, 0),
            object(SPAN_FREE, 9, 0, 0),
        ],
        None,
    );
    assert_eq!(of_type(&all, "main.big").freed.bytes, 1024);
    let nodes = of_type(&all, "[]main.node");
    assert_eq!((nodes.allocated.objects, nodes.freed.bytes), (2, 819_200));
    assert_eq!(all.unmatched, super::Unmatched::default());
}

#[test]
fn tiny_objects_share_slots() {
    let mut events = vec![
        object(SPAN, 0, 1, CLASS_TINY),
        object(ALLOC, at(0), 3, 0),
        object(ALLOC, at(0), 3, 0),
        object(ALLOC, at(8), 3, 0),
        GC,
        // While the collector marks, the slot is filled up.
        object(ALLOC, at(8), 3, 0),
    ];
    let shared = track(&events, None);
    assert_eq!((shared.totals.allocated.objects, shared.totals.packed), (1, 3));
    // Its free tells that the last one began anew.
    events.push(object(FREE, at(0), 0, 0));
    let anew = track(&events, None);
    assert_eq!((anew.totals.allocated.objects, anew.totals.packed), (2, 2));
    assert_eq!((anew.totals.freed.objects, anew.unmatched.early), (1, 1));
    let int = of_type(&anew, "int16");
    assert_eq!((int.allocated.objects, int.packed, int.young.objects), (2, 2, 1));
    assert_eq!(int.living().objects, 1);
}

/// Threads' clocks disagree by microseconds: a slot is taken before it is free.
#[test]
fn frees_may_come_late() {
    let late = [
        object(SPAN, 0, 1, CLASS_48),
        object(ALLOC, at(0), 1, 0),
        GC,
        object(ALLOC, at(0), 1, 0),
        object(FREE, at(0), 0, 0),
        GC,
        object(FREE, at(0), 0, 0),
    ];
    let all = track(&late, None);
    let node = of_type(&all, "main.node");
    assert_eq!((node.allocated.objects, node.freed.objects, node.young.objects), (2, 2, 2));
    assert_eq!((all.unmatched.early, all.unmatched.early_unresolved), (1, 0));
    assert_eq!(all.totals.living.objects, 0);
    let all = track(&late[..4], None);
    assert_eq!((all.unmatched.early, all.unmatched.early_unresolved), (0, 1));
}

#[test]
fn spans_come_and_go() {
    let all = track(
        &[
            object(SPAN, 0, 1, CLASS_48),
            object(ALLOC, at(0), 1, 0),
            object(FREE, at(4800), 0, 0),
            object(SPAN_FREE, 0, 0, 0),
            object(ALLOC, at(0), 1, 0),
            object(SPAN, 0, 1, MANUAL),
            // Allocated anew before it is freed.
            object(SPAN, 0, 2, CLASS_1024),
            object(SPAN_FREE, 0, 0, 0),
            object(ALLOC, at(8192), 1, 0),
            object(FREE, at(8192), 0, 0),
        ],
        None,
    );
    let unmatched = all.unmatched;
    assert_eq!((unmatched.frees, unmatched.lost_with_span, unmatched.without_span), (1, 1, 1));
    assert_eq!(of_type(&all, "[]main.node").freed.objects, 1);
}

#[test]
fn nothing_is_known_without_units() {
    let mut tracker = Tracker::new(Options::default(), None);
    let what = object(ALLOC, 1, 1, 0);
    tracker.event(&Event { what, ..Event::default() }, &Tables::default());
    let all = tracker.finish();
    assert!(all.has_objects());
    assert_eq!((all.totals.allocated.objects, all.unmatched.without_span), (1, 1));
    assert!(!Tracker::new(Options::default(), None).finish().has_objects());
}

#[test]
fn a_snapshot_names_what_existed() {
    let mut strings = StringTable::default();
    let heap_type = |name, kind| HeapType { name, kind, ..HeapType::default() };
    let graph = HeapGraph {
        types: vec![
            heap_type(strings.intern("unknown 48"), TypeKind::Unknown),
            heap_type(strings.intern("main.node"), TypeKind::Struct),
        ],
        strings,
        // Slots 0 and 2 of a span of 48 bytes.
        objects: Objects::Spans(Spans {
            base: vec![BASE].into(),
            slot_bytes: vec![48].into(),
            is_noscan: vec![0].into(),
            first: vec![0, 2].into(),
            word: vec![0, 1].into(),
            allocated: vec![0b101].into(),
            ..Spans::default()
        }),
        type_of: vec![1, 0].into(),
        ..HeapGraph::default()
    };
    let existed = [
        object(SPAN, 0, 1, CLASS_48),
        object(EXISTED, at(0), 0, 0),
        object(EXISTED, at(48), 0, 0),
        object(EXISTED, at(96), 0, 0),
    ];
    let all = track(&existed, Some(&graph));
    assert_eq!(all.named.existed_by_snapshot, 1);
    assert_eq!(of_type(&all, "main.node").existed.objects, 1);
    assert_eq!(of_type(&all, UNKNOWN_NAME).existed.objects, 2);
    // What lies in slots of another size came after the snapshot.
    let mut other = existed;
    other[0] = object(SPAN, 0, 1, CLASS_1024);
    let all = track(&other[..2], Some(&graph));
    assert_eq!(all.named.existed_by_snapshot, 0);
}

/// Memory follows objects, whatever numbers a damaged trace has.
#[test]
fn wild_numbers_are_survived() {
    let wild = [0, 1, 127, u64::from(u32::MAX), u64::MAX / 8, u64::MAX / 8192, u64::MAX];
    let mut events = Vec::new();
    for first in wild {
        for second in wild {
            for third in wild {
                events.extend((128..=136).map(|code| object(code, first, second, third)));
            }
        }
        events.push(GC);
    }
    let all = track(&events, None);
    assert!(all.has_objects());
}
