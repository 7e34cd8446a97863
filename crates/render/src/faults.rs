//! Page faults of a process, as text and as JSON; the contract of the latter is in docs/api.md.

use std::collections::BTreeMap;

use analyze::faults::{FaultSum, FaultedMemory, ResidentCurve};
use model::probe::{FaultAccess, MonotonicNanos, ProbeCounts, ResidentSample};
use model::{Bytes, Frame, Target};
use serde_json::{Map, Value, json};

use crate::json;
use crate::paint::Paint;
use crate::probe::{losses, printable, span, whose};
use crate::table::{Align, Table};

/// A stack that touched memory of one kind.
#[derive(Clone, Debug)]
pub struct FaultSite {
    /// The memory.
    pub memory: FaultedMemory,
    /// How often.
    pub sum: FaultSum,
    /// Its calls, innermost first.
    pub stack: Vec<Frame>,
    /// The one that is responsible.
    pub responsible: Option<Frame>,
}

/// What `probe faults` saw.
#[derive(Clone, Debug)]
pub struct FaultsReport<'a> {
    /// Of which process.
    pub target: &'a Target,
    /// For how long.
    pub seconds: f64,
    /// Faults of its own code.
    pub user: u64,
    /// Faults in the kernel on behalf of it.
    pub kernel: u64,
    /// Those that had to wait for a disk; unknown when it has ended.
    pub major: Option<u64>,
    /// What was resident at first.
    pub resident_before: Option<u64>,
    /// What was resident at last; unknown when it has ended.
    pub resident_after: Option<u64>,
    /// When that was.
    pub begun: MonotonicNanos,
    /// How it changed meanwhile.
    pub curve: &'a ResidentCurve,
    /// Where the kernel makes huge pages: `always`, `madvise` or `never`; empty when unknown.
    pub huge_pages: String,
    /// By memory, that of most faults first.
    pub memory: Vec<(FaultedMemory, FaultSum)>,
    /// By stack and memory, that of most faults first.
    pub sites: Vec<FaultSite>,
    /// What was lost.
    pub counts: ProbeCounts,
}

/// Tables for people.
pub fn faults_text(report: &FaultsReport<'_>, limit: usize, paint: Paint) -> String {
    let all = report.user + report.kernel;
    let mut out = format!(
        "{} (pid {}), {:.1} s: {} page faults, {:.0}/s: {} of its code, {} in the kernel for it{}\n",
        paint.bold(&printable(&report.target.name)),
        report.target.pid.unwrap_or(0),
        report.seconds,
        all,
        all as f64 / report.seconds.max(0.001),
        report.user,
        report.kernel,
        report.major.map_or_else(String::new, |major| format!("; {major} waited for a disk")),
    );
    out += &resident_text(report);
    if report.huge_pages == "always" {
        out += "huge pages are on: a fault in memory of no file may make 2 MiB resident\n";
    }
    if all == 0 {
        return out;
    }
    out += &format!("\n{}", memory_table(report, all));
    let (left, right) = (Align::Left, Align::Right);
    let mut table =
        Table::new(&[("FAULTS", right), ("SHARE", right), ("MEMORY", left), ("SITE", left)]);
    for site in report.sites.iter().take(limit) {
        table.push(vec![
            site.sum.faults.to_string(),
            share(site.sum.faults, all),
            site.memory.name(),
            whose(site.responsible.as_ref(), &site.stack),
        ]);
    }
    out += &format!("\n{}", table.text());
    let left_out = report.sites.len().saturating_sub(limit);
    if left_out > 0 {
        out += &paint.dim(&format!("and {left_out} more stacks (-n)\n"));
    }
    out
}

