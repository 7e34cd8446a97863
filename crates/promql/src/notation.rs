//! Values of series as tests write them: `0+1x5 _ stale {{schema:1 count:3 buckets:[3]}}`.

use model::series::{NativeHistogram, STALE, Value};

use crate::eval::histograms_added;
use crate::lang::number;

/// Most values of a series.
const MAX_VALUES: usize = 1_000_000;
/// Most histograms that one item of a series stands for.
const MAX_HISTOGRAMS: usize = 10_000;

/// Reads values: `1 2+3x4 _x2 stale`.
///
/// # Errors
/// What is wrong.
pub fn parse_values(text: &str) -> Result<Vec<Option<Value>>, String> {
    let mut values = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (item, behind) = split_item(rest);
        item_values(item, &mut values)?;
        rest = behind.trim_start();
    }
    Ok(values)
}

/// Up to the next blank outside of a histogram.
fn split_item(text: &str) -> (&str, &str) {
    let mut depth = 0_usize;
    for (index, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            c if c.is_whitespace() && depth == 0 => return text.split_at(index),
            _ => {}
        }
    }
    (text, "")
}

fn item_values(item: &str, values: &mut Vec<Option<Value>>) -> Result<(), String> {
    let bad = || format!("{item:?} is no value; write 5, 1+2x3, _, stale or {{{{schema:...}}}}");
    // What is behind the last `x` says how often; an `x` in a histogram does not.
    let behind = item.rfind('}').map_or(0, |brace| brace + 1);
    let (what, times) = match item.get(behind..).and_then(|tail| tail.rfind('x')) {
        Some(place) => {
            let (what, times) = item.split_at(behind + place);
            let times: usize = times.get(1..).unwrap_or_default().parse().map_err(|_| bad())?;
            (what, Some(times))
        }
        None => (item, None),
    };
    if values.len().saturating_add(times.unwrap_or(0)) > MAX_VALUES {
        return Err(format!("a series has at most {MAX_VALUES} values"));
    }
    if what == "_" {
        values.extend(std::iter::repeat_n(None, times.unwrap_or(1)));
        return Ok(());
    }
    let count = times.map_or(1, |times| times + 1);
    if what == "stale" {
        values.extend(std::iter::repeat_n(Some(Value::Float(STALE)), count));
        return Ok(());
    }
    if what.starts_with("{{") {
        return histogram_values(what, count, values);
    }
    let (base, step) = match what.char_indices().skip(1).find(|(index, c)| {
        let before = what.get(..*index).unwrap_or_default();
        matches!(c, '+' | '-') && !before.ends_with(['e', 'E'])
    }) {
        Some((index, _)) => what.split_at(index),
        None => (what, "0"),
    };
    let mut value = number(base).ok_or_else(bad)?;
    let step = number(step).ok_or_else(bad)?;
    for _ in 0..count {
        values.push(Some(Value::Float(value)));
        value += step;
    }
    Ok(())
}

fn histogram_values(
    text: &str,
    count: usize,
    values: &mut Vec<Option<Value>>,
) -> Result<(), String> {
    if count > MAX_HISTOGRAMS {
        return Err(format!("{text:?} stands for more than {MAX_HISTOGRAMS} histograms"));
    }
    let end = text.find("}}").map_or(text.len(), |end| end + 2);
    let (first, step) = text.split_at(end);
    let mut value = parse_histogram(first)?;
    let sign = if step.starts_with('-') { -1.0 } else { 1.0 };
    let step = match step.get(1..) {
        Some(step) if !step.is_empty() => Some(parse_histogram(step)?),
        _ => None,
    };
    for _ in 0..count {
        values.push(Some(Value::Histogram(value.clone().into())));
        if let Some(step) = &step {
            value = histograms_added(&value, step, sign)
                .ok_or_else(|| format!("{text:?}: these histograms cannot be added"))?;
        }
    }
    Ok(())
}

