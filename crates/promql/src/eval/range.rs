//! Functions of samples over time: `rate`, `*_over_time`, `predict_linear` and the like.

use std::sync::Arc;

use model::series::{NativeHistogram, Sample, Value};

use super::math::{Kahan, Mean, quantile, regression};
use super::native::{self, Summed};
use crate::error::Error;

/// The samples of one series within a range.
pub(super) struct Window<'a> {
    /// In order, none stale.
    pub samples: &'a [Sample],
    /// Exclusive.
    pub start: i64,
    /// Inclusive.
    pub end: i64,
    /// The evaluation's time, before `offset` and `@`.
    pub now: i64,
}

/// `None`: the series has no result.
type Outcome = Result<Option<Value>, Error>;

/// A function of a window and of numbers.
pub(super) type RangeFunction = fn(&Window<'_>, &[f64]) -> Outcome;

/// The function of a name.
pub(super) fn find(name: &str) -> Option<RangeFunction> {
    let function: RangeFunction = match name {
        "rate" => |w, _| Ok(extrapolated(w, true, true)),
        "increase" => |w, _| Ok(extrapolated(w, true, false)),
        "delta" => |w, _| Ok(extrapolated(w, false, false)),
        "irate" => |w, _| Ok(last_two(w, true)),
        "idelta" => |w, _| Ok(last_two(w, false)),
        "deriv" => |w, _| Ok(deriv(w)),
        "predict_linear" => |w, args| Ok(predict_linear(w, args)),
        "double_exponential_smoothing" => smoothed,
        "resets" => |w, _| Ok(count_pairs(w, is_reset)),
        "changes" => |w, _| Ok(count_pairs(w, is_changed)),
        "avg_over_time" => |w, _| Ok(avg(w)),
        "sum_over_time" => |w, _| Ok(sum(w)),
        "min_over_time" => |w, _| Ok(extreme(w, |x, best| x < best).map(|(_, x)| x).map(float)),
        "max_over_time" => |w, _| Ok(extreme(w, |x, best| x > best).map(|(_, x)| x).map(float)),
        "ts_of_min_over_time" => |w, _| Ok(extreme(w, |x, best| x <= best).map(seconds)),
        "ts_of_max_over_time" => |w, _| Ok(extreme(w, |x, best| x >= best).map(seconds)),
        "count_over_time" => |w, _| Ok(Some(float(w.samples.len() as f64))),
        "present_over_time" | "absent_over_time" => |_, _| Ok(Some(float(1.0))),
        "first_over_time" => |w, _| Ok(w.samples.first().map(|s| s.value.clone())),
        "last_over_time" => |w, _| Ok(w.samples.last().map(|s| s.value.clone())),
        "ts_of_first_over_time" => |w, _| Ok(w.samples.first().map(|s| seconds((s.time.0, 0.0)))),
        "ts_of_last_over_time" => |w, _| Ok(w.samples.last().map(|s| seconds((s.time.0, 0.0)))),
        "quantile_over_time" => |w, args| Ok(quantile_of(w, args)),
        "stddev_over_time" => |w, _| Ok(variance(w).map(f64::sqrt).map(float)),
        "stdvar_over_time" => |w, _| Ok(variance(w).map(float)),
        "mad_over_time" => |w, _| Ok(mad(w).map(float)),
        _ => return None,
    };
    Some(function)
}

fn float(x: f64) -> Value {
    Value::Float(x)
}

fn seconds(point: (i64, f64)) -> Value {
    Value::Float(point.0 as f64 / 1000.0)
}

fn histogram(h: NativeHistogram) -> Value {
    Value::Histogram(Arc::new(h))
}

/// The numbers among the samples.
fn floats(window: &Window<'_>) -> Vec<(i64, f64)> {
    let number = |sample: &Sample| sample.value.float().map(|value| (sample.time.0, value));
    window.samples.iter().filter_map(number).collect()
}

/// The histograms among the samples.
fn histograms<'a>(window: &Window<'a>) -> Vec<(i64, &'a NativeHistogram)> {
    let histogram = |sample: &'a Sample| match &sample.value {
        Value::Histogram(h) => Some((sample.time.0, h.as_ref())),
        Value::Float(_) => None,
    };
    window.samples.iter().filter_map(histogram).collect()
}

