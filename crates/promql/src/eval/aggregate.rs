//! Aggregations: `sum by (...)`, `topk` and the like.

use std::collections::HashMap;

use model::series::{Labels, NAME, NativeHistogram, Value};

use super::instant::label_name;
use super::math::{Kahan, Mean, compare, quantile};
use super::native;
use super::range::{histogram_mean, histogram_sum};
use super::{Evaluator, Item};
use crate::error::Error;
use crate::lang::{AggregateOp, Expr, Kind};

/// Values that are aggregated together.
struct Group {
    labels: Labels,
    items: Vec<Item>,
}

impl Evaluator<'_> {
    pub(super) fn aggregate(&mut self, expr: &Expr, time: i64) -> Result<Vec<Item>, Error> {
        let Kind::Aggregate { op, expr, param, grouping, without } = &expr.kind else {
            return Ok(Vec::new());
        };
        if *op == AggregateOp::CountValues {
            return self.count_values(expr, param.as_deref(), grouping, *without, time);
        }
        let param = match param {
            Some(param) => self.scalar(param, time)?,
            None => 0.0,
        };
        let items = self.vector(expr, time)?;
        if matches!(op, AggregateOp::Topk | AggregateOp::Bottomk | AggregateOp::Limitk) {
            return first_k(*op, param, groups(items, grouping, *without));
        }
        let mut results = Vec::new();
        for group in groups(items, grouping, *without) {
            let drop_name = group.items.iter().any(|item| item.drop_name);
            if let Some(value) = aggregated(*op, param, &group.items) {
                results.push(Item { labels: group.labels, value, time, drop_name });
            }
        }
        Ok(results)
    }

    fn count_values(
        &mut self,
        expr: &Expr,
        param: Option<&Expr>,
        grouping: &[String],
        without: bool,
        time: i64,
    ) -> Result<Vec<Item>, Error> {
        let label = match param.map(|param| &param.bare().kind) {
            Some(Kind::Text(label)) => label.as_str(),
            _ => "",
        };
        label_name(label, "invalid label name in count_values")?;
        let mut grouping = grouping.to_vec();
        if !without {
            grouping.push(label.to_owned());
        }
        let mut items = self.vector(expr, time)?;
        for item in &mut items {
            let value = match &item.value {
                Value::Float(number) => crate::template::format_f(*number),
                Value::Histogram(h) => native::text(h),
            };
            item.labels = item.labels.with([(label, value.as_str())]);
        }
        let count = |group: Group| {
            let value = Value::Float(group.items.len() as f64);
            Item::new(group.labels, value, time)
        };
        Ok(groups(items, &grouping, without).into_iter().map(count).collect())
    }
}

/// Items by the labels that are left, in order of their first.
fn groups(items: Vec<Item>, grouping: &[String], without: bool) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut places: HashMap<Labels, usize> = HashMap::new();
    for item in items {
        let labels = if without {
            item.labels.filtered(|name| name != NAME && !grouping.iter().any(|known| known == name))
        } else if grouping.is_empty() {
            Labels::empty()
        } else {
            item.labels.filtered(|name| grouping.iter().any(|known| known == name))
        };
        let place = *places.entry(labels.clone()).or_insert(groups.len());
        match groups.get_mut(place) {
            Some(group) => group.items.push(item),
            None => groups.push(Group { labels, items: vec![item] }),
        }
    }
    groups
}

fn first_k(op: AggregateOp, k: f64, groups: Vec<Group>) -> Result<Vec<Item>, Error> {
    if k.is_nan() {
        return Err(Error::Evaluation("Parameter value is NaN".to_owned()));
    }
    // The bounds of 64-bit integers that a float can tell apart.
    if k <= -9_223_372_036_854_774_784.0 {
        return Err(Error::Evaluation(format!("Scalar value {k} underflows int64")));
    }
    if k >= 9_223_372_036_854_774_784.0 {
        return Err(Error::Evaluation(format!("Scalar value {k} overflows int64")));
    }
    let k = k.max(0.0) as usize;
    let mut kept = Vec::new();
    for mut group in groups {
        if op != AggregateOp::Limitk {
            group.items.retain(|item| item.value.float().is_some());
            group.items.sort_by(|a, b| {
                let [a, b] = [a, b].map(|item| item.value.float().unwrap_or(f64::NAN));
                let order = if op == AggregateOp::Topk { compare(b, a) } else { compare(a, b) };
                a.is_nan().cmp(&b.is_nan()).then(order)
            });
        }
        group.items.truncate(k);
        kept.append(&mut group.items);
    }
    Ok(kept)
}

/// The value of a group; `None` where it has none.
fn aggregated(op: AggregateOp, param: f64, items: &[Item]) -> Option<Value> {
    match op {
        AggregateOp::Count => return Some(Value::Float(items.len() as f64)),
        AggregateOp::Group => return Some(Value::Float(1.0)),
        _ => {}
    }
    let mut floats: Vec<f64> = items.iter().filter_map(|item| item.value.float()).collect();
    let histogram = |item: &'_ Item| match &item.value {
        Value::Histogram(h) => Some(h.clone()),
        Value::Float(_) => None,
    };
    let histograms: Vec<_> = items.iter().filter_map(histogram).collect();
    if matches!(op, AggregateOp::Sum | AggregateOp::Avg) && !histograms.is_empty() {
        let all = histograms.iter().map(|h| h.as_ref());
        let joined: Option<NativeHistogram> = match op {
            _ if !floats.is_empty() => None,
            AggregateOp::Sum => histogram_sum(all),
            _ => histogram_mean(all),
        };
        return joined.map(|h| Value::Histogram(h.into()));
    }
    let (first, rest) = floats.split_first()?;
    let number = match op {
        AggregateOp::Sum => {
            let start = Kahan { sum: *first, lost: 0.0 };
            rest.iter().fold(start, |sum, x| sum.add(*x)).total()
        }
        AggregateOp::Avg => {
            let mut mean = Mean::new(*first);
            rest.iter().for_each(|x| mean.add(*x));
            mean.get()
        }
        AggregateOp::Min => better(*first, rest, |x, best| x < best),
        AggregateOp::Max => better(*first, rest, |x, best| x > best),
        AggregateOp::Stdvar => variance(*first, rest),
        AggregateOp::Stddev => variance(*first, rest).sqrt(),
        AggregateOp::Quantile => quantile(param, &mut floats),
        _ => return None,
    };
    Some(Value::Float(number))
}

/// The best of numbers; NaN is worse than any.
fn better(first: f64, rest: &[f64], better: fn(f64, f64) -> bool) -> f64 {
    rest.iter().fold(first, |best, x| if better(*x, best) || best.is_nan() { *x } else { best })
}

fn variance(first: f64, rest: &[f64]) -> f64 {
    let mut squares = if first.is_finite() { 0.0 } else { f64::NAN };
    let (mut mean, mut count) = (first, 1.0);
    for x in rest {
        count += 1.0;
        let delta = x - mean;
        mean += delta / count;
        squares += delta * (x - mean);
    }
    squares / count
}
