//! Values of a query.

use std::cmp::Ordering;
use std::fmt;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Not known, or without meaning for the object.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i128),
    /// A number with a fraction.
    Real(f64),
    /// An address; compares as a number.
    Address(u64),
    /// Text.
    Text(String),
}

impl Value {
    /// Whether the value is true; unknown is not.
    pub(super) fn is_true(&self) -> bool {
        matches!(self, Value::Bool(true))
    }

    pub(super) fn int(&self) -> Option<i128> {
        match self {
            Value::Int(value) => Some(*value),
            Value::Address(value) => Some(i128::from(*value)),
            _ => None,
        }
    }

    pub(super) fn real(&self) -> Option<f64> {
        match self {
            Value::Real(value) => Some(*value),
            _ => self.int().map(|value| value as f64),
        }
    }

    /// Compares two values of one kind; `None` where they are not comparable or unknown.
    pub(super) fn compare(&self, other: &Value) -> Option<Ordering> {
        match (self, other) {
            (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
            (Value::Text(a), Value::Text(b)) => Some(a.cmp(b)),
            _ => match (self.int(), other.int()) {
                (Some(a), Some(b)) => Some(a.cmp(&b)),
                _ => self.real()?.partial_cmp(&other.real()?),
            },
        }
    }

    /// A total order for sorting: unknown first, then by kind, then by value.
    pub(super) fn order(&self, other: &Value) -> Ordering {
        self.compare(other).unwrap_or_else(|| self.rank().cmp(&other.rank()))
    }

    fn rank(&self) -> u8 {
        match self {
            Value::Null => 0,
            Value::Bool(_) => 1,
            Value::Int(_) | Value::Real(_) | Value::Address(_) => 2,
            Value::Text(_) => 3,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => f.write_str("null"),
            Value::Bool(value) => write!(f, "{value}"),
            Value::Int(value) => write!(f, "{value}"),
            Value::Real(value) => write!(f, "{value:.3}"),
            Value::Address(value) => write!(f, "{value:#x}"),
            Value::Text(value) => f.write_str(value),
        }
    }
}

/// A value as the key of a group. Numbers that are equal are one key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Null,
    Bool(bool),
    Int(i128),
    Real(u64),
    Text(String),
}

impl Key {
    pub(super) fn of(value: &Value) -> Key {
        match value {
            Value::Null => Key::Null,
            Value::Bool(value) => Key::Bool(*value),
            Value::Int(value) => Key::Int(*value),
            Value::Address(value) => Key::Int(i128::from(*value)),
            Value::Real(value) => Key::Real(value.to_bits()),
            Value::Text(value) => Key::Text(value.clone()),
        }
    }
}
