//! From evidence to a verdict.
//!
//! Each kind of problem has its own check in a module of its own; this one runs
//! them, orders what they found, and says "healthy" only on positive evidence and
//! "not enough evidence" otherwise.

mod figures;
mod heap;
mod memory;
mod native;
mod routines;
mod words;

use model::{
    Diagnosis, Finding, FindingKind, GoroutineSnapshot, Observation, Profile, Rss, RuntimeMetrics,
    Target, Timestamp,
};

use crate::forecast::{Limit, nearest_limit};
use crate::growth::{Series, SiteGrowth};
use crate::heap::growth::Growth;
use crate::level::{Levels, Shape, shape};
use crate::outstanding::NativeLook;
use crate::rss::CauseKind;
use figures::{Accounts, Collecting};

pub use figures::JUDGED_METRICS;

/// What a diagnosis rests on, each series in time order.
#[derive(Debug)]
pub struct Evidence<'a> {
    /// About whom.
    pub target: Target,
    /// Level signals.
    pub observations: &'a [Observation],
    /// Heap profiles; build with [`Series::push`].
    pub heaps: &'a Series,
    /// Goroutine snapshots.
    pub goroutines: &'a [(Timestamp, &'a GoroutineSnapshot)],
    /// Accounts of the resident memory.
    pub accounts: &'a [Rss],
    /// The runtime's metrics.
    pub metrics: &'a [(Timestamp, RuntimeMetrics)],
    /// What probes of malloc saw.
    pub native: &'a [NativeLook],
    /// When the process started, if known.
    pub process_start: Option<Timestamp>,
    /// What could not be read, and why.
    pub warnings: Vec<String>,
}

/// Builds the series of heap profiles that [`Evidence`] needs.
pub fn series<'a>(profiles: impl IntoIterator<Item = (Timestamp, &'a Profile)>) -> Series {
    let mut series = Series::default();
    for (time, profile) in profiles {
        series.push(time, profile);
    }
    series
}

/// A window shorter than this decides nothing.
const SPAN_SECONDS_MIN: f64 = 15.0;
/// Profiles only change with GC cycles; fewer decide nothing about the heap.
const PROFILES_MIN: usize = 4;

/// Evidence digested once, shared by the checks.
struct Context<'a> {
    module: &'a str,
    levels: Levels,
    live: Option<Shape>,
    sites: Vec<SiteGrowth>,
    heap_span: f64,
    heap_profiles: usize,
    limit: Option<Limit>,
    gogc: Option<i32>,
    latest: Option<&'a Observation>,
    span: f64,
    accounts: Option<Accounts<'a>>,
    collecting: Option<Collecting>,
    native: &'a [NativeLook],
    /// Of a process on this machine.
    pid: Option<u32>,
}

impl<'a> Context<'a> {
    fn of(evidence: &'a Evidence<'a>) -> Context<'a> {
        let levels = Levels::of(evidence.observations);
        let (first, latest) = (evidence.observations.first(), evidence.observations.last());
        let span = crate::level::span_seconds(first.map(|o| o.time), latest.map(|o| o.time));
        Context {
            module: evidence.target.labels.get("module").map_or("", String::as_str),
            live: shape(&levels.live),
            levels,
            sites: evidence.heaps.growth(),
            heap_span: evidence.heaps.span_seconds(),
            heap_profiles: evidence.heaps.len(),
            limit: latest.and_then(nearest_limit),
            gogc: latest.and_then(|latest| latest.runtime.gogc_percent),
            latest,
            span: span.max(evidence.heaps.span_seconds()),
            accounts: Accounts::of(evidence.accounts),
            collecting: Collecting::of(evidence.metrics),
            native: evidence.native,
            pid: evidence.target.pid,
        }
    }
}

impl Context<'_> {
    /// Resident bytes that these causes keep over time, by the accounts.
    fn persistent(&self, kinds: &[CauseKind]) -> Option<f64> {
        self.accounts.and_then(|accounts| accounts.persistent(kinds))
    }
}

/// Says what grows, where, how fast, and until when.
pub fn diagnose(evidence: &Evidence<'_>) -> Diagnosis {
    let context = Context::of(evidence);
    let mut findings = Vec::new();
    if context.span >= SPAN_SECONDS_MIN {
        let leaking = routines::check(&context, evidence.goroutines);
        findings.extend(heap::check(&context, &leaking));
        findings.extend(leaking);
        findings.extend(memory::check(&context, &findings));
    }
    findings.sort_by(|a, b| {
        let weight = |finding: &Finding| {
            (finding.kind.is_leak() && finding.confidence.0 >= 0.5, finding.confidence.0)
        };
        weight(b).partial_cmp(&weight(a)).unwrap_or(std::cmp::Ordering::Equal)
    });
    let is_decided = findings.first().is_some_and(|finding| finding.confidence.0 >= 0.5);
    if !is_decided {
        findings.insert(0, undecided(&context, &findings));
    }
    Diagnosis {
        target: evidence.target.clone(),
        time: latest_time(evidence),
        span_seconds: context.span,
        findings,
        warnings: evidence.warnings.clone(),
    }
}

