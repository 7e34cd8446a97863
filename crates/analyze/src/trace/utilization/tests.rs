//! Hand-drawn traces, and random shares against looking at every window. What real traces
//! say is compared with Go in memsight's tests.

use model::trace::{
    Event, GoId, GoState, GoTransition, Metric, ProcId, Range, StackId, StringId, Tables, ThreadId,
    Time, What,
};

use super::{Analysis, Change, Counted, Curve, Utilization, Utilizer};

const ALL: Counted =
    Counted { stops: true, background: true, assists: true, sweeps: true, per_proc: false };

/// What happens when, on a P, of a goroutine.
type Row = (i64, i64, i64, What);

/// Strings: 1 is a stop for the collector, 2 another, 3 and 4 are labels of workers.
fn series(counted: Counted, rows: &[Row]) -> Vec<Vec<(i64, f64)>> {
    let mut tables = Tables::default();
    let texts: [&[u8]; 4] =
        [b"GC sweep termination", b"start trace", b"GC (dedicated)", b"GC (idle)"];
    for (at, text) in texts.iter().enumerate() {
        tables.add_string(StringId(at as u64 + 1), text);
    }
    tables.seal().unwrap();
    let mut utilizer = Utilizer::new(counted);
    for (time, proc, goroutine, what) in rows {
        let event = Event {
            time: Time(*time),
            thread: ThreadId(1),
            proc: ProcId(*proc),
            goroutine: GoId(*goroutine),
            stack: StackId(0),
            what: *what,
        };
        utilizer.event(&event, &tables);
    }
    let series = utilizer.finish().series.into_iter();
    series.map(|it| it.into_iter().map(|change| (change.time.0, change.share)).collect()).collect()
}

fn change(goroutine: i64, from: GoState, to: GoState) -> What {
    let (goroutine, reason, stack) = (GoId(goroutine), StringId(0), StackId(0));
    What::Goroutine(GoTransition { goroutine, from, to, reason, stack })
}

use GoState::{Runnable, Running, Undetermined, Waiting};

const TWO_PROCS: Row = (0, -1, -1, What::Metric(Metric::Procs, 2));

#[test]
fn stops_take_all_and_sweeps_one() {
    let stop = |reason| Range::StopTheWorld { reason: StringId(reason) };
    let sweep = Range::Sweep { proc: ProcId(1), swept_bytes: 0, reclaimed_bytes: 0 };
    let rows = [
        TWO_PROCS,
        (10, 0, 1, What::RangeBegin(stop(1))),
        (15, 0, 1, What::RangeEnd(stop(1))),
        (20, 0, 1, What::RangeBegin(stop(2))),
        (25, 0, 1, What::RangeEnd(stop(2))),
        (30, 1, 2, What::RangeBegin(sweep)),
        (40, 1, 2, What::RangeEnd(sweep)),
        (50, 0, 1, What::Sync { number: 2 }),
    ];
    let both = [(0, 1.0), (10, 0.0), (15, 1.0), (30, 0.5), (40, 1.0), (50, 0.0)];
    assert_eq!(series(ALL, &rows), [both]);
    let stops = Counted { sweeps: false, ..ALL };
    assert_eq!(series(stops, &rows), [[(0, 1.0), (10, 0.0), (15, 1.0), (50, 0.0)]]);
    let each = series(Counted { per_proc: true, ..ALL }, &rows);
    assert_eq!(each[0], [(0, 1.0), (10, 0.0), (15, 1.0), (50, 0.0)]);
    assert_eq!(each[1], [(0, 1.0), (10, 0.0), (15, 1.0), (30, 0.0), (40, 1.0), (50, 0.0)]);
}

