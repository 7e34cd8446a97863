//! The neighbourhood of an object for graphviz.

use std::fmt::Write;

use analyze::heap::around::Around;
use analyze::heap::{Dominators, Node};
use model::{Bytes, HeapGraph};

/// Draws a neighbourhood; the object in the middle is filled.
pub fn neighbourhood(graph: &HeapGraph<'_>, dominators: &Dominators, around: &Around) -> String {
    let mut out =
        "digraph heap {\n  rankdir=LR;\n  node [shape=box, fontname=\"Helvetica\"];\n".to_owned();
    for (index, node) in around.nodes.iter().enumerate() {
        let label = quoted(&label(graph, dominators, *node));
        let more = match (index, node) {
            (0, _) => ", style=filled, fillcolor=\"#ffd8a8\"",
            (_, Node::Object(_)) => "",
            _ => ", shape=ellipse",
        };
        let _ = writeln!(out, "  n{index} [label={label}{more}];");
    }
    for link in &around.links {
        let Some(from) = around.nodes.get(link.from) else { continue };
        let label = quoted(&super::field(graph, *from, link.slot));
        let _ = writeln!(out, "  n{} -> n{} [label={label}];", link.from, link.to);
    }
    if around.is_cut {
        out += "  more [label=\"more was left out\", shape=plaintext];\n";
    }
    out + "}\n"
}

fn label(graph: &HeapGraph<'_>, dominators: &Dominators, node: Node) -> String {
    let name = super::label(graph, node);
    let Node::Object(object) = node else { return name };
    let bytes = Bytes(graph.objects.bytes(object));
    let address = graph.objects.address(object).unwrap_or_default();
    let retained = match dominators.is_reachable(node) {
        true => format!("retains {}", Bytes(dominators.retained(node).bytes)),
        false => "unreachable".to_owned(),
    };
    format!("{name}\n{address}  {bytes}\n{retained}")
}

fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("\"{escaped}\"")
}
