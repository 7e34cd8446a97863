//! Core files of the subject: by gcore and by the kernel, whole, cut short, compressed.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use capture::ScratchColumns;
use capture::core::Core;
use decode::goheap::Keep;
use model::Addr;

use crate::subject::{Figures, Subject, alone, build, check_contents, check_graph};

/// Writes a core of the subject with gcore; `None` where there is none.
fn gcore(subject: &Subject, dir: &Path) -> Option<PathBuf> {
    let prefix = dir.join("core");
    let status = Command::new("gcore")
        .arg("-o")
        .arg(&prefix)
        .arg(subject.pid().to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match status {
        Ok(status) if status.success() => Some(dir.join(format!("core.{}", subject.pid()))),
        _ => {
            println!("skipped: gcore (Debian: gdb) is not there or cannot trace");
            None
        }
    }
}

fn open(path: &Path, exe: Option<&Path>) -> Core {
    Core::open(path, exe, path.parent().unwrap()).unwrap()
}

fn check(core: &Core, figures: &Figures, what: &str) {
    check_contents(&core.image(), figures);
    let columns = ScratchColumns::new(std::env::temp_dir());
    let graph = core.object_graph(Keep::Nothing, &columns).unwrap();
    check_graph(&graph, figures, what.contains("stripped"));
    assert!(core.threads.len() >= 4, "{what}: {}", core.threads.len());
    let program = core.program();
    for thread in program.threads {
        let holds = |mapping: &&decode::procfs::Mapping| {
            (mapping.start..mapping.end).contains(&thread.pc.0)
        };
        let mapping = program.mappings.iter().find(holds);
        assert!(mapping.unwrap().permissions.contains('x'), "{what}: {thread:?}");
    }
    let goroutines = program.process().unwrap().goroutines(0).unwrap();
    assert!(goroutines.user_count() >= 2000, "{what}: {}", goroutines.user_count());
    // Function names come from the executable, the goroutines from the core.
    let of_main = |frame: &model::Frame| frame.function.starts_with("main.sleepers");
    assert!(goroutines.stacks.iter().flatten().any(of_main), "{what}");
}

#[test]
fn cores_of_gcore_hold_what_the_program_held() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let forms: [(&str, &[&str]); 2] =
        [("plain", &[]), ("stripped pie", &["-buildmode=pie", "-ldflags=-s -w"])];
    for (form, flags) in forms {
        let exe = build(&dir.path().join("frozen"), flags);
        let mut subject = Subject::spawn(Command::new(&exe).arg("8"));
        let figures = subject.report();
        let Some(path) = gcore(&subject, dir.path()) else { return };
        drop(subject);
        let core = open(&path, None);
        check(&core, &figures, form);
        assert_eq!(Path::new(&core.exe_path), exe);
        assert!(core.command.contains("frozen"), "{}", core.command);
        assert_eq!(core.warnings, Vec::<String>::new(), "{form}");
        // The executable has moved: it must be given, and must be the right one.
        let moved = dir.path().join("moved");
        fs::rename(&exe, &moved).unwrap();
        let error = Core::open(&path, None, dir.path()).unwrap_err();
        assert!(error.to_string().contains("give the one it is of"), "{error}");
        let error = Core::open(&path, Some(Path::new("/bin/true")), dir.path()).unwrap_err();
        assert!(error.to_string().contains("first page differs"), "{error}");
        check(&open(&path, Some(&moved)), &figures, form);
        // gcore writes its notes last: a core that was cut short has none. What the
        // executable tells without them is enough, unless it is position-independent.
        cut(&path, |len| len - (64 << 10));
        let error = Core::open(&path, None, dir.path()).unwrap_err();
        assert!(error.to_string().contains("give that, too"), "{error}");
        match Core::open(&path, Some(&moved), dir.path()) {
            Ok(core) => {
                assert_eq!(form, "plain");
                assert!(core.warnings.iter().any(|text| text.contains("nothing in the core")));
                check_contents(&core.image(), &figures);
            }
            Err(error) => assert!(error.to_string().contains("was loaded"), "{error}"),
        }
        fs::remove_file(&path).unwrap();
    }
}

