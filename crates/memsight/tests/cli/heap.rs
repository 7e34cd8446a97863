//! `memsight heap` on dumps of a real Java program, on their snapshots, and on a Go program.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::Value;

use crate::support::{fails, memsight, stdout};

/// Leaks orders into a map, dumps its own heap, leaks more, dumps it again.
const LEAK: &str = r#"
import java.lang.management.ManagementFactory;
import java.util.*;
import com.sun.management.HotSpotDiagnosticMXBean;
public class Leak {
    static final Map<String, Order> registry = new HashMap<>();
    static final List<byte[]> buffers = new ArrayList<>();
    static class Item { long price; Item(long p) { price = p; } }
    static class Order {
        final String id; final List<Item> items = new ArrayList<>();
        Order(String id) { this.id = id; for (int k = 0; k < 3; k++) items.add(new Item(k)); }
    }
    static void grow(int from, int to) {
        for (int i = from; i < to; i++) registry.put("order-" + i, new Order("equal".concat(" text")));
    }
    public static void main(String[] a) throws Exception {
        HotSpotDiagnosticMXBean bean =
            ManagementFactory.getPlatformMXBean(HotSpotDiagnosticMXBean.class);
        for (int i = 0; i < 16; i++) buffers.add(new byte[65536]);
        grow(0, 1000);
        bean.dumpHeap(a[0], true);
        grow(1000, 21000);
        bean.dumpHeap(a[1], true);
    }
}
"#;

/// Files of the Java program: dumps before and after, and snapshots of both.
struct Java {
    dumps: [String; 2],
    snapshots: [String; 2],
}

/// `None` without a JDK.
fn java() -> Option<&'static Java> {
    static JAVA: OnceLock<Option<Java>> = OnceLock::new();
    let java = JAVA.get_or_init(|| {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("heap-java");
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("Leak.java"), LEAK).unwrap();
        let javac = Command::new("javac").current_dir(&dir).arg("Leak.java").status();
        if !javac.is_ok_and(|status| status.success()) {
            return None;
        }
        let path = |name: &str| dir.join(name).display().to_string();
        let dumps = [path("before.hprof"), path("after.hprof")];
        let mut run = Command::new("java");
        run.current_dir(&dir).args(["-Xmx256m", "Leak"]).args(&dumps);
        assert!(run.status().unwrap().success());
        let snapshots = [path("before.heap"), path("after.heap")];
        for (dump, snapshot) in dumps.iter().zip(&snapshots) {
            stdout(&["heap", "snapshot", dump, "-o", snapshot]);
        }
        Some(Java { dumps, snapshots })
    });
    if java.is_none() {
        println!("skipped: no JDK (javac) on this machine");
    }
    java.as_ref()
}

fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&stdout(&[&["heap"], arguments].concat())).unwrap()
}

/// The row whose `key` is `name`.
fn row<'v>(rows: &'v Value, key: &str, name: &str) -> &'v Value {
    let rows = rows.as_array().unwrap();
    rows.iter().find(|row| row[key] == name).unwrap_or_else(|| panic!("no {name}: {rows:#?}"))
}

#[test]
fn dumps_and_their_snapshots_answer_alike() {
    let Some(java) = java() else { return };
    let (dump, snapshot) = (&java.dumps[0], &java.snapshots[0]);
    let packed = format!("{dump}.gz");
    let gzip = Command::new("gzip").args(["-kf", dump]).status().unwrap();
    assert!(gzip.success());
    let commands: [&[&str]; 6] = [
        &["summary", "--json"],
        &["histogram", "-n", "0", "--json"],
        &["roots", "-n", "0", "--json"],
        &["dominators", "--json"],
        &["leaks", "--json"],
        &["waste", "--json"],
    ];
    for command in commands {
        let of = |file: &str| json(&[&command[..1], &[file], &command[1..]].concat());
        let expected = of(dump);
        assert_eq!(of(snapshot), expected, "{command:?}");
        assert_eq!(of(&packed), expected, "{command:?}");
    }
    let summary = json(&["summary", snapshot, "--json"]);
    let live = summary["live_objects"].as_u64().unwrap();
    assert!(live > 8000 && summary["live_bytes"].as_u64().unwrap() > 1 << 20, "{summary:#}");
    assert!(summary["unreachable_objects"].is_u64() && summary["unreachable_bytes"].is_u64());
    assert!(stdout(&["heap", "verify", snapshot]).starts_with("checksums   right\ngraph "));
}

