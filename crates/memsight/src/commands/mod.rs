//! One module per command.

pub(crate) mod agent;
pub(crate) mod demo;
pub(crate) mod diagnose;
pub(crate) mod doctor;
pub(crate) mod gctrace;
pub(crate) mod heap;
pub(crate) mod metrics;
pub(crate) mod probe;
pub(crate) mod profile;
pub(crate) mod ps;
pub(crate) mod rss;
pub(crate) mod rules;
pub(crate) mod runtime;
pub(crate) mod serve;
pub(crate) mod trace;

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
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

/// Prints the manual page, or writes those of all commands.
pub(crate) fn man(output: Option<&Path>) -> Result<ExitCode, Failure> {
    let Some(dir) = output else {
        let mut out = Vec::new();
        clap_mangen::Man::new(Cli::command()).render(&mut out)?;
        print(out)?;
        return Ok(ExitCode::SUCCESS);
    };
    std::fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    clap_mangen::generate_to(Cli::command(), dir).with_context(|| dir.display().to_string())?;
    Ok(ExitCode::SUCCESS)
}
