//! `memsight diagnose`.

use std::process::ExitCode;

use analyze::diagnose::{Evidence, diagnose};
use model::TargetSpec;
use render::paint::Paint;

use crate::args::DiagnoseArgs;
use crate::failure::{Exit, Failure};
use crate::sampling::Samples;
use crate::terminal::print;

/// Samples a target and prints the verdict.
pub(crate) fn run(args: &DiagnoseArgs, paint: Paint) -> Result<ExitCode, Failure> {
    let spec = TargetSpec::parse(&args.target).map_err(Failure::usage)?;
    let samples = Samples::collect(&spec, args.duration)?;
    let snapshots: Vec<_> =
        samples.goroutines.iter().map(|(time, snapshot)| (*time, snapshot)).collect();
    let diagnosis = diagnose(&Evidence {
        target: samples.target.clone(),
        observations: &samples.observations,
        heaps: &samples.heaps,
        goroutines: &snapshots,
        process_start: None,
        warnings: samples.warnings.clone(),
    });
    if args.json {
        print(format!("{:#}\n", render::diagnosis::value(&diagnosis)))?;
    } else {
        print(render::diagnosis::text(&diagnosis, paint))?;
    }
    let is_problem = args.check && diagnosis.is_leak();
    Ok(if is_problem { ExitCode::from(Exit::Problem as u8) } else { ExitCode::SUCCESS })
}
