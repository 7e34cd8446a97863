//! Filters by label (internal/driver/driver_focus.go).

use model::{Label, LabelValue, Profile};

use super::labels::LabelUnits;
use super::measure::scale;
use super::regexp::Pattern;

/// A filter of samples by their labels.
#[derive(Clone, Debug)]
pub struct TagFilter {
    key: Option<String>,
    test: Test,
}

#[derive(Clone, Debug)]
enum Test {
    Range(Range),
    Patterns(Vec<Pattern>),
}

/// `32kb`, `:64kb`, `4mb:` or `12kb:64mb`.
#[derive(Clone, Debug)]
struct Range {
    low: Option<f64>,
    high: Option<f64>,
    unit: String,
}

impl TagFilter {
    /// Compiles the value of the option `name`. The second result tells the user
    /// when the value was taken as a range.
    ///
    /// # Errors
    /// When an expression is not valid.
    pub fn compile(name: &str, value: &str) -> Result<(TagFilter, Option<String>), String> {
        let (key, value) = match value.split_once('=') {
            Some((key, value)) => (Some(key.to_owned()), value),
            None => (None, value),
        };
        // An empty key is no key.
        let key = key.filter(|key| !key.is_empty());
        if let Some(range) = Range::parse(value) {
            let note = format!("{name}:Interpreted '{value}' as range, not regexp");
            return Ok((TagFilter { key, test: Test::Range(range) }, Some(note)));
        }
        let compile =
            |text| Pattern::new(text).map_err(|error| format!("parsing {name} regexp: {error}"));
        let patterns = value.split(',').map(compile).collect::<Result<_, _>>()?;
        Ok((TagFilter { key, test: Test::Patterns(patterns) }, None))
    }

    /// Reports whether a sample with these labels matches.
    pub fn is_match(&self, profile: &Profile, labels: &[Label], units: &LabelUnits) -> bool {
        let of_key =
            |label: &&Label| self.key.as_deref().is_none_or(|key| profile.str(label.key) == key);
        let mut wanted = labels.iter().filter(of_key);
        match &self.test {
            Test::Range(range) => wanted.any(|label| match label.value {
                LabelValue::Num(number, _) => range.contains(number, units.get(label.key)),
                LabelValue::Str(_) => false,
            }),
            Test::Patterns(patterns) if self.key.is_some() => wanted.any(|label| {
                let LabelValue::Str(text) = label.value else { return false };
                patterns.iter().any(|pattern| pattern.is_match(profile.str(text)))
            }),
            Test::Patterns(patterns) => {
                let texts: Vec<String> = wanted
                    .filter_map(|label| match label.value {
                        LabelValue::Str(text) => {
                            Some(format!("{}:{}", profile.str(label.key), profile.str(text)))
                        }
                        LabelValue::Num(..) => None,
                    })
                    .collect();
                patterns.iter().all(|pattern| texts.iter().any(|text| pattern.is_match(text)))
            }
        }
    }
}

impl Range {
    fn parse(text: &str) -> Option<Range> {
        let (first, after) = bound(text.strip_prefix(':').unwrap_or(text))?;
        let (low, unit) = scale(first.0, first.1, first.1);
        let unit = unit.to_owned();
        match (text.starts_with(':'), after) {
            (true, "") => Some(Range { low: None, high: Some(low), unit }),
            (true, _) => None,
            (false, "") => Some(Range { low: Some(low), high: Some(low), unit }),
            (false, ":") => Some(Range { low: Some(low), high: None, unit }),
            (false, after) => {
                let (second, rest) = bound(after.strip_prefix(':')?)?;
                let (high, high_unit) = scale(second.0, second.1, &unit);
                let is_whole = rest.is_empty() && high_unit == unit;
                is_whole.then(|| Range { low: Some(low), high: Some(high), unit: unit.clone() })
            }
        }
    }

    fn contains(&self, value: i64, from: &str) -> bool {
        let (scaled, unit) = scale(value, from, &self.unit);
        unit == self.unit
            && self.low.is_none_or(|low| scaled >= low)
            && self.high.is_none_or(|high| scaled <= high)
    }
}

/// A number, its unit, and what follows.
fn bound(text: &str) -> Option<((i64, &str), &str)> {
    let sign = usize::from(text.starts_with(['+', '-']));
    let digits = text.bytes().skip(sign).take_while(u8::is_ascii_digit).count();
    let (number, rest) = text.split_at_checked(sign + digits)?;
    let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
    let (unit, rest) = rest.split_at_checked(letters)?;
    let number = (digits > 0).then(|| number.trim_start_matches('+').parse().ok())??;
    Some(((number, unit), rest))
}

/// Keeps samples that match `focus` and not `ignore`; tells which matched anything.
pub fn filter_samples(
    profile: &mut Profile,
    focus: Option<&TagFilter>,
    ignore: Option<&TagFilter>,
    units: &LabelUnits,
) -> (bool, bool) {
    let mut matched = (false, false);
    if focus.is_none() && ignore.is_none() {
        return (!profile.samples.is_empty(), false);
    }
    let mut samples = std::mem::take(&mut profile.samples);
    let mut verdicts = Vec::with_capacity(samples.len());
    for sample in samples.ids() {
        let labels = samples.labels(sample);
        let is_match = |filter: &TagFilter| filter.is_match(profile, labels, units);
        let in_focus = focus.is_none_or(is_match);
        let is_ignored = ignore.is_some_and(is_match);
        matched.0 |= in_focus;
        matched.1 |= is_ignored;
        verdicts.push(in_focus && !is_ignored);
    }
    samples.retain(|sample| verdicts.get(sample.0 as usize) == Some(&true));
    profile.samples = samples;
    matched
}

/// Keeps labels whose key matches `show` and not `hide`; tells which matched anything.
pub fn filter_labels(
    profile: &mut Profile,
    show: Option<&Pattern>,
    hide: Option<&Pattern>,
) -> (bool, bool) {
    let mut matched = (false, false);
    if show.is_none() && hide.is_none() {
        return (true, false);
    }
    let mut samples = std::mem::take(&mut profile.samples);
    samples.edit_labels(|_, labels| {
        labels.retain(|label| {
            let name = profile.str(label.key);
            let is_shown = show.is_none_or(|pattern| pattern.is_match(name));
            let is_hidden = hide.is_some_and(|pattern| pattern.is_match(name));
            matched.0 |= is_shown;
            matched.1 |= is_hidden;
            is_shown && !is_hidden
        });
    });
    profile.samples = samples;
    matched
}