/// `rate`, `increase`, `delta`: the difference, drawn out to the ends of the range where samples
/// are near enough.
fn extrapolated(window: &Window<'_>, is_counter: bool, is_rate: bool) -> Option<Value> {
    let [first, .., last] = window.samples else { return None };
    let (floats, histograms) = (floats(window), histograms(window));
    // First reading of the counter and its growth, for where it must have been zero.
    let (growth, at_first, grown) = match (floats.as_slice(), histograms.as_slice()) {
        ([(_, x), ..], []) => {
            let growth = float_growth(&floats, is_counter);
            (Value::Float(growth), *x, growth)
        }
        ([], [(_, h), ..]) => {
            let growth = histogram_growth(&histograms, is_counter)?;
            let grown = growth.count;
            (histogram(growth), h.count, grown)
        }
        _ => return None,
    };
    let apart = |later: i64, earlier: i64| later.saturating_sub(earlier) as f64 / 1000.0;
    let mut to_start = apart(first.time.0, window.start);
    let mut to_end = apart(window.end, last.time.0);
    let sampled = apart(last.time.0, first.time.0);
    let mean = sampled / (window.samples.len() - 1) as f64;
    // "Near" is a tenth more than samples are apart; else half a gap is added.
    let near = mean * 1.1;
    if to_start >= near {
        to_start = mean / 2.0;
    }
    if is_counter && grown > 0.0 && at_first >= 0.0 {
        // No counter was ever below zero.
        to_start = to_start.min(sampled * (at_first / grown));
    }
    if to_end >= near {
        to_end = mean / 2.0;
    }
    let mut factor = (sampled + to_start + to_end) / sampled;
    if is_rate {
        factor /= apart(window.end, window.start);
    }
    Some(match growth {
        Value::Float(growth) => Value::Float(growth * factor),
        Value::Histogram(growth) => histogram(native::multiplied(&growth, factor)),
    })
}

fn float_growth(points: &[(i64, f64)], is_counter: bool) -> f64 {
    let [(_, first), .., (_, last)] = points else { return 0.0 };
    let mut growth = last - first;
    if is_counter {
        for pair in points.windows(2) {
            let [(_, before), (_, now)] = pair else { continue };
            if now < before {
                growth += before;
            }
        }
    }
    growth
}

fn histogram_growth(
    points: &[(i64, &NativeHistogram)],
    is_counter: bool,
) -> Option<NativeHistogram> {
    let [(_, first), .., (_, last)] = points else { return None };
    let mut previous = (*first).clone();
    if is_counter && points.get(1).is_some_and(|(_, second)| native::is_reset(second, first)) {
        // What was before a reset at the start counts for nothing, its buckets neither.
        let second = points.get(1)?.1;
        let (schema, bounds) = (second.schema, second.bounds.clone());
        previous = NativeHistogram { schema, bounds, ..NativeHistogram::default() };
    }
    if points.iter().skip(1).any(|(_, h)| native::is_custom(h) != native::is_custom(&previous)) {
        return None;
    }
    let coarsest = points.iter().skip(1).map(|(_, h)| h.schema).min()?.min(previous.schema);
    let mut growth = native::subtracted(&native::coarsened(last, coarsest), &previous).ok()?;
    if is_counter {
        for (_, now) in points.iter().skip(1) {
            if native::is_reset(now, &previous) {
                growth = native::added(&growth, &previous).ok()?;
            }
            previous = (*now).clone();
        }
    }
    growth.is_gauge = true;
    Some(growth)
}

/// `irate` and `idelta`: of the last two samples.
fn last_two(window: &Window<'_>, is_rate: bool) -> Option<Value> {
    let [.., before, now] = window.samples else { return None };
    let apart = now.time.0.saturating_sub(before.time.0) as f64 / 1000.0;
    if apart == 0.0 {
        return None;
    }
    match (&before.value, &now.value) {
        (Value::Float(before), Value::Float(now)) => {
            let is_reset = is_rate && now < before;
            let growth = if is_reset { *now } else { now - before };
            Some(float(if is_rate { growth / apart } else { growth }))
        }
        (Value::Histogram(before), Value::Histogram(now)) => {
            let mut growth = if is_rate && native::is_reset(now, before) {
                (**now).clone()
            } else {
                native::subtracted(now, before).ok()?
            };
            growth.is_gauge = true;
            Some(histogram(if is_rate { native::divided(&growth, apart) } else { growth }))
        }
        _ => None,
    }
}

fn deriv(window: &Window<'_>) -> Option<Value> {
    let points = floats(window);
    let [(first, _), _, ..] = points.as_slice() else { return None };
    Some(float(regression(&points, *first).0))
}

fn predict_linear(window: &Window<'_>, args: &[f64]) -> Option<Value> {
    let points = floats(window);
    let ([_, _, ..], [ahead]) = (points.as_slice(), args) else { return None };
    let (slope, at_now) = regression(&points, window.now);
    Some(float(slope * ahead + at_now))
}

fn smoothed(window: &Window<'_>, args: &[f64]) -> Outcome {
    let [smoothing, trend] = args else { return Ok(None) };
    for (factor, name) in [(smoothing, "smoothing"), (trend, "trend")] {
        if *factor <= 0.0 || *factor >= 1.0 {
            let sign = if name == "trend" { "tf" } else { "sf" };
            let message =
                format!("invalid {name} factor. Expected: 0 < {sign} < 1, got: {factor:.6}");
            return Err(Error::Evaluation(message));
        }
    }
    let points = floats(window);
    let [(_, first), (_, second), ..] = points.as_slice() else { return Ok(None) };
    let (mut earlier, mut level, mut slope) = (0.0, *first, second - first);
    for (index, (_, y)) in points.iter().enumerate().skip(1) {
        let x = smoothing * y;
        if index > 1 {
            slope = trend * (level - earlier) + (1.0 - trend) * slope;
        }
        (earlier, level) = (level, x + (1.0 - smoothing) * (level + slope));
    }
    Ok(Some(float(level)))
}

