//! Lines the Go runtime prints under GODEBUG, among a program's own output.
//!
//! Written after `runtime/mgc.go` (gcMarkTermination), `mgcscavenge.go` (printScavTrace),
//! `mgcpacer.go`, `mgcsweep.go`, `proc.go` (schedtrace) of Go 1.5 to 1.27. The runtime does
//! not begin a line of its own where the program has printed half of one, and loggers put
//! stamps before each line: what comes before and after is the program's.

mod scanner;
#[cfg(test)]
mod tests;

use model::gctrace::{
    GcCycle, PacerEnd, PacerStart, RuntimeLine, ScanStats, Scavenge, Scheduler, SweepDone,
};

use scanner::Scanner;

/// What a line of output is.
#[derive(Clone, Debug, PartialEq)]
pub enum Line<'t> {
    /// The runtime's; what the program printed before it on the same line.
    Runtime(RuntimeLine, &'t str),
    /// Begins like one of the runtime's and is none: damaged, cut, or of another release.
    /// Says what should have come where.
    Damaged {
        /// Byte of the line.
        at: usize,
        /// What was expected there.
        expected: &'static str,
    },
    /// A line of `schedtrace` with details, about a processor, thread or goroutine.
    Detail,
    /// The program's.
    Other,
}

type Parse = fn(&mut Scanner<'_>) -> Option<RuntimeLine>;

/// How lines begin, and what reads the rest. A beginning that other output may have as well
/// only counts where the second text comes later in the line.
const KINDS: [(&str, &str, Parse); 7] = [
    ("gc ", " ms clock, ", cycle),
    ("scav ", " KiB work", scavenge),
    ("SCHED ", "ms: gomaxprocs=", scheduler),
    ("pacer: assist ratio=", "", pacer_start),
    ("pacer: sweep done at heap size ", "", sweep_done),
    ("pacer: ", "% CPU (", pacer_end),
    ("scan: ", " objs", scan),
];

/// Tells what a line is.
pub fn line(text: &str) -> Line<'_> {
    for (start, later, parse) in KINDS {
        let Some(end) = text.rfind(later) else { continue };
        // A program may print the same words: the last place that has all of them counts.
        let candidates = text.get(..end + later.len()).unwrap_or_default().rmatch_indices(start);
        for (at, _) in candidates {
            let (before, rest) = text.split_at(at);
            let mut scanner = Scanner::new(rest.get(start.len()..).unwrap_or_default());
            if let Some(found) = parse(&mut scanner) {
                return Line::Runtime(found, before);
            }
            let is_number = scanner.at() > 0;
            if is_number {
                let at = at + start.len() + scanner.at();
                return Line::Damaged { at, expected: scanner.expected() };
            }
        }
    }
    if is_detail(text) { Line::Detail } else { Line::Other }
}

/// `  P0: status=`, `  M3: p=`, `  G1: status=`.
fn is_detail(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("  ") else { return false };
    let number = rest.get(1..).unwrap_or_default();
    let rest_of = number.trim_start_matches(|sign: char| sign.is_ascii_digit());
    let is_numbered = rest_of.len() < number.len();
    match rest.as_bytes().first() {
        Some(b'P' | b'G') => is_numbered && rest_of.starts_with(": status="),
        Some(b'M') => is_numbered && rest_of.starts_with(": p="),
        _ => false,
    }
}

/// After `gc `: `N @T.TTTs U%: a+b+c ms clock, a+b/c/d+e ms cpu, H0->H1->H2 MB, G MB goal, S
/// MB stacks, L MB globals, P P (forced)`.
fn cycle(line: &mut Scanner<'_>) -> Option<RuntimeLine> {
    let mut found = GcCycle { number: line.number()?, ..GcCycle::default() };
    found.at_seconds = line.after(" @")?.float()?;
    found.cpu_percent = line.after("s ")?.number()?;
    line.after("%")?;
    found.is_leak_check = line.try_after(" (checking for goroutine leaks)");
    let clock = line.after(": ")?.floats(&['+'])?;
    let cpu = line.after(" ms clock, ")?.floats(&['+', '/'])?;
    line.after(" ms cpu, ")?;
    // Go 1.5 told five phases: the middle ones ran beside the program.
    let (Some(first), Some(last)) = (clock.first(), clock.last()) else { return None };
    (found.sweep_term_ms, found.mark_term_ms) = (*first, *last);
    found.mark_ms = clock.iter().sum::<f64>() - first - last;
    let [sweep_term, between @ .., assist, background, idle, mark_term] = cpu.as_slice() else {
        return line.miss("five times of CPU");
    };
    found.sweep_term_cpu_ms = *sweep_term;
    found.assist_cpu_ms = *assist;
    found.background_cpu_ms = background + between.iter().sum::<f64>();
    found.idle_cpu_ms = *idle;
    found.mark_term_cpu_ms = *mark_term;
    found.start_mib = line.number()?;
    found.end_mib = line.after("->")?.number()?;
    found.live_mib = line.after("->")?.number()?;
    found.goal_mib = line.after(" MB, ")?.number()?;
    line.after(" MB goal, ")?;
    let next = line.number()?;
    if line.try_after(" MB stacks, ") {
        found.stacks_mib = Some(next);
        found.globals_mib = Some(line.number()?);
        found.procs = line.after(" MB globals, ")?.number()?;
    } else {
        found.procs = u32::try_from(next).ok()?;
    }
    line.after(" P")?;
    found.is_forced = line.try_after(" (forced)");
    Some(RuntimeLine::Cycle(found))
}

