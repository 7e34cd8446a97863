//! `disasm`: machine code annotated with values.

use std::io::Write;

use analyze::pprof::Report;
use analyze::pprof::graph::{Graph, NodeId, mean};
use analyze::pprof::paths;
use model::StrId;
use model::profile::Mapping;

use super::{ReportError, sum, value_or_dot, write_sums};

/// A symbol of a binary, in addresses of the binary.
#[derive(Clone, Debug)]
pub struct CodeSymbol {
    /// Its name.
    pub name: String,
    /// First address.
    pub start: u64,
    /// The last one, as pprof counts.
    pub end: u64,
}

/// An instruction and where it comes from.
#[derive(Clone, Debug, Default)]
pub struct CodeLine {
    /// Where it lies in the binary.
    pub address: u64,
    /// What it does.
    pub text: String,
    /// Source file; empty when unknown.
    pub file: String,
    /// Line; 0 when unknown.
    pub line: i64,
}

/// Binaries of a profile.
pub trait Code {
    /// The symbols of a mapping's binary.
    ///
    /// # Errors
    /// When there is no such binary.
    fn symbols(&mut self, path: &str) -> Result<Vec<CodeSymbol>, String>;

    /// The address within the binary.
    fn address(&mut self, path: &str, mapping: &Mapping, address: u64) -> Option<u64>;

    /// The instructions from `start` to before `end`.
    ///
    /// # Errors
    /// When the code cannot be disassembled.
    fn instructions(&mut self, path: &str, start: u64, end: u64) -> Result<Vec<CodeLine>, String>;
}

/// A symbol with values, and its nodes by address in the binary.
struct Found {
    symbol: CodeSymbol,
    path: String,
    nodes: Vec<(u64, NodeId)>,
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
    let graph = report.whole_graph();
    let report = &*report;
    let Some(symbol) = &report.symbol else {
        return Err(ReportError::Refused("disasm needs a function".to_owned()));
    };
    let address = number(symbol.text());
    let (symbols, mut found) = find(report, &graph, address, code);
    found.sort_by(|a, b| (&a.symbol.name, a.symbol.start).cmp(&(&b.symbol.name, b.symbol.start)));
    if found.is_empty() {
        return Err(ReportError::Refused(match address {
            None => format!("no matches found for regexp {}", symbol.text()),
            Some(address) if symbols == 0 => format!("no matches found for address {address:#x}"),
            Some(address) => format!(
                "address {address:#x} found in binary, but the corresponding symbols do not have \
                 samples in the profile"
            ),
        }));
    }
    writeln!(out, "Total: {}", report.format_value(report.total))?;
    for found in &found {
        write_symbol(report, &graph, found, code, out)?;
    }
    Ok(())
}

/// A number as Go's strconv reads it with base 0.
fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// How many symbols match, and those of them with values.
fn find(
    report: &Report,
    graph: &Graph,
    address: Option<u64>,
    code: &mut dyn Code,
) -> (usize, Vec<Found>) {
    let strings = &report.profile.strings;
    let Some(pattern) = &report.symbol else { return (0, Vec::new()) };
    let matched: std::collections::HashSet<StrId> = graph
        .order
        .iter()
        .filter(|id| pattern.is_match(graph.name(strings, **id)))
        .map(|id| graph.node(*id).info.objfile)
        .filter(|file| *file != StrId(0))
        .collect();
    let mut count = 0;
    let mut all = Vec::new();
    for mapping in &report.profile.mappings {
        let holds = address.is_some_and(|a| mapping.start.0 <= a && a <= mapping.limit.0);
        if !matched.contains(&mapping.filename) && !holds {
            continue;
        }
        let path = strings.get(mapping.filename);
        let Ok(symbols) = code.symbols(path) else { continue };
        let mut nodes: Vec<(u64, NodeId)> = Vec::new();
        for id in &graph.order {
            let at = graph.node(*id).info.address;
            nodes.extend(code.address(path, mapping, at).map(|at| (at, *id)));
        }
        nodes.sort_unstable();
        for symbol in symbols {
            let is_wanted = match address {
                Some(address) => (symbol.start..=symbol.end).contains(&address),
                None => pattern.is_match(&symbol.name),
            };
            if !is_wanted {
                continue;
            }
            count += 1;
            let first = nodes.partition_point(|(at, _)| *at < symbol.start);
            let last = nodes.partition_point(|(at, _)| *at < symbol.end);
            let nodes = nodes.get(first..last).unwrap_or(&[]).to_vec();
            if !nodes.is_empty() {
                all.push(Found { symbol, path: path.to_owned(), nodes });
            }
        }
    }
    (count, all)
}

