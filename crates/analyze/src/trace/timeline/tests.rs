//! A random scheduler, whose timeline must say what adding up each span says. Real traces
//! are compared with Go's summarizer in memsight's tests.

use model::trace::{
    Event, GoId, GoState, GoTransition, Metric, ProcId, ProcState, Range, StackId, StringId,
    Tables, ThreadId, Time, What,
};

use super::{Activity, Builder, Column, Figure, Point, Slice, Slot, Timeline, Track, View};
use crate::trace::Analysis;

const PROCS: usize = 3;
const GOROUTINES: i64 = 12;

/// A span of a goroutine, with its P.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Span {
    start: i64,
    end: i64,
    slot: u32,
    activity: Activity,
    proc: Option<usize>,
}

/// A generator of numbers that is the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// Events and, beside them, what happened.
struct World {
    random: Random,
    builder: Builder,
    tables: Tables<'static>,
    time: i64,
    /// By goroutine: what it does on which P since when.
    doing: Vec<(Activity, Option<usize>, i64)>,
    spans: Vec<Span>,
    heap: Vec<(i64, u64)>,
}

use Activity::{Collecting, Ended, Ready, Running, Syscall, SyscallBlocked, Waiting};

impl World {
    fn new(seed: u64) -> World {
        let mut tables = Tables::default();
        tables.add_string(StringId(1), b"chan receive");
        tables.seal().unwrap();
        let mut world = World {
            random: Random(seed),
            builder: Builder::default(),
            tables,
            time: 1000,
            doing: vec![(Ended, None, 0); GOROUTINES as usize],
            spans: Vec::new(),
            heap: Vec::new(),
        };
        world.event(None, -1, What::Sync { number: 1 });
        world
    }

    fn event(&mut self, proc: Option<usize>, goroutine: i64, what: What) {
        let event = Event {
            time: Time(self.time),
            thread: ThreadId(1),
            proc: proc.map_or(ProcId::NONE, |at| ProcId(at as i64)),
            goroutine: GoId(goroutine),
            stack: StackId(0),
            what,
        };
        self.builder.event(&event, &self.tables);
    }

    /// A goroutine does something else; the events are those of the reader.
    fn go(&mut self, goroutine: usize, to: Activity, proc: Option<usize>) {
        let (from, old_proc, since) = self.doing[goroutine];
        let slot = goroutine as u32;
        if from != Ended {
            let (start, end) = (since, self.time);
            self.spans.push(Span { start, end, slot, activity: from, proc: old_proc });
        }
        self.doing[goroutine] = (to, proc, self.time);
        let state = |activity: Activity| match activity {
            Ended => GoState::NotExist,
            Ready => GoState::Runnable,
            Running | Collecting => GoState::Running,
            Syscall | SyscallBlocked => GoState::Syscall,
            Waiting => GoState::Waiting,
        };
        let id = goroutine as i64 + 1;
        match (from, to) {
            (Running, Collecting) => {
                let assist = Range::Assist { goroutine: GoId(id) };
                self.event(proc, id, What::RangeBegin(assist));
            }
            (Collecting, Running) => {
                let assist = Range::Assist { goroutine: GoId(id) };
                self.event(proc, id, What::RangeEnd(assist));
            }
            (Syscall, SyscallBlocked) => {
                let proc = ProcId(old_proc.unwrap() as i64);
                let (from, to) = (ProcState::Running, ProcState::Idle);
                self.event(None, -1, What::Proc { proc, from, to });
            }
            _ => {
                let (goroutine, reason) = (GoId(id), StringId(u64::from(to == Waiting)));
                let (from, to, stack) = (state(from), state(to), StackId(0));
                let change = GoTransition { goroutine, from, to, reason, stack };
                self.event(proc.or(old_proc), id, What::Goroutine(change));
            }
        }
    }

