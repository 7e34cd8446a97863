//! Selecting series and their samples.

use std::collections::{BTreeMap, BTreeSet};

use model::series::Sample;
use model::{Labels, Timestamp};

use super::block::Block;
use super::chunk::Chunk;
use super::{Matcher, SeriesStore, State};
use crate::error::StoreError;

/// Series with their samples.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selected {
    /// By labels; each has a sample at least.
    pub series: Vec<(Labels, Vec<Sample>)>,
    /// What could not be read.
    pub warnings: Vec<String>,
}

impl SeriesStore {
    /// Series that pass all matchers, with their samples from `from` to `to`, both included.
    /// Staleness markers are among them.
    ///
    /// # Errors
    /// When there are more samples than may be read at once.
    pub fn select(
        &self,
        matchers: &[Matcher],
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Selected, StoreError> {
        let overlaps = |min: i64, max: i64| max >= from.0 && min <= to.0;
        let (mut wanted, blocks) = {
            let state = self.state();
            let wanted = self.wanted(&state, matchers, from, to);
            let blocks = state.blocks.iter().filter(|block| overlaps(block.min, block.max));
            (wanted, blocks.cloned().collect::<Vec<Block>>())
        };
        let mut selected = Selected::default();
        let max = self.options.samples_max as u64;
        let too_much = || StoreError::TooMuch { what: "samples", max };
        let mut budget = max;
        // What is in memory came after all blocks.
        let recent: Vec<Vec<Chunk>> =
            wanted.iter_mut().map(|wanted| std::mem::take(&mut wanted.chunks)).collect();
        for block in &blocks {
            read_block(block, &mut wanted, overlaps, &mut budget, &mut selected.warnings)
                .ok_or_else(too_much)?;
        }
        for (mut wanted, recent) in wanted.into_iter().zip(recent) {
            for chunk in recent.into_iter().filter(|chunk| overlaps(chunk.min, chunk.max)) {
                budget = budget.checked_sub(u64::from(chunk.count)).ok_or_else(too_much)?;
                wanted.chunks.push(chunk);
            }
            let samples = joined(&wanted.chunks, from, to, &mut selected.warnings);
            if !samples.is_empty() {
                selected.series.push((wanted.labels, samples));
            }
        }
        selected.series.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(selected)
    }

    fn wanted(
        &self,
        state: &State,
        matchers: &[Matcher],
        from: Timestamp,
        to: Timestamp,
    ) -> Vec<Wanted> {
        let ids = state.head.select(matchers);
        let wanted = ids.into_iter().filter_map(|id| {
            let series = state.head.series(id)?;
            if series.max < from.0 || series.min > to.0 {
                return None;
            }
            let frozen = state.head.frozen.iter().flat_map(|frozen| frozen.of(id)).cloned();
            let chunks = frozen.chain(series.chunks()).collect();
            Some(Wanted { id, labels: series.labels.clone(), chunks })
        });
        wanted.collect()
    }

    /// Labels of the series that pass any of the sets of matchers and have samples then.
    pub fn series(&self, sets: &[Vec<Matcher>], from: Timestamp, to: Timestamp) -> Vec<Labels> {
        let state = self.state();
        let mut found = BTreeSet::new();
        for id in sets.iter().flat_map(|matchers| state.head.select(matchers)) {
            if let Some(series) = state.head.series(id)
                && series.max >= from.0
                && series.min <= to.0
            {
                found.insert(series.labels.clone());
            }
        }
        found.into_iter().collect()
    }

    /// Names of labels of series that have samples then; without sets of all series.
    pub fn label_names(
        &self,
        sets: &[Vec<Matcher>],
        from: Timestamp,
        to: Timestamp,
    ) -> Vec<String> {
        if sets.is_empty() {
            let state = self.state();
            let names = state.head.names();
            let names = names.filter(|(_, values)| any_in(&state, values, from, to));
            return names.map(|(name, _)| name.to_owned()).collect();
        }
        let series = self.series(sets, from, to);
        let names = series.iter().flat_map(Labels::iter).map(|(name, _)| name);
        names.map(str::to_owned).collect::<BTreeSet<String>>().into_iter().collect()
    }

    /// Values of a label of series that have samples then; without sets of all series.
    pub fn label_values(
        &self,
        name: &str,
        sets: &[Vec<Matcher>],
        from: Timestamp,
        to: Timestamp,
    ) -> Vec<String> {
        if sets.is_empty() {
            let state = self.state();
            let values = state.head.values(name).into_iter().flatten();
            let values =
                values.filter(|(_, ids)| ids.iter().any(|id| is_in(&state, *id, from, to)));
            return values.map(|(value, _)| value.to_string()).collect();
        }
        let series = self.series(sets, from, to);
        let values = series.iter().filter_map(|labels| labels.get(name));
        values.map(str::to_owned).collect::<BTreeSet<String>>().into_iter().collect()
    }
}

fn is_in(state: &State, id: u32, from: Timestamp, to: Timestamp) -> bool {
    state.head.series(id).is_some_and(|series| series.max >= from.0 && series.min <= to.0)
}

fn any_in(
    state: &State,
    values: &BTreeMap<Box<str>, Vec<u32>>,
    from: Timestamp,
    to: Timestamp,
) -> bool {
    values.values().flatten().any(|id| is_in(state, *id, from, to))
}

struct Wanted {
    id: u32,
    labels: Labels,
    chunks: Vec<Chunk>,
}

/// Reads the chunks of a block; `None` when they have more samples than may be read.
fn read_block(
    block: &Block,
    wanted: &mut [Wanted],
    overlaps: impl Fn(i64, i64) -> bool,
    budget: &mut u64,
    warnings: &mut Vec<String>,
) -> Option<()> {
    let (file, entries) = match block.entries() {
        Ok(Some(found)) => found,
        // It may have been removed meanwhile, because it is old.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Some(()),
        _ => {
            warnings.push(format!("{} cannot be read", block.path.display()));
            return Some(());
        }
    };
    let mut damaged = 0;
    for wanted in wanted {
        let first = entries.partition_point(|entry| entry.series < wanted.id);
        let own = entries.get(first..).unwrap_or_default().iter();
        for entry in own.take_while(|entry| entry.series == wanted.id) {
            if overlaps(entry.min, entry.max) {
                *budget = budget.checked_sub(u64::from(entry.count))?;
                match entry.read(&file, block) {
                    Some(chunk) => wanted.chunks.push(chunk),
                    None => damaged += 1,
                }
            }
        }
    }
    if damaged > 0 {
        warnings.push(format!("{}: {damaged} chunks are damaged", block.path.display()));
    }
    Some(())
}

/// Samples of chunks in the order in which they were written: what a later one spans, it hides.
fn joined(
    chunks: &[Chunk],
    from: Timestamp,
    to: Timestamp,
    warnings: &mut Vec<String>,
) -> Vec<Sample> {
    let in_order = chunks.windows(2).all(|pair| match pair {
        [a, b] => a.max < b.min,
        _ => true,
    });
    let mut samples: Vec<Sample> = Vec::new();
    for (index, chunk) in chunks.iter().enumerate() {
        let Some(read) = chunk.samples() else {
            warnings.push("a chunk is damaged".to_owned());
            continue;
        };
        let later = if in_order { &[] } else { chunks.get(index + 1..).unwrap_or_default() };
        let is_hidden =
            |time: i64| later.iter().any(|later| (later.min..=later.max).contains(&time));
        samples.extend(read.into_iter().filter(|sample| {
            sample.time >= from && sample.time <= to && !is_hidden(sample.time.0)
        }));
    }
    if !in_order {
        samples.sort_by_key(|sample| sample.time);
    }
    samples
}
