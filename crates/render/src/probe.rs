//! What probes in the kernel tell, as text and as JSON; the contract of the latter is in
//! docs/api.md.

mod native;

use std::path::Path;
use std::time::Duration;

use analyze::samples::{Estimate, GoroutineSamples, SiteSamples};
use model::probe::{OomVictim, ProbeCounts, ProcessChange, ProcessEnd, ProcessEvent};
use model::{Bytes, Frame, Target};
use serde_json::{Value, json};

use crate::json;
use crate::paint::Paint;
use crate::table::{Align, Table};

pub use native::{NativeReport, NativeSite, native_text, native_value};

/// The columns of [`process_line`].
pub const PROCESS_HEADER: &str =
    "TIME          EVENT      PID   PARENT      LIVED       PEAK  WHAT\n";

/// A process that came or went, in one line.
pub fn process_line(event: &ProcessEvent, time: &str, paint: Paint) -> String {
    let (word, parent, lived, peak, what) = match &event.change {
        ProcessChange::Forked { parent } => {
            ("fork", parent.to_string(), None, None, event.name.clone())
        }
        ProcessChange::Executed { parent, path, arguments } => {
            let what = match arguments.is_empty() {
                true => path.clone(),
                false => arguments.join(" "),
            };
            ("exec", parent.to_string(), None, None, printable(&what))
        }
        ProcessChange::Exited { lived, peak_rss, end } => {
            let end = match end {
                ProcessEnd::Code(0) => String::new(),
                ProcessEnd::Code(code) => format!(" {}", paint.warn(&format!("exit code {code}"))),
                ProcessEnd::Signal(signal) => {
                    format!(" {}", paint.bad(&format!("killed by signal {signal}")))
                }
            };
            let what = format!("{}{end}", printable(&event.name));
            ("exit", String::new(), Some(lived), Some(peak_rss), what)
        }
    };
    let lived = lived.map_or(String::new(), |lived| span(lived.as_secs_f64()));
    let peak = peak.map_or(String::new(), |peak| peak.to_string());
    let pid = event.pid;
    format!("{time}  {word}  {pid:>9}  {parent:>7}  {lived:>9}  {peak:>9}  {what}\n")
}

/// Text of a process, without what could steer a terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

pub(crate) fn span(seconds: f64) -> String {
    match seconds {
        _ if seconds < 1e-3 => format!("{:.0} µs", seconds * 1e6),
        _ if seconds < 1.0 => format!("{:.1} ms", seconds * 1e3),
        _ if seconds < 600.0 => format!("{seconds:.1} s"),
        _ if seconds < 36_000.0 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3600.0),
    }
}

/// The same for programs.
pub fn process_value(event: &ProcessEvent) -> Value {
    let mut value = json!({
        "time_ms": event.time.0,
        "pid": event.pid,
        "name": event.name,
    });
    let more = match &event.change {
        ProcessChange::Forked { parent } => json!({"event": "fork", "parent": parent}),
        ProcessChange::Executed { parent, path, arguments } => json!({
            "event": "exec",
            "parent": parent,
            "path": path,
            "arguments": arguments,
        }),
        ProcessChange::Exited { lived, peak_rss, end } => {
            let (code, signal) = match end {
                ProcessEnd::Code(code) => (Some(code), None),
                ProcessEnd::Signal(signal) => (None, Some(signal)),
            };
            json!({
                "event": "exit",
                "lived_seconds": json::number(lived.as_secs_f64()),
                "peak_rss_bytes": json::unsigned(peak_rss.0),
                "exit_code": code,
                "signal": signal,
            })
        }
    };
    if let (Value::Object(value), Value::Object(more)) = (&mut value, more) {
        value.extend(more);
    }
    value
}

/// A stack of `probe alloc` with its calls by name.
#[derive(Clone, Debug)]
pub struct NamedSite {
    /// What was seen.
    pub site: SiteSamples,
    /// Its calls, innermost first.
    pub stack: Vec<Frame>,
    /// The one that is responsible.
    pub responsible: Option<Frame>,
    /// Types of what lives, those with the most bytes first; empty where nobody looked for them.
    pub types: Vec<(String, Estimate)>,
}

/// A goroutine of `probe alloc`.
#[derive(Clone, Debug)]
pub struct NamedGoroutine {
    /// What it allocated.
    pub samples: GoroutineSamples,
    /// Where it began, where that is known.
    pub entry: Option<Frame>,
}

/// Goroutines that began in one function.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The function; `None` where stacks were cut off or could not be read.
    pub function: Option<String>,
    /// How many of them allocated something that was sampled.
    pub goroutines: u64,
    /// All that they allocated.
    pub allocated: Estimate,
    /// What of it lives.
    pub live: Estimate,
}

