//! Who holds what grows outside the Go runtime, by what probes of malloc saw.
//!
//! Each look begins anew: what it found was asked for while it lasted, and was not freed. Over its
//! time that is a pace, and several looks tell whether it goes on.

use model::{CaptureId, Frame, Interval, Site, Timestamp};

use super::{Context, words};
use crate::outstanding::{NativeLook, NativeSite};

/// Sites that are named at most, and those that have a line of their own.
const SITES_SHOWN: usize = 10;
const SITES_TOLD: usize = 3;
/// What malloc gave explains growth when it is this share of it at least.
const SHARE_MIN: f64 = 0.25;
/// A pace below this share of the first is one that ends.
const SLOWING: f64 = 0.5;

/// What the looks say of growth.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Those who hold what grows; none where malloc does not explain it.
    pub(super) sites: Vec<Site>,
    /// `keep (main.go:12), which main.work (main.go:30) calls, does not free 1.2 MiB/s`.
    pub(super) summary: Option<String>,
    /// The figures.
    pub(super) evidence: Vec<String>,
    /// The captures they are from.
    pub(super) captures: Vec<CaptureId>,
    /// What to do next.
    pub(super) next: String,
}

/// Says who holds what grows so fast.
pub(super) fn told(context: &Context<'_>, growth: Interval) -> Told {
    let looks: Vec<&NativeLook> = context.native.iter().filter(|look| look.has_pace()).collect();
    let Some(last) = looks.last().copied() else {
        let evidence = context.native.last().map(|look| too_short(look, context)).into_iter();
        let (evidence, next) = (evidence.collect(), next_without(context));
        return Told { evidence, next, ..Told::default() };
    };
    let captures = looks.iter().filter_map(|look| look.capture).collect();
    let pace = pooled(&looks, |look| look.pace(&look.total));
    let mut evidence = vec![found(last, context)];
    let is_explained = pace.estimate >= SHARE_MIN * growth.estimate;
    let Some(top) = last.sites.first().filter(|_| is_explained) else {
        evidence.push(format!(
            "that is {} of the growth: malloc does not explain it",
            words::share(pace.estimate / growth.estimate.max(1.0))
        ));
        let next = next_of_mappings(context);
        return Told { evidence, captures, next, ..Told::default() };
    };
    evidence.extend(last.sites.iter().take(SITES_TOLD).map(|site| holds(site, last)));
    if looks.len() > 1 {
        evidence.extend(last.sites.iter().take(SITES_TOLD).map(|site| goes_on(site, &looks)));
    }
    let sites: Vec<Site> = last
        .sites
        .iter()
        .take(SITES_SHOWN)
        .map(|site| Site {
            frame: site.frame.clone(),
            share: site.live.bytes / last.total.bytes.max(1.0),
            rate: pace_of(&site.frame, &looks),
            stack: site.stack.clone(),
        })
        .collect();
    let rate = pace_of(&top.frame, &looks);
    let summary = format!("{} does not free {}", whose(top), words::rate(rate));
    let next = format!("free what {} has from malloc; {}", whose(top), all_stacks(last, context));
    Told { sites, summary: Some(summary), evidence, captures, next }
}

/// `keep (main.go:12), which main.work (main.go:30) calls`.
fn whose(site: &NativeSite) -> String {
    let caller = site.caller.as_ref().filter(|caller| **caller != site.frame);
    let caller = caller.map(|caller| format!(", which {} calls,", words::place(caller)));
    format!("{}{}", words::place(&site.frame), caller.unwrap_or_default())
}

fn found(look: &NativeLook, context: &Context<'_>) -> String {
    format!(
        "{} saw {} of malloc that nobody freed within {}, in {}",
        name(look, context),
        with_error(look.total.bytes, look.total.bytes_error),
        words::duration(look.older_seconds),
        words::duration(look.span_seconds)
    )
}

fn too_short(look: &NativeLook, context: &Context<'_>) -> String {
    format!(
        "{} looked for {:.1} s, too short to tell who keeps what: probes end early where malloc is \
         called so often that they cost too much (memsight probe native --max-cost)",
        name(look, context),
        look.span_seconds + look.older_seconds
    )
}

