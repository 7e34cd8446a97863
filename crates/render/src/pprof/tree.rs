//! `tree` and `peek`.

use std::io::{self, Write};

use analyze::pprof::Report;
use analyze::pprof::graph::Edge;
use analyze::pprof::measure::percentage;

use super::ReportError;

const SEPARATOR: &str = "----------------------------------------------------------+-------------";
const LEGEND: &str = "      flat  flat%   sum%        cum   cum%   calls calls% + context \t \t ";

pub(super) fn write(report: &mut Report, out: &mut dyn Write) -> Result<(), ReportError> {
    let trimmed = report.trimmed_graph();
    let report = &*report;
    let graph = &trimmed.graph;
    let strings = &report.profile.strings;
    if let Some(symbol) = &report.symbol
        && !graph.order.iter().any(|id| symbol.is_match(graph.name(strings, *id)))
    {
        let message = format!("no matches found for regexp: {}", symbol.text());
        return Err(ReportError::Refused(message));
    }
    writeln!(out, "{}", report.labels(&trimmed, false).join("\n"))?;
    writeln!(out, "{SEPARATOR}\n{LEGEND}")?;
    let mut sum = 0_i64;
    for id in &graph.order {
        let name = graph.name(strings, *id);
        if report.symbol.as_ref().is_some_and(|symbol| !symbol.is_match(name)) {
            continue;
        }
        writeln!(out, "{SEPARATOR}")?;
        let node = graph.node(*id);
        let (flat, cum) = (node.flat_value(), node.cum_value());
        for edge in graph.sorted_edges(strings, graph.ins(*id)) {
            write_edge(report, edge, cum, graph.name(strings, edge.src), out)?;
        }
        sum = sum.wrapping_add(flat);
        writeln!(
            out,
            "{:>10} {} {} {:>10} {}                | {name}",
            report.format_value(flat),
            percentage(flat, report.total),
            percentage(sum, report.total),
            report.format_value(cum),
            percentage(cum, report.total),
        )?;
        for edge in graph.sorted_edges(strings, graph.outs(*id)) {
            write_edge(report, edge, cum, graph.name(strings, edge.dest), out)?;
        }
    }
    if !graph.order.is_empty() {
        writeln!(out, "{SEPARATOR}")?;
    }
    Ok(())
}

fn write_edge(
    report: &Report,
    edge: &Edge,
    cum: i64,
    name: &str,
    out: &mut dyn Write,
) -> io::Result<()> {
    let inline = if edge.is_inline { " (inline)" } else { "" };
    let (value, share) = (report.format_value(edge.weight), percentage(edge.weight, cum));
    writeln!(out, "{value:>50} {share} |   {name}{inline}")
}
