//! `memsight heap summary`, `histogram` and `roots`.

use std::process::ExitCode;

use analyze::heap::histogram::{Grouping, Row};
use analyze::heap::{histogram, roots, summary};
use render::heap::histogram::Shown;
use render::heap::roots::Wanted;
use render::paint::Paint;

use super::dominators;
use super::source::{Heap, Opened};
use crate::args::TableArgs;
use crate::args::heap::{HistogramArgs, HistogramBy, HistogramSort, RootsArgs, SummaryArgs};
use crate::failure::Failure;
use crate::sources::regex;
use crate::terminal::print;

/// Prints a heap's figures.
pub(crate) fn summary(args: &SummaryArgs, paint: Paint) -> Result<ExitCode, Failure> {
    Heap::open(&args.heap)?.with(|graph| {
        let summary = summary::summary(graph, &dominators(graph));
        print(match args.json {
            true => format!("{:#}\n", render::heap::summary::value(graph, &summary)),
            false => render::heap::summary::text(graph, &summary, paint),
        })?;
        Ok(ExitCode::SUCCESS)
    })
}

/// Prints objects by type, package or size.
pub(crate) fn histogram(args: &HistogramArgs) -> Result<ExitCode, Failure> {
    let filter = args.filter.as_deref().map(regex).transpose()?;
    let shown = if args.unreachable { Shown::Unreachable } else { Shown::Live };
    Heap::open(&args.heap)?.with(|graph| {
        let by = match args.by {
            HistogramBy::Type => Grouping::Type,
            HistogramBy::Package => Grouping::Package,
            HistogramBy::Size => Grouping::Size,
        };
        let all = histogram::histogram(graph, &dominators(graph), by);
        let is_wanted = |row: &&Row| {
            let is_named = filter.as_ref().is_none_or(|filter| filter.is_match(&row.name));
            is_named && shown.of(row).objects > 0
        };
        let mut rows: Vec<&Row> = all.iter().filter(is_wanted).collect();
        sort(&mut rows, args.sort, shown);
        print(match args.table {
            TableArgs { json: true, .. } => {
                format!("{:#}\n", render::heap::histogram::value(&rows, args.n, by, shown))
            }
            TableArgs { csv: true, .. } => {
                render::heap::histogram::table(&rows, args.n, by, shown).csv()
            }
            TableArgs { markdown: true, .. } => {
                render::heap::histogram::table(&rows, args.n, by, shown).markdown()
            }
            _ => render::heap::histogram::text(&rows, args.n, by, shown),
        })?;
        Ok(ExitCode::SUCCESS)
    })
}

/// Sorts rows, which come in descending retained size.
fn sort(rows: &mut [&Row], by: HistogramSort, shown: Shown) {
    match by {
        HistogramSort::Retained => {}
        HistogramSort::Bytes => rows.sort_by_key(|row| std::cmp::Reverse(shown.of(row).bytes)),
        HistogramSort::Objects => rows.sort_by_key(|row| std::cmp::Reverse(shown.of(row).objects)),
        HistogramSort::Name => rows.sort_by_key(|row| (row.size_bytes, row.name.as_str())),
    }
}

/// Prints what holds the heap.
pub(crate) fn roots(args: &RootsArgs) -> Result<ExitCode, Failure> {
    let filter = args.filter.as_deref().map(regex).transpose()?;
    Heap::open(&args.heap)?.with(|graph| {
        let is_wanted = |kind: &str, name: &str| {
            let matches = |filter: &regex::Regex| filter.is_match(kind) || filter.is_match(name);
            filter.as_ref().is_none_or(matches)
        };
        print(roots_shown(graph, args, Wanted { limit: args.n, is_wanted: &is_wanted }))?;
        Ok(ExitCode::SUCCESS)
    })
}

fn roots_shown(graph: &Opened<'_>, args: &RootsArgs, wanted: Wanted<'_>) -> String {
    let dominators = dominators(graph);
    let roots = roots::roots(graph, &dominators);
    match args.table {
        TableArgs { json: true, .. } => {
            format!("{:#}\n", render::heap::roots::value(graph, &roots, wanted))
        }
        TableArgs { csv: true, .. } => render::heap::roots::table(graph, &roots, wanted).csv(),
        TableArgs { markdown: true, .. } => {
            render::heap::roots::table(graph, &roots, wanted).markdown()
        }
        _ => render::heap::roots::text(graph, &roots, dominators.reachable().bytes, wanted),
    }
}
