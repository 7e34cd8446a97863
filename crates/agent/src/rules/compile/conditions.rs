//! Conditions, from what stands in a file.

use model::FindingKind;

use super::{Check, above_zero};
use crate::rules::config::{
    ConditionConfig, DeviationConfig, FindingConfig, ForecastConfig, GrowthConfig, HighWaterConfig,
    Placed, PressureConfig, Text,
};
use crate::rules::rule::{Bound, By, Condition, End, EventKind, Past, Side};
use crate::rules::signals::{LimitOf, Signal, SignalKind, nearest, signal};
use crate::rules::units::{
    Amount, Unit, parse_amount, parse_in, parse_millis, parse_percent, parse_rate,
};

impl Check {
    pub(super) fn condition(
        &mut self,
        place: &Placed<ConditionConfig>,
        is_inner: bool,
    ) -> Option<Condition> {
        let config = &place.value;
        if is_inner && let Some(text) = config.clear_below.as_ref().or(config.clear_above.as_ref())
        {
            self.fault(
                text,
                "clear_below and clear_above go with the whole of when; write clear: instead",
            );
        }
        let forms = [
            config.any.is_some(),
            config.all.is_some(),
            config.not.is_some(),
            config.signal.is_some(),
            config.high_water.is_some(),
            config.forecast.is_some(),
            config.growth.is_some(),
            config.pressure.is_some(),
            config.finding.is_some(),
            config.event.is_some(),
        ];
        if forms.into_iter().filter(|is_there| *is_there).count() != 1 {
            self.fault(
                place,
                "a condition is one of any, all, not, signal, high_water, forecast, growth, \
                 pressure, finding, event",
            );
            return None;
        }
        if config.signal.is_none() {
            self.strays(config);
        }
        if let Some(inner) = &config.any {
            return Some(Condition::Any(self.conditions(place, inner)?));
        }
        if let Some(inner) = &config.all {
            let inner = self.conditions(place, inner)?;
            self.contradictions(place, &inner);
            return Some(Condition::All(inner));
        }
        if let Some(inner) = &config.not {
            return Some(Condition::Not(Box::new(self.condition(inner, true)?)));
        }
        if let Some(high_water) = &config.high_water {
            return self.high_water(&high_water.value);
        }
        if let Some(forecast) = &config.forecast {
            return self.forecast(&forecast.value);
        }
        if let Some(growth) = &config.growth {
            return self.growth(&growth.value);
        }
        if let Some(pressure) = &config.pressure {
            return self.pressure(pressure);
        }
        if let Some(finding) = &config.finding {
            return self.finding(&finding.value);
        }
        if let Some(event) = &config.event {
            let kind = self.take(event, |text| one_of(text, &EventKind::WORDS))?;
            return Some(Condition::Event(kind));
        }
        self.signal_tests(place)
    }

    fn conditions(
        &mut self,
        place: &Placed<ConditionConfig>,
        inner: &[Placed<ConditionConfig>],
    ) -> Option<Vec<Condition>> {
        if inner.is_empty() {
            self.fault(place, "there is no condition in it");
            return None;
        }
        // All are checked, also after one that is wrong.
        let all: Vec<Option<Condition>> =
            inner.iter().map(|one| self.condition(one, true)).collect();
        all.into_iter().collect()
    }

    /// Keys that only go with a signal.
    fn strays(&mut self, config: &ConditionConfig) {
        let texts = [
            ("above", &config.above),
            ("below", &config.below),
            ("of", &config.of),
            ("rate_above", &config.rate_above),
            ("rate_below", &config.rate_below),
            ("over", &config.over),
        ];
        for (key, text) in texts {
            if let Some(text) = text {
                self.fault(text, format!("{key} goes with signal"));
            }
        }
        for deviation in [&config.above_mean, &config.above_quantile].into_iter().flatten() {
            self.fault(deviation, "above_mean and above_quantile go with signal");
        }
    }

    /// Bounds on one signal that exclude each other.
    fn contradictions<T>(&mut self, place: &Placed<T>, inner: &[Condition]) {
        let bounds = |wanted: Side| {
            inner.iter().filter_map(move |condition| match condition {
                Condition::Level { signal, side, bound } if *side == wanted => {
                    Some((signal.name, *bound))
                }
                _ => None,
            })
        };
        for (name, above) in bounds(Side::Above) {
            for (_, below) in bounds(Side::Below).filter(|(other, _)| *other == name) {
                let is_empty = match (above, below) {
                    (Bound::Amount(above), Bound::Amount(below)) => above >= below,
                    (Bound::Share(above, a), Bound::Share(below, b)) => a == b && above >= below,
                    _ => false,
                };
                if is_empty {
                    self.fault(
                        place,
                        format!("{name} can never be above the one and below the other bound"),
                    );
                }
            }
        }
    }

