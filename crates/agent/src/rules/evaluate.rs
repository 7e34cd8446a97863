//! Whether a condition holds, and a sentence that says why: three-valued, as what is unknown is
//! neither true nor false.

use analyze::forecast::time_to_limit;
use model::{FindingKind, Observation, Pressure, Timestamp};

use super::rule::{Bound, By, Condition, End, EventKind, Past, Side};
use super::signals::{LimitOf, Signal, SignalKind, kill_limit};
use super::units::{Unit, show_millis};
use super::window::Window;

/// An answer of three-valued logic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    /// It holds.
    True,
    /// It does not.
    False,
    /// Not known.
    Unknown,
}

impl Truth {
    fn of(holds: bool) -> Truth {
        if holds { Truth::True } else { Truth::False }
    }
}

/// A finding as conditions need it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Known {
    pub(super) kind: FindingKind,
    pub(super) confidence: f64,
}

/// What is known of a target now.
pub(super) struct Sense<'a> {
    pub(super) now: Timestamp,
    pub(super) observation: Option<&'a Observation>,
    pub(super) cgroup_pressure: Option<Pressure>,
    /// `None` until there was a diagnosis.
    pub(super) findings: Option<&'a [Known]>,
    pub(super) events: &'a [EventKind],
    pub(super) windows: &'a [Window],
    pub(super) marks: &'a [Mark],
}

/// A high-water mark.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Mark {
    /// The mark; `None` until something was seen.
    pub height: Option<f64>,
    /// Since when what is reached is noted.
    pub since: i64,
    /// What was reached since.
    pub reached: f64,
}

impl Mark {
    /// Takes a value in; the mark falls when its time is over, and rises only by [`Mark::raise`].
    pub(super) fn see(&mut self, now: Timestamp, value: f64, floor: f64, resets: i64) {
        let Some(height) = self.height else {
            // What is already high when the watch begins is no news.
            *self = Mark { height: Some(value.max(floor)), since: now.0, reached: value };
            return;
        };
        // A clock that was set back lowers no mark, and keeps none up for longer.
        self.since = self.since.min(now.0);
        if now.0 - self.since >= resets {
            let height = Some(height.min(self.reached.max(floor)));
            *self = Mark { height, since: now.0, reached: value };
        }
        self.reached = self.reached.max(value);
    }

    /// The rule acted at this value.
    pub(super) fn raise(&mut self, value: f64) {
        self.height = Some(self.height.unwrap_or(value).max(value));
    }
}

/// What came of a condition.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub(super) truth: Truth,
    /// Figures and bound, without a verb for the truth.
    pub(super) text: String,
    /// How near to true, 0 to 1: which branch of several decides.
    nearness: f64,
    /// The figure.
    pub(super) value: Option<f64>,
}

impl Outcome {
    fn unknown(text: impl Into<String>) -> Outcome {
        Outcome { truth: Truth::Unknown, text: text.into(), nearness: 0.0, value: None }
    }

    /// Of a condition without one for its end: it ends when it does not hold.
    pub(super) fn ended(&self) -> Outcome {
        Outcome { truth: Truth::of(self.truth == Truth::False), ..self.clone() }
    }

    fn compare(side: Side, value: f64, bound: f64, text: String) -> Outcome {
        let (holds, nearness) = match side {
            Side::Above => (value > bound, value / bound),
            Side::Below => (value < bound, bound / value),
        };
        let nearness = if nearness.is_finite() { nearness.clamp(0.0, 1.0) } else { 0.0 };
        Outcome { truth: Truth::of(holds), text, nearness, value: Some(value) }
    }
}

