//! Page faults against programs that touch exactly so many pages, and against perf.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use capture::bpf::FaultProbe;
use capture::names::ProcessNames;
use model::probe::{FaultAccess, FaultCount, MappingKind, MemoryUse, ResidentSample};

use crate::perf::Perf;
use crate::permitted;
use crate::subject::{Subject, c_program, called, go_program};

use FaultAccess::{Copy, Read, Write};
use MappingKind::{Anonymous, Brk, File, Shared, Stack};

const PAGE: u64 = 4096;

/// Opens the probe; `None`, and says so, where that is not possible.
fn probe(subject: &Subject) -> Option<FaultProbe> {
    let names = ProcessNames::open(subject.pid()).unwrap();
    permitted(FaultProbe::open(&names))
}

/// The program of faults.c; it has done all it can once, so that its code and data are there.
fn subject() -> Option<Subject> {
    let mut subject = Subject::start(&c_program("faults")?);
    for what in ["fresh", "read", "again", "shared", "file", "brk", "kernel", "thread"] {
        subject.ask(&format!("{what} 16"));
    }
    Some(subject)
}

/// What happened while the program did something: by mapping and access, and by who ran.
type Seen = (BTreeMap<(MappingKind, FaultAccess), u64>, (u64, u64));

fn seen(probe: &mut FaultProbe, subject: &mut Subject, line: &str) -> Seen {
    let pid = subject.pid();
    let (before, total) = (probe.faults(pid), probe.total(pid));
    subject.ask(line);
    let (after, total_after) = (probe.faults(pid), probe.total(pid));
    let mut sums: BTreeMap<(MappingKind, FaultAccess), u64> = BTreeMap::new();
    for of in &after {
        *sums.entry((of.region.kind, of.access)).or_default() += of.faults;
    }
    for of in &before {
        *sums.entry((of.region.kind, of.access)).or_default() -= of.faults;
    }
    sums.retain(|_, faults| *faults > 0);
    (sums, (total_after.0 - total.0, total_after.1 - total.1))
}

#[test]
fn each_page_that_is_touched_is_one_fault() {
    let Some(mut subject) = subject() else { return };
    let Some(mut probe) = probe(&subject) else { return };
    probe.attach(subject.pid()).unwrap();
    for (line, kind, access, faults) in [
        ("fresh 1000", Anonymous, Write, 1000),
        ("again 1000", Anonymous, Write, 0),
        ("fresh 777", Anonymous, Write, 777),
        ("read 300", Anonymous, Read, 300),
        ("shared 700", Shared, Write, 700),
        ("file 600", File, Write, 600),
        ("brk 400", Brk, Write, 400),
        ("kernel 250", Anonymous, Write, 250),
        ("futex 150", Anonymous, Read, 150),
        ("thread 350", Anonymous, Write, 350),
    ] {
        let expected: BTreeMap<_, _> = [((kind, access), faults)].into_iter().collect();
        let expected: BTreeMap<_, _> = expected.into_iter().filter(|(_, of)| *of > 0).collect();
        let is_kernels = line.starts_with("kernel") || line.starts_with("futex");
        let in_kernel = if is_kernels { faults } else { 0 };
        let expected = (expected, (faults - in_kernel, in_kernel));
        assert_eq!(seen(&mut probe, &mut subject, line), expected, "{line}");
    }
    // Some of the pages that a stack grows to were used before.
    let (by_kind, (user, _)) = seen(&mut probe, &mut subject, "stack 200");
    assert!((190..=203).contains(&user), "{by_kind:?}");
    assert!(by_kind.keys().all(|key| *key == (Stack, Write)), "{by_kind:?}");
    let counts = probe.counts();
    assert_eq!((counts.dropped, counts.table_full, counts.without_stack), (0, 0, 0));
}

#[test]
fn memory_for_huge_pages_is_told() {
    let Some(mut subject) = subject() else { return };
    let Some(mut probe) = probe(&subject) else { return };
    probe.attach(subject.pid()).unwrap();
    subject.ask("huge 4096");
    let faults = probe.faults(subject.pid());
    let written = faults.iter().filter(|of| (of.region.kind, of.access) == (Anonymous, Write));
    let (huge, small): (Vec<&FaultCount>, _) = written.partition(|of| of.region.is_huge);
    // One for each huge page that the kernel had, one for each page where it had none.
    let number: u64 = huge.iter().map(|of| of.faults).sum();
    println!("{number} faults for 4096 pages");
    assert!((4096 / 512..=4096).contains(&number), "{number}");
    assert!(small.is_empty(), "{small:?}");
}