fn latest_time(evidence: &Evidence<'_>) -> Timestamp {
    let observed = evidence.observations.last().map(|observation| observation.time);
    let snapshot = evidence.goroutines.last().map(|(time, _)| *time);
    observed.max(snapshot).unwrap_or_default()
}

/// Nothing was found with confidence: healthy when the evidence shows that nothing
/// grows, else not enough evidence.
fn undecided(context: &Context<'_>, suspects: &[Finding]) -> Finding {
    let blank = |kind, confidence, summary, evidence, next: &str| Finding {
        evidence,
        ..Finding::new(kind, confidence, summary, next)
    };
    let mut evidence = words::levels(context);
    let needs = |seconds: f64| {
        format!(
            "watch for another {} (memsight diagnose --for, or serve)",
            words::duration(seconds)
        )
    };
    if context.span < SPAN_SECONDS_MIN {
        let summary = format!("only {} of evidence so far", words::duration(context.span));
        let next = needs(60.0);
        return blank(FindingKind::InsufficientEvidence, 0.0, summary, evidence, &next);
    }
    if let Some(suspect) = suspects.first() {
        evidence.push(format!("suspect: {}", suspect.summary));
        let summary = format!("something may grow, but the evidence is thin: {}", suspect.summary);
        let next = needs(context.span.max(60.0) * 2.0);
        return blank(FindingKind::InsufficientEvidence, 0.0, summary, evidence, &next);
    }
    let is_flat = context.live.is_some_and(|live| {
        live.trend.slope.low <= 0.0 || live.late_pace < 0.34 || live.growth < 1024.0 * 1024.0
    });
    let rss_is_flat = shape(&context.levels.rss).is_none_or(|rss| {
        rss.trend.slope.low <= 0.0 || rss.late_pace < 0.5 || rss.growth < 8.0 * 1024.0 * 1024.0
    });
    let enough_cycles = context.levels.gc_cycles >= 3 || context.heap_profiles >= PROFILES_MIN;
    if (is_flat && enough_cycles) || (rss_is_flat && context.levels.gc_cycles == 0) {
        let confidence = if context.span >= 45.0 { 0.8 } else { 0.6 };
        let summary = format!("nothing grows that matters over {}", words::duration(context.span));
        return blank(FindingKind::Healthy, confidence, summary, evidence, "nothing to do");
    }
    let summary = if enough_cycles {
        "the live heap moves, but no site grows beyond sampling noise yet".to_owned()
    } else {
        let cycles = context.levels.gc_cycles;
        format!("only {cycles} garbage collections so far; Go publishes heap profiles with them")
    };
    let next = needs(context.span.max(60.0));
    blank(FindingKind::InsufficientEvidence, 0.0, summary, evidence, &next)
}

/// Whether the heap more likely than not leaks, so that object graphs may tell what holds
/// what is added.
pub fn is_heap_leak(diagnosis: &Diagnosis) -> bool {
    diagnosis.findings.iter().any(is_likely_leak)
}

fn is_likely_leak(finding: &Finding) -> bool {
    // Short evidence leaves much doubt, which the graphs are to take away.
    const LIKELY: f64 = 0.3;
    finding.kind == FindingKind::HeapLeak && finding.confidence.0 >= LIKELY
}

/// Whether memory outside the Go runtime more likely than not grows, so that a probe of malloc may
/// tell who holds it.
pub fn is_native_growth(diagnosis: &Diagnosis) -> bool {
    diagnosis.findings.iter().any(|finding| finding.kind == FindingKind::NativeGrowth)
}

/// Adds to the findings about a leaking heap what two object graphs of it told.
pub fn add_growth(diagnosis: &mut Diagnosis, growth: &Growth) {
    for finding in diagnosis.findings.iter_mut().filter(|finding| is_likely_leak(finding)) {
        finding.retainers.clone_from(&growth.retainers);
        finding.evidence.extend(growth.evidence.iter().cloned());
        if !growth.retainers.is_empty() {
            "see who still needs what the retaining path holds, and end it there where nobody does; \
             memsight heap view shows what else is on the path"
                .clone_into(&mut finding.next);
        }
    }
}

#[cfg(test)]
mod tests;