/// Asks a condition.
pub(super) fn evaluate(condition: &Condition, sense: &Sense<'_>) -> Outcome {
    match condition {
        Condition::Any(inner) => any(inner, sense),
        Condition::All(inner) => all(inner, sense),
        Condition::Not(inner) => not(&evaluate(inner, sense)),
        Condition::Level { signal, side, bound } => level(signal, *side, *bound, sense),
        Condition::Deviation { past, quantile, by } => deviation(past, *quantile, *by, sense),
        Condition::Rate { past, side, bound } => rate(past, *side, *bound, sense),
        Condition::HighWater { signal, floor, factor, mark, .. } => {
            high_water(signal, *floor, *factor, *mark, sense)
        }
        Condition::Forecast { past, within, end, of } => forecast(past, *within, *end, *of, sense),
        Condition::Growth { past, by } => growth(past, *by, sense),
        Condition::Pressure { is_full, above, window, is_cgroup } => {
            let pressure = match is_cgroup {
                true => sense.cgroup_pressure,
                false => sense.observation.map(|observation| observation.pressure),
            };
            let whose = if *is_cgroup { "the cgroup" } else { "the machine" };
            stalls(pressure, *is_full, *above, *window, whose)
        }
        Condition::Finding { kind, confidence } => finding(*kind, *confidence, sense),
        Condition::Event(kind) => event(*kind, sense),
    }
}

fn any(inner: &[Condition], sense: &Sense<'_>) -> Outcome {
    let outcomes: Vec<Outcome> = inner.iter().map(|one| evaluate(one, sense)).collect();
    let count = outcomes.len();
    let of = |truth: Truth| outcomes.iter().filter(move |outcome| outcome.truth == truth);
    if let Some(first) = of(Truth::True).next() {
        return first.clone();
    }
    let nearest = of(Truth::False).max_by(|a, b| a.nearness.total_cmp(&b.nearness));
    if let Some(unknown) = of(Truth::Unknown).next() {
        // The rest is false, and what is unknown could still make it true.
        let text = match nearest {
            Some(nearest) => format!("{}; not known: {}", nearest.text, unknown.text),
            None => unknown.text.clone(),
        };
        return Outcome { text, ..unknown.clone() };
    }
    let Some(nearest) = nearest else { return Outcome::unknown("nothing is asked") };
    let text = match count {
        1 => nearest.text.clone(),
        _ => format!("{} (the nearest of {count})", nearest.text),
    };
    Outcome { text, ..nearest.clone() }
}

/// One that is false decides; those after it are not asked, so that cheap ones best come first.
fn all(inner: &[Condition], sense: &Sense<'_>) -> Outcome {
    let mut outcomes = Vec::with_capacity(inner.len());
    let mut nearness = 1.0_f64;
    for one in inner {
        let outcome = evaluate(one, sense);
        nearness = nearness.min(outcome.nearness);
        if outcome.truth == Truth::False {
            return Outcome { nearness, ..outcome };
        }
        outcomes.push(outcome);
    }
    if let Some(unknown) = outcomes.iter().find(|outcome| outcome.truth == Truth::Unknown) {
        return Outcome { nearness, ..unknown.clone() };
    }
    let texts: Vec<&str> = outcomes.iter().map(|outcome| outcome.text.as_str()).collect();
    let value = outcomes.iter().find_map(|outcome| outcome.value);
    Outcome { truth: Truth::True, text: texts.join(", and "), nearness, value }
}

fn not(inner: &Outcome) -> Outcome {
    let truth = match inner.truth {
        Truth::True => Truth::False,
        Truth::False => Truth::True,
        Truth::Unknown => Truth::Unknown,
    };
    let (text, nearness) = (format!("not: {}", inner.text), 1.0 - inner.nearness);
    Outcome { truth, text, nearness, value: inner.value }
}

fn side_words(side: Side) -> &'static str {
    match side {
        Side::Above => "above",
        Side::Below => "below",
    }
}

/// The observation and the signal's value in it, or why there is none.
fn value<'a>(signal: &Signal, sense: &Sense<'a>) -> Result<(&'a Observation, f64), Outcome> {
    let Some(observation) = sense.observation else {
        return Err(Outcome::unknown("nothing was observed lately"));
    };
    let value = signal.value(observation);
    let value =
        value.ok_or_else(|| Outcome::unknown(format!("{} is not known", signal.words())))?;
    Ok((observation, value))
}

