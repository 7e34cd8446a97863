//! What a destination counts about itself.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use crate::item::Counts;

/// Upper bounds of the duration of requests, in seconds, as Prometheus has them.
pub(crate) const DURATION_BOUNDS: [f64; 15] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 60.0, 120.0, 300.0];

/// Why values were not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reason {
    /// Older than `sample_age_limit`.
    TooOld,
    /// By `write_relabel_configs`.
    DroppedSeries,
    /// 1.0 has no histograms with custom bounds.
    CustomBounds,
    /// The receiver has that time of the series, or a later one.
    OutOfOrder,
    /// The receiver refuses it.
    Rejected,
    /// The receiver refused the series shortly before.
    Quarantined,
    /// Too much for the receiver, and `retry_on_http_429` is off.
    RateLimited,
    /// The log was longer than it may be.
    Overflow,
    /// A part of the log is damaged.
    Damaged,
}

impl Reason {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Reason::TooOld => "too_old",
            Reason::DroppedSeries => "dropped_series",
            Reason::CustomBounds => "nhcb_in_rw1_not_supported",
            Reason::OutOfOrder => "out_of_order",
            Reason::Rejected => "rejected",
            Reason::Quarantined => "quarantined",
            Reason::RateLimited => "rate_limited",
            Reason::Overflow => "queue_full",
            Reason::Damaged => "damaged_queue",
        }
    }
}

/// Numbers since the start.
#[derive(Clone, Debug, Default)]
pub(crate) struct Numbers {
    pub(crate) sent: Counts,
    pub(crate) failed: Counts,
    pub(crate) retried: Counts,
    pub(crate) dropped: BTreeMap<Reason, Counts>,
    pub(crate) pending: Counts,
    pub(crate) metadata_sent: u64,
    pub(crate) metadata_failed: u64,
    pub(crate) metadata_retried: u64,
    pub(crate) bytes: u64,
    pub(crate) metadata_bytes: u64,
    pub(crate) enqueue_retries: u64,
    pub(crate) durations: [u64; DURATION_BOUNDS.len() + 1],
    pub(crate) duration_seconds: f64,
    /// Milliseconds; 0 is none.
    pub(crate) highest_read: i64,
    pub(crate) highest_sent: i64,
    /// Values that left, sent or refused, and how long that took.
    pub(crate) out: u64,
    pub(crate) out_seconds: f64,
    pub(crate) requests: u64,
    /// Requests of which not all was stored.
    pub(crate) requests_failed: u64,
    /// Batches that had to be taken apart.
    pub(crate) bisected: u64,
    /// Times that 2.0 was given up for 1.0.
    pub(crate) fallbacks: u64,
    pub(crate) last_sent: Option<SystemTime>,
    pub(crate) last_error: Option<(SystemTime, String)>,
    /// A receiver that cannot be reached is reported once.
    pub(crate) is_failing: bool,
    pub(crate) desired_shards: f64,
    /// Since when refusals are counted, and how many there were.
    pub(crate) refused: (Option<SystemTime>, u64),
}

fn add(to: &mut Counts, more: Counts) {
    to.samples += more.samples;
    to.histograms += more.histograms;
    to.exemplars += more.exemplars;
}

impl Numbers {
    pub(crate) fn add_sent(&mut self, counts: Counts) {
        add(&mut self.sent, counts);
    }

    pub(crate) fn add_failed(&mut self, counts: Counts) {
        add(&mut self.failed, counts);
    }

    pub(crate) fn add_retried(&mut self, counts: Counts) {
        add(&mut self.retried, counts);
    }

    pub(crate) fn add_pending(&mut self, counts: Counts) {
        add(&mut self.pending, counts);
    }

    pub(crate) fn sub_pending(&mut self, counts: Counts) {
        let pending = &mut self.pending;
        pending.samples = pending.samples.saturating_sub(counts.samples);
        pending.histograms = pending.histograms.saturating_sub(counts.histograms);
        pending.exemplars = pending.exemplars.saturating_sub(counts.exemplars);
    }

    pub(crate) fn drop(&mut self, reason: Reason, counts: Counts) {
        add(self.dropped.entry(reason).or_default(), counts);
    }

    /// Notes how long a request took.
    pub(crate) fn observe(&mut self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let bucket = DURATION_BOUNDS.iter().take_while(|bound| seconds > **bound).count();
        if let Some(count) = self.durations.get_mut(bucket) {
            *count += 1;
        }
        self.duration_seconds += seconds;
        self.requests += 1;
    }
}
