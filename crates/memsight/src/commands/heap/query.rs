//! `memsight heap query`.

use std::process::ExitCode;

use analyze::heap::query::{QueryOptions, query};
use decode::goheap::Keep;
use render::heap::query::{table, text, value};

use super::dominators;
use super::source::Heap;
use crate::args::TableArgs;
use crate::args::heap::QueryArgs;
use crate::failure::Failure;
use crate::terminal::print;

/// Answers a query. Of a running program contents are read, so that fields have values;
/// they are gone when the answer is printed.
pub(crate) fn run(args: &QueryArgs) -> Result<ExitCode, Failure> {
    Heap::open_with(&args.heap, Keep::All)?.with(|graph| {
        let dominators = dominators(graph);
        let answer = query(graph, &dominators, &args.query, &QueryOptions::default())
            .map_err(|error| Failure::usage(error.shown_in(&args.query)))?;
        print(match args.table {
            TableArgs { json: true, .. } => format!("{:#}\n", value(&answer)),
            TableArgs { csv: true, .. } => table(&answer).csv(),
            TableArgs { markdown: true, .. } => table(&answer).markdown(),
            _ => text(&answer),
        })?;
        Ok(ExitCode::SUCCESS)
    })
}
