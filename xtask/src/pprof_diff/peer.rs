//! Another pprof beside ours: the same calls, output compared byte for byte.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Runs of the peer that must agree before a difference counts: some of its orders
/// follow the order of a Go map.
const TRIES: usize = 15;

/// A program and what we do differently from it.
pub(super) struct Peer<'a> {
    pub(super) name: &'static str,
    pub(super) program: PathBuf,
    /// Texts of the call, and why ours is right. A case is excused when it has them all.
    pub(super) exceptions: &'a [(&'a [&'a str], &'a str)],
}

/// A call.
#[derive(Clone, Debug, Default)]
pub(super) struct Case {
    pub(super) args: Vec<String>,
    /// What is typed; what the shell answers on standard error is compared too.
    pub(super) input: Option<String>,
}

impl Case {
    pub(super) fn of(args: Vec<String>) -> Case {
        Case { args, input: None }
    }

    pub(super) fn text(&self) -> String {
        match &self.input {
            Some(input) => format!("{} <<< {input:?}", self.args.join(" ")),
            None => self.args.join(" "),
        }
    }
}

/// What a program answered.
pub(super) struct Outcome {
    pub(super) stdout: Vec<u8>,
    stderr: Vec<u8>,
    failed: bool,
}

/// Tries all cases; true when every difference is a listed exception.
pub(super) fn run(peer: &Peer<'_>, memsight: &Path, cases: &[Case], dir: &Path) -> bool {
    let next = AtomicUsize::new(0);
    let (differing, unstable) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let theirs = call(&peer.program, &[], case, dir);
                    let ours = call(memsight, &["pprof"], case, dir);
                    let Some(difference) = compare(peer.name, case, &theirs, &ours) else {
                        continue;
                    };
                    let again: Vec<Outcome> =
                        (0..TRIES).map(|_| call(&peer.program, &[], case, dir)).collect();
                    let is_among =
                        again.iter().any(|again| compare(peer.name, case, again, &ours).is_none());
                    let differs =
                        |again: &Outcome| compare(peer.name, case, &theirs, again).is_some();
                    let is_stable = !again.iter().any(differs);
                    let list = if is_stable { &differing } else { &unstable };
                    if let Ok(mut list) = list.lock() {
                        list.push((case.text(), difference, is_among));
                    }
                }
            });
        }
    });
    let mut differing = differing.into_inner().unwrap_or_default();
    differing.sort();
    let excuse = |case: &str| {
        let is_it = |(texts, _): &&(&[&str], &str)| texts.iter().all(|text| case.contains(text));
        peer.exceptions.iter().find(is_it)
    };
    let mut excused = 0;
    for (case, difference, _) in &differing {
        match excuse(case) {
            Some((_, reason)) => {
                excused += 1;
                println!("not copied: {case}\n  {reason}");
            }
            None => println!("differs: {case}\n{difference}"),
        }
    }
    let unstable = unstable.into_inner().unwrap_or_default();
    for (case, _, is_among) in &unstable {
        let ours = if *is_among { "one" } else { "none" };
        println!("{} itself answers now so, now so; ours is {ours} of {TRIES}: {case}", peer.name);
    }
    println!(
        "{} cases beside {}: {} equal, {} where it has no one answer, \
         {excused} not copied, {} differ",
        cases.len(),
        peer.name,
        cases.len() - differing.len() - unstable.len(),
        unstable.len(),
        differing.len() - excused
    );
    differing.len() == excused
}

/// Calls a program in `dir`.
pub(super) fn call(program: &Path, first: &[&str], case: &Case, dir: &Path) -> Outcome {
    let answer = || -> std::io::Result<Outcome> {
        let mut child = Command::new(program)
            .args(first)
            .args(&case.args)
            .current_dir(dir)
            .env("PPROF_TMPDIR", dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // One that does not read its input is no failure.
            let _ = stdin.write_all(case.input.as_deref().unwrap_or("").as_bytes());
        }
        let output = child.wait_with_output()?;
        let failed = !output.status.success();
        Ok(Outcome { failed, stdout: output.stdout, stderr: output.stderr })
    };
    answer().unwrap_or(Outcome { failed: true, stdout: Vec::new(), stderr: Vec::new() })
}

fn compare(peer: &str, case: &Case, theirs: &Outcome, ours: &Outcome) -> Option<String> {
    if theirs.failed != ours.failed {
        let verdict = |failed: bool| if failed { "fails" } else { "succeeds" };
        let (theirs, ours) = (verdict(theirs.failed), verdict(ours.failed));
        return Some(format!("  {peer} {theirs}, memsight {ours}"));
    }
    let is_binary = case.args.iter().any(|flag| flag == "-proto" || flag == "-topproto");
    let stdout = match is_binary {
        // Compressors differ; what they compress must not.
        true => difference(&inflated(&theirs.stdout), &inflated(&ours.stdout)),
        false => difference(data(&theirs.stdout), data(&ours.stdout)),
    };
    let is_shell = case.input.is_some();
    stdout.or_else(|| is_shell.then(|| difference(&theirs.stderr, &ours.stderr)).flatten())
}

/// The first line that differs.
pub(super) fn difference(theirs: &[u8], ours: &[u8]) -> Option<String> {
    if theirs == ours {
        return None;
    }
    let (theirs, ours) = (String::from_utf8_lossy(theirs), String::from_utf8_lossy(ours));
    let lines = theirs.lines().zip(ours.lines()).zip(1..);
    let first = lines.into_iter().find(|((theirs, ours), _)| theirs != ours);
    Some(match first {
        Some(((theirs, ours), line)) => format!("  line {line}\n  - {theirs}\n  + {ours}"),
        None => format!("  {} lines against {}", theirs.lines().count(), ours.lines().count()),
    })
}

/// What is said, without what it looks like: of a page, what is below its head.
fn data(bytes: &[u8]) -> &[u8] {
    let is_page = bytes.starts_with(b"<!DOCTYPE html>");
    let body = bytes.windows(6).position(|tag| tag == b"<body>").filter(|_| is_page);
    bytes.get(body.unwrap_or(0)..).unwrap_or(bytes)
}

fn inflated(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match flate2::read::GzDecoder::new(bytes).read_to_end(&mut out) {
        Ok(_) => out,
        Err(_) => bytes.to_vec(),
    }
}
