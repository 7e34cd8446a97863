//! The timeline of a trace against Go's summarizer.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use analyze::trace::Analysis;
use analyze::trace::timeline::{Activity, Builder, Slot, Timeline, Track, View};
use decode::gotrace::Reader;
use serde_json::Value;

use crate::trace::{oracle, recordings, run};

fn timeline(file: &Path) -> Timeline {
    let bytes = std::fs::read(file).unwrap();
    let mut reader = Reader::new(&bytes).unwrap();
    let mut builder = Builder::default();
    while let Some(event) = reader.next().unwrap() {
        builder.event(&event, reader.tables());
    }
    builder.finish()
}

/// Nanoseconds by function and activity, from the rows of all goroutines.
fn of_goroutines(timeline: &Timeline) -> BTreeMap<String, [u64; Activity::COUNT]> {
    let (start, end) = timeline.span();
    let mut sums: BTreeMap<String, [u64; Activity::COUNT]> = BTreeMap::new();
    for (at, goroutine) in timeline.goroutines().iter().enumerate() {
        let track = Track::Goroutine(Slot(at as u32));
        let View::Slices(slices) = timeline.slices(track, start, end, usize::MAX >> 8) else {
            panic!("columns")
        };
        let sum = sums.entry(timeline.text(goroutine.function).to_owned()).or_default();
        for slice in slices {
            let is_over = slice.reason.is_some_and(|reason| timeline.text(reason) == "forever");
            if !is_over {
                sum[slice.activity as usize] += slice.end.nanos_since(slice.start);
            }
        }
    }
    sums
}

#[test]
fn rows_add_up_to_what_gos_summarizer_says() {
    let Some(oracle) = oracle() else { return };
    for (name, file) in recordings() {
        let theirs = run(Command::new(oracle).arg("-summary").arg(file)).stdout;
        let theirs: BTreeMap<String, Value> = serde_json::from_slice(&theirs).unwrap();
        let timeline = timeline(file);
        let ours = of_goroutines(&timeline);
        let functions = |names: Vec<&String>| names.into_iter().cloned().collect::<Vec<_>>();
        assert_eq!(
            functions(ours.keys().collect()),
            functions(theirs.keys().collect()),
            "Go {name}"
        );
        let mut had = 0;
        for (function, sums) in &ours {
            let their = &theirs[function];
            let of = |activities: &[Activity]| -> u64 {
                activities.iter().map(|activity| sums[*activity as usize]).sum()
            };
            let running = of(&[Activity::Running, Activity::Collecting]);
            had += running + of(&[Activity::Syscall]);
            // What is first seen runs from the begin of the trace on, here and there.
            assert_eq!(Some(running), their["Running"].as_u64(), "{function}, Go {name}");
            let syscall = of(&[Activity::Syscall, Activity::SyscallBlocked]);
            assert_eq!(Some(syscall), their["Syscall"].as_u64(), "{function}, Go {name}");
            let blocked = their["Blocked"].as_object().unwrap().values();
            let blocked: u64 = blocked.map(|nanos| nanos.as_u64().unwrap()).sum();
            assert_eq!(of(&[Activity::Waiting]), blocked, "{function}, Go {name}");
        }
        let (start, end) = timeline.span();
        let mut busy = 0;
        for track in timeline.tracks() {
            if let Track::Proc(_) = track
                && let View::Slices(slices) = timeline.slices(track, start, end, usize::MAX >> 8)
            {
                busy += slices.iter().map(|it| it.end.nanos_since(it.start)).sum::<u64>();
                assert!(slices.windows(2).all(|pair| pair[0].end <= pair[1].start), "Go {name}");
            }
        }
        // Goroutines that run when the trace begins have a P from the moment that says so.
        assert!(busy <= had && had - busy < 20_000_000, "{busy}, {had}, Go {name}");
    }
}
