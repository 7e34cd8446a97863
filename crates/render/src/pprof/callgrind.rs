//! `callgrind`, which KCachegrind opens.

use std::collections::HashMap;
use std::io::{self, Write};

use analyze::pprof::Report;
use analyze::pprof::graph::{Graph, NodeId, NodeInfo, go_int};
use analyze::pprof::measure::scale;
use model::{StrId, StringTable};

/// Names that were written before go by a number.
#[derive(Default)]
struct Numbers {
    known: HashMap<String, usize>,
}

impl Numbers {
    fn name(&mut self, name: &str) -> String {
        if name.is_empty() {
            return String::new();
        }
        if let Some(number) = self.known.get(name) {
            return format!("({number})");
        }
        let number = self.known.len() + 1;
        self.known.insert(name.to_owned(), number);
        format!("({number}) {name}")
    }
}

/// An address, relative to the last one where that is shorter.
fn address(last: Option<u64>, address: u64) -> String {
    let absolute = match address {
        0 => "0x0".to_owned(),
        _ => format!("{address:#x}"),
    };
    let Some(last) = last else { return absolute };
    if last == address {
        return "*".to_owned();
    }
    let relative = format!("{:+}", address.wrapping_sub(last).cast_signed());
    if relative.len() < absolute.len() { relative } else { absolute }
}

/// Nodes by name, with a suffix where one name stands for several functions.
fn function_names(graph: &Graph, strings: &StringTable) -> HashMap<NodeId, String> {
    type Key = (Option<u32>, NodeInfo);
    let mut by_name: HashMap<(StrId, StrId), HashMap<Key, usize>> = HashMap::new();
    let name_of = |id: NodeId| {
        let info = graph.node(id).info;
        (info.file, info.name)
    };
    for id in &graph.order {
        let functions = by_name.entry(name_of(*id)).or_default();
        let next = functions.len() + 1;
        functions.entry(Report::function_key(graph, *id)).or_insert(next);
    }
    let named = |id: &NodeId| {
        let name = strings.get(graph.node(*id).info.name);
        let functions = by_name.get(&name_of(*id)).filter(|functions| functions.len() > 1);
        let text = match functions {
            None => name.to_owned(),
            Some(functions) => {
                let number = functions.get(&Report::function_key(graph, *id)).unwrap_or(&0);
                format!("{name} [{number}/{}]", functions.len())
            }
        };
        (*id, text)
    };
    graph.order.iter().map(named).collect()
}

pub(super) fn write(report: &mut Report, out: &mut dyn Write) -> io::Result<()> {
    let trimmed = report.trimmed_graph();
    let report = &*report;
    let graph = &trimmed.graph;
    let strings = &report.profile.strings;
    let text = |id| strings.get(id);
    let names = function_names(graph, strings);
    let scaled = |value| go_int(scale(value, &report.sample_unit, &report.output_unit).0);
    writeln!(out, "positions: instr line")?;
    writeln!(out, "events: {}({})", report.sample_type, report.output_unit)?;
    let (mut objects, mut files, mut functions) = <(Numbers, Numbers, Numbers)>::default();
    let mut last: Option<NodeInfo> = None;
    for id in &graph.order {
        let node = graph.node(*id);
        let info = node.info;
        let is_same = |last: NodeInfo| {
            (last.objfile, last.file, last.name) == (info.objfile, info.file, info.name)
        };
        if !last.is_some_and(is_same) {
            writeln!(out)?;
            writeln!(out, "ob={}", objects.name(text(info.objfile)))?;
            writeln!(out, "fl={}", files.name(text(info.file)))?;
            writeln!(out, "fn={}", functions.name(text(info.name)))?;
        }
        let last_address = last.map(|info| info.address);
        let position = address(last_address, info.address);
        writeln!(out, "{position} {} {}", info.line, scaled(node.flat_value()))?;
        for edge in graph.sorted_edges(strings, graph.outs(*id)) {
            let callee = graph.node(edge.dest).info;
            writeln!(out, "cfl={}", files.name(text(callee.file)))?;
            let name = names.get(&edge.dest).map_or("", String::as_str);
            writeln!(out, "cfn={}", functions.name(name))?;
            let position = address(last_address, callee.address);
            writeln!(out, "calls=0 {position} {}", callee.line)?;
            writeln!(out, "* * {}", scaled(edge.weight))?;
        }
        last = Some(info);
    }
    Ok(())
}