#[test]
fn objects_are_counted_and_roots_named() {
    let Some(java) = java() else { return };
    let heap = java.snapshots[0].as_str();
    let types = json(&["histogram", heap, "-n", "0", "--json"]);
    assert_eq!(row(&types, "type", "Leak$Order")["objects"], 1000);
    assert_eq!(row(&types, "type", "Leak$Item")["objects"], 3000);
    let orders = row(&types, "type", "Leak$Order");
    assert!(orders["retained_bytes"].as_u64() > orders["bytes"].as_u64(), "{orders}");
    let csv = stdout(&["heap", "histogram", heap, "--filter", r"^Leak\$", "--csv"]);
    assert!(csv.starts_with("type,objects,bytes,retained_bytes,retained_objects\n"), "{csv}");
    assert!(csv.contains("\nLeak$Order,1000,"), "{csv}");
    let roots = json(&["roots", heap, "-n", "0", "--json"]);
    let registry = row(&roots, "root", "Leak.registry");
    assert_eq!(registry["kind"], "global");
    // The map and its table, and of each entry the node, the key with its bytes, the order
    // with its id and its bytes, the list with its array, and three items; the program's own
    // texts are not all its own.
    assert!(registry["retained_objects"].as_u64().unwrap() > 10_000, "{registry}");
    let buffers = row(&roots, "root", "Leak.buffers");
    assert!(buffers["retained_bytes"].as_u64().unwrap() > 16 << 16, "{buffers}");
    let text = stdout(&["heap", "roots", heap, "-n", "3"]);
    assert!(text.contains("more (-n 0 shows all)"), "{text}");
    let tree = json(&["dominators", heap, "--under", "Leak.registry", "--depth", "2", "--json"]);
    assert_eq!(tree["root"], "Leak.registry");
    assert_eq!(tree["retained_bytes"], registry["retained_bytes"]);
    assert_eq!(tree["below"][0]["type"], "java.util.HashMap");
}

#[test]
fn why_names_the_path_from_the_root() {
    let Some(java) = java() else { return };
    let heap = java.snapshots[0].as_str();
    let many = json(&["why", heap, "Leak$Order", "--json"]);
    assert_eq!(many["object"], Value::Null);
    assert_eq!(many["objects"]["count"], 1000);
    let path = many["paths"][0].as_array().unwrap();
    assert_eq!(path.first().unwrap(), "Leak.registry");
    assert_eq!(path.get(1).unwrap(), "java.util.HashMap.table");
    assert_eq!(path.last().unwrap(), "Leak$Order");
    // One of them, by address, leads to the same root.
    let under = ["dominators", heap, "--under", "Leak.registry", "--depth", "9", "--min", "0"];
    let tree = json(&[&under[..], &["--json"]].concat());
    let mut at = &tree;
    while at["type"] != "Leak$Order" {
        let order = at["below"].as_array().unwrap().iter();
        at = order.max_by_key(|below| below["type"] == "Leak$Order").expect("an order below");
    }
    let address = at["address"].as_str().unwrap();
    let one = json(&["why", heap, address, "--json"]);
    assert_eq!(one["object"]["address"], address);
    assert_eq!(one["object"]["type"], "Leak$Order");
    assert_eq!(one["object"]["retained_bytes"], at["retained_bytes"]);
    assert_eq!(one["paths"][0][0], "Leak.registry");
    let text = stdout(&["heap", "why", heap, address]);
    assert!(text.starts_with(&format!("Leak$Order at {address}: ")), "{text}");
    assert!(text.contains("\n  Leak.registry (global)\n  -> java.util.HashMap.table\n"), "{text}");
    let id = format!("id:{}", one["object"]["id"]);
    assert_eq!(json(&["why", heap, &id, "--json"]), one);
}

