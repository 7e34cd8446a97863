//! What `memsight pprof` asks servers for: profiles, names of addresses, debug files.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

use crate::support::server;

const MEMSIGHT: &str = env!("CARGO_BIN_EXE_memsight");

fn run(program: &str, first: &[&str], args: &[&str], dir: &Path) -> Output {
    let mut command = Command::new(program);
    command.args(first).args(args).env("PPROF_TMPDIR", dir);
    command.output().unwrap()
}

fn ours(args: &[&str], dir: &Path) -> String {
    let output = run(MEMSIGHT, &["pprof"], args, dir);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

const HEAP: &str = "\
heap profile: 3: 300 [3: 300] @ heap_v2/1
1: 100 [1: 100] @ 0x401001 0x402001
2: 200 [2: 200] @ 0x401101 0x402001 0x400101
";

/// Names for the addresses in question: those of the calls, one before the return.
fn names(question: &str) -> Vec<u8> {
    let name = |address: &str| match address {
        "0x401000" => "cache::insert",
        "0x401100" => "cache::grow",
        "0x402000" => "server::handle",
        _ => "main",
    };
    let lines = question.split('+').map(|address| format!("{address}\t{}\n", name(address)));
    format!("num_symbols: 1\n{}", lines.collect::<String>()).into_bytes()
}

#[test]
fn servers_name_the_addresses_of_their_profiles() {
    let dir = tempfile::tempdir().unwrap();
    let (address, asked) = server(Box::new(|path, body| match path {
        "/pprof/heap" | "/heapz" => Ok(HEAP.into()),
        "/pprof/symbol" | "/symbolz" => Ok(names(body)),
        _ => Err(404),
    }));
    let go = Command::new("go").args(["tool", "-n", "pprof"]).output().unwrap();
    let pprof = String::from_utf8(go.stdout).unwrap();
    // The first run of go tool pprof builds it.
    let _ = Command::new("go").args(["tool", "pprof", "-help"]).output();
    for path in ["pprof/heap", "heapz"] {
        let url = format!("http://{address}/{path}");
        for flags in [vec!["-top"], vec!["-traces"], vec!["-top", "-symbolize=remote"]] {
            let args = [flags.as_slice(), &[url.as_str()]].concat();
            let theirs = run(pprof.trim(), &[], &args, dir.path());
            let ours = ours(&args, dir.path());
            assert!(ours.contains("cache::insert"), "{args:?}: {ours}");
            assert_eq!(ours, String::from_utf8_lossy(&theirs.stdout), "{args:?}");
        }
    }
    let before = asked.lock().unwrap().len();
    let url = format!("http://{address}/pprof/heap");
    let local = ours(&["-top", "-symbolize=local", &url], dir.path());
    assert!(!local.contains("cache"), "{local}");
    assert_eq!(asked.lock().unwrap()[before..], ["/pprof/heap"], "local asks for no names");
}

#[test]
fn a_host_that_fails_is_named_and_the_others_are_merged() {
    let dir = tempfile::tempdir().unwrap();
    let (address, _) = server(Box::new(|path, body| match path {
        "/pprof/symbol" => Ok(names(body)),
        path if path.starts_with("/broken") => Err(404),
        _ => Ok(HEAP.into()),
    }));
    let urls: Vec<String> = (0..40).map(|_| format!("http://{address}/pprof/heap")).collect();
    let broken = format!("http://{address}/broken/pprof/heap");
    let mut args = vec!["-top", "-unit=B"];
    args.extend(urls.iter().map(String::as_str));
    args.push(&broken);
    let output = run(MEMSIGHT, &["pprof"], &args, dir.path());
    let (text, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{errors}");
    assert!(text.contains("of 12000B total"), "{text}");
    assert!(errors.contains("/broken/pprof/heap: "), "{errors}");
    assert!(errors.contains("Fetched 40 source profiles out of 41"), "{errors}");
}

#[test]
fn debug_files_come_from_debuginfod() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let source = "int grow(int x) { return x * 3; }\nint main(void) { return grow(1); }\n";
    std::fs::write(path("cache.c"), source).unwrap();
    let call = |program: &str, args: &[&str]| {
        let output = Command::new(program).args(args).current_dir(dir.path()).output().unwrap();
        assert!(output.status.success(), "{program} {args:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    call("cc", &["-g", "-O0", "-no-pie", "-Wl,--build-id", "-o", "cache", "cache.c"]);
    let symbols = call("nm", &["cache"]);
    let grow = symbols.lines().find_map(|line| line.strip_suffix(" T grow")).unwrap().to_owned();
    let grow = u64::from_str_radix(&grow, 16).unwrap();
    call("objcopy", &["--only-keep-debug", "cache", "cache.debug"]);
    call("strip", &["cache"]);
    let debug = std::fs::read(path("cache.debug")).unwrap();
    std::fs::remove_file(path("cache.debug")).unwrap();
    let page = grow & !0xfff;
    let heap = format!(
        "heap profile: 1: 100 [1: 100] @ heap_v2/1\n1: 100 [1: 100] @ {:#x}\nMAPPED_LIBRARIES:\n\
         {page:08x}-{:08x} r-xp {:08x} 00:00 0 {}\n",
        grow + 1,
        page + 0x1000,
        page - 0x40_0000,
        path("cache").display()
    );
    std::fs::write(path("heap"), heap).unwrap();
    let (address, asked) = server(Box::new(move |path, _| {
        let is_known = path.starts_with("/buildid/") && path.ends_with("/debuginfo");
        is_known.then(|| debug.clone()).ok_or(404)
    }));
    let top = |urls: &str| {
        let output = Command::new(MEMSIGHT)
            .args(["pprof", "-top", "-lines", "heap"])
            .current_dir(dir.path())
            .env("DEBUGINFOD_URLS", urls)
            .env("DEBUGINFOD_CACHE_PATH", path("kept"))
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(!top("").contains("grow"), "a stripped binary alone has no names");
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let urls = format!("http://{nobody} http://{address}/");
    let named = top(&urls);
    assert!(named.contains("grow") && named.contains("cache.c:1"), "{named}");
    assert_eq!(top(&urls), named);
    assert_eq!(asked.lock().unwrap().len(), 1, "what was fetched is kept");
}
