//! `memsight pprof` beside `go tool pprof`: the same flags on the same profiles, output
//! compared byte for byte.

mod cases;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, bail};

/// Answers of pprof that are not copied, and why ours is right. A case is excused when
/// its flags contain the text.
const EXCEPTIONS: &[(&str, &str)] = &[];

/// Runs of `go tool pprof` that must agree before a difference counts: some of its orders
/// follow the order of a Go map.
const TRIES: usize = 15;

struct Outcome {
    stdout: Vec<u8>,
    failed: bool,
}

/// Runs all cases; true when every difference is a listed exception.
pub(crate) fn run(root: &Path, filter: Option<&str>) -> Result<bool> {
    let dir = root.join("target/pprof-diff");
    let memsight = build(root)?;
    let pprof = go_pprof()?;
    profiles(root, &dir)?;
    let cases = cases::all();
    let cases: Vec<&Vec<String>> = cases
        .iter()
        .filter(|case| filter.is_none_or(|text| case.join(" ").contains(text)))
        .collect();
    let next = AtomicUsize::new(0);
    let differing = Mutex::new(Vec::new());
    let (notes, unstable) = (Mutex::new(Vec::new()), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let theirs = call(&pprof, &[], case, &dir);
                    let ours = call(&memsight, &["pprof"], case, &dir);
                    let Some(difference) = compare(case, &theirs, &ours) else { continue };
                    let again = (0..TRIES).map(|_| call(&pprof, &[], case, &dir));
                    if again.into_iter().any(|again| compare(case, &theirs, &again).is_some()) {
                        unstable.fetch_add(1, Ordering::Relaxed);
                        if let Ok(mut notes) = notes.lock() {
                            notes.push(case.join(" "));
                        }
                    } else if let Ok(mut differing) = differing.lock() {
                        differing.push((case.join(" "), difference));
                    }
                }
            });
        }
    });
    let mut differing = differing.into_inner().unwrap_or_default();
    differing.sort();
    let mut excused = 0;
    for (case, difference) in &differing {
        match EXCEPTIONS.iter().find(|(text, _)| case.contains(text)) {
            Some((_, reason)) => {
                excused += 1;
                println!("not copied: {case}\n  {reason}");
            }
            None => println!("differs: {case}\n{difference}"),
        }
    }
    for case in notes.into_inner().unwrap_or_default() {
        println!("go tool pprof itself answers now so, now so: {case}");
    }
    let unstable = unstable.into_inner();
    println!(
        "{} cases: {} equal, {unstable} where go tool pprof has no one answer, \
         {excused} not copied, {} differ",
        cases.len(),
        cases.len() - differing.len() - unstable,
        differing.len() - excused
    );
    Ok(differing.len() == excused)
}

fn build(root: &Path) -> Result<PathBuf> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let arguments = ["build", "--release", "--locked", "-p", "memsight"];
    let status = Command::new(cargo).current_dir(root).args(arguments).status()?;
    if !status.success() {
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

fn call(program: &Path, first: &[&str], case: &[String], dir: &Path) -> Outcome {
    let output = Command::new(program)
        .args(first)
        .args(case)
        .current_dir(dir)
        .env("PPROF_TMPDIR", dir)
        .stdin(Stdio::null())
        .output();
    match output {
        Ok(output) => Outcome { failed: !output.status.success(), stdout: output.stdout },
        Err(_) => Outcome { failed: true, stdout: Vec::new() },
    }
}

fn compare(case: &[String], theirs: &Outcome, ours: &Outcome) -> Option<String> {
    if theirs.failed != ours.failed {
        let verdict = |failed: bool| if failed { "fails" } else { "succeeds" };
        return Some(format!(
            "  go tool pprof {}, memsight {}",
            verdict(theirs.failed),
            verdict(ours.failed)
        ));
    }
    let is_binary = case.iter().any(|flag| flag == "-proto" || flag == "-topproto");
    let (theirs, ours) = match is_binary {
        // Compressors differ; what they compress must not.
        true => (inflated(&theirs.stdout), inflated(&ours.stdout)),
        false => (theirs.stdout.clone(), ours.stdout.clone()),
    };
    if theirs == ours {
        return None;
    }
    let (theirs, ours) = (String::from_utf8_lossy(&theirs), String::from_utf8_lossy(&ours));
    let lines = theirs.lines().zip(ours.lines()).zip(1..);
    let first = lines.into_iter().find(|((theirs, ours), _)| theirs != ours);
    Some(match first {
        Some(((theirs, ours), line)) => format!("  line {line}\n  - {theirs}\n  + {ours}"),
        None => format!("  {} lines against {}", theirs.lines().count(), ours.lines().count()),
    })
}

fn inflated(bytes: &[u8]) -> Vec<u8> {
    use std::io::Read;
    let mut out = Vec::new();
    match flate2::read::GzDecoder::new(bytes).read_to_end(&mut out) {
        Ok(_) => out,
        Err(_) => bytes.to_vec(),
    }
}
