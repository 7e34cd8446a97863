//! What people and programs see of a small heap, to the letter.

use analyze::heap::diff::{Side, diff, path_changes};
use analyze::heap::histogram::{Grouping, Row, histogram};
use analyze::heap::leaks::{LeakOptions, leaks};
use analyze::heap::paths::{Paths, Referrers};
use analyze::heap::query::{QueryOptions, query};
use analyze::heap::select::Named;
use analyze::heap::tree::{Limits, by_node, by_type};
use analyze::heap::waste::spans::fragmentation;
use analyze::heap::waste::{Offender, Waste, WasteKind, WasteRow, waste};
use analyze::heap::{Dominators, Node, Retained, around, roots, summary};
use model::heap::{
    Edges, Extents, Fill, FillKind, HeapGraph, HeapType, Holder, HolderId, HolderKind, Listed,
    ObjectId, Objects, RootPointer, SpanSizes, Spans, TypeId, TypeKind,
};
use serde_json::{Value, json};

use super::diff::By;
use super::histogram::Shown;
use super::leaks::Growth;
use super::roots::Wanted;
use super::why::{Many, One, many_text, many_value, one_text, one_value};
use crate::paint::Paint;

const PLAIN: Paint = Paint(false);

/// `main.cache` holds two orders of 1 KiB that share a text of 300 B; goroutine 7 holds the
/// text as well, and one object is garbage.
fn graph() -> HeapGraph<'static> {
    let mut graph = HeapGraph { edges: Edges::empty(), slot_bytes: 8, ..HeapGraph::default() };
    let mut name = |text: &str| graph.strings.intern(text);
    let heap_type = |name, package, bytes| HeapType {
        name,
        package,
        kind: TypeKind::Struct,
        bytes,
        ..HeapType::default()
    };
    let (main, none) = (name("main"), model::StrId(0));
    graph.types = vec![
        heap_type(name("main.Order"), main, 1024),
        heap_type(name("string"), none, 1),
        heap_type(name("[2]*main.Order"), none, 16),
    ];
    let holder = |kind, name, place, parent| Holder {
        kind,
        name,
        place,
        parent,
        goroutine: None,
        of: None,
        is_conservative: false,
    };
    graph.holders = vec![
        holder(HolderKind::Global, name("main.cache"), none, None),
        holder(HolderKind::Goroutine, name("goroutine 7"), none, None),
        holder(HolderKind::Local, name("text"), name("main.serve (s.go:4)"), Some(HolderId(1))),
    ];
    let root = |holder, target| RootPointer {
        holder: HolderId(holder),
        slot: 0,
        target: ObjectId(target),
    };
    graph.root_pointers = vec![root(0, 0), root(2, 3)];
    for row in [&[(0, 1), (1, 2)][..], &[(2, 3)], &[(2, 3)], &[], &[]] {
        row.iter().for_each(|(slot, to)| graph.edges.push(*slot, ObjectId(*to)));
        graph.edges.end_object();
    }
    graph.type_of = vec![2, 0, 0, 1, 0].into();
    graph.objects = Objects::Listed(Listed {
        address: vec![0x1000, 0x2000, 0x3000, 0x4000, 0x5000].into(),
        bytes: vec![16, 1024, 1024, 300, 1024].into(),
    });
    graph.source.runtime = "go1.26.8".to_owned();
    graph.source.method = "core".to_owned();
    graph.source.heap_in_use_bytes = Some(8192);
    graph.warnings = vec!["a page is missing".to_owned()];
    graph.check().unwrap();
    graph
}

#[test]
fn summaries() {
    let graph = graph();
    let summary = summary::summary(&graph, &Dominators::of(&graph));
    let expected = "\
go1.26.8, by core

live         2.31 KiB in 4 objects of 3 types; 100.0% of the bytes have a known type
unreachable  1.00 KiB in 1 object, not collected yet
in use       8.00 KiB of spans, 58.6% of it free
pointers     4 between objects, 2 from roots, 0 weak
goroutines   0

ROOTS             COUNT  POINTERS  RETAINED  SHARE
global                1         1  2.02 KiB  87.3%
goroutine             1         0       0 B   0.0%
local                 1         1       0 B   0.0%
several together                      300 B  12.7%

warning: a page is missing
";
    assert_eq!(super::summary::text(&graph, &summary, PLAIN), expected);
    let value = super::summary::value(&graph, &summary);
    assert_eq!(value["live_bytes"], 2364);
    assert_eq!(value["unreachable_objects"], 1);
    assert_eq!(value["heap_in_use_bytes"], 8192);
    assert_eq!(
        value["roots"][0],
        json!({
            "kind": "global", "count": 1, "pointers": 1, "retained_bytes": 2064, "retained_objects": 3,
        })
    );
}

