//! Execution traces as text and JSON.

pub mod chrome;
pub mod collections;
pub mod goroutines;
pub mod lifetimes;
pub mod perfetto;
pub mod shown;
pub mod summary;
pub mod tasks;
pub mod utilization;

use analyze::trace::Durations;
use serde_json::{Value, json};

use crate::json;
use crate::paint::Paint;
use crate::quantity;

/// Why the trace was not read to its end, below a text; nothing when it was.
fn warning(why: Option<&str>, paint: Paint) -> String {
    why.map_or(String::new(), |why| format!("\n{} {why}\n", paint.warn("warning:")))
}

fn nanos(nanos: u64) -> String {
    quantity::text(i64::try_from(nanos).unwrap_or(i64::MAX), "nanoseconds")
}

fn durations(of: &Durations) -> Value {
    json!({
        "count": json::unsigned(of.count),
        "total_nanos": json::unsigned(of.total_nanos),
        "max_nanos": json::unsigned(of.max_nanos),
    })
}
