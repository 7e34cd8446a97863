//! User tasks and regions by type, and tasks in detail.

use analyze::gctrace::Percentiles;
use analyze::trace::tasks::{Child, Log, Region, RegionType, Task, TaskType, Tasks};
use model::trace::{GoId, TaskId};
use serde_json::{Value, json};

use super::nanos;
use crate::json;
use crate::paint::Paint;
use crate::quantity::count;
use crate::table::{Align, Table};

/// Types of tasks and regions as text, and then up to `limit` tasks; 0 for all.
pub fn text(all: &Tasks, limit: usize, warning: Option<&str>, paint: Paint) -> String {
    let tasks: u64 = all.types.iter().map(|of| of.count).sum();
    let regions: u64 = all.regions.iter().map(|of| of.count).sum();
    let [tasks, regions, logs] = [tasks, regions, all.logs].map(count);
    let of = nanos(all.duration_nanos);
    let headline = format!("{tasks} tasks, {regions} regions, {logs} messages in {of}");
    let mut out = format!("{}\n", paint.bold(&headline));
    if !all.types.is_empty() {
        out += &format!("\n{}", types(&all.types).text());
    }
    if !all.regions.is_empty() {
        out += &format!("\n{}", region_types(&all.regions).text());
    }
    for task in shown(&all.tasks, limit) {
        out += &format!("\n{}\n{}", paint.bold(&title(task)), events(task).text());
    }
    let hidden = all.tasks.len() - shown(&all.tasks, limit).len();
    if hidden > 0 {
        out += &format!("\n{}\n", paint.dim(&format!("{hidden} more tasks; -n 0 shows all")));
    }
    out + &super::warning(warning, paint)
}

fn shown(tasks: &[Task], limit: usize) -> &[Task] {
    let limit = if limit == 0 { tasks.len() } else { limit.min(tasks.len()) };
    &tasks[..limit]
}

fn name(name: &str) -> &str {
    if name.is_empty() { "(unknown)" } else { name }
}

/// How long complete ones took.
const TIMES: [(&str, Align); 5] = [
    ("TOTAL", Align::Right),
    ("P50", Align::Right),
    ("P90", Align::Right),
    ("P99", Align::Right),
    ("MAX", Align::Right),
];

fn times(of: &Percentiles) -> [String; 5] {
    let values = [of.sum, of.p50, of.p90, of.p99, of.max];
    values.map(|value| if of.count == 0 { "-".to_owned() } else { nanos(value as u64) })
}

fn types(types: &[TaskType]) -> Table {
    let right = Align::Right;
    let mut columns = vec![("TASKS", right), ("INCOMPLETE", right)];
    columns.extend(TIMES);
    columns.extend([("MARKING", right), ("REGIONS", right), ("LOGS", right)]);
    columns.push(("TYPE", Align::Left));
    let mut table = Table::new(&columns);
    for of in types {
        let mut row = vec![count(of.count), count(of.incomplete)];
        row.extend(times(&of.nanos));
        row.extend([nanos(of.marking_nanos), count(of.regions), count(of.logs)]);
        row.push(name(&of.name).to_owned());
        table.push(row);
    }
    table
}

fn region_types(types: &[RegionType]) -> Table {
    let mut columns = vec![("REGIONS", Align::Right), ("INCOMPLETE", Align::Right)];
    columns.extend(TIMES);
    columns.extend([("TYPE", Align::Left), ("IN", Align::Left)]);
    let mut table = Table::new(&columns);
    for of in types {
        let mut row = vec![count(of.count), count(of.incomplete)];
        row.extend(times(&of.nanos));
        row.extend([of.name.clone(), name(&of.function).to_owned()]);
        table.push(row);
    }
    table
}

fn title(task: &Task) -> String {
    let mut out = format!("task {} {}", task.id.0, name(&task.name));
    out += &match (task.begin_nanos, task.end_nanos) {
        (Some(begin), Some(end)) => {
            format!(", {} from {}", nanos(end.saturating_sub(begin)), nanos(begin))
        }
        (Some(begin), None) => format!(", from {} on, incomplete", nanos(begin)),
        (None, Some(end)) => format!(", until {}, incomplete", nanos(end)),
        (None, None) => ", incomplete".to_owned(),
    };
    if let Some(TaskId(parent)) = task.parent {
        out += &format!(", within task {parent}");
    }
    if task.marking_nanos > 0 {
        out += &format!(", {} of it while the collector marked", nanos(task.marking_nanos));
    }
    out
}

