//! The runtime's metrics as text, JSON, CSV and OpenMetrics, and as a view that is redrawn.

mod live;
mod openmetrics;
mod value;

use analyze::metrics::{count, quantile};
use model::metrics::{Histogram, Metric, MetricSample, MetricValue, MetricsSource};
use model::{Bytes, RuntimeMetrics, Target, Timestamp};

use crate::paint::Paint;
use crate::quantity;
use crate::table::{Align, Table};

pub use live::{Live, Screen};
pub use openmetrics::openmetrics;
pub use value::value;

/// Cells of a drawn distribution.
const BAR_CELLS: usize = 24;

/// Where the metrics were read, in words.
pub fn source(source: MetricsSource) -> &'static str {
    match source {
        MetricsSource::Memory => "read from its memory, without stopping it",
        MetricsSource::Expvar => "from /debug/vars, which stops the world for each request",
        MetricsSource::HeapText => {
            "from the text of its heap profile, which stops the world for each request"
        }
        MetricsSource::Prometheus => "from its page for Prometheus",
    }
}

/// One line a metric, in groups, each with what it means.
pub fn text(metrics: &RuntimeMetrics, target: &Target, paint: Paint) -> String {
    let mut out = headline(metrics, target, paint);
    let mut groups: Vec<(&str, Vec<&MetricSample>)> = Vec::new();
    for sample in &metrics.samples {
        let group = group(sample.metric);
        match groups.last_mut() {
            Some((last, samples)) if *last == group => samples.push(sample),
            _ => groups.push((group, vec![sample])),
        }
    }
    // All groups share their columns.
    let mut table = Table::new(&[("", Align::Left), ("", Align::Right), ("", Align::Left)]);
    for sample in &metrics.samples {
        let meaning = match &sample.value {
            MetricValue::Histogram(histogram) => distribution(histogram, sample.metric.unit()),
            _ => sample.metric.meaning.to_owned(),
        };
        table.push(vec![
            sample.metric.name.to_owned(),
            shown(sample.metric, &sample.value),
            meaning,
        ]);
    }
    let rows = table.text();
    let mut rows = rows.lines().skip(1);
    for (_, samples) in groups {
        out.push('\n');
        for row in rows.by_ref().take(samples.len()) {
            out.push_str(row);
            out.push('\n');
        }
    }
    out
}

fn headline(metrics: &RuntimeMetrics, target: &Target, paint: Paint) -> String {
    let pid = target.pid.map_or_else(String::new, |pid| format!(" (pid {pid})"));
    let version = metrics.go_version.as_deref().map_or_else(String::new, |v| format!(", {v}"));
    let mut out = format!(
        "{}{pid}{version}: {} metrics, {}\n",
        paint.bold(&target.name),
        metrics.samples.len(),
        source(metrics.source)
    );
    if !metrics.moved.is_empty() {
        out.push_str(&paint.dim(&moved(metrics)));
        out.push('\n');
    }
    out
}

/// The program runs while it is read.
fn moved(metrics: &RuntimeMetrics) -> String {
    format!("{} of them changed while they were read", metrics.moved.len())
}

/// The first word of the path, two where the first says little.
fn group(metric: &Metric) -> &'static str {
    let mut words = metric.name.trim_start_matches('/').split(['/', ':']);
    match (words.next().unwrap_or(""), words.next().unwrap_or("")) {
        ("gc", "heap") => "heap",
        (first, _) => first,
    }
}

/// A value as people read it.
pub(crate) fn shown(metric: &Metric, value: &MetricValue) -> String {
    match value {
        MetricValue::Unsigned(u64::MAX) if metric.name == "/gc/gogc:percent" => "off".to_owned(),
        MetricValue::Unsigned(bytes)
            if metric.name == "/gc/gomemlimit:bytes" && *bytes == i64::MAX as u64 =>
        {
            "none".to_owned()
        }
        MetricValue::Unsigned(number) => match metric.unit() {
            "bytes" => Bytes(*number).to_string(),
            "percent" => format!("{number} %"),
            _ => quantity::count(*number),
        },
        MetricValue::Float(number) => seconds(*number),
        MetricValue::Histogram(histogram) => {
            format!("{} values", quantity::count(count(histogram)))
        }
    }
}

