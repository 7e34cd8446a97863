//! Calls: functions of vectors and numbers; those of ranges are in `range`.

use std::collections::HashMap;

use model::series::{Labels, NativeHistogram, Value};

use super::quantile::{self, Classic};
use super::{Evaluator, Item, Out, check_unique, dates, nameless, range};
use crate::error::Error;
use crate::lang::{Expr, Kind, MatchOp, Matcher, Type, number};

const LE: &str = "le";

impl Evaluator<'_> {
    pub(super) fn call(&mut self, name: &str, args: &[Expr], time: i64) -> Result<Out, Error> {
        match (name, args) {
            ("time", _) => return Ok(Out::Scalar(time as f64 / 1000.0)),
            ("start", _) => return Ok(Out::Scalar(self.start as f64 / 1000.0)),
            ("end", _) => return Ok(Out::Scalar(self.end as f64 / 1000.0)),
            ("step", _) => return Ok(Out::Scalar(self.step as f64 / 1000.0)),
            ("range", _) => {
                return Ok(Out::Scalar(self.end.saturating_sub(self.start) as f64 / 1000.0));
            }
            ("pi", _) => return Ok(Out::Scalar(std::f64::consts::PI)),
            ("max_of", [a, b]) => {
                return Ok(Out::Scalar(go_max(self.scalar(a, time)?, self.scalar(b, time)?)));
            }
            ("min_of", [a, b]) => {
                return Ok(Out::Scalar(go_min(self.scalar(a, time)?, self.scalar(b, time)?)));
            }
            ("scalar", [arg]) => {
                let items = self.vector(arg, time)?;
                let mut floats = items.iter().filter_map(|item| item.value.float());
                let only = match (floats.next(), floats.next()) {
                    (Some(only), None) => only,
                    _ => f64::NAN,
                };
                return Ok(Out::Scalar(only));
            }
            _ => {}
        }
        let has_range = args.iter().any(|arg| arg.kind_of_result() == Type::Matrix);
        let items = match (name, args) {
            _ if has_range => self.over_range(name, args, time)?,
            ("vector", [arg]) => {
                let value = Value::Float(self.scalar(arg, time)?);
                vec![Item::new(Labels::empty(), value, time)]
            }
            ("absent", [arg]) => match self.vector(arg, time)?.as_slice() {
                [] => vec![Item::new(absent_labels(arg), Value::Float(1.0), time)],
                _ => Vec::new(),
            },
            ("timestamp", [arg]) => self.timestamp(arg, time)?,
            ("sort" | "sort_desc", [arg]) => self.sort(name == "sort_desc", arg, time)?,
            ("sort_by_label" | "sort_by_label_desc", [arg, labels @ ..]) => {
                self.sort_by_label(name == "sort_by_label_desc", arg, labels, time)?
            }
            ("label_replace", [arg, texts @ ..]) => self.label_replace(arg, &text(texts), time)?,
            ("label_join", [arg, texts @ ..]) => self.label_join(arg, &text(texts), time)?,
            _ if name.starts_with("histogram_") => self.of_histograms(name, args, time)?,
            _ => self.of_numbers(name, args, time)?,
        };
        Ok(Out::Vector(items))
    }

    fn over_range(&mut self, name: &str, args: &[Expr], time: i64) -> Result<Vec<Item>, Error> {
        let mut numbers = Vec::new();
        for arg in args.iter().filter(|arg| arg.kind_of_result() == Type::Scalar) {
            numbers.push(self.scalar(arg, time)?);
        }
        let is_range = |arg: &&Expr| arg.kind_of_result() == Type::Matrix;
        let (Some(arg), Some(function)) = (args.iter().find(is_range), range::find(name)) else {
            return Err(Error::Evaluation(format!("no function of ranges is called {name}")));
        };
        let mut items = Vec::new();
        self.windows(arg, time, &mut |labels, drop_name, window| {
            if let Some(value) = function(window, &numbers)? {
                items.push(Item { labels: labels.clone(), value, time, drop_name });
            }
            Ok(())
        })?;
        if name == "absent_over_time" {
            return Ok(match items.as_slice() {
                [] => vec![Item::new(absent_labels(arg), Value::Float(1.0), time)],
                _ => Vec::new(),
            });
        }
        // These two are like `offset`, so the name stays.
        if !matches!(name, "last_over_time" | "first_over_time") {
            items.iter_mut().for_each(|item| self.drop_name(item));
        }
        self.unique(&items)?;
        Ok(items)
    }

    /// Functions that map the numbers of a vector one by one.
    fn of_numbers(&mut self, name: &str, args: &[Expr], time: i64) -> Result<Vec<Item>, Error> {
        let mut numbers = Vec::new();
        for arg in args.iter().filter(|arg| arg.kind_of_result() == Type::Scalar) {
            numbers.push(self.scalar(arg, time)?);
        }
        if let ("clamp", [low, high]) = (name, numbers.as_slice())
            && high < low
        {
            return Ok(Vec::new());
        }
        let Some(vector) = args.iter().find(|arg| arg.kind_of_result() == Type::Vector) else {
            // Functions of dates take the evaluation's time for want of another.
            let value = map_number(name, time.div_euclid(1000) as f64, &numbers);
            return Ok(vec![Item::new(Labels::empty(), Value::Float(value), time)]);
        };
        let mut items = self.vector(vector, time)?;
        items.retain(|item| item.value.float().is_some());
        for item in &mut items {
            let x = item.value.float().unwrap_or(f64::NAN);
            item.value = Value::Float(map_number(name, x, &numbers));
            self.drop_name(item);
        }
        self.unique(&items)?;
        Ok(items)
    }

    fn timestamp(&mut self, arg: &Expr, time: i64) -> Result<Vec<Item>, Error> {
        let mut items = match &arg.bare().kind {
            // Only a selector has times of its own.
            Kind::Selector(selector) => self.latest(selector, time)?,
            _ => self.vector(arg, time)?,
        };
        for item in &mut items {
            item.value = Value::Float(item.time as f64 / 1000.0);
            item.time = time;
            self.drop_name(item);
        }
        self.unique(&items)?;
        Ok(items)
    }

    fn sort(&mut self, down: bool, arg: &Expr, time: i64) -> Result<Vec<Item>, Error> {
        let mut items = self.vector(arg, time)?;
        items.retain(|item| item.value.float().is_some());
        items.sort_by(|a, b| {
            let [a, b] = [a, b].map(|item| item.value.float().unwrap_or(f64::NAN));
            let order = a.partial_cmp(&b).unwrap_or(std::cmp::Ordering::Equal);
            // NaN is last either way.
            a.is_nan().cmp(&b.is_nan()).then(if down { order.reverse() } else { order })
        });
        Ok(items)
    }

    fn sort_by_label(
        &mut self,
        down: bool,
        arg: &Expr,
        labels: &[Expr],
        time: i64,
    ) -> Result<Vec<Item>, Error> {
        let mut items = self.vector(arg, time)?;
        let names = text(labels);
        items.sort_by(|a, b| {
            let of = |item: &Item, name: &str| item.labels.get(name).unwrap_or_default().to_owned();
            let orders = names.iter().map(|name| natural(&of(a, name), &of(b, name)));
            let order = orders.into_iter().find(|order| order.is_ne());
            let order = order.unwrap_or_else(|| a.labels.cmp(&b.labels));
            if down { order.reverse() } else { order }
        });
        Ok(items)
    }

    fn label_replace(&mut self, arg: &Expr, texts: &[&str], time: i64) -> Result<Vec<Item>, Error> {
        let [target, replacement, source, pattern] = texts else { return Ok(Vec::new()) };
        if !self.regexes.contains_key(*pattern) {
            let regex = crate::lang::Matcher::new("", MatchOp::Regex, pattern);
            regex.map_err(|_| {
                let message = format!("invalid regular expression in label_replace(): {pattern}");
                Error::Evaluation(message)
            })?;
            let regex = regex::Regex::new(&format!("^(?s:{pattern})$"));
            let regex = regex.map_err(|error| Error::Evaluation(error.to_string()))?;
            self.regexes.insert((*pattern).to_owned(), regex);
        }
        label_name(target, "invalid destination label name in label_replace()")?;
        let mut items = self.vector(arg, time)?;
        let Some(regex) = self.regexes.get(*pattern) else { return Ok(items) };
        for item in &mut items {
            let value = item.labels.get(source).unwrap_or_default();
            if let Some(found) = regex.captures(value) {
                let mut expanded = String::new();
                found.expand(replacement, &mut expanded);
                item.labels = item.labels.with([(*target, expanded.as_str())]);
                item.drop_name &= *target != model::series::NAME;
            }
        }
        check_unique(&items)?;
        Ok(items)
    }

    fn label_join(&mut self, arg: &Expr, texts: &[&str], time: i64) -> Result<Vec<Item>, Error> {
        let [target, separator, sources @ ..] = texts else { return Ok(Vec::new()) };
        for source in sources {
            label_name(source, "invalid source label name in label_join()")?;
        }
        label_name(target, "invalid destination label name in label_join()")?;
        let mut items = self.vector(arg, time)?;
        for item in &mut items {
            let values = sources.iter().map(|source| item.labels.get(source).unwrap_or_default());
            let joined = values.collect::<Vec<_>>().join(separator);
            item.labels = item.labels.with([(*target, joined.as_str())]);
            item.drop_name &= *target != model::series::NAME;
        }
        check_unique(&items)?;
        Ok(items)
    }

    fn of_histograms(&mut self, name: &str, args: &[Expr], time: i64) -> Result<Vec<Item>, Error> {
        match (name, args) {
            ("histogram_quantile", [q, vector]) => {
                let q = self.scalar(q, time)?;
                let groups = self.histograms(vector, time)?;
                let value = |group: &mut Histogram| match group {
                    Histogram::Native(h) => quantile::native_quantile(q, h),
                    Histogram::Classic(buckets) => quantile::classic_quantile(q, buckets),
                };
                self.of_groups(groups, value)
            }
            ("histogram_quantiles", [vector, label, quantiles @ ..]) => {
                let groups = self.histograms(vector, time)?;
                let names = text(std::slice::from_ref(label));
                let label = names.first().copied().unwrap_or_default();
                let mut items = Vec::new();
                for q in quantiles {
                    let q = self.scalar(q, time)?;
                    let written = open_metrics(q);
                    let value = |group: &mut Histogram| match group {
                        Histogram::Native(h) => quantile::native_quantile(q, h),
                        Histogram::Classic(buckets) => quantile::classic_quantile(q, buckets),
                    };
                    let mut all = self.of_groups(groups.clone(), value)?;
                    for item in &mut all {
                        item.labels = item.labels.with([(label, written.as_str())]);
                    }
                    items.append(&mut all);
                }
                Ok(items)
            }
            ("histogram_fraction", [lower, upper, vector]) => {
                let (lower, upper) = (self.scalar(lower, time)?, self.scalar(upper, time)?);
                let groups = self.histograms(vector, time)?;
                let value = |group: &mut Histogram| match group {
                    Histogram::Native(h) => quantile::native_fraction(lower, upper, h),
                    Histogram::Classic(buckets) => {
                        quantile::classic_fraction(lower, upper, buckets)
                    }
                };
                self.of_groups(groups, value)
            }
            (_, [vector]) => {
                let mut items = self.vector(vector, time)?;
                items.retain(|item| item.value.float().is_none());
                for item in &mut items {
                    if let Value::Histogram(h) = &item.value {
                        item.value = Value::Float(of_histogram(name, h));
                    }
                    self.drop_name(item);
                }
                self.unique(&items)?;
                Ok(items)
            }
            _ => Ok(Vec::new()),
        }
    }

    fn of_groups(
        &self,
        groups: Vec<(Item, Histogram)>,
        mut value: impl FnMut(&mut Histogram) -> f64,
    ) -> Result<Vec<Item>, Error> {
        let mut items = Vec::with_capacity(groups.len());
        for (mut item, mut group) in groups {
            item.value = Value::Float(value(&mut group));
            self.drop_name(&mut item);
            items.push(item);
        }
        self.unique(&items)?;
        Ok(items)
    }

    /// The histograms among series: native ones, and buckets that belong together. Series that
    /// are both are neither.
    fn histograms(&mut self, arg: &Expr, time: i64) -> Result<Vec<(Item, Histogram)>, Error> {
        let mut groups: Vec<(Item, Histogram)> = Vec::new();
        let mut places: HashMap<Labels, usize> = HashMap::new();
        let mut natives = Vec::new();
        for item in self.vector(arg, time)? {
            match &item.value {
                Value::Histogram(h) => {
                    let histogram = Histogram::Native(h.as_ref().clone());
                    natives.push((item, histogram));
                }
                Value::Float(count) => {
                    let Some(bound) = item.labels.get(LE).and_then(number) else { continue };
                    let bucket = (bound, *count);
                    let labels = item.labels.filtered(|name| name != LE);
                    let place = *places.entry(labels.clone()).or_insert(groups.len());
                    if place == groups.len() {
                        groups.push((Item { labels, ..item }, Histogram::Classic(Vec::new())));
                    }
                    if let Some((_, Histogram::Classic(buckets))) = groups.get_mut(place) {
                        buckets.push(bucket);
                    }
                }
            }
        }
        let conflicts = |native: &(Item, Histogram)| places.contains_key(&native.0.labels);
        let both: Vec<Labels> =
            natives.iter().filter(|n| conflicts(n)).map(|n| n.0.labels.clone()).collect();
        natives.append(&mut groups);
        natives.retain(|group| !both.contains(&group.0.labels));
        Ok(natives)
    }
}

