//! `memsight gctrace`: what GODEBUG lines say of garbage collection.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus, Stdio};

use analyze::gctrace::{GcLog, summary};
use anyhow::Context;
use decode::compress;
use decode::gctrace::{Line, line};
use render::gctrace;
use render::paint::Paint;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::args::gctrace::GctraceArgs;
use crate::failure::{Exit, Failure};
use crate::terminal::{Progress, print};

/// Of a longer line only the end is looked at: the runtime's words come last.
const LINE_BYTES_MAX: usize = 64 << 10;

/// What is put into GODEBUG for a command that is run here.
const DEFAULT_GODEBUG: &str = "gctrace=1";

/// Runs the command.
pub(crate) fn run(args: &GctraceArgs, paint: Paint) -> Result<ExitCode, Failure> {
    let mut reading = Reading::default();
    let Some(program) = args.command.first() else {
        let Some(file) = &args.file else {
            return Err(Failure::usage("a log, `-`, or `-- COMMAND` is missing").next(
                "memsight gctrace app.log; GODEBUG=gctrace=1 ./app 2>&1 | memsight gctrace -",
            ));
        };
        read_log(file, &mut reading)?;
        report(args, &reading, paint, false)?;
        return Ok(ExitCode::SUCCESS);
    };
    let status = run_and_read(program, args, &mut reading)?;
    report(args, &reading, paint, true)?;
    Ok(exit_code(status))
}

/// What was read so far.
#[derive(Default)]
struct Reading {
    log: GcLog,
    lines: u64,
    damaged: u64,
    /// Where the first damaged line is, and why.
    first_damage: Option<String>,
}

impl Reading {
    /// Takes a line in; returns what of it is the program's own.
    fn take<'t>(&mut self, text: &'t str) -> Option<&'t str> {
        self.lines += 1;
        match line(text) {
            Line::Runtime(found, before) => {
                self.log.push(&found);
                Some(before).filter(|before| !before.is_empty())
            }
            Line::Detail => None,
            Line::Damaged { at, expected } => {
                self.damaged += 1;
                self.first_damage.get_or_insert_with(|| {
                    format!("line {}, byte {at}: {expected:?} expected", self.lines)
                });
                Some(text)
            }
            Line::Other => Some(text),
        }
    }
}

fn read_log(file: &Path, reading: &mut Reading) -> Result<(), Failure> {
    let name = || file.display().to_string();
    if file == Path::new("-") {
        each_line(io::stdin().lock(), |text| _ = reading.take(text)).context("standard input")?;
        return Ok(());
    }
    let mut progress = Progress::new();
    let reader = compress::reader(File::open(file).with_context(name)?).with_context(name)?;
    let mut read = 0_u64;
    each_line(reader, |text| {
        reading.take(text);
        read += text.len() as u64 + 1;
        if reading.lines.is_multiple_of(1 << 16) {
            progress.show(&format!("{}: {} MB read", file.display(), read / 1_000_000));
        }
    })
    .with_context(name)?;
    Ok(())
}

/// Calls `take` with each line, without its end and as UTF-8 where it is none.
fn each_line(reader: impl Read, mut take: impl FnMut(&str)) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(LINE_BYTES_MAX, reader);
    let mut line = Vec::new();
    loop {
        let chunk = reader.fill_buf()?;
        if chunk.is_empty() {
            break;
        }
        let end = chunk.iter().position(|byte| *byte == b'\n');
        let used = end.unwrap_or(chunk.len());
        line.extend_from_slice(chunk.get(..used).unwrap_or_default());
        reader.consume(used + usize::from(end.is_some()));
        if line.len() > LINE_BYTES_MAX {
            line.drain(..line.len() - LINE_BYTES_MAX);
        }
        if end.is_some() {
            take(&String::from_utf8_lossy(&line));
            line.clear();
        }
    }
    if !line.is_empty() {
        take(&String::from_utf8_lossy(&line));
    }
    Ok(())
}

/// Runs a program with its GODEBUG; what it prints itself goes where it would go.
fn run_and_read(
    program: &OsString,
    args: &GctraceArgs,
    reading: &mut Reading,
) -> Result<ExitStatus, Failure> {
    // Ctrl-C ends the program, and then there is something to report.
    let _kept = ignore_interrupts()?;
    let mut command = Command::new(program);
    command.args(args.command.get(1..).unwrap_or_default());
    command.env("GODEBUG", godebug(std::env::var("GODEBUG").ok().as_deref(), &args.godebug));
    command.stderr(Stdio::piped());
    let name = program.to_string_lossy().into_owned();
    let mut child = command.spawn().map_err(|error| {
        Failure::usage(format!("{name}: {error}"))
            .next("give a Go program and its arguments after `--`")
    })?;
    if let Some(stderr) = child.stderr.take() {
        each_line(stderr, |text| {
            if let Some(own) = reading.take(text) {
                // Nobody to tell when standard error itself is gone.
                let _ = writeln!(io::stderr(), "{own}");
            }
        })?;
    }
    Ok(child.wait()?)
}

