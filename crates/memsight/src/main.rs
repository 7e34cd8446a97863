//! The memsight command line: parses arguments, calls the libraries, prints.

mod args;
mod atomic;
mod commands;
mod failure;
mod files;
mod heaps;
mod interrupt;
mod log;
mod pprof;
mod probes;
mod sampling;
mod service;
mod sources;
mod supervisor;
mod switch;
mod terminal;
mod traces;
mod viewer;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Cli, Command};
use crate::failure::Failure;

fn main() -> ExitCode {
    // These flags have one dash, which clap does not know.
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let Some((_, rest)) = args.split_first().filter(|(first, _)| *first == "pprof") {
        return pprof::main(rest);
    }
    let cli = Cli::parse();
    match run(cli) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("memsight: {:#}", failure.error);
            if let Some(next) = &failure.next {
                eprintln!("  {next}");
            }
            ExitCode::from(failure.exit as u8)
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let paint = render::paint::Paint(terminal::use_color(cli.color));
    match cli.command {
        Command::Ps(args) => commands::ps::run(&args),
        Command::Diagnose(args) => commands::diagnose::run(&args, paint),
        Command::Top(args) => commands::profile::top(&args),
        Command::Tree(args) => commands::profile::tree(&args),
        Command::Peek(args) => commands::profile::peek(&args),
        Command::Flame(args) => commands::profile::flame(&args),
        Command::Pprof { args } => pprof::subcommand(&args),
        Command::Diff(args) => commands::profile::diff(&args),
        Command::Convert(args) => commands::profile::convert(&args),
        Command::Heap { command } => commands::heap::run(&command, paint),
        Command::Trace { command } => commands::trace::run(&command, paint),
        Command::Goroutines(args) => commands::runtime::goroutines(&args, paint),
        Command::Runtime(args) => commands::runtime::runtime(&args),
        Command::Metrics(args) => commands::metrics::run(&args, paint),
        Command::Rss(args) => commands::rss::run(&args, paint),
        Command::Gctrace(args) => commands::gctrace::run(&args, paint),
        Command::Probe { command } => commands::probe::run(&command, paint),
        Command::Agent(args) => commands::agent::run(&args, paint),
        Command::Rules { command } => commands::rules::run(&command),
        Command::Serve(args) => commands::serve::run(&args, paint),
        Command::Doctor(args) => commands::doctor::run(&args, paint),
        Command::Demo(args) => commands::demo::run(&args, paint),
        Command::RestoreWord(args) => switch::restore(&args),
        Command::Completions { shell } => commands::completions(shell),
        Command::Man { output } => commands::man(output.as_deref()),
    }
}
