//! Answers to queries as tables and as JSON.

use analyze::heap::query::{Answer, Value};
use serde_json::{Value as Json, json};

use crate::json;
use crate::quantity::count;
use crate::table::{Align, Table};

/// The answer for people.
pub fn text(answer: &Answer) -> String {
    let text = filled(answer, |value| match value {
        Value::Int(number) => match u64::try_from(*number) {
            Ok(number) => count(number),
            Err(_) => number.to_string(),
        },
        Value::Real(number) => format!("{number:.2}"),
        value => value.to_string(),
    });
    let cut = if answer.is_cut { "... there are more rows than are told\n" } else { "" };
    text.text() + cut
}

/// The answer for programs that read tables.
pub fn table(answer: &Answer) -> Table {
    filled(answer, |value| match value {
        Value::Null => String::new(),
        value => value.to_string(),
    })
}

fn filled(answer: &Answer, cell: impl Fn(&Value) -> String) -> Table {
    let is_number = |value: &Value| matches!(value, Value::Int(_) | Value::Real(_));
    let columns: Vec<(&str, Align)> = answer
        .names
        .iter()
        .enumerate()
        .map(|(index, name)| {
            let mut values = answer.rows.iter().filter_map(|row| row.get(index));
            let align = if values.any(is_number) { Align::Right } else { Align::Left };
            (name.as_str(), align)
        })
        .collect();
    let mut table = Table::new(&columns);
    for row in &answer.rows {
        table.push(row.iter().map(&cell).collect());
    }
    table
}

/// The answer for programs: names of columns, and rows of values.
pub fn value(answer: &Answer) -> Json {
    let rows: Vec<Json> = answer.rows.iter().map(|row| row.iter().map(cell).collect()).collect();
    json!({ "columns": answer.names, "rows": rows, "cut": answer.is_cut })
}

fn cell(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(value) => (*value).into(),
        Value::Int(number) => match i64::try_from(*number) {
            Ok(number) => json::integer(number),
            Err(_) => number.to_string().into(),
        },
        Value::Real(number) => json::number(*number),
        value => value.to_string().into(),
    }
}
