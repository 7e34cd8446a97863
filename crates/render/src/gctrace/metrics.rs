//! The same under the names that client_golang gives the runtime's metrics.

use std::fmt::Write;

use analyze::gctrace::GcLog;
use model::gctrace::GcCycle;

/// Upper bounds of the pauses' buckets, seconds.
const PAUSE_BUCKETS: [f64; 11] =
    [1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 1e-1];

/// OpenMetrics text of the last run in a log. Sums are those of the log, so they are the
/// program's where the log begins with cycle 1.
pub fn openmetrics(log: &GcLog) -> String {
    let cycles = log.last_run();
    let mut out = String::new();
    if let Some(last) = cycles.last() {
        of_cycles(&mut out, cycles, last);
    }
    if let Some(last) = log.last_scavenge {
        let bytes = last.released_kib.saturating_mul(1024);
        gauge(&mut out, "go_memory_classes_heap_released_bytes", bytes);
    }
    out.push_str("# EOF\n");
    out
}

fn of_cycles(out: &mut String, cycles: &[GcCycle], last: &GcCycle) {
    let bytes = |mib: u64| mib.saturating_mul(1 << 20);
    let seconds = |of: fn(&GcCycle) -> f64| cycles.iter().map(of).sum::<f64>() / 1e3;
    counter(out, "go_gc_cycles_total_gc_cycles", last.number);
    let forced = cycles.iter().filter(|cycle| cycle.is_forced).count();
    counter(out, "go_gc_cycles_forced_gc_cycles", forced);
    gauge(out, "go_gc_heap_live_bytes", bytes(last.live_mib));
    gauge(out, "go_gc_heap_goal_bytes", bytes(last.goal_mib));
    if let Some(stacks) = last.stacks_mib {
        gauge(out, "go_gc_scan_stack_bytes", bytes(stacks));
    }
    if let Some(globals) = last.globals_mib {
        gauge(out, "go_gc_scan_globals_bytes", bytes(globals));
    }
    let classes = [
        ("mark_assist", seconds(|cycle| cycle.assist_cpu_ms)),
        ("mark_dedicated", seconds(|cycle| cycle.background_cpu_ms)),
        ("mark_idle", seconds(|cycle| cycle.idle_cpu_ms)),
        ("pause", seconds(|cycle| cycle.sweep_term_cpu_ms + cycle.mark_term_cpu_ms)),
    ];
    for (class, spent) in classes {
        let name = format!("go_cpu_classes_gc_{class}_cpu_seconds");
        counter(out, &name, format!("{spent:.6}"));
    }
    gauge(out, "go_sched_gomaxprocs_threads", last.procs);
    pauses(out, cycles);
}

fn pauses(out: &mut String, cycles: &[GcCycle]) {
    const NAME: &str = "go_sched_pauses_total_gc_seconds";
    let pauses = || cycles.iter().flat_map(|c| [c.sweep_term_ms / 1e3, c.mark_term_ms / 1e3]);
    let _ = writeln!(out, "# TYPE {NAME} histogram");
    for bound in PAUSE_BUCKETS {
        let below = pauses().filter(|pause| *pause <= bound).count();
        let _ = writeln!(out, "{NAME}_bucket{{le=\"{bound:?}\"}} {below}");
    }
    let count = pauses().count();
    let _ = writeln!(out, "{NAME}_bucket{{le=\"+Inf\"}} {count}");
    let _ = writeln!(out, "{NAME}_count {count}");
    let _ = writeln!(out, "{NAME}_sum {:.6}", pauses().sum::<f64>());
}

fn counter(out: &mut String, name: &str, value: impl std::fmt::Display) {
    let _ = writeln!(out, "# TYPE {name} counter\n{name}_total {value}");
}

fn gauge(out: &mut String, name: &str, value: impl std::fmt::Display) {
    let _ = writeln!(out, "# TYPE {name} gauge\n{name} {value}");
}