/// Writes a core of the subject with the kernel; `None` where it does not do that.
fn kernel_core(dir: &Path) -> Option<(PathBuf, Figures, u32)> {
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
    if pattern.starts_with('|') || pattern.contains('/') || pattern.trim().is_empty() {
        println!("skipped: kernel.core_pattern does not put cores where a program runs");
        return None;
    }
    let mut command = Command::new(crate::executable());
    command.arg("8").current_dir(dir).env("GOTRACEBACK", "crash").stderr(Stdio::null());
    // SAFETY: only a system call between fork and exec.
    unsafe {
        command.pre_exec(|| {
            let all = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
            libc::setrlimit(libc::RLIMIT_CORE, &all);
            Ok(())
        })
    };
    let mut subject = Subject::spawn(&mut command);
    let figures = subject.report();
    // SAFETY: our own child process.
    unsafe { libc::kill(subject.pid().cast_signed(), libc::SIGABRT) };
    subject.child.wait().unwrap();
    let found = fs::read_dir(dir).unwrap().next();
    if found.is_none() {
        println!("skipped: the kernel wrote no core (a hard limit, perhaps)");
    }
    found.map(|entry| (entry.unwrap().path(), figures, subject.pid()))
}

fn cut(path: &Path, len: impl Fn(u64) -> u64) {
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(len(file.metadata().unwrap().len())).unwrap();
}

#[test]
fn cores_of_the_kernel_are_completed_from_the_executable() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let Some((path, figures, pid)) = kernel_core(dir.path()) else { return };
    let core = open(&path, None);
    assert_eq!(core.warnings, Vec::<String>::new());
    assert_eq!(core.pid, Some(pid));
    check(&core, &figures, "kernel");
    // Code is not in such a core; it is read from the executable.
    let text = core.mappings.iter().find(|mapping| mapping.permissions == "r-xp").unwrap();
    let code = core.image().slice(Addr(text.start), 64).map(<[u8]>::to_vec);
    assert!(code.is_some_and(|code| code.iter().any(|byte| *byte != 0)));
    check_compressed(&path, &figures, &core);
    check_cut_short(&path, &core);
    let error = Core::open(Path::new("/bin/true"), None, dir.path()).unwrap_err();
    assert!(error.to_string().contains("no core file"), "{error}");
}

fn check_compressed(path: &Path, figures: &Figures, whole: &Core) {
    for program in ["gzip", "zstd"] {
        let packed = path.with_extension(program);
        let output = fs::File::create(&packed).unwrap();
        let status = Command::new(program).args(["-1", "-c"]).arg(path).stdout(output).status();
        if !status.is_ok_and(|status| status.success()) {
            println!("skipped: no {program}");
            continue;
        }
        let core = open(&packed, None);
        check(&core, figures, program);
        assert_eq!(core.warnings, Vec::<String>::new());
        cut(&packed, |len| len / 2);
        let core = open(&packed, None);
        for part in ["in part", "cut short"] {
            assert!(core.warnings.iter().any(|text| text.contains(part)), "{:?}", core.warnings);
        }
        assert_eq!(core.threads, whole.threads);
    }
    let xz = path.with_extension("xz");
    fs::write(&xz, b"\xfd7zXZ\0\0\0").unwrap();
    let error = Core::open(&xz, None, path.parent().unwrap()).unwrap_err();
    assert!(error.to_string().contains("xz: unpack it first"), "{error}");
}

/// The notes of the kernel come first: a core that lost its end still tells all but the
/// memory that is missing.
fn check_cut_short(path: &Path, whole: &Core) {
    let copy = path.with_extension("cut");
    fs::copy(path, &copy).unwrap();
    cut(&copy, |len| len - 5000);
    let core = open(&copy, None);
    assert!(core.warnings[0].contains("cut short: 4.88 KiB"), "{:?}", core.warnings);
    assert_eq!(core.threads, whole.threads);
    assert_eq!(core.mappings, whole.mappings);
}
