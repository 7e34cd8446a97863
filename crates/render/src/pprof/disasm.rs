//! `disasm`: machine code annotated with values.

use std::collections::HashSet;
use std::io::{self, Write};
use std::ops::Range;

use analyze::pprof::Report;
use analyze::pprof::graph::{Graph, NodeId, mean};
use analyze::pprof::paths;
use model::StrId;
use model::profile::Mapping;

use super::code::{BinaryName, Code, CodeFrame, CodeLine, CodeSymbol, Instruction, ListedSymbol};
use super::{ReportError, number, sum, value_or_dot, write_sums};

/// A symbol with values, and its nodes by address in the binary.
struct Found {
    symbol: CodeSymbol,
    mapping: Mapping,
    nodes: Vec<(u64, NodeId)>,
    flat: i64,
    cum: i64,
}

/// The symbols that a report asks for.
pub(super) struct Disassembly {
    graph: Graph,
    address: Option<u64>,
    found: Vec<Found>,
    /// How many symbols match, with values or without.
    matching: usize,
    /// Why binaries could not be read.
    pub(super) errors: Vec<String>,
}

/// Writes the listing.
///
/// # Errors
/// When nothing matches, or `out` cannot be written.
pub fn write_disasm(
    report: &mut Report,
    code: &mut dyn Code,
    out: &mut dyn Write,
) -> Result<(), ReportError> {
    let disassembly = Disassembly::of(report, code)?;
    if let Some(reason) = disassembly.nothing(report) {
        return Err(ReportError::Refused(reason));
    }
    let symbols = disassembly.symbols(report, code).map_err(ReportError::Refused)?;
    writeln!(out, "Total: {}", report.format_value(report.total))?;
    symbols.iter().try_for_each(|symbol| write_symbol(report, symbol, out))?;
    Ok(())
}

impl Disassembly {
    /// Looks for symbols with values.
    ///
    /// # Errors
    /// When the report asks for none.
    pub(super) fn of(report: &mut Report, code: &mut dyn Code) -> Result<Disassembly, ReportError> {
        let graph = report.whole_graph();
        let Some(symbol) = &report.symbol else {
            let message = format!("{} needs a function", report.command);
            return Err(ReportError::Refused(message));
        };
        let address = number(symbol.text());
        let mut disassembly =
            Disassembly { graph, address, found: Vec::new(), matching: 0, errors: Vec::new() };
        disassembly.find(report, code);
        let key = |found: &Found| (found.symbol.name.clone(), found.symbol.start);
        disassembly.found.sort_by_cached_key(key);
        Ok(disassembly)
    }

    /// Keeps those with the largest values, the largest first.
    pub(super) fn keep_largest(&mut self, count: usize) {
        let size = |value: i64| std::cmp::Reverse(value.unsigned_abs());
        self.found.sort_by_key(|found| (size(found.flat), size(found.cum)));
        self.found.truncate(count);
    }

    /// Why there is nothing to show, if so.
    pub(super) fn nothing(&self, report: &Report) -> Option<String> {
        let text = report.symbol.as_ref().map_or("", |symbol| symbol.text());
        self.found.is_empty().then(|| match self.address {
            None => format!("no matches found for regexp {text}"),
            Some(address) if self.matching == 0 => {
                format!("no matches found for address {address:#x}")
            }
            Some(address) => format!(
                "address {address:#x} found in binary, but the corresponding symbols do not have \
                 samples in the profile"
            ),
        })
    }

    fn find(&mut self, report: &Report, code: &mut dyn Code) {
        let strings = &report.profile.strings;
        let Some(pattern) = &report.symbol else { return };
        let graph = &self.graph;
        let matched: HashSet<StrId> = graph
            .order
            .iter()
            .filter(|id| pattern.is_match(graph.name(strings, **id)))
            .map(|id| graph.node(*id).info.objfile)
            .filter(|file| *file != StrId(0))
            .collect();
        for mapping in &report.profile.mappings {
            let holds = self.address.is_some_and(|a| mapping.start.0 <= a && a <= mapping.limit.0);
            if !matched.contains(&mapping.filename) && !holds {
                continue;
            }
            let binary = BinaryName::of(report, mapping);
            let symbols = match code.symbols(&binary) {
                Ok(symbols) => symbols,
                Err(error) => {
                    self.errors.push(error);
                    continue;
                }
            };
            let mut nodes: Vec<(u64, NodeId)> = Vec::new();
            for id in &graph.order {
                let at = graph.node(*id).info.address;
                nodes.extend(code.address(&binary, at).map(|at| (at, *id)));
            }
            nodes.sort_unstable();
            for symbol in symbols {
                let is_wanted = match self.address {
                    Some(address) => (symbol.start..=symbol.end).contains(&address),
                    None => pattern.is_match(&symbol.name),
                };
                if !is_wanted {
                    continue;
                }
                self.matching += 1;
                let first = nodes.partition_point(|(at, _)| *at < symbol.start);
                let last = nodes.partition_point(|(at, _)| *at < symbol.end);
                let nodes = nodes.get(first..last).unwrap_or(&[]).to_vec();
                if !nodes.is_empty() {
                    let (flat, cum) = sum(graph, nodes.iter().map(|(_, id)| id));
                    self.found.push(Found { symbol, mapping: *mapping, nodes, flat, cum });
                }
            }
        }
    }

