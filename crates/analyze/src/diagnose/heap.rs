//! Heap leaks and filling caches, by allocation site.

use std::collections::HashMap;

use model::{Confidence, Finding, FindingKind, Frame, Interval, Site};

use super::{Context, PROFILES_MIN, words};
use crate::code::responsible;
use crate::forecast::time_to_limit;
use crate::growth::SiteGrowth;

/// False discovery rate of growing sites.
const Q: f64 = 0.01;
/// A pace in the last third below this share of the whole means it slows down.
const PACE_SLOWING: f64 = 0.45;
/// Falls of more than this share of the growth are a batch's, not a leak's.
const DRAWDOWN_MAX: f64 = 0.4;
/// Slower than this it takes a month to fill a gigabyte.
const RATE_MIN: f64 = 400.0;
const SITES_SHOWN: usize = 10;

/// Growth of all stacks with the same responsible frame.
struct Group<'a> {
    frame: Frame,
    sites: Vec<&'a SiteGrowth>,
    growth: f64,
    variance: f64,
    p_adjusted: f64,
    late_pace: Interval,
    drawdown: f64,
    survival: f64,
    in_use: f64,
}

impl Group<'_> {
    fn rate(&self, span: f64) -> Interval {
        let half = 1.96 * self.variance.sqrt();
        let rate = |bytes: f64| bytes / span.max(1e-9);
        Interval {
            estimate: rate(self.growth),
            low: rate(self.growth - half),
            high: rate(self.growth + half),
        }
    }

    /// The growth stopped or slows down.
    fn is_slowing(&self) -> bool {
        self.late_pace.estimate < PACE_SLOWING
    }
}

/// Checks all sites; `leaking` are goroutine leaks that explain what they hold.
pub(super) fn check(context: &Context<'_>, leaking: &[Finding]) -> Vec<Finding> {
    if context.heap_profiles < PROFILES_MIN {
        return unattributed(context).into_iter().collect();
    }
    let groups = groups(context, leaking);
    let total: f64 = groups.iter().map(|group| group.growth).sum();
    let (slowing, steady): (Vec<_>, Vec<_>) = groups.iter().partition(|group| group.is_slowing());
    let mut findings = Vec::new();
    if let Some(finding) = leak(context, &steady, total) {
        findings.push(finding);
    }
    if let Some(finding) = cache(context, &slowing) {
        findings.push(finding);
    }
    findings
}

/// Without heap profiles (sampling is off in the program) the live heap still shows
/// that something leaks, though not what.
fn unattributed(context: &Context<'_>) -> Option<Finding> {
    let live = context.live?;
    let slope = live.trend.slope;
    let is_steady = slope.low > 0.0 && live.late_pace > 0.6 && live.growth > 4.0 * 1024.0 * 1024.0;
    // With profiles on the way they decide.
    if context.heap_profiles > 0 || !is_steady || context.levels.gc_cycles < 5 {
        return None;
    }
    let time = context
        .limit
        .as_ref()
        .and_then(|limit| time_to_limit(limit.headroom(), amplified(slope, context.gogc)));
    let mut summary = format!("the live heap grows by {}; where is unknown", words::rate(slope));
    if let (Some(limit), Some(time)) = (&context.limit, time) {
        summary += &format!("; {} is reached in {}", limit.name, words::time(time));
    }
    Some(Finding {
        kind: FindingKind::HeapLeak,
        confidence: Confidence(if context.span < 45.0 { 0.5 } else { 0.65 }),
        summary,
        rate: Some(slope),
        time_to_limit_seconds: time,
        sites: Vec::new(),
        retainers: Vec::new(),
        captures: Vec::new(),
        evidence: words::levels(context),
        next: "the heap profile could not be read (see the warning); with it the site can be named"
            .to_owned(),
    })
}

