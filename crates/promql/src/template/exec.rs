//! Runs templates, within bounds.

use std::sync::Arc;

use super::functions::{self, Call};
use super::parse::{Base, Defined, Node, Operand, Pipeline};
use super::value::Value;
use super::{Context, Dialect, TemplateError, format};
use crate::error::Place;

/// Nodes and commands a template may run.
const MAX_STEPS: usize = 1_000_000;
/// Templates that may be within each other.
const MAX_DEPTH: usize = 50;
/// Blocks that may be within each other, over all templates.
const MAX_NESTING: usize = 200;
/// Largest value, in bytes; answers to queries may be larger than what is written of them.
const MAX_VALUE: usize = 8 << 20;
/// So many bytes that a function gives count as a step.
const BYTES_PER_STEP: usize = 64;

/// A template that runs.
pub(super) struct Run<'a> {
    pub dialect: Dialect,
    pub context: &'a Context<'a>,
    /// Where templates are looked up, first to last.
    pub defined: [&'a Defined; 2],
    pub variables: Vec<(String, Value)>,
    pub output: String,
    pub steps: usize,
    pub depth: usize,
    pub nesting: usize,
}

/// How a list of nodes ended.
#[derive(PartialEq)]
enum Flow {
    On,
    Break,
    Continue,
}

type Failure = TemplateError;

