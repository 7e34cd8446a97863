//! `kill -9` at any moment, a receiver that is away, a disk that is full.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::help::{OK, Server, quick, until};

/// The example program, running.
struct Running {
    child: Child,
    input: Option<ChildStdin>,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Running {
    fn start(mut command: Command) -> Running {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (lines, output) = (Arc::new(Mutex::new(Vec::new())), child.stdout.take().unwrap());
        let heard = Arc::clone(&lines);
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                heard.lock().unwrap().push(line);
            }
        });
        let input = child.stdin.take();
        let running = Running { child, input, lines };
        running.wait("ready");
        running
    }

    fn fire(&mut self, names: &[String]) {
        writeln!(self.input.as_mut().unwrap(), "{}", names.join(" ")).unwrap();
    }

    fn count(&self, text: &str) -> usize {
        self.lines.lock().unwrap().iter().filter(|line| line.starts_with(text)).count()
    }

    fn wait(&self, text: &str) {
        until(text, || (self.count(text) > 0).then_some(()));
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Ends it as TERM would. What waits for its next attempt stays on disk.
    fn drain(mut self) {
        self.input = None;
        self.wait("drained: ");
        self.child.wait().unwrap();
    }
}

/// The example, built beside this test.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.parent().unwrap().with_file_name("examples").join("notifier");
    let hint = "cargo build -p memsight-notify --example notifier";
    assert!(program.exists(), "{} is missing: {hint}", program.display());
    program
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(program());
    command.arg(folder.join("queue")).arg(folder.join("config.yml"));
    command
}

fn configure(folder: &Path, server: &Server) {
    let yaml = quick(&format!("webhook_configs: [{{url: '{}'}}]", server.url("/")));
    // There is no rate to be held to: the test itself is the storm.
    let yaml = yaml.replace("- name: team\n", "- name: team\n  rate_limit: {messages: 0}\n");
    std::fs::write(folder.join("config.yml"), yaml).unwrap();
}

fn names(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|number| format!("A{number}")).collect()
}

/// What the server took, by alert, in order; repetitions are one.
fn told(server: &Server) -> BTreeMap<String, Vec<bool>> {
    let mut all: BTreeMap<String, Vec<bool>> = BTreeMap::new();
    for request in server.requests().into_iter().filter(|request| request.status == OK.0) {
        for alert in request.json()["alerts"].as_array().unwrap() {
            let name = alert["labels"]["alertname"].as_str().unwrap().to_owned();
            let fires = alert["status"] == "firing";
            let states = all.entry(name).or_default();
            if states.last() != Some(&fires) {
                states.push(fires);
            }
        }
    }
    all
}

#[test]
fn what_waits_survives_kill_nine() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(("503 Away", "", ""));
    configure(folder.path(), &server);
    let mut running = Running::start(command(folder.path()));
    running.fire(&names(0..20));
    let waiting = || std::fs::read_dir(folder.path().join("queue/queue")).unwrap().flatten();
    until("files", || {
        (waiting().filter(|entry| entry.path().extension().is_none()).count() == 20).then_some(())
    });
    running.kill();
    server.answer(OK);
    // Nobody says again what fires: what was accepted is delivered all the same.
    let running = Running::start(command(folder.path()));
    until("all", || (told(&server).len() == 20).then_some(()));
    until("the files' end", || (waiting().count() == 0).then_some(()));
    running.drain();
}

#[test]
fn kill_nine_at_any_moment_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(OK);
    configure(folder.path(), &server);
    let mut random = 88_172_645_463_325_252_u64;
    for round in 0..25 {
        let mut running = Running::start(command(folder.path()));
        for _ in 0..3 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let first = u32::try_from(random % 10).unwrap();
            running.fire(&names(first..first + 5));
            server.answer(if round % 5 == 4 { ("500 Broken", "", "") } else { OK });
            std::thread::sleep(Duration::from_millis(random >> 32 & 127));
        }
        running.kill();
        assert_eq!(running.count("Damaged"), 0);
    }
    server.answer(OK);
    let mut running = Running::start(command(folder.path()));
    running.fire(&names(3..6));
    until("the last state", || {
        let told = told(&server);
        let is_right = |(name, states): (&String, &Vec<bool>)| {
            let fires = names(3..6).contains(name);
            states.last() == Some(&fires)
        };
        let are_there = names(3..6).iter().all(|name| told.contains_key(name));
        (are_there && told.iter().all(is_right)).then_some(())
    });
    running.drain();
    // An end may come without its beginning here: killed after an attempt that failed, we cannot
    // know that it did. The state machine's own tests have the rest.
}

#[test]
fn a_full_disk_is_reported_once_and_delivery_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(OK);
    configure(folder.path(), &server);
    std::fs::create_dir(folder.path().join("queue")).unwrap();
    let mut small = Command::new("unshare");
    small.args(["-rm", "sh", "-c", "mount -t tmpfs -o size=48k none \"$1\" && exec \"$0\" \"$@\""]);
    small.arg(program()).args(command(folder.path()).get_args());
    let can = Command::new("unshare").args(["-rm", "true"]).stderr(Stdio::null()).status();
    if !can.is_ok_and(|status| status.success()) {
        eprintln!("skipped: a full disk: no permission to mount one (unshare -rm)");
        return;
    }
    let mut running = Running::start(small);
    running.fire(&names(0..200));
    until("all", || (told(&server).len() == 200).then_some(()));
    running.wait("DiskFails");
    running.fire(&names(0..2));
    running.wait("DiskWorks");
    until("the end", || {
        let over = told(&server).values().filter(|states| states.last() == Some(&false)).count();
        (over == 198).then_some(())
    });
    assert!(running.count("DiskFails") <= 2, "{:?}", running.lines.lock().unwrap());
    running.drain();
}
