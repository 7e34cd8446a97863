//! `memsight pprof`: the command line of `go tool pprof` on our own engine.

pub(crate) mod browser;
mod code;
mod commands;
mod demangle;
mod fetch;
mod flags;
mod generate;
mod http;
mod prepare;
mod shell;
mod source_files;
mod symbolize;
mod symbolz;
mod times;
mod usage;

use std::process::ExitCode;

use crate::failure::Failure;

pub(crate) use code::Binaries;
pub(crate) use source_files::SourceSearch;

/// Runs with the arguments after `pprof`. Errors go to standard error as they are:
/// scripts look for pprof's own words.
pub(crate) fn main(args: &[String]) -> ExitCode {
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &[String]) -> Result<(), String> {
    let call = match flags::parse(args)? {
        flags::Parsed::Help => {
            eprint!("{}", usage::command_line());
            return Ok(());
        }
        flags::Parsed::Call(call) => call,
    };
    if !call.http.is_empty() {
        return http::serve(&call);
    }
    let profile = prepare::profile(&call)?;
    match &call.command {
        Some(command) => generate::report(profile, command, &call.config, false),
        None => shell::run(profile, call.config),
    }
}

/// As a subcommand of clap, which hands the arguments over untouched.
pub(crate) fn subcommand(args: &[String]) -> Result<ExitCode, Failure> {
    Ok(main(args))
}
