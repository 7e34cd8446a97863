//! Wrong targets: a message with the next step, and the documented exit code.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::{Process, fails, memsight, shop, shop_binary, stdout};

#[test]
fn wrong_targets() {
    let own = std::process::id().to_string();
    assert!(fails(&["diagnose", &own, "--for", "1s"], 2).contains("not a Go program"));
    assert!(fails(&["top", "4000000"], 2).contains("memsight ps"));
    assert!(fails(&["diagnose", "name:no-such-program-here"], 2).contains("no Go process matches"));
    assert!(fails(&["diagnose", "name:("], 2).contains("regular expression"));
    // A port of loopback that nobody listens on.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}");
    assert!(fails(&["diagnose", &url, "--for", "1s"], 4).contains("is the program running"));
}

#[test]
fn a_target_that_ends_leaves_what_is_known() {
    let (mut shop, _) = shop();
    let pid = shop.pid();
    let thread = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(3));
        shop.0.kill().unwrap();
        shop.0.wait().unwrap();
    });
    let text = stdout(&["diagnose", &pid, "--for", "60s"]);
    thread.join().unwrap();
    assert!(text.contains("has ended"), "{text}");
    assert!(text.contains("INSUFFICIENT EVIDENCE"), "{text}");
}

#[test]
fn without_permission_the_missing_capability_is_named() {
    let is_root = std::fs::read_to_string("/proc/self/status").unwrap().contains("Uid:\t0\t0");
    if !is_root {
        println!("skipped: changing the user needs root");
        return;
    }
    let (shop, _) = shop();
    // Somewhere the other user may read it.
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let copy = dir.path().join("memsight");
    std::fs::copy(env!("CARGO_BIN_EXE_memsight"), &copy).unwrap();
    std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    let output =
        Command::new(&copy).args(["top", &shop.pid()]).uid(65534).gid(65534).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{errors}");
    assert!(errors.contains("CAP_SYS_PTRACE"), "{errors}");
    let output =
        Command::new(&copy).args(["rss", &shop.pid()]).uid(65534).gid(65534).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The shop, made to say that a release to come has built it.
#[test]
fn of_unknown_releases_the_message_says_what_still_works() {
    let dir = tempfile::tempdir().unwrap();
    let mut image = std::fs::read(shop_binary()).unwrap();
    let start = image.windows(4).position(|bytes| bytes == b"go1.").expect("a version");
    let is_part = |byte: &&u8| byte.is_ascii_digit() || **byte == b'.';
    let minor = image[start + 4..].iter().take_while(is_part).count();
    let version = image[start..start + 4 + minor].to_vec();
    let mut future = version.clone();
    future[4] = b'9';
    let places: Vec<usize> =
        (0..image.len() - version.len()).filter(|at| image[*at..].starts_with(&version)).collect();
    places.iter().for_each(|at| image[*at..][..future.len()].copy_from_slice(&future));
    let path = dir.path().join("shop");
    std::fs::write(&path, image).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut command = Command::new(&path);
    command.args(["-leak=false", "-rate", "1"]).stdout(Stdio::null()).stderr(Stdio::null());
    let program = Process(command.spawn().unwrap());
    std::thread::sleep(Duration::from_millis(300));
    let pid = program.pid();
    let file = dir.path().join("shop.heap").display().to_string();
    for arguments in [&["heap", "snapshot", &pid, "-o", &file][..], &["top", &pid]] {
        let errors = fails(arguments, 2);
        assert_eq!(errors.matches("is not supported").count(), 1, "{errors}");
        assert!(errors.contains("go1.9") && errors.contains("debug.WriteHeapDump"), "{errors}");
    }
    let rss = memsight(&["rss", &pid]);
    let errors = String::from_utf8_lossy(&rss.stderr);
    assert!(rss.status.success() && errors.contains("mappings only"), "{errors}");
    // Its memory is known all the same.
    let row = stdout(&["ps"]).lines().find(|row| row.contains(&pid)).map(str::to_owned);
    assert!(row.as_ref().is_some_and(|row| row.contains("MiB")), "{row:?}");
}

/// A program whose linker left heap sampling out.
fn quiet(dir: &Path) -> Process {
    let source = "package main\nimport \"time\"\nvar keep []*[4096]byte\nfunc main() { for { \
                  keep = append(keep, new([4096]byte)); time.Sleep(time.Millisecond) } }\n";
    std::fs::write(dir.join("main.go"), source).unwrap();
    let mut go = Command::new("go");
    go.current_dir(dir).args(["build", "-o", "quiet", "main.go"]);
    assert!(go.status().unwrap().success());
    let child = Command::new(dir.join("quiet")).stdout(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    Process(child)
}

fn profile_rate(pid: &str) -> i64 {
    let value: serde_json::Value =
        serde_json::from_str(&stdout(&["runtime", pid, "--json"])).unwrap();
    value["figures"]["mem_profile_rate"].as_i64().unwrap()
}

#[test]
fn a_program_without_heap_sampling_is_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let quiet = quiet(dir.path());
    let errors = fails(&["top", &quiet.pid()], 2);
    assert!(errors.contains("net/http/pprof"), "{errors}");
    assert!(stdout(&["goroutines", &quiet.pid()]).contains("main.main"));
    assert!(stdout(&["ps"]).contains("no heap profile"));
}

#[test]
fn sampling_is_switched_on_when_asked_and_off_again_whatever_happens() {
    let dir = tempfile::tempdir().unwrap();
    let quiet = quiet(dir.path());
    let pid = quiet.pid();
    let diagnose = ["diagnose", &pid, "--enable-profiling", "--for", "20s", "--json"];
    let text = stdout(&diagnose);
    assert!(text.contains("\"function\": \"main.main\""), "{text}");
    assert_eq!(profile_rate(&pid), 0, "restored at the end");
    let mut killed = Command::new(env!("CARGO_BIN_EXE_memsight"));
    let killed = killed.args(diagnose).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut killed = Process(killed);
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(profile_rate(&pid), 524_288, "on while it runs");
    killed.0.kill().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(profile_rate(&pid), 0, "restored after kill -9");
}

#[test]
fn help_man_and_completions_are_there() {
    assert!(stdout(&["--help"]).contains("memsight diagnose 4242"));
    assert!(stdout(&["man"]).contains(".TH memsight"));
    assert!(stdout(&["completions", "bash"]).contains("_memsight"));
    assert!(stdout(&["doctor"]).contains("reading processes"));
    assert_eq!(memsight(&["no-such-command"]).status.code(), Some(2));
    let _ = shop_binary();
}
