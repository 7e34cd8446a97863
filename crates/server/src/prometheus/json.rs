//! Answers as Prometheus writes them: numbers are text, times are seconds.

use std::fmt::Write;

use model::series::{NativeHistogram, Sample, Value};
use model::{Labels, Timestamp};
use promql::{Answer, SeriesData};

/// `"data"` of an instant query.
pub(super) fn answer(answer: &Answer, time: Timestamp) -> String {
    let mut out = String::new();
    match answer {
        Answer::Scalar(value) => {
            out.push_str(r#"{"resultType":"scalar","result":"#);
            pair(&mut out, time, &number(*value));
        }
        Answer::Text(text) => {
            out.push_str(r#"{"resultType":"string","result":"#);
            pair(&mut out, time, text);
        }
        Answer::Vector(values) => {
            out.push_str(r#"{"resultType":"vector","result":["#);
            for (index, value) in values.iter().enumerate() {
                out.push_str(if index > 0 { ",{" } else { "{" });
                out.push_str("\"metric\":");
                labels(&mut out, &value.labels);
                match &value.value {
                    Value::Float(number_) => {
                        out.push_str(",\"value\":");
                        pair(&mut out, time, &number(*number_));
                    }
                    Value::Histogram(value) => {
                        out.push_str(",\"histogram\":");
                        histogram(&mut out, time, value);
                    }
                }
                out.push('}');
            }
            out.push(']');
        }
        Answer::Matrix(series) => return matrix(series),
    }
    out.push('}');
    out
}

/// `"data"` of a range query.
pub(super) fn matrix(all: &[SeriesData]) -> String {
    let mut out = r#"{"resultType":"matrix","result":["#.to_owned();
    for (index, series) in all.iter().enumerate() {
        out.push_str(if index > 0 { ",{" } else { "{" });
        out.push_str("\"metric\":");
        labels(&mut out, &series.labels);
        let is_float = |sample: &&Sample| matches!(sample.value, Value::Float(_));
        let (floats, histograms): (Vec<&Sample>, Vec<&Sample>) =
            series.samples.iter().partition(is_float);
        for (name, samples) in [("values", floats), ("histograms", histograms)] {
            if samples.is_empty() {
                continue;
            }
            let _ = write!(out, ",\"{name}\":[");
            for (index, sample) in samples.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                match &sample.value {
                    Value::Float(value) => pair(&mut out, sample.time, &number(*value)),
                    Value::Histogram(value) => histogram(&mut out, sample.time, value),
                }
            }
            out.push(']');
        }
        out.push('}');
    }
    out.push_str("]}");
    out
}

/// `{"__name__":"up",...}`.
pub(super) fn labels(out: &mut String, labels: &Labels) {
    out.push('{');
    for (index, (name, value)) in labels.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        text(out, name);
        out.push(':');
        text(out, value);
    }
    out.push('}');
}

/// A text in quotes.
pub(super) fn text(out: &mut String, text: &str) {
    out.push_str(&serde_json::Value::from(text).to_string());
}

fn pair(out: &mut String, time: Timestamp, value: &str) {
    out.push('[');
    seconds(out, time);
    out.push(',');
    text(out, value);
    out.push(']');
}

/// As few decimals as there are, three at most.
fn seconds(out: &mut String, Timestamp(millis): Timestamp) {
    if millis < 0 {
        out.push('-');
    }
    let millis = millis.unsigned_abs();
    let _ = write!(out, "{}", millis / 1000);
    if !millis.is_multiple_of(1000) {
        let decimals = format!("{:03}", millis % 1000);
        let _ = write!(out, ".{}", decimals.trim_end_matches('0'));
    }
}

/// As Prometheus's API writes numbers: with an exponent below 1e-6 and from 1e21.
fn number(value: f64) -> String {
    let size = value.abs();
    match value {
        _ if value.is_nan() => "NaN".to_owned(),
        _ if size != 0.0 && !(1e-6..1e21).contains(&size) => analyze::families::float(value),
        _ => value.to_string(),
    }
}

fn histogram(out: &mut String, time: Timestamp, histogram: &NativeHistogram) {
    out.push('[');
    seconds(out, time);
    out.push_str(",{\"count\":");
    text(out, &number(histogram.count));
    out.push_str(",\"sum\":");
    text(out, &number(histogram.sum));
    let buckets = buckets(histogram);
    if !buckets.is_empty() {
        out.push_str(",\"buckets\":[");
        for (index, (ends, low, high, count)) in buckets.into_iter().enumerate() {
            let _ = write!(out, "{}[{ends}", if index > 0 { "," } else { "" });
            for value in [low, high, count] {
                out.push(',');
                text(out, &number(value));
            }
            out.push(']');
        }
        out.push(']');
    }
    out.push_str("}]");
}

/// Which ends belong to a bucket (0: the upper, 1: the lower, 3: both), its ends, its count.
fn buckets(histogram: &NativeHistogram) -> Vec<(u8, f64, f64, f64)> {
    if histogram.schema == -53 {
        let end = |index: i32| usize::try_from(index).ok().and_then(|i| histogram.bounds.get(i));
        let bucket = |(index, count): &(i32, f64)| {
            let low = end(index - 1).copied().unwrap_or(f64::NEG_INFINITY);
            let high = end(*index).copied().unwrap_or(f64::INFINITY);
            // The first of bounds above zero begins at zero, both ends its own.
            match *index == 0 && high > 0.0 {
                true => (3, 0.0, high, *count),
                false => (if *index == 0 { 3 } else { 0 }, low, high, *count),
            }
        };
        return histogram.positive.iter().filter(|(_, count)| *count != 0.0).map(bucket).collect();
    }
    let bound = |index: i32| (f64::from(index) * (-f64::from(histogram.schema)).exp2()).exp2();
    let filled = |bucket: &&(i32, f64)| bucket.1 != 0.0;
    let below = histogram.negative.iter().rev().filter(filled);
    let below = below.map(|(index, count)| (1, -bound(*index), -bound(index - 1), *count));
    let width = histogram.zero_threshold;
    let zero = (histogram.zero_count != 0.0).then_some((3, -width, width, histogram.zero_count));
    let above = histogram.positive.iter().filter(filled);
    let above = above.map(|(index, count)| (0, bound(index - 1), bound(*index), *count));
    below.chain(zero).chain(above).collect()
}

#[cfg(test)]
mod tests {
    use super::{number, seconds};

    #[test]
    fn numbers_and_times_are_those_of_prometheus() {
        let numbers = [0.0, -0.0, 1e6, 1e-5, 1e-7, 1e21, 123456789.5, f64::INFINITY, f64::NAN];
        let expected =
            ["0", "-0", "1000000", "0.00001", "1e-07", "1e+21", "123456789.5", "+Inf", "NaN"];
        assert_eq!(numbers.map(number), expected);
        let written = |millis: i64| {
            let mut out = String::new();
            seconds(&mut out, model::Timestamp(millis));
            out
        };
        let expected = ["0", "1.5", "-0.001", "1435781451.781", "3"];
        assert_eq!([0, 1500, -1, 1_435_781_451_781, 3000].map(written), expected);
    }
}
