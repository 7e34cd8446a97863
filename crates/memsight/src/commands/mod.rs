//! One module per command.

pub(crate) mod demo;
pub(crate) mod diagnose;
pub(crate) mod doctor;
pub(crate) mod gctrace;
pub(crate) mod heap;
pub(crate) mod metrics;
pub(crate) mod profile;
pub(crate) mod ps;
pub(crate) mod rss;
pub(crate) mod runtime;
pub(crate) mod serve;
pub(crate) mod trace;

use std::process::ExitCode;

use clap::CommandFactory;

use crate::args::Cli;
use crate::failure::Failure;
use crate::terminal::print;

/// Prints a completion script.
pub(crate) fn completions(shell: clap_complete::Shell) -> Result<ExitCode, Failure> {
    let mut out = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "memsight", &mut out);
    print(out)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the manual page.
pub(crate) fn man() -> Result<ExitCode, Failure> {
    let mut out = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut out)?;
    print(out)?;
    Ok(ExitCode::SUCCESS)
}
