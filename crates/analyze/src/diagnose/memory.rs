//! Memory outside the live heap: native growth, unreturned and fragmented memory,
//! GC churn, growing stacks, page cache.

use model::{Finding, FindingKind, Interval};

use super::{Context, native, words};
use crate::forecast::time_to_limit;
use crate::level::{last, persistent, shape};
use crate::rss::CauseKind;

const MIB: f64 = 1024.0 * 1024.0;

/// Checks the levels; `found` are findings that already explain growth.
pub(super) fn check(context: &Context<'_>, found: &[Finding]) -> Vec<Finding> {
    let has = |kind: FindingKind| {
        found.iter().any(|finding| finding.kind == kind && finding.confidence.0 >= 0.5)
    };
    let mut findings = Vec::new();
    findings.extend(native_growth(context));
    if !has(FindingKind::GoroutineLeak) {
        findings.extend(stack_growth(context));
    }
    findings.extend(unreturned(context));
    findings.extend(fragmentation(context));
    findings.extend(churn(context));
    findings.extend(page_cache(context));
    findings
}

/// Resident memory that the Go runtime does not know of grows steadily.
fn native_growth(context: &Context<'_>) -> Option<Finding> {
    let rest = shape(&context.levels.rest)?;
    let rss = shape(&context.levels.rss)?;
    let slope = rest.trend.slope;
    // Arena pages that are touched for the first time look like native growth, but
    // only while RSS catches up with what the runtime has mapped.
    let resident = last(&context.levels.rest)?;
    let is_steady = slope.low > 0.0 && rest.late_pace > 0.5 && rest.growth > 3.0 * MIB;
    let explains_rss = slope.estimate > 0.5 * rss.trend.slope.estimate;
    if !is_steady || !explains_rss || resident < 4.0 * MIB {
        return None;
    }
    let mut confidence: f64 = 0.9;
    if rest.late_pace < 0.7 {
        confidence -= 0.2;
    }
    if context.span < 30.0 {
        confidence -= 0.2;
    }
    if resident < 16.0 * MIB {
        confidence -= 0.1;
    }
    let rate: Interval = slope;
    let time = context.limit.as_ref().and_then(|limit| time_to_limit(limit.headroom(), rate));
    let told = native::told(context, rate);
    let mut summary =
        format!("memory outside the Go runtime (cgo, mmap) grows by {}", words::rate(rate));
    if let Some(who) = told.summary {
        summary = format!("{who}; {summary}");
    }
    if let (Some(limit), Some(time)) = (&context.limit, time) {
        summary += &format!("; {} is reached in {}", limit.name, words::time(time));
    }
    let mut found = Finding::new(FindingKind::NativeGrowth, confidence, summary, &told.next);
    found.rate = Some(rate);
    found.time_to_limit_seconds = time;
    (found.sites, found.captures, found.evidence) = (told.sites, told.captures, told.evidence);
    found.evidence.extend([
        format!(
            "resident memory grows by {}, the part the Go runtime knows of by {}",
            words::rate(rss.trend.slope),
            shape(&context.levels.go)
                .map_or("an unknown rate".into(), |go| words::rate(go.trend.slope))
        ),
        format!("{} is resident outside the Go runtime now", words::bytes(resident)),
    ]);
    found.evidence.extend(context.accounts.iter().flat_map(|accounts| accounts.native_growth()));
    found.evidence.extend(words::levels(context));
    Some(found)
}

fn stack_growth(context: &Context<'_>) -> Option<Finding> {
    let stacks = shape(&context.levels.stacks)?;
    let now = last(&context.levels.stacks)?;
    let slope = stacks.trend.slope;
    if slope.low <= 0.0 || stacks.growth < 8.0 * MIB || stacks.late_pace < 0.5 {
        return None;
    }
    let summary =
        format!("goroutine stacks grow by {}, {} now", words::rate(slope), words::bytes(now));
    let mut found = Finding::new(
        FindingKind::StackGrowth,
        0.6,
        summary,
        "look for more goroutines (memsight goroutines) or deeper recursion",
    );
    found.rate = Some(slope);
    found.evidence.extend(context.accounts.and_then(|accounts| accounts.stacks()));
    Some(found)
}

