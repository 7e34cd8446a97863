//! Events as the lines that oracle/main.go prints of the same events.

use std::fmt::Write as _;

use decode::gotrace::Reader;
use model::trace::{Event, GoState, Metric, ProcState, Range, StackId, StringId, What};

/// The line of an event that the reader has just given.
pub(crate) fn line(event: &Event, reader: &Reader<'_>) -> String {
    let mut out = format!(
        "{} {} {} {} {} ",
        event.what.kind(),
        event.time.0,
        event.thread.0,
        event.proc.0,
        event.goroutine.0
    );
    details(&mut out, event, reader);
    stack(&mut out, event.stack, reader);
    out
}

/// All lines of a trace; the last begins with ERROR when it cannot be read to its end.
pub(crate) fn all(bytes: &[u8]) -> Vec<String> {
    let mut lines = Vec::new();
    let done = Reader::new(bytes).and_then(|mut reader| {
        while let Some(event) = reader.next()? {
            lines.push(line(&event, &reader));
        }
        Ok(())
    });
    if let Err(error) = done {
        lines.push(format!("ERROR {error}"));
    }
    lines
}

fn details(out: &mut String, event: &Event, reader: &Reader<'_>) {
    let text = |id: StringId| reader.tables().text(id);
    let written = match event.what {
        What::Sync { number } => {
            let clock = reader.clock().map_or(String::new(), |clock| {
                let wall = clock.wall_seconds * 1_000_000_000 + clock.wall_nanos;
                format!(" {} {} {wall}", clock.trace.0, clock.monotonic_nanos)
            });
            let batches = reader.experiments().iter().map(|batch| {
                let (bytes, crc) = (batch.bytes.len(), crc32fast::hash(batch.bytes));
                format!(" {}:{bytes}:{crc:08x}", batch.thread.0)
            });
            write!(out, "sync {number}{clock}{}", batches.collect::<String>())
        }
        What::Metric(metric, value) => write!(out, "{} {value}", metric_name(metric)),
        What::Label(label) => write!(out, "{:?}", text(label)),
        What::Sample => Ok(()),
        What::RangeBegin(of) | What::RangeActive(of) => write!(out, "{}", range(of, reader, event)),
        What::RangeEnd(of) => {
            let swept = match of {
                Range::Sweep { swept_bytes, reclaimed_bytes, .. } => {
                    format!(" {swept_bytes} {reclaimed_bytes}")
                }
                _ => String::new(),
            };
            write!(out, "{}{swept}", range(of, reader, event))
        }
        What::TaskBegin { task, parent, name } => {
            write!(out, "{} {} {:?}", task.0, parent.0, text(name))
        }
        What::TaskEnd { task, .. } => write!(out, "{}", task.0),
        What::RegionBegin { task, name } | What::RegionEnd { task, name } => {
            write!(out, "{} {:?}", task.0, text(name))
        }
        What::Log { task, category, message } => {
            write!(out, "{} {:?} {:?}", task.0, text(category), text(message))
        }
        What::Proc { proc, from, to } => {
            write!(out, "P{} {}->{}", proc.0, proc_state(from), proc_state(to))
        }
        What::Goroutine(change) => {
            let (from, to) = (go_state(change.from), go_state(change.to));
            let reason = text(change.reason);
            let written = write!(out, "G{} {from}->{to} {reason:?}", change.goroutine.0);
            stack(out, change.stack, reader);
            written
        }
        What::Experiment { code, arguments } => {
            let (name, count) = EXPERIMENTS[usize::from(code) - 128];
            let values: Vec<String> =
                arguments.iter().take(count).map(|value| format!(" {value}")).collect();
            write!(out, "{name}{}", values.concat())
        }
    };
    written.unwrap();
}

/// Names and counts of arguments of the events from number 128 on.
const EXPERIMENTS: [(&str, usize); 9] = [
    ("Span", 3),
    ("SpanAlloc", 3),
    ("SpanFree", 1),
    ("HeapObject", 2),
    ("HeapObjectAlloc", 2),
    ("HeapObjectFree", 1),
    ("GoroutineStack", 2),
    ("GoroutineStackAlloc", 2),
    ("GoroutineStackFree", 1),
];

fn metric_name(metric: Metric) -> &'static str {
    match metric {
        Metric::Procs => "/sched/gomaxprocs:threads",
        Metric::HeapBytes => "/memory/classes/heap/objects:bytes",
        Metric::HeapGoalBytes => "/gc/heap/goal:bytes",
    }
}

fn range(range: Range, reader: &Reader<'_>, event: &Event) -> String {
    match range {
        Range::StopTheWorld { reason } => {
            let reason = reader.tables().text(reason);
            format!("stop-the-world ({reason}) Goroutine({})", event.goroutine.0)
        }
        Range::Mark => "GC concurrent mark phase None".to_owned(),
        Range::Sweep { proc, .. } => format!("GC incremental sweep Proc({})", proc.0),
        Range::Assist { goroutine } => format!("GC mark assist Goroutine({})", goroutine.0),
    }
}

fn go_state(state: GoState) -> &'static str {
    match state {
        GoState::Undetermined => "Undetermined",
        GoState::NotExist => "NotExist",
        GoState::Runnable => "Runnable",
        GoState::Running => "Running",
        GoState::Waiting => "Waiting",
        GoState::Syscall => "Syscall",
    }
}

fn proc_state(state: ProcState) -> &'static str {
    match state {
        ProcState::Undetermined => "Undetermined",
        ProcState::NotExist => "NotExist",
        ProcState::Running => "Running",
        ProcState::Idle => "Idle",
    }
}

fn stack(out: &mut String, id: StackId, reader: &Reader<'_>) {
    let tables = reader.tables();
    let frames: Vec<_> = tables.frames(id).collect();
    let (Some(first), Some(last)) = (frames.first(), frames.last()) else {
        out.push_str(" -");
        return;
    };
    let (inner, outer) = (tables.text(first.function), tables.text(last.function));
    let (count, pc) = (frames.len(), first.pc);
    write!(out, " {count} {pc:x} {inner}:{} {outer}:{}", first.line, last.line).unwrap();
}
