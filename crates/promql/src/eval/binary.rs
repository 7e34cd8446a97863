//! Binary operators: numbers, series with numbers, and series joined by their labels.

use std::collections::{HashMap, HashSet};

use model::series::{Labels, NAME, NativeHistogram, Value};

use super::{Evaluator, Item, Out, nameless, native};
use crate::error::Error;
use crate::lang::{BinaryOp, Cardinality, Expr, Kind, Matching};

impl Evaluator<'_> {
    pub(super) fn binary(&mut self, expr: &Expr, time: i64) -> Result<Out, Error> {
        let Kind::Binary { op, lhs, rhs, matching } = &expr.kind else {
            return Ok(Out::Vector(Vec::new()));
        };
        let (lhs, rhs) = (self.eval(lhs, time)?, self.eval(rhs, time)?);
        let items = match (lhs, rhs) {
            (Out::Scalar(a), Out::Scalar(b)) => return Ok(Out::Scalar(of_numbers(*op, a, b))),
            (Out::Vector(items), Out::Scalar(number)) => {
                self.with_number(*op, items, number, false, matching.is_bool)
            }
            (Out::Scalar(number), Out::Vector(items)) => {
                self.with_number(*op, items, number, true, matching.is_bool)
            }
            (Out::Vector(lhs), Out::Vector(rhs)) if op.is_set() => set(*op, lhs, rhs, matching),
            (Out::Vector(lhs), Out::Vector(rhs)) => self.joined(*op, lhs, rhs, matching)?,
            _ => Vec::new(),
        };
        self.unique(&items)?;
        Ok(Out::Vector(items))
    }

    /// Each value with a number; `swapped` if the number is on the left.
    fn with_number(
        &self,
        op: BinaryOp,
        items: Vec<Item>,
        number: f64,
        swapped: bool,
        is_bool: bool,
    ) -> Vec<Item> {
        let number = Value::Float(number);
        let mut kept = Vec::with_capacity(items.len());
        for mut item in items {
            let result = if swapped {
                of_values(op, &number, &item.value)
            } else {
                of_values(op, &item.value, &number)
            };
            let Some((value, mut keep)) = result else { continue };
            // A comparison keeps the series' value, on whichever side it is.
            let mut value = if op.is_comparison() { item.value } else { value };
            if is_bool {
                value = Value::Float(f64::from(u8::from(keep)));
                keep = true;
            }
            item.value = value;
            if !op.is_comparison() || is_bool {
                self.drop_name(&mut item);
            }
            if keep {
                kept.push(item);
            }
        }
        kept
    }

    /// Series of both sides that match, one to one or with one side repeated.
    fn joined(
        &self,
        op: BinaryOp,
        lhs: Vec<Item>,
        rhs: Vec<Item>,
        matching: &Matching,
    ) -> Result<Vec<Item>, Error> {
        let fills = matching.fill_left.is_some() || matching.fill_right.is_some();
        if lhs.is_empty() && rhs.is_empty() || (lhs.is_empty() || rhs.is_empty()) && !fills {
            return Ok(Vec::new());
        }
        // From here on the left is the side that may repeat.
        let swapped = matching.cardinality == Cardinality::OneToMany;
        let (many, one) = if swapped { (rhs, lhs) } else { (lhs, rhs) };
        // As Prometheus: `fill_left` is of the side that may repeat, also where it is the right one.
        let (fill_many, fill_one) = (matching.fill_left, matching.fill_right);
        let ones = by_signature(&one, matching, if swapped { "left" } else { "right" })?;
        let mut join = Join { op, matching, swapped, matched: HashMap::new(), items: Vec::new() };
        for item in &many {
            let signature = signature(&item.labels, matching);
            match (ones.get(&signature), fill_one) {
                (Some(other), _) => self.pair(&mut join, item, other, signature)?,
                (None, Some(fill)) => {
                    let other = Item::new(signature.clone(), Value::Float(fill), item.time);
                    self.pair(&mut join, item, &other, signature)?;
                }
                (None, None) => {}
            }
        }
        let Some(fill) = fill_many else { return Ok(join.items) };
        for other in &one {
            let signature = signature(&other.labels, matching);
            if !join.matched.contains_key(&signature) {
                let item = Item::new(signature.clone(), Value::Float(fill), other.time);
                self.pair(&mut join, &item, other, signature)?;
            }
        }
        Ok(join.items)
    }

    /// Joins two series that match.
    fn pair(
        &self,
        join: &mut Join<'_>,
        many: &Item,
        one: &Item,
        signature: Labels,
    ) -> Result<(), Error> {
        let (left, right) = if join.swapped { (one, many) } else { (many, one) };
        let Some((mut value, keep)) = of_values(join.op, &left.value, &right.value) else {
            return Ok(());
        };
        let is_bool = join.matching.is_bool;
        if is_bool {
            value = Value::Float(f64::from(u8::from(keep)));
        }
        let drops = is_bool && !self.options.delayed_name_removal;
        let labels = result_labels(join.op, many, one, join.matching, drops);
        let known = join.matched.entry(signature).or_default();
        let message = if join.matching.cardinality == Cardinality::OneToOne {
            let again = !known.is_empty();
            known.insert(labels.clone());
            again.then_some(
                "multiple matches for labels: many-to-one matching must be explicit \
                 (group_left/group_right)",
            )
        } else {
            let again = !known.insert(labels.clone());
            again.then_some(
                "multiple matches for labels: grouping labels must ensure unique matches",
            )
        };
        if let Some(message) = message {
            return Err(Error::Evaluation(message.to_owned()));
        }
        if keep || is_bool {
            join.items.push(Item { labels, value, time: many.time, drop_name: is_bool });
        }
        Ok(())
    }
}

