//! Evaluation of queries, with the semantics of Prometheus 3.
//!
//! Each selector reads its series once per query. A range query evaluates the tree at each step;
//! subqueries keep what they have evaluated, as their steps fall on the same times again.

mod aggregate;
mod binary;
mod dates;
mod instant;
mod math;
mod native;
mod quantile;
mod range;

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use model::series::{Labels, NAME, NativeHistogram, Sample, Value, is_stale};
use model::units::Timestamp;
use regex::Regex;

use crate::error::Error;
use crate::lang::{self, At, Expr, Kind, Matcher, Moment, Selector, Type};
pub(crate) use dates::{Date, date, days_since_1970};
pub(crate) use native::text as histogram_text;
use range::Window;

/// Where series come from.
pub trait Storage {
    /// Series that pass all matchers, with their samples after `from` and up to `to`, in order of
    /// time, each time once. Staleness markers are among them. Samples beyond may be there too.
    ///
    /// # Errors
    /// What to tell who asked.
    fn select(
        &self,
        matchers: &[Matcher],
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<SeriesData>, String>;
}

/// A series with samples.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesData {
    /// Its labels, the name among them.
    pub labels: Labels,
    /// In order of time.
    pub samples: Vec<Sample>,
}

/// How to evaluate, and what it may cost.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// How long a sample holds.
    pub lookback: Duration,
    /// Step of subqueries that name none.
    pub default_step: Duration,
    /// Samples read, and steps and values computed, in all.
    pub max_samples: usize,
    /// Series a selector may find.
    pub max_series: usize,
    /// Steps of a range query.
    pub max_points: usize,
    /// Names stay until the end, as Prometheus does with its feature
    /// `promql-delayed-name-removal`.
    pub delayed_name_removal: bool,
    /// Asked again and again; `true` stops the query. Callers put their clock here.
    pub stop: &'a dyn Fn() -> bool,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Options {
            lookback: Duration::from_secs(300),
            default_step: Duration::from_secs(60),
            max_samples: 20_000_000,
            max_series: 200_000,
            max_points: 11_000,
            delayed_name_removal: false,
            stop: &|| false,
        }
    }
}

/// A series' value at the time of an instant query.
#[derive(Clone, Debug, PartialEq)]
pub struct InstantValue {
    /// Labels.
    pub labels: Labels,
    /// Value.
    pub value: Value,
}

/// The answer to an instant query.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// A number.
    Scalar(f64),
    /// A text.
    Text(String),
    /// A value per series.
    Vector(Vec<InstantValue>),
    /// Values over time per series.
    Matrix(Vec<SeriesData>),
}

/// A query that was read and checked.
///
/// ```
/// use promql::{Answer, MemoryStorage, Options, Query};
/// use model::units::Timestamp;
///
/// let query = Query::parse("2 * 21").unwrap();
/// let answer = query.instant(&MemoryStorage::default(), Timestamp(0), &Options::default());
/// assert_eq!(answer, Ok(Answer::Scalar(42.0)));
/// ```
#[derive(Clone, Debug)]
pub struct Query {
    text: String,
    expr: Expr,
    ids: usize,
}

impl Query {
    /// Reads a query.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn parse(text: &str) -> Result<Query, Error> {
        let (expr, ids) = lang::parse(text)?;
        Ok(Query { text: text.to_owned(), expr, ids })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Reports whether it gives a number or series, and not a text or ranges.
    pub fn is_instant(&self) -> bool {
        matches!(self.expr.kind_of_result(), Type::Scalar | Type::Vector)
    }