/// Faults of which a function of this name is the innermost.
fn in_function(names: &mut ProcessNames, faults: &[FaultCount], function: &str) -> u64 {
    let innermost =
        |of: &&FaultCount| called(names, &of.stack).first().is_some_and(|name| name == function);
    faults.iter().filter(innermost).map(|of| of.faults).sum()
}

#[test]
fn stacks_of_programs_without_frame_pointers_are_whole() {
    let Some(mut subject) = subject() else { return };
    let Some(mut probe) = probe(&subject) else { return };
    let mut names = ProcessNames::open(subject.pid()).unwrap();
    probe.attach(subject.pid()).unwrap();
    for line in ["fresh 100", "read 50", "kernel 30", "thread 20"] {
        subject.ask(line);
    }
    let faults = probe.faults(subject.pid());
    assert_eq!(in_function(&mut names, &faults, "touch_pages"), 120);
    assert_eq!(in_function(&mut names, &faults, "look_at_pages"), 50);
    for of in &faults {
        let stack = called(&mut names, &of.stack);
        let end = stack.last().map(String::as_str);
        // A thread begins in the C library, whose names of it are not always there.
        let is_whole = end == Some("_start") || stack.iter().any(|name| name == "in_thread");
        assert!(is_whole, "{stack:?}");
        if stack[0] == "touch_pages" && end == Some("_start") {
            assert_eq!(stack[1], "main");
        }
    }
    // In the kernel on behalf of a call, whose stack is that of the program.
    let by_kernel: Vec<&FaultCount> = faults.iter().filter(|of| of.faults == 30).collect();
    let stack = called(&mut names, &by_kernel[0].stack);
    assert!(stack.iter().any(|name| name == "main"), "{stack:?}");
}

#[test]
fn what_a_child_does_is_not_its_parents() {
    let Some(mut subject) = subject() else { return };
    let Some(mut probe) = probe(&subject) else { return };
    let mut names = ProcessNames::open(subject.pid()).unwrap();
    subject.ask("fresh 500");
    probe.attach(subject.pid()).unwrap();
    subject.ask("copy 500");
    let faults = probe.faults(subject.pid());
    // But for the page of the stack that the call itself is in.
    let is_copy = |of: &FaultCount| (of.access, of.region.kind) == (Copy, Anonymous);
    let copies: Vec<FaultCount> = faults.into_iter().filter(is_copy).collect();
    assert_eq!(in_function(&mut names, &copies, "touch_pages"), 500);
    // Neither are those of a process that is no longer looked at.
    probe.detach(subject.pid());
    let before = probe.counts().seen;
    subject.ask("fresh 500");
    assert_eq!(probe.counts().seen, before);
}

/// What perf counts is what the probe counts: exactly, if nothing happened while one of them was on
/// and the other was not.
fn agrees_with_perf(subject: &mut Subject, lines: &[&str]) {
    let Some(mut probe) = probe(subject) else { return };
    let pid = subject.pid();
    probe.attach(pid).unwrap();
    let Some(mut perf) = Perf::attach("page-faults", pid) else { return };
    let total = |probe: &mut FaultProbe| {
        let (user, kernel) = probe.total(pid);
        user + kernel
    };
    let before = total(&mut probe);
    perf.count(true);
    let begun = total(&mut probe);
    lines.iter().for_each(|line| drop(subject.ask(line)));
    let ended = total(&mut probe);
    perf.count(false);
    let after = total(&mut probe);
    let counted = perf.finish();
    println!("perf {counted}, probe {} to {}", ended - begun, after - before);
    assert!(counted > 1000);
    assert!((ended - begun..=after - before).contains(&counted), "perf counted {counted}");
    let by_stack: u64 = probe.faults(pid).iter().map(|of| of.faults).sum();
    assert_eq!(by_stack, total(&mut probe));
}