fn level(signal: &Signal, side: Side, bound: Bound, sense: &Sense<'_>) -> Outcome {
    let (observation, value) = match value(signal, sense) {
        Ok(found) => found,
        Err(unknown) => return unknown,
    };
    let (unit, name, way) = (signal.unit, signal.words(), side_words(side));
    match bound {
        Bound::Amount(bound) => {
            let text = format!("{name} {}, bound: {way} {}", unit.show(value), unit.show(bound));
            Outcome::compare(side, value, bound, text)
        }
        Bound::Share(percent, of) => {
            let Some((limit, whose)) = of.bytes(observation) else {
                return Outcome::unknown(format!(
                    "the limit that {name} is compared with is not known"
                ));
            };
            let share = value / limit * 100.0;
            let text = format!(
                "{name} {} of {whose} ({} of {}), bound: {way} {}",
                Unit::Percent.show(share),
                unit.show(value),
                unit.show(limit),
                Unit::Percent.show(percent),
            );
            Outcome::compare(side, share, percent, text)
        }
    }
}

fn window<'a>(past: &Past, sense: &Sense<'a>) -> Option<&'a Window> {
    sense.windows.get(past.window)
}

/// What is said while a window is not covered.
fn too_little(past: &Past, sense: &Sense<'_>) -> Outcome {
    let (reach, samples) = window(past, sense).map_or((0, 0), |window| window.reach(sense.now));
    Outcome::unknown(format!(
        "of {} {samples} samples of {} are known, three over {} are needed",
        past.signal.words(),
        show_millis(reach),
        show_millis(past.span / 2)
    ))
}

fn deviation(past: &Past, quantile: Option<f64>, by: By, sense: &Sense<'_>) -> Outcome {
    let value = match value(past.signal, sense) {
        Ok((_, value)) => value,
        Err(unknown) => return unknown,
    };
    let usual = window(past, sense).and_then(|window| match quantile {
        Some(q) => window.quantile(sense.now, q),
        None => window.mean(sense.now),
    });
    let Some(usual) = usual else { return too_little(past, sense) };
    let bound = match by {
        By::Percent(percent) => usual * (1.0 + percent / 100.0),
        By::Amount(amount) => usual + amount,
    };
    let what = quantile.map_or("mean".to_owned(), |q| format!("{q} quantile"));
    let unit = past.signal.unit;
    let text = format!(
        "{} {}, its {what} of {} is {}, bound: above {}",
        past.signal.words(),
        unit.show(value),
        show_millis(past.span),
        unit.show(usual),
        unit.show(bound)
    );
    Outcome::compare(Side::Above, value, bound, text)
}

fn rate(past: &Past, side: Side, bound: f64, sense: &Sense<'_>) -> Outcome {
    let value = match value(past.signal, sense) {
        Ok((_, value)) => value,
        Err(unknown) => return unknown,
    };
    let pace = window(past, sense).and_then(|window| match past.signal.kind {
        SignalKind::Counter => window.increase_per_second(sense.now, value),
        SignalKind::Level => window.trend(sense.now, value).map(|trend| trend.slope.estimate),
    });
    let Some(pace) = pace else { return too_little(past, sense) };
    let unit = past.signal.unit;
    let text = format!(
        "{} changes by {} over {}, bound: {} {}",
        past.signal.words(),
        unit.show_rate(pace),
        show_millis(past.span),
        side_words(side),
        unit.show_rate(bound)
    );
    Outcome::compare(side, pace, bound, text)
}

fn high_water(signal: &Signal, floor: f64, factor: f64, mark: usize, sense: &Sense<'_>) -> Outcome {
    let value = match value(signal, sense) {
        Ok((_, value)) => value,
        Err(unknown) => return unknown,
    };
    let height = sense.marks.get(mark).and_then(|mark| mark.height);
    let Some(height) = height else {
        return Outcome::unknown(format!("no mark of {} is set yet", signal.words()));
    };
    let bound = if height > floor { height * factor } else { floor };
    let unit = signal.unit;
    let text = format!(
        "{} {}, high-water mark {}, bound: above {}",
        signal.words(),
        unit.show(value),
        unit.show(height),
        unit.show(bound)
    );
    Outcome::compare(Side::Above, value, bound, text)
}

