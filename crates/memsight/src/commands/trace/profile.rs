//! `memsight trace profile`.

use std::process::ExitCode;

use analyze::trace::profile::{Profiler, Wait};
use anyhow::Context;

use super::analyze;
use crate::args::trace::{TraceProfileArgs, WaitKind};
use crate::failure::Failure;
use crate::terminal::print;

/// Writes where goroutines wait.
pub(crate) fn run(args: &TraceProfileArgs) -> Result<ExitCode, Failure> {
    let mut profiler = Profiler::new(match args.kind {
        WaitKind::Sync => Wait::Sync,
        WaitKind::Net => Wait::Network,
        WaitKind::Syscall => Wait::Syscall,
        WaitKind::Sched => Wait::Scheduler,
    });
    let done = analyze(&args.file, &mut profiler)?;
    done.warn();
    let bytes = decode::pprof::write(&profiler.finish());
    match &args.output {
        Some(output) => {
            let name = || output.display().to_string();
            std::fs::write(output, &bytes).with_context(name)?;
        }
        None => print(bytes)?,
    }
    Ok(ExitCode::SUCCESS)
}
