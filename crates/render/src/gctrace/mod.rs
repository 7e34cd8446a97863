//! Garbage collections as text, table, plot, JSON and OpenMetrics.

mod metrics;
mod plot;

use analyze::gctrace::{GcLog, Limit, Percentiles, Summary};
use model::Bytes;
use model::gctrace::GcCycle;
use serde_json::{Value, json};

use crate::paint::Paint;
use crate::quantity::count;
use crate::table::{Align, Table};

pub use metrics::openmetrics;
pub use plot::plot;

/// Assists above this share of GC's CPU are worth a word, and GC's CPU itself.
const ASSIST_SHARE: f64 = 0.25;
const CPU_PERCENT: f64 = 25.0;

/// The figures, one a line, and what follows from them.
pub fn text(summary: &Summary, log: &GcLog, paint: Paint) -> String {
    let mut out = format!(
        "{} cycles ({} to {}) in {:.1} s on {} P, {} forced\n\n",
        paint.bold(&count(summary.cycles as u64)),
        summary.first,
        summary.last,
        summary.seconds,
        summary.procs,
        count(summary.forced as u64),
    );
    for (name, figures) in figures(summary, log) {
        out.push_str(&format!("{} {figures}\n", paint.bold(&format!("{name:<10}"))));
    }
    for advice in advice(summary) {
        out.push_str(&format!("\n{} {advice}\n", paint.warn("->")));
    }
    out
}

fn figures(summary: &Summary, log: &GcLog) -> Vec<(&'static str, String)> {
    let (least, middle, greatest) = summary.live_mib;
    let window = summary.window_cpu_percent.map_or_else(String::new, |percent| {
        format!(", {percent:.1} % of the CPU between these cycles")
    });
    let mut figures = vec![
        ("pauses", distribution(&summary.pauses_ms)),
        ("marking", distribution(&summary.mark_ms)),
        (
            "GC CPU",
            format!(
                "{} % since the start{window}; allocating goroutines did {:.0} % of the work (assists)",
                summary.cpu_percent,
                summary.assist_share * 100.0
            ),
        ),
        (
            "live heap",
            format!(
                "{} at the end; {} to {}, {} in the middle{}",
                mib(summary.last_live_mib),
                mib(least),
                mib(greatest),
                mib(middle),
                summary.growth_mib_a_minute.map_or_else(String::new, |mib| {
                    format!("; grows by {mib:.1} MiB a minute")
                })
            ),
        ),
        (
            "goal",
            format!(
                "{} -> {}; {} cycles ended more than a tenth above it",
                mib(summary.goal_mib.0),
                mib(summary.goal_mib.1),
                count(summary.over_goal as u64)
            ),
        ),
    ];
    if let (Some(stacks), Some(globals)) = (summary.stacks_mib, summary.globals_mib) {
        figures
            .push(("roots", format!("stacks {} at most, globals {}", mib(stacks), mib(globals))));
    }
    if let Some(last) = log.last_scavenge {
        let (background, eager) = log.scavenged_kib;
        figures.push((
            "scavenger",
            format!(
                "{} given back in the background, {} by allocating goroutines; {} now, {} % of the rest in use",
                kib(background),
                kib(eager),
                kib(last.released_kib),
                last.utilisation_percent
            ),
        ));
    }
    if log.scheduler_lines > 0 {
        figures.push((
            "scheduler",
            format!("at most {} goroutines waited for a processor", count(log.queue_max)),
        ));
    }
    figures.push(("limit", limit(&summary.limit)));
    figures
}

fn limit(limit: &Limit) -> String {
    match limit {
        Limit::Gogc { percent } => format!(
            "GOGC, about {percent:.0}: the heap may become {:.1} times what lives",
            1.0 + percent / 100.0
        ),
        Limit::Least { goal_mib } => {
            format!("the least goal, {}: the heap is smaller than GOGC counts", mib(*goal_mib))
        }
        Limit::MemoryLimit { goal_mib } => format!(
            "a memory limit (GOMEMLIMIT): goals stay at {}, below what GOGC would allow",
            mib(*goal_mib)
        ),
        Limit::Forced => "the program: most cycles are its own calls of runtime.GC".to_owned(),
        Limit::Unknown => "cannot be told from these cycles".to_owned(),
    }
}