/// How often neighbours pass a test.
fn count_pairs(window: &Window<'_>, test: fn(&Value, &Value) -> bool) -> Option<Value> {
    if window.samples.is_empty() {
        return None;
    }
    let pairs = window.samples.windows(2);
    let passes = |pair: &&[Sample]| matches!(pair, [a, b] if test(&a.value, &b.value));
    Some(float(pairs.filter(passes).count() as f64))
}

fn is_reset(before: &Value, now: &Value) -> bool {
    match (before, now) {
        (Value::Float(before), Value::Float(now)) => now < before,
        (Value::Histogram(before), Value::Histogram(now)) => native::is_reset(now, before),
        _ => true,
    }
}

fn is_changed(before: &Value, now: &Value) -> bool {
    match (before, now) {
        (Value::Float(before), Value::Float(now)) => {
            now != before && !(now.is_nan() && before.is_nan())
        }
        (Value::Histogram(before), Value::Histogram(now)) => !native::is_same(now, before),
        _ => true,
    }
}

fn avg(window: &Window<'_>) -> Option<Value> {
    let (floats, histograms) = (floats(window), histograms(window));
    match (floats.as_slice(), histograms.as_slice()) {
        ([(_, first), rest @ ..], []) => {
            let mut mean = Mean::new(*first);
            rest.iter().for_each(|(_, x)| mean.add(*x));
            Some(float(mean.get()))
        }
        ([], [_, ..]) => histogram_mean(histograms.iter().map(|(_, h)| *h)).map(histogram),
        _ => None,
    }
}

/// Sum of histograms; `None` where they do not go together, or without any.
pub(super) fn histogram_sum<'a>(
    mut all: impl Iterator<Item = &'a NativeHistogram>,
) -> Option<NativeHistogram> {
    let mut sum = Summed::new(all.next()?);
    for h in all {
        sum = sum.add(h).ok()?;
    }
    Some(sum.total())
}

/// Mean of histograms; once the sum would overflow, the mean is moved instead.
pub(super) fn histogram_mean<'a>(
    mut all: impl Iterator<Item = &'a NativeHistogram>,
) -> Option<NativeHistogram> {
    let mut sum = Summed::new(all.next()?);
    let (mut count, mut is_moving) = (1.0, false);
    for h in all {
        count += 1.0;
        if !is_moving {
            let next = sum.add(h).ok()?;
            if !next.overflows() {
                sum = next;
                continue;
            }
            is_moving = true;
            sum = sum.scaled(1.0 / (count - 1.0));
        }
        sum = sum.scaled((count - 1.0) / count).add(&native::divided(h, count)).ok()?;
    }
    Some(if is_moving { sum.total() } else { native::divided(&sum.total(), count) })
}

fn sum(window: &Window<'_>) -> Option<Value> {
    let (floats, histograms) = (floats(window), histograms(window));
    match (floats.as_slice(), histograms.as_slice()) {
        ([_, ..], []) => {
            let sum = floats.iter().fold(Kahan::default(), |sum, (_, x)| sum.add(*x));
            Some(float(sum.total()))
        }
        ([], [_, ..]) => histogram_sum(histograms.iter().map(|(_, h)| *h)).map(histogram),
        _ => None,
    }
}

/// The last value that is better than those before it; NaN is worse than any number.
fn extreme(window: &Window<'_>, better: fn(f64, f64) -> bool) -> Option<(i64, f64)> {
    let points = floats(window);
    let mut points = points.into_iter();
    let mut best = points.next()?;
    for point in points {
        if better(point.1, best.1) || best.1.is_nan() {
            best = point;
        }
    }
    Some(best)
}

fn quantile_of(window: &Window<'_>, args: &[f64]) -> Option<Value> {
    let mut values: Vec<f64> = floats(window).into_iter().map(|point| point.1).collect();
    let [q] = args else { return None };
    if values.is_empty() {
        return None;
    }
    Some(float(quantile(*q, &mut values)))
}

fn variance(window: &Window<'_>) -> Option<f64> {
    let points = floats(window);
    let (mut count, mut mean, mut squares) = (0.0, Kahan::default(), Kahan::default());
    for (_, x) in &points {
        count += 1.0;
        let delta = x - (mean.sum + mean.lost);
        mean = mean.add(delta / count);
        squares = squares.add(delta * (x - (mean.sum + mean.lost)));
    }
    (!points.is_empty()).then_some((squares.sum + squares.lost) / count)
}

fn mad(window: &Window<'_>) -> Option<f64> {
    let mut values: Vec<f64> = floats(window).into_iter().map(|point| point.1).collect();
    if values.is_empty() {
        return None;
    }
    if values.iter().any(|value| value.is_nan()) {
        return Some(f64::NAN);
    }
    let median = quantile(0.5, &mut values);
    values.iter_mut().for_each(|value| *value = (*value - median).abs());
    Some(quantile(0.5, &mut values))
}
