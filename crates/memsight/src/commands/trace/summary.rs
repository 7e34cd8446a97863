//! `memsight trace summary`.

use std::process::ExitCode;

use analyze::trace::summary::Summarizer;
use render::paint::Paint;

use super::analyze;
use crate::args::trace::TraceArgs;
use crate::failure::Failure;
use crate::terminal::print;

/// Prints the figures of a trace.
pub(crate) fn run(args: &TraceArgs, paint: Paint) -> Result<ExitCode, Failure> {
    let mut summarizer = Summarizer::default();
    let done = analyze(&args.file, &mut summarizer)?;
    let (summary, warning) = (summarizer.finish(), done.warning.as_deref());
    print(match args.json {
        true => format!("{:#}\n", render::trace::summary::value(&summary, done.version, warning)),
        false => render::trace::summary::text(&summary, done.version, warning, paint),
    })?;
    Ok(ExitCode::SUCCESS)
}
