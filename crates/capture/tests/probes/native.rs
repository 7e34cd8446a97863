//! What is left of malloc and its kin: programs say what they did not free, by the function that
//! asked for it. Without the privilege to attach probes a test says that it was skipped.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use capture::ErrorKind;
use capture::bpf::{Method, NativeProbe, Source};
use capture::names::ProcessNames;
use model::Addr;
use model::probe::{CallStack, NativeHeap, ProbeCounts, StackEnd};

/// Bytes and blocks by site.
type Sites = BTreeMap<String, (u64, u64)>;

/// A program that has begun, and waits.
struct Program {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Program {
    fn start(command: &mut Command) -> Program {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the program");
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut program = Program { child, output };
        assert_eq!(program.line(), "ready");
        program
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Lets it go on, up to where it waits again; what it says is left.
    fn run(&mut self) -> Sites {
        self.child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
        let mut sites = Sites::new();
        loop {
            let line = self.line();
            let words: Vec<&str> = line.split(' ').collect();
            match words.as_slice() {
                ["done"] => return sites,
                [site, bytes, blocks] => {
                    let of = (bytes.parse().unwrap(), blocks.parse().unwrap());
                    assert!(sites.insert((*site).to_owned(), of).is_none());
                }
                _ => panic!("{line:?}"),
            }
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What was seen of a program.
struct Seen {
    truth: Sites,
    heap: NativeHeap,
    counts: ProbeCounts,
    names: ProcessNames,
}

/// Runs a program under the probe; nothing when that is not permitted.
fn watch(command: &mut Command, every: u64, method: Method) -> Option<Seen> {
    watch_program(&mut Program::start(command), Source::Malloc { every }, method)
}

fn watch_program(program: &mut Program, source: Source, method: Method) -> Option<Seen> {
    let (names, probe) = attached(program, source, method)?;
    Some(watch_on(program, names, probe))
}

/// A probe of a program; nothing when that is not permitted.
fn attached(
    program: &Program,
    source: Source,
    method: Method,
) -> Option<(ProcessNames, NativeProbe)> {
    let names = ProcessNames::open(program.child.id()).unwrap();
    match NativeProbe::attach(&names, source, method) {
        Ok(probe) => Some((names, probe)),
        Err(error) if error.kind() == ErrorKind::Denied => {
            println!("skipped: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Lets a program go on under a probe, and looks at what it did.
fn watch_on(program: &mut Program, mut names: ProcessNames, mut probe: NativeProbe) -> Seen {
    let truth = program.run();
    names.refresh().unwrap();
    probe.refresh(&names).unwrap();
    let so_far = probe.so_far();
    let (heap, counts) = probe.finish().unwrap();
    // The program waits: what is read as it goes on is what there is in the end.
    assert_eq!((so_far.blocks, so_far.stacks), (heap.blocks.clone(), heap.stacks.clone()));
    let calls = heap.stacks.values().flat_map(|stack| &stack.calls);
    names.look_up(calls.map(|call| Addr(call.0 - 1)));
    Seen { truth, heap, counts, names }
}

impl Seen {
    /// Its calls by name, the innermost first.
    fn stack(&self, stack: &CallStack) -> Vec<String> {
        let mut names = Vec::new();
        for call in &stack.calls {
            let call = Addr(call.0 - 1);
            let frames = self.names.frames(call);
            match frames.is_empty() {
                true => names.push(self.names.unnamed(call)),
                false => names.extend(frames.iter().map(|frame| frame.function.clone())),
            }
        }
        names
    }

    /// What is left by the function that asked: the innermost whose name begins so. All else must
    /// have been asked for by these.
    fn sites(&self, prefix: &str, others: &[&str]) -> Sites {
        let mut sites = Sites::new();
        for block in &self.heap.blocks {
            let stack = self.stack(&self.heap.stacks[&block.stack]);
            // Names of the linker for parts of functions that are seldom run.
            let name = |name: &String| name.strip_suffix(".cold").unwrap_or(name).to_owned();
            let Some(site) = stack.iter().map(name).find(|name| name.starts_with(prefix)) else {
                let is_known = stack.iter().any(|name| others.contains(&name.as_str()));
                assert!(is_known, "nothing like {prefix} in {stack:?}");
                continue;
            };
            let of = sites.entry(site).or_default();
            *of = (of.0 + block.weight.unwrap_or(block.size).0, of.1 + 1);
        }
        sites
    }

    /// Nothing was lost, and every stack was unwound to its end.
    fn check_complete(&self) {
        let ProbeCounts { dropped, table_full, without_stack, .. } = self.counts;
        assert_eq!((dropped, table_full, without_stack), (0, 0, 0));
        for stack in self.heap.stacks.values() {
            assert_eq!(stack.end, StackEnd::Outermost, "{:?}", self.stack(stack));
        }
    }
}

/// A program of this folder's, compiled.
fn compiled(folder: &Path, source: &str, flags: &[&str]) -> Command {
    let program = folder.join("program");
    let compiler = if source.ends_with(".cc") { "g++" } else { "gcc" };
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/probes/native").join(source);
    let always = ["-O2", "-fomit-frame-pointer", "-pthread", "-Wno-unused-result", "-o"];
    let mut command = Command::new(compiler);
    command.args(always).arg(&program).args(flags).arg(&source);
    let made = command.output().expect("a compiler");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Command::new(program)
}

/// What the C library asks for in the name of a program: what threads have of their own, and the
/// buffers of streams.
const OF_LIBC: [&str; 2] = ["start_threads", "_IO_file_doallocate"];

/// Counts every block of a program, and expects what the program says.
fn check_all(command: &mut Command, prefix: &str, others: &[&str]) {
    let Some(seen) = watch(command, 1, Method::Best) else { return };
    seen.check_complete();
    assert_eq!(seen.sites(prefix, others), seen.truth);
    let calls = seen.heap.stacks.values().flat_map(|stack| seen.stack(stack));
    let calls: Vec<String> = calls.collect();
    // Libraries of the system do not name what they do not export; hand-written code that is not
    // marked as a function (cgo's crosscall1, below threads that Go started) has no name either.
    let unnamed: Vec<&String> =
        calls.iter().filter(|name| name.starts_with("program+0x")).collect();
    assert!(unnamed.len() * 100 <= calls.len(), "{unnamed:?} of {}", calls.len());
}

#[test]
fn every_byte_of_a_c_program_is_counted_where_it_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    check_all(&mut compiled(folder.path(), "leaks.c", &[]), "leak_", &OF_LIBC);
    check_all(&mut compiled(folder.path(), "leaks.c", &["-no-pie", "-g"]), "leak_", &OF_LIBC);
}

/// Where a probe sees no return unless it sees all, as on older kernels.
#[test]
fn every_byte_is_counted_without_sessions() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = compiled(folder.path(), "leaks.c", &[]);
    let Some(seen) = watch(&mut command, 1, Method::Probes) else { return };
    seen.check_complete();
    assert_eq!(seen.sites("leak_", &OF_LIBC), seen.truth);
}

#[test]
fn every_byte_of_a_cpp_program_is_counted_where_it_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    check_all(&mut compiled(folder.path(), "leaks.cc", &[]), "leak_", &OTHERS_OF_CPP);
}

/// The object that the program keeps to its end, and what a thread is started with.
const OTHERS_OF_CPP: [&str; 4] =
    ["main", "pthread_create", "__cxa_get_globals", "_IO_file_doallocate"];

#[test]
fn a_program_that_has_its_c_library_in_it_is_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    check_all(&mut compiled(folder.path(), "leaks.c", &["-static"]), "leak_", &OF_LIBC);
}

/// An address is given out anew the moment it is free: which thread sees what first must not matter.
#[test]
fn threads_that_free_each_others_blocks_are_counted_exactly() {
    let folder = tempfile::tempdir().unwrap();
    check_all(&mut compiled(folder.path(), "threads.c", &[]), "change", &["main"]);
}

/// Without names only what was asked for can be compared: how much by how many stacks.
#[test]
fn a_stripped_program_is_counted_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = compiled(folder.path(), "leaks.c", &["-s"]);
    let Some(seen) = watch(&mut command, 1, Method::Best) else { return };
    seen.check_complete();
    let blocks = |size: u64| seen.heap.blocks.iter().filter(|of| of.size.0 == size).count();
    // Sizes that one site alone asks for.
    let found = [100, 5000, 1000, 40000, 12345, 2100, 27, 4321, 640].map(blocks);
    assert_eq!(found, [1000, 51, 200, 20, 1, 10, 100, 1, 1000]);
    let deep = seen.heap.blocks.iter().find(|block| block.size.0 == 4321).unwrap();
    let stack = seen.stack(&seen.heap.stacks[&deep.stack]);
    assert!(stack.len() > 41 && stack[0].starts_with("program+0x"), "{stack:?}");
    assert_eq!(stack.iter().filter(|name| **name == stack[3]).count(), 40, "{stack:?}");
}

#[test]
fn what_c_gave_to_go_is_counted_where_go_called() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("program");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/probes/native/cgo");
    let mut command = Command::new("go");
    command.current_dir(source).args(["build", "-o"]).arg(&program).arg(".");
    let made = command.env("CGO_ENABLED", "1").output();
    match made {
        Ok(made) => assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr)),
        Err(error) => return println!("skipped: there is no go: {error}"),
    }
    check_all(&mut Command::new(program), "main.leak", &OF_GO);
}

/// Go starts its threads by C where there is any.
const OF_GO: [&str; 2] = ["pthread_create", "_cgo_sys_thread_start"];

/// The mean of the samples is what was asked for: each block is in with a probability that its size
/// tells, and stands for the inverse of it.
#[test]
fn a_sample_tells_what_is_left_within_its_error() {
    const EVERY: u64 = 512 << 10;
    let folder = tempfile::tempdir().unwrap();
    let mut command = compiled(folder.path(), "leaks.c", &[]);
    let Some(seen) = watch(command.arg("200"), EVERY, Method::Best) else { return };
    seen.check_complete();
    let mut found: BTreeMap<String, (f64, f64, u64)> = BTreeMap::new();
    for block in &seen.heap.blocks {
        let stack = seen.stack(&seen.heap.stacks[&block.stack]);
        let Some(site) = stack.into_iter().find(|name| name.starts_with("leak_")) else { continue };
        let size = block.size.0 as f64;
        let likely = 1.0 - (-size / EVERY as f64).exp();
        let (bytes, variance, blocks) = found.entry(site).or_default();
        *bytes += size / likely;
        *variance += size * size * (1.0 - likely) / (likely * likely);
        *blocks += 1;
    }
    for site in ["leak_malloc", "leak_calloc"] {
        let (bytes, variance, blocks) = found[site];
        let (truth, all) = seen.truth[site];
        let errors = (bytes - truth as f64) / variance.sqrt();
        assert!(errors.abs() < 5.0, "{site}: {bytes} of {truth} bytes, {errors} errors off");
        assert!(blocks * 50 < all, "{site}: {blocks} of {all} blocks are no sample");
    }
    assert!(seen.counts.seen > 250_000, "{}", seen.counts.seen);
}

/// What a program tells is what it says it told, wherever its compiler left the arguments, and it knows
/// that somebody looks for as long as somebody does.
#[test]
fn what_a_program_samples_itself_is_taken_as_it_tells() {
    if !Path::new("/usr/include/x86_64-linux-gnu/sys/sdt.h").exists() {
        return println!("skipped: there is no sys/sdt.h (apt-get install systemtap-sdt-dev)");
    }
    for flags in [&[][..], &["-O0"], &["-no-pie", "-fno-omit-frame-pointer"], &["-static"]] {
        let folder = tempfile::tempdir().unwrap();
        let mut program = Program::start(&mut compiled(folder.path(), "tells.c", flags));
        let Some(seen) = watch_program(&mut program, Source::Usdt, Method::Best) else { return };
        seen.check_complete();
        assert_eq!(seen.sites("tell_", &[]), seen.truth, "{flags:?}");
        assert_eq!(seen.counts.seen, 500, "{flags:?}");
        let expected = Sites::from([("lookers".to_owned(), (0, 0))]);
        assert_eq!(program.run(), expected, "{flags:?}");
    }
}

#[test]
fn a_library_that_tells_may_be_loaded_later() {
    if !Path::new("/usr/include/x86_64-linux-gnu/sys/sdt.h").exists() {
        return println!("skipped: there is no sys/sdt.h (apt-get install systemtap-sdt-dev)");
    }
    let folder = tempfile::tempdir().unwrap();
    let library = folder.path().join("plugin.so");
    let built = compiled(folder.path(), "loads.c", &["-DPLUGIN", "-shared", "-fPIC"]);
    std::fs::rename(built.get_program(), &library).unwrap();
    let mut program = Program::start(compiled(folder.path(), "loads.c", &["-ldl"]).arg(&library));
    let Some((mut names, mut probe)) = attached(&program, Source::Usdt, Method::Best) else {
        return;
    };
    program.run();
    names.refresh().unwrap();
    probe.refresh(&names).unwrap();
    assert_eq!(probe.allocators().len(), 2, "{:?}", probe.allocators());
    let seen = watch_on(&mut program, names, probe);
    seen.check_complete();
    assert_eq!(seen.sites("tell_", &[]), seen.truth);
    assert_eq!(seen.counts.seen, 105);
}

#[test]
fn a_program_that_tells_nothing_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let program = Program::start(&mut compiled(folder.path(), "leaks.c", &[]));
    let names = ProcessNames::open(program.child.id()).unwrap();
    let error = NativeProbe::attach(&names, Source::Usdt, Method::Best).map(drop).unwrap_err();
    assert!(error.to_string().contains("no static probe otel_memory:free"), "{error}");
}