#[test]
fn histograms() {
    let graph = graph();
    let all = histogram(&graph, &Dominators::of(&graph), Grouping::Type);
    let rows: Vec<&Row> = all.iter().collect();
    let text = super::histogram::text(&rows, 2, Grouping::Type, Shown::Live);
    let expected = "\
OBJECTS     BYTES  RETAINED  TYPE
      1      16 B  2.02 KiB  [2]*main.Order
      2  2.00 KiB  2.00 KiB  main.Order
      1     300 B            ... 1 more (-n 0 shows all)
";
    assert_eq!(text, expected);
    let csv = super::histogram::table(&rows, 0, Grouping::Type, Shown::Live).csv();
    assert_eq!(csv.lines().nth(2), Some("main.Order,2,2048,2048,2"));
    let value = super::histogram::value(&rows, 1, Grouping::Type, Shown::Live);
    let row = json!({
        "type": "[2]*main.Order", "objects": 1, "bytes": 16, "retained_bytes": 2064,
        "retained_objects": 3,
    });
    assert_eq!(value, Value::Array(vec![row]));
    let value = super::histogram::value(&rows, 0, Grouping::Type, Shown::Unreachable);
    assert_eq!(value[1]["bytes"], 1024);
}

#[test]
fn roots_by_what_they_retain() {
    let graph = graph();
    let roots = roots::roots(&graph, &Dominators::of(&graph));
    let all = Wanted { limit: 2, is_wanted: &|_, _| true };
    let expected = "\
RETAINED  SHARE  OBJECTS  KIND    ROOT
2.02 KiB  87.3%        3  global  main.cache
   300 B  12.7%        1  shared  (several roots)
     0 B   0.0%        0          ... 1 more (-n 0 shows all)
";
    assert_eq!(super::roots::text(&graph, &roots, 2364, all), expected);
    let named = Wanted { limit: 0, is_wanted: &|kind, _| kind == "global" };
    let row = json!({
        "root": "main.cache", "kind": "global", "retained_bytes": 2064, "retained_objects": 3,
    });
    assert_eq!(super::roots::value(&graph, &roots, named), Value::Array(vec![row]));
}

#[test]
fn trees() {
    let graph = graph();
    let dominators = Dominators::of(&graph);
    let limits = Limits { depth: 3, rows: 1, bytes_min: 1 };
    let tree = by_node(&graph, &dominators, Node::Root, limits);
    let expected = "\
RETAINED   SHARE  OBJECTS       OWN  WHAT
2.31 KiB  100.0%        4       0 B  all roots
2.02 KiB   87.3%        3       0 B    main.cache (global)
2.02 KiB   87.3%        3      16 B      [2]*main.Order  0x1000
1.00 KiB   43.3%        1  1.00 KiB        main.Order  0x2000
1.00 KiB   43.3%        1                  ... 1 more
   300 B   12.7%        1              ... 2 more
";
    assert_eq!(super::tree::text(&graph, &tree, 2364, PLAIN), expected);
    let limits = Limits { depth: 3, rows: 0, bytes_min: 1 };
    let tree = by_type(&graph, &dominators, Node::Root, limits);
    let text = super::tree::text(&graph, &tree, 2364, PLAIN);
    assert!(text.contains("1 global roots\n"), "{text}");
    assert!(text.contains("        2 main.Order\n"), "{text}");
    let value = super::tree::value(&graph, &tree);
    assert_eq!(value["below"][0]["below"][0]["below"][0]["count"], 2);
}

