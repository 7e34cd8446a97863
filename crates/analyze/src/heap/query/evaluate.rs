//! Runs a query over all objects.
//!
//! Memory is bounded by the options, whatever the query: rows that are sorted are thinned
//! as soon as there are twice as many as the limit, and groups beyond their number are an
//! error.

use std::cell::RefCell;
use std::cmp::Ordering;

use ahash::AHashMap;
use model::heap::{HeapGraph, ObjectId};

use super::source::Source;
use super::syntax::{Expr, Operator, Summing, Syntax};
use super::value::{Key, Value};
use super::{Answer, QueryError, QueryOptions};
use crate::heap::{Dominators, Node};

pub(super) fn run(
    graph: &HeapGraph<'_>,
    dominators: &Dominators,
    query: &Syntax,
    options: &QueryOptions,
) -> Result<Answer, QueryError> {
    let of_type = RefCell::new(vec![vec![None; graph.types.len()]; query.of_type]);
    let run = Run { query, source: Source::new(graph, dominators, query), of_type };
    let mut rows = Rows::new(query, options);
    if query.is_grouped() {
        run.grouped(&mut rows, options)?;
    } else {
        run.single(&mut rows);
    }
    let names = query.items.iter().map(|item| item.name.clone()).collect();
    Ok(rows.finish(names))
}

struct Run<'r> {
    query: &'r Syntax,
    source: Source<'r>,
    /// Results of expressions that depend on the type only.
    of_type: RefCell<Vec<Vec<Option<Value>>>>,
}

/// What an expression is evaluated on.
struct At<'a> {
    object: ObjectId,
    keys: &'a [Value],
    sums: &'a [Sum],
}

