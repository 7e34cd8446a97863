//! Each format once, and what `#` lines add.

use model::{Profile, SampleId};

use super::{TextNames, read};

fn parse(text: &str) -> (Profile, TextNames) {
    read(text.as_bytes()).unwrap()
}

fn names(profile: &Profile, sample: u32) -> Vec<String> {
    let function = |line: model::Line| profile.functions[line.function.0 as usize].name;
    profile.lines(SampleId(sample)).map(|line| profile.str(function(line)).to_owned()).collect()
}

const GOROUTINES: &str = "\
goroutine profile: total 15
14 @ 0x47ec0e 0x4e6a19 0x4856e1
# labels: {\"worker\":\"0\", \"a \\\"b\\\"\":\"\\u00e9\"}
#\t0x4e6a18\tmain.main.func2+0x18\t/src/main.go:128

1 @ 0x4e605e 0x44d095
#\t0x4e605d\tmain.write+0x13d\t\t/src/main.go:90
#\t0x44d094\truntime.main+0x2d4\t/go/src/runtime/proc.go:290
";

#[test]
fn go_counts_take_names_and_labels_from_comments() {
    let (mut profile, text) = parse(GOROUTINES);
    assert_eq!(profile.samples.values, [[14, 1]]);
    assert_eq!(profile.locations[0].address.0, 0x47ec0d);
    assert_eq!(names(&profile, 0), [""; 0]);
    assert_eq!(text.labels_of(SampleId(0))[1], ("a \"b\"".to_owned(), "é".to_owned()));
    text.apply(&mut profile);
    assert_eq!(names(&profile, 0), ["main.main.func2"]);
    assert_eq!(names(&profile, 1), ["main.write", "runtime.main"]);
    let stack = profile.samples.stacks[0];
    assert_eq!(profile.stacks.get(stack).len(), 1, "frames without a name are left out");
    assert_eq!(profile.samples.labels(SampleId(0)).len(), 2);
    assert_eq!(profile.lines(SampleId(0)).next().unwrap().line, 128);
}

#[test]
fn goroutines_that_have_not_run_are_named_by_their_entry() {
    let (mut profile, text) =
        parse("goroutine profile: total 1\n1 @ 0x100 0x200\n#\t0x100\tmain.fresh+0x0\t/a.go:7\n");
    text.apply(&mut profile);
    assert_eq!(names(&profile, 0), ["main.fresh"]);
}

#[test]
fn go_heaps_are_scaled_by_half_the_printed_rate() {
    let (profile, _) = parse("heap profile: 1: 100 [2: 200] @ heap/1024\n1: 100 [2: 200] @ 0x10\n");
    let scale = 1.0 / (1.0 - (-100.0_f64 / 512.0).exp());
    let expected = [2.0 * scale, 200.0 * scale, scale, 100.0 * scale].map(|value| value as i64);
    let row: Vec<i64> = profile.samples.row(SampleId(0)).collect();
    assert_eq!(row, expected);
    assert_eq!(profile.num_label(SampleId(0), "bytes"), Some(100));
    assert_eq!(profile.period, 512);
}

#[test]
fn threads_same_as_the_one_before_add_up() {
    let text = "--- threadz 1 ---\n\n--- Thread 7f (name: a/1) stack: ---\n  0x100\n  0x200\n\
                --- Thread 7e (name: b/2) stack: ---\n   [same as previous thread]\n\
                --- Memory map: ---\n00000000-00001000: /bin/app\n";
    let (profile, _) = parse(text);
    assert_eq!(profile.samples.values, [[2]]);
    assert_eq!(profile.str(profile.mappings[0].filename), "/bin/app");
}

#[test]
fn contention_cycles_become_nanoseconds() {
    let text = "--- mutex:\ncycles/second=2000000000\nsampling period=2\n1000 3 @ 0x10 0x20\n";
    let (profile, _) = parse(text);
    assert_eq!(profile.samples.values, [[6], [1000]]);
}

#[test]
fn cpu_words_of_any_size_and_order_are_read() {
    let words: [u64; 13] = [0, 3, 0, 100, 0, 5, 2, 0x10, 0x21, 0, 1, 0, 0];
    let words = &words[..12];
    let little: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let big: Vec<u8> = words.iter().flat_map(|word| (*word as u32).to_be_bytes()).collect();
    for bytes in [little, big] {
        let (profile, _) = read(&bytes).unwrap();
        assert_eq!(profile.samples.values, [[5], [500_000]]);
        assert_eq!(profile.locations.len(), 1, "the frame all samples share is removed");
    }
}

#[test]
fn java_heaps_name_their_frames_at_the_end() {
    let text = "--- heapz 1 ---\nformat = java\nresolution=bytes\n  7048 1 @ 0x4 0x5\n\
                0x4 com.example.Main.run (Main.java:12)\n0x5 GC\n";
    let (profile, _) = parse(text);
    assert_eq!(names(&profile, 0), ["com.example.Main.run", "GC"]);
    assert_eq!(profile.num_label(SampleId(0), "bytes"), Some(7048));
}

#[test]
fn damage_is_an_error_or_no_profile() {
    for text in [
        "",
        "hello",
        "goroutine profile: total 1\nnonsense\n",
        "heap profile: 1: 2 [1: 2] @ heapprofile\nx\n",
        "heap profile: 0: 2 [0: 2] @ heapprofile\n0: 2 [0: 2] @ 0x1\n",
        "--- heapz 1 ---\nformat = other\n",
        "goroutine profile: total 1\n99999999999999999999 @ 0x1\n",
    ] {
        assert!(read(text.as_bytes()).is_err(), "{text:?}");
    }
    for end in 0..GOROUTINES.len() {
        let _ = read(&GOROUTINES.as_bytes()[..end]);
    }
}
