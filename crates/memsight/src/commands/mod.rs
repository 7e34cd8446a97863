//! One module per command.

pub mod demo;
pub mod diagnose;
pub mod doctor;
pub mod profile;
pub mod ps;
pub mod runtime;
pub mod serve;

use std::process::ExitCode;

use clap::CommandFactory;

use crate::args::Cli;
use crate::failure::Failure;
use crate::terminal::print;

/// Prints a completion script.
pub fn completions(shell: clap_complete::Shell) -> Result<ExitCode, Failure> {
    let mut out = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "memsight", &mut out);
    print(out)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the manual page.
pub fn man() -> Result<ExitCode, Failure> {
    let mut out = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut out)?;
    print(out)?;
    Ok(ExitCode::SUCCESS)
}
