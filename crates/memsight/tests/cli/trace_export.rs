//! `memsight trace export` against what `go tool trace` serves, and the two formats against
//! each other.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::{Process, fails, memsight, stdout};
use crate::trace::{recordings, run, scratch};

/// Slices with how often each is there: name, row, begin and length in nanoseconds.
type Slices = BTreeMap<(String, String, i64, i64), i64>;

fn nanos(micros: &Value) -> i64 {
    (micros.as_f64().unwrap_or(0.0) * 1000.0).round() as i64
}

/// Slices by the number of their row.
fn slices(trace: &Value) -> Slices {
    let mut slices = Slices::new();
    for event in trace["traceEvents"].as_array().unwrap().iter().filter(|it| it["ph"] == "X") {
        let name = event["name"].as_str().unwrap().to_owned();
        let key = (name, event["tid"].to_string(), nanos(&event["ts"]), nanos(&event["dur"]));
        *slices.entry(key).or_default() += 1;
    }
    slices
}

/// What the page of a trace gets.
fn of_go_tool_trace(file: &Path, queries: &[&str]) -> Vec<Value> {
    let mut go = Command::new("go");
    go.args(["tool", "-n", "trace"]).env("GOFLAGS", "").env("GOTOOLCHAIN", "local");
    let tool = String::from_utf8(run(&mut go).stdout).unwrap();
    let mut tool = Command::new(tool.trim());
    // Without this it would start the browser that it finds.
    tool.env("BROWSER", "true").arg("-http=127.0.0.1:0").arg(file);
    let mut tool = Process(tool.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    let lines = BufReader::new(tool.0.stderr.take().unwrap()).lines();
    let mut lines = lines.map_while(Result::ok);
    let address = lines.find_map(|line| Some(line.split_once("listening on ")?.1.to_owned()));
    let address = address.unwrap();
    let get = |query: &&str| {
        let mut response = ureq::get(format!("{address}/jsontrace{query}")).call().unwrap();
        let text = response.body_mut().with_config().limit(1 << 30).read_to_string().unwrap();
        serde_json::from_str(&text).unwrap()
    };
    queries.iter().map(get).collect()
}

fn export(file: &Path, more: &[&str]) -> Value {
    let mut arguments = vec!["trace", "export", file.to_str().unwrap()];
    arguments.extend(more);
    serde_json::from_str(&stdout(&arguments)).unwrap()
}

fn check_same(ours: &Slices, theirs: &Slices, what: &str) {
    let missing: Vec<_> = theirs.iter().filter(|it| ours.get(it.0) != Some(it.1)).collect();
    let added: Vec<_> = ours.iter().filter(|it| theirs.get(it.0) != Some(it.1)).collect();
    let (missing, added) = (&missing[..missing.len().min(5)], &added[..added.len().min(5)]);
    assert!(missing.is_empty() && added.is_empty(), "{what}: {missing:?} became {added:?}");
}

#[test]
fn slices_are_those_of_go_tool_trace() {
    for (name, file) in recordings() {
        let found = of_go_tool_trace(file, &["", "?goid=1"]);
        let [procs, goroutines] = found.as_slice() else { panic!("two") };
        let (ours, theirs) = (slices(&export(file, &[])), slices(procs));
        assert!(theirs.len() > 10_000, "{}", theirs.len());
        check_same(&ours, &theirs, &format!("Ps, Go {name}"));
        // The page of a goroutine has those that it works with, and no others.
        let theirs = slices(goroutines);
        let mut ours = slices(&export(file, &["--view", "goroutines"]));
        let rows: BTreeSet<&str> = theirs.keys().map(|their| their.1.as_str()).collect();
        ours.retain(|slice, _| rows.contains(slice.1.as_str()));
        check_same(&ours, &theirs, &format!("goroutines, Go {name}"));
    }
}

/// The counters of the heap are those of Go, too, and instants.
#[test]
fn counters_and_instants_are_those_of_go_tool_trace() {
    let Some((_, file)) = recordings().first() else { return };
    let theirs = of_go_tool_trace(file, &[""]).remove(0);
    let ours = export(file, &[]);
    let events = |trace: &Value, phase: &str, name: Option<&str>| -> Vec<String> {
        let events = trace["traceEvents"].as_array().unwrap().iter();
        let events =
            events.filter(|it| it["ph"] == phase && name.is_none_or(|of| it["name"] == of));
        let key = |it: &Value| {
            let arguments =
                if phase == "C" { it["args"].to_string() } else { it["name"].to_string() };
            format!("{} {} {arguments}", it["tid"], nanos(&it["ts"]))
        };
        let mut events: Vec<String> = events.map(key).collect();
        events.sort();
        events
    };
    for (phase, name) in [("C", Some("Heap")), ("I", None)] {
        let (ours, theirs) = (events(&ours, phase, name), events(&theirs, phase, name));
        assert!(theirs.len() > 100, "{}", theirs.len());
        assert_eq!(ours, theirs, "{phase}");
    }
}

/// A message of protobuf: the fields with their numbers.
fn fields(mut bytes: &[u8]) -> Vec<(u64, u64, &[u8])> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes);
        let (mut number, mut content) = (0, &[][..]);
        match tag & 7 {
            0 => number = varint(&mut bytes),
            1 => {
                number = u64::from_le_bytes(bytes[..8].try_into().unwrap());
                bytes = &bytes[8..];
            }
            2 => {
                let length = varint(&mut bytes) as usize;
                (content, bytes) = bytes.split_at(length);
            }
            kind => panic!("a field of kind {kind}"),
        }
        found.push((tag >> 3, number, content));
    }
    found
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first().unwrap();
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return value;
        }
    }
    panic!("a number of more than 64 bits")
}