    /// All that is asked about one signal; each must hold.
    fn signal_tests(&mut self, place: &Placed<ConditionConfig>) -> Option<Condition> {
        let config = &place.value;
        let name = config.signal.as_ref()?;
        let signal = self.take(name, signal)?;
        let of = self
            .take_or(config.of.as_ref(), LimitOf::Applying, |text| one_of(text, &LimitOf::WORDS))?;
        let mut tests = Vec::new();
        for (text, side) in [(&config.above, Side::Above), (&config.below, Side::Below)] {
            if let Some(text) = text {
                let bound = self.bound(signal, of, text);
                tests.push(bound.map(|bound| Condition::Level { signal, side, bound }));
            }
        }
        for (deviation, is_quantile) in
            [(&config.above_mean, false), (&config.above_quantile, true)]
        {
            if let Some(deviation) = deviation {
                tests.push(self.deviation(signal, deviation, is_quantile));
            }
        }
        for (text, side) in [(&config.rate_above, Side::Above), (&config.rate_below, Side::Below)] {
            if let Some(text) = text {
                tests.push(self.rate(place, signal, text, side));
            }
        }
        if config.rate_above.is_none()
            && config.rate_below.is_none()
            && let Some(over) = &config.over
        {
            self.fault(over, "over goes with rate_above or rate_below");
        }
        if tests.is_empty() {
            self.fault(name, "nothing is asked about it: add above, below, above_mean, above_quantile, rate_above or rate_below");
        }
        let mut tests: Vec<Condition> = tests.into_iter().collect::<Option<_>>()?;
        self.contradictions(place, &tests);
        if tests.len() == 1 { tests.pop() } else { Some(Condition::All(tests)) }
    }

    pub(super) fn bound(&mut self, signal: &Signal, of: LimitOf, text: &Text) -> Option<Bound> {
        self.take(text, |text| match (signal.unit, parse_amount(text)?) {
            (Unit::Bytes, Amount::Percent(percent)) => Ok(Bound::Share(percent, of)),
            (unit, _) => parse_in(unit, text).map(Bound::Amount),
        })
    }

    fn past(&mut self, signal: &'static Signal, over: &Text) -> Option<Past> {
        let span = self.take(over, |text| match parse_millis(text)? {
            span @ 1000.. => Ok(span),
            _ => Err("a window of a second at least is needed".to_owned()),
        })?;
        // The engine says which window it is.
        Some(Past { signal, span, window: 0 })
    }

    fn deviation(
        &mut self,
        signal: &'static Signal,
        place: &Placed<DeviationConfig>,
        is_quantile: bool,
    ) -> Option<Condition> {
        let config = &place.value;
        let quantile = match (&config.q, is_quantile) {
            (Some(q), true) => Some(self.take(q, |text| fraction(text, 0.0))),
            (None, false) => None,
            (Some(q), false) => {
                self.fault(q, "q goes with above_quantile");
                return None;
            }
            (None, true) => {
                self.fault(place, "above_quantile needs q, as q: 0.95");
                return None;
            }
        };
        let by = self.by(signal, &config.by);
        let past = self.past(signal, &config.over);
        let quantile = match quantile {
            Some(read) => Some(read?),
            None => None,
        };
        Some(Condition::Deviation { past: past?, quantile, by: by? })
    }

    fn by(&mut self, signal: &Signal, text: &Text) -> Option<By> {
        self.take(text, |text| match (signal.unit, parse_amount(text)?) {
            (Unit::Percent, _) => parse_in(Unit::Percent, text).map(By::Amount),
            (_, Amount::Percent(percent)) => Ok(By::Percent(percent)),
            (unit, _) => parse_in(unit, text).map(By::Amount),
        })
    }

    fn rate(
        &mut self,
        place: &Placed<ConditionConfig>,
        signal: &'static Signal,
        text: &Text,
        side: Side,
    ) -> Option<Condition> {
        let bound = self.take(text, |text| parse_rate(signal.unit, text));
        let Some(over) = &place.value.over else {
            self.fault(text, "a rate needs over, as over: 5m");
            return None;
        };
        let past = self.past(signal, over);
        Some(Condition::Rate { past: past?, side, bound: bound? })
    }

