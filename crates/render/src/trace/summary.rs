//! A trace in a few lines.

use analyze::trace::summary::{Curve, Objects, Summary};
use model::Bytes;
use model::trace::What;
use serde_json::{Map, Value, json};

use super::{durations, nanos};
use crate::json;
use crate::paint::Paint;
use crate::quantity::count;
use crate::table::{Align, Table};

/// The figures as text; `version` is that of the format, 1.N.
pub fn text(summary: &Summary, version: u32, warning: Option<&str>, paint: Paint) -> String {
    let duration = nanos(summary.duration_nanos);
    let headline = format!("Go execution trace, format 1.{version}, {duration}");
    let mut out = format!("{}\n\n", paint.bold(&headline));
    let mut line = |name: &str, text: String| out += &format!("{name:<12} {text}\n");
    let parts = count(summary.generations);
    line("events", format!("{} in {parts} generations", count(summary.events)));
    line("procs", format!("GOMAXPROCS {}, {} seen", summary.gomaxprocs, summary.procs));
    line("threads", format!("{} seen", count(summary.threads)));
    line(
        "goroutines",
        format!(
            "{} at the start, {} created, {} ended",
            count(summary.goroutines_before),
            count(summary.goroutines_created),
            count(summary.goroutines_ended)
        ),
    );
    line("collections", count(summary.collections));
    if let Some(Objects { before, allocated, freed }) = summary.objects {
        let [before, allocated, freed] = [before, allocated, freed].map(count);
        line("objects", format!("{before} at the start, {allocated} allocated, {freed} freed"));
    }
    if let Some(heap) = &summary.heap {
        line("heap", curve(heap));
    }
    if let Some(goal) = &summary.heap_goal {
        line("heap goal", curve(goal));
    }
    if !summary.stops.is_empty() {
        out += "\n";
        out += &stops(summary).text();
    }
    out += "\n";
    out += &kinds(summary).text();
    out + &super::warning(warning, paint)
}

fn curve(curve: &Curve) -> String {
    let [first, last, min, max] = [curve.first, curve.last, curve.min, curve.max].map(Bytes);
    format!("{min} to {max}; {first} at the start, {last} at the end")
}

fn stops(summary: &Summary) -> Table {
    let right = Align::Right;
    let columns = [
        ("WORLD STOPPED FOR", Align::Left),
        ("TIMES", right),
        ("TOTAL", right),
        ("LONGEST", right),
    ];
    let mut table = Table::new(&columns);
    for (reason, of) in &summary.stops {
        let reason = if reason.is_empty() { "(unknown)" } else { reason };
        let (total, max) = (nanos(of.total_nanos), nanos(of.max_nanos));
        table.push(vec![reason.to_owned(), count(of.count), total, max]);
    }
    table
}

fn kinds(summary: &Summary) -> Table {
    let mut table = Table::new(&[("EVENTS", Align::Left), ("COUNT", Align::Right)]);
    let mut rows: Vec<_> = What::KIND_NAMES.iter().zip(summary.kinds).collect();
    rows.retain(|row| row.1 > 0);
    rows.sort_by_key(|row| std::cmp::Reverse(row.1));
    for (name, number) in rows {
        table.push(vec![(*name).to_owned(), count(number)]);
    }
    table
}

/// The figures as the contract has them.
pub fn value(summary: &Summary, version: u32, warning: Option<&str>) -> Value {
    let stops: Map<String, Value> =
        summary.stops.iter().map(|(reason, of)| (reason.clone(), durations(of))).collect();
    let kinds = What::KIND_NAMES.iter().zip(summary.kinds).filter(|(_, number)| *number > 0);
    let kinds: Map<String, Value> =
        kinds.map(|(name, number)| ((*name).to_owned(), json::unsigned(number))).collect();
    json!({
        "format": format!("1.{version}"),
        "duration_nanos": json::unsigned(summary.duration_nanos),
        "events": json::unsigned(summary.events),
        "events_by_kind": kinds,
        "generations": json::unsigned(summary.generations),
        "gomaxprocs": json::unsigned(summary.gomaxprocs),
        "procs": json::unsigned(summary.procs),
        "threads": json::unsigned(summary.threads),
        "goroutines_before": json::unsigned(summary.goroutines_before),
        "goroutines_created": json::unsigned(summary.goroutines_created),
        "goroutines_ended": json::unsigned(summary.goroutines_ended),
        "collections": json::unsigned(summary.collections),
        "stops": stops,
        "objects": summary.objects.map(|objects| json!({
            "before": json::unsigned(objects.before),
            "allocated": json::unsigned(objects.allocated),
            "freed": json::unsigned(objects.freed),
        })),
        "heap_bytes": summary.heap.as_ref().map(curve_value),
        "heap_goal_bytes": summary.heap_goal.as_ref().map(curve_value),
        "warning": warning,
    })
}

fn curve_value(curve: &Curve) -> Value {
    json!({
        "first": json::unsigned(curve.first),
        "last": json::unsigned(curve.last),
        "min": json::unsigned(curve.min),
        "max": json::unsigned(curve.max),
    })
}