fn advice(summary: &Summary) -> Vec<String> {
    let mut advice = Vec::new();
    let cpu = summary.window_cpu_percent.unwrap_or(0.0);
    let is_limited = matches!(summary.limit, Limit::MemoryLimit { .. });
    if cpu >= CPU_PERCENT && is_limited {
        advice.push(
            "collection runs nearly all the time because the memory limit leaves no room above what \
             lives: raise GOMEMLIMIT or hold less"
                .to_owned(),
        );
    } else if cpu >= CPU_PERCENT {
        advice.push(format!(
            "{cpu:.0} % of the CPU goes to collection: a higher GOGC trades memory for it, fewer \
             allocations save both (`memsight top PID --sample alloc_space`)"
        ));
    }
    if summary.assist_share >= ASSIST_SHARE && cpu >= 1.0 {
        advice.push(format!(
            "{:.0} % of marking is done by goroutines while they allocate, which slows them down: \
             the heap grows faster than it is marked",
            summary.assist_share * 100.0
        ));
    }
    if summary.limit == Limit::Forced {
        advice.push(
            "runtime.GC or debug.FreeOSMemory is called on purpose; each call stops other work \
                     twice and marks the whole heap"
                .to_owned(),
        );
    }
    if summary.growth_mib_a_minute.is_some() {
        advice.push(
            "what lives grows: `memsight diagnose` says which code allocates it, `memsight heap leaks` \
             what holds it"
                .to_owned(),
        );
    }
    advice
}

fn distribution(times: &Percentiles) -> String {
    format!(
        "p50 {}  p90 {}  p99 {}  max {}  ({} times, {} together)",
        millis(times.p50),
        millis(times.p90),
        millis(times.p99),
        millis(times.max),
        count(times.count as u64),
        millis(times.sum)
    )
}

fn millis(ms: f64) -> String {
    match ms {
        ms if ms >= 10_000.0 => format!("{:.1} s", ms / 1e3),
        ms if ms >= 10.0 => format!("{ms:.0} ms"),
        ms => format!("{ms:.2} ms"),
    }
}

fn mib(size: u64) -> String {
    match size {
        0 => "below 1 MiB".to_owned(),
        size => Bytes(size.saturating_mul(1 << 20)).to_string(),
    }
}

fn kib(size: u64) -> String {
    Bytes(size.saturating_mul(1 << 10)).to_string()
}

/// One row a cycle.
pub fn table(cycles: &[GcCycle]) -> Table {
    use Align::Right;
    let mut table = Table::new(&[
        ("gc", Right),
        ("at_s", Right),
        ("sweep_term_ms", Right),
        ("mark_ms", Right),
        ("mark_term_ms", Right),
        ("assist_ms", Right),
        ("background_ms", Right),
        ("idle_ms", Right),
        ("start_mib", Right),
        ("end_mib", Right),
        ("live_mib", Right),
        ("goal_mib", Right),
        ("P", Right),
        ("forced", Align::Left),
    ]);
    for cycle in cycles {
        table.push(vec![
            cycle.number.to_string(),
            format!("{:.3}", cycle.at_seconds),
            cycle.sweep_term_ms.to_string(),
            round(cycle.mark_ms).to_string(),
            cycle.mark_term_ms.to_string(),
            cycle.assist_cpu_ms.to_string(),
            round(cycle.background_cpu_ms).to_string(),
            cycle.idle_cpu_ms.to_string(),
            cycle.start_mib.to_string(),
            cycle.end_mib.to_string(),
            cycle.live_mib.to_string(),
            cycle.goal_mib.to_string(),
            cycle.procs.to_string(),
            if cycle.is_forced { "forced" } else { "" }.to_owned(),
        ]);
    }
    table
}

