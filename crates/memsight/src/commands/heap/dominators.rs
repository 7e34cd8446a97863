//! `memsight heap dominators`.

use std::process::ExitCode;

use analyze::heap::tree::{self, Limits};
use analyze::heap::{Node, select};
use render::heap::tree::{text, value};
use render::paint::Paint;

use super::source::{Heap, Opened};
use super::{dominators, not_found};
use crate::args::heap::{DominatorsArgs, DominatorsBy};
use crate::failure::Failure;
use crate::terminal::print;

/// Shows the largest branches of the dominator tree.
pub(crate) fn run(args: &DominatorsArgs, paint: Paint) -> Result<ExitCode, Failure> {
    Heap::open(&args.heap)?.with(|graph| {
        print(shown(graph, args, paint)?)?;
        Ok(ExitCode::SUCCESS)
    })
}

fn shown(graph: &Opened<'_>, args: &DominatorsArgs, paint: Paint) -> Result<String, Failure> {
    let under = match &args.under {
        Some(name) => select::node(graph, name).map_err(|error| not_found(&error))?,
        None => Node::Root,
    };
    let dominators = dominators(graph);
    if !dominators.is_reachable(under) {
        let failure = Failure::usage("no root reaches that object: it retains nothing");
        return Err(failure.next("the collector will take it; ask for what is alive"));
    }
    let whole = dominators.reachable().bytes;
    // Holders that hold nothing are many; they show with --min 0.
    let bytes_min = (whole as f64 * args.min / 100.0).ceil() as u64;
    let limits = Limits { depth: args.depth, rows: args.n, bytes_min };
    let tree = match args.by {
        DominatorsBy::Object => tree::by_node(graph, &dominators, under, limits),
        DominatorsBy::Type => tree::by_type(graph, &dominators, under, limits),
    };
    Ok(match args.json {
        true => format!("{:#}\n", value(graph, &tree)),
        false => text(graph, &tree, whole, paint),
    })
}
