//! The difference of two heaps as tables and as JSON.

use analyze::heap::Retained;
use analyze::heap::diff::{Diff, RootChange, TypeChange};
use model::{Bytes, HeapGraph};
use serde_json::{Value, json};

use super::leaks::delta;
use crate::json;
use crate::quantity::{change, count};
use crate::table::{Align, Table};

/// Objects that grew, which are told below the table.
const GROWN_SHOWN: usize = 5;

/// What makes a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The type.
    Type,
    /// The root.
    Root,
}

/// The live heaps before and after, in a line.
pub(super) fn headline(diff: &Diff) -> String {
    let (before, after) = diff.live;
    let bytes = change(delta(after.bytes, before.bytes), "bytes");
    let objects = change(delta(after.objects, before.objects), "count");
    let (from, to) = (Bytes(before.bytes), Bytes(after.bytes));
    format!("live: {from} -> {to} ({bytes}, {objects} objects)\n")
}

/// The difference for people; `after` is the later graph.
pub fn text(after: &HeapGraph<'_>, diff: &Diff, by: By, limit: usize) -> String {
    let mut out = headline(diff) + "\n";
    out += &match by {
        By::Type => types_text(diff, limit),
        By::Root => roots_text(diff, limit),
    };
    if !diff.is_matched && by == By::Type {
        out += "\nobjects move in this runtime: new and freed ones cannot be told\n";
    }
    let grown = diff.grown.iter().take(GROWN_SHOWN);
    for (index, grown) in grown.enumerate() {
        if index == 0 {
            out += "\nobjects that retain more than before:\n";
        }
        let name = super::type_name(after, after.type_of(grown.object));
        let address = after.objects.address(grown.object).unwrap_or_default();
        let (from, to) = (Bytes(grown.retained.0.bytes), Bytes(grown.retained.1.bytes));
        out += &format!("  {name} {address}: {from} -> {to}\n");
    }
    out
}

fn is_changed(row: &TypeChange) -> bool {
    let moved = |set: Option<Retained>| set.is_some_and(|set| set.objects > 0);
    row.live.0 != row.live.1 || moved(row.new) || moved(row.freed)
}

fn types_text(diff: &Diff, limit: usize) -> String {
    let right = Align::Right;
    let mut table = Table::new(&[
        ("BYTES", right),
        ("OBJECTS", right),
        ("NEW", right),
        ("FREED", right),
        ("RETAINED", right),
        ("TYPE", Align::Left),
    ]);
    let rows: Vec<&TypeChange> = diff.types.iter().filter(|row| is_changed(row)).collect();
    let moved = |set: Option<Retained>| set.map_or("-".to_owned(), |set| count(set.objects));
    for row in rows.iter().take(super::limit(limit)) {
        table.push(vec![
            change(row.bytes_delta(), "bytes"),
            change(delta(row.live.1.objects, row.live.0.objects), "count"),
            moved(row.new),
            moved(row.freed),
            change(delta(row.retained.1.bytes, row.retained.0.bytes), "bytes"),
            row.name.clone(),
        ]);
    }
    table.text() + &more(rows.len(), limit)
}

fn roots_text(diff: &Diff, limit: usize) -> String {
    let right = Align::Right;
    let mut table = Table::new(&[
        ("RETAINED", right),
        ("BEFORE", right),
        ("AFTER", right),
        ("COUNT", right),
        ("KIND", Align::Left),
        ("ROOT", Align::Left),
    ]);
    let rows: Vec<&RootChange> =
        diff.roots.iter().filter(|row| row.retained.0 != row.retained.1).collect();
    for row in rows.iter().take(super::limit(limit)) {
        let (before, after) = (row.retained.0.bytes, row.retained.1.bytes);
        table.push(vec![
            change(delta(after, before), "bytes"),
            Bytes(before).to_string(),
            Bytes(after).to_string(),
            format!("{} -> {}", count(row.holders.0), count(row.holders.1)),
            row.kind.as_str().to_owned(),
            row.name.clone(),
        ]);
    }
    table.text() + &more(rows.len(), limit)
}

fn more(rows: usize, limit: usize) -> String {
    match rows.saturating_sub(super::limit(limit)) {
        0 => String::new(),
        more => format!("... {} more (-n 0 shows all)\n", count(more as u64)),
    }
}

/// The difference for programs that read tables.
pub fn table(diff: &Diff, by: By, limit: usize) -> Table {
    let limit = super::limit(limit);
    let right = Align::Right;
    match by {
        By::Type => {
            let names = ["objects", "bytes", "retained_bytes"];
            let names = names.map(|name| [format!("{name}_before"), format!("{name}_after")]);
            let mut columns = vec![("type", Align::Left)];
            columns.extend(names.iter().flatten().map(|name| (name.as_str(), right)));
            let mut table = Table::new(&columns);
            for row in diff.types.iter().filter(|row| is_changed(row)).take(limit) {
                let (live, retained) = (row.live, row.retained);
                let objects = [live.0.objects, live.1.objects];
                let bytes = [live.0.bytes, live.1.bytes, retained.0.bytes, retained.1.bytes];
                let numbers = objects.iter().chain(&bytes).map(u64::to_string);
                table.push(std::iter::once(row.name.clone()).chain(numbers).collect());
            }
            table
        }
        By::Root => {
            let mut table = Table::new(&[
                ("root", Align::Left),
                ("kind", Align::Left),
                ("retained_bytes_before", right),
                ("retained_bytes_after", right),
            ]);
            for row in diff.roots.iter().take(limit) {
                let (before, after) = (row.retained.0.bytes, row.retained.1.bytes);
                let kind = row.kind.as_str().to_owned();
                table.push(vec![row.name.clone(), kind, before.to_string(), after.to_string()]);
            }
            table
        }
    }
}

/// The difference as the contract has it.
pub fn value(after: &HeapGraph<'_>, diff: &Diff, limit: usize) -> Value {
    let limit = super::limit(limit);
    let types = diff.types.iter().filter(|row| is_changed(row)).take(limit).map(|row| {
        json!({
            "type": row.name,
            "before": super::sized(row.live.0),
            "after": super::sized(row.live.1),
            "bytes_delta": json::integer(row.bytes_delta()),
            "retained_bytes_before": json::unsigned(row.retained.0.bytes),
            "retained_bytes_after": json::unsigned(row.retained.1.bytes),
            "new": row.new.map(super::sized),
            "freed": row.freed.map(super::sized),
        })
    });
    let roots = diff.roots.iter().take(limit).map(|row| {
        json!({
            "root": row.name,
            "kind": row.kind.as_str(),
            "count_before": row.holders.0,
            "count_after": row.holders.1,
            "retained_bytes_before": json::unsigned(row.retained.0.bytes),
            "retained_bytes_after": json::unsigned(row.retained.1.bytes),
        })
    });
    let grown = diff.grown.iter().take(limit).map(|grown| {
        json!({
            "address": super::address(after, grown.object),
            "type": super::type_name(after, after.type_of(grown.object)),
            "retained_bytes_before": json::unsigned(grown.retained.0.bytes),
            "retained_bytes_after": json::unsigned(grown.retained.1.bytes),
        })
    });
    json!({
        "before": super::sized(diff.live.0),
        "after": super::sized(diff.live.1),
        "objects_matched": diff.is_matched,
        "types": types.collect::<Vec<Value>>(),
        "roots": roots.collect::<Vec<Value>>(),
        "grown": grown.collect::<Vec<Value>>(),
    })
}