/// An allocator that is put in the place of the C library's.
fn check_preloaded(library: &str, package: &str, arguments: &[&str]) {
    let path = format!("/usr/lib/x86_64-linux-gnu/{library}");
    if !Path::new(&path).exists() {
        return println!("skipped: there is no {library} (apt-get install {package})");
    }
    let folder = tempfile::tempdir().unwrap();
    let mut command = compiled(folder.path(), "leaks.c", &[]);
    check_all(command.env("LD_PRELOAD", &path), "leak_", &OF_LIBC);
    // Its operators are its own. They throw, and the program goes on.
    let mut command = compiled(folder.path(), "leaks.cc", &[]);
    check_all(command.env("LD_PRELOAD", &path).args(arguments), "leak_", &OTHERS_OF_CPP);
}

#[test]
fn jemalloc_is_looked_at() {
    check_preloaded("libjemalloc.so.2", "libjemalloc2", &[]);
}

#[test]
fn tcmalloc_is_looked_at() {
    check_preloaded("libtcmalloc_minimal.so.4", "libtcmalloc-minimal4", &[]);
}

#[test]
fn mimalloc_is_looked_at() {
    // Debian's is compiled as C, and ends the program instead of throwing.
    check_preloaded("libmimalloc.so.2", "libmimalloc2.0", &["calm"]);
}