#[test]
fn what_grew_is_found() {
    let Some(java) = java() else { return };
    let [before, after] = [java.snapshots[0].as_str(), java.snapshots[1].as_str()];
    let diff = json(&["diff", before, after, "-n", "0", "--json"]);
    let orders = row(&diff["types"], "type", "Leak$Order");
    assert_eq!(orders["before"]["objects"], 1000);
    assert_eq!(orders["after"]["objects"], 21000);
    let text = stdout(&["heap", "diff", before, after, "--by", "root"]);
    assert!(text.lines().nth(3).unwrap().ends_with("Leak.registry"), "{text}");
    let leaks = json(&["leaks", after, "--base", before, "--json"]);
    let growth = leaks["growth"]["paths"].as_array().unwrap();
    assert!(growth.iter().all(|path| path["path"][0] == "Leak.registry (global)"), "{growth:#?}");
    assert_eq!(leaks["suspects"][0]["name"], "Leak.registry (global)");
    let check = memsight(&["heap", "leaks", after, "--check"]);
    assert_eq!(check.status.code(), Some(1));
    let waste = json(&["waste", after, "-n", "0", "--json"]);
    let texts = row(&waste["kinds"], "kind", "duplicate-strings");
    // 21,000 equal texts, of which one is enough.
    assert!(texts["objects"].as_u64().unwrap() >= 20_999, "{texts}");
    assert!(stdout(&["heap", "waste", after, "--csv"]).starts_with("kind,where,wasted_bytes,"));
}

#[test]
fn queries_are_answered() {
    let Some(java) = java() else { return };
    let heap = java.snapshots[0].as_str();
    let text = r#"select count(*), sum(bytes) from objects where type = "Leak$Order""#;
    let answer = json(&["query", heap, text, "--json"]);
    assert_eq!(answer["columns"][0], "count(*)");
    assert_eq!(answer["rows"][0][0], 1000);
    let csv = stdout(&["heap", "query", heap, text, "--csv"]);
    assert!(csv.contains("\n1000,"), "{csv}");
    let errors = fails(&["heap", "query", heap, "select adress from objects"], 2);
    assert!(errors.contains("did you mean `address`?"), "{errors}");
}

#[test]
fn other_tools_read_what_is_exported() {
    let Some(java) = java() else { return };
    let heap = java.snapshots[0].as_str();
    let dir = tempfile::tempdir().unwrap();
    let profile = dir.path().join("retained.pb.gz").display().to_string();
    stdout(&["heap", "export", heap, "--to", "pprof", "-o", &profile]);
    let mut go = Command::new("go");
    let top = go.args(["tool", "pprof", "-sample_index=inuse_objects", "-traces", &profile]);
    let top = top.output().expect("go is installed");
    let traces = String::from_utf8(top.stdout).unwrap();
    assert!(traces.contains("Leak$Item") && traces.contains("Leak.registry (global)"), "{traces}");
    let top = Command::new("go").args(["tool", "pprof", "-top", "-unit=B", &profile]).output();
    let top = String::from_utf8(top.unwrap().stdout).unwrap();
    let live = json(&["summary", heap, "--json"])["live_bytes"].to_string();
    assert!(top.contains(&format!("of {live}B total")), "{top}");
    let lines = stdout(&["heap", "export", heap, "--to", "json"]);
    let objects = lines.lines().filter(|line| line.starts_with("{\"object\":")).count();
    let verified = json(&["verify", heap, "--json"]);
    assert_eq!(verified["objects"], objects);
    // What is exported as HPROF and read again holds as much, and more where pointers need
    // arrays of their own.
    let hprof = dir.path().join("again.hprof").display().to_string();
    stdout(&["heap", "export", heap, "--to", "hprof", "-o", &hprof]);
    let again = json(&["histogram", &hprof, "-n", "0", "--json"]);
    assert_eq!(row(&again, "type", "Leak$Order")["objects"], 1000);
    let around = ["heap", "export", heap, "--to", "dot", "--around", "id:0", "--depth", "2"];
    assert!(stdout(&around).starts_with("digraph heap {\n"));
}

