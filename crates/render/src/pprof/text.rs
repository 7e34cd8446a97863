//! `top` and `text`.

use std::io::{self, Write};

use analyze::pprof::Report;
use analyze::pprof::graph::{Graph, NodeId};
use analyze::pprof::measure::percentage;

/// What the table says about inlining.
pub(super) fn inline_label(graph: &Graph, id: NodeId) -> &'static str {
    let (mut is_inline, mut is_called) = (false, false);
    for edge in graph.ins(id) {
        is_inline |= edge.is_inline;
        is_called |= !edge.is_inline;
    }
    match (is_inline, is_called) {
        (true, true) => " (partial-inline)",
        (true, false) => " (inline)",
        (false, _) => "",
    }
}

pub(super) fn write(report: &mut Report, out: &mut dyn Write) -> io::Result<()> {
    let trimmed = report.trimmed_graph();
    writeln!(out, "{}", report.labels(&trimmed, false).join("\n"))?;
    writeln!(out, "{:>10} {:>5}% {:>5}% {:>10} {:>5}%", "flat", "flat", "sum", "cum", "cum")?;
    let graph = &trimmed.graph;
    let mut sum = 0_i64;
    for id in &graph.order {
        let node = graph.node(*id);
        let (flat, cum) = (node.flat_value(), node.cum_value());
        sum = sum.wrapping_add(flat);
        let inline = inline_label(graph, *id);
        writeln!(
            out,
            "{:>10} {} {} {:>10} {}  {}{inline}",
            report.format_value(flat),
            percentage(flat, report.total),
            percentage(sum, report.total),
            report.format_value(cum),
            percentage(cum, report.total),
            graph.name(&report.profile.strings, *id),
        )?;
    }
    Ok(())
}