impl Run<'_> {
    fn single(&self, rows: &mut Rows<'_>) {
        for object in (0..self.source.graph.len() as u32).map(ObjectId) {
            let at = At { object, keys: &[], sums: &[] };
            if !self.passes(&self.query.filter, &at) {
                continue;
            }
            if !rows.add(self.row(&at)) {
                return;
            }
        }
    }

    /// Dominators come before what they dominate, so that what a group retains adds up in
    /// one pass.
    fn grouped(&self, rows: &mut Rows<'_>, options: &QueryOptions) -> Result<(), QueryError> {
        let dominators = self.source.dominators;
        let live = (0..dominators.len()).filter_map(|number| dominators.object_at(number));
        let all = (0..self.source.graph.len() as u32).map(ObjectId);
        let lost = all.filter(|object| !dominators.is_reachable(Node::Object(*object)));
        let mut groups: Vec<Group> = Vec::new();
        let mut known: AHashMap<Vec<Key>, usize> = AHashMap::new();
        if self.query.group.is_empty() {
            groups.push(Group::new(Vec::new(), self.query));
        }
        for object in live.chain(lost) {
            let at = At { object, keys: &[], sums: &[] };
            if !self.passes(&self.query.filter, &at) {
                continue;
            }
            let mut index = 0;
            if !self.query.group.is_empty() {
                let values: Vec<Value> =
                    self.query.group.iter().map(|expr| self.value(expr, &at)).collect();
                let keys: Vec<Key> = values.iter().map(Key::of).collect();
                index = *known.entry(keys).or_insert(groups.len());
                if index == groups.len() {
                    groups.push(Group::new(values, self.query));
                }
                if groups.len() > options.groups_max {
                    let what = format!("more than {} groups", options.groups_max);
                    return Err(QueryError::new(0, what));
                }
            }
            if let Some(group) = groups.get_mut(index) {
                self.count(group, &at);
            }
        }
        for group in &groups {
            // Only keys and sums are asked for from here on.
            let at = At { object: ObjectId(u32::MAX), keys: &group.keys, sums: &group.sums };
            if self.passes(&self.query.having, &at) {
                rows.add(self.row(&at));
            }
        }
        Ok(())
    }

    fn count(&self, group: &mut Group, at: &At<'_>) {
        for (sum, aggregate) in group.sums.iter_mut().zip(&self.query.aggregates) {
            let value = aggregate.argument.as_ref().map(|argument| self.value(argument, at));
            match (&value, aggregate.kind) {
                (_, Summing::Retained) => {
                    let dominators = self.source.dominators;
                    let number = dominators.number_of(Node::Object(at.object));
                    if let Some(number) = number.filter(|number| *number >= sum.until) {
                        sum.total += i128::from(dominators.retained_bytes_at(number));
                        sum.until = dominators.range(number).end;
                    }
                    sum.count += 1;
                }
                (Some(Value::Null), _) => {}
                (None, _) => sum.count += 1,
                (Some(value), _) => sum.add(value),
            }
        }
    }

    fn row(&self, at: &At<'_>) -> Row {
        let cells = self.query.items.iter().map(|item| self.value(&item.expr, at)).collect();
        let order = self.query.order.iter().map(|(expr, _)| self.value(expr, at)).collect();
        Row { cells, order, nth: 0 }
    }

    fn passes(&self, filter: &Option<Expr>, at: &At<'_>) -> bool {
        filter.as_ref().is_none_or(|filter| self.value(filter, at).is_true())
    }

    fn value(&self, expr: &Expr, at: &At<'_>) -> Value {
        match expr {
            Expr::Literal(value) => value.clone(),
            Expr::Column(column) => self.source.column(*column, at.object),
            Expr::Field(field) => self.source.field(*field, at.object),
            Expr::Key(index) => at.keys.get(*index).cloned().unwrap_or(Value::Null),
            Expr::Aggregate(index) => {
                let kind = self.query.aggregates.get(*index).map(|aggregate| aggregate.kind);
                let sum = at.sums.get(*index).zip(kind);
                sum.map_or(Value::Null, |(sum, kind)| sum.value(kind))
            }
            Expr::OfType(inner, index) => self.of_type(inner, *index, at),
            Expr::Not(inner) => match self.value(inner, at) {
                Value::Bool(value) => Value::Bool(!value),
                _ => Value::Null,
            },
            Expr::IsNull(inner) => Value::Bool(self.value(inner, at) == Value::Null),
            Expr::Negate(inner) => match self.value(inner, at) {
                Value::Real(value) => Value::Real(-value),
                value => value.int().map_or(Value::Null, |value| Value::Int(-value)),
            },
            Expr::Matches(inner, pattern) => match self.value(inner, at) {
                Value::Null => Value::Null,
                value => {
                    let pattern = self.query.patterns.get(*pattern);
                    let text = value.to_string();
                    Value::Bool(pattern.is_some_and(|pattern| pattern.is_match(&text)))
                }
            },
            Expr::Binary(operator, left, right) => self.binary(*operator, left, right, at),
        }
    }

    fn of_type(&self, inner: &Expr, index: usize, at: &At<'_>) -> Value {
        let of = self.source.graph.type_of(at.object).0 as usize;
        let known = |results: &Vec<Vec<Option<Value>>>| results.get(index)?.get(of)?.clone();
        if let Some(value) = known(&self.of_type.borrow()) {
            return value;
        }
        let value = self.value(inner, at);
        let mut results = self.of_type.borrow_mut();
        if let Some(slot) = results.get_mut(index).and_then(|results| results.get_mut(of)) {
            *slot = Some(value.clone());
        }
        value
    }

    fn binary(&self, operator: Operator, left: &Expr, right: &Expr, at: &At<'_>) -> Value {
        let left = self.value(left, at);
        match (operator, &left) {
            (Operator::And, Value::Bool(false)) | (Operator::Or, Value::Bool(true)) => return left,
            _ => {}
        }
        let right = self.value(right, at);
        let compared = |holds: fn(Ordering) -> bool| {
            left.compare(&right).map_or(Value::Null, |order| Value::Bool(holds(order)))
        };
        match operator {
            // What is known decides alone where it can.
            Operator::And | Operator::Or => match (&left, &right) {
                (Value::Bool(a), Value::Bool(b)) if operator == Operator::And => {
                    Value::Bool(*a && *b)
                }
                (Value::Bool(a), Value::Bool(b)) => Value::Bool(*a || *b),
                (_, Value::Bool(b)) if *b == (operator == Operator::Or) => Value::Bool(*b),
                _ => Value::Null,
            },
            Operator::Equal => compared(Ordering::is_eq),
            Operator::NotEqual => compared(Ordering::is_ne),
            Operator::Less => compared(Ordering::is_lt),
            Operator::LessEqual => compared(Ordering::is_le),
            Operator::Greater => compared(Ordering::is_gt),
            Operator::GreaterEqual => compared(Ordering::is_ge),
            _ => calculate(operator, &left, &right),
        }
    }
}