/// A histogram of either kind.
#[derive(Clone)]
enum Histogram {
    Native(NativeHistogram),
    Classic(Vec<Classic>),
}

fn of_histogram(name: &str, h: &NativeHistogram) -> f64 {
    match name {
        "histogram_count" => h.count,
        "histogram_sum" => h.sum,
        "histogram_avg" => h.sum / h.count,
        "histogram_stdvar" => quantile::native_variance(h),
        "histogram_stddev" => quantile::native_variance(h).sqrt(),
        _ => f64::NAN,
    }
}

/// The texts among arguments, which were checked to be texts.
fn text(args: &[Expr]) -> Vec<&str> {
    let text = |arg| match &Expr::bare(arg).kind {
        Kind::Text(text) => text.as_str(),
        _ => "",
    };
    args.iter().map(text).collect()
}

/// Refuses what is no name.
pub(super) fn label_name(name: &str, context: &str) -> Result<(), Error> {
    if name.is_empty() {
        return Err(Error::Evaluation(format!("{context}: {name}")));
    }
    Ok(())
}

/// What a selector says for certain about the series it misses.
fn absent_labels(arg: &Expr) -> Labels {
    let matchers: &[Matcher] = match &arg.bare().kind {
        Kind::Selector(selector) | Kind::Matrix { selector, .. } => &selector.matchers,
        _ => &[],
    };
    let is_certain = |matcher: &&Matcher| {
        let others = matchers.iter().filter(|other| other.name == matcher.name).count();
        matcher.op == MatchOp::Equal && others == 1
    };
    let certain = matchers.iter().filter(is_certain);
    nameless(&Labels::new(certain.map(|matcher| (&matcher.name, &matcher.value))))
}

