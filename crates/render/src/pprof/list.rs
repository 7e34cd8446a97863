//! `list`: source annotated with values.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};

use analyze::pprof::Report;
use analyze::pprof::graph::{Graph, NodeId};
use model::StrId;

use super::{ReportError, sum, value_or_dot, write_sums};

/// Where source texts come from.
pub trait SourceFiles {
    /// The lines of a file as a profile names it.
    ///
    /// # Errors
    /// A message that says where it was looked for.
    fn lines(&mut self, path: &str) -> Result<&[String], String>;
}

/// Lines shown around values when the function's start is not known.
const MARGIN: i64 = 5;

pub(super) fn write(
    report: &mut Report,
    sources: &mut dyn SourceFiles,
    out: &mut dyn Write,
) -> Result<(), ReportError> {
    let graph = report.whole_graph();
    let report = &*report;
    let strings = &report.profile.strings;
    let Some(symbol) = &report.symbol else {
        return Err(ReportError::Refused("list needs a function".to_owned()));
    };
    let mut functions: BTreeMap<&str, Vec<NodeId>> = BTreeMap::new();
    for id in &graph.order {
        let name = strings.get(graph.node(*id).info.name);
        if symbol.is_match(name) {
            functions.entry(name).or_default().push(*id);
        }
    }
    if functions.is_empty() {
        let message = format!("no matches found for regexp: {}", symbol.text());
        return Err(ReportError::Refused(message));
    }
    writeln!(out, "Total: {}", report.format_value(report.total))?;
    for (name, nodes) in functions {
        let mut files: HashMap<StrId, Vec<NodeId>> = HashMap::new();
        for id in nodes {
            let file = graph.node(id).info.file;
            if file != StrId(0) {
                files.entry(file).or_default().push(id);
            }
        }
        if files.is_empty() {
            writeln!(out, "No source information for {name}")?;
        }
        let mut order: Vec<NodeId> =
            files.values().filter_map(|ids| ids.first()).copied().collect();
        graph.sort_by_file(strings, &mut order);
        for first in order {
            let file = graph.node(first).info.file;
            let nodes = files.get(&file).map_or(&[][..], Vec::as_slice);
            write_file(report, &graph, name, nodes, sources, out)?;
        }
    }
    Ok(())
}

fn write_file(
    report: &Report,
    graph: &Graph,
    name: &str,
    nodes: &[NodeId],
    sources: &mut dyn SourceFiles,
    out: &mut dyn Write,
) -> io::Result<()> {
    let file = nodes.first().map_or("", |id| report.profile.str(graph.node(*id).info.file));
    let (flat, cum) = sum(graph, nodes.iter());
    writeln!(out, "ROUTINE ======================== {name} in {file}")?;
    write_sums(report, flat, cum, out)?;
    let lines = match sources.lines(file) {
        Ok(lines) => lines,
        Err(error) => return writeln!(out, " Error: {error}"),
    };
    let mut by_line: HashMap<i64, Vec<NodeId>> = HashMap::new();
    for id in nodes {
        by_line.entry(graph.node(*id).info.line).or_default().push(*id);
    }
    let (start, end) = range(graph, nodes);
    for number in start..=end {
        let line = usize::try_from(number - 1).ok().and_then(|index| lines.get(index));
        let Some(line) = line else { break };
        let (flat, cum) = by_line.get(&number).map_or((0, 0), |ids| sum(graph, ids.iter()));
        let (flat, cum) = (value_or_dot(report, flat), value_or_dot(report, cum));
        writeln!(out, "{flat:>10} {cum:>10} {number:>6}:{line}")?;
    }
    Ok(())
}

/// The lines to show: from the function's first line, or a margin before the first
/// value, to a margin after the last.
fn range(graph: &Graph, nodes: &[NodeId]) -> (i64, i64) {
    let first_line = |id: &NodeId| {
        let info = graph.node(*id).info;
        if info.start_line != 0 { info.start_line } else { info.line.saturating_sub(MARGIN) }
    };
    let mut start = nodes.first().map_or(1, first_line);
    let mut end = nodes.first().map_or(0, |id| graph.node(*id).info.line).saturating_add(MARGIN);
    for id in nodes {
        let node_end = graph.node(*id).info.line.saturating_add(MARGIN);
        // As pprof does: a node that moves the start does not move the end.
        if first_line(id) < start {
            start = first_line(id);
        } else if node_end > end {
            end = node_end;
        }
    }
    (start.max(1), end)
}