fn resident_text(report: &FaultsReport<'_>) -> String {
    let mut parts = Vec::new();
    let bytes = |bytes: u64| Bytes(bytes).to_string();
    parts.extend(report.resident_before.map(|before| format!("{} before", bytes(before))));
    parts.extend(report.resident_after.map(|after| format!("{} after", bytes(after))));
    // The curve lacks what the processors hold back: the end may be higher.
    let ends = report.resident_before.max(report.resident_after).unwrap_or(0);
    let highest = report.curve.highest().filter(|highest| highest.resident().0 > ends);
    parts.extend(highest.map(|highest| {
        let after = span(highest.time.seconds_since(report.begun));
        format!("{} at most, after {after}", highest.resident())
    }));
    match parts.is_empty() {
        true => String::new(),
        false => format!("resident: {}\n", parts.join(", ")),
    }
}

fn memory_table(report: &FaultsReport<'_>, all: u64) -> String {
    let (left, right) = (Align::Left, Align::Right);
    let mut table = Table::new(&[
        ("FAULTS", right),
        ("SHARE", right),
        ("WRITE", right),
        ("READ", right),
        ("COPY", right),
        ("OTHER", right),
        ("MEMORY", left),
    ]);
    for (memory, sum) in &report.memory {
        let of = |access| sum.by_access.get(&access).copied().unwrap_or(0);
        let (execute, protected) = (of(FaultAccess::Execute), of(FaultAccess::Protected));
        table.push(vec![
            sum.faults.to_string(),
            share(sum.faults, all),
            of(FaultAccess::Write).to_string(),
            of(FaultAccess::Read).to_string(),
            of(FaultAccess::Copy).to_string(),
            (execute + protected).to_string(),
            memory.name(),
        ]);
    }
    table.text()
}

fn share(part: u64, all: u64) -> String {
    format!("{:.1} %", part as f64 / all.max(1) as f64 * 100.0)
}

/// The same for programs, all stacks included.
pub fn faults_value(report: &FaultsReport<'_>) -> Value {
    let memory = report.memory.iter().map(|(memory, sum)| memory_value(memory, sum));
    let site = |site: &FaultSite| {
        let mut value = memory_value(&site.memory, &site.sum);
        value.insert("site".to_owned(), site.responsible.as_ref().map(json::frame).into());
        let stack: Vec<Value> = site.stack.iter().map(json::frame).collect();
        value.insert("stack".to_owned(), stack.into());
        value
    };
    let point = |point: &ResidentSample| resident_value(point, report.begun);
    json!({
        "target": json::target(report.target),
        "seconds": json::number(report.seconds),
        "faults": {
            "user": json::unsigned(report.user),
            "kernel": json::unsigned(report.kernel),
            "major": report.major,
        },
        "transparent_huge_pages": report.huge_pages,
        "resident": {
            "before_bytes": report.resident_before,
            "after_bytes": report.resident_after,
            "highest": report.curve.highest().as_ref().map(point),
            "points": report.curve.points().iter().map(point).collect::<Vec<Value>>(),
        },
        "memory": memory.collect::<Vec<Map<String, Value>>>(),
        "sites": report.sites.iter().map(site).collect::<Vec<Map<String, Value>>>(),
        "losses": losses(&report.counts),
    })
}

fn memory_value(memory: &FaultedMemory, sum: &FaultSum) -> Map<String, Value> {
    let by_access = sum.by_access.iter().map(|(access, faults)| (access.as_str(), *faults));
    let by_access: BTreeMap<&str, u64> = by_access.collect();
    let mut value = Map::new();
    value.insert("memory".to_owned(), memory.used.as_str().into());
    value.insert("file".to_owned(), memory.file.as_str().into());
    value.insert("huge_pages".to_owned(), memory.is_huge.into());
    value.insert("faults".to_owned(), sum.faults.into());
    value.insert("by_access".to_owned(), json!(by_access));
    value
}

fn resident_value(point: &ResidentSample, begun: MonotonicNanos) -> Value {
    json!({
        "seconds": json::number(point.time.seconds_since(begun)),
        "anonymous_bytes": json::unsigned(point.anonymous.0),
        "file_bytes": json::unsigned(point.file.0),
        "shared_bytes": json::unsigned(point.shared.0),
        "swap_bytes": json::unsigned(point.swap.0),
    })
}
