//! `memsight heap verify`.

use std::process::ExitCode;

use analyze::heap::{Dominators, verify};
use model::HeapGraph;
use render::quantity::count;
use serde_json::json;

use super::dominators;
use super::source::Heap;
use crate::args::heap::VerifyArgs;
use crate::failure::Failure;
use crate::terminal::print;

/// Checks a heap: reading compares checksums and checks the graph.
pub(crate) fn run(args: &VerifyArgs) -> Result<ExitCode, Failure> {
    let heap = Heap::open(&args.heap)?;
    let has_checksums = matches!(heap, Heap::Mapped { .. });
    heap.with(|graph| {
        let dominators = dominators(graph);
        let proof = verify::verify(graph, &dominators);
        let text = match args.json {
            true => format!("{:#}\n", value(graph, has_checksums, &dominators)),
            false => text(graph, has_checksums, &dominators),
        };
        proof.map_err(|violation| {
            Failure::usage(format!("the dominators are wrong: {violation:?}"))
                .next("that is a fault of memsight, please report it with the file")
        })?;
        print(text)?;
        Ok(ExitCode::SUCCESS)
    })
}

fn value(graph: &HeapGraph<'_>, has_checksums: bool, dominators: &Dominators) -> serde_json::Value {
    json!({
        "objects": graph.len(),
        "pointers": graph.edges.len(),
        "live_objects": dominators.reachable().objects,
        "checksums": has_checksums.then_some("right"),
        "graph": "consistent",
        "dominators": "certified",
        "warnings": graph.warnings,
    })
}

fn text(graph: &HeapGraph<'_>, has_checksums: bool, dominators: &Dominators) -> String {
    let mut out = String::new();
    if has_checksums {
        out += "checksums   right\n";
    }
    let (objects, pointers) = (count(graph.len() as u64), count(graph.edges.len() as u64));
    out += &format!("graph       consistent: {objects} objects, {pointers} pointers\n");
    let live = count(dominators.reachable().objects);
    out += &format!("dominators  certified for the {live} live objects\n");
    out
}
