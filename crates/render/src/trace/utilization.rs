//! Minimum mutator utilisation: the curve with bars, and the worst windows.

use analyze::trace::utilization::{Counted, Point, Report};
use serde_json::{Value, json};

use super::nanos;
use crate::json;
use crate::paint::Paint;
use crate::table::{Align, Table};

/// Letters of a whole bar.
const BAR: f64 = 40.0;

/// The curve as text.
pub fn text(report: &Report, counted: Counted, warning: Option<&str>, paint: Paint) -> String {
    let of = nanos(report.duration_nanos);
    let each = if counted.per_proc { ", each P by itself" } else { "" };
    let headline = format!("minimum mutator utilisation in {of}: {}{each}", names(counted));
    let mut out = format!("{}\n", paint.bold(&headline));
    if report.curve.is_empty() {
        out += "the trace has no two moments between which there were Ps\n";
        return out + &super::warning(warning, paint);
    }
    out += &format!("\n{}", plot(report).text());
    if !report.worst.is_empty() {
        let title = format!("worst windows of {}", nanos(report.window_nanos));
        out += &format!("\n{}\n{}", paint.bold(&title), worst(report).text());
    }
    out + &super::warning(warning, paint)
}

fn names(counted: Counted) -> String {
    let all = [
        (counted.stops, "stops of the world"),
        (counted.background, "background workers"),
        (counted.assists, "assists"),
        (counted.sweeps, "sweeping"),
    ];
    let names: Vec<&str> = all.iter().filter(|name| name.0).map(|name| name.1).collect();
    if names.is_empty() { "nothing counted".to_owned() } else { names.join(", ") }
}

/// A line for each length.
fn plot(report: &Report) -> Table {
    let right = Align::Right;
    let mut table = Table::new(&[
        ("WINDOW", right),
        ("MMU", right),
        ("99.9%", right),
        ("99%", right),
        ("95%", right),
        ("", Align::Left),
    ]);
    for point in &report.curve {
        let mut row = vec![nanos(point.window_nanos), percent(point.minimum)];
        row.extend(point.low.map(percent));
        row.push("#".repeat((point.minimum.clamp(0.0, 1.0) * BAR).round() as usize));
        table.push(row);
    }
    table
}

fn worst(report: &Report) -> Table {
    let mut table = Table::new(&[("START", Align::Right), ("UTILISATION", Align::Right)]);
    for (start, share) in &report.worst {
        table.push(vec![nanos(*start), percent(*share)]);
    }
    table
}

fn percent(share: f64) -> String {
    format!("{:.1}%", share * 100.0)
}

/// The curve as CSV: nanoseconds, and shares from 0 to 1.
pub fn csv(report: &Report) -> String {
    let right = Align::Right;
    let names = ["window_nanos", "minimum", "low_0_1_percent", "low_1_percent", "low_5_percent"];
    let mut table = Table::new(&names.map(|name| (name, right)));
    for point in &report.curve {
        let mut row = vec![point.window_nanos.to_string(), point.minimum.to_string()];
        row.extend(point.low.map(|share| share.to_string()));
        table.push(row);
    }
    table.csv()
}

/// The curve as the contract has it.
pub fn value(report: &Report, counted: Counted, warning: Option<&str>) -> Value {
    let curve: Vec<Value> = report.curve.iter().map(point).collect();
    let worst = report.worst.iter().map(|(start, share)| {
        json!({ "start_nanos": json::unsigned(*start), "utilization": json::number(*share) })
    });
    json!({
        "duration_nanos": json::unsigned(report.duration_nanos),
        "counted": {
            "stw": counted.stops,
            "background": counted.background,
            "assist": counted.assists,
            "sweep": counted.sweeps,
        },
        "per_proc": counted.per_proc,
        "curve": curve,
        "window_nanos": json::unsigned(report.window_nanos),
        "worst": worst.collect::<Vec<Value>>(),
        "warning": warning,
    })
}

fn point(point: &Point) -> Value {
    let [low_0_1, low_1, low_5] = point.low.map(json::number);
    json!({
        "window_nanos": json::unsigned(point.window_nanos),
        "minimum": json::number(point.minimum),
        "low_0_1_percent": low_0_1,
        "low_1_percent": low_1,
        "low_5_percent": low_5,
    })
}
