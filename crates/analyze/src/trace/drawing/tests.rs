//! Hand-drawn traces. What real ones look like is compared with `go tool trace` in
//! memsight's tests.

use model::trace::{
    Event, GoId, GoState, GoTransition, ProcId, ProcState, Range, StackFrame, StackId, StringId,
    Tables, ThreadId, Time, What,
};

use super::{Analysis, Drawer, Rows, Shape, Sink};

/// Writes shapes down, a line each, but for counters.
#[derive(Debug, Default)]
struct Lines(Vec<String>);

impl Sink for Lines {
    fn begin(&mut self, start: Time) {
        assert_eq!(start, Time(100));
    }

    fn shape(&mut self, shape: &Shape<'_>) {
        match shape {
            Shape::Slice { row, name, start, end } => {
                self.0.push(format!("{row:?} {} {} {name}", start.0, end.0));
            }
            Shape::Instant { row, name, at } => self.0.push(format!("{row:?} {} {name}", at.0)),
            Shape::Arrow { name, from, to } => {
                self.0.push(format!("{:?} {} -> {:?} {} {name}", from.0, from.1.0, to.0, to.1.0));
            }
            Shape::Name { row, name } => self.0.push(format!("{row:?} is {name}")),
            Shape::Counter { .. } => {}
        }
    }
}

/// 1: main.work, 2: "chan receive", 3: "GC sweep termination"; one stack with the function.
fn draw(rows: Rows, events: &[(i64, i64, i64, What)]) -> Vec<String> {
    let mut tables = Tables::default();
    let texts: [&[u8]; 3] = [b"main.work", b"chan receive", b"GC sweep termination"];
    for (at, text) in texts.iter().enumerate() {
        tables.add_string(StringId(at as u64 + 1), text);
    }
    let frame = StackFrame { pc: 16, function: StringId(1), file: StringId(1), line: 7 };
    assert!(tables.add_stack(StackId(1), &[frame]));
    tables.seal().unwrap();
    let mut drawer = Drawer::new(rows, Lines::default());
    for (time, proc, goroutine, what) in events {
        let event = Event {
            time: Time(*time),
            thread: ThreadId(1),
            proc: ProcId(*proc),
            goroutine: GoId(*goroutine),
            stack: StackId(0),
            what: *what,
        };
        drawer.event(&event, &tables);
    }
    drawer.finish().0
}

fn change(goroutine: i64, from: GoState, to: GoState) -> What {
    let (goroutine, stack) = (GoId(goroutine), StackId(1));
    let reason = StringId(if to == GoState::Waiting { 2 } else { 0 });
    What::Goroutine(GoTransition { goroutine, from, to, reason, stack })
}

use GoState::{NotExist, Runnable, Running, Syscall, Undetermined, Waiting};

const BEGIN: (i64, i64, i64, What) = (100, -1, -1, What::Sync { number: 1 });

#[test]
fn what_runs_is_drawn_where_it_runs() {
    let stop = Range::StopTheWorld { reason: StringId(3) };
    let events = [
        BEGIN,
        (105, 0, 1, change(1, Undetermined, Running)),
        (110, 0, 1, What::RangeBegin(stop)),
        (115, 0, 1, What::RangeEnd(stop)),
        (120, 0, 1, change(2, NotExist, Runnable)),
        (130, 1, -1, change(2, Runnable, Running)),
        (140, 1, 2, change(2, Running, Waiting)),
        (150, 0, 1, change(2, Waiting, Runnable)),
        (160, 1, -1, change(2, Runnable, Running)),
        (170, 1, 2, change(2, Running, NotExist)),
        (180, -1, -1, What::Sync { number: 2 }),
    ];
    assert_eq!(
        draw(Rows::Procs, &events),
        [
            "Proc(ProcId(0)) 120 -> Proc(ProcId(1)) 130 go",
            "Proc(ProcId(1)) 130 140 G2 main.work",
            "Proc(ProcId(0)) 150 -> Proc(ProcId(1)) 160 unblock (chan receive)",
            "Proc(ProcId(1)) 160 170 G2 main.work",
            "Proc(ProcId(0)) 100 180 G1 main.work",
            "Proc(ProcId(0)) 110 115 stop-the-world (GC sweep termination)",
        ]
    );
    assert_eq!(
        draw(Rows::Goroutines, &events),
        [
            "Goroutine(GoId(1)) 120 -> Goroutine(GoId(2)) 130 go",
            "Goroutine(GoId(2)) 130 140 G2 main.work",
            "Goroutine(GoId(1)) 150 -> Goroutine(GoId(2)) 160 unblock (chan receive)",
            "Goroutine(GoId(2)) 160 170 G2 main.work",
            "Goroutine(GoId(2)) is G2 main.work",
            "Goroutine(GoId(1)) 100 180 G1 main.work",
            "Goroutine(GoId(1)) 110 115 stop-the-world (GC sweep termination)",
            "Goroutine(GoId(1)) is G1 main.work",
        ]
    );
}

/// On a P a system call that blocks ends with the P; the goroutine is in it for longer.
#[test]
fn system_calls_end_with_their_p() {
    let idle = What::Proc { proc: ProcId(0), from: ProcState::Running, to: ProcState::Idle };
    let events = [
        BEGIN,
        (110, 0, -1, change(2, Runnable, Running)),
        (120, 0, 2, change(2, Running, Syscall)),
        (124, 0, 2, change(2, Syscall, Running)),
        (130, 0, 2, change(2, Running, Syscall)),
        (140, -1, -1, idle),
        (150, -1, 2, change(2, Syscall, Runnable)),
        (160, -1, -1, What::Sync { number: 2 }),
    ];
    assert_eq!(
        draw(Rows::Procs, &events),
        [
            "Proc(ProcId(0)) 110 140 G2 main.work",
            "Proc(ProcId(0)) 120 124 syscall",
            "Proc(ProcId(0)) 130 140 syscall",
            "Proc(ProcId(0)) 140 proc stop",
            "Syscalls 150 exit blocked syscall",
            "Proc(ProcId(0)) is Proc 0",
        ]
    );
    assert_eq!(
        draw(Rows::Goroutines, &events),
        [
            "Goroutine(GoId(2)) 110 150 G2 main.work",
            "Goroutine(GoId(2)) 120 124 syscall",
            "Goroutine(GoId(2)) 130 150 syscall",
            "Syscalls 150 exit blocked syscall",
            "Goroutine(GoId(2)) is G2 main.work",
        ]
    );
}

#[test]
fn what_was_there_before_begins_with_the_trace() {
    let sweep = Range::Sweep { proc: ProcId(1), swept_bytes: 0, reclaimed_bytes: 0 };
    let events = [
        BEGIN,
        (110, 0, 1, What::RangeActive(Range::Mark)),
        (111, 1, 1, What::RangeActive(sweep)),
        (120, 0, 1, What::RangeEnd(Range::Mark)),
        (130, 1, 1, What::RangeEnd(sweep)),
        (140, 1, 1, What::RangeBegin(sweep)),
        (150, -1, -1, What::Sync { number: 2 }),
    ];
    assert_eq!(
        draw(Rows::Procs, &events),
        [
            "Collector 100 120 GC concurrent mark phase",
            "Proc(ProcId(1)) 100 130 GC incremental sweep",
            "Proc(ProcId(1)) 140 150 GC incremental sweep",
        ]
    );
}