/// Sums of printed times have no more than three places either.
fn round(ms: f64) -> f64 {
    (ms * 1e3).round() / 1e3
}

/// Everything as one value.
pub fn value(summary: Option<&Summary>, log: &GcLog) -> Value {
    let cycles: Vec<Value> = log.last_run().iter().map(cycle).collect();
    json!({
        "summary": summary.map(|summary| json!({
            "cycles": summary.cycles,
            "first": summary.first,
            "last": summary.last,
            "seconds": summary.seconds,
            "procs": summary.procs,
            "forced": summary.forced,
            "pauses_ms": percentiles(&summary.pauses_ms),
            "mark_ms": percentiles(&summary.mark_ms),
            "cpu_percent": summary.cpu_percent,
            "window_cpu_percent": summary.window_cpu_percent,
            "assist_share": summary.assist_share,
            "live_mib": {
                "min": summary.live_mib.0,
                "median": summary.live_mib.1,
                "max": summary.live_mib.2,
                "last": summary.last_live_mib,
                "growth_a_minute": summary.growth_mib_a_minute,
            },
            "goal_mib": { "first": summary.goal_mib.0, "last": summary.goal_mib.1 },
            "over_goal": summary.over_goal,
            "stacks_mib": summary.stacks_mib,
            "globals_mib": summary.globals_mib,
            "limit": limit_value(&summary.limit),
            "advice": advice(summary),
        })),
        "scavenger": log.last_scavenge.map(|last| json!({
            "lines": log.scavenges,
            "background_kib": log.scavenged_kib.0,
            "eager_kib": log.scavenged_kib.1,
            "released_kib": last.released_kib,
            "utilisation_percent": last.utilisation_percent,
        })),
        "scheduler": { "lines": log.scheduler_lines, "queue_max": log.queue_max },
        "earlier_runs": log.restarts,
        "cycles_dropped": log.cycles_dropped,
        "cycles": cycles,
    })
}

fn limit_value(limit: &Limit) -> Value {
    match limit {
        Limit::Gogc { percent } => json!({ "kind": "gogc", "percent": percent.round() }),
        Limit::Least { goal_mib } => json!({ "kind": "least-goal", "goal_mib": goal_mib }),
        Limit::MemoryLimit { goal_mib } => json!({ "kind": "memory-limit", "goal_mib": goal_mib }),
        Limit::Forced => json!({ "kind": "forced" }),
        Limit::Unknown => json!({ "kind": "unknown" }),
    }
}

fn percentiles(times: &Percentiles) -> Value {
    json!({
        "count": times.count, "p50": times.p50, "p90": times.p90, "p99": times.p99,
        "max": times.max, "sum": round(times.sum),
    })
}

fn cycle(cycle: &GcCycle) -> Value {
    json!({
        "number": cycle.number,
        "at_seconds": cycle.at_seconds,
        "cpu_percent": cycle.cpu_percent,
        "sweep_term_ms": cycle.sweep_term_ms,
        "mark_ms": round(cycle.mark_ms),
        "mark_term_ms": cycle.mark_term_ms,
        "sweep_term_cpu_ms": cycle.sweep_term_cpu_ms,
        "assist_cpu_ms": cycle.assist_cpu_ms,
        "background_cpu_ms": round(cycle.background_cpu_ms),
        "idle_cpu_ms": cycle.idle_cpu_ms,
        "mark_term_cpu_ms": cycle.mark_term_cpu_ms,
        "start_mib": cycle.start_mib,
        "end_mib": cycle.end_mib,
        "live_mib": cycle.live_mib,
        "goal_mib": cycle.goal_mib,
        "stacks_mib": cycle.stacks_mib,
        "globals_mib": cycle.globals_mib,
        "procs": cycle.procs,
        "forced": cycle.is_forced,
        "leak_check": cycle.is_leak_check,
    })
}
