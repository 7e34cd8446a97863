//! Actions of rules on a real service.

#[path = "../../../fixtures/toolchains.rs"]
mod toolchains;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use agent::actions::{Outcome, Output, Request, run};
use agent::captures::Captures;
use agent::rules::{Action, Take};
use capture::LiveTarget;
use model::{CaptureKind, LabelValue, TargetId, TargetSpec};
use store::{Options, Store};
use toolchains::toolchains;

/// A running service; it ends when its standard input closes.
struct Service {
    child: Child,
    _stdin: ChildStdin,
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start(go: &Path, dir: &Path) -> Service {
    let out = dir.join("service");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/service");
    let mut build = Command::new(go);
    build.args(["build", "-o"]).arg(&out).arg(".").current_dir(source);
    build.env("GOFLAGS", "").env("GOTOOLCHAIN", "local");
    assert!(build.status().expect("the Go toolchain runs").success());
    let mut child =
        Command::new(&out).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    let stdin = child.stdin.take().unwrap();
    Service { child, _stdin: stdin }
}

/// A store, and a service that is read.
struct Bench {
    captures: Captures,
    live: LiveTarget,
    target: TargetId,
    stop: AtomicBool,
}

impl Bench {
    fn new(service: &Service, dir: &Path) -> Bench {
        let store = Arc::new(Store::open(&dir.join("store"), Options::default()).unwrap());
        let live = LiveTarget::attach(&TargetSpec::Pid(service.child.id())).unwrap();
        let target = store.put_target(live.target(), capture::now()).unwrap();
        let captures = Captures::new(store, Arc::new(|_| {}), 0.02);
        Bench { captures, live, target, stop: AtomicBool::new(false) }
    }