fn holds(site: &NativeSite, look: &NativeLook) -> String {
    format!(
        "{} has {} of it, {}",
        whose(site),
        with_error(site.live.bytes, site.live.bytes_error),
        words::share(site.live.bytes / look.total.bytes.max(1.0))
    )
}

/// The call's pace in each look.
fn goes_on(site: &NativeSite, looks: &[&NativeLook]) -> String {
    let paces: Vec<Interval> = looks.iter().map(|look| pace_in(&site.frame, look)).collect();
    let text = |pace: &Interval| {
        let error = (pace.high - pace.estimate) / 1.96;
        format!("{}/s ± {}/s", words::bytes(pace.estimate), words::bytes(error))
    };
    let texts: Vec<String> = paces.iter().map(text).collect();
    let (first, last) = (paces.first(), paces.last());
    let is_slowing = first.zip(last).is_some_and(|(a, b)| b.high < SLOWING * a.low);
    format!(
        "{} kept {} in the {} looks: it {}",
        words::place(&site.frame),
        texts.join(", then "),
        looks.len(),
        if is_slowing { "slows down" } else { "goes on" }
    )
}

fn pace_in(frame: &Frame, look: &NativeLook) -> Interval {
    look.site(frame).map_or_else(Interval::default, |site| look.pace(&site.live))
}

fn pace_of(frame: &Frame, looks: &[&NativeLook]) -> Interval {
    pooled(looks, |look| pace_in(frame, look))
}

/// The mean of the paces in the looks, by how long they were; they are independent.
fn pooled(looks: &[&NativeLook], pace: impl Fn(&NativeLook) -> Interval) -> Interval {
    let (mut sum, mut variance, mut seconds) = (0.0, 0.0, 0.0);
    for look in looks {
        let pace = pace(look);
        sum += pace.estimate * look.span_seconds;
        variance += ((pace.high - pace.estimate) * look.span_seconds).powi(2);
        seconds += look.span_seconds;
    }
    let (estimate, half) =
        (sum / f64::max(seconds, 1e-9), variance.sqrt() / f64::max(seconds, 1e-9));
    Interval { estimate, low: f64::max(estimate - half, 0.0), high: estimate + half }
}

/// `10.2 MiB ± 192 KiB`.
fn with_error(bytes: f64, error: f64) -> String {
    format!("{} ± {}", words::bytes(bytes), words::bytes(error))
}

/// `capture 17 (native)`, and how old it is where that matters.
fn name(look: &NativeLook, context: &Context<'_>) -> String {
    /// Within this time a look is one of now.
    const NOW_SECONDS: f64 = 600.0;
    let latest = context.latest.map_or(Timestamp(0), |latest| latest.time);
    let age = latest.seconds_since(look.time);
    let ago = match age > NOW_SECONDS {
        true => format!(" of {} ago", words::duration(age)),
        false => String::new(),
    };
    match look.capture {
        Some(id) => format!("capture {}{ago} (native)", id.0),
        None => format!("a probe of malloc{ago}"),
    }
}

fn all_stacks(look: &NativeLook, context: &Context<'_>) -> String {
    match (look.capture, context.pid) {
        (Some(id), _) => format!("the page /capture/{} has all stacks", id.0),
        (None, Some(pid)) => format!("memsight probe native {pid} --for 1m shows all stacks"),
        (None, None) => "memsight probe native shows all stacks".to_owned(),
    }
}

/// Nobody has looked at malloc.
fn next_without(context: &Context<'_>) -> String {
    match context.pid {
        Some(pid) => format!(
            "name who asks malloc for it: memsight probe native {pid} --for 1m, or in an agent the rule {{when: {{finding: \
             {{kind: native-growth}}}}, do: [{{capture: native, for: 30s}}]}}; C.malloc without C.free, drivers and \
             embedded databases are usual, and memsight probe mmap {pid} shows what goes past malloc"
        ),
        None => "look at cgo calls and mmap: C.malloc without C.free, drivers, embedded databases"
            .to_owned(),
    }
}

/// It is not malloc's.
fn next_of_mappings(context: &Context<'_>) -> String {
    let pid = context.pid.map_or(String::new(), |pid| format!(" {pid}"));
    format!(
        "name who maps it: memsight probe mmap{pid} --for 1m, and who touches it: memsight probe \
         faults{pid}"
    )
}
