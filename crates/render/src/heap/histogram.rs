//! Objects by type, package or size as a table and as JSON.

use analyze::heap::Retained;
use analyze::heap::histogram::{Grouping, Row};
use model::Bytes;
use serde_json::{Map, Value};

use crate::json;
use crate::quantity::count;
use crate::table::{Align, Table};

/// Which objects of a row are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// What roots reach.
    Live,
    /// What they do not.
    Unreachable,
}

impl Shown {
    /// The objects of a row that are shown.
    pub fn of(self, row: &Row) -> Retained {
        match self {
            Shown::Live => row.live,
            Shown::Unreachable => row.unreachable,
        }
    }
}

/// The rows for people: sizes with units, and a last row for what is left out.
pub fn text(rows: &[&Row], limit: usize, by: Grouping, shown: Shown) -> String {
    let right = Align::Right;
    let heads =
        [("OBJECTS", right), ("BYTES", right), ("RETAINED", right), (head(by), Align::Left)];
    let mut table = Table::new(&heads);
    let cells = |set: Retained, retained: String, name: String| {
        vec![count(set.objects), Bytes(set.bytes).to_string(), retained, name]
    };
    let limit = if limit == 0 { rows.len() } else { limit.min(rows.len()) };
    let (first, rest) = rows.split_at(limit);
    for row in first {
        let retained = match shown {
            Shown::Live => Bytes(row.retained.bytes).to_string(),
            Shown::Unreachable => "-".to_owned(),
        };
        table.push(cells(shown.of(row), retained, name(row)));
    }
    if !rest.is_empty() {
        let mut sum = Retained::default();
        rest.iter().for_each(|row| sum += shown.of(row));
        let more = format!("... {} more (-n 0 shows all)", count(rest.len() as u64));
        // Retained sets of types overlap: there is no sum.
        table.push(cells(sum, String::new(), more));
    }
    table.text()
}

fn head(by: Grouping) -> &'static str {
    match by {
        Grouping::Package => "PACKAGE",
        Grouping::Size => "SIZE",
        _ => "TYPE",
    }
}

fn name(row: &Row) -> String {
    match (row.size_bytes, row.name.as_str()) {
        (Some(bytes), _) => Bytes(bytes).to_string(),
        (None, "") => "(none)".to_owned(),
        (None, name) => name.to_owned(),
    }
}

/// The rows for programs.
pub fn table(rows: &[&Row], limit: usize, by: Grouping, shown: Shown) -> Table {
    let right = Align::Right;
    let names = [
        (key(by), Align::Left),
        ("objects", right),
        ("bytes", right),
        ("retained_bytes", right),
        ("retained_objects", right),
    ];
    let mut table = Table::new(&names);
    for row in limited(rows, limit) {
        let set = shown.of(row);
        let numbers = [set.objects, set.bytes, row.retained.bytes, row.retained.objects];
        let numbers = numbers.iter().map(u64::to_string);
        table.push(std::iter::once(row.name.clone()).chain(numbers).collect());
    }
    table
}

fn limited<'r, 'x>(rows: &'r [&'x Row], limit: usize) -> impl Iterator<Item = &'r &'x Row> {
    rows.iter().take(if limit == 0 { usize::MAX } else { limit })
}

fn key(by: Grouping) -> &'static str {
    match by {
        Grouping::Package => "package",
        Grouping::Size => "size_bytes",
        _ => "type",
    }
}

/// The rows as the contract has them.
pub fn value(rows: &[&Row], limit: usize, by: Grouping, shown: Shown) -> Value {
    let row = |row: &&Row| {
        let set = shown.of(row);
        let mut out = Map::new();
        let name = match row.size_bytes {
            Some(bytes) => json::unsigned(bytes),
            None => row.name.as_str().into(),
        };
        out.insert(key(by).to_owned(), name);
        out.insert("objects".to_owned(), set.objects.into());
        out.insert("bytes".to_owned(), json::unsigned(set.bytes));
        out.insert("retained_bytes".to_owned(), json::unsigned(row.retained.bytes));
        out.insert("retained_objects".to_owned(), row.retained.objects.into());
        Value::Object(out)
    };
    limited(rows, limit).map(row).collect()
}