fn get(fields: &[(u64, u64, &[u8])], number: u64) -> Option<u64> {
    fields.iter().find(|field| field.0 == number).map(|field| field.1)
}

fn content<'a>(fields: &[(u64, u64, &'a [u8])], number: u64) -> Option<&'a [u8]> {
    fields.iter().find(|field| field.0 == number).map(|field| field.2)
}

/// Slices by the name of their row, as a reader of Perfetto's format has them.
fn slices_of_perfetto(bytes: &[u8]) -> Slices {
    let mut names: BTreeMap<u64, String> = BTreeMap::new();
    let mut rows: BTreeMap<u64, String> = BTreeMap::new();
    let mut events = Vec::new();
    let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap().to_vec()).unwrap();
    for (_, _, packet) in fields(bytes) {
        let packet = fields(packet);
        if get(&packet, 13).unwrap() & 1 == 1 {
            names.clear();
        }
        if let Some(track) = content(&packet, 60) {
            let track = fields(track);
            rows.insert(get(&track, 1).unwrap(), text(content(&track, 2)));
        }
        if let Some(interned) = content(&packet, 12) {
            let entry = fields(content(&fields(interned), 2).unwrap());
            names.insert(get(&entry, 1).unwrap(), text(content(&entry, 2)));
        }
        if let Some(event) = content(&packet, 11) {
            let event = fields(event);
            let name = get(&event, 10).map(|id| names[&id].clone());
            let (time, kind) = (get(&packet, 8).unwrap() as i64, get(&event, 9).unwrap());
            events.push((time, kind, get(&event, 11).unwrap(), name));
        }
    }
    // Stable, as trace_processor sorts.
    events.sort_by_key(|event| event.0);
    let (mut open, mut slices) = (BTreeMap::<u64, Vec<_>>::new(), Slices::new());
    for (time, kind, track, name) in events {
        match kind {
            1 => open.entry(track).or_default().push((time, name.unwrap())),
            2 => {
                let (start, name) = open.get_mut(&track).and_then(Vec::pop).unwrap();
                let key = (name, rows[&track].clone(), start, time - start);
                *slices.entry(key).or_default() += 1;
            }
            3 | 4 => {}
            kind => panic!("an event of kind {kind}"),
        }
    }
    assert!(open.values().all(Vec::is_empty), "slices without an end");
    slices
}

#[test]
fn both_formats_have_the_same_slices() {
    let Some((_, file)) = recordings().first() else { return };
    for view in ["procs", "goroutines"] {
        let json = export(file, &["--view", view]);
        let names = json["traceEvents"].as_array().unwrap().iter();
        let names: BTreeMap<String, &str> = names
            .filter(|it| it["name"] == "thread_name")
            .map(|it| (it["tid"].to_string(), it["args"]["name"].as_str().unwrap()))
            .collect();
        let named = slices(&json).into_iter().map(|((name, row, start, took), count)| {
            ((name, names[row.as_str()].to_owned(), start, took), count)
        });
        let out = scratch(&format!("{view}.pftrace"));
        let arguments = ["trace", "export", file.to_str().unwrap(), "--format", "perfetto"];
        let more = ["--view", view, "--arrows", "-o", out.to_str().unwrap()];
        stdout(&[&arguments[..], &more[..]].concat());
        let perfetto = slices_of_perfetto(&std::fs::read(&out).unwrap());
        check_same(&perfetto, &named.collect(), view);
    }
}

