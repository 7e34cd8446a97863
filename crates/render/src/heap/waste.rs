//! Waste as tables and as JSON.

use analyze::heap::waste::spans::Fragmentation;
use analyze::heap::waste::{Offender, Waste, WasteKind, WasteRow};
use model::{Bytes, HeapGraph};
use serde_json::{Value, json};

use crate::json;
use crate::paint::Paint;
use crate::quantity::count;
use crate::table::{Align, Table};

/// Every kind of waste for people: who has it, and the worst objects.
pub fn text(graph: &HeapGraph<'_>, all: &[Waste], live_bytes: u64, paint: Paint) -> String {
    if all.is_empty() {
        return "no waste found\n".to_owned();
    }
    let mut out = "at most this could be saved:\n".to_owned();
    for waste in all {
        let share = super::share(waste.total.bytes, live_bytes);
        let (bytes, objects) = (Bytes(waste.total.bytes), super::objects(waste.total.objects));
        let name = paint.bold(waste.kind.as_str());
        out += &format!("\n{name}: {bytes} ({share} of the live heap) in {objects}\n");
        out += &indented(&rows_text(rows(waste)));
        if !waste.offenders.is_empty() {
            out += &indented(&offenders_text(graph, waste));
        }
    }
    out
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

/// By field where that is known, else by type.
fn rows(waste: &Waste) -> &[WasteRow] {
    if waste.fields.is_empty() { &waste.types } else { &waste.fields }
}

fn rows_text(rows: &[WasteRow]) -> String {
    let right = Align::Right;
    let mut table = Table::new(&[("WASTED", right), ("OBJECTS", right), ("WHERE", Align::Left)]);
    for row in rows {
        let (bytes, objects) = (Bytes(row.wasted.bytes).to_string(), count(row.wasted.objects));
        table.push(vec![bytes, objects, row.name.clone()]);
    }
    table.text()
}

fn offenders_text(graph: &HeapGraph<'_>, waste: &Waste) -> String {
    let right = Align::Right;
    let mut table =
        Table::new(&[("WASTED", right), (used_head(waste.kind), right), ("OBJECT", Align::Left)]);
    for offender in &waste.offenders {
        let name = super::type_name(graph, graph.type_of(offender.object));
        let address = graph.objects.address(offender.object).unwrap_or_default();
        let used = match waste.kind {
            WasteKind::DuplicateStrings => count(offender.of),
            WasteKind::Pools => Bytes(offender.used).to_string(),
            _ => format!("{} of {}", count(offender.used), count(offender.of)),
        };
        let wasted = Bytes(offender.wasted_bytes).to_string();
        table.push(vec![wasted, used, format!("{name} {address}")]);
    }
    table.text()
}

fn used_head(kind: WasteKind) -> &'static str {
    match kind {
        WasteKind::DuplicateStrings => "TIMES",
        // Of the objects in the same pool, for comparison.
        WasteKind::Pools => "MEDIAN",
        _ => "USED",
    }
}

/// The rows of all kinds for programs that read tables.
pub fn table(all: &[Waste]) -> Table {
    let right = Align::Right;
    let mut table = Table::new(&[
        ("kind", Align::Left),
        ("where", Align::Left),
        ("wasted_bytes", right),
        ("objects", right),
    ]);
    for waste in all {
        for row in rows(waste) {
            let (bytes, objects) = (row.wasted.bytes.to_string(), row.wasted.objects.to_string());
            table.push(vec![waste.kind.as_str().to_owned(), row.name.clone(), bytes, objects]);
        }
    }
    table
}

/// Every kind of waste for programs, and the spans where they are known.
pub fn value(graph: &HeapGraph<'_>, all: &[Waste], spans: Option<&Fragmentation>) -> Value {
    let rows = |rows: &[WasteRow], key: &str| -> Vec<Value> {
        let row = |row: &WasteRow| {
            json!({
                key: row.name,
                "wasted_bytes": json::unsigned(row.wasted.bytes),
                "objects": row.wasted.objects,
            })
        };
        rows.iter().map(row).collect()
    };
    let offender = |offender: &Offender| {
        json!({
            "address": super::address(graph, offender.object),
            "type": super::type_name(graph, graph.type_of(offender.object)),
            "wasted_bytes": json::unsigned(offender.wasted_bytes),
            "used": offender.used,
            "of": offender.of,
        })
    };
    let kinds = all.iter().map(|waste| {
        json!({
            "kind": waste.kind.as_str(),
            "wasted_bytes": json::unsigned(waste.total.bytes),
            "objects": waste.total.objects,
            "fields": rows(&waste.fields, "field"),
            "types": rows(&waste.types, "type"),
            "offenders": waste.offenders.iter().map(offender).collect::<Vec<Value>>(),
        })
    });
    let kinds: Vec<Value> = kinds.collect();
    json!({ "kinds": kinds, "fragmentation": spans.map(super::spans::value) })
}
