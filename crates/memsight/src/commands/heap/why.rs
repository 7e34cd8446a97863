//! `memsight heap why`.

use std::process::ExitCode;

use analyze::heap::paths::{Paths, Referrers, weak_referrers};
use analyze::heap::retained::retained_by_all;
use analyze::heap::select::{Named, Selection, select};
use analyze::heap::{Node, Retained};
use model::heap::ObjectId;
use render::heap::why::{Many, One, many_text, many_value, one_text, one_value};
use render::paint::Paint;

use super::source::{Heap, Opened};
use super::{dominators, not_found};
use crate::args::heap::WhyArgs;
use crate::failure::Failure;
use crate::terminal::{Progress, print};

/// Says what keeps objects alive.
pub(crate) fn run(args: &WhyArgs, paint: Paint) -> Result<ExitCode, Failure> {
    Heap::open(&args.heap)?.with(|graph| {
        let selection = select(graph, &args.what).map_err(|error| not_found(&error))?;
        print(match single(&selection) {
            Some((object, offset)) => {
                let one = one(graph, args, object, offset);
                match args.json {
                    true => format!("{:#}\n", one_value(graph, &one)),
                    false => one_text(graph, &one, paint),
                }
            }
            None => {
                let many = many(graph, args, selection);
                match args.json {
                    true => format!("{:#}\n", many_value(graph, &many)),
                    false => many_text(graph, &many, paint),
                }
            }
        })?;
        Ok(ExitCode::SUCCESS)
    })
}

/// The object that was named as one, and how far into it the address lies.
fn single(selection: &Selection) -> Option<(ObjectId, u64)> {
    let object = *selection.objects.first()?;
    match selection.named {
        Named::Address(offset) => Some((object, offset)),
        Named::Number => Some((object, 0)),
        // The only object of its type is as good as named.
        _ => (selection.objects.len() == 1).then_some((object, 0)),
    }
}

fn limit(args: &WhyArgs) -> usize {
    if args.n == 0 { usize::MAX } else { args.n }
}

fn one(graph: &Opened<'_>, args: &WhyArgs, object: ObjectId, offset: u64) -> One {
    let dominators = dominators(graph);
    let node = Node::Object(object);
    let retained = dominators.is_reachable(node).then(|| dominators.retained(node));
    drop(dominators);
    let mut progress = Progress::new();
    progress.show("paths from roots");
    let mut paths = Vec::new();
    if retained.is_some() {
        paths = Referrers::of(graph).paths_to(object, limit(args));
        if paths.is_empty() {
            paths.push(Paths::of(graph).shortest(object));
        }
    }
    let weak = if args.weak { weak_referrers(graph, object) } else { Vec::new() };
    One { object, offset, retained, paths, weak }
}

fn many(graph: &Opened<'_>, args: &WhyArgs, selection: Selection) -> Many {
    let dominators = dominators(graph);
    let nodes: Vec<Node> = selection.objects.iter().copied().map(Node::Object).collect();
    let retained = retained_by_all(&dominators, &nodes);
    drop((dominators, nodes));
    let mut objects = Retained::default();
    for object in &selection.objects {
        objects += Retained { bytes: graph.objects.bytes(*object), objects: 1 };
    }
    let mut progress = Progress::new();
    progress.show("paths from roots");
    let paths = Paths::of(graph).merged(selection.objects, limit(args));
    Many { named: selection.named, objects, retained, paths }
}
