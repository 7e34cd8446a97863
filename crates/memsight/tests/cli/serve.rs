//! `memsight serve` as a process: what it acknowledged survives kill -9.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use model::{CaptureId, CaptureKind};
use store::{Options, Store};

use crate::support::{Process, fails, leaking_shop, shop, stdout};

/// Starts a server on a free port; the address it prints.
fn serve(store: &Path, more: &[&str]) -> (Process, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_memsight"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--store"]).arg(store).args(more);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let address = lines
        .find_map(|line| {
            let line = line.ok()?;
            line.split_once("http://")?.1.split(',').next().map(str::to_owned)
        })
        .expect("the server prints its address");
    std::thread::spawn(move || lines.for_each(drop));
    (Process(child), address)
}

fn get(address: &str, path: &str, headers: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

/// Ids of captures whose events arrive until `end`.
fn acknowledged(address: &str, end: Instant) -> Vec<i64> {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = "GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let (mut text, mut buffer) = (Vec::new(), [0; 4096]);
    while Instant::now() < end {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => text.extend_from_slice(&buffer[..count]),
            Err(_) => {}
        }
    }
    let text = String::from_utf8_lossy(&text).into_owned();
    let number = |part: &str| {
        let digits: String = part.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    };
    text.split("\"capture\":").skip(1).filter_map(number).collect()
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let (shop, _) = shop();
    let (mut ids, mut kinds) = (Vec::new(), BTreeSet::new());
    for round in 0..20_u64 {
        let (mut server, address) = serve(dir.path(), &["--pid", &shop.pid(), "--every", "100ms"]);
        // Different moments of the schedule, from just started to well under way.
        let life = Duration::from_millis(300 + round * 397 % 1500);
        ids.extend(acknowledged(&address, Instant::now() + life));
        server.0.kill().unwrap();
        server.0.wait().unwrap();
    }
    assert!(ids.len() > 20, "only {} captures were acknowledged", ids.len());
    let store = Store::open(dir.path(), Options::default()).unwrap();
    assert!(store.warnings().is_empty(), "{:?}", store.warnings());
    for id in &ids {
        let bytes = store.read_capture(CaptureId(*id)).unwrap();
        let kind = store.capture(CaptureId(*id)).unwrap().kind;
        match kind {
            CaptureKind::Runtime => drop(decode::records::read_metrics(&bytes).unwrap()),
            CaptureKind::Rss => drop(decode::records::read_rss(&bytes).unwrap()),
            _ => drop(decode::pprof::read(&bytes).unwrap()),
        }
        kinds.insert(kind);
    }
    assert_eq!(kinds.len(), 4, "{kinds:?}");
    assert_eq!(store.targets().unwrap().len(), 1, "one process is one target");
    println!("{} captures acknowledged and found", ids.len());
}

#[test]
fn what_serve_stored_can_be_judged_later() {
    let dir = tempfile::tempdir().unwrap();
    let (shop, _) = shop();
    let (mut server, address) = serve(dir.path(), &["--pid", &shop.pid(), "--every", "500ms"]);
    acknowledged(&address, Instant::now() + Duration::from_secs(25));
    server.0.kill().unwrap();
    server.0.wait().unwrap();
    let store = dir.path().display().to_string();
    let text = stdout(&["diagnose", "shop", "--store", &store]);
    assert!(text.contains("shop/session.(*Registry).Track"), "{text}");
    let errors = fails(&["diagnose", "bakery", "--store", &store], 2);
    assert!(errors.contains("it has shop"), "{errors}");
    assert!(fails(&["diagnose", "shop", "--store", "/nowhere"], 2).contains("--store"));
}

#[test]
fn what_was_read_from_a_process_shows_source_and_code() {
    let dir = tempfile::tempdir().unwrap();
    let (shop, _) = leaking_shop();
    let (_server, address) = serve(dir.path(), &["--pid", &shop.pid(), "--every", "100ms"]);
    let ids = acknowledged(&address, Instant::now() + Duration::from_secs(2));
    let id = ids.first().unwrap();
    let ask = |path: &str| -> serde_json::Value {
        let url = format!("http://{address}/api/v1/captures/{id}/{path}&sample=alloc_space");
        let text = ureq::get(url).call().unwrap().body_mut().read_to_string().unwrap();
        serde_json::from_str(&text).unwrap()
    };
    let disasm = ask("disasm?function=Registry.*Track");
    let code = disasm["symbols"][0]["instructions"].as_array().expect("code");
    let with_value = code.iter().filter(|instruction| instruction["flat"] != 0);
    let texts: Vec<&str> = with_value.filter_map(|found| found["text"].as_str()).collect();
    assert!(!texts.is_empty(), "{disasm}");
    // Memory is allocated by calls, not by what follows them.
    assert!(texts.iter().all(|text| text.starts_with("CALL runtime.")), "{texts:?}");
    let source = ask("source?function=Registry.*Track&asm=1").to_string();
    assert!(source.contains("CALL runtime.") && source.contains("session.go"), "{source}");
}

