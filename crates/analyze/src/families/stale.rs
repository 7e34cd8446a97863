//! Samples of an exposition, and the end of series that it no longer has.

use std::collections::HashMap;

use model::series::{STALE, Value};
use model::{Family, Labels, Timestamp};

/// The value of a series that is gone.
const END: Value = Value::Float(STALE);

/// What an exposition had last time: what is gone now ends with a staleness marker, as
/// Prometheus does it for pages it scrapes.
#[derive(Debug, Default)]
pub struct Exposed {
    /// Series with the round that had them last.
    last: HashMap<Labels, u32, ahash::RandomState>,
    round: u32,
    /// Of this round.
    gone: Vec<Labels>,
}

impl Exposed {
    /// The samples of families at a time: points that bring no time of their own get this one.
    /// Series of the time before that are not there end.
    pub fn samples<'a>(
        &'a mut self,
        families: &'a [Family],
        time: Timestamp,
    ) -> impl Iterator<Item = (&'a Labels, Timestamp, &'a Value)> {
        self.round = self.round.wrapping_add(1);
        let (round, mut present) = (self.round, 0);
        // With times of their own, series may pause: Prometheus marks none of them either.
        let points = || families.iter().flat_map(|family| &family.points);
        for point in points().filter(|point| point.time.is_none()) {
            match self.last.get_mut(&point.labels) {
                Some(last) => present += usize::from(std::mem::replace(last, round) != round),
                None => {
                    self.last.insert(point.labels.clone(), round);
                    present += 1;
                }
            }
        }
        self.gone.clear();
        if present < self.last.len() {
            let gone = self.last.extract_if(|_, last| *last != round);
            self.gone.extend(gone.map(|(labels, _)| labels));
            self.gone.sort();
            self.last.shrink_to(present * 2);
        }
        let ended = self.gone.iter().map(move |labels| (labels, time, &END));
        points()
            .map(move |point| (&point.labels, point.time.unwrap_or(time), &point.value))
            .chain(ended)
    }
}