fn forecast(past: &Past, within: f64, end: End, of: LimitOf, sense: &Sense<'_>) -> Outcome {
    let (observation, value) = match value(past.signal, sense) {
        Ok(found) => found,
        Err(unknown) => return unknown,
    };
    // The limit that kills has a usage of its own; of another the signal itself is the usage.
    let level = match of {
        LimitOf::Applying => kill_limit(observation),
        _ => of.bytes(observation).map(|(limit, whose)| (value, limit, whose)),
    };
    let Some((used, limit, whose)) = level else {
        return Outcome::unknown("the limit, or what is used of it, is not known");
    };
    let trend = window(past, sense).and_then(|window| window.trend(sense.now, value));
    let Some(trend) = trend else { return too_little(past, sense) };
    let name = past.signal.words();
    let soon = show_millis((within * 1000.0) as i64);
    let Some(time) = time_to_limit((limit - used).max(0.0) as u64, trend.slope) else {
        let text = format!("{name} does not grow; bound: {whose} within {soon}");
        return Outcome { truth: Truth::False, text, nearness: 0.0, value: None };
    };
    let (seconds, word) = match end {
        End::Low => (time.low, "at the earliest"),
        End::Estimate => (time.estimate, "probably"),
        End::High => (time.high, "at the latest"),
    };
    let when = match seconds.is_finite() && seconds < 1e9 {
        true => format!("in {}", show_millis((seconds * 1000.0) as i64)),
        false => "never".to_owned(),
    };
    let text = format!(
        "{name} grows by {}: {whose} is reached {word} {when}, bound: within {soon}",
        past.signal.unit.show_rate(trend.slope.estimate)
    );
    let mut outcome = Outcome::compare(Side::Below, seconds, within, text);
    outcome.value = seconds.is_finite().then_some(seconds);
    outcome
}

fn growth(past: &Past, by: By, sense: &Sense<'_>) -> Outcome {
    let value = match value(past.signal, sense) {
        Ok((_, value)) => value,
        Err(unknown) => return unknown,
    };
    let known = window(past, sense)
        .and_then(|window| Some((window.trend(sense.now, value)?, window.reach(sense.now).0)));
    let Some((trend, reach)) = known else { return too_little(past, sense) };
    // While the window fills, what it grew by since the watch began is all that is known.
    let seconds = reach as f64 / 1000.0;
    let (least, grown) = (trend.slope.low * seconds, trend.slope.estimate * seconds);
    let unit = past.signal.unit;
    let bound = match by {
        By::Amount(amount) => amount,
        By::Percent(percent) => (value - grown).max(0.0) * percent / 100.0,
    };
    let text = format!(
        "{} grows by {} in {}, at least by {}, bound: above {}",
        past.signal.words(),
        unit.show(grown),
        show_millis(reach),
        unit.show(least),
        unit.show(bound)
    );
    Outcome::compare(Side::Above, least, bound, text)
}

fn stalls(
    pressure: Option<Pressure>,
    is_full: bool,
    above: f64,
    window: u16,
    whose: &str,
) -> Outcome {
    let line = pressure.and_then(|pressure| if is_full { pressure.full } else { pressure.some });
    let Some(line) = line else {
        return Outcome::unknown(format!("the memory pressure of {whose} is not known"));
    };
    let value = match window {
        10 => line.avg10,
        60 => line.avg60,
        _ => line.avg300,
    };
    let who = if is_full { "all tasks" } else { "tasks" };
    let percent = |value| Unit::Percent.show(value);
    let text = format!(
        "{who} of {whose} wait for memory {} of the last {window} s, bound: above {}",
        percent(value),
        percent(above)
    );
    Outcome::compare(Side::Above, value, above, text)
}

fn finding(kind: Option<FindingKind>, confidence: f64, sense: &Sense<'_>) -> Outcome {
    let name = kind.map_or("leak", FindingKind::as_str);
    let Some(findings) = sense.findings else {
        return Outcome::unknown("there is no verdict yet");
    };
    let fits = |known: &&Known| kind.map_or(known.kind.is_leak(), |kind| known.kind == kind);
    let best = findings.iter().filter(fits).max_by(|a, b| a.confidence.total_cmp(&b.confidence));
    let Some(best) = best else {
        let text = format!("no finding is {name}");
        return Outcome { truth: Truth::False, text, nearness: 0.0, value: None };
    };
    let text = format!(
        "finding {} with confidence {:.2}, bound: at least {confidence}",
        best.kind.as_str(),
        best.confidence
    );
    let truth = Truth::of(best.confidence >= confidence);
    let nearness = (best.confidence / confidence.max(0.01)).clamp(0.0, 1.0);
    Outcome { truth, text, nearness, value: Some(best.confidence) }
}