#[test]
fn time_is_cut_and_arrows_are_extra() {
    let Some((_, file)) = recordings().first() else { return };
    let whole = export(file, &[]);
    let mut expected = slices(&whole);
    // Where most happens: the machine may have been busy with something else for a while.
    let mut starts: Vec<i64> = expected.keys().map(|slice| slice.2).collect();
    starts.sort_unstable();
    let [from, to] = [1, 2].map(|quarter| starts[starts.len() * quarter / 4] / 1_000_000 + 1);
    let (from, to) = (from, to.max(from + 1));
    let [begin, end] = [from, to].map(|millis| format!("{millis}ms"));
    let part = export(file, &["--from", &begin, "--to", &end, "--arrows"]);
    let (from, to) = (from * 1_000_000, to * 1_000_000);
    expected.retain(|(_, _, start, took), _| *start <= to && start + took >= from);
    check_same(&slices(&part), &expected, "a part");
    let count = |trace: &Value, phase: &str| {
        trace["traceEvents"].as_array().unwrap().iter().filter(|it| it["ph"] == phase).count()
    };
    assert_eq!((count(&whole, "s"), count(&whole, "t")), (0, 0));
    let (begins, ends) = (count(&part, "s"), count(&part, "t"));
    assert!(begins > 0 && begins == ends, "{begins} arrows begin, {ends} end");
}

/// Where the generations of a trace end (format 1.22 and later): a batch is its kind, its
/// generation, thread, time and size, and what it holds; from 1.26 on a byte ends a generation.
fn ends_of_generations(trace: &[u8]) -> Vec<usize> {
    let (mut rest, mut last, mut ends) = (&trace[16..], None, Vec::new());
    while !rest.is_empty() {
        let place = trace.len() - rest.len();
        let (kind, mut after) = rest.split_first().unwrap();
        if *kind == 1 {
            let generation = varint(&mut after);
            if last.replace(generation).is_some_and(|last| last != generation) {
                ends.push(place);
            }
            let [_, _, size] = [(); 3].map(|()| varint(&mut after));
            after = &after[size as usize..];
        } else {
            assert_eq!(*kind, 52, "at {place}");
        }
        rest = after;
    }
    ends.push(trace.len());
    ends
}

/// Two parts of a trace: up to its last generation, and up to the middle of that.
pub(crate) fn cut_in_last_generation(trace: &[u8]) -> [&[u8]; 2] {
    let ends = ends_of_generations(trace);
    let [.., whole, end] = ends[..] else { panic!("a single generation: {ends:?}") };
    [whole, whole + (end - whole) / 2].map(|end| &trace[..end])
}

/// Each command shows what can be read of a damaged trace, and says so.
#[test]
fn cut_traces_are_shown_with_a_warning() {
    let Some((_, file)) = recordings().first() else { return };
    let bytes = std::fs::read(file).unwrap();
    let [whole, part] = cut_in_last_generation(&bytes);
    let cut = scratch("export-cut.trace");
    std::fs::write(&cut, part).unwrap();
    let cut = cut.to_str().unwrap();
    for command in ["mmu", "tasks"] {
        let text = stdout(&["trace", command, cut]);
        assert!(text.contains("warning: the trace is cut off at offset "), "{command}: {text}");
        let json: Value =
            serde_json::from_str(&stdout(&["trace", command, cut, "--json"])).unwrap();
        assert!(json["warning"].as_str().unwrap().contains("cut off"), "{command}: {json}");
    }
    for (format, end) in [("chrome", &b"\n]}\n"[..]), ("perfetto", b"")] {
        let output = memsight(&["trace", "export", cut, "--format", format]);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{errors}");
        assert!(errors.contains("warning: the trace is cut off at offset "), "{errors}");
        assert!(output.stdout.len() > 10_000 && output.stdout.ends_with(end));
    }
    // All that the generations before the cut have, but what goes on at their end.
    let before = scratch("export-before.trace");
    std::fs::write(&before, whole).unwrap();
    let mut expected = slices(&export(&before, &[]));
    let last = expected.keys().map(|(_, _, start, took)| start + took).max().unwrap();
    expected.retain(|(_, _, start, took), _| start + took < last);
    assert!(expected.len() > 100, "{}", expected.len());
    let found = slices(&export(Path::new(cut), &[]));
    let missing = expected.iter().find(|it| found.get(it.0).is_none_or(|count| count < it.1));
    assert!(missing.is_none(), "{missing:?}");
    // Nothing is left of a file that could not be read.
    let (other, out) = (scratch("export-other.trace"), scratch("export-other.json"));
    std::fs::write(&other, "no trace at all, but long enough").unwrap();
    let (other, path) = (other.to_str().unwrap(), out.to_str().unwrap());
    for command in [&["mmu", other][..], &["tasks", other], &["export", other, "-o", path]] {
        let error = fails(&[&["trace"], command].concat(), 2);
        assert!(error.contains("not a Go execution trace"), "{error}");
    }
    assert!(!out.exists());
}
