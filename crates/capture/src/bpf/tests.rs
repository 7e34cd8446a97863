//! That the committed objects are what their sources say.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn programs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bpf/programs")
}

/// Names and content of what objects are made from, and of objects.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    names.retain(|name| name != "SHA256SUMS");
    names.sort();
    names.into_iter().map(|name| (name.clone(), fs::read(folder.join(name)).unwrap())).collect()
}

/// Needs no clang: whoever changes a source without `make` fails here.
#[test]
fn objects_were_built_from_these_sources() {
    let sums = fs::read_to_string(programs().join("SHA256SUMS")).unwrap();
    let mut known: Vec<(&str, &str)> =
        sums.lines().map(|line| line.split_once("  ").unwrap()).collect();
    known.sort_by_key(|(_, name)| *name);
    let found = files(&programs());
    let advice = "run `make -C crates/capture/src/bpf/programs` with clang 14";
    let names = |pairs: &[(&str, &str)]| pairs.iter().map(|it| it.1.to_owned()).collect::<Vec<_>>();
    let there: Vec<String> = found.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(names(&known), there, "{advice}");
    for ((sum, name), (_, content)) in known.iter().zip(&found) {
        let digest = ring::digest::digest(&ring::digest::SHA256, content);
        let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(*sum, hex, "{name} has changed since: {advice}");
    }
}

/// With the compiler that they were made with, they come out to the byte, wherever they are built.
#[test]
fn objects_are_reproducible() {
    let version = Command::new("clang-14").arg("--version").output();
    let version = version.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    if !version.is_ok_and(|text| text.contains("clang version 14.0.6")) {
        println!("skipped: there is no clang 14.0.6 (Debian 12: apt-get install clang-14 llvm-14)");
        return;
    }
    let copy = tempfile::tempdir().unwrap();
    let committed = files(&programs());
    for (name, content) in committed.iter().filter(|(name, _)| !name.ends_with(".o")) {
        fs::write(copy.path().join(name), content).unwrap();
    }
    let made = Command::new("make").arg("-C").arg(copy.path()).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let built = files(copy.path());
    for ((name, committed), (other, built)) in committed.iter().zip(&built) {
        assert_eq!(name, other);
        assert!(committed == built, "{name} is not what its source makes");
    }
    assert_eq!(committed.len(), built.len());
}