/// Each start of a worker has a label, and idle ones take nothing.
#[test]
fn workers_count_while_they_run() {
    let start = |time, label| {
        [
            (time, 1, -1, change(7, Runnable, Running)),
            (time + 1, 1, 7, What::Label(StringId(label))),
            (time + 5, 1, 7, change(7, Running, Waiting)),
        ]
    };
    let mut rows = vec![TWO_PROCS];
    rows.extend([start(10, 3), start(20, 3), start(30, 4)].concat());
    rows.push((50, 0, 1, What::Sync { number: 2 }));
    let expected = [(0, 1.0), (11, 0.5), (15, 1.0), (21, 0.5), (25, 1.0), (50, 0.0)];
    assert_eq!(series(ALL, &rows), [expected]);
    let each = series(Counted { per_proc: true, ..ALL }, &rows);
    assert_eq!(each, [[(0, 1.0), (50, 0.0)]; 2], "dedicated workers push nobody off");
}

#[test]
fn assists_count_while_their_goroutine_runs() {
    let assist = Range::Assist { goroutine: GoId(7) };
    let rows = [
        TWO_PROCS,
        (5, 1, 7, change(7, Undetermined, Running)),
        (10, 1, 7, What::RangeBegin(assist)),
        (12, 1, 7, change(7, Running, Waiting)),
        (20, 0, -1, change(7, Runnable, Running)),
        (22, 0, 7, What::RangeEnd(assist)),
        (30, 0, 7, What::Sync { number: 2 }),
    ];
    let expected = [(0, 1.0), (10, 0.5), (12, 1.0), (20, 0.5), (22, 1.0), (30, 0.0)];
    assert_eq!(series(ALL, &rows), [expected]);
}

/// Ranges that turn up as active began before the trace; those of goroutines that wait take
/// nothing until they run.
#[test]
fn what_was_there_before_is_taken_from_the_past() {
    let assist = |goroutine| Range::Assist { goroutine: GoId(goroutine) };
    let rows = [
        (0, -1, -1, What::Sync { number: 1 }),
        (1, 0, 1, What::Metric(Metric::Procs, 4)),
        (5, 1, 7, change(7, Undetermined, Running)),
        (6, 1, 7, What::RangeActive(assist(7))),
        (7, 0, 1, change(8, Undetermined, Waiting)),
        (8, 0, 1, What::RangeActive(assist(8))),
        (9, 1, 7, What::RangeEnd(assist(7))),
        (10, 2, -1, change(8, Runnable, Running)),
        (14, 2, 8, What::RangeEnd(assist(8))),
        (19, -1, -1, What::Sync { number: 2 }),
    ];
    let expected = [(1, 0.75), (9, 1.0), (10, 0.75), (14, 1.0), (19, 0.0)];
    assert_eq!(series(ALL, &rows), [expected]);
}

/// As in format 1.
#[test]
fn a_stop_may_come_before_the_number_of_procs() {
    let stop = Range::StopTheWorld { reason: StringId(1) };
    let rows = [
        (0, -1, -1, What::Sync { number: 1 }),
        (3, 0, 1, What::RangeBegin(stop)),
        (5, 0, 1, What::Metric(Metric::Procs, 2)),
        (7, 0, 1, What::RangeEnd(stop)),
        (9, 0, 1, What::RangeBegin(stop)),
        (10, 0, 1, What::RangeEnd(stop)),
        (12, -1, -1, What::Sync { number: 2 }),
    ];
    assert_eq!(series(ALL, &rows), [[(5, 0.0), (7, 1.0), (9, 0.0), (10, 1.0), (12, 0.0)]]);
}

#[test]
fn fewer_procs_end_their_series() {
    let procs = |time, count| (time, 0, 1, What::Metric(Metric::Procs, count));
    let end = (9, 0, 1, What::Sync { number: 2 });
    let each = series(Counted { per_proc: true, ..ALL }, &[procs(1, 2), procs(4, 1), end]);
    assert_eq!(each, [[(1, 1.0), (9, 0.0)], [(1, 1.0), (4, 0.0)]]);
    assert!(series(ALL, &[procs(1, 0), end]).is_empty());
    assert!(series(ALL, &[procs(1, u64::MAX), end])[0].len() == 2);
}

/// A generator of numbers that is the same everywhere.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

