//! One example of each format.

use model::{Profile, SampleId};

use super::read;

fn parse(text: &str) -> Profile {
    read(text).unwrap().unwrap().0
}

fn names(profile: &Profile, sample: u32) -> Vec<String> {
    let function = |line: model::Line| profile.functions[line.function.0 as usize].name;
    profile.lines(SampleId(sample)).map(|line| profile.str(function(line)).to_owned()).collect()
}

#[test]
fn folded_stacks() {
    let profile = parse("main;handle;alloc 42\nmain;std::vector<int, long> 1.6\n");
    assert_eq!(names(&profile, 0), ["alloc", "handle", "main"]);
    assert_eq!(names(&profile, 1), ["std::vector<int, long>", "main"]);
    assert_eq!(profile.samples.values, [[42, 2]]);
    assert!(read("just some words\nand more of them\n").is_none());
}

#[test]
fn perf_scripts() {
    let text = "my app 1234/1240 [003] 77.123456:     250000 cycles:u: \n\
                \t    7f1 malloc+0x1d (/lib/libc.so.6)\n\t  55d2 [unknown] (/bin/app)\n\n\
                swapper     0 [001] 78.1: 1 cycles: \n\tffffff idle ([kernel.kallsyms])\n";
    let profile = parse(text);
    assert_eq!(profile.samples.values, [[1, 1], [250_000, 1]]);
    assert_eq!(names(&profile, 0), ["malloc"]);
    assert_eq!(profile.num_label(SampleId(0), "pid"), Some(1234));
    assert_eq!(profile.mappings.len(), 3);
}

#[test]
fn jemalloc_dumps() {
    let text = "heap_v2/1024\n  t*: 3: 300 [0: 0]\n@ 0x1001 0x2001\n  t*: 2: 200 [0: 0]\n  \
                t0: 2: 200 [0: 0]\nMAPPED_LIBRARIES:\n00001000-00003000 r-xp 0 00:00 0 /bin/app\n";
    let profile = parse(text);
    let scale = 1.0 / (1.0 - (-100.0_f64 / 1024.0).exp());
    assert_eq!(profile.samples.values, [[(2.0 * scale) as i64], [(200.0 * scale) as i64]]);
    assert_eq!(profile.locations[0].address.0, 0x1000);
    assert!(profile.locations.iter().all(|location| location.mapping.is_some()));
}

#[test]
fn speedscope_files() {
    let text = r#"{"shared":{"frames":[{"name":"main"},{"name":"f","file":"a.go","line":3}]},
        "profiles":[{"type":"sampled","name":"heap","unit":"bytes","samples":[[0,1],[0]],"weights":[10,5]},
        {"type":"evented","name":"e","unit":"bytes","events":[{"type":"O","at":1,"frame":0},
        {"type":"O","at":2,"frame":1},{"type":"C","at":5,"frame":1},{"type":"C","at":6,"frame":0}]}]}"#;
    let profile = parse(text);
    assert_eq!(names(&profile, 0), ["f", "main"]);
    assert_eq!(profile.samples.values, [[10, 5, 1, 3, 1]]);
    assert!(read("{\"a\":1}").unwrap().is_err());
    let missing = r#"{"shared":{"frames":[]},"profiles":[{"unit":"none","samples":[[7]]}]}"#;
    assert!(read(missing).unwrap().is_err());
}

#[test]
fn goroutine_dumps() {
    let text = "goroutine 1 [running]:\nmain.main()\n\t/src/main.go:12 +0x1d\n";
    assert_eq!(names(&parse(text), 0), ["main.main"]);
}
