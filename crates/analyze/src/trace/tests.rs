//! Hand-drawn traces. What real ones say is compared with Go in memsight's tests.

use model::trace::{
    Event, GoId, GoState, GoTransition, Metric, ProcId, ProcState, Range, StackFrame, StackId,
    StringId, Tables, ThreadId, Time, What,
};

use super::Analysis;
use super::collections::Collector;
use super::goroutines::{Group, Grouper};
use super::profile::{Profiler, Wait};
use super::summary::Summarizer;

/// 1: main.work, 2: main.go, 3: "chan receive", 4: "GC mark termination", 5: "forever"; a
/// stack with the one function, and one of a frame that the runtime could not name.
fn tables() -> Tables<'static> {
    let mut tables = Tables::default();
    let texts: [&[u8]; 5] =
        [b"main.work", b"main.go", b"chan receive", b"GC mark termination", b"forever"];
    for (at, text) in texts.iter().enumerate() {
        tables.add_string(StringId(at as u64 + 1), text);
    }
    let frame = StackFrame { pc: 16, function: StringId(1), file: StringId(2), line: 7 };
    let nameless = StackFrame { pc: 0, function: StringId(0), file: StringId(0), line: 0 };
    assert!(tables.add_stack(StackId(1), &[frame]) && tables.add_stack(StackId(2), &[nameless]));
    tables.seal().unwrap();
    tables
}

fn event(time: i64, what: What) -> Event {
    let (thread, proc) = (ThreadId(1), ProcId(0));
    Event { time: Time(time), thread, proc, goroutine: GoId(1), stack: StackId(1), what }
}

fn change(goroutine: i64, from: GoState, to: GoState, reason: u64) -> What {
    let (goroutine, reason, stack) = (GoId(goroutine), StringId(reason), StackId(1));
    What::Goroutine(GoTransition { goroutine, from, to, reason, stack })
}

fn feed(analysis: &mut impl Analysis, events: &[(i64, What)]) {
    let tables = tables();
    for (time, what) in events {
        analysis.event(&event(*time, *what), &tables);
    }
}

fn groups(events: &[(i64, What)]) -> Vec<Group> {
    let mut grouper = Grouper::default();
    feed(&mut grouper, events);
    grouper.finish()
}

use GoState::{NotExist, Runnable, Running, Syscall, Undetermined, Waiting};

#[test]
fn a_frame_without_a_name_names_no_goroutine() {
    let mut preempted = change(1, Undetermined, Runnable, 0);
    if let What::Goroutine(transition) = &mut preempted {
        transition.stack = StackId(2);
    }
    let events =
        [(100, What::Sync { number: 1 }), (110, preempted), (130, change(1, Runnable, Running, 0))];
    let found = groups(&events);
    assert_eq!((found.len(), found[0].function.as_str()), (1, "main.work"));
    let mut timeline = super::timeline::Builder::default();
    feed(&mut timeline, &events);
    let timeline = timeline.finish();
    assert_eq!(timeline.text(timeline.goroutines()[0].function), "main.work");
}

#[test]
fn times_begin_and_end_with_the_trace() {
    let found = groups(&[
        (100, What::Sync { number: 1 }),
        (110, change(1, Undetermined, Running, 0)),
        (130, change(1, Running, Waiting, 3)),
        (150, change(1, Waiting, Runnable, 0)),
        (155, change(1, Runnable, Running, 0)),
        (160, What::RangeBegin(Range::Assist { goroutine: GoId(1) })),
        (170, What::Sync { number: 2 }),
    ]);
    let [group] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((group.function.as_str(), group.goroutines), ("main.work", 1));
    assert_eq!((group.total_nanos, group.running_nanos), (70, 30 + 15));
    assert_eq!((group.runnable_nanos, group.assist_nanos), (5, 10));
    assert_eq!(group.blocked_nanos["chan receive"], 20);
}

#[test]
fn a_lost_p_divides_a_system_call() {
    let idle = What::Proc { proc: ProcId(0), from: ProcState::Running, to: ProcState::Idle };
    let found = groups(&[
        (0, What::Sync { number: 1 }),
        (10, change(2, NotExist, Runnable, 0)),
        (20, change(2, Runnable, Running, 0)),
        (30, change(2, Running, Syscall, 0)),
        (34, idle),
        (50, change(2, Syscall, Runnable, 0)),
        (52, change(2, Runnable, Running, 0)),
        (60, change(2, Running, NotExist, 0)),
        (99, What::Sync { number: 2 }),
    ]);
    let [group] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((group.syscall_nanos, group.syscall_blocked_nanos), (4, 16));
    assert_eq!((group.total_nanos, group.running_nanos, group.runnable_nanos), (50, 18, 12));
}