/// Go's `math.Max`: NaN wins.
fn go_max(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}

/// Go's `math.Min`: NaN wins.
fn go_min(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.min(b) }
}

fn map_number(name: &str, x: f64, args: &[f64]) -> f64 {
    match (name, args) {
        ("abs", _) => x.abs(),
        ("ceil", _) => x.ceil(),
        ("floor", _) => x.floor(),
        ("exp", _) => x.exp(),
        ("sqrt", _) => x.sqrt(),
        ("ln", _) => x.ln(),
        ("log2", _) => x.log2(),
        ("log10", _) => x.log10(),
        ("sgn", _) if x < 0.0 => -1.0,
        ("sgn", _) if x > 0.0 => 1.0,
        ("sgn", _) => x,
        ("clamp", [low, high]) => go_max(*low, go_min(*high, x)),
        ("clamp_min", [low]) => go_max(*low, x),
        ("clamp_max", [high]) => go_min(*high, x),
        ("round", args) => {
            // Times the inverse, as it loses less.
            let inverse = 1.0 / args.first().copied().unwrap_or(1.0);
            (x * inverse + 0.5).floor() / inverse
        }
        _ => trigonometry(name, x).unwrap_or_else(|| of_date(name, x)),
    }
}

fn trigonometry(name: &str, x: f64) -> Option<f64> {
    Some(match name {
        "sin" => x.sin(),
        "cos" => x.cos(),
        "tan" => x.tan(),
        "asin" => x.asin(),
        "acos" => x.acos(),
        "atan" => x.atan(),
        "sinh" => x.sinh(),
        "cosh" => x.cosh(),
        "tanh" => x.tanh(),
        "asinh" => x.asinh(),
        "acosh" => x.acosh(),
        "atanh" => x.atanh(),
        "deg" => x * 180.0 / std::f64::consts::PI,
        "rad" => x * std::f64::consts::PI / 180.0,
        _ => return None,
    })
}