fn seconds(seconds: f64) -> String {
    quantity::text((seconds * 1e9) as i64, "nanoseconds")
}

/// `p50 31 us  p90 73 us  p99 3.67 ms  max 3.67 ms`, and a drawing of all.
fn distribution(histogram: &Histogram, unit: &str) -> String {
    let at = |rank| quantile(histogram, rank).map(|bucket| upper(bucket, unit));
    let (Some(p50), Some(p90), Some(p99), Some(max)) = (at(0.5), at(0.9), at(0.99), at(1.0)) else {
        return "none yet".to_owned();
    };
    format!("p50 {p50}  p90 {p90}  p99 {p99}  max {max}  {}", bar(histogram))
}

/// The upper end of a bucket: what a value in it is at most.
pub(crate) fn upper((low, high): (f64, f64), unit: &str) -> String {
    let (sign, end) = if high.is_finite() { ("", high) } else { (">", low) };
    match unit {
        // Sizes are whole numbers, and the end of a bucket is not in it.
        "bytes" => {
            let end = if high.is_finite() { high - 1.0 } else { low - 1.0 };
            format!("{sign}{}", Bytes(end as u64))
        }
        _ => format!("{sign}{}", seconds(end)),
    }
}

/// The buckets from the first to the last that is not empty, joined to as many cells as fit.
fn bar(histogram: &Histogram) -> String {
    let is_used = |count: &u64| *count > 0;
    let (Some(first), Some(last)) =
        (histogram.counts.iter().position(is_used), histogram.counts.iter().rposition(is_used))
    else {
        return String::new();
    };
    let used = histogram.counts.get(first..=last).unwrap_or_default();
    let cells: Vec<f64> = used
        .chunks(used.len().div_ceil(BAR_CELLS))
        .map(|chunk| chunk.iter().fold(0.0, |sum, count| sum + *count as f64))
        .collect();
    levels(&cells)
}

/// Values as bars of a line's height: empty for nothing, at least the lowest for something.
pub(crate) fn levels(values: &[f64]) -> String {
    const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let top = values.iter().fold(0.0_f64, |top, value| top.max(*value));
    let level = |value: f64| match value {
        value if value <= 0.0 => ' ',
        value => LEVELS[((value / top * 8.0).ceil() as usize).clamp(1, 8) - 1],
    };
    values.iter().map(|value| level(*value)).collect()
}

/// Rows for spreadsheets: one a metric, of distributions one a bucket with its ends.
pub fn csv(metrics: &RuntimeMetrics) -> String {
    let columns = ["metric", "from", "below", "value"].map(|name| (name, Align::Left));
    let mut table = Table::new(&columns);
    for sample in &metrics.samples {
        let name = sample.metric.name.to_owned();
        let nothing = String::new;
        match &sample.value {
            MetricValue::Unsigned(value) => {
                table.push(vec![name, nothing(), nothing(), value.to_string()]);
            }
            MetricValue::Float(value) => {
                table.push(vec![name, nothing(), nothing(), value.to_string()]);
            }
            MetricValue::Histogram(histogram) => {
                for (pair, count) in histogram.bounds.windows(2).zip(&histogram.counts) {
                    let [low, high] = [0, 1].map(|end| analyze::families::float(pair[end]));
                    table.push(vec![name.clone(), low, high, count.to_string()]);
                }
            }
        }
    }
    table.csv()
}

/// A line that says when metrics were read, for output that goes on.
pub fn stamp(time: Timestamp, metrics: &RuntimeMetrics, target: &Target) -> String {
    let moved =
        if metrics.moved.is_empty() { String::new() } else { format!(", {}", moved(metrics)) };
    format!("# {:.3} {}{moved}", time.0 as f64 / 1e3, target.name)
}

#[cfg(test)]
mod tests;
