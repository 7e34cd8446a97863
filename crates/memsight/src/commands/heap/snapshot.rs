//! `memsight heap snapshot`.

use std::process::ExitCode;

use anyhow::Context;
use decode::goheap::Keep;
use decode::heapfile;
use model::heap::Contents;
use model::{Bytes, HeapGraph};
use serde_json::json;

use super::source::Heap;
use crate::args::heap::{KeptContents, SnapshotArgs};
use crate::atomic;
use crate::failure::Failure;
use crate::terminal::{Progress, print};

/// Takes a heap and writes it as a snapshot file.
pub(crate) fn run(args: &SnapshotArgs) -> Result<ExitCode, Failure> {
    let contents = match args.contents {
        KeptContents::None => Keep::Nothing,
        KeptContents::Strings => Keep::Strings,
        KeptContents::All => Keep::All,
    };
    Heap::open_with(&args.heap, contents)?.with(|graph| {
        // A source that keeps contents must not pass them on unasked.
        if args.contents == KeptContents::None && !graph.contents.object.is_empty() {
            let contents = Contents::default();
            return write(&HeapGraph { contents, ..(**graph).clone() }, args);
        }
        write(graph, args)
    })
}

fn write(graph: &HeapGraph<'_>, args: &SnapshotArgs) -> Result<ExitCode, Failure> {
    let mut progress = Progress::new();
    progress.show(&format!("{}: writing {} objects", args.output.display(), graph.len()));
    let bytes = atomic::create(&args.output, |out| heapfile::write(graph, out))
        .with_context(|| args.output.display().to_string())?;
    drop(progress);
    if args.json {
        let value = json!({
            "file": args.output.display().to_string(),
            "bytes": bytes,
            "objects": graph.len(),
            "pointers": graph.edges.len(),
            "method": graph.source.method,
            "runtime": graph.source.runtime,
            "pause_seconds": graph.source.pause_nanos.map(|nanos| nanos as f64 / 1e9),
            "warnings": graph.warnings,
        });
        print(format!("{value:#}\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let file = args.output.display();
    print(format!("{file}: {} objects, {}\n", graph.len(), Bytes(bytes)))?;
    Ok(ExitCode::SUCCESS)
}
