//! `memsight trace`: what a Go execution trace says.

mod export;
mod gc;
mod goroutines;
mod lifetimes;
mod mmu;
mod profile;
mod record;
mod summary;
mod tasks;
mod view;

use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

use analyze::trace::Analysis;
use anyhow::Context;
use capture::Image;
use decode::gotrace;
use render::paint::Paint;

use crate::args::trace::TraceCommand;
use crate::failure::Failure;

/// Runs one of the commands.
pub(crate) fn run(command: &TraceCommand, paint: Paint) -> Result<ExitCode, Failure> {
    match command {
        TraceCommand::Summary(args) => summary::run(args, paint),
        TraceCommand::Gc(args) => gc::run(args, paint),
        TraceCommand::Goroutines(args) => goroutines::run(args, paint),
        TraceCommand::Mmu(args) => mmu::run(args, paint),
        TraceCommand::Tasks(args) => tasks::run(args, paint),
        TraceCommand::Lifetimes(args) => lifetimes::run(args, paint),
        TraceCommand::Export(args) => export::run(args),
        TraceCommand::Profile(args) => profile::run(args),
        TraceCommand::View(args) => view::run(args),
        TraceCommand::Record(args) => record::run(args),
    }
}

/// What came of reading a trace beside the analysis.
struct Done {
    version: u32,
    /// Why it was not read to its end.
    warning: Option<String>,
}

impl Done {
    /// Tells the warning where the output has no place for it.
    fn warn(&self) {
        if let Some(warning) = &self.warning {
            eprintln!("memsight: warning: {warning}");
        }
    }
}

/// Feeds all events of a trace to an analysis.
fn analyze(file: &Path, analysis: &mut impl Analysis) -> Result<Done, Failure> {
    if file == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes).context("standard input")?;
        return feed(&bytes, analysis).map_err(|error| error.context("standard input").into());
    }
    let name = || file.display().to_string();
    let image = Image::open(file).with_context(name)?;
    feed(image.as_ref(), analysis).map_err(|error| error.context(name()).into())
}

fn feed(bytes: &[u8], analysis: &mut impl Analysis) -> Result<Done, anyhow::Error> {
    let outcome = gotrace::each(bytes, |event, tables| analysis.event(event, tables))?;
    let size = bytes.len();
    let warning = outcome.damage.map(|damage| format!("{damage}; the file has {size} bytes"));
    Ok(Done { version: outcome.version, warning })
}