/// Significant, material growth, joined by responsible frame, largest first.
fn groups<'a>(context: &'a Context<'_>, leaking: &[Finding]) -> Vec<Group<'a>> {
    let mut groups: HashMap<Frame, Group<'a>> = HashMap::new();
    for site in &context.sites {
        if site.growth_bytes.estimate <= 0.0 || site.p_adjusted > Q || is_held_by(leaking, site) {
            continue;
        }
        let Some(frame) = responsible(&site.stack, context.module) else { continue };
        let half = (site.growth_bytes.high - site.growth_bytes.estimate) / 1.96;
        let group = groups.entry(frame.clone()).or_insert_with(|| Group {
            frame: frame.clone(),
            sites: Vec::new(),
            growth: 0.0,
            variance: 0.0,
            p_adjusted: 1.0,
            late_pace: Interval::default(),
            drawdown: 0.0,
            survival: 0.0,
            in_use: 0.0,
        });
        let weight = site.growth_bytes.estimate;
        group.growth += weight;
        group.variance += half * half;
        group.p_adjusted = group.p_adjusted.min(site.p_adjusted);
        group.late_pace.estimate += weight * site.late_pace.estimate;
        group.late_pace.low += weight * site.late_pace.low;
        group.late_pace.high += weight * site.late_pace.high;
        group.drawdown += weight * site.drawdown.min(2.0);
        group.survival += weight * site.survival;
        group.in_use += site.in_use_bytes;
        group.sites.push(site);
    }
    let mut groups: Vec<Group<'a>> = groups.into_values().collect();
    for group in &mut groups {
        let scale = 1.0 / group.growth.max(1.0);
        group.late_pace.estimate *= scale;
        group.late_pace.low *= scale;
        group.late_pace.high *= scale;
        group.drawdown *= scale;
        group.survival *= scale;
        group.sites.sort_by(|a, b| b.growth_bytes.estimate.total_cmp(&a.growth_bytes.estimate));
    }
    groups.retain(|group| group.growth / context.heap_span.max(1.0) >= RATE_MIN);
    groups.sort_by(|a, b| b.growth.total_cmp(&a.growth).then_with(|| a.frame.cmp(&b.frame)));
    groups
}

/// The site allocates for goroutines that leak: one finding, not two.
fn is_held_by(leaking: &[Finding], site: &SiteGrowth) -> bool {
    let confident = leaking.iter().filter(|finding| finding.confidence.0 >= 0.5);
    confident.flat_map(|finding| &finding.sites).any(|leak| {
        site.stack.iter().any(|frame| {
            frame.function == leak.frame.function
                || leak.stack.iter().any(|other| {
                    other.function == frame.function && !other.function.starts_with("runtime.")
                })
        })
    })
}

fn leak(context: &Context<'_>, groups: &[&Group<'_>], total: f64) -> Option<Finding> {
    let top = groups.first()?;
    let growth: f64 = groups.iter().map(|group| group.growth).sum();
    let variance: f64 = groups.iter().map(|group| group.variance).sum();
    let span = context.heap_span.max(1e-9);
    let half = 1.96 * variance.sqrt();
    let rate = Interval {
        estimate: growth / span,
        low: (growth - half) / span,
        high: (growth + half) / span,
    };
    let confidence = confidence(context, top, growth);
    let time = context
        .limit
        .as_ref()
        .and_then(|limit| time_to_limit(limit.headroom(), amplified(rate, context.gogc)));
    let sites: Vec<Site> = groups
        .iter()
        .take(SITES_SHOWN)
        .map(|group| Site {
            frame: group.frame.clone(),
            share: group.growth / total.max(1.0),
            rate: group.rate(span),
            stack: group.sites.first().map(|site| site.stack.clone()).unwrap_or_default(),
        })
        .collect();
    let mut summary = format!("{} leaks {}", words::place(&top.frame), words::rate(rate));
    if let (Some(limit), Some(time)) = (&context.limit, time) {
        summary += &format!("; {} is reached in {}", limit.name, words::time(time));
    }
    Some(Finding {
        kind: FindingKind::HeapLeak,
        confidence: Confidence(confidence),
        summary,
        rate: Some(rate),
        time_to_limit_seconds: time,
        sites,
        retainers: Vec::new(),
        captures: Vec::new(),
        evidence: evidence(context, top),
        next: format!(
            "look at what keeps the objects of {} alive; memsight flame shows the whole picture",
            words::place(&top.frame)
        ),
    })
}