#[test]
fn pictures_and_lines() {
    let graph = graph();
    let dominators = Dominators::of(&graph);
    let around = around::around(&graph, ObjectId(3), 1, 10);
    let dot = super::dot::neighbourhood(&graph, &dominators, &around);
    assert!(dot.contains("goroutine 7 main.serve text (s.go:4)\", shape=ellipse]"), "{dot}");
    assert!(dot.contains("n1 -> n0 [label="), "{dot}");
    let mut out = Vec::new();
    super::lines::write(&graph, &dominators, &mut out).unwrap();
    let lines: Vec<Value> = out
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect();
    assert_eq!(lines.len(), 1 + 3 + 3 + 5);
    assert_eq!(
        lines[7]["object"]["points_to"],
        json!([{"offset": 0, "to": 1}, {"offset": 8, "to": 2}])
    );
    assert_eq!(lines[11]["object"]["reachable"], false);
}

#[test]
fn why_one_object_is_alive() {
    let graph = graph();
    let object = ObjectId(3);
    let paths = Referrers::of(&graph).paths_to(object, 2);
    let retained = Some(Retained { bytes: 300, objects: 1 });
    let one = One { object, offset: 7, retained, paths, weak: Vec::new() };
    let text = one_text(&graph, &one, PLAIN);
    let expected = "\
string at 0x4000 (asked for: 7 bytes into it): 300 B, retains 300 B in 1 object

  goroutine 7 main.serve text (s.go:4)
  -> string

  main.cache (global)
  -> [2]*main.Order
  -> main.Order
  -> string
";
    assert_eq!(text, expected);
    let value = one_value(&graph, &one);
    assert_eq!(value["object"]["address"], "0x4000");
    assert_eq!(value["paths"][1][0], "main.cache");
    assert_eq!(value["paths"][0][0], "goroutine 7 main.serve text (s.go:4)");
    let garbage =
        One { object: ObjectId(4), offset: 0, retained: None, paths: vec![], weak: vec![] };
    assert!(one_text(&graph, &garbage, PLAIN).contains("nothing holds it"));
    assert_eq!(one_value(&graph, &garbage)["object"]["retained_bytes"], Value::Null);
}

#[test]
fn why_objects_of_a_type_are_alive() {
    let graph = graph();
    let paths = Paths::of(&graph).merged([1, 2, 4].map(ObjectId), 5);
    let many = Many {
        named: Named::Types(vec![TypeId(0)]),
        objects: Retained { bytes: 3072, objects: 3 },
        retained: Retained { bytes: 2048, objects: 2 },
        paths,
    };
    let expected = "\
3 main.Order: 3.00 KiB, retain 2.00 KiB

2 (66.7%), 2.00 KiB
  main.cache (global)
  -> [2]*main.Order
  -> main.Order

1 (33.3%), 1.00 KiB held by nothing
";
    assert_eq!(many_text(&graph, &many, PLAIN), expected);
    let value = many_value(&graph, &many);
    assert_eq!(value["paths"][0], json!(["main.cache", "[2]*main.Order", "main.Order"]));
    assert_eq!(value["held"][0]["objects"], 2);
    assert_eq!(value["objects"]["types"], json!(["main.Order"]));
    assert_eq!(value["unreachable"]["bytes"], 1024);
}

#[test]
fn suspects() {
    let graph = graph();
    let dominators = Dominators::of(&graph);
    let found = leaks(&graph, &dominators, &Paths::of(&graph), &LeakOptions::default());
    let text = super::leaks::text(&graph, &found, None, 1, PLAIN);
    let expected = "\
1. main.cache (global) retains 2.02 KiB in 3 objects, 87.3% of the heap
   it accumulates in [2]*main.Order 0x1000: 2.02 KiB
     main.cache (global)
     -> [2]*main.Order
   which hold 2 main.Order, 2.00 KiB

... 1 more suspects (-n 0 shows all)
";
    assert_eq!(text, expected);
    let value = super::leaks::value(&graph, &found, None, 0);
    let suspect = &value["suspects"][0];
    assert_eq!(suspect["retained_bytes"], 2064);
    assert_eq!(suspect["path"], json!(["main.cache", "[2]*main.Order"]));
    assert_eq!(suspect["held"][0]["type"], "main.Order");
    assert_eq!(value["growth"], Value::Null);
    assert!(super::leaks::text(&graph, &[], None, 1, PLAIN).starts_with("no suspect"));
}

