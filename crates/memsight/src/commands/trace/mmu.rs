//! `memsight trace mmu`.

use std::process::ExitCode;

use analyze::trace::utilization::{Counted, Report, Steps, Utilizer};
use render::paint::Paint;
use render::trace::utilization;

use super::analyze;
use crate::args::trace::{TraceMmuArgs, UtilizationFlag};
use crate::failure::Failure;
use crate::terminal::print;

/// Prints which share of the Ps the collector left to the program.
pub(crate) fn run(args: &TraceMmuArgs, paint: Paint) -> Result<ExitCode, Failure> {
    let has = |flag| args.flags.contains(&flag);
    let counted = Counted {
        stops: has(UtilizationFlag::Stw),
        background: has(UtilizationFlag::Background),
        assists: has(UtilizationFlag::Assist),
        sweeps: has(UtilizationFlag::Sweep),
        per_proc: args.per_proc,
    };
    let mut utilizer = Utilizer::new(counted);
    let done = analyze(&args.trace.file, &mut utilizer)?;
    let steps = if args.csv || args.trace.json { Steps::Ten } else { Steps::Three };
    let report = Report::new(utilizer.finish(), steps, args.window, args.n);
    let warning = done.warning.as_deref();
    if args.csv {
        done.warn();
        print(utilization::csv(&report))?;
    } else if args.trace.json {
        print(format!("{:#}\n", utilization::value(&report, counted, warning)))?;
    } else {
        print(utilization::text(&report, counted, warning, paint))?;
    }
    Ok(ExitCode::SUCCESS)
}
