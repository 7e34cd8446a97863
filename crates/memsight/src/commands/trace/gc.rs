//! `memsight trace gc`.

use std::process::ExitCode;

use analyze::trace::collections::Collector;
use render::paint::Paint;

use super::analyze;
use crate::args::trace::TraceArgs;
use crate::failure::Failure;
use crate::terminal::print;

/// Prints its collections.
pub(crate) fn run(args: &TraceArgs, paint: Paint) -> Result<ExitCode, Failure> {
    let mut collector = Collector::default();
    let done = analyze(&args.file, &mut collector)?;
    let (collections, warning) = (collector.finish(), done.warning.as_deref());
    print(match args.json {
        true => format!("{:#}\n", render::trace::collections::value(&collections, warning)),
        false => render::trace::collections::text(&collections, warning, paint),
    })?;
    Ok(ExitCode::SUCCESS)
}