/// Resident memory grows faster than the live heap: the heap may grow to
/// (1 + GOGC/100) times the live heap before it is collected.
fn amplified(rate: Interval, gogc: Option<i32>) -> Interval {
    let factor = 1.0 + f64::from(gogc.unwrap_or(100).clamp(0, 400)) / 100.0;
    Interval { estimate: rate.estimate * factor, low: rate.low, high: rate.high * factor }
}

/// How sure: significance, steadiness to the end, no falls, enough collections,
/// and a live heap that grows as a whole.
fn confidence(context: &Context<'_>, top: &Group<'_>, growth: f64) -> f64 {
    let mut confidence = 0.97;
    // A pace that may well be near zero at the end: a cache could be filling up.
    if top.late_pace.low < PACE_SLOWING {
        confidence -= 0.15;
    }
    if top.late_pace.low < 0.2 {
        confidence -= 0.2;
    }
    if top.drawdown > DRAWDOWN_MAX {
        confidence -= 0.6;
    } else if top.drawdown > DRAWDOWN_MAX / 2.0 {
        confidence -= 0.2;
    }
    if context.heap_span < 30.0 {
        confidence -= 0.2;
    }
    if context.heap_profiles < 6 {
        confidence -= 0.15;
    }
    if let Some(live) = context.live {
        if live.trend.slope.high <= 0.0 {
            confidence -= 0.6;
        } else if live.trend.p_rise > 0.05 || live.growth < 0.2 * growth {
            confidence -= 0.3;
        }
        if live.late_pace < 0.3 {
            confidence -= 0.3;
        }
    }
    f64::clamp(confidence - top.p_adjusted * 10.0, 0.05, 0.99)
}

fn evidence(context: &Context<'_>, top: &Group<'_>) -> Vec<String> {
    let new: u64 = top.sites.iter().map(|site| site.new_samples).sum();
    let gone: u64 = top.sites.iter().map(|site| site.gone_samples).sum();
    let mut lines = vec![
        format!(
            "{} grew by {} in {} and holds {} now",
            top.frame.function,
            words::bytes(top.growth),
            words::duration(context.heap_span),
            words::bytes(top.in_use)
        ),
        format!(
            "{new} sampled objects came, {gone} went (chance alone: p {}); {:.0} % of what it \
             allocated is still there",
            words::probability(top.p_adjusted),
            top.survival * 100.0
        ),
        format!(
            "it keeps its pace: the last third grew {:.0} % as fast as the whole ({:.0} to {:.0} %)",
            top.late_pace.estimate * 100.0,
            top.late_pace.low.max(0.0) * 100.0,
            top.late_pace.high * 100.0
        ),
    ];
    lines.extend(words::levels(context));
    lines
}

fn cache(context: &Context<'_>, groups: &[&Group<'_>]) -> Option<Finding> {
    let top = groups.first()?;
    // Growth that has ended is no finding; it only was one.
    let is_over = top.late_pace.estimate < 0.1;
    let span = context.heap_span;
    if is_over || top.growth < 1024.0 * 1024.0 {
        return None;
    }
    let rate = top.rate(span);
    Some(Finding {
        kind: FindingKind::CacheGrowth,
        confidence: Confidence(0.5),
        summary: format!(
            "{} still fills but slows down: {} over the window, now at {:.0} % of that pace",
            words::place(&top.frame),
            words::rate(rate),
            top.late_pace.estimate * 100.0
        ),
        rate: Some(rate),
        time_to_limit_seconds: None,
        sites: vec![Site {
            frame: top.frame.clone(),
            share: 1.0,
            rate,
            stack: top.sites.first().map(|site| site.stack.clone()).unwrap_or_default(),
        }],
        retainers: Vec::new(),
        captures: Vec::new(),
        evidence: evidence(context, top),
        next: "if this cache has no bound, give it one; else watch until it is full".to_owned(),
    })
}
