//! Every question on whatever graph a snapshot file can hold: graphs that pass the check may
//! make nothing panic, and dominators are always certified. The input is a file whose
//! checksums are put right.
#![no_main]

use analyze::heap::diff::{Side, diff};
use analyze::heap::histogram::{Grouping, histogram};
use analyze::heap::leaks::{LeakOptions, leaks};
use analyze::heap::paths::{Paths, Referrers, weak_referrers};
use analyze::heap::tree::{Limits, by_node, by_type};
use analyze::heap::{Dominators, Node, around, profile, roots, summary, verify, waste};
use decode::heapfile::{self, Verify};
use libfuzzer_sys::fuzz_target;
use model::HeapGraph;
use model::heap::ObjectId;
use render::paint::Paint;

/// Objects whose paths are asked for.
const ASKED: u32 = 4;

/// Heaps that are written as a dump.
const BYTES_WRITTEN_MAX: u64 = 16 << 20;

fuzz_target!(|data: &[u8]| {
    let mut file = data.to_vec();
    let _ = memsight_fuzz::mend_heapfile(&mut file);
    let Ok(graph) = heapfile::read(&file, Verify::All) else { return };
    let dominators = Dominators::of(&graph);
    verify::verify(&graph, &dominators).expect("dominators are certified");
    sums(&graph, &dominators);
    findings(&graph, &dominators);
    let limits = Limits { depth: 5, rows: 3, bytes_min: 0 };
    for tree in [by_node, by_type] {
        let tree = tree(&graph, &dominators, Node::Root, limits);
        let _ = render::heap::tree::text(&graph, &tree, 1, Paint(false));
    }
    let mut out = Vec::new();
    render::heap::lines::write(&graph, &dominators, &mut out).expect("memory takes all");
    // A dump is as large as the objects say they are.
    let mut bytes = 0_u64;
    graph.objects.each_size(|_, size| bytes = bytes.saturating_add(size));
    if bytes < BYTES_WRITTEN_MAX {
        decode::hprof::write(&graph, &mut Vec::new()).expect("memory takes all");
    }
    let _ = profile::retained_profile(&graph, &dominators);
});

fn sums(graph: &HeapGraph<'_>, dominators: &Dominators) {
    let figures = summary::summary(graph, dominators);
    assert_eq!(figures.live.objects + figures.unreachable.objects, graph.len() as u64);
    let _ = render::heap::summary::text(graph, &figures, Paint(false));
    for by in [Grouping::Type, Grouping::Package, Grouping::Size] {
        let rows = histogram(graph, dominators, by);
        let live: u64 = rows.iter().map(|row| row.live.objects).sum();
        assert_eq!(live, figures.live.objects);
    }
    let found = roots::roots(graph, dominators);
    let retained: u64 = found.rows.iter().map(|row| row.retained.objects).sum();
    assert_eq!(retained + found.shared.objects, figures.live.objects);
}

fn findings(graph: &HeapGraph<'_>, dominators: &Dominators) {
    let paths = Paths::of(graph);
    let referrers = Referrers::of(graph);
    for object in (0..ASKED.min(graph.len() as u32)).map(ObjectId) {
        let is_alive = dominators.is_reachable(Node::Object(object));
        assert_eq!(paths.shortest(object).is_empty(), !is_alive);
        let _ = referrers.paths_to(object, 3);
        let _ = weak_referrers(graph, object);
        let around = around::around(graph, object, 2, 20);
        let _ = render::heap::dot::neighbourhood(graph, dominators, &around);
    }
    let _ = paths.merged((0..graph.len() as u32).map(ObjectId), 5);
    let suspects = leaks(graph, dominators, &paths, &LeakOptions::default());
    let _ = render::heap::leaks::text(graph, &suspects, None, 0, Paint(false));
    let wasted = waste::waste(graph, dominators, 3);
    let _ = render::heap::waste::text(graph, &wasted, 1, Paint(false));
    let side = || Side { graph, dominators };
    let same = diff(side(), side(), 5);
    assert!(same.types.iter().all(|row| row.bytes_delta() == 0));
}
