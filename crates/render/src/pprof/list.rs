//! `list`: source annotated with values.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};

use analyze::pprof::Report;
use analyze::pprof::graph::{Graph, NodeId};
use model::StrId;

use super::code::{ListedFunction, ListedLine, SourceFiles};
use super::{ReportError, sum, value_or_dot, write_sums};

/// Lines shown around values when the function's start is not known.
const MARGIN: i64 = 5;

pub(super) fn write(
    report: &mut Report,
    sources: &mut dyn SourceFiles,
    out: &mut dyn Write,
) -> Result<(), ReportError> {
    let found = Found::all(report)?;
    writeln!(out, "Total: {}", report.format_value(report.total))?;
    for place in &found.places {
        write_function(report, &found.listed(report, place, sources), out)?;
    }
    Ok(())
}

fn write_function(
    report: &Report,
    function: &ListedFunction,
    out: &mut dyn Write,
) -> io::Result<()> {
    let ListedFunction { name, file, flat, cum, error, lines } = function;
    if file.is_empty() {
        return writeln!(out, "No source information for {name}");
    }
    writeln!(out, "ROUTINE ======================== {name} in {file}")?;
    write_sums(report, *flat, *cum, out)?;
    if let Some(error) = error {
        return writeln!(out, " Error: {error}");
    }
    for ListedLine { number, text, flat, cum, .. } in lines {
        let (flat, cum) = (value_or_dot(report, *flat), value_or_dot(report, *cum));
        writeln!(out, "{flat:>10} {cum:>10} {number:>6}:{text}")?;
    }
    Ok(())
}

/// The functions that a report asks for.
pub(super) struct Found {
    graph: Graph,
    /// By name, then by file.
    pub(super) places: Vec<Place>,
}

/// A function in one of its files.
pub(super) struct Place {
    name: StrId,
    file: StrId,
    nodes: Vec<NodeId>,
    pub(super) flat: i64,
    pub(super) cum: i64,
}

impl Found {
    /// Finds them.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn all(report: &mut Report) -> Result<Found, ReportError> {
        let graph = report.whole_graph();
        let strings = &report.profile.strings;
        let Some(symbol) = &report.symbol else {
            let message = format!("{} needs a function", report.command);
            return Err(ReportError::Refused(message));
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
        let mut places = Vec::new();
        for nodes in functions.into_values() {
            let name = nodes.first().map_or(StrId(0), |id| graph.node(*id).info.name);
            let mut files: HashMap<StrId, Vec<NodeId>> = HashMap::new();
            let mut unknown = Vec::new();
            for id in nodes {
                match graph.node(id).info.file {
                    StrId(0) => unknown.push(id),
                    file => files.entry(file).or_default().push(id),
                }
            }
            let mut order: Vec<NodeId> =
                files.values().filter_map(|ids| ids.first()).copied().collect();
            graph.sort_by_file(strings, &mut order);
            if order.is_empty() {
                places.push(Place::of(&graph, name, StrId(0), unknown));
            }
            for first in order {
                let file = graph.node(first).info.file;
                let nodes = files.remove(&file).unwrap_or_default();
                places.push(Place::of(&graph, name, file, nodes));
            }
        }
        Ok(Found { graph, places })
    }

    /// A function with its lines.
    pub(super) fn listed(
        &self,
        report: &Report,
        place: &Place,
        sources: &mut dyn SourceFiles,
    ) -> ListedFunction {
        let (name, file) = (report.profile.str(place.name), report.profile.str(place.file));
        let mut listed = ListedFunction {
            name: name.to_owned(),
            file: file.to_owned(),
            flat: place.flat,
            cum: place.cum,
            ..ListedFunction::default()
        };
        if file.is_empty() {
            listed.error = Some(format!("no source information for {name}"));
            return listed;
        }
        match sources.lines(file) {
            Ok(lines) => listed.lines = self.lines(&place.nodes, lines),
            Err(error) => listed.error = Some(error),
        }
        listed
    }

    fn lines(&self, nodes: &[NodeId], texts: &[String]) -> Vec<ListedLine> {
        let mut by_line: HashMap<i64, Vec<NodeId>> = HashMap::new();
        for id in nodes {
            by_line.entry(self.graph.node(*id).info.line).or_default().push(*id);
        }
        let (start, end) = range(&self.graph, nodes);
        let first = usize::try_from(start - 1).unwrap_or(usize::MAX);
        let numbered = (start..=end).zip(texts.iter().skip(first));
        numbered
            .map(|(number, text)| {
                let ids = by_line.get(&number).map_or(&[][..], Vec::as_slice);
                let (flat, cum) = sum(&self.graph, ids.iter());
                ListedLine { number, text: text.clone(), flat, cum, instructions: Vec::new() }
            })
            .collect()
    }
}

impl Place {
    fn of(graph: &Graph, name: StrId, file: StrId, nodes: Vec<NodeId>) -> Place {
        let (flat, cum) = sum(graph, nodes.iter());
        Place { name, file, nodes, flat, cum }
    }
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