    fn step(&mut self) {
        self.time += 1 + self.random.below(200) as i64;
        if self.random.below(10) == 0 {
            let value = 1_000_000 + self.random.below(1_000_000);
            self.heap.push((self.time, value));
            self.event(None, -1, What::Metric(Metric::HeapBytes, value));
            return;
        }
        let goroutine = self.random.below(GOROUTINES as u64) as usize;
        let choice = self.random.below(8);
        let (activity, proc, _) = self.doing[goroutine];
        let is_free = |at: &usize| self.doing.iter().all(|doing| doing.1 != Some(*at));
        let free = (0..PROCS).find(is_free);
        let (to, proc) = match (activity, choice) {
            (Ended, _) => (Ready, None),
            (Waiting | SyscallBlocked, _) => (Ready, None),
            (Ready, _) => match free {
                Some(at) => (Running, Some(at)),
                None => return,
            },
            (Running, 0..3) => (Waiting, None),
            (Running, 3..5) => (Syscall, proc),
            (Running, 5) => (Ready, None),
            (Running, _) => (Collecting, proc),
            (Collecting, _) => (Running, proc),
            (Syscall, 0..5) => (Running, proc),
            (Syscall, _) => (SyscallBlocked, None),
        };
        self.go(goroutine, to, proc);
    }

    fn finish(mut self, steps: usize) -> (Timeline, Vec<Span>, Vec<(i64, u64)>) {
        // All are there from the begin, so that goroutine N has the slot N.
        for goroutine in 0..GOROUTINES as usize {
            self.time += 1;
            self.go(goroutine, Ready, None);
        }
        (0..steps).for_each(|_| self.step());
        self.time += 1;
        self.event(None, -1, What::Sync { number: 2 });
        let end = self.time;
        for (slot, (activity, proc, start)) in self.doing.iter().enumerate() {
            if *activity != Ended {
                let (start, slot, activity, proc) = (*start, slot as u32, *activity, *proc);
                self.spans.push(Span { start, end, slot, activity, proc });
            }
        }
        self.spans.sort_by_key(|span| (span.start, span.slot));
        (self.builder.finish(), self.spans, self.heap)
    }
}

/// The spans of a row that are within some time.
fn row(spans: &[Span], track: Track, from: i64, to: i64) -> Vec<Span> {
    let is_in = |span: &&Span| match track {
        Track::Proc(at) => span.proc == Some(at as usize),
        Track::Goroutine(slot) => span.slot == slot.0,
        Track::Marking | Track::Stops => false,
    };
    let spans = spans.iter().filter(is_in).filter(|span| span.end > from && span.start < to);
    spans.copied().collect()
}

fn within(span: &Span, from: i64, to: i64) -> f64 {
    (span.end.min(to) - span.start.max(from)).max(0) as f64
}