/// What happened in a task, in the order of time.
fn events(task: &Task) -> Table {
    let mut rows: Vec<(u64, String, String)> = Vec::new();
    for child in &task.children {
        let (id, of) = (child.id.0, name(&child.name));
        let took = took(child.begin_nanos, child.end_nanos);
        rows.push((child.begin_nanos.unwrap_or(0), String::new(), format!("task {id} {of}{took}")));
    }
    for region in &task.regions {
        let took = took(region.begin_nanos, region.end_nanos);
        let what = format!("region {}{took}", region.name);
        rows.push((region.begin_nanos.unwrap_or(0), region.goroutine.0.to_string(), what));
    }
    for log in &task.logs {
        let category = if log.category.is_empty() { "log" } else { &log.category };
        let what = format!("{category}: {}", log.message.escape_debug());
        rows.push((log.at_nanos, log.goroutine.0.to_string(), what));
    }
    rows.sort();
    let right = Align::Right;
    let mut table = Table::new(&[("AT", right), ("GOROUTINE", right), ("WHAT", Align::Left)]);
    let begin = task.begin_nanos.unwrap_or(0);
    for (at, goroutine, what) in rows {
        let at = format!("+{}", nanos(at.saturating_sub(begin)));
        table.push(vec![at, goroutine, what]);
    }
    table
}

fn took(begin: Option<u64>, end: Option<u64>) -> String {
    match begin.zip(end) {
        Some((begin, end)) => format!(", {}", nanos(end.saturating_sub(begin))),
        None => ", incomplete".to_owned(),
    }
}

/// All of it as the contract has it.
pub fn value(all: &Tasks, limit: usize, warning: Option<&str>) -> Value {
    let types: Vec<Value> = all.types.iter().map(type_value).collect();
    let regions: Vec<Value> = all.regions.iter().map(region_type).collect();
    let tasks: Vec<Value> = shown(&all.tasks, limit).iter().map(task).collect();
    json!({
        "duration_nanos": json::unsigned(all.duration_nanos),
        "types": types,
        "regions": regions,
        "logs": json::unsigned(all.logs),
        "tasks": tasks,
        "warning": warning,
    })
}

fn percentiles(of: &Percentiles) -> Value {
    let [total, p50, p90, p99, max] =
        [of.sum, of.p50, of.p90, of.p99, of.max].map(|value| json::unsigned(value as u64));
    json!({ "total": total, "p50": p50, "p90": p90, "p99": p99, "max": max })
}

fn type_value(of: &TaskType) -> Value {
    json!({
        "name": of.name,
        "count": json::unsigned(of.count),
        "incomplete": json::unsigned(of.incomplete),
        "nanos": percentiles(&of.nanos),
        "marking_nanos": json::unsigned(of.marking_nanos),
        "regions": json::unsigned(of.regions),
        "logs": json::unsigned(of.logs),
    })
}

fn region_type(of: &RegionType) -> Value {
    json!({
        "name": of.name,
        "function": of.function,
        "count": json::unsigned(of.count),
        "incomplete": json::unsigned(of.incomplete),
        "nanos": percentiles(&of.nanos),
    })
}

fn optional(nanos: Option<u64>) -> Value {
    nanos.map_or(Value::Null, json::unsigned)
}

fn task(task: &Task) -> Value {
    let goroutines = task.goroutines.iter().map(|GoId(id)| json::integer(*id));
    json!({
        "id": json::unsigned(task.id.0),
        "name": task.name,
        "parent": task.parent.map(|parent| json::unsigned(parent.0)),
        "begin_nanos": optional(task.begin_nanos),
        "end_nanos": optional(task.end_nanos),
        "marking_nanos": json::unsigned(task.marking_nanos),
        "goroutines": goroutines.collect::<Vec<Value>>(),
        "children": task.children.iter().map(child).collect::<Vec<Value>>(),
        "regions": task.regions.iter().map(region).collect::<Vec<Value>>(),
        "logs": task.logs.iter().map(log).collect::<Vec<Value>>(),
    })
}

fn child(child: &Child) -> Value {
    json!({
        "id": json::unsigned(child.id.0),
        "name": child.name,
        "begin_nanos": optional(child.begin_nanos),
        "end_nanos": optional(child.end_nanos),
    })
}

fn region(region: &Region) -> Value {
    json!({
        "name": region.name,
        "goroutine": json::integer(region.goroutine.0),
        "begin_nanos": optional(region.begin_nanos),
        "end_nanos": optional(region.end_nanos),
    })
}

fn log(log: &Log) -> Value {
    json!({
        "at_nanos": json::unsigned(log.at_nanos),
        "goroutine": json::integer(log.goroutine.0),
        "category": log.category,
        "message": log.message,
    })
}