#[test]
fn blocked_forever_is_ended() {
    let found = groups(&[
        (0, What::Sync { number: 1 }),
        (10, change(2, NotExist, Running, 0)),
        (20, change(2, Running, Waiting, 5)),
        (90, What::Sync { number: 2 }),
    ]);
    assert_eq!((found[0].total_nanos, found[0].blocked_nanos_total()), (10, 0));
}

#[test]
fn cut_collections_have_what_the_trace_has() {
    let mut collector = Collector::default();
    let stop = Range::StopTheWorld { reason: StringId(4) };
    feed(
        &mut collector,
        &[
            (100, What::Sync { number: 1 }),
            (110, What::RangeActive(Range::Mark)),
            (120, What::Metric(Metric::HeapBytes, 500)),
            (130, What::RangeBegin(stop)),
            (131, What::Metric(Metric::HeapBytes, 300)),
            (132, What::RangeEnd(Range::Mark)),
            (135, What::RangeEnd(stop)),
            (140, What::Metric(Metric::HeapGoalBytes, 600)),
            (150, What::Metric(Metric::HeapBytes, 550)),
            (160, What::RangeBegin(Range::Mark)),
            (165, What::RangeBegin(Range::Assist { goroutine: GoId(1) })),
            (180, What::Sync { number: 2 }),
        ],
    );
    let found = collector.finish();
    assert_eq!(found.duration_nanos, 80);
    let [first, second] = found.collections.as_slice() else { panic!("{found:?}") };
    assert!(first.is_cut_at_start && !first.is_cut_at_end);
    assert_eq!((first.start_nanos, first.mark_nanos), (0, 32));
    assert_eq!(first.mark_termination_nanos, Some(5));
    let heap = (first.heap_before_bytes, first.heap_peak_bytes, first.heap_live_bytes);
    assert_eq!(heap, (None, Some(500), Some(300)));
    assert!(!second.is_cut_at_start && second.is_cut_at_end);
    assert_eq!((second.start_nanos, second.mark_nanos), (60, 20));
    assert_eq!((second.heap_before_bytes, second.goal_bytes), (Some(550), Some(600)));
    assert_eq!((second.assists.count, second.assists.total_nanos), (1, 15));
}

#[test]
fn waits_before_the_first_run_count_only_without_one() {
    let waits = |last: GoState| {
        let mut profiler = Profiler::new(Wait::Sync);
        feed(
            &mut profiler,
            &[
                (0, What::Sync { number: 1 }),
                (10, change(2, Undetermined, Waiting, 3)),
                (30, change(2, Waiting, Runnable, 0)),
                (50, change(2, Runnable, last, 0)),
                (60, change(2, last, Waiting, 3)),
                (64, change(2, Waiting, Runnable, 0)),
            ],
        );
        let profile = profiler.finish();
        profile.samples.ids().map(|id| profile.samples.row(id).collect()).collect::<Vec<Vec<i64>>>()
    };
    assert_eq!(waits(Running), [[1, 4]]);
    assert_eq!(waits(Waiting), [[2, 24]]);
}

#[test]
fn summaries_count_each_goroutine_once() {
    let mut summarizer = Summarizer::default();
    feed(
        &mut summarizer,
        &[
            (5, What::Sync { number: 1 }),
            (10, change(1, Undetermined, Running, 0)),
            (20, change(2, NotExist, Runnable, 0)),
            (30, change(2, Runnable, Running, 0)),
            (40, change(2, Running, NotExist, 0)),
            (41, What::Metric(Metric::HeapBytes, 7)),
            (42, What::Metric(Metric::HeapBytes, 3)),
            (45, What::Sync { number: 2 }),
        ],
    );
    let summary = summarizer.finish();
    let goroutines =
        (summary.goroutines_before, summary.goroutines_created, summary.goroutines_ended);
    assert_eq!(goroutines, (1, 1, 1));
    assert_eq!((summary.events, summary.generations, summary.duration_nanos), (8, 1, 40));
    let heap = summary.heap.unwrap();
    assert_eq!((heap.first, heap.last, heap.min, heap.max), (7, 3, 3, 7));
}