/// Reads `{{schema:1 sum:3 count:22 buckets:[5 10 7]}}`.
///
/// # Errors
/// What is wrong.
pub fn parse_histogram(text: &str) -> Result<NativeHistogram, String> {
    let inner = text.strip_prefix("{{").and_then(|text| text.strip_suffix("}}"));
    let mut rest = inner.ok_or_else(|| format!("{text:?} is no histogram"))?.trim();
    let mut h = NativeHistogram::default();
    let (mut buckets, mut negative) = (Vec::new(), Vec::new());
    let (mut offset, mut negative_offset) = (0_i32, 0_i32);
    while let Some((key, value)) = rest.split_once(':') {
        let end = if value.starts_with('[') {
            value.find(']').map_or(value.len(), |end| end + 1)
        } else {
            value.find(char::is_whitespace).unwrap_or(value.len())
        };
        let (value, behind) = value.split_at(end);
        rest = behind.trim_start();
        let bad = || format!("bad histogram descriptor {key}:{value}");
        let one = || number(value).ok_or_else(bad);
        let list = || {
            let inner = value.strip_prefix('[').and_then(|value| value.strip_suffix(']'));
            let words = inner.ok_or_else(bad)?.split_whitespace();
            words.map(|word| number(word).ok_or_else(bad)).collect::<Result<Vec<f64>, String>>()
        };
        match key {
            "schema" => h.schema = value.parse().map_err(|_| bad())?,
            "sum" => h.sum = one()?,
            "count" => h.count = one()?,
            "z_bucket" => h.zero_count = one()?,
            "z_bucket_w" => h.zero_threshold = one()?,
            "buckets" => buckets = list()?,
            "n_buckets" => negative = list()?,
            "offset" => offset = value.parse().map_err(|_| bad())?,
            "n_offset" => negative_offset = value.parse().map_err(|_| bad())?,
            "custom_values" => h.bounds = list()?.into(),
            // What is known of resets besides is found by comparing.
            "counter_reset_hint" => h.is_gauge = value == "gauge",
            _ => return Err(bad()),
        }
    }
    if !rest.is_empty() {
        return Err(format!("bad histogram descriptor {rest}"));
    }
    let side = |counts: Vec<f64>, offset: i32| {
        let indexed = (offset..).zip(counts);
        indexed.filter(|(_, count)| *count != 0.0).collect::<Vec<(i32, f64)>>()
    };
    (h.positive, h.negative) = (side(buckets, offset), side(negative, negative_offset));
    Ok(h)
}

#[cfg(test)]
mod tests {
    use model::series::{Value, is_stale};

    use super::{parse_histogram, parse_values};

    fn floats(text: &str) -> Vec<Option<f64>> {
        let values = parse_values(text).unwrap();
        values.into_iter().map(|value| value.and_then(|value| value.float())).collect()
    }

    #[test]
    fn values_are_expanded() {
        assert_eq!(floats("1 2+3x2"), [1.0, 2.0, 5.0, 8.0].map(Some));
        assert_eq!(floats("1-1x2 -1x1"), [1.0, 0.0, -1.0, -1.0, -1.0].map(Some));
        assert_eq!(floats("0x2 1e3 1e-3+1e-3x1"), [0.0, 0.0, 0.0, 1e3, 1e-3, 2e-3].map(Some));
        assert_eq!(floats("_ _x2 Inf"), [None, None, None, Some(f64::INFINITY)]);
        assert!(matches!(parse_values("stale").unwrap().as_slice(),
            [Some(Value::Float(value))] if is_stale(*value)));
        for bad in ["1+x3", "abc", "1x", "1x99999999", "{{schema:x}}"] {
            assert!(parse_values(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn histograms_are_read() {
        let values = parse_values("1 {{schema:0 count:3 buckets:[1 0 2]}}x1").unwrap();
        assert_eq!(values.len(), 3);
        let h = parse_histogram("{{schema:0 sum:5 count:4 z_bucket:1 buckets:[1 0 2] offset:-1}}")
            .unwrap();
        assert_eq!((h.count, h.zero_count, h.positive), (4.0, 1.0, vec![(-1, 1.0), (1, 2.0)]));
    }
}