#[test]
fn wrong_files_and_names() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (fixture, text) = ("../../fixtures/heapfile/v1-go.heap", path("notes.txt"));
    std::fs::write(&text, "not a heap").unwrap();
    assert!(fails(&["heap", "summary", &text], 2).contains("not a heap file"));
    assert!(fails(&["heap", "summary", "no-such.heap"], 2).contains("no such file"));
    assert!(fails(&["heap", "summary", "http://127.0.0.1:1"], 2).contains("PID or name:REGEX"));
    let whole = std::fs::read(fixture).unwrap();
    let cut = path("cut.heap");
    std::fs::write(&cut, &whole[..whole.len() - 100]).unwrap();
    assert!(fails(&["heap", "summary", &cut], 2).contains("truncated"));
    let damaged = path("damaged.heap");
    let mut bytes = whole.clone();
    bytes[32] ^= 1;
    std::fs::write(&damaged, bytes).unwrap();
    assert!(fails(&["heap", "verify", &damaged], 2).contains("checksum"));
    let errors = fails(&["heap", "why", fixture, "main.Ordr"], 2);
    assert!(errors.contains("similar names: main.Order"), "{errors}");
    assert!(fails(&["heap", "why", fixture, "0x10"], 2).contains("no object lies at 0x10"));
    assert!(fails(&["heap", "why", fixture, "id:6"], 2).contains("the heap has 6"));
    let errors = fails(&["heap", "dominators", fixture, "--under", "main.cash"], 2);
    assert!(errors.contains("main.cache"), "{errors}");
    assert!(fails(&["heap", "dominators", fixture, "--under", "id:5"], 2).contains("no root"));
    let nowhere = path("no/such/folder.heap");
    assert!(fails(&["heap", "snapshot", fixture, "-o", &nowhere], 2).contains("folder.heap"));
    assert!(stdout(&["heap", "why", fixture, "main.Order"]).starts_with("3 main.Order: "));
    assert!(stdout(&["heap", "why", "--help"]).contains("memsight heap why shop.heap"));
}

#[test]
fn contents_are_passed_on_only_when_asked() {
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("copy.heap");
    let name = copy.display().to_string();
    let holds_text = |more: &[&str]| {
        let fixture = "../../fixtures/heapfile/v1-go.heap";
        stdout(&[&["heap", "snapshot", fixture, "-o", &name], more].concat());
        let bytes = std::fs::read(&copy).unwrap();
        bytes.windows(11).any(|window| window == b"hello world")
    };
    assert!(!holds_text(&[]));
    assert!(holds_text(&["--contents", "all"]));
}

/// The program of planted structures, built once.
fn planted() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/planted");
        let binary = Path::new(env!("CARGO_TARGET_TMPDIR")).join("planted");
        let mut go = Command::new("go");
        let status = go.current_dir(source).args(["build", "-o"]).arg(&binary).arg(".").status();
        assert!(status.expect("go is installed").success(), "tests/planted does not build");
        binary
    })
}

/// A running one; it ends when its standard input closes.
struct Planted {
    child: Child,
    _stdin: ChildStdin,
    /// What was planted, as it says itself.
    plantings: Value,
    figures: Value,
}

impl Planted {
    fn start(arguments: &[&str]) -> Planted {
        let mut command = Command::new(planted());
        let mut child =
            command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let stdin = child.stdin.take().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut next = || serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        let (plantings, figures) = (next(), next());
        Planted { child, _stdin: stdin, plantings, figures }
    }

    fn pid(&self) -> String {
        self.child.id().to_string()
    }
}