/// Types of a site that are listed.
const TYPES_SHOWN: usize = 3;
/// Functions in which goroutines begin that are listed.
const ENTRIES_SHOWN: usize = 5;
/// Goroutines that programs get: a server makes one for each request.
const GOROUTINES_TOLD: usize = 1000;

/// What `probe alloc` saw.
#[derive(Clone, Debug)]
pub struct AllocReport<'a> {
    /// Of which process.
    pub target: &'a Target,
    /// Its Go release.
    pub go_version: &'a str,
    /// Mean number of bytes between two samples.
    pub rate: i64,
    /// For how long.
    pub seconds: f64,
    /// All that was allocated meanwhile.
    pub allocated: Estimate,
    /// What of it lives.
    pub live: Estimate,
    /// Deaths that were not told.
    pub missed_deaths: u64,
    /// What was lost.
    pub counts: ProbeCounts,
    /// What looking cost the process, as a share of a core.
    pub cost_share: f64,
    /// The stacks, those of which most lives first.
    pub sites: Vec<NamedSite>,
    /// Where goroutines begin, those first that allocated most.
    pub entries: Vec<Entry>,
    /// Goroutines, those first that allocated most.
    pub goroutines: Vec<NamedGoroutine>,
}

impl AllocReport<'_> {
    fn per_second(&self, of: &Estimate) -> f64 {
        of.bytes / self.seconds.max(0.001)
    }
}

/// A table for people.
pub fn alloc_text(report: &AllocReport<'_>, limit: usize, paint: Paint) -> String {
    let (allocated, live) = (&report.allocated, &report.live);
    let pid = report.target.pid.unwrap_or(0);
    let mut out = format!(
        "{} (pid {pid}, {}), {:.1} s, one sample in {}, at {:.2} % of a core\n",
        paint.bold(&report.target.name),
        report.go_version,
        report.seconds,
        Bytes(report.rate.unsigned_abs()),
        report.cost_share * 100.0,
    );
    out += &format!(
        "allocated {}, {}/s, in {} samples; {} of it lives\n",
        with_error(allocated),
        Bytes(report.per_second(allocated) as u64),
        allocated.samples,
        with_error(live),
    );
    if report.sites.is_empty() {
        return out + "\nno sample was taken: the program allocated little, or nothing\n";
    }
    let (left, right) = (Align::Left, Align::Right);
    let mut columns = vec![
        ("LIVE", right),
        ("±", right),
        ("ALLOCATED", right),
        ("PER SECOND", right),
        ("FREED", right),
        ("HALF LIVE", right),
        ("OLDEST", right),
        ("SITE", left),
    ];
    let has_types = report.sites.iter().any(|named| !named.types.is_empty());
    columns.extend(has_types.then_some(("TYPES", left)));
    let mut table = Table::new(&columns);
    for named in report.sites.iter().take(limit) {
        let site = &named.site;
        table.push(vec![
            Bytes(site.live.bytes as u64).to_string(),
            Bytes(site.live.bytes_error as u64).to_string(),
            Bytes(site.allocated.bytes as u64).to_string(),
            Bytes(report.per_second(&site.allocated) as u64).to_string(),
            format!("{:.0} %", site.freed_share() * 100.0),
            site.lifetime_seconds.map_or_else(|| "longer".to_owned(), span),
            site.oldest_seconds.map_or_else(|| "-".to_owned(), span),
            named.responsible.as_ref().map_or_else(|| "unknown".to_owned(), place),
            types(named),
        ]);
    }
    out += &format!("\n{}", table.text());
    let left_out = report.sites.len().saturating_sub(limit);
    if left_out > 0 {
        out += &paint.dim(&format!("and {left_out} more stacks (-n)\n"));
    }
    out += &format!("\n{}", entries(report));
    let left_out = report.entries.len().saturating_sub(ENTRIES_SHOWN);
    if left_out > 0 {
        out += &paint.dim(&format!("and {left_out} more (--json)\n"));
    }
    out
}

