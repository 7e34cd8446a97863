//! The recent past of one signal of one target, in bounded memory.
//!
//! A window keeps at most [`SLOTS`] stretches of its span. With no more samples than that it
//! is exact. Beyond, samples of one stretch share a slot: their mean stays exact, and for
//! quantiles and trends one of them, drawn evenly, stands for the rest.

use std::collections::VecDeque;

use analyze::stats::{Trend, theil_sen};
use model::Timestamp;

/// Stretches a window is divided into at most.
pub(super) const SLOTS: usize = 96;

/// Fewer samples say nothing of what is usual.
const SAMPLES_MIN: u32 = 3;

/// Samples of one stretch.
#[derive(Clone, Copy, Debug)]
struct Slot {
    start: i64,
    sum: f64,
    /// One of them.
    drawn: f64,
    count: u32,
    /// When that one was, after `start`.
    drawn_after: u32,
}

/// A trailing window.
#[derive(Clone, Debug)]
pub(super) struct Window {
    span: i64,
    slots: VecDeque<Slot>,
    /// For draws: the same samples give the same answers.
    random: u64,
}

impl Window {
    /// A window over this many milliseconds.
    pub(super) fn new(span: i64) -> Window {
        Window { span, slots: VecDeque::new(), random: 0x9e37_79b9_7f4a_7c15 }
    }

    /// Forgets everything: the process is another one.
    pub(super) fn clear(&mut self) {
        self.slots.clear();
    }

    /// Adds a sample. Samples that lie after it are of a clock that was set back, and go.
    pub(super) fn push(&mut self, now: Timestamp, value: f64) {
        while self.slots.back().is_some_and(|slot| slot.start > now.0) {
            self.slots.pop_back();
        }
        while self.slots.front().is_some_and(|slot| slot.start <= now.0 - self.span) {
            self.slots.pop_front();
        }
        let width = self.span / SLOTS as i64;
        let draw = self.draw();
        match self.slots.back_mut().filter(|slot| now.0 - slot.start < width) {
            Some(slot) => {
                slot.sum += value;
                slot.count = slot.count.saturating_add(1);
                // Each of the samples so far is the one that stays with the same chance.
                if draw.is_multiple_of(u64::from(slot.count)) {
                    slot.drawn = value;
                    slot.drawn_after = u32::try_from(now.0 - slot.start).unwrap_or(u32::MAX);
                }
            }
            None => {
                let (sum, drawn) = (value, value);
                self.slots.push_back(Slot { start: now.0, sum, drawn, count: 1, drawn_after: 0 });
            }
        }
        // Slots begin with a sample, so that one more than fits may have begun.
        if self.slots.len() > SLOTS {
            self.slots.pop_front();
        }
    }

    /// xorshift64: nothing depends on its quality.
    fn draw(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random >> 16
    }

    /// Slots within the span before `now`, when they tell enough: three samples that reach
    /// half of the span back.
    fn covered(&self, now: Timestamp) -> Option<impl Iterator<Item = &Slot>> {
        let (reach, samples) = self.reach(now);
        (samples >= SAMPLES_MIN && reach >= self.span / 2).then(|| self.inside(now))
    }

    fn inside(&self, now: Timestamp) -> impl Iterator<Item = &Slot> {
        let from = now.0 - self.span;
        self.slots.iter().filter(move |slot| slot.start > from && slot.start <= now.0)
    }

    /// Times and values that stand for the slots before `now`, then the sample now.
    fn points(&self, now: Timestamp, value: f64) -> Option<Vec<(i64, f64)>> {
        let point = |slot: &Slot| (slot.start + i64::from(slot.drawn_after), slot.drawn);
        Some(self.covered(now)?.map(point).chain([(now.0, value)]).collect())
    }

    /// The mean of what came before `now`; `None` until enough is known.
    pub(super) fn mean(&self, now: Timestamp) -> Option<f64> {
        let (sum, count) = self
            .covered(now)?
            .fold((0.0, 0.0), |(sum, count), slot| (sum + slot.sum, count + f64::from(slot.count)));
        Some(sum / count)
    }

    /// The quantile of what came before `now`, between neighbours as Prometheus has it.
    pub(super) fn quantile(&self, now: Timestamp, q: f64) -> Option<f64> {
        let mut weighted: Vec<(f64, u32)> =
            self.covered(now)?.map(|slot| (slot.drawn, slot.count)).collect();
        weighted.sort_by(|a, b| a.0.total_cmp(&b.0));
        let count: u32 = weighted.iter().map(|(_, count)| *count).fold(0, u32::saturating_add);
        let rank = q.clamp(0.0, 1.0) * f64::from(count.saturating_sub(1));
        let at = |rank: f64| {
            let mut before = 0.0;
            let found = weighted.iter().find(|(_, count)| {
                before += f64::from(*count);
                rank < before
            });
            found.or(weighted.last()).map(|(value, _)| *value)
        };
        let (low, high) = (at(rank.floor())?, at(rank.ceil())?);
        Some(low + (high - low) * rank.fract())
    }

    /// A robust line through the window and the sample now, in units a second.
    pub(super) fn trend(&self, now: Timestamp, value: f64) -> Option<Trend> {
        let points = self.points(now, value)?;
        let seconds = |(time, value): &(i64, f64)| ((time - now.0) as f64 / 1000.0, *value);
        theil_sen(&points.iter().map(seconds).collect::<Vec<_>>())
    }

