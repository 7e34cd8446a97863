//! `memsight pprof` where `cargo xtask pprof-diff` does not reach: the shell, pictures,
//! live servers, other formats, damage.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{fails, piped, shop, stdout};

const MEMSIGHT: &str = env!("CARGO_BIN_EXE_memsight");

/// A heap profile of a shop, and its address.
fn heap(dir: &Path) -> (PathBuf, String, crate::support::Process) {
    let (shop, address) = shop();
    std::thread::sleep(std::time::Duration::from_secs(2));
    let path = dir.join("heap.pb.gz");
    let url = format!("http://{address}/debug/pprof/heap?gc=1");
    let bytes = ureq::get(&url).call().unwrap().body_mut().read_to_vec().unwrap();
    std::fs::write(&path, bytes).unwrap();
    (path, address, shop)
}

#[test]
fn the_shell_answers_as_pprofs_does() {
    let dir = tempfile::tempdir().unwrap();
    let (path, ..) = heap(dir.path());
    let path = path.to_str().unwrap();
    let session = "top3\ntop5 -cum\nsample_index=alloc_space\ntop 4 main\npeek leak\n\
                   granularity=lines\ntop2\nnodecount=3\ntree\ntop -runtime\nalloc_objects\n\
                   top1\nfocus=main\n:\ntop1\nnonsense\ntags\nquit\ntop\n";
    let go = Command::new("go").args(["tool", "-n", "pprof"]).output().unwrap();
    let pprof = String::from_utf8(go.stdout).unwrap();
    // The first run of go tool pprof builds it.
    let _ = Command::new("go").args(["tool", "pprof", "-help"]).output();
    let theirs = piped(pprof.trim(), &[path], session);
    assert!(theirs.contains("flat%"));
    assert_eq!(piped(MEMSIGHT, &["pprof", path], session), theirs);
}

#[test]
fn the_shell_writes_files_and_pipes() {
    let dir = tempfile::tempdir().unwrap();
    let (path, ..) = heap(dir.path());
    let file = dir.path().join("out.txt");
    let session = format!("top 2 >{}\ntop 2 | grep -c flat%\n", file.display());
    let output = piped(MEMSIGHT, &["pprof", path.to_str().unwrap()], &session);
    assert!(std::fs::read_to_string(file).unwrap().contains("flat%"));
    assert!(output.contains("\n1\n") || output.contains(") 1\n"), "{output}");
}

#[test]
fn pictures_need_no_graphviz() {
    let dir = tempfile::tempdir().unwrap();
    let (path, ..) = heap(dir.path());
    let starts: [(&str, &[u8]); 5] = [
        ("svg", b"<?xml"),
        ("png", b"\x89PNG"),
        ("gif", b"GIF89a"),
        ("pdf", b"%PDF"),
        ("ps", b"%!PS"),
    ];
    for (kind, start) in starts {
        let file = dir.path().join(kind);
        // Without a search path no dot can be found.
        let status = Command::new(MEMSIGHT)
            .args(["pprof", &format!("-{kind}"), "-output"])
            .args([&file, &path])
            .env("PATH", "")
            .status()
            .unwrap();
        assert!(status.success());
        assert!(std::fs::read(&file).unwrap().starts_with(start), "{kind}");
    }
}

#[test]
fn texts_of_a_live_server_have_names_and_labels() {
    let (_shop, address) = shop();
    std::thread::sleep(std::time::Duration::from_secs(2));
    let saved = tempfile::tempdir().unwrap();
    let top = |path: &str, flag: &str| {
        let url = format!("http://{address}/debug/pprof/{path}");
        let output = Command::new(MEMSIGHT)
            .args(["pprof", flag, &url])
            .env("PPROF_TMPDIR", saved.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    for path in ["heap?debug=1", "goroutine?debug=1", "goroutine?debug=2"] {
        let text = top(path, "-top");
        assert!(text.contains(" main.") || text.contains(" shop/"), "{path}: {text}");
        assert!(!text.contains("<unknown>"), "{path}: {text}");
    }
    let kept = std::fs::read_dir(saved.path()).unwrap().count();
    assert_eq!(kept, 3, "what came over the network is saved");
}

#[test]
fn compressed_and_cut_files_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let (path, ..) = heap(dir.path());
    let path = path.to_str().unwrap();
    let whole = stdout(&["pprof", "-top", path]);
    let zipped = std::fs::read(path).unwrap();
    let text = dir.path().join("cut.txt.gz");
    let folded = stdout(&["convert", path, "--to", "folded"]);
    std::fs::write(dir.path().join("f.folded"), &folded).unwrap();
    let from_folded = stdout(&["pprof", "-top", dir.path().join("f.folded").to_str().unwrap()]);
    assert!(from_folded.contains("main."), "{from_folded}");
    std::fs::write(&text, &zipped[..zipped.len() / 2]).unwrap();
    let output = Command::new(MEMSIGHT).args(["pprof", "-top"]).arg(&text).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("ends early"), "{errors}");
    if Command::new("zstd").arg("--version").output().is_ok() {
        let plain = dir.path().join("plain");
        stdout(&["pprof", "-proto", "-output", plain.to_str().unwrap(), path]);
        let zst = dir.path().join("heap.zst");
        let status = Command::new("zstd").arg("-q").arg(&plain).arg("-o").arg(&zst).status();
        assert!(status.unwrap().success());
        assert_eq!(stdout(&["pprof", "-top", zst.to_str().unwrap()]), whole);
    }
}

#[test]
fn mistakes_are_explained() {
    let dir = tempfile::tempdir().unwrap();
    let junk = dir.path().join("junk");
    std::fs::write(&junk, "this is no profile\n").unwrap();
    let junk = junk.to_str().unwrap();
    assert!(fails(&["pprof", "-top", junk], 2).contains("unrecognized profile format"));
    assert!(fails(&["pprof", "-top"], 2).contains("no profile source"));
    assert!(fails(&["pprof", "-nosuchflag", junk], 2).contains("-nosuchflag"));
    assert!(fails(&["pprof", "-top", "-tree", junk], 2).contains("at most one output format"));
    assert!(fails(&["pprof", "-top", "/no/such/file"], 2).contains("no such file"));
    assert!(stdout(&["pprof", "-help"]).is_empty(), "help goes to standard error");
}

#[test]
fn recordings_of_perf_go_through_perf_script() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("perf.data");
    let spin = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done";
    let recorded = Command::new("perf")
        .args(["record", "-q", "-e", "cpu-clock", "-g", "-o"])
        .arg(&data)
        .args(["--", "sh", "-c", spin])
        .output();
    if !recorded.is_ok_and(|recorded| recorded.status.success()) {
        eprintln!("skipped: perf is not there or may not record");
        return;
    }
    let script = Command::new("perf").arg("script").arg("-i").arg(&data).output().unwrap();
    let text = dir.path().join("perf.txt");
    std::fs::write(&text, script.stdout).unwrap();
    let from_text = stdout(&["pprof", "-top", text.to_str().unwrap()]);
    assert!(from_text.contains("% of"), "{from_text}");
    assert_eq!(stdout(&["pprof", "-top", data.to_str().unwrap()]), from_text);
    let bytes = std::fs::read(&data).unwrap();
    std::fs::write(&data, &bytes[..bytes.len().min(3000)]).unwrap();
    assert!(fails(&["top", data.to_str().unwrap()], 2).contains("perf script failed"));
}