/// Where the goroutines begin that allocate, and which of them do most.
fn entries(report: &AllocReport<'_>) -> String {
    let (left, right) = (Align::Left, Align::Right);
    let mut table = Table::new(&[
        ("PER SECOND", right),
        ("LIVE", right),
        ("GOROUTINES", right),
        ("BEGIN IN", left),
        ("MOST OF IT", left),
    ]);
    for entry in report.entries.iter().take(ENTRIES_SHOWN) {
        let is_of_it = |goroutine: &&NamedGoroutine| {
            goroutine.entry.as_ref().map(|entry| &entry.function) == entry.function.as_ref()
        };
        let most = report.goroutines.iter().find(is_of_it).map(|goroutine| {
            let share = goroutine.samples.allocated.bytes / entry.allocated.bytes.max(1.0);
            format!("goroutine {} {:.0} %", goroutine.samples.id.0, share * 100.0)
        });
        table.push(vec![
            Bytes(report.per_second(&entry.allocated) as u64).to_string(),
            Bytes(entry.live.bytes as u64).to_string(),
            entry.goroutines.to_string(),
            entry.function.clone().unwrap_or_else(|| "unknown".to_owned()),
            most.unwrap_or_default(),
        ]);
    }
    table.text()
}

/// What lives of a site by type, as shares of what is known of it.
fn types(named: &NamedSite) -> String {
    let all: f64 = named.types.iter().map(|(_, of)| of.bytes).sum();
    let shares = named.types.iter().take(TYPES_SHOWN).map(|(name, of)| match named.types.len() {
        1 => printable(name),
        _ => format!("{} {:.0} %", printable(name), of.bytes / all.max(1.0) * 100.0),
    });
    shares.collect::<Vec<String>>().join(", ")
}

fn with_error(of: &Estimate) -> String {
    format!("{} ± {}", Bytes(of.bytes as u64), Bytes(of.bytes_error as u64))
}

/// The call that is responsible, and the one that did it where that is another.
pub(crate) fn whose(responsible: Option<&Frame>, stack: &[Frame]) -> String {
    let Some(responsible) = responsible else { return "unknown".to_owned() };
    let innermost = stack.first().filter(|first| first.function != responsible.function);
    let through = innermost.map_or_else(String::new, |first| format!(" ({})", first.function));
    format!("{}{through}", place(responsible))
}

fn place(frame: &Frame) -> String {
    place_of(&frame.function, &frame.file, frame.line)
}

/// A function and, where it is known, the line.
fn place_of(function: &str, file: &str, line: u32) -> String {
    let file = Path::new(file).file_name().unwrap_or_default().to_string_lossy();
    match file.is_empty() {
        true => function.to_owned(),
        false => format!("{function} {file}:{line}"),
    }
}

/// The same for programs, all stacks included.
pub fn alloc_value(report: &AllocReport<'_>) -> Value {
    let per_second = |of: &Estimate| json::number(report.per_second(of));
    let of_type =
        |(name, live): &(String, Estimate)| json!({ "type": name, "live": estimate(live) });
    let site = |named: &NamedSite| {
        let optional = |seconds: Option<f64>| seconds.map_or(Value::Null, json::number);
        json!({
            "allocated": estimate(&named.site.allocated),
            "allocated_bytes_per_second": per_second(&named.site.allocated),
            "live": estimate(&named.site.live),
            "lifetime_median_seconds": optional(named.site.lifetime_seconds),
            "oldest_seconds": optional(named.site.oldest_seconds),
            "site": named.responsible.as_ref().map(json::frame),
            "stack": named.stack.iter().map(json::frame).collect::<Vec<Value>>(),
            "types": named.types.iter().map(of_type).collect::<Vec<Value>>(),
        })
    };
    let goroutine = |of: &NamedGoroutine| {
        json!({
            "id": of.samples.id.0,
            "begins_in": of.entry.as_ref().map(json::frame),
            "allocated": estimate(&of.samples.allocated),
            "allocated_bytes_per_second": per_second(&of.samples.allocated),
            "live": estimate(&of.samples.live),
        })
    };
    let entry = |entry: &Entry| {
        json!({
            "begins_in": entry.function,
            "goroutines": entry.goroutines,
            "allocated": estimate(&entry.allocated),
            "allocated_bytes_per_second": per_second(&entry.allocated),
            "live": estimate(&entry.live),
        })
    };
    let goroutines = report.goroutines.iter().take(GOROUTINES_TOLD);
    json!({
        "target": json::target(report.target),
        "seconds": json::number(report.seconds),
        "sampling_bytes": json::integer(report.rate),
        "allocated": estimate(&report.allocated),
        "live": estimate(&report.live),
        "missed_deaths": report.missed_deaths,
        "cost_share": json::number(report.cost_share),
        "losses": losses(&report.counts),
        "sites": report.sites.iter().map(site).collect::<Vec<Value>>(),
        "entries": report.entries.iter().map(entry).collect::<Vec<Value>>(),
        "goroutines": goroutines.map(goroutine).collect::<Vec<Value>>(),
    })
}

