//! Go toolchains, the oracle and the programs that record traces.
//!
//! `MEMSIGHT_GO_VERSIONS` lists toolchains under `~/.cache/memsight/go` to test beside the
//! one in PATH.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Toolchains with their names.
pub(crate) fn toolchains() -> Vec<(String, PathBuf)> {
    let mut found = crate::toolchains::toolchains();
    if Command::new("go").arg("version").stdout(Stdio::null()).status().is_err() {
        println!("skipped: there is no Go toolchain in PATH");
        found.remove(0);
    }
    found
}

/// The sources of the Go in PATH.
pub(crate) fn sources() -> Option<PathBuf> {
    let output = Command::new("go").args(["env", "GOROOT"]).output().ok()?;
    let root = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim()).join("src");
    root.join("internal/trace").is_dir().then_some(root)
}

/// Go's own reader as a program, built once by the Go in PATH, which reads traces of all
/// versions; `None` when its sources have no such reader (before 1.25 it is elsewhere).
pub(crate) fn oracle() -> Option<&'static Path> {
    static ORACLE: OnceLock<Option<PathBuf>> = OnceLock::new();
    let built = ORACLE.get_or_init(|| {
        let sources = sources().filter(|root| root.join("internal/trace/tracev1.go").exists());
        let Some(sources) = sources else {
            println!("skipped: the Go in PATH has no reader of all traces");
            return None;
        };
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let (overlay, program) = (dir.join("traceoracle.json"), dir.join("traceoracle"));
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gotrace/oracle/main.go");
        let place = sources.join("cmd/traceoracle/main.go");
        let text = format!("{{\"Replace\": {{{:?}: {source:?}}}}}", place.display().to_string());
        std::fs::write(&overlay, text).unwrap();
        let mut go = Command::new("go");
        go.args(["build", "-overlay"]).arg(&overlay).arg("-o").arg(&program);
        go.arg("cmd/traceoracle").env("GOFLAGS", "").env("GOTOOLCHAIN", "local");
        assert!(go.status().unwrap().success(), "the oracle does not build");
        Some(program)
    });
    built.as_deref()
}

/// Has Go's reader print a trace.
pub(crate) fn oracle_lines(oracle: &Path, trace: &Path) -> Vec<String> {
    let output = Command::new(oracle).arg(trace).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

/// Records a trace of the generator; `debug` is its GODEBUG.
pub(crate) fn record(name: &str, go: &Path, items: u32, debug: &str) -> PathBuf {
    // Tests run side by side: one of them records, the others take its trace.
    static RECORDED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    let mut recorded = RECORDED.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let kind = if debug.contains("allocfree") { "objects" } else { "events" };
    let trace = dir.join(format!("{name}-{kind}-{items}.trace"));
    if recorded.contains(&trace) {
        return trace;
    }
    let program = dir.join(format!("tracegen-{name}"));
    let mut build = Command::new(go);
    build.args(["build", "-o"]).arg(&program).arg(".");
    build.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gotrace/generator"));
    build.env("GOFLAGS", "").env("GOTOOLCHAIN", "local");
    assert!(build.status().unwrap().success(), "the generator does not build with Go {name}");
    let mut run = Command::new(&program);
    run.arg(&trace).arg(items.to_string()).env("GODEBUG", debug).stdout(Stdio::null());
    assert!(run.status().unwrap().success(), "the generator of Go {name} fails");
    recorded.insert(trace.clone());
    trace
}