#[test]
fn mappings_are_known_while_they_change() {
    let Some(mut subject) = subject() else { return };
    let Some(mut probe) = probe(&subject) else { return };
    let mut names = ProcessNames::open(subject.pid()).unwrap();
    subject.ask("busy 16");
    probe.attach(subject.pid()).unwrap();
    subject.ask("busy 20000");
    let faults = probe.faults(subject.pid());
    assert_eq!(in_function(&mut names, &faults, "touch_pages"), 20_000);
    // Of some it is not known, how many depends on how the threads meet; of none it is wrong.
    let is_touched = |of: &&FaultCount| called(&mut names, &of.stack)[0] == "touch_pages";
    let touched: Vec<&FaultCount> = faults.iter().filter(is_touched).collect();
    let of_kind = |kind| touched.iter().filter(move |of| of.region.kind == kind);
    let known: u64 = of_kind(Anonymous).map(|of| of.faults).sum();
    let unknown: u64 = of_kind(MappingKind::Unknown).map(|of| of.faults).sum();
    println!("the mapping of {unknown} of 20000 is not known");
    assert!(known > 0);
    assert_eq!(known + unknown, 20_000);
}

#[test]
fn perf_counts_as_many_of_a_c_program() {
    let Some(mut subject) = subject() else { return };
    // Without a fork: perf counts what the child does, too.
    let lines = ["fresh 1500", "file 400", "kernel 200", "futex 150", "thread 100", "stack 50"];
    agrees_with_perf(&mut subject, &lines);
}

#[test]
fn perf_counts_as_many_of_a_go_program() {
    let mut subject = Subject::start(&go_program("touching"));
    subject.wait_until_idle();
    agrees_with_perf(&mut subject, &["40"]);
}

/// Whether memory of no file comes in huge pages although nobody asks for it.
fn has_huge_pages() -> bool {
    let path = Path::new("/sys/kernel/mm/transparent_hugepage/enabled");
    std::fs::read_to_string(path).is_ok_and(|text| text.contains("[always]"))
}

#[test]
fn faults_of_a_go_program_are_in_its_heap() {
    let mut subject = Subject::start(&go_program("touching"));
    subject.wait_until_idle();
    let Some(mut probe) = probe(&subject) else { return };
    let mut names = ProcessNames::open(subject.pid()).unwrap();
    probe.attach(subject.pid()).unwrap();
    subject.ask("64");
    let areas = capture::resident::areas(subject.pid()).unwrap();
    let (mut in_heap, mut elsewhere) = (0, 0);
    for of in probe.faults(subject.pid()) {
        let stack = called(&mut names, &of.stack);
        if stack[0] == "main.touch" {
            // Its frame pointer is that of its caller, which would be left out.
            assert_eq!(stack[1], "main.fill");
        }
        if stack.iter().any(|name| name == "main.fill") {
            assert_eq!(stack.last().map(String::as_str), Some("runtime.goexit"), "{stack:?}");
            match areas.of(of.pages.start) {
                Some(MemoryUse::GoHeap) => in_heap += of.faults,
                _ => elsewhere += of.faults,
            }
        }
    }
    // 64 MiB that were not there before; collections are the runtime's own affair.
    let pages = if has_huge_pages() { 32 } else { (64 << 20) / PAGE };
    // One may have been touched before, by another stack.
    assert!(in_heap + pages / 100 >= pages, "{in_heap} of {pages}");
    assert!(elsewhere < in_heap / 10, "{elsewhere}");
}

#[test]
fn resident_memory_is_told_as_it_changes() {
    let Some(mut subject) = subject() else { return };
    let Some(mut probe) = probe(&subject) else { return };
    let pid = subject.pid();
    probe.attach(pid).unwrap();
    let mut curve: Vec<ResidentSample> = Vec::new();
    for _ in 0..5 {
        subject.ask("fresh 5000");
        // Later than the pause between two samples, so that the last one is of now.
        std::thread::sleep(Duration::from_millis(15));
        subject.ask("fresh 1");
    }
    let now = capture::signals::process(pid, false);
    probe.read(Duration::from_millis(100), |sample| curve.push(sample));
    assert!(curve.len() >= 10, "{}", curve.len());
    let apart = |pair: &[ResidentSample]| pair[1].time.0 - pair[0].time.0;
    assert!(curve.windows(2).all(|pair| apart(pair) >= 10_000_000));
    assert!(curve.iter().all(|sample| sample.pid == pid));
    // Each processor may hold back some pages.
    let cpus = std::thread::available_parallelism().unwrap().get() as u64;
    let slack = cpus * (2 * cpus).max(32) * PAGE;
    let (first, last) = (curve[0].anonymous.0, curve[curve.len() - 1].anonymous.0);
    assert!(last - first + slack >= 20_000 * PAGE, "from {first} to {last}");
    let actual = now.rss_anon_bytes.unwrap();
    assert!(actual.abs_diff(last) <= slack, "{last}, but {actual} by /proc");
}
