//! One report: prepared, drawn, and written to where it belongs.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};

use analyze::pprof::graph::go_int;
use analyze::pprof::report::Command;
use analyze::pprof::{Config, Format, Report};
use model::Profile;
use render::pprof::ReportError;

use super::commands::{self, Output};
use super::source_files::SourceSearch;
use super::times;

/// Makes a report of `profile` and writes it to the chosen output.
pub(super) fn report(profile: Profile, command: &Command, config: &Config) -> Result<(), String> {
    let output = match (config.output.as_str(), commands::find(&command.name)) {
        ("", Some(info)) => match info.output {
            Output::File(ending) if io::stdout().is_terminal() => format!("profile001.{ending}"),
            _ => String::new(),
        },
        (path, _) => path.to_owned(),
    };
    // Nothing is created before the report is known to be possible.
    let mut report = prepared(profile, command, config)?;
    if output.is_empty() {
        let mut out = BufWriter::with_capacity(256 << 10, io::stdout().lock());
        return finish(draw(&mut report, &mut out).and_then(|()| Ok(out.flush()?)));
    }
    eprintln!("Generating report in {output}");
    let file = File::create(&output).map_err(|error| format!("open {output}: {error}"))?;
    let mut out = BufWriter::with_capacity(256 << 10, file);
    finish(draw(&mut report, &mut out).and_then(|()| Ok(out.flush()?)))
}

fn finish(result: Result<(), ReportError>) -> Result<(), String> {
    match result {
        // `| head` is no error.
        Err(ReportError::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(|error| error.to_string()),
    }
}

/// Applies the options; says what they did not match.
pub(super) fn prepared(
    profile: Profile,
    command: &Command,
    config: &Config,
) -> Result<Report, String> {
    let mut notes = Vec::new();
    let time = times::texts(profile.time_nanos);
    let report = Report::prepare(profile, command, config, time, &mut notes);
    notes.iter().for_each(|note| eprintln!("{note}"));
    report
}

/// Draws a report.
pub(super) fn draw(report: &mut Report, out: &mut dyn Write) -> Result<(), ReportError> {
    match report.format {
        Format::Proto => {
            let ratio = report.config.divide_by;
            if ratio != 1.0 {
                let columns = report.profile.samples.values.iter_mut().flatten();
                columns.for_each(|value| *value = go_int(*value as f64 * (1.0 / ratio)));
            }
            out.write_all(&decode::pprof::write(&report.profile))?;
        }
        Format::TopProto => {
            let top = render::pprof::top_profile(report);
            out.write_all(&decode::pprof::write(&top))?;
        }
        _ => {
            let mut sources = SourceSearch::new(&report.config);
            render::pprof::write(report, &mut sources, out)?;
        }
    }
    Ok(())
}
