//! Branches of a dominator tree as indented lines and as JSON.

use analyze::heap::Node;
use analyze::heap::tree::{Branch, Stem};
use model::{Bytes, HeapGraph};
use serde_json::{Map, Value, json};

use crate::json;
use crate::paint::Paint;
use crate::quantity::count;
use crate::table::{Align, Table};

/// The branches, each line indented by its depth. Shares are of `whole` bytes.
pub fn text(graph: &HeapGraph<'_>, tree: &Branch, whole: u64, paint: Paint) -> String {
    let right = Align::Right;
    let mut table = Table::new(&[
        ("RETAINED", right),
        ("SHARE", right),
        ("OBJECTS", right),
        ("OWN", right),
        ("WHAT", Align::Left),
    ]);
    push(&mut table, graph, tree, whole, 0, paint);
    table.text()
}

fn push(
    table: &mut Table,
    graph: &HeapGraph<'_>,
    branch: &Branch,
    whole: u64,
    depth: usize,
    paint: Paint,
) {
    let indent = "  ".repeat(depth);
    table.push(vec![
        Bytes(branch.retained.bytes).to_string(),
        super::share(branch.retained.bytes, whole),
        count(branch.retained.objects),
        Bytes(branch.bytes).to_string(),
        format!("{indent}{}", what(graph, branch, paint)),
    ]);
    for below in &branch.below {
        push(table, graph, below, whole, depth + 1, paint);
    }
    // At the last level everything below is left out; that goes without saying.
    if branch.rest_count > 0 {
        table.push(vec![
            Bytes(branch.rest.bytes).to_string(),
            super::share(branch.rest.bytes, whole),
            count(branch.rest.objects),
            String::new(),
            format!("{indent}  {}", paint.dim(&format!("... {} more", count(branch.rest_count)))),
        ]);
    }
}

fn what(graph: &HeapGraph<'_>, branch: &Branch, paint: Paint) -> String {
    match branch.stem {
        Stem::Node(node @ Node::Object(object)) => {
            let address = graph.objects.address(object).unwrap_or_default().to_string();
            format!("{}  {}", super::label(graph, node), paint.dim(&address))
        }
        Stem::Node(node) => paint.bold(&super::label(graph, node)),
        Stem::Type(id) => match branch.count {
            1 => super::type_name(graph, id).to_owned(),
            more => format!("{} {}", count(more), super::type_name(graph, id)),
        },
        Stem::Kind(kind) => paint.bold(&format!("{} {} roots", count(branch.count), kind.as_str())),
    }
}

/// The branches as nested values.
pub fn value(graph: &HeapGraph<'_>, branch: &Branch) -> Value {
    let mut out = Map::new();
    let mut put = |key: &str, value: Value| out.insert(key.to_owned(), value);
    match branch.stem {
        Stem::Node(Node::Object(object)) => {
            put("kind", "object".into());
            put("type", super::type_name(graph, graph.type_of(object)).into());
            put("id", object.0.into());
            put("address", super::address(graph, object));
        }
        Stem::Node(Node::Root) => {
            put("kind", "all".into());
        }
        Stem::Node(Node::Holder(id)) => {
            let holder = graph.holders.get(id.0 as usize);
            put("kind", holder.map(|holder| holder.kind.as_str()).into());
            put("root", holder.map(|holder| graph.strings.get(holder.name)).into());
        }
        Stem::Type(id) => {
            put("kind", "type".into());
            put("type", super::type_name(graph, id).into());
        }
        Stem::Kind(kind) => {
            put("kind", kind.as_str().into());
        }
    }
    put("count", branch.count.into());
    put("bytes", json::unsigned(branch.bytes));
    put("retained_bytes", json::unsigned(branch.retained.bytes));
    put("retained_objects", branch.retained.objects.into());
    put("below", branch.below.iter().map(|below| value(graph, below)).collect());
    let rest = json!({
        "count": branch.rest_count,
        "retained_bytes": json::unsigned(branch.rest.bytes),
        "retained_objects": branch.rest.objects,
    });
    put("rest", rest);
    Value::Object(out)
}