/// Idle heap that stays mapped.
fn unreturned(context: &Context<'_>) -> Option<Finding> {
    let rss = last(&context.levels.rss)?;
    // Accounts know what allocations will fill before the next collection, and what is not
    // resident or is so again.
    let counted = context.persistent(&[CauseKind::IdleHeap, CauseKind::ReturnedHeap]);
    let idle = counted.or_else(|| persistent(&context.levels.unreturned))?;
    if idle < 128.0 * MIB || idle < 0.4 * rss {
        return None;
    }
    let summary = format!(
        "{} of {} resident is idle heap that was not returned to the system",
        words::bytes(idle),
        words::bytes(rss)
    );
    let next = "the scavenger returns it over minutes; set GOMEMLIMIT if it must be sooner";
    let confidence = confidence(counted);
    let mut found = Finding::new(FindingKind::UnreturnedMemory, confidence, summary, next);
    found.evidence.extend(context.accounts.map(|accounts| accounts.idle()));
    Some(found)
}

/// Spans in use with much free space in them.
fn fragmentation(context: &Context<'_>) -> Option<Finding> {
    let counted = context.persistent(&[CauseKind::Fragmentation]);
    let free = counted.or_else(|| persistent(&context.levels.fragmented))?;
    let in_use = last(&context.levels.in_use)?;
    if free < 64.0 * MIB || free < 0.5 * in_use {
        return None;
    }
    let summary = format!(
        "{} of the {} heap in use is free space inside spans",
        words::bytes(free),
        words::bytes(in_use)
    );
    let next =
        "long-lived objects among short-lived ones pin spans; pool or group them by lifetime";
    let mut found = Finding::new(FindingKind::Fragmentation, confidence(counted), summary, next);
    found.evidence.extend(context.accounts.iter().flat_map(|accounts| accounts.fragments()));
    Some(found)
}

/// A level alone does not tell what allocations will use again.
fn confidence(counted: Option<f64>) -> f64 {
    if counted.is_some() { 0.8 } else { 0.6 }
}

/// The collector works much.
fn churn(context: &Context<'_>) -> Option<Finding> {
    let next = "allocate less (memsight top --sample alloc_space) or raise GOGC if memory allows";
    if let Some(collecting) = context.collecting {
        if collecting.share < 0.25 || collecting.per_second < 1.0 {
            return None;
        }
        let summary = format!(
            "garbage collection takes {:.0} % of the CPU time that is used, at {:.1} cycles a second",
            collecting.share * 100.0,
            collecting.per_second
        );
        let mut found = Finding::new(FindingKind::GcChurn, 0.8, summary, next);
        let assists = collecting.assists * 100.0;
        found.evidence.push(format!("goroutines that allocate do {assists:.0} % of its work"));
        let pause = collecting.pause_p99.map(|pause| pause * 1e3);
        let text = |pause: f64| format!("99 of 100 stops of the world end within {pause:.2} ms");
        found.evidence.extend(pause.map(text));
        return Some(found);
    }
    let fraction = context.latest?.runtime.gc_cpu_fraction?;
    let per_second = context.levels.gc_cycles as f64 / context.span.max(1.0);
    if fraction < 0.2 || per_second < 1.0 {
        return None;
    }
    let summary = format!(
        "garbage collection takes {:.0} % of the CPU at {per_second:.1} cycles a second",
        fraction * 100.0
    );
    Some(Finding::new(FindingKind::GcChurn, 0.6, summary, next))
}

/// The cgroup's page cache grows while anonymous memory does not.
fn page_cache(context: &Context<'_>) -> Option<Finding> {
    let cache = shape(&context.levels.page_cache)?;
    let rss = shape(&context.levels.rss)?;
    context.latest?.cgroup.limit_bytes?;
    let grows = cache.trend.slope.low > 0.0 && cache.growth > 64.0 * MIB;
    if !grows || rss.growth > 0.1 * cache.growth {
        return None;
    }
    let summary = format!(
        "the cgroup's usage grows by page cache ({}), which the kernel takes back when needed",
        words::rate(cache.trend.slope)
    );
    Some(Finding::new(
        FindingKind::PageCache,
        0.6,
        summary,
        "nothing: alert on the working set instead",
    ))
}
