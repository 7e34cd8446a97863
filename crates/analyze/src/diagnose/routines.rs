//! Goroutine leaks.

use model::{Confidence, Finding, FindingKind, GoroutineSnapshot, Interval, Site, Timestamp};

use super::{Context, words};
use crate::code::responsible;
use crate::forecast::time_to_limit;
use crate::goroutines::{GroupGrowth, growth};

/// Checks goroutine groups for steady growth.
pub(super) fn check(
    context: &Context<'_>,
    snapshots: &[(Timestamp, &GoroutineSnapshot)],
) -> Vec<Finding> {
    let groups: Vec<GroupGrowth> = growth(snapshots)
        .into_iter()
        .filter(|group| group.rate.low > 0.0 && group.p_rise < 0.02)
        .collect();
    let total: f64 = groups.iter().map(|group| group.rate.estimate).sum();
    groups.first().map(|top| finding(context, top, &groups, total)).into_iter().collect()
}

fn finding(
    context: &Context<'_>,
    top: &GroupGrowth,
    groups: &[GroupGrowth],
    total: f64,
) -> Finding {
    let module = context.module;
    let frame = responsible(&top.stack, module).or(top.created_by.as_ref());
    let frame = frame.cloned().unwrap_or_default();
    let each = top.stack_bytes_each + held_each(context, top);
    let scale = |rate: Interval| Interval {
        estimate: rate.estimate * each,
        low: rate.low * each,
        high: rate.high * each,
    };
    let rate = scale(top.rate);
    let time = context.limit.as_ref().and_then(|limit| time_to_limit(limit.headroom(), rate));
    let mut summary = format!(
        "goroutines pile up at {}: {:.1} a second, {} now, {}",
        words::place(&frame),
        top.rate.estimate,
        top.count,
        if top.wait_reason.is_empty() { top.state } else { &top.wait_reason }
    );
    if let (Some(limit), Some(time)) = (&context.limit, time) {
        summary += &format!("; {} is reached in {}", limit.name, words::time(time));
    }
    let sites = groups
        .iter()
        .take(5)
        .map(|group| Site {
            frame: responsible(&group.stack, module)
                .or(group.created_by.as_ref())
                .cloned()
                .unwrap_or_default(),
            share: group.rate.estimate / total.max(1e-9),
            rate: group.rate,
            stack: group.stack.iter().cloned().chain(group.created_by.clone()).collect(),
        })
        .collect();
    Finding {
        kind: FindingKind::GoroutineLeak,
        confidence: Confidence(confidence(context, top)),
        summary,
        rate: Some(rate),
        time_to_limit_seconds: time,
        sites,
        retainers: Vec::new(),
        captures: Vec::new(),
        evidence: evidence(top, each),
        next: match &top.created_by {
            Some(creator) => format!(
                "make sure what {} starts can end: a receiver, a cancelled context, a closed channel",
                words::place(creator)
            ),
            None => "make sure these goroutines can end".to_owned(),
        },
    }
}

/// Heap bytes each leaking goroutine holds: growth of the sites allocated in its
/// functions, shared out.
fn held_each(context: &Context<'_>, top: &GroupGrowth) -> f64 {
    let own = |function: &str| {
        !function.starts_with("runtime.")
            && top.stack.iter().any(|frame| frame.function == function)
    };
    let held: f64 = context
        .sites
        .iter()
        .filter(|site| site.stack.iter().any(|frame| own(&frame.function)))
        .map(|site| site.growth_bytes.estimate.max(0.0))
        .sum();
    let grown = top.rate.estimate * context.heap_span;
    if grown > 0.0 { held / grown } else { 0.0 }
}

fn confidence(context: &Context<'_>, top: &GroupGrowth) -> f64 {
    let mut confidence = 0.97;
    if top.late_pace < 0.3 {
        confidence -= 0.6;
    } else if top.late_pace < 0.6 {
        confidence -= 0.2;
    }
    if top.drawdown > 0.3 {
        confidence -= 0.5;
    } else if top.drawdown > 0.1 {
        confidence -= 0.15;
    }
    // Work in progress is runnable or running; a leak waits.
    if !matches!(top.state, "waiting" | "syscall") {
        confidence -= 0.5;
    }
    if context.span < 30.0 {
        confidence -= 0.2;
    }
    f64::clamp(confidence - top.p_rise * 5.0, 0.05, 0.99)
}

fn evidence(top: &GroupGrowth, each: f64) -> Vec<String> {
    let mut lines = vec![format!(
        "{} goroutines wait there, {:.2} a second more ({:.2} to {:.2}), about {} each",
        top.count,
        top.rate.estimate,
        top.rate.low,
        top.rate.high,
        words::bytes(each)
    )];
    if let Some(creator) = &top.created_by {
        lines.push(format!("they are started at {}", words::place(creator)));
    }
    if let Some(wait) = top.wait_seconds_max {
        lines.push(format!("the longest has waited {}", words::duration(wait)));
    }
    lines.push(format!(
        "their number never fell by more than {:.0} % of its growth",
        top.drawdown * 100.0
    ));
    lines
}