    /// Names of the series it reads, as far as it names them.
    pub fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        self.expr.visit(&mut |expr| {
            if let Kind::Selector(selector) | Kind::Matrix { selector, .. } = &expr.kind {
                let by_name = |m: &&Matcher| m.name == NAME && m.op == lang::MatchOp::Equal;
                names.extend(selector.matchers.iter().filter(by_name).map(|m| m.value.clone()));
            }
        });
        names.sort();
        names.dedup();
        names
    }

    /// Evaluates at one time.
    ///
    /// # Errors
    /// Series that cannot be joined, more than [`Options`] allow, or the storage's.
    pub fn instant(
        &self,
        storage: &dyn Storage,
        time: Timestamp,
        options: &Options<'_>,
    ) -> Result<Answer, Error> {
        let mut evaluator = Evaluator::new(self, storage, options, (time.0, time.0, 0))?;
        match self.expr.kind_of_result() {
            Type::Matrix => evaluator.matrix(&self.expr, time.0).map(Answer::Matrix),
            _ => match evaluator.eval(&self.expr, time.0)? {
                Out::Scalar(number) => Ok(Answer::Scalar(number)),
                Out::Text(text) => Ok(Answer::Text(text)),
                Out::Vector(items) => {
                    let items = evaluator.without_names(items)?;
                    let value =
                        |item: Item| InstantValue { labels: item.labels, value: item.value };
                    Ok(Answer::Vector(items.into_iter().map(value).collect()))
                }
            },
        }
    }

    /// Evaluates at times from `start` to `end`, both inclusive. Series are in order of labels.
    ///
    /// # Errors
    /// As [`Query::instant`]; more steps than allowed; the query gives a text or ranges.
    pub fn range(
        &self,
        storage: &dyn Storage,
        start: Timestamp,
        end: Timestamp,
        step: Duration,
        options: &Options<'_>,
    ) -> Result<Vec<SeriesData>, Error> {
        if !self.is_instant() {
            let found = self.expr.kind_of_result().as_str();
            let message = format!(
                "invalid expression type {found:?} for range query, must be scalar or instant vector"
            );
            return Err(Error::Evaluation(message));
        }
        let step = millis(step).max(1);
        let steps = end.0.saturating_sub(start.0) / step + 1;
        if usize::try_from(steps).is_ok_and(|steps| steps > options.max_points) {
            let message = format!(
                "exceeded maximum resolution of {} points per timeseries; ask for a longer step",
                options.max_points
            );
            return Err(Error::TooMuch(message));
        }
        let mut evaluator = Evaluator::new(self, storage, options, (start.0, end.0, step))?;
        let mut series = Collected::default();
        for index in 0..steps.max(0) {
            let time = start.0 + index * step;
            let items = match evaluator.eval(&self.expr, time)? {
                Out::Scalar(number) => vec![Item::new(Labels::empty(), Value::Float(number), time)],
                Out::Vector(items) => items,
                Out::Text(_) => Vec::new(),
            };
            series.add(evaluator.without_names(items)?, time);
        }
        series.list.sort_by(|a, b| a.0.labels.cmp(&b.0.labels));
        Ok(series.list.into_iter().map(|(series, _)| series).collect())
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// One value of a vector.
#[derive(Clone, Debug)]
struct Item {
    labels: Labels,
    value: Value,
    /// When it is from; differs from the evaluation's time only for `timestamp`.
    time: i64,
    /// The name goes away at the end.
    drop_name: bool,
}

impl Item {
    fn new(labels: Labels, value: Value, time: i64) -> Item {
        Item { labels, value, time, drop_name: false }
    }
}

/// What an expression gives at a time.
enum Out {
    Scalar(f64),
    Text(String),
    Vector(Vec<Item>),
}

/// Values by series, while steps are evaluated.
#[derive(Default)]
struct Collected {
    list: Vec<(SeriesData, bool)>,
    places: HashMap<Labels, usize>,
}

impl Collected {
    fn add(&mut self, items: Vec<Item>, time: i64) {
        for item in items {
            let place = *self.places.entry(item.labels.clone()).or_insert(self.list.len());
            if place == self.list.len() {
                let series = SeriesData { labels: item.labels, samples: Vec::new() };
                self.list.push((series, item.drop_name));
            }
            if let Some((series, _)) = self.list.get_mut(place) {
                series.samples.push(Sample { time: Timestamp(time), value: item.value });
            }
        }
    }
}

struct Evaluator<'a> {
    options: &'a Options<'a>,
    start: i64,
    end: i64,
    /// 0 of an instant query.
    step: i64,
    lookback: i64,
    /// Series by the number of the selector.
    selected: Vec<Rc<Vec<SeriesData>>>,
    /// What subqueries gave at a time.
    steps: HashMap<(usize, i64), Rc<Vec<Item>>>,
    /// Subqueries around what is being evaluated.
    nesting: usize,
    regexes: HashMap<String, Regex>,
    spent: usize,
}

