//! Verdicts, what captures cost, and memsight itself.

use model::FamilyKind::{Counter, Gauge};
use model::{CaptureKind, Diagnosis, Labels, Timestamp};

use super::{Families, Subject};

/// Sites of a finding that have a series.
const SITES_MAX: usize = 3;

/// What memsight says of itself.
#[derive(Clone, Debug, Default)]
pub struct SelfFigures {
    /// Its version.
    pub version: &'static str,
    /// When it started.
    pub started: Timestamp,
    /// CPU time it used.
    pub cpu_seconds: Option<f64>,
    /// Its resident memory.
    pub rss_bytes: Option<u64>,
    /// Targets that live.
    pub targets: u64,
    /// Captures in the store.
    pub captures: u64,
    /// Their bytes.
    pub capture_bytes: u64,
    /// Events by kind.
    pub events: Vec<(&'static str, u64)>,
    /// Events that a reader was too slow for.
    pub events_lost: u64,
    /// Failures by where they happened.
    pub errors: Vec<(&'static str, u64)>,
    /// The store of series.
    pub series: SeriesFigures,
}

/// What the store of series says of itself; counts are since the start.
#[derive(Clone, Copy, Debug, Default)]
pub struct SeriesFigures {
    /// Series of which anything is kept.
    pub series: u64,
    /// Samples that are in no block yet.
    pub head_samples: u64,
    /// Bytes of their chunks, in memory.
    pub head_bytes: u64,
    /// Blocks.
    pub blocks: u64,
    /// Samples in them.
    pub block_samples: u64,
    /// Their bytes.
    pub block_bytes: u64,
    /// Samples that were added.
    pub appended: u64,
    /// That were there already.
    pub same: u64,
    /// Of a time that has another value.
    pub conflicting: u64,
    /// Of too many series, or too often out of order.
    pub refused: u64,
    /// That the disk did not take.
    pub lost: u64,
    /// Blocks written.
    pub blocks_written: u64,
    /// Blocks that were too old, or too many.
    pub blocks_removed: u64,
}

type OfSeries = fn(&SeriesFigures) -> u64;

const SERIES: [(&str, model::FamilyKind, &str, OfSeries); 11] = [
    ("memsight_store_series", Gauge, "Series of which anything is kept.", |own| own.series),
    ("memsight_store_head_samples", Gauge, "Samples that are in no block yet.", |own| {
        own.head_samples
    }),
    ("memsight_store_head_bytes", Gauge, "Bytes of samples that are in no block yet.", |own| {
        own.head_bytes
    }),
    ("memsight_store_blocks", Gauge, "Blocks of samples.", |own| own.blocks),
    ("memsight_store_block_samples", Gauge, "Samples in blocks.", |own| own.block_samples),
    ("memsight_store_block_bytes", Gauge, "Bytes of the blocks.", |own| own.block_bytes),
    ("memsight_store_samples_appended_total", Counter, "Samples that were added.", |own| {
        own.appended
    }),
    (
        "memsight_store_samples_refused_total",
        Counter,
        "Samples of too many series, or too often out of order.",
        |own| own.refused,
    ),
    ("memsight_store_samples_lost_total", Counter, "Samples that the disk did not take.", |own| {
        own.lost
    }),
    ("memsight_store_blocks_written_total", Counter, "Blocks that were written.", |own| {
        own.blocks_written
    }),
    (
        "memsight_store_blocks_removed_total",
        Counter,
        "Blocks that were too old, or too many.",
        |own| own.blocks_removed,
    ),
];

impl Families {
    /// The verdict on a target.
    pub fn diagnosis(&mut self, diagnosis: &Diagnosis, subject: &Subject) {
        for finding in &diagnosis.findings {
            let labels = subject.labels.with([("kind", finding.kind.as_str())]);
            let subject = Subject::new(labels, None);
            let mut gauge = |name: &str, help: &str, value: f64| {
                self.add((name, Gauge, help), &subject, value);
            };
            let help = "A verdict on the target: how sure, 0 to 1.";
            gauge("memsight_finding", help, finding.confidence.0);
            if let Some(rate) = finding.rate {
                let help = "Growth behind a verdict, best guess.";
                gauge("memsight_growth_bytes_per_second", help, rate.estimate);
                let help = "Growth behind a verdict, lower bound (95 %).";
                gauge("memsight_growth_low_bytes_per_second", help, rate.low);
                let help = "Growth behind a verdict, upper bound (95 %).";
                gauge("memsight_growth_high_bytes_per_second", help, rate.high);
            }
            if let Some(time) = finding.time_to_limit_seconds {
                let help = "Time until the limit is reached, best guess.";
                gauge("memsight_time_to_limit_seconds", help, time.estimate);
                let help = "Time until the limit is reached, lower bound (95 %).";
                gauge("memsight_time_to_limit_low_seconds", help, time.low);
                let help = "Time until the limit is reached, upper bound (95 %).";
                gauge("memsight_time_to_limit_high_seconds", help, time.high);
            }
            let mut seen: Vec<&str> = Vec::new();
            for site in &finding.sites {
                // Two stacks of one function would be two series of one name.
                let function = site.frame.function.as_str();
                if seen.len() == SITES_MAX || seen.contains(&function) {
                    continue;
                }
                seen.push(function);
                let labels = subject.labels.with([("site", function)]);
                let help = "A site's share of the growth, 0 to 1; the first three functions.";
                let subject = Subject::new(labels, None);
                self.add(("memsight_growth_site_share", Gauge, help), &subject, site.share);
            }
        }
    }

    /// Captures and what they cost: kind, number, bytes, CPU microseconds.
    pub fn captures(&mut self, taken: &[(CaptureKind, u64, u64, u64)]) {
        for (kind, count, bytes, micros) in taken {
            let labels = Labels::new([("kind", kind.as_str())]);
            let subject = Subject::new(labels, None);
            let mut counter = |name: &str, help: &str, value: f64| {
                self.add((name, Counter, help), &subject, value);
            };
            let help = "Captures taken since memsight started.";
            counter("memsight_captures_total", help, *count as f64);
            counter("memsight_capture_bytes_total", "Bytes of these captures.", *bytes as f64);
            let help = "CPU time that taking them cost memsight.";
            counter("memsight_capture_cpu_seconds_total", help, *micros as f64 / 1e6);
        }
    }

    /// memsight itself.
    pub fn own(&mut self, own: &SelfFigures) {
        let start = Some(own.started);
        let subject = Subject::new(Labels::empty(), start);
        let labelled = |name: &str, value: &str| {
            let labels = Labels::new([(name, value)]);
            Subject::new(labels, start)
        };
        let help = "The version that runs; always 1.";
        let build = ("memsight_build_info", Gauge, help);
        self.add(build, &labelled("version", own.version), 1.0);
        let mut gauge = |name: &str, help: &str, value: f64| {
            self.add((name, Gauge, help), &subject, value);
        };
        let help = "When memsight started, seconds since the Unix epoch.";
        gauge("memsight_self_start_time_seconds", help, own.started.0 as f64 / 1e3);
        if let Some(bytes) = own.rss_bytes {
            let help = "Resident memory of memsight.";
            gauge("memsight_self_resident_memory_bytes", help, bytes as f64);
        }
        gauge("memsight_targets", "Targets that live.", own.targets as f64);
        gauge("memsight_store_captures", "Captures in the store.", own.captures as f64);
        gauge("memsight_store_bytes", "Bytes of the captures.", own.capture_bytes as f64);
        self.series_store(&own.series, &subject);
        if let Some(seconds) = own.cpu_seconds {
            let help = "CPU time of memsight.";
            self.add(("memsight_self_cpu_seconds_total", Counter, help), &subject, seconds);
        }
        for (event, count) in &own.events {
            let events = ("memsight_events_total", Counter, "Events of the watch.");
            self.add(events, &labelled("event", event), *count as f64);
        }
        let help = "Events that a reader was too slow for.";
        self.add(("memsight_events_lost_total", Counter, help), &subject, own.events_lost as f64);
        for (part, count) in &own.errors {
            let help = "What failed, also what was told of only once.";
            let errors = ("memsight_errors_total", Counter, help);
            self.add(errors, &labelled("part", part), *count as f64);
        }
    }

    fn series_store(&mut self, own: &SeriesFigures, subject: &Subject) {
        for (name, kind, help, of) in SERIES {
            self.add((name, kind, help), subject, of(own) as f64);
        }
        let name = "memsight_store_samples_duplicate_total";
        let help =
            "Samples of a time that the series has already, by whether the value is the same.";
        for (value, count) in [("same", own.same), ("other", own.conflicting)] {
            let labels = subject.labels.with([("value", value)]);
            let subject = Subject::new(labels, subject.start);
            self.add((name, Counter, help), &subject, count as f64);
        }
    }
}
