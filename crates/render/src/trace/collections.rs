//! Collections of a trace, a line each.

use analyze::trace::collections::{Collection, Collections};
use model::Bytes;
use serde_json::{Value, json};

use super::{durations, nanos};
use crate::json;
use crate::paint::Paint;
use crate::quantity::count;
use crate::table::{Align, Table};

/// The collections as text.
pub fn text(all: &Collections, warning: Option<&str>, paint: Paint) -> String {
    let found = &all.collections;
    let number = count(found.len() as u64);
    let headline = format!("{number} collections in {}", nanos(all.duration_nanos));
    let mut out = format!("{}\n", paint.bold(&headline));
    if !found.is_empty() {
        out += &format!("\n{}\n{}", table(found).text(), totals(all));
    }
    out + &super::warning(warning, paint)
}

/// One row for each; marks of cut ones stand behind the time of marking.
pub fn table(found: &[Collection]) -> Table {
    let names = [
        "START", "STOP 1", "MARK", "STOP 2", "ASSISTS", "ASSIST", "WORKERS", "HEAP", "PEAK",
        "LIVE", "GOAL",
    ];
    let mut table = Table::new(&names.map(|name| (name, Align::Right)));
    for it in found {
        let workers = it.dedicated_nanos + it.fractional_nanos + it.idle_nanos;
        let cut = if it.is_cut_at_start || it.is_cut_at_end { "+" } else { "" };
        table.push(vec![
            nanos(it.start_nanos),
            optional(it.sweep_termination_nanos, nanos),
            format!("{}{cut}", nanos(it.mark_nanos)),
            optional(it.mark_termination_nanos, nanos),
            count(it.assists.count),
            nanos(it.assists.total_nanos),
            nanos(workers),
            optional(it.heap_before_bytes, bytes),
            optional(it.heap_peak_bytes, bytes),
            optional(it.heap_live_bytes, bytes),
            optional(it.goal_bytes, bytes),
        ]);
    }
    table
}

fn totals(all: &Collections) -> String {
    let sum = |of: fn(&Collection) -> u64| {
        all.collections.iter().fold(0_u64, |sum, it| sum.saturating_add(of(it)))
    };
    let stopped =
        sum(|it| it.sweep_termination_nanos.unwrap_or(0) + it.mark_termination_nanos.unwrap_or(0));
    let longest = all.collections.iter().flat_map(|it| {
        [it.sweep_termination_nanos, it.mark_termination_nanos].into_iter().flatten()
    });
    let longest = longest.max().unwrap_or(0);
    let (marked, assisted) = (sum(|it| it.mark_nanos), sum(|it| it.assists.total_nanos));
    let share = marked as f64 * 100.0 / all.duration_nanos.max(1) as f64;
    format!(
        "\nstopped {} in all, {} at most; marking {} ({share:.1}% of the time); assists {}\n",
        nanos(stopped),
        nanos(longest),
        nanos(marked),
        nanos(assisted)
    )
}

fn bytes(bytes: u64) -> String {
    Bytes(bytes).to_string()
}

fn optional(value: Option<u64>, text: fn(u64) -> String) -> String {
    value.map_or_else(|| "-".to_owned(), text)
}

/// The collections as the contract has them.
pub fn value(all: &Collections, warning: Option<&str>) -> Value {
    let found: Vec<Value> = all.collections.iter().map(collection).collect();
    json!({
        "duration_nanos": json::unsigned(all.duration_nanos),
        "collections": found,
        "other_stops": durations(&all.other_stops),
        "warning": warning,
    })
}

fn collection(it: &Collection) -> Value {
    let optional = |value: Option<u64>| value.map(json::unsigned);
    json!({
        "start_nanos": json::unsigned(it.start_nanos),
        "is_cut_at_start": it.is_cut_at_start,
        "is_cut_at_end": it.is_cut_at_end,
        "sweep_termination_nanos": optional(it.sweep_termination_nanos),
        "mark_nanos": json::unsigned(it.mark_nanos),
        "mark_termination_nanos": optional(it.mark_termination_nanos),
        "assists": durations(&it.assists),
        "dedicated_nanos": json::unsigned(it.dedicated_nanos),
        "fractional_nanos": json::unsigned(it.fractional_nanos),
        "idle_nanos": json::unsigned(it.idle_nanos),
        "heap_before_bytes": optional(it.heap_before_bytes),
        "heap_peak_bytes": optional(it.heap_peak_bytes),
        "heap_live_bytes": optional(it.heap_live_bytes),
        "goal_bytes": optional(it.goal_bytes),
        "swept_bytes": json::unsigned(it.swept_bytes),
        "reclaimed_bytes": json::unsigned(it.reclaimed_bytes),
    })
}