/// A join under way.
struct Join<'a> {
    op: BinaryOp,
    matching: &'a Matching,
    swapped: bool,
    /// Labels of results by what they matched on.
    matched: HashMap<Labels, HashSet<Labels>>,
    items: Vec<Item>,
}

/// What two series have to have in common.
fn signature(labels: &Labels, matching: &Matching) -> Labels {
    let listed = |name: &str| matching.labels.iter().any(|label| label == name);
    labels
        .filtered(|name| if matching.is_on { listed(name) } else { name != NAME && !listed(name) })
}

fn by_signature<'a>(
    items: &'a [Item],
    matching: &Matching,
    side: &str,
) -> Result<HashMap<Labels, &'a Item>, Error> {
    let mut known: HashMap<Labels, &Item> = HashMap::with_capacity(items.len());
    for item in items {
        let signature = signature(&item.labels, matching);
        if let Some(other) = known.insert(signature.clone(), item) {
            let mut both = [full(&item.labels), full(&other.labels)];
            both.sort();
            let [first, second] = both;
            return Err(Error::Evaluation(format!(
                "found duplicate series for the match group {} on the {side} hand-side of \
                 the operation: [{first}, {second}];many-to-many matching not allowed: matching \
                 labels must be unique on one side",
                full(&signature)
            )));
        }
    }
    Ok(known)
}

/// Labels with the name as one of them.
fn full(labels: &Labels) -> String {
    let all = labels.iter().map(|(name, value)| format!("{name}={value:?}"));
    format!("{{{}}}", all.collect::<Vec<_>>().join(", "))
}

fn result_labels(
    op: BinaryOp,
    many: &Item,
    one: &Item,
    matching: &Matching,
    drops_name: bool,
) -> Labels {
    let mut labels = many.labels.clone();
    if drops_name || !op.is_comparison() {
        labels = nameless(&labels);
    }
    if matching.cardinality == Cardinality::OneToOne {
        let listed = |name: &str| matching.labels.iter().any(|label| label == name);
        labels = labels.filtered(|name| listed(name) == matching.is_on);
    }
    if matching.include.is_empty() {
        return labels;
    }
    let included = |name: &'_ String| one.labels.get(name).unwrap_or_default().to_owned();
    let included: Vec<(&String, String)> =
        matching.include.iter().map(|name| (name, included(name))).collect();
    labels.with(included.iter().map(|(name, value)| (name.as_str(), value.as_str())))
}

/// `and`, `or`, `unless`.
fn set(op: BinaryOp, mut lhs: Vec<Item>, mut rhs: Vec<Item>, matching: &Matching) -> Vec<Item> {
    let signatures = |items: &[Item]| -> HashSet<Labels> {
        items.iter().map(|item| signature(&item.labels, matching)).collect()
    };
    match op {
        BinaryOp::Or => {
            let known = signatures(&lhs);
            rhs.retain(|item| !known.contains(&signature(&item.labels, matching)));
            lhs.append(&mut rhs);
        }
        _ => {
            let known = signatures(&rhs);
            let wanted = op == BinaryOp::And;
            lhs.retain(|item| known.contains(&signature(&item.labels, matching)) == wanted);
        }
    }
    lhs
}

fn of_numbers(op: BinaryOp, a: f64, b: f64) -> f64 {
    let truth = |truth: bool| f64::from(u8::from(truth));
    match op {
        BinaryOp::Add => a + b,
        BinaryOp::Sub => a - b,
        BinaryOp::Mul => a * b,
        BinaryOp::Div => a / b,
        BinaryOp::Mod => a % b,
        BinaryOp::Pow => a.powf(b),
        BinaryOp::Atan2 => a.atan2(b),
        _ => truth(compares(op, a, b)),
    }
}

fn compares(op: BinaryOp, a: f64, b: f64) -> bool {
    match op {
        BinaryOp::Equal => a == b,
        BinaryOp::NotEqual => a != b,
        BinaryOp::Less => a < b,
        BinaryOp::LessOrEqual => a <= b,
        BinaryOp::Greater => a > b,
        BinaryOp::GreaterOrEqual => a >= b,
        _ => false,
    }
}

/// The result and whether a comparison holds; `None` where the values do not go together.
fn of_values(op: BinaryOp, a: &Value, b: &Value) -> Option<(Value, bool)> {
    let histogram = |h: NativeHistogram| Some((Value::Histogram(h.into()), true));
    match (a, b) {
        (Value::Float(x), Value::Float(y)) if op.is_comparison() => {
            Some((a.clone(), compares(op, *x, *y)))
        }
        (Value::Float(x), Value::Float(y)) => Some((Value::Float(of_numbers(op, *x, *y)), true)),
        (Value::Float(x), Value::Histogram(h)) | (Value::Histogram(h), Value::Float(x))
            if op == BinaryOp::Mul =>
        {
            histogram(native::multiplied(h, *x))
        }
        (Value::Histogram(h), Value::Float(x)) if op == BinaryOp::Div => {
            histogram(native::divided(h, *x))
        }
        (Value::Histogram(x), Value::Histogram(y)) => match op {
            BinaryOp::Add => histogram(native::added(x, y).ok()?),
            BinaryOp::Sub => {
                let mut difference = native::subtracted(x, y).ok()?;
                difference.is_gauge = true;
                histogram(difference)
            }
            BinaryOp::Equal => Some((a.clone(), native::is_same(x, y))),
            BinaryOp::NotEqual => Some((a.clone(), !native::is_same(x, y))),
            _ => None,
        },
        _ => None,
    }
}
