//! Formatting, lints, docs and house rules: what needs no running program.

use std::path::Path;

use anyhow::Result;

/// Name, arguments of cargo, flags of rustdoc.
type Step = (&'static str, &'static [&'static str], &'static str);

const STEPS: &[Step] = &[
    ("formatting", &["fmt", "--all", "--check"], ""),
    (
        "lints",
        &["clippy", "--workspace", "--all-targets", "--locked", "--quiet", "--", "-D", "warnings"],
        "",
    ),
    ("documentation", &["doc", "--workspace", "--no-deps", "--locked", "--quiet"], "-D warnings"),
];

/// Runs all steps; says no at the first that fails.
pub(crate) fn run(root: &Path) -> Result<bool> {
    for (name, arguments, rustdoc) in STEPS {
        eprintln!("xtask: {name}");
        if !crate::cargo(root).args(*arguments).env("RUSTDOCFLAGS", rustdoc).status()?.success() {
            return Ok(false);
        }
    }
    eprintln!("xtask: tidy");
    crate::tidy::run(root)
}