impl Run<'_> {
    pub(super) fn body(&mut self, nodes: &[Node], dot: &Value) -> Result<(), Failure> {
        self.list(nodes, dot).map(|_| ())
    }

    fn step(&mut self, place: Place) -> Result<(), Failure> {
        self.steps += 1;
        let message = if self.steps > MAX_STEPS {
            format!("the template takes more than {MAX_STEPS} steps")
        } else if self.output.len() > self.context.max_bytes {
            format!("the template writes more than {} bytes", self.context.max_bytes)
        } else {
            return Ok(());
        };
        Err(TemplateError { place, message })
    }

    fn list(&mut self, nodes: &[Node], dot: &Value) -> Result<Flow, Failure> {
        if self.nesting >= MAX_NESTING {
            let message = "the template calls itself within too many blocks".to_owned();
            return Err(TemplateError { place: Place::default(), message });
        }
        self.nesting += 1;
        let known = self.variables.len();
        let mut flow = Flow::On;
        for node in nodes {
            flow = self.node(node, dot)?;
            if flow != Flow::On {
                break;
            }
        }
        self.variables.truncate(known);
        self.nesting -= 1;
        Ok(flow)
    }

    /// Counts what a function gave, so that no variable grows without bounds.
    fn charge(&mut self, value: &Value, place: Place) -> Result<(), Failure> {
        let Some(weight) = value.weight(MAX_VALUE) else {
            let message =
                format!("a value takes more than {MAX_VALUE} bytes, or is nested too deeply");
            return Err(TemplateError { place, message });
        };
        self.steps = self.steps.saturating_add(weight / BYTES_PER_STEP);
        self.step(place)
    }

    fn node(&mut self, node: &Node, dot: &Value) -> Result<Flow, Failure> {
        match node {
            Node::Text(text) => self.output.push_str(text),
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
            Node::Action(pipeline) => {
                let value = self.pipeline(pipeline, dot)?;
                if pipeline.variables.is_empty() {
                    self.print(&value);
                }
            }
            Node::If(branches, otherwise) => {
                return self.branches(branches, otherwise, dot, false);
            }
            Node::With(branches, otherwise) => {
                return self.branches(branches, otherwise, dot, true);
            }
            Node::Range(pipeline, body, otherwise) => {
                return self.range(pipeline, body, otherwise, dot);
            }
            Node::Template { name, data, place } => {
                let data = match data {
                    Some(pipeline) => self.pipeline(pipeline, dot)?,
                    None => Value::Null,
                };
                self.template(name, &data, *place)?;
            }
        }
        Ok(Flow::On)
    }

    fn branches(
        &mut self,
        branches: &[(Pipeline, Vec<Node>)],
        otherwise: &[Node],
        dot: &Value,
        moves_dot: bool,
    ) -> Result<Flow, Failure> {
        let known = self.variables.len();
        let mut flow = None;
        for (pipeline, body) in branches {
            let value = self.pipeline(pipeline, dot)?;
            if value.is_true() {
                flow = Some(self.list(body, if moves_dot { &value } else { dot })?);
                break;
            }
        }
        let flow = match flow {
            Some(flow) => flow,
            None => self.list(otherwise, dot)?,
        };
        self.variables.truncate(known);
        Ok(flow)
    }

    fn range(
        &mut self,
        pipeline: &Pipeline,
        body: &[Node],
        otherwise: &[Node],
        dot: &Value,
    ) -> Result<Flow, Failure> {
        let known = self.variables.len();
        let plain = Pipeline { variables: Vec::new(), ..pipeline.clone() };
        let over = self.pipeline(&plain, dot)?;
        let count = match &over {
            Value::List(list) => list.len(),
            Value::Map(map) => map.len(),
            Value::Int(count) => usize::try_from(*count).unwrap_or(0),
            Value::Null => 0,
            other => {
                let message = format!("range can't iterate over {}", other.type_name());
                return Err(TemplateError { place: pipeline.place, message });
            }
        };
        if count == 0 {
            return self.list(otherwise, dot);
        }
        let mut entries = match &over {
            Value::Map(map) => Some(map.iter()),
            _ => None,
        };
        for index in 0..count {
            self.step(pipeline.place)?;
            let number = Value::Int(i64::try_from(index).unwrap_or(i64::MAX));
            let (key, element) = match (&over, entries.as_mut().and_then(Iterator::next)) {
                (_, Some((key, element))) => (Value::Str(key.clone()), element.clone()),
                (Value::List(list), _) => (number, list.get(index).cloned().unwrap_or_default()),
                _ => (number.clone(), number),
            };
            match pipeline.variables.as_slice() {
                [only] => self.set(only, element.clone(), pipeline.declares),
                [first, second] => {
                    self.set(first, key, pipeline.declares);
                    self.set(second, element.clone(), pipeline.declares);
                }
                _ => {}
            }
            let flow = self.list(body, &element)?;
            self.variables.truncate(known);
            if flow == Flow::Break {
                break;
            }
        }
        Ok(Flow::On)
    }

    fn template(&mut self, name: &str, data: &Value, place: Place) -> Result<(), Failure> {
        let found = self.defined.iter().find_map(|defined| defined.get(name));
        let nodes: Arc<Vec<Node>> = match found {
            Some(nodes) => nodes.clone(),
            None => {
                let message = format!("template {name:?} not defined");
                return Err(TemplateError { place, message });
            }
        };
        if self.depth >= MAX_DEPTH {
            let message = format!("exceeded maximum template depth ({MAX_DEPTH})");
            return Err(TemplateError { place, message });
        }
        self.depth += 1;
        let root = vec![("$".to_owned(), data.clone())];
        let outer = std::mem::replace(&mut self.variables, root);
        let done = self.body(&nodes, data);
        self.variables = outer;
        self.depth -= 1;
        done
    }

    fn print(&mut self, value: &Value) {
        let text = match value {
            Value::Null => "<no value>".to_owned(),
            // Alertmanager's maps of labels print as pairs.
            Value::Map(map) if self.dialect == Dialect::Alertmanager => {
                let pair =
                    |(key, value): (&String, &Value)| format!("{key}={}", format::text(value));
                map.iter().map(pair).collect::<Vec<_>>().join(", ")
            }
            other => format::text(other),
        };
        if self.context.escapes_html && !matches!(value, Value::Html(_)) {
            self.output.push_str(&format::html(&text));
        } else {
            self.output.push_str(&text);
        }
    }

    fn set(&mut self, name: &str, value: Value, declares: bool) {
        let known = self.variables.iter_mut().rev().find(|(known, _)| known == name);
        match known {
            Some((_, known)) if !declares => *known = value,
            _ => self.variables.push((name.to_owned(), value)),
        }
    }

    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value, Failure> {
        let mut value = None;
        for command in &pipeline.commands {
            self.step(pipeline.place)?;
            value = Some(self.command(command, dot, value)?);
        }
        let value = value.unwrap_or_default();
        for name in &pipeline.variables {
            if !pipeline.declares && !self.variables.iter().any(|(known, _)| known == name) {
                let message = format!("undefined variable: {name}");
                return Err(TemplateError { place: pipeline.place, message });
            }
            self.set(name, value.clone(), pipeline.declares);
        }
        Ok(value)
    }

    fn command(
        &mut self,
        operands: &[Operand],
        dot: &Value,
        piped: Option<Value>,
    ) -> Result<Value, Failure> {
        let Some((first, rest)) = operands.split_first() else { return Ok(Value::Null) };
        let fail = |message: String| TemplateError { place: first.place, message };
        if let Base::Function(name) = &first.base {
            let value = match name.as_str() {
                "and" | "or" => self.and_or(name == "and", rest, dot, piped)?,
                _ => {
                    let args = self.args(rest, dot, piped)?;
                    functions::call(
                        name,
                        &args,
                        &Call { context: self.context, dialect: self.dialect },
                    )
                    .map_err(|message| fail(format!("error calling {name}: {message}")))?
                }
            };
            self.charge(&value, first.place)?;
            return fields(value, &first.fields, &[]).map_err(fail);
        }
        let base = self.base(first, dot)?;
        if matches!(first.base, Base::Constant(Value::Null)) {
            return Err(fail("nil is not a command".to_owned()));
        }
        if first.fields.is_empty() && (!rest.is_empty() || piped.is_some()) {
            return Err(fail(format!("can't give argument to non-function {}", base.type_name())));
        }
        let args = self.args(rest, dot, piped)?;
        fields(base, &first.fields, &args).map_err(fail)
    }

    /// `and` and `or` stop at the first argument that decides.
    fn and_or(
        &mut self,
        is_and: bool,
        operands: &[Operand],
        dot: &Value,
        piped: Option<Value>,
    ) -> Result<Value, Failure> {
        let mut value = Value::Null;
        for operand in operands {
            value = self.operand(operand, dot)?;
            if value.is_true() != is_and {
                return Ok(value);
            }
        }
        Ok(piped.unwrap_or(value))
    }

    fn args(
        &mut self,
        operands: &[Operand],
        dot: &Value,
        piped: Option<Value>,
    ) -> Result<Vec<Value>, Failure> {
        let mut args = Vec::with_capacity(operands.len() + 1);
        for operand in operands {
            args.push(self.operand(operand, dot)?);
        }
        args.extend(piped);
        Ok(args)
    }

    fn operand(&mut self, operand: &Operand, dot: &Value) -> Result<Value, Failure> {
        if let Base::Function(_) = operand.base {
            return self.command(std::slice::from_ref(operand), dot, None);
        }
        let base = self.base(operand, dot)?;
        let fail = |message: String| TemplateError { place: operand.place, message };
        fields(base, &operand.fields, &[]).map_err(fail)
    }

    fn base(&mut self, operand: &Operand, dot: &Value) -> Result<Value, Failure> {
        Ok(match &operand.base {
            Base::Dot => dot.clone(),
            Base::Constant(value) => value.clone(),
            Base::Pipeline(pipeline) => self.pipeline(pipeline, dot)?,
            Base::Variable(name) => {
                let known = self.variables.iter().rev().find(|(known, _)| known == name);
                known.map(|(_, value)| value.clone()).unwrap_or_default()
            }
            Base::Function(_) => Value::Null,
        })
    }
}

