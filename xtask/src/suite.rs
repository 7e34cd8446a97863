//! All tests of the workspace; the few that fail beside the others once more, by themselves.
//!
//! Many tests watch real programs while others keep both cores busy, so that a runtime or a kernel may
//! stall where it never does otherwise. A defect fails again; what passes the second time is named at
//! the end, so that nobody overlooks it.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result};

/// More than so many failures are no accident.
const AGAIN_MAX: usize = 5;

/// Says whether all passed, if need be the second time.
pub(crate) fn run(root: &Path) -> Result<bool> {
    let first = cargo_test(root, &["--no-fail-fast"])?;
    if first.is_success {
        return Ok(true);
    }
    let failed = first.failed;
    eprintln!("xtask: failed: {}", list(&failed));
    if failed.is_empty() || failed.len() > AGAIN_MAX {
        return Ok(false);
    }
    for name in &failed {
        eprintln!("xtask: {name} once more, by itself");
        let again = cargo_test(root, &["--", "--exact", name])?;
        // One that was not found did not pass.
        if !again.is_success || !again.passed.contains(name) {
            return Ok(false);
        }
    }
    eprintln!("xtask: warning: passed only the second time: {}", list(&failed));
    Ok(true)
}

fn list(names: &BTreeSet<String>) -> String {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.join(", ")
}

/// What a run of tests came to.
struct Outcome {
    is_success: bool,
    passed: BTreeSet<String>,
    failed: BTreeSet<String>,
}

/// Runs tests, and shows what they print as it comes.
fn cargo_test(root: &Path, arguments: &[&str]) -> Result<Outcome> {
    let mut command = crate::cargo(root);
    command.args(["test", "--workspace", "--locked"]).args(arguments);
    let mut running = command.stdout(Stdio::piped()).spawn()?;
    let output = running.stdout.take().context("no output of cargo")?;
    let (mut passed, mut failed) = (BTreeSet::new(), BTreeSet::new());
    for line in BufReader::new(output).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        match result(&line) {
            Some((name, true)) => passed.insert(name.to_owned()),
            Some((name, false)) => failed.insert(name.to_owned()),
            None => continue,
        };
    }
    Ok(Outcome { is_success: running.wait()?.success(), passed, failed })
}

/// The test that a line is about, and whether it passed.
fn result(line: &str) -> Option<(&str, bool)> {
    let (name, result) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
    let name = name.strip_suffix(" - should panic").unwrap_or(name);
    match result {
        "ok" => Some((name, true)),
        "FAILED" => Some((name, false)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::result;

    #[test]
    fn results_are_read_as_cargo_prints_them() {
        assert_eq!(result("test a::b ... ok"), Some(("a::b", true)));
        assert_eq!(result("test a::b - should panic ... FAILED"), Some(("a::b", false)));
        assert_eq!(result("test a::b ... ignored"), None);
        assert_eq!(result("test result: ok. 3 passed"), None);
    }
}
