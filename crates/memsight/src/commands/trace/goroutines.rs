//! `memsight trace goroutines`.

use std::process::ExitCode;

use analyze::trace::goroutines::Grouper;
use render::paint::Paint;

use super::analyze;
use crate::args::trace::TraceGoroutinesArgs;
use crate::failure::Failure;
use crate::terminal::print;

/// Prints its goroutines, by function.
pub(crate) fn run(args: &TraceGoroutinesArgs, paint: Paint) -> Result<ExitCode, Failure> {
    let mut grouper = Grouper::default();
    let done = analyze(&args.trace.file, &mut grouper)?;
    let (groups, warning) = (grouper.finish(), done.warning.as_deref());
    print(match args.trace.json {
        true => format!("{:#}\n", render::trace::goroutines::value(&groups, args.n, warning)),
        false => render::trace::goroutines::text(&groups, args.n, warning, paint),
    })?;
    Ok(ExitCode::SUCCESS)
}