/// Whole numbers stay whole but for quotients; what has no result is null.
fn calculate(operator: Operator, left: &Value, right: &Value) -> Value {
    if let (Some(a), Some(b)) = (left.int(), right.int())
        && operator != Operator::Divide
    {
        let result = match operator {
            Operator::Add => a.checked_add(b),
            Operator::Subtract => a.checked_sub(b),
            Operator::Multiply => a.checked_mul(b),
            _ => a.checked_rem(b),
        };
        return result.map_or(Value::Null, Value::Int);
    }
    let (Some(a), Some(b)) = (left.real(), right.real()) else { return Value::Null };
    let result = match operator {
        Operator::Add => a + b,
        Operator::Subtract => a - b,
        Operator::Multiply => a * b,
        Operator::Divide => a / b,
        _ => a % b,
    };
    if result.is_finite() { Value::Real(result) } else { Value::Null }
}

struct Group {
    keys: Vec<Value>,
    sums: Vec<Sum>,
}

impl Group {
    fn new(keys: Vec<Value>, query: &Syntax) -> Group {
        Group { keys, sums: vec![Sum::default(); query.aggregates.len()] }
    }
}

/// A sum under way.
#[derive(Clone, Debug, Default)]
struct Sum {
    count: u64,
    total: i128,
    total_real: f64,
    has_real: bool,
    least: Option<Value>,
    most: Option<Value>,
    /// Where the retained set ends that was counted last.
    until: u32,
}

impl Sum {
    fn add(&mut self, value: &Value) {
        self.count += 1;
        match value.int() {
            Some(value) => self.total = self.total.saturating_add(value),
            None => {
                self.has_real |= matches!(value, Value::Real(_));
                self.total_real += value.real().unwrap_or(0.0);
            }
        }
        if self.least.as_ref().is_none_or(|least| value.order(least).is_lt()) {
            self.least = Some(value.clone());
        }
        if self.most.as_ref().is_none_or(|most| value.order(most).is_gt()) {
            self.most = Some(value.clone());
        }
    }

    fn value(&self, kind: Summing) -> Value {
        let real = self.total as f64 + self.total_real;
        match kind {
            Summing::Count => Value::Int(i128::from(self.count)),
            Summing::Retained => Value::Int(self.total),
            _ if self.count == 0 => Value::Null,
            Summing::Sum if self.has_real => Value::Real(real),
            Summing::Sum => Value::Int(self.total),
            Summing::Mean => Value::Real(real / self.count as f64),
            Summing::Least => self.least.clone().unwrap_or(Value::Null),
            Summing::Most => self.most.clone().unwrap_or(Value::Null),
        }
    }
}

struct Row {
    cells: Vec<Value>,
    order: Vec<Value>,
    /// The place before sorting, which decides between equals.
    nth: usize,
}

struct Rows<'r> {
    query: &'r Syntax,
    limit: usize,
    /// Whether the limit is the caller's and not the query's.
    is_capped: bool,
    rows: Vec<Row>,
    count: usize,
}

impl<'r> Rows<'r> {
    fn new(query: &'r Syntax, options: &QueryOptions) -> Rows<'r> {
        let asked = query.limit.unwrap_or(usize::MAX);
        let is_capped = asked > options.rows_max;
        Rows { query, limit: asked.min(options.rows_max), is_capped, rows: Vec::new(), count: 0 }
    }

    /// Adds a row; false where no further row can be in the answer.
    fn add(&mut self, mut row: Row) -> bool {
        row.nth = self.count;
        self.count += 1;
        if self.query.order.is_empty() {
            if self.rows.len() < self.limit {
                self.rows.push(row);
                return true;
            }
            return false;
        }
        self.rows.push(row);
        if self.rows.len() > self.limit.saturating_mul(2).max(1024) {
            self.thin();
        }
        true
    }

    fn thin(&mut self) {
        let query = self.query;
        if self.limit == 0 {
            self.rows.clear();
        } else if self.rows.len() > self.limit {
            self.rows.select_nth_unstable_by(self.limit - 1, |a, b| order(query, a, b));
            self.rows.truncate(self.limit);
        }
    }

    fn finish(mut self, names: Vec<String>) -> Answer {
        let is_cut = self.is_capped && self.count > self.limit;
        if !self.query.order.is_empty() {
            self.thin();
            let query = self.query;
            self.rows.sort_by(|a, b| order(query, a, b));
        }
        let rows = self.rows.into_iter().map(|row| row.cells).collect();
        Answer { names, rows, is_cut }
    }
}

fn order(query: &Syntax, a: &Row, b: &Row) -> Ordering {
    let keys = a.order.iter().zip(&b.order).zip(&query.order);
    let by_key = keys.map(|((a, b), (_, is_descending))| {
        let order = a.order(b);
        if *is_descending { order.reverse() } else { order }
    });
    by_key.fold(Ordering::Equal, Ordering::then).then(a.nth.cmp(&b.nth))
}