    fn high_water(&mut self, config: &HighWaterConfig) -> Option<Condition> {
        let signal = self.take(&config.signal, signal)?;
        if signal.kind == SignalKind::Counter {
            self.fault(&config.signal, "a counter is always at its highest; use rate_above");
        }
        let floor = self.take_or(config.floor.as_ref(), 0.0, |text| parse_in(signal.unit, text));
        let by = self.take_or(config.by.as_ref(), 5.0, parse_percent);
        let resets = self.take_or(config.resets.as_ref(), 3_600_000, above_zero);
        let factor = 1.0 + by? / 100.0;
        Some(Condition::HighWater { signal, floor: floor?, factor, resets: resets?, mark: 0 })
    }

    fn forecast(&mut self, config: &ForecastConfig) -> Option<Condition> {
        let signal = match &config.signal {
            Some(text) => {
                let found = self.take(text, signal)?;
                if found.unit != Unit::Bytes || found.kind == SignalKind::Counter {
                    self.fault(text, "a forecast needs a size that reaches a limit");
                    return None;
                }
                found
            }
            None => signal("used_bytes").ok()?,
        };
        let within = self.take(&config.reaches_limit_within, above_zero);
        let end =
            self.take_or(config.bound.as_ref(), End::Estimate, |text| one_of(text, &End::WORDS));
        let of = self
            .take_or(config.of.as_ref(), LimitOf::Applying, |text| one_of(text, &LimitOf::WORDS));
        let past = self.past(signal, &config.over);
        let within = within? as f64 / 1000.0;
        Some(Condition::Forecast { past: past?, within, end: end?, of: of? })
    }

    fn growth(&mut self, config: &GrowthConfig) -> Option<Condition> {
        let signal = self.take(&config.signal, signal)?;
        if signal.kind == SignalKind::Counter {
            self.fault(&config.signal, "a counter always grows; use rate_above");
        }
        let by = self.by(signal, &config.by);
        let past = self.past(signal, &config.over);
        Some(Condition::Growth { past: past?, by: by? })
    }

    fn pressure(&mut self, place: &Placed<PressureConfig>) -> Option<Condition> {
        const WINDOWS: [(&str, u16); 3] = [("avg10", 10), ("avg60", 60), ("avg300", 300)];
        const PLACES: [(&str, bool); 2] = [("host", false), ("cgroup", true)];
        let config = &place.value;
        let (text, is_full) = match (&config.some, &config.full) {
            (Some(text), None) => (text, false),
            (None, Some(text)) => (text, true),
            _ => {
                self.fault(place, "pressure needs one of some and full, as some: 20%");
                return None;
            }
        };
        let above = self.take(text, |text| match parse_in(Unit::Percent, text)? {
            percent @ 0.0..100.0 => Ok(percent),
            _ => Err(format!("{text:?}: a share below 100% is expected")),
        });
        let window = self.take_or(config.window.as_ref(), 10, |text| one_of(text, &WINDOWS));
        let is_cgroup = self.take_or(config.of.as_ref(), false, |text| one_of(text, &PLACES));
        let (above, window, is_cgroup) = (above?, window?, is_cgroup?);
        Some(Condition::Pressure { is_full, above, window, is_cgroup })
    }

    fn finding(&mut self, config: &FindingConfig) -> Option<Condition> {
        let kind = self.take(&config.kind, finding_kind);
        let read = |text: &str| fraction(text, 0.0);
        let confidence = self.take_or(config.confidence.as_ref(), 0.5, read);
        Some(Condition::Finding { kind: kind?, confidence: confidence? })
    }
}

fn fraction(text: &str, least: f64) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number| (least..=1.0).contains(number));
    number.ok_or_else(|| format!("{text:?}: a number from {least} to 1 is expected"))
}

fn finding_kind(text: &str) -> Result<Option<FindingKind>, String> {
    if text == "leak" {
        return Ok(None);
    }
    FindingKind::parse(text).map(Some).ok_or_else(|| {
        let words = FindingKind::ALL.map(FindingKind::as_str);
        match nearest(text, words.into_iter()) {
            Some(meant) => format!("there is no finding {text:?}; did you mean {meant}?"),
            None => format!("there is no finding {text:?}: leak, {}", words.join(", ")),
        }
    })
}

fn one_of<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, String> {
    let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
    found.ok_or_else(|| {
        let all: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        format!("{text:?} is none of {}", all.join(", "))
    })
}