    fn run(&self, actions: &[Action]) -> (Vec<Outcome>, Vec<Output>) {
        let request = Request {
            rule: "near-limit",
            target: self.target,
            live: &self.live,
            value: Some(91.5),
            reason: "91.5 % of the limit",
            is_urgent: false,
            stop: &self.stop,
            glimpse: None,
        };
        run(&self.captures, &request, actions, &mut |action, outputs| match action {
            Action::Notify { receiver, .. } if receiver == "nobody" => {
                Err("no such one".to_owned())
            }
            _ => {
                assert!(!outputs.is_empty());
                Ok(())
            }
        })
    }
}

fn capture_of(kinds: &[CaptureKind], name: Option<&str>) -> Action {
    let kinds = kinds.iter().copied().map(Take::Kind).collect();
    Action::Capture { kinds, name: name.map(str::to_owned) }
}

fn notify(receiver: &str) -> Action {
    let [receiver, summary, description] = [receiver, "", ""].map(str::to_owned);
    Action::Notify { receiver, summary, description }
}

#[test]
fn actions_are_done_in_order_and_know_earlier_captures() {
    let dir = tempfile::tempdir().unwrap();
    let service = start(Path::new("go"), dir.path());
    let bench = Bench::new(&service, dir.path());
    let argv = [
        "/bin/sh",
        "-c",
        "test -s \"$0\" && cp \"$0\" \"$1\" && echo $2 $3 $4 >> \"$1.txt\"",
        "$(captures.before.path)",
        &dir.path().join("copy").display().to_string(),
        "$(target.pid)",
        "$(rule.name)",
        "$(value)",
    ];
    let exec = Action::Exec { argv: argv.map(str::to_owned).to_vec(), timeout: 30_000 };
    let every = [
        CaptureKind::Heap,
        CaptureKind::Goroutine,
        CaptureKind::Graph,
        CaptureKind::Runtime,
        CaptureKind::Rss,
    ];
    let pair = Action::Pair { kind: Take::Kind(CaptureKind::Heap), gcs_apart: 2, name: None };
    let actions = [
        capture_of(&every, Some("before")),
        exec.clone(),
        notify("nobody"),
        notify("somebody"),
        pair,
        Action::Capture { kinds: vec![Take::Lasting(CaptureKind::Trace, 500)], name: None },
    ];
    let (outcomes, outputs) = bench.run(&actions);
    let [captured, executed, failed, told, paired, traced] = outcomes.as_slice() else {
        panic!("{outcomes:?}");
    };
    assert!(matches!(captured, Outcome::Done(ids) if ids.len() == 5), "{captured:?}");
    assert_eq!(*executed, Outcome::Done(Vec::new()));
    assert_eq!(*failed, Outcome::Failed("no such one".to_owned()));
    assert_eq!(*told, Outcome::Done(Vec::new()));
    assert!(matches!(paired, Outcome::Done(ids) if ids.len() == 2), "{paired:?}");
    assert!(matches!(traced, Outcome::Done(ids) if ids.len() == 1), "{traced:?}");
    let names: Vec<&str> = outputs.iter().map(|output| output.name.as_str()).collect();
    let expected = [
        "before.heap",
        "before",
        "before.goroutine",
        "before.graph",
        "before.runtime",
        "before.rss",
        "heap.base",
        "heap",
        "trace",
    ];
    assert_eq!(names, expected);
    // The program had the file itself, and its arguments as they were.
    let copy = std::fs::read(dir.path().join("copy")).unwrap();
    assert_eq!(bench.captures.store.read_capture(outputs[0].capture.id).unwrap(), copy);
    let said = std::fs::read_to_string(dir.path().join("copy.txt")).unwrap();
    assert_eq!(said, format!("{} near-limit 91.5\n", service.child.id()));
    // Between the two of the pair the program kept at least one block more.
    let in_use = |index: usize| {
        let bytes = bench.captures.store.read_capture(outputs[index].capture.id).unwrap();
        let profile = decode::pprof::read(&bytes).unwrap().profile;
        profile.samples.values[3].iter().sum::<i64>()
    };
    assert!(in_use(7) > in_use(6), "{} {}", in_use(6), in_use(7));
    assert!(outputs.iter().all(|output| output.capture.reason == "near-limit"));
    assert!(bench.captures.cpu.spent().as_micros() > 0);
    assert!(bench.captures.store.trigger_bytes().unwrap() > 0);
}

/// Sampled objects from birth to death, of a rule's length.
#[test]
fn a_probe_is_a_capture_where_it_is_permitted() {
    let dir = tempfile::tempdir().unwrap();
    let service = start(Path::new("go"), dir.path());
    let bench = Bench::new(&service, dir.path());
    let kinds = vec![Take::Lasting(CaptureKind::Alloc, 2500)];
    let (outcomes, outputs) = bench.run(&[Action::Capture { kinds, name: None }]);
    if let [Outcome::Failed(why)] = outcomes.as_slice()
        && why.contains("not permitted")
    {
        println!("skipped: {why}");
        return;
    }
    assert!(matches!(outcomes.as_slice(), [Outcome::Done(ids)] if ids.len() == 1), "{outcomes:?}");
    let bytes = bench.captures.store.read_capture(outputs[0].capture.id).unwrap();
    let profile = decode::pprof::read(&bytes).unwrap().profile;
    // One block of 1 MiB each half a second, each a sample, and all of them live.
    let column = |name| {
        let column = profile.column(name).unwrap();
        let rows = profile.samples.ids().filter(|id| {
            let mut names =
                profile.lines(*id).map(|line| profile.functions[line.function.0 as usize]);
            names.any(|function| profile.str(function.name).starts_with("main.main.func"))
        });
        rows.map(|id| profile.samples.row(id).nth(column).unwrap()).sum::<i64>()
    };
    let (allocated, in_use) = (column("alloc_space"), column("inuse_space"));
    assert!(
        (2 << 20..=7 << 20).contains(&allocated) && in_use == allocated,
        "{allocated} {in_use}"
    );
    assert_eq!(profile.period, 512 << 10);
}

/// Who touches memory for the first time and who maps it, of a rule's length.
#[test]
fn faults_and_mappings_are_captures_where_they_are_permitted() {
    let dir = tempfile::tempdir().unwrap();
    let service = start(Path::new("go"), dir.path());
    let bench = Bench::new(&service, dir.path());
    let kinds = [CaptureKind::Faults, CaptureKind::Mmap];
    let kinds = kinds.map(|kind| Take::Lasting(kind, 4000)).to_vec();
    let before = minor_faults(&service);
    let (outcomes, outputs) = bench.run(&[Action::Capture { kinds, name: None }]);
    if let [Outcome::Failed(why)] = outcomes.as_slice()
        && why.contains("not permitted")
    {
        println!("skipped: {why}");
        return;
    }
    let all = minor_faults(&service) - before;
    assert!(matches!(outcomes.as_slice(), [Outcome::Done(ids)] if ids.len() == 2), "{outcomes:?}");
    let read = |index: usize| {
        let bytes = bench.captures.store.read_capture(outputs[index].capture.id).unwrap();
        decode::pprof::read(&bytes).unwrap().profile
    };
    let faults = read(0);
    let of_heap = faults.samples.ids().filter(|id| {
        faults.samples.labels(*id).iter().any(|label| match label.value {
            LabelValue::Str(text) => faults.str(text) == "Go heap",
            LabelValue::Num(..) => false,
        })
    });
    let touched: i64 = of_heap.map(|id| faults.samples.row(id).next().unwrap()).sum();
    // One block of 1 MiB each half a second is new memory most of the time: of 256 pages, or of huge ones.
    assert!((1..=all).contains(&touched), "{touched} of {all}");
    assert!(faults.duration_nanos >= 4_000_000_000, "{}", faults.duration_nanos);
    // Whether the heap needs another arena meanwhile is chance.
    let mapped = read(1);
    let types: Vec<&str> = mapped.sample_types.iter().map(|of| mapped.str(of.kind)).collect();
    assert_eq!(types, ["mapped", "unmapped", "given_back", "net"]);
}

/// What the kernel counted.
fn minor_faults(service: &Service) -> i64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", service.child.id())).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    fields.split(' ').nth(7).unwrap().parse().unwrap()
}