/// The graph before its second order came.
fn earlier() -> HeapGraph<'static> {
    let mut graph = graph();
    let mut edges = Edges::empty();
    for row in [&[(0, 1)][..], &[(2, 3)], &[(2, 3)], &[], &[]] {
        row.iter().for_each(|(slot, to)| edges.push(*slot, ObjectId(*to)));
        edges.end_object();
    }
    graph.edges = edges;
    graph
}

#[test]
fn differences() {
    let (before, after) = (earlier(), graph());
    let (first, second) = (Dominators::of(&before), Dominators::of(&after));
    let side = |graph, dominators| Side { graph, dominators };
    let diff = diff(side(&before, &first), side(&after, &second), 5);
    let text = super::diff::text(&after, &diff, By::Type, 0);
    let expected = "\
live: 1.31 KiB -> 2.31 KiB (+1.00 KiB, +1 objects)

    BYTES  OBJECTS  NEW  FREED   RETAINED  TYPE
+1.00 KiB       +1    1      0  +1.00 KiB  main.Order

objects that retain more than before:
  [2]*main.Order 0x1000: 1.02 KiB -> 2.02 KiB
";
    assert_eq!(text, expected);
    let text = super::diff::text(&after, &diff, By::Root, 0);
    assert!(text.contains("+1.00 KiB  1.02 KiB  2.02 KiB  1 -> 1  global  main.cache\n"), "{text}");
    let value = super::diff::value(&after, &diff, 0);
    assert_eq!(value["types"][0]["bytes_delta"], 1024);
    assert_eq!(value["types"][0]["new"]["objects"], 1);
    assert_eq!(value["grown"][0]["retained_bytes_after"], 2064);
    let csv = super::diff::table(&diff, By::Type, 0).csv();
    assert_eq!(csv.lines().nth(1), Some("main.Order,1,2,1024,2048,1024,2048"));
    let paths = path_changes(&before, &after, &diff, 3, 3);
    let growth = Growth { diff, paths };
    let text = super::leaks::text(&after, &[], Some(&growth), 0, PLAIN);
    assert!(text.contains("+1.00 KiB +1 main.Order\n  main.cache (global)\n"), "{text}");
    let value = super::leaks::value(&after, &[], Some(&growth), 0);
    assert_eq!(value["growth"]["paths"][0]["type"], "main.Order");
    assert_eq!(value["growth"]["paths"][0]["before"]["objects"], 1);
}

#[test]
fn wasted_bytes() {
    let mut graph = graph();
    graph.extents = Extents {
        object: vec![1].into(),
        low: vec![0].into(),
        used: vec![24].into(),
        capacity: vec![1024].into(),
    };
    graph.fills = vec![Fill {
        object: ObjectId(2),
        kind: FillKind::Map,
        used: 3,
        capacity: 100,
        element_bytes: 10,
    }];
    graph.check().unwrap();
    let all = waste(&graph, &Dominators::of(&graph), 5);
    let text = super::waste::text(&graph, &all, 2364, PLAIN);
    assert!(
        text.contains("\nspare-capacity: 1000 B (42.3% of the live heap) in 1 object\n"),
        "{text}"
    );
    assert!(text.contains("  24 of 1,024  main.Order 0x2000\n"), "{text}");
    assert!(text.contains("  3 of 100  main.Order 0x3000\n"), "{text}");
    let value = super::waste::value(&graph, &all, None);
    assert_eq!(value["fragmentation"], Value::Null);
    let kinds = value["kinds"].as_array().unwrap();
    let spare = kinds.iter().find(|kind| kind["kind"] == "spare-capacity").unwrap();
    assert_eq!(spare["wasted_bytes"], 1000);
    assert_eq!(spare["offenders"][0]["address"], "0x2000");
    assert!(super::waste::table(&all).csv().contains("spare-capacity,"));
    assert_eq!(super::waste::text(&graph, &[], 1, PLAIN), "no waste found\n");
}