fn write_symbol(
    report: &Report,
    graph: &Graph,
    found: &Found,
    code: &mut dyn Code,
    out: &mut dyn Write,
) -> Result<(), ReportError> {
    let Found { symbol, path, nodes } = found;
    let (flat, cum) = sum(graph, nodes.iter().map(|(_, id)| id));
    let instructions = code.instructions(path, symbol.start, symbol.end);
    let instructions = instructions.map_err(ReportError::Refused)?;
    writeln!(out, "ROUTINE ======================== {}", symbol.name)?;
    write_sums(report, flat, cum, out)?;
    let mut rest = nodes.as_slice();
    let mut last = (String::new(), String::new(), 0);
    for (index, line) in instructions.iter().enumerate() {
        let next = instructions.get(index + 1).map_or(u64::MAX, |next| next.address);
        // Values in the middle of an instruction belong to it.
        let count = rest.partition_point(|(at, _)| *at < next);
        let (own, after) = rest.split_at(count);
        rest = after;
        write_line(report, graph, line, own, &mut last, out)?;
    }
    Ok(())
}

fn write_line(
    report: &Report,
    graph: &Graph,
    line: &CodeLine,
    nodes: &[(u64, NodeId)],
    last: &mut (String, String, i64),
    out: &mut dyn Write,
) -> Result<(), ReportError> {
    let strings = &report.profile.strings;
    let base =
        |path: &str| if path.is_empty() { String::new() } else { paths::base(path).to_owned() };
    let mut place = (String::new(), base(&line.file), line.line);
    let (mut flat, mut flat_div, mut cum, mut cum_div) = (0_i64, 0_i64, 0_i64, 0_i64);
    for (_, id) in nodes {
        let node = graph.node(*id);
        flat = flat.wrapping_add(node.flat);
        flat_div = flat_div.wrapping_add(node.flat_div);
        cum = cum.wrapping_add(node.cum);
        cum_div = cum_div.wrapping_add(node.cum_div);
        if place.0.is_empty() {
            strings.get(node.info.name).clone_into(&mut place.0);
        }
        if place.1.is_empty() {
            place.1 = base(strings.get(node.info.file));
        }
        if place.2 == 0 {
            place.2 = node.info.line;
        }
    }
    let (flat, cum) = (mean(flat, flat_div), mean(cum, cum_div));
    let (flat, cum) = (value_or_dot(report, flat), value_or_dot(report, cum));
    let mut source = String::new();
    if place != *last {
        let (function, file, number) = &place;
        if !function.is_empty() {
            source.push_str(&format!("{function} "));
        }
        if !file.is_empty() {
            source.push_str(file);
            if *number != 0 {
                source.push_str(&format!(":{number}"));
            }
        }
        *last = place;
    }
    let code = format!("{flat:>10} {cum:>10} {:>10x}: ", line.address);
    if source.is_empty() {
        writeln!(out, "{code}{}", line.text)?;
    } else if line.text.len() < 40 {
        writeln!(out, "{code}{:<40};{source}", line.text)?;
    } else {
        writeln!(out, "{:>74};{source}", "")?;
        writeln!(out, "{code}{}", line.text)?;
    }
    Ok(())
}
