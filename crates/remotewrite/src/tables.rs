//! What a destination knows of the series in the log, under the labels that it sends.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use ahash::AHashMap;
use model::Labels;
use model::series::{Exemplar, Value};

use crate::config::Config;
use crate::item::{Counts, Item, Meta, Series};
use crate::log::{Entry, Log, Record};
use crate::numbers::Reason;
use crate::relabel::{Rule, relabel};

/// Segments after which a series that nothing defined again is given up.
const SEGMENTS_KEPT: u32 = 2;

/// More are not sent.
const SERIES_MAX: usize = 1 << 24;

/// Families by name; shared with those who send them.
pub(crate) type Families = Arc<Mutex<BTreeMap<String, Arc<Meta>>>>;

/// What a destination does with series.
pub(crate) struct Tables {
    log: Arc<Log>,
    external: Labels,
    rules: Vec<Rule>,
    has_exemplars: bool,
    has_histograms: bool,
    series: Vec<Slot>,
    metas: AHashMap<u32, Arc<Meta>>,
    exemplars: AHashMap<u32, Vec<Exemplar>>,
    pub(crate) families: Families,
}

#[derive(Clone, Default)]
struct Slot {
    /// Of the labels in the log: what is defined again mostly is what it was.
    digest: u64,
    segment: u32,
    start: i64,
    /// Nothing when a rule drops it, or when it is not known.
    series: Option<Arc<Series>>,
}

/// What a record has for this destination.
#[derive(Default)]
pub(crate) struct Taken {
    pub(crate) items: Vec<Item>,
    pub(crate) dropped: Vec<(Reason, Counts)>,
    pub(crate) highest_time: i64,
}

impl Tables {
    pub(crate) fn new(log: Arc<Log>, external: Labels, config: &Config) -> Tables {
        Tables {
            log,
            external,
            rules: config.write_relabel_configs.clone(),
            has_exemplars: config.send_exemplars,
            has_histograms: config.send_native_histograms,
            series: Vec::new(),
            metas: AHashMap::new(),
            exemplars: AHashMap::new(),
            families: Families::default(),
        }
    }

    /// Takes what a record defines; its values too, unless they were sent before.
    pub(crate) fn take(&mut self, record: &Record, is_wanted: bool, now: i64) -> Taken {
        let mut taken = Taken::default();
        let (mut unwanted, mut held) = (Counts::default(), Counts::default());
        for (index, entry) in record.entries().enumerate() {
            let (number, time, value) = match entry {
                Entry::Family(number, meta) => {
                    self.family(number, meta);
                    continue;
                }
                Entry::Series { number, family, labels } => {
                    self.define(number, family, &labels, record.position.segment);
                    continue;
                }
                Entry::Start(number, start) => {
                    if let Some(slot) = self.series.get_mut(number as usize) {
                        slot.start = start;
                    }
                    continue;
                }
                Entry::Exemplar(number, exemplar) => {
                    if self.has_exemplars {
                        self.exemplars.entry(number).or_default().push(exemplar);
                    }
                    continue;
                }
                Entry::Sample { number, time, value } => (number, time, Value::Float(value)),
                Entry::Histogram { number, time, value } => (number, time, Value::Histogram(value)),
            };
            let exemplars = match self.exemplars.is_empty() {
                true => None,
                false => self.exemplars.remove(&number).map(Vec::into_boxed_slice),
            };
            if !is_wanted {
                continue;
            }
            taken.highest_time = taken.highest_time.max(time);
            let is_histogram = value.float().is_none();
            let slot = self.series.get(number as usize);
            let series = slot.and_then(|slot| slot.series.as_ref());
            let Some(series) = series.filter(|_| !is_histogram || self.has_histograms) else {
                count(&mut unwanted, is_histogram);
                continue;
            };
            if series.held_until.load(std::sync::atomic::Ordering::Relaxed) > now {
                count(&mut held, is_histogram);
                continue;
            }
            let mut position = record.position;
            position.index = u32::try_from(index).unwrap_or(u32::MAX);
            let start = slot.map_or(0, |slot| slot.start);
            let series = Arc::clone(series);
            taken.items.push(Item { series, time, start, value, exemplars, position });
        }
        taken.dropped = vec![(Reason::DroppedSeries, unwanted), (Reason::Quarantined, held)];
        taken.dropped.retain(|(_, counts)| !counts.is_nothing());
        taken
    }

    fn family(&mut self, number: u32, meta: Meta) {
        let known = self.metas.get(&number);
        if known.is_none_or(|known| **known != meta) {
            let meta = Arc::new(meta);
            let mut families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
            families.insert(meta.name.clone(), Arc::clone(&meta));
            self.metas.insert(number, meta);
        }
    }

    fn define(&mut self, number: u32, family: u32, labels: &Labels, segment: u32) {
        let index = number as usize;
        // Numbers are given out one after the other, so the list is as long as there are series;
        // others come from damage.
        if index >= SERIES_MAX {
            return;
        }
        if index >= self.series.len() {
            self.series.resize(index + 1, Slot::default());
        }
        let Some(slot) = self.series.get_mut(index) else { return };
        let digest = crate::digest(labels) | 1;
        slot.segment = segment;
        slot.start = 0;
        let meta = self.metas.get(&family);
        let is_known = slot.digest == digest
            && slot.series.as_ref().is_none_or(|series| match (&series.meta, meta) {
                (Some(known), Some(meta)) => Arc::ptr_eq(known, meta),
                (known, meta) => known.is_none() && meta.is_none(),
            });
        if is_known {
            return;
        }
        slot.digest = digest;
        let missing: Vec<(&str, &str)> =
            self.external.iter().filter(|(name, _)| labels.get(name).is_none()).collect();
        let all = if missing.is_empty() { labels.clone() } else { labels.with(missing) };
        let kept = relabel(&self.rules, &all).filter(|labels| !labels.is_empty());
        slot.series = kept.map(|kept| {
            let labels = if kept == *labels { self.log.shared(&kept) } else { kept };
            Arc::new(Series::new(labels, meta.cloned()))
        });
    }

    /// Gives up what the last segments had nothing of.
    pub(crate) fn forget(&mut self, segment: u32) {
        for slot in &mut self.series {
            if slot.segment + SEGMENTS_KEPT < segment {
                *slot = Slot::default();
            }
        }
        self.exemplars.clear();
    }
}

fn count(counts: &mut Counts, is_histogram: bool) {
    match is_histogram {
        true => counts.histograms += 1,
        false => counts.samples += 1,
    }
}
