//! Values that templates work on.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::series::Labels;
use model::units::Timestamp;

/// Deepest nesting of lists and maps.
const MAX_NESTING: usize = 30;

/// A value. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// Nothing.
    #[default]
    Null,
    /// Yes or no.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A number.
    Float(f64),
    /// A text.
    Str(String),
    /// A text that is HTML already.
    Html(String),
    /// A time; methods `Format`, `Unix`, `UTC`, `IsZero` and the like.
    Time(Timestamp),
    /// Nanoseconds.
    Duration(i64),
    /// Values in order. Of alerts, `.Firing` and `.Resolved` are those of that `.Status`.
    List(Arc<Vec<Value>>),
    /// Values by name; what is not there is the empty text. Has `.SortedPairs`, `.Names`,
    /// `.Values`, `.Remove`.
    Map(Arc<BTreeMap<String, Value>>),
    /// Fields that are known; any other is an error.
    Object(Arc<BTreeMap<String, Value>>),
}

impl Value {
    /// A list.
    pub fn list(values: impl IntoIterator<Item = Value>) -> Value {
        Value::List(Arc::new(values.into_iter().collect()))
    }

    /// A map.
    pub fn map<K: Into<String>>(entries: impl IntoIterator<Item = (K, Value)>) -> Value {
        Value::Map(Arc::new(entries.into_iter().map(|(key, value)| (key.into(), value)).collect()))
    }

    /// Fields.
    pub fn object<K: Into<String>>(entries: impl IntoIterator<Item = (K, Value)>) -> Value {
        let entries = entries.into_iter().map(|(key, value)| (key.into(), value));
        Value::Object(Arc::new(entries.collect()))
    }

    /// Labels as a map.
    pub fn labels(labels: &Labels) -> Value {
        Value::map(labels.iter().map(|(name, value)| (name, Value::from(value))))
    }

    /// About how many bytes it takes; `None` if that is more than `most`, or if it is nested too
    /// deeply to be walked.
    pub(super) fn weight(&self, most: usize) -> Option<usize> {
        let mut left = most;
        self.weigh(&mut left, MAX_NESTING)?;
        Some(most - left)
    }

    fn weigh(&self, left: &mut usize, levels: usize) -> Option<()> {
        let levels = levels.checked_sub(1)?;
        let own = match self {
            Value::Str(text) | Value::Html(text) => text.len(),
            _ => 0,
        };
        *left = left.checked_sub(own.saturating_add(16))?;
        match self {
            Value::List(list) => list.iter().try_for_each(|value| value.weigh(left, levels)),
            Value::Map(map) | Value::Object(map) => map.iter().try_for_each(|(key, value)| {
                *left = left.checked_sub(key.len())?;
                value.weigh(left, levels)
            }),
            _ => Some(()),
        }
    }

    /// What Go calls its type, for messages.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Value::Null => "<nil>",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Float(_) => "float64",
            Value::Str(_) => "string",
            Value::Html(_) => "template.HTML",
            Value::Time(_) => "time.Time",
            Value::Duration(_) => "time.Duration",
            Value::List(_) => "[]interface {}",
            Value::Map(_) => "map[string]string",
            Value::Object(_) => "struct",
        }
    }

    /// Whether `if` takes it for true.
    pub(super) fn is_true(&self) -> bool {
        match self {
            Value::Null => false,
            Value::Bool(truth) => *truth,
            Value::Int(number) | Value::Duration(number) => *number != 0,
            Value::Float(number) => *number != 0.0,
            Value::Str(text) | Value::Html(text) => !text.is_empty(),
            Value::List(list) => !list.is_empty(),
            Value::Map(map) => !map.is_empty(),
            Value::Time(_) | Value::Object(_) => true,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Str(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Str(text)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Value {
        Value::Float(number)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Value {
        Value::Int(number)
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Value {
        Value::Bool(truth)
    }
}