fn of_date(name: &str, seconds: f64) -> f64 {
    // Go converts what does not fit to the least integer, of which no date is right.
    if !seconds.is_finite() || seconds.abs() > 1e15 {
        return f64::NAN;
    }
    let date = dates::date(seconds as i64);
    let part = match name {
        "minute" => date.minute,
        "hour" => date.hour,
        "day_of_week" => date.weekday,
        "day_of_month" => date.day,
        "day_of_year" => date.year_day,
        "days_in_month" => dates::days_in_month(date.year, date.month),
        "month" => date.month,
        "year" => date.year,
        _ => return f64::NAN,
    };
    part as f64
}

/// A number as OpenMetrics writes quantiles.
fn open_metrics(x: f64) -> String {
    if x.is_infinite() {
        return if x > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let text = crate::template::format_g(x);
    if text.contains(['e', '.', 'N']) { text } else { format!("{text}.0") }
}

/// Order of texts in which numbers are numbers: `a2` before `a10`.
fn natural(a: &str, b: &str) -> std::cmp::Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let chunk = |text: &str| {
            let digits = text.starts_with(|c: char| c.is_ascii_digit());
            text.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(text.len())
        };
        let ((left, a_rest), (right, b_rest)) = (a.split_at(chunk(a)), b.split_at(chunk(b)));
        if left.is_empty() || right.is_empty() {
            return left.len().cmp(&right.len());
        }
        let order = match (left.parse::<u64>(), right.parse::<u64>()) {
            (Ok(left), Ok(right)) => left.cmp(&right),
            _ => left.cmp(right),
        };
        if order.is_ne() {
            return order;
        }
        (a, b) = (a_rest, b_rest);
    }
}
