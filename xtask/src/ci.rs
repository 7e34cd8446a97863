//! Formatting, lints, docs and house rules: what needs no running program.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

const STEPS: &[(&str, &[&str], &[(&str, &str)])] = &[
    ("formatting", &["fmt", "--all", "--check"], &[]),
    (
        "lints",
        &["clippy", "--workspace", "--all-targets", "--locked", "--quiet", "--", "-D", "warnings"],
        &[],
    ),
    (
        "documentation",
        &["doc", "--workspace", "--no-deps", "--locked", "--quiet"],
        &[("RUSTDOCFLAGS", "-D warnings")],
    ),
];

/// Runs all steps; says no at the first that fails.
pub(crate) fn run(root: &Path) -> Result<bool> {
    for (name, arguments, environment) in STEPS {
        eprintln!("xtask: {name}");
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let mut command = Command::new(cargo);
        command.current_dir(root).args(*arguments).envs(environment.iter().copied());
        if !command.status()?.success() {
            return Ok(false);
        }
    }
    eprintln!("xtask: tidy");
    crate::tidy::run(root)
}