#[test]
fn strangers_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (_server, address) = serve(&dir.path().join("open"), &["--all-go"]);
    let status = |headers: &str| get(&address, "/api/v1/status", headers)[9..12].to_owned();
    assert_eq!(status("Host: localhost\r\n"), "200");
    assert_eq!(status(&format!("Host: {address}\r\n")), "200");
    assert_eq!(status("Host: evil.example\r\n"), "403");
    let closed = dir.path().join("closed");
    let (_server, address) = serve(&closed, &["--all-go", "--token", "secret"]);
    let get = |headers: &str| get(&address, "/api/v1/status", headers)[9..12].to_owned();
    assert_eq!(get("Host: localhost\r\n"), "401");
    assert_eq!(get("Host: localhost\r\nAuthorization: Bearer wrong\r\n"), "401");
    assert_eq!(get("Host: elsewhere\r\nAuthorization: Bearer secret\r\n"), "200");
    assert_eq!(get("Host: elsewhere\r\nCookie: a=b; memsight_token=secret\r\n"), "200");
}

#[test]
fn it_says_why_it_cannot_start() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().display().to_string();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let start = |more: &[&str], code| fails(&[&["serve", "--store", &store], more].concat(), code);
    assert!(start(&["--all-go", "--listen", &listen], 2).contains("--listen 127.0.0.1:PORT"));
    assert!(start(&["--all-go", "--listen", "0.0.0.0:0"], 2).contains("token"));
    assert!(start(&[], 2).contains("--all-go"));
    assert!(start(&["--pid", "4000000"], 2).contains("there is no process"));
    let _owner = Store::open(dir.path(), Options::default()).unwrap();
    assert!(start(&["--all-go", "--listen", "127.0.0.1:0"], 2).contains("is in use by process"));
}

#[test]
fn a_target_that_does_not_answer_holds_up_nobody() {
    let dir = tempfile::tempdir().unwrap();
    // Accepts connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let (shop, _) = shop();
    let more = ["--pid", &shop.pid(), "--url", &url, "--every", "200ms"];
    let (_server, address) = serve(dir.path(), &more);
    let ids = acknowledged(&address, Instant::now() + Duration::from_secs(3));
    assert!(ids.len() >= 3, "{ids:?}");
}

/// Unmounts when dropped, also when the test fails.
struct Mounted<'a>(&'a Path);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0).status();
    }
}

#[test]
fn a_full_disk_loses_nothing_that_was_stored() {
    let dir = tempfile::tempdir().unwrap();
    let mount = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1m", "none"])
        .arg(dir.path())
        .stderr(Stdio::null())
        .status();
    if !mount.is_ok_and(|status| status.success()) {
        println!("skipped: no permission to mount a small file system");
        return;
    }
    let _mounted = Mounted(dir.path());
    let (shop, _) = shop();
    let (mut server, address) = serve(dir.path(), &["--pid", &shop.pid(), "--every", "50ms"]);
    let mut ids = acknowledged(&address, Instant::now() + Duration::from_secs(2));
    std::fs::write(dir.path().join("ballast"), vec![0; 1 << 20]).unwrap_err();
    ids.extend(acknowledged(&address, Instant::now() + Duration::from_secs(2)));
    assert!(server.0.try_wait().unwrap().is_none(), "the server goes on");
    assert!(get(&address, "/api/v1/targets", "Host: localhost\r\n").contains("\"shop\""));
    drop(server);
    std::fs::remove_file(dir.path().join("ballast")).unwrap();
    let store = Store::open(dir.path(), Options::default()).unwrap();
    for id in &ids {
        store.read_capture(CaptureId(*id)).unwrap();
    }
    assert!(!ids.is_empty());
}