/// After `scav `. Since 1.21 `N KiB work (bg), N KiB work (eager), N KiB now, N% util`,
/// since 1.14 `N KiB work, N KiB total, N% util`; 1.16 counted its lines first.
fn scavenge(line: &mut Scanner<'_>) -> Option<RuntimeLine> {
    let mut found = Scavenge { background_kib: line.number()?, ..Scavenge::default() };
    if line.try_after(" ") && !line.try_after("KiB work") {
        found.background_kib = line.number()?;
        line.after(" KiB work")?;
    }
    if line.try_after(" (bg), ") {
        found.eager_kib = Some(line.number()?);
        found.released_kib = line.after(" KiB work (eager), ")?.number()?;
        line.after(" KiB now, ")?;
    } else {
        found.released_kib = line.after(", ")?.number()?;
        line.after(" KiB total, ")?;
    }
    found.utilisation_percent = line.number()?;
    line.after("% util")?;
    found.is_forced = line.try_after(" (forced)");
    Some(RuntimeLine::Scavenge(found))
}

/// After `SCHED `: `Nms: gomaxprocs=N idleprocs=N threads=N ... runqueue=N [ a b ]`. What
/// a release does not know is left out, not zero: only the queues may be missing.
fn scheduler(line: &mut Scanner<'_>) -> Option<RuntimeLine> {
    let mut found = Scheduler { at_ms: line.number()?, ..Scheduler::default() };
    line.after("ms: ")?;
    while let Some((key, value)) = line.pair() {
        let small = || u32::try_from(value).unwrap_or(u32::MAX);
        match key {
            "gomaxprocs" => found.procs = small(),
            "idleprocs" => found.idle_procs = small(),
            "threads" => found.threads = small(),
            "spinningthreads" => found.spinning_threads = small(),
            "idlethreads" => found.idle_threads = small(),
            "runqueue" => found.queue = value,
            _ => {}
        }
        line.try_after(" ");
    }
    if line.try_after("[") {
        line.try_after(" ");
        while let Some(queue) = line.maybe_number() {
            found.local_queues.push(queue);
            line.try_after(" ");
        }
        line.after("]")?;
    }
    Some(RuntimeLine::Scheduler(found))
}

/// After `pacer: assist ratio=`.
fn pacer_start(line: &mut Scanner<'_>) -> Option<RuntimeLine> {
    let found = PacerStart {
        assist_ratio: line.float()?,
        scan_mib: line.after(" (scan ")?.number()?,
        live_mib: line.after(" MB in ")?.number()?,
        goal_mib: line.after("->")?.number()?,
        dedicated_workers: line.after(" MB) workers=")?.number()?,
        fractional_worker: line.after("+")?.float()?,
    };
    Some(RuntimeLine::PacerStart(found))
}

/// After `pacer: `, a cycle's end.
fn pacer_end(line: &mut Scanner<'_>) -> Option<RuntimeLine> {
    let found = PacerEnd {
        cpu_percent: line.number()?,
        expected_cpu_percent: line.after("% CPU (")?.number()?,
        heap_work: line.after(" exp.) for ")?.number()?,
        stack_work: line.after("+")?.number()?,
        globals_work: line.after("+")?.number()?,
        expected_work: line.after(" B work (")?.number()?,
        trigger_bytes: line.after(" B exp.) in ")?.number()?,
        end_bytes: line.after(" B -> ")?.number()?,
        goal_difference: line.after(" B (∆goal ")?.number()?,
        cons_mark: line.after(", cons/mark ")?.float()?,
    };
    line.after(")")?;
    Some(RuntimeLine::PacerEnd(found))
}

/// After `pacer: sweep done at heap size `.
fn sweep_done(line: &mut Scanner<'_>) -> Option<RuntimeLine> {
    let found = SweepDone {
        live_mib: line.number()?,
        allocated_mib: line.after("MB; allocated ")?.number()?,
        pages: line.after("MB during sweep; swept ")?.number()?,
    };
    line.after(" pages")?;
    Some(RuntimeLine::SweepDone(found))
}

/// After `scan: `: `total a+b+c=N objs, x+y=M spans`, `class 48B ...`, `class L ...`; without
/// Green Tea `total N objs`.
fn scan(line: &mut Scanner<'_>) -> Option<RuntimeLine> {
    line.try_after("class ");
    let mut found = ScanStats { class: line.word()?.to_owned(), ..ScanStats::default() };
    found.objects = line.after(" ")?.sum()?;
    line.after(" objs")?;
    if line.try_after(", ") {
        found.spans = line.sum()?;
        line.after(" spans")?;
    }
    Some(RuntimeLine::Scan(found))
}
