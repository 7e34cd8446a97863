//! What is judged of the observations of a target over time: figures as differences to those
//! before, most of which are small. That is 14 bytes each of a program that rests and some 40 of
//! one that works; as plain numbers the windows of 200 targets would take ten megabytes.

use model::{Observation, Timestamp};

use crate::window::halve_older;

const LEVELS_MAX: usize = 600;

const UNKNOWN: u64 = u64::MAX;

type Place = fn(&mut Observation) -> &mut Option<u64>;

/// The figures that `analyze::level` makes series of.
const PLACES: [Place; 10] = [
    |observation| &mut observation.process.rss_bytes,
    |observation| &mut observation.cgroup.file_bytes,
    |observation| &mut observation.runtime.heap_live_bytes,
    |observation| &mut observation.runtime.heap_in_use_bytes,
    |observation| &mut observation.runtime.heap_idle_bytes,
    |observation| &mut observation.runtime.heap_released_bytes,
    |observation| &mut observation.runtime.heap_alloc_bytes,
    |observation| &mut observation.runtime.stacks_bytes,
    |observation| &mut observation.runtime.sys_bytes,
    |observation| &mut observation.runtime.gc_cycles,
];

/// The time, and the figures in the order of [`PLACES`]; [`UNKNOWN`] where there was none.
type Level = [u64; PLACES.len() + 1];

/// A bounded number of observations, older ones further apart.
#[derive(Debug, Default)]
pub(crate) struct Levels {
    bytes: Vec<u8>,
    count: usize,
    last: Level,
}

impl Levels {
    /// Adds an observation.
    pub(crate) fn push(&mut self, observation: &mut Observation) {
        let mut level = [observation.time.0.cast_unsigned(); PLACES.len() + 1];
        for (value, place) in level.iter_mut().skip(1).zip(PLACES) {
            *value = place(observation).unwrap_or(UNKNOWN);
        }
        self.put(level);
        if self.count > LEVELS_MAX {
            let mut all: Vec<Level> = self.iter().collect();
            halve_older(&mut all, LEVELS_MAX);
            *self = Levels::default();
            all.into_iter().for_each(|level| self.put(level));
            self.bytes.shrink_to_fit();
        }
    }

    fn put(&mut self, level: Level) {
        for (value, before) in level.into_iter().zip(self.last) {
            let change = value.wrapping_sub(before).cast_signed();
            let mut rest = (change << 1 ^ change >> 63).cast_unsigned();
            while rest >= 0x80 {
                self.bytes.push(rest as u8 | 0x80);
                rest >>= 7;
            }
            self.bytes.push(rest as u8);
        }
        self.last = level;
        self.count += 1;
    }

    fn iter(&self) -> impl Iterator<Item = Level> {
        let (mut bytes, mut level) = (self.bytes.iter(), Level::default());
        (0..self.count).map(move |_| {
            for value in &mut level {
                let (mut change, mut shift) = (0, 0);
                for byte in bytes.by_ref() {
                    change |= u64::from(byte & 0x7f) << shift;
                    shift += 7;
                    if byte & 0x80 == 0 {
                        break;
                    }
                }
                let change = (change >> 1).cast_signed() ^ -(change & 1).cast_signed();
                *value = value.wrapping_add(change.cast_unsigned());
            }
            level
        })
    }

    /// The observations, with nothing but what is judged.
    pub(crate) fn observations(&self) -> Vec<Observation> {
        let observation = |level: Level| {
            let time = Timestamp(level[0].cast_signed());
            let mut observation = Observation { time, ..Observation::default() };
            for (place, value) in PLACES.iter().zip(level.into_iter().skip(1)) {
                *place(&mut observation) = Some(value).filter(|value| *value != UNKNOWN);
            }
            observation
        };
        self.iter().map(observation).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observation(step: u64) -> Observation {
        let mut observation =
            Observation { time: Timestamp(step as i64 * 10_000 - 50), ..Observation::default() };
        for (index, place) in PLACES.iter().enumerate() {
            // Up and down, small and large, known and not.
            let value = (step % 5).wrapping_mul(1 << (6 * index)).wrapping_sub(index as u64);
            *place(&mut observation) =
                (step % 7 != index as u64).then_some(value).filter(|value| *value != UNKNOWN);
        }
        observation
    }

    #[test]
    fn what_was_put_in_comes_out() {
        let mut levels = Levels::default();
        let all: Vec<Observation> = (0..500).map(observation).collect();
        all.iter().for_each(|observation| levels.push(&mut observation.clone()));
        assert_eq!(levels.observations(), all);
    }

    #[test]
    fn however_long_a_program_runs_it_takes_few_bytes() {
        let bytes_each = |moving: usize| {
            let mut levels = Levels::default();
            for step in 0..5000_u64 {
                let time = Timestamp(1_750_000_000_000 + step as i64 * 10_003);
                let mut observation = Observation { time, ..Observation::default() };
                for (index, place) in PLACES.iter().enumerate() {
                    let wave = step.wrapping_mul(7919) % 97 * 65_536;
                    let wave = if index < moving { wave } else { 0 };
                    *place(&mut observation) = Some((index as u64 + 1) * (30 << 20) + wave);
                }
                levels.push(&mut observation);
            }
            assert!(levels.count <= LEVELS_MAX);
            let last = levels.observations().pop().unwrap();
            assert_eq!(last.time, Timestamp(1_750_000_000_000 + 4999 * 10_003));
            levels.bytes.len() / levels.count
        };
        let [rests, works] = [0, 6].map(bytes_each);
        assert!(rests < 15 && works < 40, "{rests} {works}");
    }
}
