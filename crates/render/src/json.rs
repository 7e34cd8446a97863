//! JSON building blocks of the documented contracts.

use model::{Frame, Interval, Target};
use serde_json::{Map, Value, json};

/// A number, or null when it is infinite: JSON has no infinity.
pub fn number(value: f64) -> Value {
    serde_json::Number::from_f64(value).map_or(Value::Null, Value::Number)
}

/// An integer; a string beyond 2^53, up to where JavaScript reads integers exactly.
pub fn integer(number: i64) -> Value {
    if number.unsigned_abs() <= 1 << 53 { number.into() } else { number.to_string().into() }
}

/// As [`integer`], of a number without sign.
pub fn unsigned(number: u64) -> Value {
    if number <= 1 << 53 { number.into() } else { number.to_string().into() }
}

/// `{"estimate", "low", "high"}`; an unbounded end is null.
pub fn interval(interval: Interval) -> Value {
    json!({
        "estimate": number(interval.estimate),
        "low": number(interval.low),
        "high": number(interval.high),
    })
}

/// A frame as `{"function", "file", "line"}`.
pub fn frame(frame: &Frame) -> Value {
    json!({ "function": frame.function, "file": frame.file, "line": frame.line })
}

/// A target.
pub fn target(target: &Target) -> Value {
    let labels: Map<String, Value> =
        target.labels.iter().map(|(key, value)| (key.clone(), value.clone().into())).collect();
    json!({
        "name": target.name,
        "spec": target.spec.to_string(),
        "pid": target.pid,
        "labels": labels,
    })
}
