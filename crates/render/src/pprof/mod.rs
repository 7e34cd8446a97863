//! Reports as `go tool pprof` prints them, byte for byte; each format streams to a
//! writer instead of building the whole text first.

mod callgrind;
mod disasm;
pub mod dot;
mod list;
mod raw;
mod tabs;
mod tags;
mod text;
mod topproto;
mod traces;
mod tree;

use std::io::{self, Write};

use analyze::pprof::graph::{Graph, NodeId};
use analyze::pprof::measure::percentage;
use analyze::pprof::{Format, Report};

pub use disasm::{Code, CodeLine, CodeSymbol, write_disasm};
pub use list::SourceFiles;
pub use topproto::top_profile;

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
