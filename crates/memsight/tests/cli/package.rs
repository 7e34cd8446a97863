//! The Debian package, built from the binary under test, unpacked and tried.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn run(program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> Output {
    Command::new(program).args(arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

#[test]
fn the_package_has_all_and_its_configuration_is_right() {
    let is_there = Command::new("dpkg-deb").arg("--version").output().is_ok();
    if !is_there {
        println!("skipped: no dpkg-deb");
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let binary = env!("CARGO_BIN_EXE_memsight");
    let build = Command::new(root.join("packaging/deb/build"))
        .args([binary, &path("out")])
        // What is only looked at need not be small.
        .env("DEB_COMPRESSION", "none")
        .output()
        .unwrap();
    assert!(build.status.success(), "{}", text(&build));
    let package = String::from_utf8(build.stdout).unwrap().trim().to_owned();

    let fields = text(&run("dpkg-deb", &["--field", &package]));
    assert!(fields.contains("Package: memsight") && fields.contains("Depends: libc6"), "{fields}");
    let unpacked = path("unpacked");
    assert!(run("dpkg-deb", &["--raw-extract", &package, &unpacked]).status.success());
    let has = |name: &str| assert!(Path::new(&unpacked).join(name).exists(), "{name} is missing");
    has("usr/lib/systemd/system/memsight.service");
    has("usr/share/man/man1/memsight.1.gz");
    has("usr/share/man/man1/memsight-agent.1.gz");
    has("usr/share/bash-completion/completions/memsight");
    has("usr/share/doc/memsight/copyright");
    let memsight = PathBuf::from(&unpacked).join("usr/bin/memsight");
    let config = format!("{unpacked}/etc/memsight/memsight.yaml");
    let checked = run(memsight, &["agent", "-c", &config, "--check-config"]);
    assert!(checked.status.success(), "{}", text(&checked));
    for script in ["postinst", "prerm", "postrm"] {
        let script = format!("{unpacked}/DEBIAN/{script}");
        assert!(run("sh", &["-n", &script]).status.success(), "{script}");
    }
    let unit = format!("{unpacked}/usr/lib/systemd/system/memsight.service");
    match Command::new("systemd-analyze").args(["verify", &unit]).output() {
        Err(_) => println!("skipped: no systemd-analyze"),
        Ok(verified) => {
            // The program is not installed, nor its manual: nothing else may be wrong.
            let said = text(&verified);
            let is_expected =
                |line: &str| line.contains("is not executable") || line.contains("man memsight");
            assert!(said.lines().all(is_expected), "{said}");
        }
    }
}