fn random_changes(state: &mut u64) -> Vec<Change> {
    let mut time = 1000;
    let mut changes = Vec::new();
    for _ in 0..2 + random(state) % 60 {
        changes.push(Change { time: Time(time), share: (random(state) % 5) as f64 / 4.0 });
        time += 1 + (random(state) % 300) as i64;
    }
    changes.push(Change { time: Time(time), share: 0.0 });
    changes
}

/// The integral of the share up to each nanosecond from the begin on.
fn integral(changes: &[Change]) -> Vec<f64> {
    let mut sums = vec![0.0];
    for pair in changes.windows(2) {
        for _ in pair[0].time.0..pair[1].time.0 {
            sums.push(sums[sums.len() - 1] + pair[0].share);
        }
    }
    sums
}

/// Times are whole, so that every minimum is at a whole one.
#[test]
fn curves_are_what_looking_at_every_window_finds() {
    let mut state = 7;
    for round in 0..40 {
        let changes = random_changes(&mut state);
        let (start, sums) = (changes[0].time.0, integral(&changes));
        let utilization = Utilization { series: vec![changes.clone()], start: Time(start) };
        let bands = 1 + round % 9;
        let curve = Curve::with_bands(utilization, bands);
        for window in [1, 2, 7, 30, 100, 1000, sums.len() - 1] {
            let window = window.min(sums.len() - 1);
            let share = |at: usize| (sums[at + window] - sums[at]) / window as f64;
            let shares: Vec<f64> = (0..sums.len() - window).map(share).collect();
            let least = shares.iter().copied().fold(1.0, f64::min);
            let found = curve.minimum(window as u64);
            assert!((found - least).abs() < 1e-9, "{found} is not {least} in {changes:?}");
            let worst = curve.worst(window as u64, 3);
            assert!((worst[0].share - least).abs() < 1e-9, "{worst:?}, {least}");
            for (at, found) in worst.iter().enumerate() {
                let real = share((found.start.0 - start) as usize);
                assert!((found.share - real).abs() < 1e-9, "{found:?} is {real}");
                let mut others = worst[at + 1..].iter();
                assert!(others.all(|it| it.start.0.abs_diff(found.start.0) >= window as u64));
            }
            check_quantiles(&curve, &shares, window, bands);
        }
    }
}

/// Between two whole begins the share is linear: as many parts of each are below as counted
/// on a fine grid, but for a nanosecond at the edge of each band.
fn check_quantiles(curve: &Curve, shares: &[f64], window: usize, bands: usize) {
    const STEPS: usize = 16;
    let parts = [0.0, 0.01, 0.05, 0.5, 1.0];
    let (found, least) = curve.quantiles(window as u64, &parts);
    assert_eq!(least, curve.minimum(window as u64));
    let mut fine: Vec<f64> = Vec::new();
    for pair in shares.windows(2) {
        let at = |step: usize| (step as f64 + 0.5) / STEPS as f64;
        fine.extend((0..STEPS).map(|step| pair[0] + (pair[1] - pair[0]) * at(step)));
    }
    for (part, found) in parts.iter().zip(&found) {
        if fine.is_empty() {
            assert!((found - shares[0]).abs() < 1e-9);
            continue;
        }
        let count = |limit: f64| fine.iter().filter(|it| **it < limit).count() as f64;
        let (below, upto) = (count(found - 1e-3), count(found + 1e-3));
        let (wanted, slack) = (part * fine.len() as f64, (STEPS * (bands + 1)) as f64);
        let is_right = below <= wanted + slack && wanted <= upto + slack;
        assert!(is_right, "{part} of windows of {window}: {found}; {below}, {wanted}, {upto}");
    }
}

#[test]
fn nothing_is_no_error() {
    let curve = Curve::new(Utilization::default());
    assert_eq!((curve.minimum(1000), curve.duration_nanos()), (1.0, 0));
    assert!(curve.worst(1000, 5).is_empty());
    assert_eq!(curve.quantiles(1000, &[0.5]), (vec![1.0], 1.0));
    let one = Change { time: Time(5), share: 0.0 };
    let curve = Curve::new(Utilization { series: vec![vec![one]], start: Time(5) });
    assert_eq!((curve.minimum(0), curve.minimum(7)), (0.0, 1.0));
}
