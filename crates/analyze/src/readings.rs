//! Runtime metrics over time: levels as they are, counters as what they grew by, and of
//! distributions what came between one reading and the next.

use std::collections::BTreeMap;

use model::Timestamp;
use model::metrics::{MetricKind, RuntimeMetrics};

use crate::metrics::{added, quantile};

/// Shares that follow from several counters: a name, what grew, and what of.
const SHARES: [(&str, &str, &str); 3] = [
    ("gc-share", "/cpu/classes/gc/total:cpu-seconds", "/cpu/classes/total:cpu-seconds"),
    ("assist-share", "/cpu/classes/gc/mark/assist:cpu-seconds", "/cpu/classes/total:cpu-seconds"),
    ("scavenge-share", "/cpu/classes/scavenge/total:cpu-seconds", "/cpu/classes/total:cpu-seconds"),
];

/// Metrics of a program at several times. Columns are as long as `times`; `None` is unknown.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Readings {
    /// When they were read.
    pub times: Vec<Timestamp>,
    /// Levels by the metric's name.
    pub gauges: BTreeMap<&'static str, Vec<Option<f64>>>,
    /// Growth a second since the time before by the metric's name, and shares of CPU time:
    /// `gc-share`, `assist-share`, `scavenge-share`.
    pub rates: BTreeMap<&'static str, Vec<Option<f64>>>,
    /// Of what came since the time before, by the metric's name.
    pub quantiles: BTreeMap<&'static str, Quantiles>,
}

/// Upper bounds of the buckets that the median, the 99th percentile and the largest lie in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Quantiles {
    /// The median.
    pub p50: Vec<Option<f64>>,
    /// The 99th percentile.
    pub p99: Vec<Option<f64>>,
    /// The largest.
    pub max: Vec<Option<f64>>,
}

/// Puts readings, in the order of time, side by side.
pub fn readings(all: &[(Timestamp, RuntimeMetrics)]) -> Readings {
    let mut readings =
        Readings { times: all.iter().map(|(time, _)| *time).collect(), ..Readings::default() };
    for (index, (_, metrics)) in all.iter().enumerate() {
        for sample in metrics.samples.iter().filter(|sample| !sample.metric.is_cumulative) {
            if let Some(value) = sample.value.number() {
                set(readings.gauges.entry(sample.metric.name).or_default(), index, all, value);
            }
        }
    }
    for (index, pair) in all.windows(2).enumerate() {
        if let [(earlier_time, earlier), (time, later)] = pair {
            let seconds = (time.0 - earlier_time.0) as f64 / 1000.0;
            let step = Step { earlier, later, seconds, index: index + 1, all };
            step.add_to(&mut readings);
        }
    }
    readings
}

/// From one reading to the next.
struct Step<'a> {
    earlier: &'a RuntimeMetrics,
    later: &'a RuntimeMetrics,
    seconds: f64,
    index: usize,
    all: &'a [(Timestamp, RuntimeMetrics)],
}

impl Step<'_> {
    fn add_to(&self, readings: &mut Readings) {
        for sample in self.later.samples.iter().filter(|sample| sample.metric.is_cumulative) {
            let name = sample.metric.name;
            if sample.metric.kind == MetricKind::Histogram {
                self.add_quantiles(name, readings);
            } else if let Some(grown) = self.grown(name)
                && self.seconds > 0.0
            {
                self.set(readings.rates.entry(name).or_default(), grown / self.seconds);
            }
        }
        for (name, part, whole) in SHARES {
            if let (Some(part), Some(whole)) = (self.grown(part), self.grown(whole))
                && whole > 0.0
            {
                self.set(readings.rates.entry(name).or_default(), (part / whole).clamp(0.0, 1.0));
            }
        }
    }

    /// What a counter grew by; `None` when it went back, because the program started anew.
    fn grown(&self, name: &str) -> Option<f64> {
        let grown = self.later.number(name)? - self.earlier.number(name)?;
        (grown >= 0.0).then_some(grown)
    }

    fn add_quantiles(&self, name: &'static str, readings: &mut Readings) {
        let both = self.later.histogram(name).zip(self.earlier.histogram(name));
        let between = both.and_then(|(later, earlier)| added(later, earlier));
        let Some(between) = between else { return };
        // Of an unbounded bucket the bound that there is.
        let at = |rank: f64| {
            quantile(&between, rank).map(|(low, high)| if high.is_finite() { high } else { low })
        };
        let quantiles = readings.quantiles.entry(name).or_default();
        let columns =
            [(&mut quantiles.p50, 0.5), (&mut quantiles.p99, 0.99), (&mut quantiles.max, 1.0)];
        for (column, rank) in columns {
            match at(rank) {
                Some(value) => self.set(column, value),
                None => column.resize(self.all.len(), None),
            }
        }
    }

    fn set(&self, column: &mut Vec<Option<f64>>, value: f64) {
        set(column, self.index, self.all, value);
    }
}

fn set(
    column: &mut Vec<Option<f64>>,
    index: usize,
    all: &[(Timestamp, RuntimeMetrics)],
    value: f64,
) {
    column.resize(all.len(), None);
    if let Some(place) = column.get_mut(index) {
        *place = Some(value);
    }
}

#[cfg(test)]
mod tests {
    use model::Timestamp;
    use model::metrics::{Histogram, MetricValue, RuntimeMetrics};

    use super::readings;

    fn reading(live: u64, allocs: u64, gc: f64, total: f64, counts: [u64; 3]) -> RuntimeMetrics {
        let mut metrics = RuntimeMetrics::default();
        metrics.push_unsigned("/gc/heap/live:bytes", live);
        metrics.push_unsigned("/gc/heap/allocs:bytes", allocs);
        metrics.push_float("/cpu/classes/gc/total:cpu-seconds", gc);
        metrics.push_float("/cpu/classes/total:cpu-seconds", total);
        let bounds = [0.0, 0.001, 0.01, f64::INFINITY].into();
        let histogram = Histogram { bounds, counts: counts.to_vec() };
        metrics.push("/sched/latencies:seconds", MetricValue::Histogram(histogram));
        metrics
    }

    #[test]
    fn counters_become_rates_and_distributions_what_came_between() {
        let all = [
            (Timestamp(0), reading(5, 100, 1.0, 10.0, [1, 0, 0])),
            (Timestamp(2000), reading(7, 300, 2.0, 14.0, [100, 1, 0])),
            // Nothing was waited for, and the program's counters went back.
            (Timestamp(4000), reading(6, 50, 2.0, 18.0, [100, 1, 0])),
        ];
        let found = readings(&all);
        assert_eq!(found.gauges["/gc/heap/live:bytes"], [Some(5.0), Some(7.0), Some(6.0)]);
        assert_eq!(found.rates["/gc/heap/allocs:bytes"], [None, Some(100.0), None]);
        assert_eq!(found.rates["gc-share"], [None, Some(0.25), Some(0.0)]);
        let latencies = &found.quantiles["/sched/latencies:seconds"];
        assert_eq!(latencies.p50, [None, Some(0.001), None]);
        assert_eq!(latencies.max, [None, Some(0.01), None]);
        assert!(!found.gauges.contains_key("/gc/heap/allocs:bytes"));
    }
}
