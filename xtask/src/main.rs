//! Chores of this repository: `cargo xtask tidy | corpus | pprof-diff | ci | test`.

mod ci;
mod corpus;
mod pprof_diff;
mod suite;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Result, bail};

const USAGE: &str = "\
cargo xtask tidy                    checks crate edges, sizes and house rules
cargo xtask corpus [--seconds N] [--batch N] [--only TEXT] [--check]
                                    runs examples/leaks and prints precision and recall
cargo xtask pprof-diff [TEXT]       compares memsight pprof with go tool pprof and google/pprof's
                                    golden files, byte for byte;
                                    TEXT: only cases that contain it
cargo xtask ci                      formatting, lints, docs and tidy
cargo xtask test                    all tests; those that fail once more, by themselves";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &[String]) -> Result<bool> {
    match arguments.first().map(String::as_str) {
        Some("tidy") => tidy::run(&root()),
        Some("corpus") => corpus::run(&root(), &arguments[1..]),
        Some("pprof-diff") => pprof_diff::run(&root(), arguments.get(1).map(String::as_str)),
        Some("ci") => ci::run(&root()),
        Some("test") => suite::run(&root()),
        _ => bail!("usage:\n{USAGE}"),
    }
}

/// Cargo, in the workspace's folder. It is not told which program it was run by: build scripts that
/// look at a package's name would run again, and all that depends on them be built again.
fn cargo(root: &Path) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(root);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

/// The workspace's folder.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".")).to_owned()
}
