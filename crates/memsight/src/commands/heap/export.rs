//! `memsight heap export`.

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use analyze::heap::{Dominators, Node, around, profile, select};
use anyhow::Context;
use decode::hprof;
use model::HeapGraph;
use render::heap::{dot, lines};

use super::source::Heap;
use super::{dominators, not_found};
use crate::args::heap::{ExportArgs, ExportTo};
use crate::atomic;
use crate::failure::Failure;

/// Objects a picture shows at most; more are no picture.
const PICTURE_NODES: usize = 150;

/// Writes a heap in another format.
pub(crate) fn run(args: &ExportArgs) -> Result<ExitCode, Failure> {
    Heap::open(&args.heap)?.with(|graph| {
        let dominators = dominators(graph);
        let picture = match args.to {
            ExportTo::Dot => picture(graph, &dominators, args)?,
            _ => String::new(),
        };
        let write = |out: &mut dyn Write| write(graph, &dominators, args.to, &picture, out);
        match &args.output {
            Some(path) => atomic::create(path, |out| write(out))
                .with_context(|| path.display().to_string())?,
            None => to_stdout(write)?,
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn write(
    graph: &HeapGraph<'_>,
    dominators: &Dominators,
    to: ExportTo,
    picture: &str,
    mut out: &mut dyn Write,
) -> io::Result<()> {
    match to {
        ExportTo::Hprof => hprof::write(graph, &mut out).map(|_| ()),
        ExportTo::Pprof => {
            let profile = profile::retained_profile(graph, dominators);
            out.write_all(&decode::pprof::write(&profile))
        }
        ExportTo::Json => lines::write(graph, dominators, &mut out),
        ExportTo::Dot => out.write_all(picture.as_bytes()),
    }
}

fn picture(
    graph: &HeapGraph<'_>,
    dominators: &Dominators,
    args: &ExportArgs,
) -> Result<String, Failure> {
    let center = args.around.as_deref().unwrap_or_default();
    let node = select::node(graph, center).map_err(|error| not_found(&error))?;
    let Node::Object(object) = node else {
        let failure = Failure::usage(format!("{center} is a root, not an object"));
        return Err(failure.next("give an address or id:N; `memsight heap why` names some"));
    };
    let around = around::around(graph, object, args.depth, PICTURE_NODES);
    Ok(dot::neighbourhood(graph, dominators, &around))
}

/// Writes to standard output; a reader that has gone away is no error.
fn to_stdout(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    match write(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}
