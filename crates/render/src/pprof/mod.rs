//! Reports as `go tool pprof` prints them, byte for byte; each format streams to a
//! writer instead of building the whole text first.

mod callgrind;
mod code;
mod disasm;
pub mod dot;
pub mod json;
mod list;
mod raw;
mod tabs;
mod tags;
mod text;
mod topproto;
mod traces;
mod tree;
mod weblist;
mod weblist_html;

use std::io::{self, Write};

use analyze::pprof::graph::{Graph, NodeId};
use analyze::pprof::measure::percentage;
use analyze::pprof::{Format, Report};

pub use code::{BinaryName, Code, CodeFrame, CodeLine, CodeSymbol, SourceFiles};
pub use disasm::write_disasm;
pub use topproto::top_profile;
pub use weblist_html::write_weblist;

/// Why a report could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// Nothing to write, or an option that does not fit.
    #[error("{0}")]
    Refused(String),
    /// The output cannot be written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Writes a text report. Formats that need more than a profile (`proto`, listings of
/// machine code) are not drawn here.
///
/// # Errors
/// When nothing matches what was asked for, or `out` cannot be written.
pub fn write(
    report: &mut Report,
    sources: &mut dyn SourceFiles,
    out: &mut dyn Write,
) -> Result<(), ReportError> {
    match report.format {
        Format::Callgrind => callgrind::write(report, out)?,
        Format::Comments => comments(report, out)?,
        Format::Dot => dot::write(report, out)?,
        Format::List => list::write(report, sources, out)?,
        Format::Raw => raw::write(report, out)?,
        Format::Tags => tags::write(report, out)?,
        Format::Text => text::write(report, out)?,
        Format::Traces => traces::write(report, out)?,
        Format::Tree => tree::write(report, out)?,
        Format::Disasm | Format::Proto | Format::TopProto | Format::WebList => {
            return Err(ReportError::Refused("this format is not a text report".to_owned()));
        }
    }
    Ok(())
}

/// A number as Go's strconv reads it with base 0: listings take addresses for names.
fn number(text: &str) -> Option<u64> {
    let lower = text.to_lowercase();
    let (digits, radix) = match lower.as_str() {
        "0" => ("0", 10),
        hex if hex.starts_with("0x") => (hex.get(2..)?, 16),
        octal if octal.starts_with("0o") => (octal.get(2..)?, 8),
        binary if binary.starts_with("0b") => (binary.get(2..)?, 2),
        octal if octal.starts_with('0') => (octal.get(1..)?, 8),
        decimal => (decimal, 10),
    };
    // Rust takes a sign, Go does not.
    let is_plain = digits.chars().all(|digit| digit.is_ascii_alphanumeric());
    u64::from_str_radix(digits, radix).ok().filter(|_| is_plain)
}

/// The line below the name of a listed function.
fn write_sums(report: &Report, flat: i64, cum: i64, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "{:>10} {:>10} (flat, cum) {} of Total",
        report.format_value(flat),
        report.format_value(cum),
        percentage(cum, report.total)
    )
}

/// A value in a listing, where nothing is a dot.
fn value_or_dot(report: &Report, value: i64) -> String {
    match value {
        0 => ".".to_owned(),
        value => report.format_value(value),
    }
}

/// Own values and values with callees of some nodes together.
fn sum<'a>(graph: &Graph, nodes: impl Iterator<Item = &'a NodeId>) -> (i64, i64) {
    nodes.map(|id| graph.node(*id)).fold((0_i64, 0_i64), |(flat, cum), node| {
        (flat.wrapping_add(node.flat), cum.wrapping_add(node.cum))
    })
}

fn comments(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    for comment in &report.profile.comments {
        writeln!(out, "{}", report.profile.str(*comment))?;
    }
    Ok(())
}
