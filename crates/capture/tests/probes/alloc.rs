//! Sampled objects against what the program's own sampler says: the same samples, one by one.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use capture::ProcessTarget;
use capture::bpf::AllocProbe;
use decode::goruntime::{Bucket, Counts, HeapBuckets};
use model::probe::HeapSample;
use model::{Addr, Profile};

use crate::permitted;
use crate::toolchains::toolchains;

/// Allocated and freed objects, allocated and freed bytes, by function.
type Sums = BTreeMap<String, [i64; 4]>;

struct Sampled {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Drop for Sampled {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Sampled {
    /// The program, and what it took before.
    fn start(exe: &Path) -> (Sampled, Sums) {
        let mut command = Command::new(exe);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let stdin = child.stdin.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut started = Sampled { child, stdin, stdout };
        let sums = started.sums();
        (started, sums)
    }

    fn tell(&mut self, command: &str) -> Sums {
        writeln!(self.stdin, "{command}").unwrap();
        self.sums()
    }

    fn sums(&mut self) -> Sums {
        let lines = (&mut self.stdout).lines().map(Result::unwrap);
        let lines = lines.take_while(|line| line != "done");
        lines
            .map(|line| {
                let words: Vec<&str> = line.split(' ').collect();
                let numbers: Vec<i64> = words[1..].iter().map(|it| it.parse().unwrap()).collect();
                (words[0].to_owned(), numbers.try_into().unwrap())
            })
            .collect()
    }
}

fn build(go: &Path, dir: &Path, name: &str, flags: &[&str]) -> PathBuf {
    let out = dir.join(name);
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/probes/sampled");
    let mut command = Command::new(go);
    command.args(["build", "-o"]).arg(&out).args(flags).arg(".").current_dir(source);
    command.env("GOFLAGS", "").env("GOTOOLCHAIN", "local");
    assert!(command.status().unwrap().success());
    out
}

/// The functions of the program that stand in a sample.
fn functions(profile: &Profile) -> Vec<Vec<String>> {
    let name = |line: model::Line| {
        profile.str(profile.functions[line.function.0 as usize].name).to_owned()
    };
    profile.samples.ids().map(|id| profile.lines(id).map(name).collect()).collect()
}

/// What the probe saw: counts by stack and size, and where what lives was allocated.
#[derive(Default)]
struct Seen {
    counts: BTreeMap<(Vec<Addr>, u64), Counts>,
    live: HashMap<Addr, (Vec<Addr>, u64)>,
}

impl Seen {
    fn push(&mut self, sample: HeapSample) {
        match sample {
            HeapSample::Allocated(object) => {
                let key = (object.stack, object.size.0);
                let counts = self.counts.entry(key.clone()).or_default();
                counts.allocs += 1;
                counts.alloc_bytes += key.1;
                assert!(self.live.insert(object.address, key).is_none(), "twice at one place");
            }
            HeapSample::Freed { time, address, size, born, .. } => {
                let key = self.live.remove(&address).expect("what died was born");
                let counts = self.counts.get_mut(&key).unwrap();
                counts.frees += 1;
                counts.free_bytes += size.0;
                assert!(size.0 == key.1 && born < time);
            }
        }
    }
}

/// By function of the program, and the whole stacks.
fn by_function(seen: &Seen, target: &ProcessTarget) -> (Sums, Vec<Vec<String>>) {
    let bucket = |((stack, size), counts): (&(Vec<Addr>, u64), &Counts)| Bucket {
        size: *size,
        stack: stack.clone(),
        published: *counts,
        unpublished: Counts::default(),
    };
    let buckets: Vec<Bucket> = seen.counts.iter().map(bucket).collect();
    let counts: Vec<Counts> = buckets.iter().map(|bucket| bucket.published).collect();
    let found = HeapBuckets { rate: 1, is_consistent: true, buckets, ..HeapBuckets::default() };
    let stacks = functions(&target.profile_of_samples(&found).unwrap());
    assert_eq!(stacks.len(), counts.len());
    let mut sums = Sums::new();
    for (stack, count) in stacks.iter().zip(counts) {
        for name in ["main.keep", "main.drop", "main.large"] {
            if stack.iter().any(|function| function == name) {
                let sum = sums.entry(name.to_owned()).or_default();
                let added = [count.allocs, count.frees, count.alloc_bytes, count.free_bytes];
                sum.iter_mut().zip(added).for_each(|(sum, added)| *sum += added.cast_signed());
            }
        }
    }
    (sums, stacks)
}

fn check(exe: &Path, what: &str) {
    let Some(mut probe) = permitted(AllocProbe::open()) else { return };
    let (mut program, before) = Sampled::start(exe);
    let target = ProcessTarget::attach(program.child.id()).unwrap();
    let mut seen = Seen::default();
    probe.attach(&target).unwrap_or_else(|error| panic!("{what}: {error}"));
    let mut after = Sums::new();
    for command in ["keep 200000", "drop 100000", "large 20"] {
        after = program.tell(command);
        probe.read(Duration::ZERO, |sample| seen.push(sample));
    }
    let (found, stacks) = by_function(&seen, &target);
    for name in ["main.keep", "main.drop", "main.large"] {
        let (before, after) = (before[name], after[name]);
        let own: Vec<i64> =
            after.iter().zip(before).map(|(after, before)| after - before).collect();
        let ours = found.get(name).unwrap_or_else(|| panic!("{what}: no {name} in {stacks:?}"));
        assert_eq!(ours.as_slice(), own.as_slice(), "{what}, {name}");
        // Of 3 MiB one in 400 is not sampled.
        assert!(own[0] >= 15, "{what}, {name}: {own:?}");
    }
    // From the call that is responsible up to main, whole.
    let of_keep = stacks.iter().find(|stack| stack[0] == "main.keep").unwrap();
    assert_eq!(of_keep[..3], ["main.keep", "main.main", "runtime.main"], "{what}");
    assert_eq!((probe.counts().dropped, probe.counts().without_stack), (0, 0));
    // Those that live are those that the kernel knows of.
    let mut live = probe.live(target.pid());
    live.sort();
    let mut expected: Vec<Addr> = seen.live.keys().copied().collect();
    expected.sort();
    assert_eq!(live, expected, "{what}");
    // Nothing more is told after the end, and the program goes on.
    probe.detach(target.pid());
    assert!(probe.live(target.pid()).is_empty());
    program.tell("large 5");
    let mut late = 0;
    probe.read(Duration::ZERO, |sample| {
        late += u32::from(matches!(sample, HeapSample::Allocated(_)));
    });
    assert_eq!(late, 0, "{what}");
}

#[test]
fn samples_are_those_of_the_programs_own_sampler() {
    let dir = tempfile::tempdir().unwrap();
    for (name, go) in toolchains() {
        let plain = build(&go, dir.path(), &format!("plain-{name}"), &[]);
        check(&plain, &format!("Go {name}"));
        let flags = ["-ldflags=-s -w", "-buildmode=pie"];
        let stripped = build(&go, dir.path(), &format!("stripped-{name}"), &flags);
        check(&stripped, &format!("Go {name}, stripped, position independent"));
    }
}

/// How often the probe comes and goes; `MEMSIGHT_PROBE_ROUNDS` for more. The kernel takes a tenth of
/// a second each time.
const ROUNDS: usize = 20;

#[test]
fn coming_and_going_leaves_a_busy_program_as_it_was() {
    let Some(mut probe) = permitted(AllocProbe::open()) else { return };
    let dir = tempfile::tempdir().unwrap();
    let exe = build(Path::new("go"), dir.path(), "busy", &[]);
    let (mut program, before) = Sampled::start(&exe);
    let target = ProcessTarget::attach(program.child.id()).unwrap();
    writeln!(program.stdin, "drop 3000000").unwrap();
    let rounds = std::env::var("MEMSIGHT_PROBE_ROUNDS").ok().and_then(|text| text.parse().ok());
    for _ in 0..rounds.unwrap_or(ROUNDS) {
        probe.attach(&target).unwrap();
        probe.read(Duration::ZERO, |_| {});
        probe.detach(target.pid());
    }
    let after = program.sums();
    // It allocated all of it: one sample in 512 KiB, of which 12 GB have 23,400 ± 153.
    let taken = after["main.drop"][0] - before["main.drop"][0];
    assert!((22_000..25_000).contains(&taken), "{taken}");
    assert_eq!(program.tell("large 3")["main.large"][0], 3);
}