impl Drop for Planted {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Takes a snapshot of a running program; `false` where tracing is not permitted.
fn take(pid: &str, file: &str, more: &[&str]) -> bool {
    let output = memsight(&[&["heap", "snapshot", pid, "-o", file], more].concat());
    let errors = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(3) {
        println!("skipped: {errors}");
        return false;
    }
    assert!(output.status.success(), "{errors}");
    let says = if more.contains(&"--no-fork") { "while it ran" } else { " stood still for " };
    assert!(errors.contains(says), "{errors}");
    true
}

#[test]
fn a_running_program_is_taken_and_asked() {
    let program = Planted::start(&[]);
    let dir = tempfile::tempdir().unwrap();
    for more in [&[][..], &["--stop"], &["--no-fork"]] {
        let file = dir.path().join("planted.heap").display().to_string();
        if !take(&program.pid(), &file, more) {
            return;
        }
        let summary = json(&["summary", &file, "--json"]);
        let live = summary["live_bytes"].as_f64().unwrap();
        let counted = program.figures["heap_alloc"].as_f64().unwrap();
        assert!((live / counted - 1.0).abs() < 0.01, "{more:?}: {live} of {counted}");
        let roots = json(&["roots", &file, "-n", "0", "--json"]);
        let planted = row(&program.plantings, "root", "main.bigMap")["bytes"].as_f64().unwrap();
        let found = row(&roots, "root", "main.bigMap")["retained_bytes"].as_f64().unwrap();
        assert!((found / planted - 1.0).abs() < 0.01, "{more:?}: {found} of {planted}");
        let why = json(&["why", &file, "main.bulky", "--json"]);
        assert_eq!(why["paths"][0][0], "main.bulkyMap", "{why:#}");
        let last = why["paths"][0].as_array().unwrap().last().unwrap().clone();
        assert_eq!(last, "main.bulky");
    }
    // Without a file in between.
    assert!(stdout(&["heap", "histogram", &program.pid()]).contains("main.item"));
}

#[test]
fn a_heap_dump_of_the_runtime_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let dump = dir.path().join("planted.dump").display().to_string();
    let program = Planted::start(&["-dump", &dump]);
    let summary = json(&["summary", &dump, "--json"]);
    let live = summary["live_bytes"].as_f64().unwrap();
    let counted = program.figures["heap_alloc"].as_f64().unwrap();
    // The format lacks cleanups and weak handles, and what only they hold.
    assert!((live / counted - 1.0).abs() < 0.02, "{live} of {counted}");
}

/// gdb leaves mappings that nobody can write out of its cores: the function table and the types
/// then come from the executable.
#[test]
fn a_core_of_gdb_is_read() {
    let program = Planted::start(&[]);
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().join("core").display().to_string();
    let mut gcore = Command::new("gcore");
    gcore.args(["-o", &base, &program.pid()]).stdout(Stdio::null()).stderr(Stdio::null());
    let core = format!("{base}.{}", program.pid());
    if !gcore.status().is_ok_and(|status| status.success()) || !Path::new(&core).exists() {
        println!("skipped: no gcore (gdb) on this machine, or it may not trace");
        return;
    }
    let summary = json(&["summary", &core, "--json"]);
    let live = summary["live_bytes"].as_f64().unwrap();
    let counted = program.figures["heap_alloc"].as_f64().unwrap();
    assert!((live / counted - 1.0).abs() < 0.01, "{live} of {counted}: {summary:#}");
    let why = json(&["why", &core, "main.bulky", "--json"]);
    assert_eq!(why["paths"][0][0], "main.bulkyMap", "{why:#}");
    // With the executable by name, through the kind of source that takes one.
    let named = format!("core:{core}@{}", planted().display());
    assert_eq!(json(&["summary", &named, "--json"])["live_bytes"], summary["live_bytes"]);
}

#[test]
fn a_program_that_ends_meanwhile_leaves_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("gone.heap");
    for millis in [0, 5, 20, 60, 150] {
        let mut program = Planted::start(&[]);
        let pid = program.pid();
        let name = file.display().to_string();
        let run = std::thread::spawn(move || memsight(&["heap", "snapshot", &pid, "-o", &name]));
        std::thread::sleep(Duration::from_millis(millis));
        program.child.kill().unwrap();
        program.child.wait().unwrap();
        let output = run.join().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!errors.contains("panicked"), "{errors}");
        match output.status.code() {
            Some(0) => std::fs::remove_file(&file).unwrap(),
            // It was gone before, in between, or we may not trace.
            Some(2..=4) => assert!(!file.exists(), "{errors}"),
            code => panic!("{code:?}: {errors}"),
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "{errors}");
    }
}

#[test]
fn without_permission_the_missing_capability_is_named() {
    let is_root = std::fs::read_to_string("/proc/self/status").unwrap().contains("Uid:\t0\t0");
    if !is_root {
        println!("skipped: changing the user needs root");
        return;
    }
    let program = Planted::start(&[]);
    // Somewhere the other user may read it.
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let copy = dir.path().join("memsight");
    std::fs::copy(env!("CARGO_BIN_EXE_memsight"), &copy).unwrap();
    std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    let mut command = Command::new(&copy);
    command.args(["heap", "summary", &program.pid()]).uid(65534).gid(65534);
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{errors}");
    assert!(errors.contains("CAP_SYS_PTRACE"), "{errors}");
}
