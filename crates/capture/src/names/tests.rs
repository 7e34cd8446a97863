//! On this program itself, its C library, and a program that is deleted as it runs.

use std::process::{Command, Stdio};

use model::{Addr, Profile};

use super::{ProcessNames, StackNamer};

#[inline(never)]
fn somewhere() -> Addr {
    // An address within this function, as it is loaded now.
    Addr(somewhere as fn() -> Addr as usize as u64 + 4)
}

#[test]
fn functions_of_a_program_and_of_its_libraries_are_named() {
    let mut names = ProcessNames::open(std::process::id()).unwrap();
    let (here, libc) = (somewhere(), Addr(libc::getaddrinfo as *const () as u64));
    names.look_up([here, libc]);
    let frames = names.frames(here);
    let frame = frames.last().unwrap();
    assert!(frame.function.contains("somewhere") && frame.line > 0, "{frames:?}");
    assert!(frame.file.ends_with("names/tests.rs"), "{frames:?}");
    let frames = names.frames(libc);
    assert_eq!(frames.last().map(|frame| frame.function.as_str()), Some("getaddrinfo"));
    assert_eq!(&*names.frames(Addr(8)), []);
}

#[test]
fn addresses_of_one_line_are_one_stack() {
    let mut names = ProcessNames::open(std::process::id()).unwrap();
    let (here, libc) = (somewhere(), Addr(libc::getaddrinfo as *const () as u64));
    names.look_up([here, libc, Addr(libc.0 + 1)]);
    let mut profile = Profile::new(&[("space", "bytes")]);
    let mut namer = StackNamer::new(&mut profile, &names);
    let first = namer.stack(&mut profile, &names, &[libc, here]);
    let second = namer.stack(&mut profile, &names, &[Addr(libc.0 + 1), here]);
    let other = namer.stack(&mut profile, &names, &[here, Addr(8)]);
    assert_eq!(first, second);
    assert_ne!(first, other);
    let texts: Vec<&str> = profile.functions.iter().map(|of| profile.str(of.name)).collect();
    assert!(texts.contains(&"capture::names::tests::somewhere"), "{texts:?}");
    assert!(texts.contains(&"[unknown] 0x8"), "{texts:?}");
    let first = profile.str(profile.mappings[0].filename);
    assert_eq!(first, std::env::current_exe().unwrap().to_string_lossy());
}

/// The kernel leads to the file that is mapped, whatever has become of its path.
#[test]
fn a_deleted_program_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sleeper");
    std::fs::copy("/bin/sleep", &path).unwrap();
    let mut child = Command::new(&path).arg("60").stdout(Stdio::null()).spawn().unwrap();
    std::fs::remove_file(&path).unwrap();
    let mut found = None;
    for _ in 0..1000 {
        let names = ProcessNames::open(child.id()).unwrap();
        found = names.regions().find(|region| region.path.contains("sleeper")).cloned();
        if found.is_some() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let region = found.expect("the program is mapped");
    let Some(object) = region.object else {
        println!("skipped: following map_files needs CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN");
        return;
    };
    assert_eq!(object.name(), "sleeper");
    assert_eq!(object.bytes(), std::fs::read("/bin/sleep").unwrap());
}
