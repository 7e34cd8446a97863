//! A heap in a few lines.

use analyze::heap::Retained;
use analyze::heap::summary::Summary;
use model::{Bytes, HeapGraph};
use serde_json::{Value, json};

use crate::json;
use crate::paint::Paint;
use crate::quantity::count;
use crate::table::{Align, Table};

/// The figures as text.
pub fn text(graph: &HeapGraph<'_>, summary: &Summary, paint: Paint) -> String {
    let mut out = format!("{}\n\n", paint.bold(&headline(graph)));
    let mut line = |name: &str, text: String| out += &format!("{name:<12} {text}\n");
    let types = count(summary.types);
    let typed = super::share(summary.typed.bytes, summary.live.bytes);
    let live = sized(summary.live);
    line("live", format!("{live} of {types} types; {typed} of the bytes have a known type"));
    line("unreachable", format!("{}, not collected yet", sized(summary.unreachable)));
    if let Some(bytes) = summary.heap_in_use_bytes {
        let held = summary.live.bytes + summary.unreachable.bytes;
        let free = super::share(bytes.saturating_sub(held), bytes);
        line("in use", format!("{} of spans, {free} of it free", Bytes(bytes)));
    }
    let (pointers, outside) = (count(summary.pointers), count(summary.root_pointers));
    let weak = count(summary.weak_references);
    line("pointers", format!("{pointers} between objects, {outside} from roots, {weak} weak"));
    // Of Java they are threads.
    let threads = if graph.source.method == "hprof" { "threads" } else { "goroutines" };
    line(threads, count(summary.goroutines));
    out + "\n" + &roots(summary).text() + &warnings(graph, paint)
}

/// Where the heap is from, in one line.
fn headline(graph: &HeapGraph<'_>) -> String {
    let source = &graph.source;
    let mut parts = vec![source.runtime.clone(), source.target.clone(), source.executable.clone()];
    parts.dedup();
    if !source.method.is_empty() {
        parts.push(format!("by {}", source.method));
    }
    if let Some(nanos) = source.pause_nanos {
        parts.push(format!("stood still for {:.1} ms", nanos as f64 / 1e6));
    }
    if source.is_marking {
        parts.push("while a collection ran".to_owned());
    }
    parts.retain(|part| !part.is_empty());
    parts.join(", ")
}

fn sized(set: Retained) -> String {
    format!("{} in {}", Bytes(set.bytes), super::objects(set.objects))
}

fn roots(summary: &Summary) -> Table {
    let right = Align::Right;
    let mut table = Table::new(&[
        ("ROOTS", Align::Left),
        ("COUNT", right),
        ("POINTERS", right),
        ("RETAINED", right),
        ("SHARE", right),
    ]);
    let whole = summary.live.bytes;
    for row in &summary.roots {
        table.push(vec![
            row.kind.as_str().to_owned(),
            count(row.holders),
            count(row.pointers),
            Bytes(row.retained.bytes).to_string(),
            super::share(row.retained.bytes, whole),
        ]);
    }
    if summary.shared.objects > 0 {
        let (bytes, share) =
            (Bytes(summary.shared.bytes), super::share(summary.shared.bytes, whole));
        let name = "several together".to_owned();
        table.push(vec![name, String::new(), String::new(), bytes.to_string(), share]);
    }
    table
}

fn warnings(graph: &HeapGraph<'_>, paint: Paint) -> String {
    const SHOWN: usize = 5;
    let all = &graph.warnings;
    let mut out = String::new();
    for warning in all.iter().take(SHOWN).filter(|warning| !warning.is_empty()) {
        out += &format!("\n{} {warning}", paint.warn("warning:"));
    }
    if all.len() > SHOWN {
        out += &format!("\n{} {} more", paint.warn("warning:"), all.len() - SHOWN);
    }
    if out.is_empty() { out } else { out + "\n" }
}

/// The figures as the contract has them.
pub fn value(graph: &HeapGraph<'_>, summary: &Summary) -> Value {
    let roots = summary.roots.iter().map(|row| {
        json!({
            "kind": row.kind.as_str(),
            "count": row.holders,
            "pointers": row.pointers,
            "retained_bytes": json::unsigned(row.retained.bytes),
            "retained_objects": row.retained.objects,
        })
    });
    let roots: Vec<Value> = roots.collect();
    json!({
        "live_bytes": json::unsigned(summary.live.bytes),
        "live_objects": summary.live.objects,
        "unreachable_bytes": json::unsigned(summary.unreachable.bytes),
        "unreachable_objects": summary.unreachable.objects,
        "heap_in_use_bytes": summary.heap_in_use_bytes.map(json::unsigned),
        "types": summary.types,
        "typed_bytes": json::unsigned(summary.typed.bytes),
        "typed_objects": summary.typed.objects,
        "pointers": summary.pointers,
        "root_pointers": summary.root_pointers,
        "weak_references": summary.weak_references,
        "goroutines": summary.goroutines,
        "shared_bytes": json::unsigned(summary.shared.bytes),
        "shared_objects": summary.shared.objects,
        "roots": roots,
        "source": super::source(graph),
        "warnings": graph.warnings,
    })
}