fn event(kind: EventKind, sense: &Sense<'_>) -> Outcome {
    let has = sense.events.contains(&kind);
    let text = match (kind, has) {
        (EventKind::OomKill, true) => "the kernel killed for want of memory",
        (EventKind::OomKill, false) => "no OOM kill",
        (EventKind::LimitHit, true) => "the cgroup's limit was hit",
        (EventKind::LimitHit, false) => "the cgroup's limit was not hit",
        (EventKind::Signal, true) => "the agent was sent its signal",
        (EventKind::Signal, false) => "the agent was sent no signal",
        (EventKind::Call, true) => "it was called",
        (EventKind::Call, false) => "it was not called",
    };
    let (truth, nearness) = (Truth::of(has), f64::from(u8::from(has)));
    Outcome { truth, text: text.to_owned(), nearness, value: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::signals::signal;

    /// A number below `below` that is the same in every run.
    fn random(state: &mut u64, below: u64) -> u64 {
        *state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*state >> 33) % below
    }

    /// A random condition, and what it is by Kleene's tables: 1 true, 0 false, one half unknown.
    fn tree(state: &mut u64, depth: u32) -> (Condition, f64) {
        let kind = if depth == 0 { random(state, 3) } else { random(state, 6) };
        let inner = |state: &mut u64| -> Vec<(Condition, f64)> {
            (0..=random(state, 3)).map(|_| tree(state, depth - 1)).collect()
        };
        match kind {
            0 => (Condition::Event(EventKind::OomKill), 1.0),
            1 => (Condition::Event(EventKind::Signal), 0.0),
            2 => {
                let signal = signal("rss_bytes").unwrap();
                let bound = Bound::Amount(1.0);
                (Condition::Level { signal, side: Side::Above, bound }, 0.5)
            }
            3 => {
                let (inner, truths): (Vec<_>, Vec<f64>) = inner(state).into_iter().unzip();
                (Condition::Any(inner), truths.into_iter().fold(0.0, f64::max))
            }
            4 => {
                let (inner, truths): (Vec<_>, Vec<f64>) = inner(state).into_iter().unzip();
                (Condition::All(inner), truths.into_iter().fold(1.0, f64::min))
            }
            _ => {
                let (inner, truth) = tree(state, depth - 1);
                (Condition::Not(Box::new(inner)), 1.0 - truth)
            }
        }
    }

    #[test]
    fn marks_fall_with_time_and_not_with_the_clock() {
        let mut mark = Mark::default();
        let height = |mark: &mut Mark, seconds: i64, value: f64| {
            mark.see(Timestamp(seconds * 1000), value, 10.0, 60_000);
            mark.height
        };
        assert_eq!(height(&mut mark, 1000, 5.0), Some(10.0));
        mark.raise(50.0);
        assert_eq!(height(&mut mark, 1010, 30.0), Some(50.0));
        assert_eq!(height(&mut mark, 500, 20.0), Some(50.0), "the clock was set back");
        assert_eq!(height(&mut mark, 559, 20.0), Some(50.0));
        assert_eq!(height(&mut mark, 560, 20.0), Some(30.0));
        assert_eq!(height(&mut mark, 630, 5.0), Some(20.0));
        assert_eq!(height(&mut mark, 700, 5.0), Some(10.0), "the floor");
    }

    #[test]
    fn unknown_is_neither_true_nor_false() {
        let observation = Observation::default();
        let sense = Sense {
            now: Timestamp(0),
            observation: Some(&observation),
            cgroup_pressure: None,
            findings: None,
            events: &[EventKind::OomKill],
            windows: &[],
            marks: &[],
        };
        let mut state = 1;
        let mut seen = [0; 3];
        for _ in 0..5000 {
            let (condition, truth) = tree(&mut state, 4);
            let outcome = evaluate(&condition, &sense);
            let expected = match truth {
                1.0 => Truth::True,
                0.0 => Truth::False,
                _ => Truth::Unknown,
            };
            assert_eq!(outcome.truth, expected, "{condition:?}");
            assert!(!outcome.text.is_empty() && (0.0..=1.0).contains(&outcome.nearness));
            seen[(truth * 2.0) as usize] += 1;
        }
        assert!(seen.iter().all(|count| *count > 500), "{seen:?}");
    }
}
