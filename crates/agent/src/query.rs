//! The store of series as the query language wants it.

use std::cell::RefCell;

use model::Timestamp;
use promql::{MatchOp, Matcher, SeriesData, Storage};
use store::SeriesStore;

/// Series of a store, for queries.
pub struct StoredSeries<'a> {
    series: &'a SeriesStore,
    warnings: RefCell<Vec<String>>,
}

impl<'a> StoredSeries<'a> {
    /// Of this store.
    pub fn new(series: &'a SeriesStore) -> StoredSeries<'a> {
        StoredSeries { series, warnings: RefCell::default() }
    }

    /// What could not be read for the queries so far.
    pub fn warnings(self) -> Vec<String> {
        self.warnings.into_inner()
    }
}

impl Storage for StoredSeries<'_> {
    fn select(
        &self,
        matchers: &[Matcher],
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<SeriesData>, String> {
        let selected = self.series.select(&stored(matchers)?, from, to);
        let selected = selected.map_err(|error| error.to_string())?;
        self.warnings.borrow_mut().extend(selected.warnings);
        let series = selected.series.into_iter();
        Ok(series.map(|(labels, samples)| SeriesData { labels, samples }).collect())
    }
}

/// Matchers of the language as the store has them.
///
/// # Errors
/// When a pattern is too large for the store.
pub fn stored(matchers: &[Matcher]) -> Result<Vec<store::Matcher>, String> {
    let convert = |matcher: &Matcher| {
        let op = match matcher.op {
            MatchOp::Equal => store::MatchOp::Equal,
            MatchOp::NotEqual => store::MatchOp::NotEqual,
            MatchOp::Regex => store::MatchOp::Matches,
            MatchOp::NotRegex => store::MatchOp::NotMatches,
        };
        store::Matcher::new(&matcher.name, op, &matcher.value)
    };
    matchers.iter().map(convert).collect()
}