/// What was asked for and freed by function, and how long that lived.
struct Turnover {
    asked: Sites,
    freed: Sites,
    lived: BTreeMap<String, Vec<(Duration, u64)>>,
}

impl Seen {
    fn turnover(&self, prefix: &str) -> Turnover {
        let mut of = Turnover { asked: Sites::new(), freed: Sites::new(), lived: BTreeMap::new() };
        for sum in &self.heap.turnover {
            let stack = self.stack(&self.heap.stacks[&sum.stack]);
            let Some(site) = stack.into_iter().find(|name| name.starts_with(prefix)) else {
                continue;
            };
            let sums = if sum.lived.is_some() { &mut of.freed } else { &mut of.asked };
            let sums = sums.entry(site.clone()).or_default();
            *sums = (sums.0 + sum.size.0, sums.1 + sum.blocks);
            if let Some(lived) = sum.lived {
                of.lived.entry(site).or_default().push((lived, sum.blocks));
            }
        }
        of
    }
}

#[test]
fn what_was_freed_is_counted_with_the_time_that_it_lived() {
    let folder = tempfile::tempdir().unwrap();
    for method in [Method::Best, Method::Probes] {
        let mut command = compiled(folder.path(), "lives.c", &[]);
        let Some(seen) = watch(&mut command, 1, method) else { return };
        seen.check_complete();
        let of = |what: &str| -> Sites {
            let own = seen
                .truth
                .iter()
                .filter_map(|(site, sums)| Some((site.strip_prefix(what)?.to_owned(), *sums)));
            own.collect()
        };
        let found = seen.turnover("lives_");
        assert_eq!(found.asked, of("asked_"));
        assert_eq!(found.freed, of("freed_"));
        // An eighth of a power of two on either side, and a machine that may be busy.
        let most = |site: &str, from: u64, to: u64| {
            let lived = &found.lived[site];
            let is_within = |lived: &Duration| {
                (Duration::from_millis(from)..Duration::from_millis(to)).contains(lived)
            };
            let within: u64 =
                lived.iter().filter(|(lived, _)| is_within(lived)).map(|of| of.1).sum();
            let all: u64 = lived.iter().map(|of| of.1).sum();
            assert!(within * 10 >= all * 9, "{site}: {lived:?}");
        };
        most("lives_brief", 0, 2);
        most("lives_while", 180, 1000);
        most("lives_grown", 18, 200);
    }
}