#[test]
fn leaked_goroutines_are_asked_of_releases_that_know_them() {
    let dir = tempfile::tempdir().unwrap();
    for (name, go) in toolchains() {
        let service = start(&go, dir.path());
        let place = dir.path().join(&name);
        std::fs::create_dir(&place).unwrap();
        let bench = Bench::new(&service, &place);
        let LiveTarget::Process(process) = &bench.live else { panic!("a process") };
        let minor = process.binary().version.minor;
        let (outcomes, outputs) = bench.run(&[capture_of(&[CaptureKind::GoroutineLeak], None)]);
        if minor >= 27 {
            let bytes = bench.captures.store.read_capture(outputs[0].capture.id).unwrap();
            let profile = decode::pprof::read(&bytes).unwrap().profile;
            let leaked: i64 = profile.samples.values[0].iter().sum();
            assert_eq!(leaked, 3, "{name}");
        } else {
            let [Outcome::Refused(why)] = outcomes.as_slice() else { panic!("{outcomes:?}") };
            assert!(why.contains("needs Go 1.27"), "{name}: {why}");
        }
        println!("{name}: {outcomes:?}");
    }
}

#[test]
fn what_has_ended_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut service = start(Path::new("go"), dir.path());
    let bench = Bench::new(&service, dir.path());
    service.child.kill().unwrap();
    service.child.wait().unwrap();
    let pair = Action::Pair { kind: Take::Kind(CaptureKind::Heap), gcs_apart: 1, name: None };
    let (outcomes, outputs) =
        bench.run(&[capture_of(&[CaptureKind::Heap, CaptureKind::Rss], None), pair]);
    assert!(outputs.is_empty());
    for outcome in &outcomes {
        assert!(
            matches!(outcome, Outcome::Failed(why) if why.contains("has ended")),
            "{outcome:?}"
        );
    }
}
