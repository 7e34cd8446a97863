//! One report: prepared, drawn, and written to where it belongs.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use analyze::pprof::graph::go_int;
use analyze::pprof::report::Command;
use analyze::pprof::{Config, Format, Report};
use model::Profile;
use render::picture::{self, Scene};
use render::pprof::ReportError;
use render::pprof::dot::Picture;

use super::browser;
use super::code::Binaries;
use super::commands::{self, Image, Output, Viewer};
use super::source_files::{SourceSearch, go_error};
use super::times;

/// Makes a report of `profile` and writes it to the chosen output. Data that a person
/// cannot read goes to a file of its own from the terminal and from the shell.
pub(super) fn report(
    profile: Profile,
    command: &Command,
    config: &Config,
    is_in_shell: bool,
) -> Result<(), String> {
    // Nothing is created before the report is known to be possible.
    let mut report = prepared(profile, command, config)?;
    let kind = commands::find(&command.name).map_or(Output::Text, |info| info.output);
    match kind {
        _ if !config.output.is_empty() => {
            eprintln!("Generating report in {}", config.output);
            let failed = |error: io::Error| format!("open {}: {}", config.output, go_error(&error));
            to_file(&mut report, File::create(&config.output).map_err(failed)?)
        }
        Output::Viewer(ending, viewer) => {
            let (path, file) = numbered(&std::env::temp_dir(), "pprof", ending)?;
            let shown = to_file(&mut report, file).and_then(|()| view(viewer, &path));
            // The viewer has read it by now, or never will.
            let _ = std::fs::remove_file(&path);
            shown
        }
        Output::File(ending) if is_in_shell || io::stdout().is_terminal() => {
            let (path, file) = numbered(Path::new(""), "profile", ending)?;
            eprintln!("Generating report in {}", path.display());
            to_file(&mut report, file)
        }
        Output::File(_) | Output::Text => {
            let mut out = BufWriter::with_capacity(256 << 10, io::stdout().lock());
            finish(draw(&mut report, &mut out).and_then(|()| Ok(out.flush()?)))
        }
    }
}

fn to_file(report: &mut Report, file: File) -> Result<(), String> {
    let mut out = BufWriter::with_capacity(256 << 10, file);
    finish(draw(report, &mut out).and_then(|()| Ok(out.flush()?)))
}

/// A new file with the next free number.
pub(super) fn numbered(dir: &Path, prefix: &str, ending: &str) -> Result<(PathBuf, File), String> {
    for number in 1..10_000 {
        let path = dir.join(format!("{prefix}{number:03}.{ending}"));
        match File::create_new(&path) {
            Ok(file) => return Ok((path, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(format!("{}: {error}", path.display())),
        }
    }
    Err(format!("could not create file of the form {prefix}NNN.{ending}"))
}

/// Opens a file with the first program that starts, and waits for it.
fn view(viewer: Viewer, path: &Path) -> Result<(), String> {
    let programs = match viewer {
        Viewer::Program(program) => vec![program.to_owned()],
        Viewer::Browser => browser::names(),
    };
    let Some((name, mut child)) = browser::start(&programs, path.as_os_str()) else {
        return Err(format!("no program to show it: tried {}", programs.join(", ")));
    };
    let status = child.wait().map_err(|error| format!("{name}: {error}"))?;
    // A browser hands the file to a window that runs already.
    std::thread::sleep(std::time::Duration::from_secs(1));
    match status.success() {
        true => Ok(()),
        false => Err(format!("{name}: {status}")),
    }
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
    let image = commands::find(&report.command).and_then(|command| command.image);
    match report.format {
        Format::Dot if image.is_some() => {
            let scene = Scene::of(&Picture::of(report));
            let bytes = match image {
                Some(Image::Png) => picture::png(&scene).map_err(ReportError::Refused)?,
                Some(Image::Gif) => picture::gif(&scene).map_err(ReportError::Refused)?,
                Some(Image::Pdf) => picture::pdf(&scene),
                Some(Image::Ps) => picture::ps(&scene).into_bytes(),
                Some(Image::Svg) | None => picture::svg(&scene).into_bytes(),
            };
            out.write_all(&bytes)?;
        }
        Format::Proto => {
            let ratio = 1.0 / report.config.divide_by;
            if ratio > 0.0 && ratio != 1.0 {
                let columns = report.profile.samples.values.iter_mut().flatten();
                columns.for_each(|value| *value = go_int(*value as f64 * ratio));
            }
            out.write_all(&decode::pprof::write(&report.profile))?;
        }
        Format::TopProto => {
            let top = render::pprof::top_profile(report);
            out.write_all(&decode::pprof::write(&top))?;
        }
        Format::Disasm | Format::WebList if report.config.intel_syntax => {
            let message = "printing assembly in Intel syntax is not supported";
            return Err(ReportError::Refused(message.to_owned()));
        }
        Format::Disasm => {
            render::pprof::write_disasm(report, &mut Binaries::local(), out)?;
        }
        Format::WebList => {
            let mut sources = SourceSearch::new(&report.config);
            render::pprof::write_weblist(report, &mut sources, &mut Binaries::local(), out)?;
        }
        _ => {
            let mut sources = SourceSearch::new(&report.config);
            render::pprof::write(report, &mut sources, out)?;
        }
    }
    Ok(())
}