/// What samples stand for, for programs.
pub fn estimate(of: &Estimate) -> Value {
    json!({
        "samples": of.samples,
        "objects": json::number(of.objects),
        "bytes": json::number(of.bytes),
        "bytes_error": json::number(of.bytes_error),
    })
}

/// What was lost, for programs.
pub fn losses(counts: &ProbeCounts) -> Value {
    json!({
        "dropped": counts.dropped,
        "table_full": counts.table_full,
        "without_stack": counts.without_stack,
    })
}

/// Whom the OOM killer took, for people.
pub fn victim_text(victim: &OomVictim, time: &str, paint: Paint) -> String {
    let mut out = format!(
        "{time}  {} {} (pid {}), {} resident: {} anonymous, {} of files, {} shared{}\n",
        paint.bad("OOM kill"),
        paint.bold(&printable(&victim.name)),
        victim.pid,
        victim.resident(),
        victim.anonymous,
        victim.file,
        victim.shared,
        match victim.swap.0 {
            0 => String::new(),
            _ => format!("; {} swapped out", victim.swap),
        },
    );
    out += &match &victim.limit {
        Some(limit) => format!(
            "  cgroup {} was at its limit: {} of {}\n",
            printable(&limit.cgroup),
            limit.usage,
            limit.limit
        ),
        None => format!(
            "  the machine was out of memory; cgroup {} was not at a limit\n",
            printable(&victim.cgroup)
        ),
    };
    out
}

/// The same for programs.
pub fn victim_value(victim: &OomVictim) -> Value {
    json!({
        "event": "oom_kill",
        "time_ms": victim.time.0,
        "pid": victim.pid,
        "name": victim.name,
        "cause": if victim.limit.is_some() { "cgroup" } else { "machine" },
        "cgroup": victim.cgroup,
        "limit": victim.limit.as_ref().map(|limit| json!({
            "cgroup": limit.cgroup,
            "usage_bytes": json::unsigned(limit.usage.0),
            "limit_bytes": json::unsigned(limit.limit.0),
        })),
        "anonymous_bytes": json::unsigned(victim.anonymous.0),
        "file_bytes": json::unsigned(victim.file.0),
        "shared_bytes": json::unsigned(victim.shared.0),
        "swap_bytes": json::unsigned(victim.swap.0),
        "address_space_bytes": json::unsigned(victim.address_space.0),
    })
}

/// What one call had in use when its process was killed.
#[derive(Clone, Debug)]
pub struct VictimSite {
    /// The call.
    pub frame: Frame,
    /// In use.
    pub bytes: u64,
}

/// The heap profile of a process that was killed.
#[derive(Clone, Debug)]
pub struct VictimProfileView<'a> {
    /// The process.
    pub pid: u32,
    /// Stacks that were copied.
    pub stacks: u32,
    /// Stacks that could not be.
    pub unread: u32,
    /// From the choice of the victim to the end of the copy.
    pub took: Duration,
    /// All that was in use.
    pub in_use_bytes: u64,
    /// The largest.
    pub sites: &'a [VictimSite],
    /// Where the profile was written to.
    pub file: Option<&'a Path>,
}

/// For people.
pub fn victim_profile_text(view: &VictimProfileView<'_>, paint: Paint) -> String {
    let mut out = format!(
        "  heap in use at the kill: {} in {} stacks, copied {} after it\n",
        paint.bold(&Bytes(view.in_use_bytes).to_string()),
        view.stacks,
        span(view.took.as_secs_f64()),
    );
    if view.unread > 0 {
        out += &paint.warn(&format!("  {} stacks could not be copied\n", view.unread));
    }
    for site in view.sites {
        let share = site.bytes as f64 / view.in_use_bytes.max(1) as f64 * 100.0;
        let bytes = Bytes(site.bytes).to_string();
        out += &format!("    {bytes:>9}  {share:>3.0} %  {}\n", place(&site.frame));
    }
    if let Some(file) = view.file {
        out += &format!("  memsight flame {}\n", file.display());
    }
    out
}

/// For programs.
pub fn victim_profile_value(view: &VictimProfileView<'_>) -> Value {
    let sites = view
        .sites
        .iter()
        .map(|site| json!({"site": json::frame(&site.frame), "bytes": json::unsigned(site.bytes)}));
    json!({
        "event": "oom_profile",
        "pid": view.pid,
        "in_use_bytes": json::unsigned(view.in_use_bytes),
        "stacks": view.stacks,
        "unread": view.unread,
        "took_seconds": json::number(view.took.as_secs_f64()),
        "sites": sites.collect::<Vec<Value>>(),
        "file": view.file.map(|file| file.display().to_string()),
    })
}
