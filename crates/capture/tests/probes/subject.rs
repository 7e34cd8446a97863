//! Programs that do one thing for each line they are told.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use capture::names::ProcessNames;
use model::Addr;

/// A running program; it ends when this is dropped.
pub(crate) struct Subject {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Subject {
    pub(crate) fn start(program: &Path) -> Subject {
        let mut command = Command::new(program);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let stdin = child.stdin.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Subject { child, stdin, stdout }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Has it do something; returns its answer when it waits for the next line.
    pub(crate) fn ask(&mut self, line: &str) -> String {
        // In one piece, which the program reads at once.
        self.stdin.write_all(format!("{line}\n").as_bytes()).unwrap();
        let mut answer = String::new();
        self.stdout.read_line(&mut answer).unwrap();
        self.wait_until_idle();
        answer.trim_end().to_owned()
    }

    /// Waits until it reads.
    pub(crate) fn wait_until_idle(&self) {
        let given_up = Instant::now() + Duration::from_secs(10);
        let path = format!("/proc/{}/syscall", self.pid());
        // The number of `read`, and standard input.
        let reads = || std::fs::read_to_string(&path).is_ok_and(|text| text.starts_with("0 0x0 "));
        while !reads() && Instant::now() < given_up {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Builds a program once, whichever test needs it first: one that runs cannot be written to.
fn built(name: &str, build: impl FnOnce(&Path) -> bool) -> PathBuf {
    static BUILT: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("probes");
    std::fs::create_dir_all(&folder).unwrap();
    let program = folder.join(name);
    let mut done = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if !done.contains(name) {
        assert!(build(&program), "{name} does not build");
        done.insert(name.to_owned());
    }
    program
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/probes").join(name)
}

/// Builds a program in C, without frame pointers, as is usual; `None`, and says so, where there is no compiler.
pub(crate) fn c_program(name: &str) -> Option<PathBuf> {
    if Command::new("gcc").arg("--version").output().is_err() {
        println!("skipped: there is no gcc");
        return None;
    }
    Some(built(&format!("{name}-c"), |program| {
        let mut command = Command::new("gcc");
        command.args(["-O1", "-g", "-fomit-frame-pointer", "-pthread", "-o"]);
        command.arg(program).arg(source(&format!("{name}.c"))).status().unwrap().success()
    }))
}

/// Builds a program in Go.
pub(crate) fn go_program(name: &str) -> PathBuf {
    built(&format!("{name}-go"), |program| {
        let mut command = Command::new("go");
        command.env("GOTOOLCHAIN", "local").env("GOFLAGS", "").env("CGO_ENABLED", "0");
        command.args(["build", "-o"]).arg(program).arg(".").current_dir(source(name));
        command.status().expect("go is installed").success()
    })
}

/// The functions of a stack, innermost first, inlined ones too; of what has no name, where it is.
pub(crate) fn called(names: &mut ProcessNames, stack: &[Addr]) -> Vec<String> {
    let code: Vec<Addr> =
        stack.iter().enumerate().map(|(index, at)| Addr(at.0 - u64::from(index > 0))).collect();
    names.look_up(code.iter().copied());
    let mut called = Vec::new();
    for at in code {
        let frames = names.frames(at);
        called.extend(frames.iter().map(|frame| frame.function.clone()));
        if frames.is_empty() {
            called.push(names.unnamed(at));
        }
    }
    called
}