    /// The symbols with their code. Those of one binary are read together.
    ///
    /// # Errors
    /// When code cannot be disassembled.
    pub(super) fn symbols(
        &self,
        report: &Report,
        code: &mut dyn Code,
    ) -> Result<Vec<ListedSymbol>, String> {
        let mut listed: Vec<Option<ListedSymbol>> = vec![None; self.found.len()];
        let mut mappings: Vec<Mapping> = Vec::new();
        for found in &self.found {
            if !mappings.contains(&found.mapping) {
                mappings.push(found.mapping);
            }
        }
        for mapping in &mappings {
            let binary = BinaryName::of(report, mapping);
            let of_binary = || self.found.iter().enumerate().filter(|(_, f)| f.mapping == *mapping);
            let range = |found: &Found| found.symbol.start..found.symbol.end;
            let ranges: Vec<Range<u64>> = of_binary().map(|(_, found)| range(found)).collect();
            let codes = code.instructions(&binary, &ranges)?;
            for ((index, found), lines) in of_binary().zip(codes) {
                if let Some(slot) = listed.get_mut(index) {
                    *slot = Some(self.listed(report, found, binary.path, lines));
                }
            }
        }
        Ok(listed.into_iter().flatten().collect())
    }

    fn listed(
        &self,
        report: &Report,
        found: &Found,
        path: &str,
        lines: Vec<CodeLine>,
    ) -> ListedSymbol {
        let mut rest = found.nodes.as_slice();
        let mut instructions = Vec::with_capacity(lines.len());
        let mut lines = lines.into_iter().peekable();
        while let Some(line) = lines.next() {
            let next = lines.peek().map_or(u64::MAX, |next| next.address);
            // Values in the middle of an instruction belong to it.
            let count = rest.partition_point(|(at, _)| *at < next);
            let (own, after) = rest.split_at(count);
            rest = after;
            instructions.push(self.instruction(report, line, own));
        }
        ListedSymbol {
            name: found.symbol.name.clone(),
            path: path.to_owned(),
            flat: found.flat,
            cum: found.cum,
            instructions,
        }
    }

    fn instruction(&self, report: &Report, line: CodeLine, nodes: &[(u64, NodeId)]) -> Instruction {
        let strings = &report.profile.strings;
        let (mut flat, mut flat_div, mut cum, mut cum_div) = (0_i64, 0_i64, 0_i64, 0_i64);
        let innermost = line.frames.into_iter().next().unwrap_or_default();
        let CodeFrame { function: code_function, mut file, line: mut number } = innermost;
        let mut function = "";
        for (_, id) in nodes {
            let node = self.graph.node(*id);
            flat = flat.wrapping_add(node.flat);
            flat_div = flat_div.wrapping_add(node.flat_div);
            cum = cum.wrapping_add(node.cum);
            cum_div = cum_div.wrapping_add(node.cum_div);
            if function.is_empty() {
                function = strings.get(node.info.name);
            }
            if file.is_empty() {
                strings.get(node.info.file).clone_into(&mut file);
            }
            if number == 0 {
                number = node.info.line;
            }
        }
        Instruction {
            address: line.address,
            text: line.text,
            flat: mean(flat, flat_div),
            cum: mean(cum, cum_div),
            function: function.to_owned(),
            code_function,
            file,
            line: number,
            ..Instruction::default()
        }
    }
}

fn write_symbol(report: &Report, symbol: &ListedSymbol, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "ROUTINE ======================== {}", symbol.name)?;
    write_sums(report, symbol.flat, symbol.cum, out)?;
    let mut last = ("", "", 0);
    for instruction in &symbol.instructions {
        let Instruction { address, text, flat, cum, function, file, line, .. } = instruction;
        let base = if file.is_empty() { "" } else { paths::base(file) };
        let place = (function.as_str(), base, *line);
        let mut source = String::new();
        if place != last {
            if !function.is_empty() {
                source.push_str(&format!("{function} "));
            }
            if !base.is_empty() {
                source.push_str(base);
                if *line != 0 {
                    source.push_str(&format!(":{line}"));
                }
            }
            last = place;
        }
        let (flat, cum) = (value_or_dot(report, *flat), value_or_dot(report, *cum));
        let code = format!("{flat:>10} {cum:>10} {address:>10x}: ");
        if source.is_empty() {
            writeln!(out, "{code}{text}")?;
        } else if text.len() < 40 {
            writeln!(out, "{code}{text:<40};{source}")?;
        } else {
            writeln!(out, "{:>74};{source}", "")?;
            writeln!(out, "{code}{text}")?;
        }
    }
    Ok(())
}
