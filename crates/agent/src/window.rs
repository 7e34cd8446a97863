//! The evidence about one target that is kept in memory: bounded, older parts
//! coarser.

use analyze::diagnose::{Evidence, diagnose};
use analyze::growth::Series;
use model::{
    Diagnosis, GoroutineSnapshot, Observation, Profile, Rss, RuntimeMetrics, Target, Timestamp,
};

const HEAPS_MAX: usize = 120;
const OBSERVATIONS_MAX: usize = 600;
const GOROUTINES_MAX: usize = 40;
const FIGURES_MAX: usize = 40;

/// Evidence so far.
#[derive(Debug, Default)]
pub struct Window {
    observations: Vec<Observation>,
    heaps: Series,
    goroutines: Vec<(Timestamp, GoroutineSnapshot)>,
    accounts: Vec<Rss>,
    metrics: Vec<(Timestamp, RuntimeMetrics)>,
    warnings: Vec<String>,
}

impl Window {
    /// Adds level signals.
    pub fn push_observation(&mut self, observation: Observation) {
        self.observations.push(observation);
        halve_older(&mut self.observations, OBSERVATIONS_MAX);
    }

    /// Adds a heap profile.
    pub fn push_heap(&mut self, time: Timestamp, profile: &Profile) {
        self.heaps.push(time, profile);
        self.heaps.bound(HEAPS_MAX);
    }

    /// Adds goroutines.
    pub fn push_goroutines(&mut self, time: Timestamp, mut snapshot: GoroutineSnapshot) {
        // The groups are what is judged; a program may have a million goroutines.
        snapshot.goroutines = Vec::new();
        self.goroutines.push((time, snapshot));
        halve_older(&mut self.goroutines, GOROUTINES_MAX);
    }

    /// Adds an account of the resident memory.
    pub fn push_rss(&mut self, mut rss: Rss) {
        // Of these there may be tens of thousands, and only the kinds are judged.
        rss.maps = Vec::new();
        self.accounts.push(rss);
        halve_older(&mut self.accounts, FIGURES_MAX);
    }

    /// Adds the runtime's metrics.
    pub fn push_metrics(&mut self, time: Timestamp, metrics: RuntimeMetrics) {
        self.metrics.push((time, metrics));
        halve_older(&mut self.metrics, FIGURES_MAX);
    }

    /// Notes what could not be read; says whether that is news.
    pub fn warn(&mut self, text: &str) -> bool {
        let is_new = !self.warnings.iter().any(|known| known == text);
        if is_new {
            self.warnings.push(text.to_owned());
        }
        is_new
    }

    /// Heap profiles that showed something new.
    pub fn heap_profiles(&self) -> usize {
        self.heaps.len()
    }

    /// The verdict on what is known.
    pub fn diagnose(&self, target: &Target) -> Diagnosis {
        let goroutines: Vec<_> = self.goroutines.iter().map(|(time, g)| (*time, g)).collect();
        diagnose(&Evidence {
            target: target.clone(),
            observations: &self.observations,
            heaps: &self.heaps,
            goroutines: &goroutines,
            accounts: &self.accounts,
            metrics: &self.metrics,
            process_start: None,
            warnings: self.warnings.clone(),
        })
    }
}

/// Forgets every other item of the older half when there are too many.
fn halve_older<T>(items: &mut Vec<T>, max: usize) {
    if items.len() <= max {
        return;
    }
    let half = items.len() / 2;
    let mut index = 0;
    items.retain(|_| {
        index += 1;
        index > half || index % 2 == 1
    });
}

#[cfg(test)]
mod tests {
    use super::halve_older;

    #[test]
    fn the_older_half_gets_coarser() {
        let mut items: Vec<u32> = (0..9).collect();
        halve_older(&mut items, 8);
        assert_eq!(items, [0, 2, 4, 5, 6, 7, 8]);
        halve_older(&mut items, 8);
        assert_eq!(items.len(), 7);
    }
}
