//! How full spans are, as tables and as JSON.

use analyze::heap::waste::spans::{ClassUse, Fragmentation, Pin, SPARSE_PART, SpanUse};
use model::heap::Objects;
use model::{Bytes, HeapGraph};
use serde_json::{Value, json};

use crate::json;
use crate::paint::Paint;
use crate::quantity::count;
use crate::table::{Align, Table};

/// Free room in spans for people; nothing for heaps without spans.
pub fn text(graph: &HeapGraph<'_>, found: Option<&Fragmentation>, paint: Paint) -> String {
    if !matches!(graph.objects, Objects::Spans(_)) {
        return String::new();
    }
    let name = paint.bold("fragmentation");
    let Some(found) = found else {
        return format!("\n{name}: not known, this snapshot does not tell how large spans are\n");
    };
    let all = &found.total;
    let free = all.free_bytes.saturating_add(all.tail_bytes);
    let share = super::share(free, all.span_bytes);
    let (free, bytes, spans) = (Bytes(free), Bytes(all.span_bytes), spans_of(all.spans));
    let mut out = format!("\n{name}: {free} ({share}) of {bytes} in {spans} hold no object\n");
    let [live, dead] = [all.live, all.dead].map(|set| Bytes(set.bytes));
    let [slots, tails] = [all.free_bytes, all.tail_bytes].map(Bytes);
    out += &format!("  {live} live, {dead} dead and not collected yet, ");
    out += &format!("{slots} in free slots, {tails} behind the last slot\n");
    let classes = class_table(&found.classes).text();
    out += &classes.lines().map(|line| format!("  {line}\n")).collect::<String>();
    out + &sparse_text(found)
}

fn sparse_text(found: &Fragmentation) -> String {
    let sparse = &found.total.sparse;
    if sparse.spans == 0 {
        return String::new();
    }
    let percent = 100 / SPARSE_PART;
    let (spans, live) = (spans_of(sparse.spans), super::objects(sparse.live.objects));
    let (bytes, back) = (Bytes(sparse.span_bytes), Bytes(sparse.returnable_bytes));
    let mut out = format!("  {spans} ({bytes}) at most {percent}% full, pinned by {live}; ");
    out += &format!("{back} would go back if those moved together\n");
    let right = Align::Right;
    let columns = [("PINNED", right), ("SPANS", right), ("OBJECTS", right), ("BY", Align::Left)];
    let mut table = Table::new(&columns);
    for pin in &found.pins {
        let (bytes, spans) = (Bytes(pin.span_bytes).to_string(), count(pin.spans));
        table.push(vec![bytes, spans, count(pin.live.objects), pin.name.clone()]);
    }
    out + &table.text().lines().map(|line| format!("  {line}\n")).collect::<String>()
}

/// `1 span`, `1,234 spans`.
fn spans_of(number: u64) -> String {
    let word = if number == 1 { "span" } else { "spans" };
    format!("{} {word}", count(number))
}

fn class_table(classes: &[ClassUse]) -> Table {
    let right = Align::Right;
    let heads = ["SLOT", "SPANS", "MEMORY", "LIVE", "DEAD", "FREE", "TAILS", "FULL", "SPARSE"];
    let columns: Vec<(&str, Align)> =
        heads.into_iter().chain(["RETURNABLE"]).map(|head| (head, right)).collect();
    let mut table = Table::new(&columns);
    for class in classes {
        let used = &class.used;
        let bytes = |bytes: u64| Bytes(bytes).to_string();
        table.push(vec![
            class.slot_bytes.map_or("large".to_owned(), count),
            count(used.spans),
            bytes(used.span_bytes),
            bytes(used.live.bytes),
            bytes(used.dead.bytes),
            bytes(used.free_bytes),
            bytes(used.tail_bytes),
            super::share(used.live.objects, used.slots),
            count(used.sparse.spans),
            bytes(used.sparse.returnable_bytes),
        ]);
    }
    table
}

/// Free room in spans for programs.
pub(super) fn value(found: &Fragmentation) -> Value {
    let class = |class: &ClassUse| {
        let mut value = used_value(&class.used);
        value["slot_bytes"] = class.slot_bytes.into();
        value
    };
    let pin = |pin: &Pin| {
        json!({
            "type": pin.name,
            "live_objects": pin.live.objects,
            "live_bytes": json::unsigned(pin.live.bytes),
            "spans": pin.spans,
            "span_bytes": json::unsigned(pin.span_bytes),
        })
    };
    let mut value = used_value(&found.total);
    value["classes"] = found.classes.iter().map(class).collect();
    value["pins"] = found.pins.iter().map(pin).collect();
    value
}

fn used_value(used: &SpanUse) -> Value {
    let sparse = &used.sparse;
    json!({
        "spans": used.spans,
        "span_bytes": json::unsigned(used.span_bytes),
        "slots": used.slots,
        "live_objects": used.live.objects,
        "live_bytes": json::unsigned(used.live.bytes),
        "dead_objects": used.dead.objects,
        "dead_bytes": json::unsigned(used.dead.bytes),
        "free_bytes": json::unsigned(used.free_bytes),
        "tail_bytes": json::unsigned(used.tail_bytes),
        "sparse_spans": sparse.spans,
        "sparse_span_bytes": json::unsigned(sparse.span_bytes),
        "sparse_live_objects": sparse.live.objects,
        "sparse_live_bytes": json::unsigned(sparse.live.bytes),
        "returnable_bytes": json::unsigned(sparse.returnable_bytes),
    })
}