impl<'a> Evaluator<'a> {
    fn new(
        query: &Query,
        storage: &dyn Storage,
        options: &'a Options<'a>,
        (start, end, step): (i64, i64, i64),
    ) -> Result<Evaluator<'a>, Error> {
        let selected = vec![Rc::default(); query.ids];
        let lookback = millis(options.lookback);
        let (steps, regexes) = (HashMap::new(), HashMap::new());
        let mut evaluator = Evaluator {
            options,
            start,
            end,
            step,
            lookback,
            selected,
            steps,
            nesting: 0,
            regexes,
            spent: 0,
        };
        evaluator.read(&query.expr, start, end, storage)?;
        Ok(evaluator)
    }

    /// Counts what has been done; an error once it is too much.
    fn spend(&mut self, amount: usize) -> Result<(), Error> {
        self.spent = self.spent.saturating_add(amount);
        if self.spent > self.options.max_samples {
            let message = format!(
                "the query needs more than {} samples and steps; narrow its selectors or its range",
                self.options.max_samples
            );
            return Err(Error::TooMuch(message));
        }
        if (self.options.stop)() {
            return Err(Error::Stopped);
        }
        Ok(())
    }

    /// The time a selector looks at.
    fn moment(&self, moment: Moment, time: i64) -> i64 {
        let time = match moment.at {
            None => time,
            Some(At::Start) => self.start,
            Some(At::End) => self.end,
            Some(At::Time(time)) => time,
        };
        time.saturating_sub(moment.offset.unwrap_or(0))
    }

    /// Reads what the selectors below need for evaluations between two times.
    fn read(
        &mut self,
        expr: &Expr,
        from: i64,
        to: i64,
        storage: &dyn Storage,
    ) -> Result<(), Error> {
        match &expr.kind {
            Kind::Selector(selector) => self.select(selector, self.lookback, from, to, storage),
            Kind::Matrix { selector, range } => {
                self.select(selector, *range, from, to, storage)?;
                // Functions of ranges do not see where a series ended.
                if let Some(series) = self.selected.get_mut(selector.id).and_then(Rc::get_mut) {
                    series.iter_mut().for_each(|series| series.samples.retain(|s| !ends(s)));
                }
                Ok(())
            }
            Kind::Subquery { expr, range, moment, .. } => {
                let from = self.moment(*moment, from).saturating_sub(*range);
                let to = self.moment(*moment, to);
                self.read(expr, from, to, storage)
            }
            Kind::Call { args, .. } => {
                args.iter().try_for_each(|arg| self.read(arg, from, to, storage))
            }
            Kind::Aggregate { expr, param, .. } => {
                self.read(expr, from, to, storage)?;
                param.iter().try_for_each(|param| self.read(param, from, to, storage))
            }
            Kind::Negate(inner) | Kind::Paren(inner) => self.read(inner, from, to, storage),
            Kind::Binary { lhs, rhs, .. } => {
                self.read(lhs, from, to, storage)?;
                self.read(rhs, from, to, storage)
            }
            Kind::Number(_) | Kind::Text(_) => Ok(()),
        }
    }

    fn select(
        &mut self,
        selector: &Selector,
        back: i64,
        from: i64,
        to: i64,
        storage: &dyn Storage,
    ) -> Result<(), Error> {
        let from = Timestamp(self.moment(selector.moment, from).saturating_sub(back));
        let to = Timestamp(self.moment(selector.moment, to));
        let mut series = storage.select(&selector.matchers, from, to).map_err(Error::Storage)?;
        if series.len() > self.options.max_series {
            let message = format!(
                "a selector finds {} series, more than {}; narrow it",
                series.len(),
                self.options.max_series
            );
            return Err(Error::TooMuch(message));
        }
        self.spend(series.iter().map(|series| series.samples.len()).sum())?;
        series.sort_by(|a, b| a.labels.cmp(&b.labels));
        if let Some(place) = self.selected.get_mut(selector.id) {
            *place = Rc::new(series);
        }
        Ok(())
    }

    fn series(&self, selector: &Selector) -> Rc<Vec<SeriesData>> {
        self.selected.get(selector.id).cloned().unwrap_or_default()
    }

    fn eval(&mut self, expr: &Expr, time: i64) -> Result<Out, Error> {
        match &expr.kind {
            Kind::Number(number) => Ok(Out::Scalar(*number)),
            Kind::Text(text) => Ok(Out::Text(text.clone())),
            Kind::Paren(inner) => self.eval(inner, time),
            Kind::Selector(selector) => {
                let mut items = self.latest(selector, time)?;
                items.iter_mut().for_each(|item| item.time = time);
                Ok(Out::Vector(items))
            }
            Kind::Negate(inner) => self.negate(inner, time),
            Kind::Call { function, args } => self.call(function.name, args, time),
            Kind::Aggregate { .. } => self.aggregate(expr, time).map(Out::Vector),
            Kind::Binary { .. } => self.binary(expr, time),
            Kind::Matrix { .. } | Kind::Subquery { .. } => {
                Err(Error::Evaluation("a range is no value at a time".to_owned()))
            }
        }
    }

    /// An expression whose type was checked to be a number.
    fn scalar(&mut self, expr: &Expr, time: i64) -> Result<f64, Error> {
        match self.eval(expr, time)? {
            Out::Scalar(number) => Ok(number),
            _ => Err(Error::Evaluation("expected a number".to_owned())),
        }
    }

    /// An expression whose type was checked to be a vector.
    fn vector(&mut self, expr: &Expr, time: i64) -> Result<Vec<Item>, Error> {
        match self.eval(expr, time)? {
            Out::Vector(items) => Ok(items),
            _ => Err(Error::Evaluation("expected an instant vector".to_owned())),
        }
    }

    /// The samples that hold at a time, with their own times.
    fn latest(&mut self, selector: &Selector, time: i64) -> Result<Vec<Item>, Error> {
        let series = self.series(selector);
        self.spend(series.len() + 1)?;
        let to = self.moment(selector.moment, time);
        let from = to.saturating_sub(self.lookback);
        let mut items = Vec::new();
        for SeriesData { labels, samples } in series.iter() {
            let behind = samples.partition_point(|sample| sample.time.0 <= to);
            let last = behind.checked_sub(1).and_then(|place| samples.get(place));
            if let Some(sample) = last.filter(|sample| sample.time.0 > from && !ends(sample)) {
                items.push(Item::new(labels.clone(), sample.value.clone(), sample.time.0));
            }
        }
        Ok(items)
    }

    /// Calls `f` with the samples of each series in a range, where there are any.
    fn windows(
        &mut self,
        expr: &Expr,
        time: i64,
        f: &mut dyn FnMut(&Labels, bool, &Window<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut each = |labels: &Labels, drop: bool, samples: &[Sample], start: i64, end: i64| {
            let first = samples.partition_point(|sample| sample.time.0 <= start);
            let behind = samples.partition_point(|sample| sample.time.0 <= end);
            match samples.get(first..behind) {
                None | Some([]) => Ok(()),
                Some(samples) => f(labels, drop, &Window { samples, start, end, now: time }),
            }
        };
        match &expr.bare().kind {
            Kind::Matrix { selector, range } => {
                let series = self.series(selector);
                self.spend(series.len() + 1)?;
                let end = self.moment(selector.moment, time);
                for SeriesData { labels, samples } in series.iter() {
                    each(labels, false, samples, end.saturating_sub(*range), end)?;
                }
            }
            Kind::Subquery { range, moment, .. } => {
                let end = self.moment(*moment, time);
                for (SeriesData { labels, samples }, drop) in &self.subquery(expr.bare(), end)?.list
                {
                    each(labels, *drop, samples, end.saturating_sub(*range), end)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Evaluates a subquery for the range that ends at a time.
    fn subquery(&mut self, expr: &Expr, end: i64) -> Result<Collected, Error> {
        let mut collected = Collected::default();
        let Kind::Subquery { id, expr, range, step, .. } = &expr.kind else { return Ok(collected) };
        let step = step.unwrap_or(millis(self.options.default_step)).max(1);
        let start = end.saturating_sub(*range);
        // Steps are multiples of the step, so that they do not move with the evaluation.
        let mut time = step * (start / step);
        if time <= start {
            time = time.saturating_add(step);
        }
        let steps = end.saturating_sub(time) / step;
        if usize::try_from(steps).is_ok_and(|steps| steps > self.options.max_samples) {
            self.spend(usize::MAX)?;
        }
        self.nesting += 1;
        while time <= end {
            let items = self.substep(*id, expr, time)?;
            collected.add(items.as_ref().clone(), time);
            time = time.saturating_add(step);
        }
        self.nesting -= 1;
        Ok(collected)
    }

    fn substep(&mut self, id: usize, expr: &Expr, time: i64) -> Result<Rc<Vec<Item>>, Error> {
        if let Some(known) = self.steps.get(&(id, time)) {
            return Ok(known.clone());
        }
        let items = Rc::new(self.vector(expr, time)?);
        self.spend(items.len() + 1)?;
        // Only where the same step comes up again.
        if self.start != self.end || self.nesting > 1 {
            self.steps.insert((id, time), items.clone());
        }
        Ok(items)
    }

    /// A range as the answer to a query.
    fn matrix(&mut self, expr: &Expr, time: i64) -> Result<Vec<SeriesData>, Error> {
        let mut matrix = Vec::new();
        let delayed = self.options.delayed_name_removal;
        self.windows(expr, time, &mut |labels, drop, window| {
            let labels = if drop && delayed { nameless(labels) } else { labels.clone() };
            matrix.push(SeriesData { labels, samples: window.samples.to_vec() });
            Ok(())
        })?;
        matrix.sort_by(|a, b| a.labels.cmp(&b.labels));
        Ok(matrix)
    }

    fn negate(&mut self, inner: &Expr, time: i64) -> Result<Out, Error> {
        let mut items = match self.eval(inner, time)? {
            Out::Scalar(number) => return Ok(Out::Scalar(-number)),
            Out::Text(text) => return Ok(Out::Text(text)),
            Out::Vector(items) => items,
        };
        for item in &mut items {
            item.value = match &item.value {
                Value::Float(number) => Value::Float(-number),
                Value::Histogram(h) => Value::Histogram(native::multiplied(h, -1.0).into()),
            };
            self.drop_name(item);
        }
        self.unique(&items)?;
        Ok(Out::Vector(items))
    }

    /// Takes the name away, now or at the end.
    fn drop_name(&self, item: &mut Item) {
        item.drop_name = true;
        if !self.options.delayed_name_removal {
            item.labels = nameless(&item.labels);
        }
    }

    /// Without the names that were to go at the end.
    fn without_names(&self, mut items: Vec<Item>) -> Result<Vec<Item>, Error> {
        if self.options.delayed_name_removal {
            for item in items.iter_mut().filter(|item| item.drop_name) {
                item.labels = nameless(&item.labels);
            }
        }
        check_unique(&items)?;
        Ok(items)
    }

    /// Refuses two values of the same series, unless names go only at the end.
    fn unique(&self, items: &[Item]) -> Result<(), Error> {
        if self.options.delayed_name_removal { Ok(()) } else { check_unique(items) }
    }
}

/// The sum of two histograms, the second times `factor`; `None` where they do not go together.
pub(crate) fn histograms_added(
    a: &NativeHistogram,
    b: &NativeHistogram,
    factor: f64,
) -> Option<NativeHistogram> {
    native::added(a, &native::multiplied(b, factor)).ok()
}

/// Reports whether two values are the same to the bit.
pub(crate) fn is_same_histogram(a: &NativeHistogram, b: &NativeHistogram) -> bool {
    native::is_same(&native::compacted(a.clone()), &native::compacted(b.clone()))
}

/// Refuses two values of the same series.
fn check_unique(items: &[Item]) -> Result<(), Error> {
    let mut known = std::collections::HashSet::with_capacity(items.len());
    if items.len() > 1 && !items.iter().all(|item| known.insert(&item.labels)) {
        let message = "vector cannot contain metrics with the same labelset".to_owned();
        return Err(Error::Evaluation(message));
    }
    Ok(())
}

/// Labels without the name and what describes it.
fn nameless(labels: &Labels) -> Labels {
    labels.filtered(|name| !matches!(name, NAME | "__type__" | "__unit__"))
}

/// Reports whether a sample says that its series ended.
fn ends(sample: &Sample) -> bool {
    match &sample.value {
        Value::Float(value) => is_stale(*value),
        Value::Histogram(h) => is_stale(h.sum),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use model::series::{Labels, NAME, Sample, Value};
    use model::units::Timestamp;

    use super::{Answer, Options, Query};
    use crate::error::Error;
    use crate::memory::MemoryStorage;

    fn storage(series: usize) -> MemoryStorage {
        let mut storage = MemoryStorage::default();
        for index in 0..series {
            let labels = Labels::new([(NAME, "up".to_owned()), ("i", index.to_string())]);
            for time in 0..10 {
                let value = Value::Float(f64::from(time));
                storage.add(&labels, Sample { time: Timestamp(i64::from(time) * 1000), value });
            }
        }
        storage
    }

    fn instant(text: &str, options: &Options<'_>) -> Result<Answer, Error> {
        Query::parse(text).unwrap().instant(&storage(3), Timestamp(9000), options)
    }

    #[test]
    fn the_deepest_query_fits_on_the_stack_of_a_thread() {
        let texts = [
            "(".repeat(90) + "up" + &")".repeat(90),
            "-".repeat(90) + "up",
            "up".to_owned() + &" + up".repeat(190),
            "abs(".repeat(90) + "up" + &")".repeat(90),
            "sum(".repeat(90) + "up" + &")".repeat(90),
            "up".to_owned() + &" or (up".repeat(60) + &")".repeat(60),
            "sum_over_time(".repeat(60) + "up" + &"[1s:1s])".repeat(60),
        ];
        for text in texts {
            assert!(matches!(instant(&text, &Options::default()), Ok(Answer::Vector(_))), "{text}");
        }
    }

    #[test]
    fn queries_stay_within_bounds() {
        let few = Options { max_samples: 20, ..Options::default() };
        assert!(matches!(instant("up", &few), Err(Error::TooMuch(_))));
        let few = Options { max_series: 2, ..Options::default() };
        assert!(matches!(instant("up", &few), Err(Error::TooMuch(_))));
        let all = Options::default();
        assert!(matches!(instant("max_over_time(up[100y:1ms])", &all), Err(Error::TooMuch(_))));
        let nested = "max_over_time(max_over_time(up[1h:1s])[1h:1s])";
        let few = Options { max_samples: 2000, ..Options::default() };
        assert!(matches!(instant(nested, &few), Err(Error::TooMuch(_))));
        let query = Query::parse("up").unwrap();
        let range = |end: i64| {
            query.range(&storage(1), Timestamp(0), Timestamp(end), Duration::from_secs(1), &all)
        };
        assert_eq!(range(9000).map(|series| series[0].samples.len()), Ok(10));
        assert!(matches!(range(11_000_000), Err(Error::TooMuch(_))));
        assert_eq!(range(-1000), Ok(Vec::new()));
    }

    #[test]
    fn queries_can_be_stopped() {
        let asked = Cell::new(0);
        let stop = || {
            asked.set(asked.get() + 1);
            asked.get() > 100
        };
        let options = Options { stop: &stop, ..Options::default() };
        assert_eq!(instant("max_over_time(up[1h:1s])", &options), Err(Error::Stopped));
    }

    #[test]
    fn names_are_those_that_are_read() {
        let query = Query::parse(r#"rate(b[5m]) + {__name__="a"} + sum(b) + {x="y"}"#).unwrap();
        assert_eq!(query.names(), ["a", "b"]);
    }
}