/// Handles SIGINT without doing anything while the result lives, and later: a handler,
/// unlike an ignored signal, is not passed on to programs that are started.
fn ignore_interrupts() -> Result<(tokio::runtime::Runtime, Signal), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let signal = {
        let _entered = runtime.enter();
        signal(SignalKind::interrupt())?
    };
    Ok((runtime, signal))
}

/// The variable with what was there, the default, and what is asked for, later ones first.
fn godebug(inherited: Option<&str>, asked: &[String]) -> String {
    let mut settings = BTreeMap::new();
    let texts = [inherited.unwrap_or_default(), DEFAULT_GODEBUG].into_iter();
    for text in texts.chain(asked.iter().map(String::as_str)) {
        for setting in text.split(',').filter(|setting| !setting.is_empty()) {
            let (key, value) = setting.split_once('=').unwrap_or((setting, "1"));
            settings.insert(key, value);
        }
    }
    let settings: Vec<String> = settings.iter().map(|(k, v)| format!("{k}={v}")).collect();
    settings.join(",")
}

/// As a shell tells it: of a signal 128 and its number.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| Some(128 + status.signal()?)).unwrap_or(1);
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

fn report(
    args: &GctraceArgs,
    reading: &Reading,
    paint: Paint,
    is_beside_output: bool,
) -> Result<(), Failure> {
    let log = &reading.log;
    if let Some(first) = &reading.first_damage {
        eprintln!("memsight: {} lines could not be read, the first: {first}", reading.damaged);
    }
    if log.restarts > 0 {
        eprintln!(
            "memsight: the log holds {} runs of the program; this is the last",
            log.restarts + 1
        );
    }
    if log.cycles_dropped > 0 {
        eprintln!("memsight: the first {} cycles are left out", log.cycles_dropped);
    }
    let found = summary(log);
    if found.is_none() && log.scavenges + log.scheduler_lines + log.pacer_lines == 0 {
        let failure =
            Failure::usage(format!("no line of the Go runtime in {} lines", reading.lines));
        return Err(Failure { exit: Exit::Usage, ..failure }
            .next("start the program with GODEBUG=gctrace=1; the lines go to standard error"));
    }
    let out = match &found {
        _ if args.json => format!("{:#}\n", gctrace::value(found.as_ref(), log)),
        _ if args.openmetrics => gctrace::openmetrics(log),
        _ if args.csv => gctrace::table(log.last_run()).csv(),
        _ if args.table => gctrace::table(log.last_run()).text(),
        None => "no garbage collection in it\n".to_owned(),
        Some(found) => {
            let plot = gctrace::plot(log.last_run(), PLOT_WIDTH, PLOT_HEIGHT);
            format!("{}\n{plot}", gctrace::text(found, log, paint))
        }
    };
    match &args.output {
        Some(path) => {
            std::fs::write(path, out).with_context(|| path.display().to_string())?;
        }
        // The program's own output is on standard output.
        None if is_beside_output => eprint!("{out}"),
        None => print(out)?,
    }
    Ok(())
}

const PLOT_WIDTH: usize = 64;
const PLOT_HEIGHT: usize = 12;

#[cfg(test)]
mod tests {
    use super::{LINE_BYTES_MAX, each_line, godebug};

    #[test]
    fn settings_are_joined() {
        assert_eq!(godebug(None, &[]), "gctrace=1");
        assert_eq!(godebug(Some("madvdontneed=1,gctrace=0"), &[]), "gctrace=1,madvdontneed=1");
        let asked = ["scavtrace".to_owned(), "gctrace=2".to_owned()];
        assert_eq!(godebug(Some(""), &asked), "gctrace=2,scavtrace=1");
    }

    #[test]
    fn of_long_lines_the_end_is_left() {
        let text = format!("{}end\nnext\n\nlast", "x".repeat(LINE_BYTES_MAX * 3));
        let mut lines = Vec::new();
        each_line(text.as_bytes(), |line| lines.push(line.to_owned())).unwrap();
        assert_eq!(lines.len(), 4);
        assert!(lines[0].ends_with("xend") && lines[0].len() <= LINE_BYTES_MAX);
        assert_eq!(lines[1..], ["next", "", "last"]);
    }
}