#[test]
fn pooled_objects_stand_beside_the_middle_one() {
    let total = Retained { bytes: 3000, objects: 3 };
    let pools = Waste {
        kind: WasteKind::Pools,
        total,
        offenders: vec![Offender { object: ObjectId(1), wasted_bytes: 2048, used: 476, of: 3 }],
        fields: vec![WasteRow { name: "main.pool (global)".to_owned(), wasted: total }],
        types: Vec::new(),
    };
    let text = super::waste::text(&graph(), &[pools], 6000, PLAIN);
    let expected = "
sync-pools: 2.93 KiB (50.0% of the live heap) in 3 objects
    WASTED  OBJECTS  WHERE
  2.93 KiB        3  main.pool (global)
    WASTED  MEDIAN  OBJECT
  2.00 KiB   476 B  main.Order 0x2000
";
    assert!(text.ends_with(expected), "{text}");
}

/// Two pages: one with a live and a dead object in seven slots, one where all are dead.
fn in_spans() -> HeapGraph<'static> {
    let mut graph = graph();
    graph.objects = Objects::Spans(Spans {
        base: vec![0x2000, 0x6000].into(),
        slot_bytes: vec![1152, 16].into(),
        is_noscan: vec![1, 1].into(),
        first: vec![0, 2, 5].into(),
        word: vec![0, 1, 2].into(),
        allocated: vec![0b1001, 0b111].into(),
        sizes: SpanSizes {
            span_bytes: vec![8192, 8192].into(),
            slots: vec![7, 4].into(),
            is_cached: vec![0, 0].into(),
        },
    });
    graph
}

#[test]
fn room_in_spans() {
    let mut graph = in_spans();
    // The second object is held by nothing.
    graph.root_pointers.retain(|pointer| pointer.target == ObjectId(0));
    graph.edges = Edges::empty();
    (0..5).for_each(|_| graph.edges.end_object());
    graph.check().unwrap();
    let found = fragmentation(&graph, &Dominators::of(&graph), 5).unwrap();
    let text = super::spans::text(&graph, Some(&found), PLAIN);
    let expected = "
fragmentation: 13.7 KiB (85.6%) of 16.0 KiB in 2 spans hold no object
  1.12 KiB live, 1.17 KiB dead and not collected yet, 5.64 KiB in free slots, 8.06 KiB behind the last slot
   SLOT  SPANS    MEMORY      LIVE      DEAD      FREE     TAILS   FULL  SPARSE  RETURNABLE
  1,152      1  8.00 KiB  1.12 KiB  1.12 KiB  5.62 KiB     128 B  14.3%       1         0 B
     16      1  8.00 KiB       0 B      48 B      16 B  7.94 KiB   0.0%       0         0 B
  1 span (8.00 KiB) at most 25% full, pinned by 1 object; 0 B would go back if those moved together
    PINNED  SPANS  OBJECTS  BY
  8.00 KiB      1        1  [2]*main.Order
";
    assert_eq!(text, expected);
    let value = super::waste::value(&graph, &[], Some(&found));
    let value = &value["fragmentation"];
    assert_eq!(value["span_bytes"], 16384);
    assert_eq!(value["dead_bytes"], 1152 + 48);
    assert_eq!(
        (&value["classes"][0]["slot_bytes"], &value["classes"][0]["sparse_spans"]),
        (&json!(1152), &json!(1))
    );
    assert_eq!(value["pins"][0]["type"], "[2]*main.Order");
    assert!(super::spans::text(&graph, None, PLAIN).contains("not known"));
    // A heap without spans has nothing to say.
    assert_eq!(super::spans::text(&self::graph(), None, PLAIN), "");
}

#[test]
fn answers_to_queries() {
    let graph = graph();
    let text = "select type, count(*), sum(bytes) from objects group by type order by 3 desc";
    let answer = query(&graph, &Dominators::of(&graph), text, &QueryOptions::default()).unwrap();
    let expected = "\
type            count(*)  sum(bytes)
main.Order             3       3,072
string                 1         300
[2]*main.Order         1          16
";
    assert_eq!(super::query::text(&answer), expected);
    assert!(
        super::query::table(&answer)
            .csv()
            .starts_with("type,count(*),sum(bytes)\nmain.Order,3,3072\n")
    );
    let value = super::query::value(&answer);
    assert_eq!(value["columns"], json!(["type", "count(*)", "sum(bytes)"]));
    assert_eq!(value["rows"][1], json!(["string", 1, 300]));
    assert_eq!(value["cut"], false);
}
