//! Roots by what they retain, as a table and as JSON.

use analyze::heap::Retained;
use analyze::heap::roots::{RootRow, Roots};
use analyze::heap::threads::start_function;
use model::heap::HolderKind;
use model::{Bytes, HeapGraph};
use serde_json::{Value, json};

use crate::json;
use crate::quantity::count;
use crate::table::{Align, Table};

/// What several roots hold together is a row of this name.
const SHARED: &str = "(several roots)";

/// Rows that are wanted, at most `limit` of them; 0 is all.
#[derive(Clone, Copy)]
pub struct Wanted<'w> {
    /// At most so many; 0 is all.
    pub limit: usize,
    /// Whether a row of this kind and name is wanted.
    pub is_wanted: &'w dyn Fn(&str, &str) -> bool,
}

/// A row as it is shown.
struct Shown {
    name: String,
    kind: &'static str,
    retained: Retained,
}

fn shown(graph: &HeapGraph<'_>, roots: &Roots, wanted: Wanted<'_>) -> (Vec<Shown>, Vec<Shown>) {
    let row = |row: &RootRow| Shown {
        name: name(graph, row),
        kind: row.kind.as_str(),
        retained: row.retained,
    };
    let mut all: Vec<Shown> = roots.rows.iter().map(row).collect();
    if roots.shared.objects > 0 {
        let at = all.partition_point(|row| row.retained.bytes >= roots.shared.bytes);
        all.insert(at, Shown { name: SHARED.to_owned(), kind: "shared", retained: roots.shared });
    }
    all.retain(|row| (wanted.is_wanted)(row.kind, &row.name));
    let limit = if wanted.limit == 0 { all.len() } else { wanted.limit.min(all.len()) };
    let rest = all.split_off(limit);
    (all, rest)
}

/// A root's name; a goroutine's with the function it started in.
fn name(graph: &HeapGraph<'_>, row: &RootRow) -> String {
    let holder = graph.holders.get(row.holder.0 as usize);
    let is_goroutine = row.kind == HolderKind::Goroutine;
    match holder.filter(|_| is_goroutine).and_then(|holder| start_function(graph, holder)) {
        Some(function) if !row.name.contains(function) => format!("{} {function}", row.name),
        _ => row.name.clone(),
    }
}

/// The roots for people. Shares are of `whole` bytes.
pub fn text(graph: &HeapGraph<'_>, roots: &Roots, whole: u64, wanted: Wanted<'_>) -> String {
    let right = Align::Right;
    let mut table = Table::new(&[
        ("RETAINED", right),
        ("SHARE", right),
        ("OBJECTS", right),
        ("KIND", Align::Left),
        ("ROOT", Align::Left),
    ]);
    let (rows, rest) = shown(graph, roots, wanted);
    let mut push = |row: &Shown| {
        table.push(vec![
            Bytes(row.retained.bytes).to_string(),
            super::share(row.retained.bytes, whole),
            count(row.retained.objects),
            row.kind.to_owned(),
            row.name.clone(),
        ]);
    };
    rows.iter().for_each(&mut push);
    if !rest.is_empty() {
        let mut retained = Retained::default();
        rest.iter().for_each(|row| retained += row.retained);
        let name = format!("... {} more (-n 0 shows all)", count(rest.len() as u64));
        push(&Shown { name, kind: "", retained });
    }
    table.text()
}

/// The roots for programs that read tables.
pub fn table(graph: &HeapGraph<'_>, roots: &Roots, wanted: Wanted<'_>) -> Table {
    let right = Align::Right;
    let mut table = Table::new(&[
        ("root", Align::Left),
        ("kind", Align::Left),
        ("retained_bytes", right),
        ("retained_objects", right),
    ]);
    for row in shown(graph, roots, wanted).0 {
        let (bytes, objects) = (row.retained.bytes.to_string(), row.retained.objects.to_string());
        table.push(vec![row.name, row.kind.to_owned(), bytes, objects]);
    }
    table
}

/// The roots as the contract has them.
pub fn value(graph: &HeapGraph<'_>, roots: &Roots, wanted: Wanted<'_>) -> Value {
    let rows = shown(graph, roots, wanted).0;
    let row = |row: &Shown| {
        json!({
            "root": row.name,
            "kind": row.kind,
            "retained_bytes": json::unsigned(row.retained.bytes),
            "retained_objects": row.retained.objects,
        })
    };
    rows.iter().map(row).collect()
}
