//! Series in memory: for tests of rules, and for tests.

use std::collections::HashMap;

use model::series::{Labels, Sample};
use model::units::Timestamp;

use crate::eval::{SeriesData, Storage};
use crate::lang::Matcher;

/// A storage that holds all it is given.
#[derive(Clone, Debug, Default)]
pub struct MemoryStorage {
    series: Vec<SeriesData>,
    places: HashMap<Labels, usize>,
}

impl MemoryStorage {
    /// Adds a sample. One of the same time replaces what was there.
    pub fn add(&mut self, labels: &Labels, sample: Sample) {
        let place = *self.places.entry(labels.clone()).or_insert(self.series.len());
        if place == self.series.len() {
            self.series.push(SeriesData { labels: labels.clone(), samples: Vec::new() });
        }
        let Some(series) = self.series.get_mut(place) else { return };
        let behind = series.samples.partition_point(|known| known.time < sample.time);
        match series.samples.get_mut(behind) {
            Some(known) if known.time == sample.time => *known = sample,
            _ => series.samples.insert(behind, sample),
        }
    }

    /// All that is held.
    pub fn series(&self) -> &[SeriesData] {
        &self.series
    }
}

impl Storage for MemoryStorage {
    fn select(
        &self,
        matchers: &[Matcher],
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<SeriesData>, String> {
        let passes = |series: &&SeriesData| {
            matchers.iter().all(|matcher| matcher.matches_labels(&series.labels))
        };
        let cut = |series: &SeriesData| {
            let first = series.samples.partition_point(|sample| sample.time <= from);
            let behind = series.samples.partition_point(|sample| sample.time <= to);
            let samples = series.samples.get(first..behind).unwrap_or_default().to_vec();
            SeriesData { labels: series.labels.clone(), samples }
        };
        let found = self.series.iter().filter(passes).map(cut);
        Ok(found.filter(|series| !series.samples.is_empty()).collect())
    }
}