/// What goes on beyond the end is cut there.
fn check_slices(found: &[Slice], expected: &[Span], to: i64) {
    let found = found.iter().map(|it| (it.start.0, it.end.0, it.slot.unwrap().0, it.activity));
    let expected = expected.iter().map(|it| (it.start, it.end.min(to), it.slot, it.activity));
    assert_eq!(found.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
}

/// `slack` is for the edges of buckets.
fn check_columns(found: &[Column], expected: &[Span], from: i64, to: i64, slack: f64) {
    let edge = |at: usize| from + ((to - from) as i128 * at as i128 / found.len() as i128) as i64;
    for (at, column) in found.iter().enumerate() {
        let (left, right) = (edge(at), edge(at + 1));
        let mut shares = [0.0; Activity::COUNT];
        let mut slots = [0.0; GOROUTINES as usize];
        for span in expected {
            let nanos = within(span, left, right);
            shares[span.activity as usize] += nanos / (right - left) as f64;
            slots[span.slot as usize] += nanos / (right - left) as f64;
        }
        for (found, expected) in column.shares.iter().zip(shares) {
            assert!((f64::from(*found) - expected).abs() <= slack, "{column:?}: {shares:?}");
        }
        if slack < 1e-3 && right > left {
            let most = slots.iter().copied().fold(0.0, f64::max);
            let own = column.slot.map_or(0.0, |slot| slots[slot.0 as usize]);
            assert!((own - most).abs() < 1e-6, "{column:?}: {slots:?}");
        }
    }
}

fn tracks() -> Vec<Track> {
    let procs = (0..PROCS as u32).map(Track::Proc);
    procs.chain((0..GOROUTINES as u32).map(|at| Track::Goroutine(Slot(at)))).collect()
}

#[test]
fn rows_are_what_adding_up_spans_says() {
    let (timeline, spans, _) = World::new(3).finish(60_000);
    assert!(
        timeline.log.blocks_from(timeline.end).len() == 1 && timeline.log.size() > 3 * (16 << 10)
    );
    // The Ps are numbered in the order in which they turn up.
    assert_eq!(timeline.procs(), [0, 1, 2].map(ProcId));
    let (start, end) = timeline.span();
    let mut random = Random(5);
    for round in 0..60 {
        let length = (end.0 - start.0) >> random.below(18);
        let from = start.0 + random.below((end.0 - start.0 - length + 1) as u64) as i64;
        let (from, to) = if round == 0 { (start.0, end.0) } else { (from, from + length.max(1)) };
        let views = timeline.views(&tracks(), Time(from), Time(to), 200);
        for (track, view) in tracks().into_iter().zip(views) {
            let expected = row(&spans, track, from, to);
            match view {
                View::Slices(slices) => check_slices(&slices, &expected, to),
                View::Columns(columns) => {
                    assert!(expected.len() > 200, "{} slices", expected.len());
                    check_columns(&columns, &expected, from, to, 1e-5);
                }
            }
        }
    }
}

#[test]
fn buckets_say_the_same_but_for_their_edges() {
    let (mut timeline, spans, _) = World::new(9).finish(30_000);
    timeline.changes_few = 0;
    let (start, end) = timeline.span();
    let width = timeline.buckets.width_nanos() as f64;
    let columns = 100;
    let slack = 2.0 * width / ((end.0 - start.0) / columns) as f64;
    assert!(slack < 0.1, "{slack}");
    for proc in 0..PROCS as u32 {
        let track = Track::Proc(proc);
        let view = timeline.slices(track, start, end, columns as usize);
        let View::Columns(found) = view else { panic!("few") };
        check_columns(&found, &row(&spans, track, start.0, end.0), start.0, end.0, slack);
        assert!(found.iter().all(|column| column.slot.is_some()));
    }
    for (figure, kind) in [(Figure::Running, 0), (Figure::Ready, 1), (Figure::Blocked, 2)] {
        let found = timeline.series(figure, start, end, columns as usize);
        let expected = counts(&spans, kind, start.0, end.0, columns as usize);
        for (found, expected) in found.iter().zip(&expected) {
            let found = found.unwrap();
            assert!((found.mean - expected.mean).abs() < 1.0, "{found:?}, {expected:?}");
            assert!(found.min <= expected.min && found.max >= expected.max);
        }
    }
}

/// How many goroutines do what, from the spans: at each moment at which that changes.
fn counts(spans: &[Span], kind: usize, from: i64, to: i64, count: usize) -> Vec<Point> {
    let mut changes: Vec<(i64, i64)> = Vec::new();
    for span in spans.iter().filter(|span| span.activity.count_kind() == Some(kind)) {
        changes.extend([(span.start, 1), (span.end, -1)]);
    }
    changes.sort_unstable();
    let edge = |at: usize| from + ((to - from) as i128 * at as i128 / count as i128) as i64;
    let mut points = Vec::new();
    for at in 0..count {
        let (left, right) = (edge(at), edge(at + 1));
        let before = changes.iter().take_while(|change| change.0 <= left);
        let mut number: i64 = before.map(|change| change.1).sum();
        let (mut min, mut max, mut sum, mut since) = (number, number, 0, left);
        let mut rest = changes.iter().skip_while(|change| change.0 <= left).peekable();
        while let Some((time, change)) = rest.next_if(|change| change.0 < right) {
            sum += number * (time - since);
            since = *time;
            number += change;
            // Of several at one time the last one holds.
            if rest.peek().is_none_or(|next| next.0 != *time) {
                (min, max) = (min.min(number), max.max(number));
            }
        }
        sum += number * (right - since);
        let mean = sum as f64 / (right - left) as f64;
        points.push(Point { min: min as u64, max: max as u64, mean });
    }
    points
}

#[test]
fn series_are_what_holds_until_the_next_value() {
    let (timeline, spans, heap) = World::new(21).finish(20_000);
    let (start, end) = timeline.span();
    for (from, to) in [(start.0, end.0), (start.0 + 50_000, start.0 + 90_000)] {
        for (figure, kind) in [(Figure::Running, 0), (Figure::Ready, 1), (Figure::Blocked, 2)] {
            let found = timeline.series(figure, Time(from), Time(to), 50);
            for (found, expected) in found.iter().zip(counts(&spans, kind, from, to, 50)) {
                let found = found.unwrap();
                assert!((found.mean - expected.mean).abs() < 1e-6, "{found:?}, {expected:?}");
                assert_eq!((found.min, found.max), (expected.min, expected.max));
            }
        }
        let found = timeline.series(Figure::HeapBytes, Time(from), Time(to), 50);
        let edge = |at: i64| from + (to - from) * at / 50;
        for (at, found) in found.iter().enumerate() {
            let (left, right) = (edge(at as i64), edge(at as i64 + 1));
            let held = heap.iter().rposition(|value| value.0 <= left);
            let within = heap.iter().skip(held.unwrap_or(0)).take_while(|value| value.0 < right);
            let values: Vec<u64> = within.map(|value| value.1).collect();
            assert_eq!(found.map(|it| it.min), values.iter().min().copied(), "{left}");
            assert_eq!(found.map(|it| it.max), values.iter().max().copied(), "{left}");
        }
    }
    assert_eq!(timeline.series(Figure::HeapGoalBytes, start, end, 2), [None, None]);
}

#[test]
fn goroutines_stops_and_marking_are_known() {
    let mut world = World::new(1);
    world.go(4, Ready, None);
    let stop = Range::StopTheWorld { reason: StringId(1) };
    for what in [
        What::RangeActive(Range::Mark),
        What::RangeBegin(stop),
        What::RangeEnd(stop),
        What::RangeEnd(Range::Mark),
        What::RangeBegin(Range::Mark),
    ] {
        world.time += 10;
        world.event(Some(0), 5, what);
    }
    world.time += 10;
    world.event(None, -1, What::Sync { number: 2 });
    let timeline = world.builder.finish();
    let (start, end) = timeline.span();
    assert_eq!((start, end), (Time(1000), Time(1060)));
    let (slot, goroutine) = timeline.goroutine(GoId(5)).unwrap();
    assert_eq!((goroutine.created, goroutine.ended), (Time(1000), Time(1060)));
    assert_eq!((slot, timeline.text(goroutine.function)), (Slot(0), ""));
    assert_eq!(timeline.goroutine(GoId(6)), None);
    let times = |track| match timeline.slices(track, start, end, 9) {
        View::Slices(slices) => slices.iter().map(|it| (it.start.0, it.end.0)).collect::<Vec<_>>(),
        View::Columns(_) => panic!("few"),
    };
    assert_eq!(times(Track::Marking), [(1000, 1040), (1050, 1060)]);
    assert_eq!(times(Track::Stops), [(1020, 1030)]);
    let View::Slices(stops) = timeline.slices(Track::Stops, start, end, 9) else { panic!("few") };
    assert_eq!(timeline.text(stops[0].reason.unwrap()), "chan receive");
    assert_eq!(timeline.tracks(), [Track::Marking, Track::Stops]);
}

#[test]
fn nothing_and_nonsense_are_no_errors() {
    let timeline = Builder::default().finish();
    let (start, end) = timeline.span();
    let none = View::Slices(Vec::new());
    assert_eq!(timeline.slices(Track::Proc(7), start, end, 10), none);
    assert_eq!(timeline.slices(Track::Goroutine(Slot(7)), start, end, 10), none);
    assert_eq!(timeline.series(Figure::Running, start, end, 3), [None; 3]);
    let (timeline, ..) = World::new(2).finish(100);
    let (start, end) = timeline.span();
    assert_eq!(timeline.slices(Track::Proc(7), start, end, 10), none);
    assert_eq!(timeline.slices(Track::Proc(0), end, start, 10), none);
    assert_eq!(timeline.slices(Track::Proc(0), start, end, 0), View::Columns(Vec::new()));
    assert!(timeline.series(Figure::Running, start, end, 0).is_empty());
}
