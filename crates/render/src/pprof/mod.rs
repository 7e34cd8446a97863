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

fn comments(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    for comment in &report.profile.comments {
        writeln!(out, "{}", report.profile.str(*comment))?;
    }
    Ok(())
}