/// Takes fields one after the other; arguments go to the last, which then is a method.
fn fields(mut value: Value, names: &[String], args: &[Value]) -> Result<Value, String> {
    for (index, name) in names.iter().enumerate() {
        let args = if index + 1 == names.len() { args } else { &[] };
        value = field(&value, name, args)?;
    }
    Ok(value)
}

fn field(value: &Value, name: &str, args: &[Value]) -> Result<Value, String> {
    let missing = || format!("can't evaluate field {name} in type {}", value.type_name());
    if !args.is_empty() && !matches!((value, name), (Value::Map(_), "Remove") | (Value::Time(_), _))
    {
        return Err(format!("{name} is not a method but has arguments"));
    }
    match value {
        Value::Object(fields) => fields.get(name).cloned().ok_or_else(missing),
        Value::Map(map) => match (map.get(name), name) {
            (Some(value), _) => Ok(value.clone()),
            (None, "SortedPairs" | "Names" | "Values" | "Remove") => {
                functions::of_map(map, name, args)
            }
            (None, _) => Ok(Value::Str(String::new())),
        },
        Value::List(list) => functions::of_list(list, name).ok_or_else(missing),
        Value::Time(time) => functions::of_time(*time, name, args)?.ok_or_else(missing),
        Value::Duration(nanos) => {
            let seconds = *nanos as f64 / 1e9;
            match name {
                "Seconds" => Ok(Value::Float(seconds)),
                "Minutes" => Ok(Value::Float(seconds / 60.0)),
                "Hours" => Ok(Value::Float(seconds / 3600.0)),
                "String" => Ok(Value::Str(format::text(value))),
                _ => Err(missing()),
            }
        }
        Value::Null => Err(format!("nil data; no entry for key {name:?}")),
        _ => Err(missing()),
    }
}
