//! `memsight pprof` beside `go tool pprof`, google/pprof's newest program and its golden
//! files: the same flags on the same profiles, output compared byte for byte.

mod cases;
mod gold;
mod gold_cases;
mod peer;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use gold::Gold;
use peer::{Case, Peer};

/// Answers of `go tool pprof` that are not copied, and why ours is right.
const NOT_COPIED: &[(&[&str], &str)] = &[
    (&["-tagfocus=99999999999999999999kb:"], "it crashes on numbers beyond 64 bits"),
    (
        &["gold/legacy-go.crc32.cpu gold/profile-prune1.pb.gz"],
        "it takes a legacy CPU profile before others for a Windows program: debug/pe accepts its zeros",
    ),
    (&["-base=gold/driver-cpu.pb.gz -base="], SEVERAL_BASES),
    (&["-diff_base=gold/driver-cpu.pb.gz -diff_base="], SEVERAL_BASES),
    (
        &["-weblist=main -intel_syntax"],
        "it writes a page with nothing on it; we say that it cannot be done",
    ),
];

const SEVERAL_BASES: &str = "it drops all bases but the last without a word; here they are merged, \
                             as google/pprof's fetchProfiles does with a list";

/// Where google/pprof has gone on since the installed toolchain took it over: ours are the
/// toolchain's.
const NEWER: &[(&[&str], &str)] = &[
    (&["-dot"], "green became blue, names in boxes are escaped, means are named in the report"),
    (&["-callgrind", "-mean"], "the event of a mean has its name from another place"),
    (&["-proto"], "the chosen sample type is saved as the default"),
];

/// Runs all cases; true when every difference is a listed exception.
pub(crate) fn run(root: &Path, filter: Option<&str>) -> Result<bool> {
    let dir = root.join("target/pprof-diff");
    let memsight = build(root)?;
    profiles(root, &dir)?;
    let gold = Gold::prepare(root, &dir)?;
    let chosen = |cases: Vec<Case>| -> Vec<Case> {
        let is_chosen = |case: &Case| filter.is_none_or(|text| case.text().contains(text));
        cases.into_iter().filter(is_chosen).collect()
    };
    let toolchain = Peer { name: "go tool pprof", program: go_pprof()?, exceptions: NOT_COPIED };
    let newest = Peer { name: "google/pprof", program: gold.program.clone(), exceptions: NEWER };
    let mut is_equal = peer::run(&toolchain, &memsight, &chosen(cases::all()), &dir);
    let (reports, calls) = gold_cases::all(&gold.profile_names()?);
    let both = chosen(reports.iter().chain(&calls).cloned().collect());
    is_equal &= peer::run(&toolchain, &memsight, &both, &dir);
    is_equal &= peer::run(&newest, &memsight, &chosen(reports), &dir);
    if filter.is_none() {
        let (count, differing) = gold.compare(&memsight, &dir)?;
        differing.iter().for_each(|text| println!("differs from the golden file {text}"));
        println!("{count} golden files of google/pprof: {} differ", differing.len());
        is_equal &= differing.is_empty();
    }
    Ok(is_equal)
}

fn build(root: &Path) -> Result<PathBuf> {
    let arguments = ["build", "--release", "--locked", "-p", "memsight"];
    if !crate::cargo(root).args(arguments).status()?.success() {
        bail!("memsight does not build");
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from);
    Ok(target.join("release/memsight"))
}

/// The program behind `go tool pprof`, without the go command's own time.
fn go_pprof() -> Result<PathBuf> {
    // The first use builds it.
    let _ = Command::new("go").args(["tool", "pprof", "-help"]).output().context("go")?;
    let output = Command::new("go").args(["tool", "-n", "pprof"]).output()?;
    Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}

fn profiles(root: &Path, dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir)?;
    let generator = dir.join("pprofgen");
    let build = Command::new("go")
        .current_dir(root.join("fixtures/pprofgen"))
        .args(["build", "-trimpath", "-o"])
        .arg(&generator)
        .arg(".")
        .status()?;
    let run = Command::new(&generator).current_dir(dir).status()?;
    if !build.success() || !run.success() {
        bail!("fixtures/pprofgen does not build or run");
    }
    Ok(())
}