    /// How fast a counter grew up to now, in units a second; a fall is a new start from zero.
    pub(super) fn increase_per_second(&self, now: Timestamp, value: f64) -> Option<f64> {
        let points = self.points(now, value)?;
        let first = points.first()?.0;
        let grown: f64 = points
            .windows(2)
            .filter_map(|pair| {
                let [(_, before), (_, after)] = pair else { return None };
                Some(if after < before { *after } else { after - before })
            })
            .sum();
        (now.0 > first).then(|| grown / ((now.0 - first) as f64 / 1000.0))
    }

    /// What it holds in memory.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of::<Window>() + self.slots.capacity() * size_of::<Slot>()
    }

    /// How much is known, for people who wait: milliseconds reached back, and samples.
    pub(super) fn reach(&self, now: Timestamp) -> (i64, u32) {
        let samples = self.inside(now).map(|slot| slot.count).fold(0, u32::saturating_add);
        (self.inside(now).next().map_or(0, |slot| now.0 - slot.start), samples)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A generator that repeats itself from run to run.
    fn random(state: &mut u64) -> f64 {
        *state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*state >> 33) as f64 / f64::from(1_u32 << 31)
    }

    #[test]
    fn with_few_samples_it_is_what_brute_force_gives() {
        let mut state = 7;
        for round in 0..200 {
            let span = 60_000 + (random(&mut state) * 3_600_000.0) as i64;
            let step = span / 60;
            let mut window = Window::new(span);
            let (mut all, mut now): (Vec<(i64, f64)>, i64) = (Vec::new(), 1_000_000);
            for _ in 0..150 {
                // At least a slot's width apart, with gaps.
                now += step + (random(&mut state) * step as f64) as i64;
                if random(&mut state) < 0.05 {
                    now += span / 3;
                }
                let inside: Vec<(i64, f64)> =
                    all.iter().copied().filter(|(time, _)| *time > now - span).collect();
                let is_enough = inside.len() >= 3 && now - inside[0].0 >= span / 2;
                let mut sorted: Vec<f64> = inside.iter().map(|(_, value)| *value).collect();
                sorted.sort_by(f64::total_cmp);
                let mean = sorted.iter().sum::<f64>() / sorted.len() as f64;
                let got = window.mean(Timestamp(now));
                assert_eq!(got.is_some(), is_enough, "round {round}");
                if let Some(got) = got {
                    assert!((got - mean).abs() <= 1e-9 * mean.abs().max(1.0), "{got} {mean}");
                    let rank = 0.9 * (sorted.len() - 1) as f64;
                    let (low, high) = (sorted[rank as usize], sorted[rank.ceil() as usize]);
                    let expected = low + (high - low) * rank.fract();
                    let got = window.quantile(Timestamp(now), 0.9).unwrap();
                    assert!((got - expected).abs() < 1e-9, "{got} {expected}");
                }
                let value = random(&mut state) * 100.0;
                window.push(Timestamp(now), value);
                all.push((now, value));
            }
        }
    }

    #[test]
    fn with_many_samples_it_stays_small_and_near() {
        let mut window = Window::new(600_000);
        let mut state = 3;
        let mut all = Vec::new();
        for index in 0..20_000_i64 {
            let value = 1000.0 * random(&mut state);
            window.push(Timestamp(index * 100), value);
            all.push(value);
            assert!(window.slots.len() <= SLOTS);
        }
        let recent = &all[all.len() - 6000..];
        let mean = recent.iter().sum::<f64>() / 6000.0;
        let now = Timestamp(2_000_000);
        assert!((window.mean(now).unwrap() - mean).abs() < 10.0);
        // 96 draws out of 6000: the 90 % quantile has a deviation of 3 %.
        assert!((window.quantile(now, 0.9).unwrap() - 900.0).abs() < 120.0);
        assert_eq!(size_of::<Slot>(), 32);
    }

    #[test]
    fn trends_counters_and_clocks() {
        let mut window = Window::new(600_000);
        for index in 0..40_i64 {
            window.push(Timestamp(index * 10_000), 5.0 * index as f64);
        }
        let slope = window.trend(Timestamp(400_000), 200.0).unwrap().slope;
        assert!((slope.estimate - 0.5).abs() < 1e-12 && (slope.low - 0.5).abs() < 1e-12);
        // The process started anew in between: 10 up to the end, 30 before.
        let mut counter = Window::new(60_000);
        for (second, value) in [(0, 0.0), (10, 10.0), (20, 20.0), (30, 30.0), (40, 5.0)] {
            counter.push(Timestamp(second * 1000), value);
        }
        assert_eq!(counter.increase_per_second(Timestamp(50_000), 20.0), Some(1.0));
        // The clock is set back an hour: nothing of the future is left.
        window.push(Timestamp(-3_200_000), 1.0);
        assert_eq!(window.reach(Timestamp(-3_200_000)), (0, 1));
        assert_eq!(window.mean(Timestamp(-3_200_000)), None);
        // And forward: everything is too old.
        window.push(Timestamp(1 << 40), 1.0);
        assert_eq!(window.reach(Timestamp(1 << 40)), (0, 1));
    }
}
