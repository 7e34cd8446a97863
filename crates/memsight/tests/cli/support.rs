//! Building and running the example shop, running memsight.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

pub(crate) use crate::receivers::peer;

/// A child that is killed when dropped.
pub(crate) struct Process(pub Child);

impl Process {
    pub(crate) fn pid(&self) -> String {
        self.0.id().to_string()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The shop, built once.
pub(crate) fn shop_binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/shop");
        let binary = Path::new(env!("CARGO_TARGET_TMPDIR")).join("shop");
        let mut go = Command::new("go");
        let status = go.current_dir(source).args(["build", "-o"]).arg(&binary).arg(".").status();
        assert!(status.expect("go is installed").success(), "examples/shop does not build");
        binary
    })
}

/// A running shop and the address it serves.
pub(crate) fn shop() -> (Process, String) {
    let mut child = Command::new(shop_binary()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("shop on ").unwrap().to_owned();
    (Process(child), address)
}

/// A running shop in whose heap profile the leak shows, and the address it serves.
pub(crate) fn leaking_shop() -> (Process, String) {
    let (shop, address) = shop();
    wait_for_the_leak(&shop.pid());
    (shop, address)
}

/// Waits until the shop's leak is in its heap profile: which functions are there is chance, and more
/// are with time.
pub(crate) fn wait_for_the_leak(pid: &str) {
    let seen = (0..60).any(|_| {
        std::thread::sleep(Duration::from_secs(1));
        stdout(&["top", pid, "-n", "0"]).contains("shop/session.(*Registry).Track")
    });
    assert!(seen, "a minute without a sample of what leaks");
}

/// Runs memsight to its end.
pub(crate) fn memsight(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_memsight")).args(arguments).output().unwrap()
}

/// Runs memsight, which must succeed; its standard output.
pub(crate) fn stdout(arguments: &[&str]) -> String {
    let output = memsight(arguments);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs memsight, which must fail with this exit code; its standard error.
pub(crate) fn fails(arguments: &[&str], code: i32) -> String {
    let output = memsight(arguments);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {errors}");
    assert!(!errors.contains("panicked"), "{errors}");
    errors
}

/// Runs a program with this standard input; its standard output.
pub(crate) fn piped(program: &str, arguments: &[&str], input: &str) -> String {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}

/// Answers a request, given path and body: what it is answered with, or a status.
type Handler = dyn Fn(&str, &str) -> Result<Vec<u8>, u16> + Send + Sync;

/// A server on a port of its own, for as long as the test runs; the paths it was asked for.
pub(crate) fn server(handler: Box<Handler>) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            if let Ok(path) = answer(stream, &*handler) {
                log.lock().unwrap().push(path);
            }
        }
    });
    (address, asked)
}

/// A client may be killed at any time.
fn answer(mut stream: TcpStream, handler: &Handler) -> std::io::Result<String> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or("").to_owned();
    let mut length = 0;
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let answer = handler(&path, &String::from_utf8_lossy(&body));
    let status = answer.as_ref().err().map_or("200 OK".to_owned(), |status| format!("{status} No"));
    let answer = answer.unwrap_or_default();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        answer.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(&answer)?;
    Ok(path)
}
