//! Our own numbers as metric families, under the names that Prometheus has for its own.

use model::series::NAME;
use model::{Family, FamilyKind, Labels, Point};

use crate::config::Config;
use crate::item::Counts;
use crate::log::Tip;
use crate::numbers::{DURATION_BOUNDS, Numbers};

const PREFIX: &str = "prometheus_remote_storage_";

/// A destination, its shards and its numbers.
type Row<'a> = (&'a Config, usize, Numbers);

/// What one destination counts.
type Number = fn(&Row<'_>) -> f64;

/// One of the counts.
type OfCounts = fn(&Counts) -> u64;

fn seconds(millis: i64) -> f64 {
    millis as f64 / 1000.0
}

const COUNTERS: [(&str, &str, Number); 19] = [
    ("samples", "Samples sent.", |row| row.2.sent.samples as f64),
    ("histograms", "Histograms sent.", |row| row.2.sent.histograms as f64),
    ("exemplars", "Exemplars sent.", |row| row.2.sent.exemplars as f64),
    ("metadata", "Metadata entries sent.", |row| row.2.metadata_sent as f64),
    ("samples_failed", "Samples that the receiver refused.", |row| row.2.failed.samples as f64),
    ("histograms_failed", "Histograms that the receiver refused.", |row| {
        row.2.failed.histograms as f64
    }),
    ("exemplars_failed", "Exemplars that the receiver refused.", |row| {
        row.2.failed.exemplars as f64
    }),
    ("metadata_failed", "Metadata entries that the receiver refused.", |row| {
        row.2.metadata_failed as f64
    }),
    ("samples_retried", "Samples that were sent again.", |row| row.2.retried.samples as f64),
    ("histograms_retried", "Histograms that were sent again.", |row| {
        row.2.retried.histograms as f64
    }),
    ("exemplars_retried", "Exemplars that were sent again.", |row| row.2.retried.exemplars as f64),
    ("metadata_retried", "Metadata entries that were sent again.", |row| {
        row.2.metadata_retried as f64
    }),
    ("enqueue_retries", "Times that a full shard was waited for.", |row| {
        row.2.enqueue_retries as f64
    }),
    ("bytes", "Bytes sent, compressed.", |row| row.2.bytes as f64),
    ("metadata_bytes", "Bytes of metadata sent, compressed.", |row| row.2.metadata_bytes as f64),
    (
        "bisected_batches",
        "Batches that were taken apart to find what the receiver refuses.",
        |row| row.2.bisected as f64,
    ),
    ("protocol_fallbacks", "Times that 2.0 was given up for 1.0.", |row| row.2.fallbacks as f64),
    ("requests", "Requests sent.", |row| row.2.requests as f64),
    ("requests_failed", "Requests of which not all was stored.", |row| {
        row.2.requests_failed as f64
    }),
];

const GAUGES: [(&str, &str, Number); 12] = [
    ("samples_pending", "Samples waiting in shards.", |row| row.2.pending.samples as f64),
    ("histograms_pending", "Histograms waiting in shards.", |row| row.2.pending.histograms as f64),
    ("exemplars_pending", "Exemplars waiting in shards.", |row| row.2.pending.exemplars as f64),
    ("shard_capacity", "Samples that a shard holds.", |row| row.0.queue_config.capacity as f64),
    ("shards", "Connections used for sending.", |row| row.1 as f64),
    ("shards_max", "Most connections.", |row| row.0.queue_config.max_shards as f64),
    ("shards_min", "Fewest connections.", |row| row.0.queue_config.min_shards as f64),
    ("shards_desired", "Connections that the load asks for.", |row| row.2.desired_shards),
    ("max_samples_per_send", "Samples of a request.", |row| {
        row.0.queue_config.max_samples_per_send as f64
    }),
    ("queue_highest_timestamp_seconds", "Latest time of a sample that was queued.", |row| {
        seconds(row.2.highest_read)
    }),
    ("queue_highest_sent_timestamp_seconds", "Latest time of a sample that was sent.", |row| {
        seconds(row.2.highest_sent)
    }),
    ("receiver_failing", "1 while the receiver takes nothing.", |row| {
        f64::from(u8::from(row.2.is_failing))
    }),
];

/// All families.
pub(crate) fn families(
    rows: &[Row<'_>],
    tip: Tip,
    (log_bytes, log_bytes_max): (u64, u64),
    log_series: usize,
    log_dropped: u64,
) -> Vec<Family> {
    let mut families = Vec::new();
    for (name, help, number) in COUNTERS {
        let points = rows.iter().map(|row| point(row, &format!("{name}_total"), &[], number(row)));
        families.push(family(name, FamilyKind::Counter, help, points.collect()));
    }
    for (name, help, number) in GAUGES {
        let points = rows.iter().map(|row| point(row, name, &[], number(row)));
        families.push(family(name, FamilyKind::Gauge, help, points.collect()));
    }
    families.extend(dropped(rows));
    families.push(durations(rows));
    let own = |name: &str| Labels::new([(NAME, name)]);
    let lone = |name: &str, kind, help: &str, value: f64| {
        let suffix = if kind == FamilyKind::Counter { "_total" } else { "" };
        let full = format!("{PREFIX}{name}{suffix}");
        family(name, kind, help, vec![Point::new(own(&full), value)])
    };
    families.extend([
        lone(
            "highest_timestamp_in_seconds",
            FamilyKind::Gauge,
            "Latest time of a sample that was collected.",
            seconds(tip.highest_time),
        ),
        lone(
            "samples_in",
            FamilyKind::Counter,
            "Samples and histograms that were collected.",
            tip.appended as f64,
        ),
        lone("log_bytes", FamilyKind::Gauge, "Bytes of the queue on disk.", log_bytes as f64),
        lone(
            "log_bytes_max",
            FamilyKind::Gauge,
            "Bytes that the queue may have; what is older is dropped then.",
            log_bytes_max as f64,
        ),
        lone("log_series", FamilyKind::Gauge, "Series that the queue knows.", log_series as f64),
        lone(
            "log_samples_dropped",
            FamilyKind::Counter,
            "Samples that could not be written to the queue.",
            log_dropped as f64,
        ),
    ]);
    families
}

fn dropped(rows: &[Row<'_>]) -> Vec<Family> {
    const KINDS: [(&str, OfCounts); 3] = [
        ("samples_dropped", |counts| counts.samples),
        ("histograms_dropped", |counts| counts.histograms),
        ("exemplars_dropped", |counts| counts.exemplars),
    ];
    let kinds = KINDS.iter().map(|(name, number)| {
        let mut points = Vec::new();
        for row in rows {
            for (reason, counts) in &row.2.dropped {
                let more = [("reason", reason.as_str())];
                let value = number(counts) as f64;
                points.push(point(row, &format!("{name}_total"), &more, value));
            }
        }
        family(name, FamilyKind::Counter, "What was not sent, by reason.", points)
    });
    kinds.collect()
}

fn durations(rows: &[Row<'_>]) -> Family {
    const NAME: &str = "sent_batch_duration_seconds";
    let mut points = Vec::new();
    for row in rows {
        let mut sum = 0;
        let bounds = DURATION_BOUNDS.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
        for (bound, count) in bounds.zip(row.2.durations) {
            sum += count;
            let more = [("le", bound.as_str())];
            points.push(point(row, &format!("{NAME}_bucket"), &more, sum as f64));
        }
        points.push(point(row, &format!("{NAME}_sum"), &[], row.2.duration_seconds));
        points.push(point(row, &format!("{NAME}_count"), &[], sum as f64));
    }
    let help = "How long requests took.";
    Family { unit: "seconds".to_owned(), ..family(NAME, FamilyKind::Histogram, help, points) }
}

fn family(name: &str, kind: FamilyKind, help: &str, points: Vec<Point>) -> Family {
    let (name, help) = (format!("{PREFIX}{name}"), help.to_owned());
    Family { name, kind, help, unit: String::new(), points }
}

fn point(row: &Row<'_>, name: &str, more: &[(&str, &str)], value: f64) -> Point {
    let (title, url) = (row.0.title(), row.0.url.to_string());
    let full = format!("{PREFIX}{name}");
    let own = [(NAME, full.as_str()), ("remote_name", &title), ("url", &url)];
    Point::new(Labels::new(own.iter().chain(more).copied()), value)
}
