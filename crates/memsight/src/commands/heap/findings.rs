//! `memsight heap leaks`, `waste` and `diff`.

use std::process::ExitCode;

use analyze::heap::Dominators;
use analyze::heap::diff::{Side, diff, path_changes};
use analyze::heap::leaks::{LeakOptions, leaks};
use analyze::heap::paths::Paths;
use analyze::heap::waste::spans::fragmentation;
use analyze::heap::waste::waste;
use model::HeapGraph;
use render::heap::diff::By;
use render::heap::leaks::Growth;
use render::paint::Paint;

use super::dominators;
use super::source::{Heap, Opened};
use crate::args::TableArgs;
use crate::args::heap::{HeapDiffArgs, HeapDiffBy, LeaksArgs, WasteArgs};
use crate::failure::{Exit, Failure};
use crate::terminal::{Progress, print};

/// Types that grew whose paths are told, and how many ways of each.
const GROWN_TYPES: usize = 8;
const GROWN_PATHS: usize = 3;
/// Objects that grew which are looked for.
const GROWN_OBJECTS: usize = 50;

/// Prints suspects.
pub(crate) fn leaks_of(args: &LeaksArgs, paint: Paint) -> Result<ExitCode, Failure> {
    let heap = Heap::open(&args.heap)?;
    let Some(base) = &args.base else {
        return heap.with(|graph| suspects(graph, &dominators(graph), None, args, paint));
    };
    Heap::open_named(base)?.with(|before| {
        heap.with(|graph| {
            let dominators = dominators(graph);
            let growth = growth(before, Side { graph, dominators: &dominators });
            suspects(graph, &dominators, Some(&growth), args, paint)
        })
    })
}

fn growth(before: &Opened<'_>, after: Side<'_>) -> Growth {
    let dominators = dominators(before);
    let diff = diff(Side { graph: before, dominators: &dominators }, after, GROWN_OBJECTS);
    let mut progress = Progress::new();
    progress.show("paths to what grew");
    let paths = path_changes(before, after.graph, &diff, GROWN_TYPES, GROWN_PATHS);
    Growth { diff, paths }
}

fn suspects(
    graph: &HeapGraph<'_>,
    dominators: &Dominators,
    growth: Option<&Growth>,
    args: &LeaksArgs,
    paint: Paint,
) -> Result<ExitCode, Failure> {
    let options = LeakOptions { share_min: args.min / 100.0, ..LeakOptions::default() };
    let found = leaks(graph, dominators, &Paths::of(graph), &options);
    print(match args.json {
        true => format!("{:#}\n", render::heap::leaks::value(graph, &found, growth, args.n)),
        false => render::heap::leaks::text(graph, &found, growth, args.n, paint),
    })?;
    let is_problem = args.check && !found.is_empty();
    Ok(if is_problem { ExitCode::from(Exit::Problem as u8) } else { ExitCode::SUCCESS })
}

/// Prints what holds nothing.
pub(crate) fn waste_of(args: &WasteArgs, paint: Paint) -> Result<ExitCode, Failure> {
    Heap::open(&args.heap)?.with(|graph| {
        let dominators = dominators(graph);
        let limit = if args.n == 0 { usize::MAX } else { args.n };
        let all = waste(graph, &dominators, limit);
        let spans = fragmentation(graph, &dominators, limit);
        let live = dominators.reachable().bytes;
        print(match args {
            WasteArgs { json: true, .. } => {
                format!("{:#}\n", render::heap::waste::value(graph, &all, spans.as_ref()))
            }
            WasteArgs { csv: true, .. } => render::heap::waste::table(&all).csv(),
            _ => {
                let waste = render::heap::waste::text(graph, &all, live, paint);
                waste + &render::heap::spans::text(graph, spans.as_ref(), paint)
            }
        })?;
        Ok(ExitCode::SUCCESS)
    })
}

/// Prints the difference of two heaps.
pub(crate) fn diff_of(args: &HeapDiffArgs) -> Result<ExitCode, Failure> {
    let (base, new) = (Heap::open_named(&args.base)?, Heap::open_named(&args.new)?);
    base.with(|before| new.with(|after| print_diff(before, after, args)))
}

fn print_diff(
    before: &Opened<'_>,
    after: &Opened<'_>,
    args: &HeapDiffArgs,
) -> Result<ExitCode, Failure> {
    let (first, second) = (dominators(before), dominators(after));
    let side = |graph, dominators| Side { graph, dominators };
    let found = diff(side(before, &first), side(after, &second), GROWN_OBJECTS);
    let by = match args.by {
        HeapDiffBy::Type => By::Type,
        HeapDiffBy::Root => By::Root,
    };
    print(match args.table {
        TableArgs { json: true, .. } => {
            format!("{:#}\n", render::heap::diff::value(after, &found, args.n))
        }
        TableArgs { csv: true, .. } => render::heap::diff::table(&found, by, args.n).csv(),
        TableArgs { markdown: true, .. } => {
            render::heap::diff::table(&found, by, args.n).markdown()
        }
        _ => render::heap::diff::text(after, &found, by, args.n),
    })?;
    Ok(ExitCode::SUCCESS)
}
