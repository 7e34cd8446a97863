//! The Go program of `main.go` as a test sees it: started, asked, compared with what
//! memory holds.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use decode::goruntime::{Memory, MemoryImage};
use model::Addr;

/// Small enough for a busy machine; the large ones are measured by hand.
pub(crate) const MEGABYTES: u64 = 40;

/// The subject's executable, built once.
pub(crate) fn executable() -> &'static Path {
    static BUILT: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = BUILT.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let path = build(&dir.path().join("frozen"), &[]);
        (dir, path)
    });
    path
}

/// Builds the subject.
pub(crate) fn build(path: &Path, flags: &[&str]) -> PathBuf {
    let status = Command::new("go")
        .args(["build", "-o"])
        .arg(path)
        .args(flags)
        .arg(".")
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/frozen"))
        .env("GOTOOLCHAIN", "local")
        .env("GOFLAGS", "")
        .status()
        .expect("the Go toolchain runs");
    assert!(status.success(), "go build {flags:?}");
    path.to_owned()
}

/// One test at a time: each subject keeps two cores busy.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running subject; it ends when its standard input closes.
pub(crate) struct Subject {
    pub(crate) child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Drop for Subject {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Subject {
    /// Starts it; with `lock` it also opens and closes files and starts processes.
    pub(crate) fn start(lock: Option<&Path>) -> Subject {
        Subject::spawn(Command::new(executable()).arg(MEGABYTES.to_string()).args(lock))
    }

    pub(crate) fn spawn(command: &mut Command) -> Subject {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let stdin = child.stdin.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut subject = Subject { child, stdin, stdout };
        assert_eq!(subject.line(), "ready\n");
        subject
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line
    }

    pub(crate) fn ask(&mut self, command: &str) -> String {
        writeln!(self.stdin, "{command}").unwrap();
        self.line()
    }

    pub(crate) fn report(&mut self) -> Figures {
        Figures(self.ask("report"))
    }

    /// It still works, was never wrong, and has what a fresh one has.
    pub(crate) fn check_undisturbed(&mut self, what: &str) -> Figures {
        let before = self.report().number("ticks");
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.report().number("ticks") < before + 10 {
            assert!(Instant::now() < deadline, "{what}: it does not run any more");
            std::thread::sleep(Duration::from_millis(20));
        }
        let pid = self.pid();
        for task in fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
            let Ok(status) = fs::read_to_string(task.unwrap().path().join("status")) else {
                continue;
            };
            assert!(status.contains("TracerPid:\t0\n"), "{what}: {status}");
            assert!(!status.contains("State:\tT") && !status.contains("State:\tt"), "{what}");
        }
        let figures = self.report();
        assert_eq!(figures.number("wrong"), 0, "{what}: see its messages");
        assert!(figures.number("checks") > 0 && figures.number("echoes") > 0, "{what}");
        figures
    }

    /// Until then not all descriptors are open that it keeps.
    pub(crate) fn wait_until_all_works(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let figures = self.report();
            if ["echoes", "execs"].iter().all(|key| figures.number(key) > 0) {
                return;
            }
            assert!(Instant::now() < deadline, "{}", figures.0);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// How many descriptors it has open once it rests.
    pub(crate) fn open_files(&mut self) -> usize {
        assert_eq!(self.ask("rest"), "resting\n");
        fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }
}

/// Just enough JSON to read flat numbers out of one line.
pub(crate) struct Figures(pub(crate) String);

impl Figures {
    pub(crate) fn number(&self, key: &str) -> u64 {
        let start = self.0.find(&format!("\"{key}\":")).unwrap_or_else(|| panic!("{}", self.0));
        let rest = &self.0[start + key.len() + 3..];
        rest[..rest.find([',', '}']).unwrap()].parse().unwrap()
    }
}

/// Processes whose parent is `pid`, with their state.
pub(crate) fn children(pid: u32) -> Vec<(u32, char)> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap() {
        let Some(child) = entry.unwrap().file_name().to_str().and_then(|n| n.parse().ok()) else {
            continue;
        };
        let stat = fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        let Some((_, rest)) = stat.rsplit_once(") ") else { continue };
        let fields: Vec<&str> = rest.split(' ').collect();
        if fields[1] == pid.to_string() {
            found.push((child, fields[0].chars().next().unwrap()));
        }
    }
    found
}

pub(crate) fn mix(index: u64) -> u64 {
    index.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1)
}

pub(crate) fn words<'a>(image: &MemoryImage<'a>, addr: u64, count: u64) -> Vec<u64> {
    let bytes = image.slice(Addr(addr), count * 8).expect("the range is in the image");
    bytes.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect()
}

/// What the program wrote once and never again.
pub(crate) fn check_contents(image: &MemoryImage<'_>, figures: &Figures) {
    let pattern = words(image, figures.number("pattern"), figures.number("pattern_len"));
    assert!(pattern.iter().enumerate().all(|(index, value)| *value == mix(index as u64)));
    let mut node = image.read_u64(Addr(figures.number("list_pointer"))).unwrap();
    assert_eq!(node, figures.number("list"));
    let count = figures.number("list_len");
    for index in (0..count).rev() {
        assert_eq!(image.read_u64(Addr(node + 8)).unwrap(), mix(index));
        node = image.read_u64(Addr(node)).unwrap();
    }
    assert_eq!(node, 0);
}

/// The object graph holds the list the program keeps, all of it. Only debug information
/// tells the types of small objects a global variable points to.
pub(crate) fn check_graph(graph: &model::HeapGraph<'_>, figures: &Figures, is_stripped: bool) {
    graph.check().unwrap();
    let nodes = (0..graph.len() as u32).map(model::heap::ObjectId);
    let is_node = |object: &model::heap::ObjectId| {
        graph.type_name(graph.type_of(*object)).ends_with("main.node")
    };
    let (named, expected) = (nodes.filter(is_node).count() as u64, figures.number("list_len"));
    assert!(graph.len() as u64 >= expected, "{}", graph.len());
    assert!(is_stripped || named == expected, "{named} instead of {expected}");
}
