//! What `probe native` saw, as text and as JSON; the contract of the latter is in docs/api.md.

use analyze::outstanding::NativeFrame;
use analyze::samples::Estimate;
use model::Bytes;
use model::probe::ProbeCounts;
use serde_json::{Value, json};

use super::{estimate, losses, place_of, printable, span, with_error};
use crate::json;
use crate::paint::Paint;

/// A stack with its calls by name.
#[derive(Clone, Debug)]
pub struct NativeSite {
    /// What it asked for and nobody has freed.
    pub live: Estimate,
    /// Age of the oldest block of it.
    pub oldest_seconds: Option<f64>,
    /// All that it asked for.
    pub allocated: Estimate,
    /// Which part of the samples was freed.
    pub freed_share: f64,
    /// How long half of it lives, if half of it has died.
    pub lifetime_seconds: Option<f64>,
    /// Its calls, innermost first.
    pub stack: Vec<NativeFrame>,
    /// The one that is responsible.
    pub responsible: Option<NativeFrame>,
}

/// What was seen of a process.
#[derive(Clone, Debug)]
pub struct NativeReport<'a> {
    /// The process.
    pub pid: u32,
    /// Its name.
    pub name: &'a str,
    /// Files of the allocators that were looked at.
    pub allocators: Vec<String>,
    /// For how long.
    pub seconds: f64,
    /// Mean number of bytes between two samples; nothing where the process itself took them.
    pub every: Option<u64>,
    /// What is younger was left out.
    pub older_seconds: f64,
    /// All that was asked for.
    pub allocated: Estimate,
    /// All that is outstanding.
    pub total: Estimate,
    /// What was left out.
    pub young: Estimate,
    /// What of the total has a stack of which the outer calls are missing.
    pub cut: Estimate,
    /// What was lost.
    pub counts: ProbeCounts,
    /// The stacks, those with the most bytes first.
    pub sites: Vec<NativeSite>,
}

impl NativeReport<'_> {
    fn per_second(&self, of: &Estimate) -> f64 {
        of.bytes / self.seconds.max(0.001)
    }
}

/// Calls of a stack that are listed.
const CALLS_SHOWN: usize = 8;
/// Where their names begin.
const CALLS_AT: usize = 91;

/// A table for people.
pub fn native_text(report: &NativeReport<'_>, limit: usize, paint: Paint) -> String {
    let sampling = match report.every {
        None => "samples of its own".to_owned(),
        Some(1) => "every block".to_owned(),
        Some(every) => format!("one sample in {}", Bytes(every)),
    };
    let mut out = format!(
        "{} (pid {}), {:.1} s, {sampling}, {}\n",
        paint.bold(&printable(report.name)),
        report.pid,
        report.seconds,
        report.allocators.join(", "),
    );
    let (total, blocks) = (with_error(&report.total), report.total.objects);
    out += &format!("not freed: {total} in {blocks:.0} blocks");
    if report.older_seconds > 0.0 {
        out += &format!(" that are older than {}", span(report.older_seconds));
    }
    out += &match report.young.samples {
        0 => "\n".to_owned(),
        _ => format!("; {} in younger ones (--older)\n", with_error(&report.young)),
    };
    let per_second = Bytes(report.per_second(&report.allocated) as u64);
    out += &format!("allocated {}, {per_second}/s\n", with_error(&report.allocated));
    let cut = report.cut.bytes / report.total.bytes.max(1.0) * 100.0;
    if cut >= 0.5 {
        out += &paint.warn(&format!("the outer calls of {cut:.0} % of it could not be found\n"));
    }
    if report.sites.is_empty() {
        return out;
    }
    out += "\n  NOT FREED         ±     BLOCKS     OLDEST  ALLOCATED  PER SECOND  FREED  HALF LIVE  SITE\n";
    for site in report.sites.iter().take(limit) {
        out += &site_text(report, site, paint);
    }
    let left_out = report.sites.len().saturating_sub(limit);
    if left_out > 0 {
        out += &paint.dim(&format!("and {left_out} more stacks (-n)\n"));
    }
    out
}

fn site_text(report: &NativeReport<'_>, site: &NativeSite, paint: Paint) -> String {
    let responsible = site.responsible.as_ref().map_or_else(|| "unknown".to_owned(), place);
    let mut out = format!(
        "{:>11}  {:>8}  {:>9.0}  {:>9}  {:>9}  {:>10}  {:>5}  {:>9}  {}\n",
        Bytes(site.live.bytes as u64).to_string(),
        Bytes(site.live.bytes_error as u64).to_string(),
        site.live.objects,
        site.oldest_seconds.map_or_else(|| "-".to_owned(), span),
        Bytes(site.allocated.bytes as u64).to_string(),
        Bytes(report.per_second(&site.allocated) as u64).to_string(),
        format!("{:.0} %", site.freed_share * 100.0),
        site.lifetime_seconds.map_or_else(|| "longer".to_owned(), span),
        paint.bold(&responsible),
    );
    // Its callers, and what it called where that is not itself what asked.
    let is_first = site.responsible.is_some() && site.stack.first() == site.responsible.as_ref();
    let calls = site.stack.get(usize::from(is_first)..).unwrap_or_default();
    for frame in calls.iter().take(CALLS_SHOWN) {
        out += &paint.dim(&format!("{:CALLS_AT$}{}\n", "", place(frame)));
    }
    let more = calls.len().saturating_sub(CALLS_SHOWN);
    if more > 0 {
        out += &paint.dim(&format!("{:CALLS_AT$}and {more} more\n", ""));
    }
    out
}

fn place(frame: &NativeFrame) -> String {
    printable(&place_of(&frame.function, &frame.file, frame.line))
}

/// The same for programs, all stacks included.
pub fn native_value(report: &NativeReport<'_>) -> Value {
    let frame = |frame: &NativeFrame| {
        json!({
            "function": frame.function,
            "file": frame.file,
            "line": frame.line,
            "object": frame.object,
        })
    };
    let site = |site: &NativeSite| {
        json!({
            "live": estimate(&site.live),
            "oldest_seconds": site.oldest_seconds.map(json::number),
            "allocated": estimate(&site.allocated),
            "allocated_bytes_per_second": json::number(report.per_second(&site.allocated)),
            "freed_share": json::number(site.freed_share),
            "lifetime_median_seconds": site.lifetime_seconds.map(json::number),
            "site": site.responsible.as_ref().map(frame),
            "stack": site.stack.iter().map(frame).collect::<Vec<Value>>(),
        })
    };
    json!({
        "pid": report.pid,
        "name": report.name,
        "allocators": report.allocators,
        "seconds": json::number(report.seconds),
        "sampling_bytes": report.every.map(json::unsigned),
        "older_seconds": json::number(report.older_seconds),
        "allocated": estimate(&report.allocated),
        "live": estimate(&report.total),
        "younger": estimate(&report.young),
        "cut_stacks": estimate(&report.cut),
        "calls": json::unsigned(report.counts.seen),
        "losses": losses(&report.counts),
        "sites": report.sites.iter().map(site).collect::<Vec<Value>>(),
    })
}
