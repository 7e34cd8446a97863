//! Goroutines of a trace by the function they start with.

use analyze::trace::goroutines::Group;
use serde_json::{Map, Value, json};

use super::nanos;
use crate::json;
use crate::paint::Paint;
use crate::quantity::count;
use crate::table::{Align, Table};

/// Reasons that a row names.
const REASONS_SHOWN: usize = 3;

/// The largest `limit` groups as text; 0 for all.
pub fn text(groups: &[Group], limit: usize, warning: Option<&str>, paint: Paint) -> String {
    let mut out = table(groups, limit).text();
    let hidden = groups.len().saturating_sub(if limit == 0 { groups.len() } else { limit });
    if hidden > 0 {
        out += &format!("{}\n", paint.dim(&format!("{hidden} more functions; -n 0 shows all")));
    }
    out + &super::warning(warning, paint)
}

/// One row for each function.
pub fn table(groups: &[Group], limit: usize) -> Table {
    let right = Align::Right;
    let mut table = Table::new(&[
        ("COUNT", right),
        ("TOTAL", right),
        ("RUNNING", right),
        ("RUNNABLE", right),
        ("BLOCKED", right),
        ("SYSCALL", right),
        ("ASSIST", right),
        ("FUNCTION", Align::Left),
        ("BLOCKED BY", Align::Left),
    ]);
    for group in shown(groups, limit) {
        table.push(vec![
            count(group.goroutines),
            nanos(group.total_nanos),
            nanos(group.running_nanos),
            nanos(group.runnable_nanos),
            nanos(group.blocked_nanos_total()),
            nanos(group.syscall_nanos.saturating_add(group.syscall_blocked_nanos)),
            nanos(group.assist_nanos),
            name(&group.function).to_owned(),
            reasons(group),
        ]);
    }
    table
}

fn shown(groups: &[Group], limit: usize) -> &[Group] {
    let limit = if limit == 0 { groups.len() } else { limit.min(groups.len()) };
    &groups[..limit]
}

fn name(function: &str) -> &str {
    if function.is_empty() { "(unknown)" } else { function }
}

fn reasons(group: &Group) -> String {
    let mut reasons: Vec<(&String, &u64)> = group.blocked_nanos.iter().collect();
    reasons.sort_by(|a, b| b.1.cmp(a.1).then_with(|| a.0.cmp(b.0)));
    let texts = reasons.iter().filter(|reason| *reason.1 > 0).take(REASONS_SHOWN);
    let texts: Vec<String> =
        texts.map(|(reason, time)| format!("{} {}", name(reason), nanos(**time))).collect();
    texts.join(", ")
}

/// The groups as the contract has them.
pub fn value(groups: &[Group], limit: usize, warning: Option<&str>) -> Value {
    let rows: Vec<Value> = shown(groups, limit).iter().map(group).collect();
    json!({ "functions": rows, "warning": warning })
}

fn group(group: &Group) -> Value {
    let blocked = group.blocked_nanos.iter();
    let blocked: Map<String, Value> =
        blocked.map(|(reason, nanos)| (reason.clone(), json::unsigned(*nanos))).collect();
    json!({
        "function": group.function,
        "goroutines": json::unsigned(group.goroutines),
        "total_nanos": json::unsigned(group.total_nanos),
        "running_nanos": json::unsigned(group.running_nanos),
        "runnable_nanos": json::unsigned(group.runnable_nanos),
        "blocked_nanos": blocked,
        "syscall_nanos": json::unsigned(group.syscall_nanos),
        "syscall_blocked_nanos": json::unsigned(group.syscall_blocked_nanos),
        "assist_nanos": json::unsigned(group.assist_nanos),
    })
}
