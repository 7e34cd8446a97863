//! `memsight trace`: what a Go execution trace says.

use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

use analyze::trace::Analysis;
use analyze::trace::collections::Collector;
use analyze::trace::goroutines::Grouper;
use analyze::trace::profile::{Profiler, Wait};
use analyze::trace::summary::Summarizer;
use anyhow::Context;
use capture::Image;
use decode::gotrace::Reader;
use render::paint::Paint;

use crate::args::trace::{
    TraceArgs, TraceCommand, TraceGoroutinesArgs, TraceProfileArgs, WaitKind,
};
use crate::failure::Failure;
use crate::terminal::print;

/// Runs one of the commands.
pub(crate) fn run(command: &TraceCommand, paint: Paint) -> Result<ExitCode, Failure> {
    match command {
        TraceCommand::Summary(args) => summary(args, paint),
        TraceCommand::Gc(args) => gc(args, paint),
        TraceCommand::Goroutines(args) => goroutines(args, paint),
        TraceCommand::Profile(args) => profile(args),
    }
}

/// What came of reading a trace beside the analysis.
struct Done {
    version: u32,
    /// Why it was not read to its end.
    warning: Option<String>,
}

/// Feeds all events of a trace to an analysis.
fn analyze(file: &Path, analysis: &mut impl Analysis) -> Result<Done, Failure> {
    if file == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes).context("standard input")?;
        return feed(&bytes, analysis).map_err(|error| error.context("standard input").into());
    }
    let name = || file.display().to_string();
    let image = Image::open(file).with_context(name)?;
    feed(image.as_ref(), analysis).map_err(|error| error.context(name()).into())
}

fn feed(bytes: &[u8], analysis: &mut impl Analysis) -> Result<Done, anyhow::Error> {
    let mut reader = Reader::new(bytes)?;
    let mut events = 0_u64;
    let error = loop {
        match reader.next() {
            Ok(Some(event)) => {
                events += 1;
                analysis.event(&event, reader.tables());
            }
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
    };
    match error {
        // A synchronisation alone is nothing that was read.
        Some(error) if events < 2 => Err(error.into()),
        error => {
            let size = bytes.len();
            let warning = error.map(|error| format!("{error}; the file has {size} bytes"));
            Ok(Done { version: reader.version(), warning })
        }
    }
}

fn summary(args: &TraceArgs, paint: Paint) -> Result<ExitCode, Failure> {
    let mut summarizer = Summarizer::default();
    let done = analyze(&args.file, &mut summarizer)?;
    let (summary, warning) = (summarizer.finish(), done.warning.as_deref());
    print(match args.json {
        true => format!("{:#}\n", render::trace::summary::value(&summary, done.version, warning)),
        false => render::trace::summary::text(&summary, done.version, warning, paint),
    })?;
    Ok(ExitCode::SUCCESS)
}

fn gc(args: &TraceArgs, paint: Paint) -> Result<ExitCode, Failure> {
    let mut collector = Collector::default();
    let done = analyze(&args.file, &mut collector)?;
    let (collections, warning) = (collector.finish(), done.warning.as_deref());
    print(match args.json {
        true => format!("{:#}\n", render::trace::collections::value(&collections, warning)),
        false => render::trace::collections::text(&collections, warning, paint),
    })?;
    Ok(ExitCode::SUCCESS)
}

fn goroutines(args: &TraceGoroutinesArgs, paint: Paint) -> Result<ExitCode, Failure> {
    let mut grouper = Grouper::default();
    let done = analyze(&args.trace.file, &mut grouper)?;
    let (groups, warning) = (grouper.finish(), done.warning.as_deref());
    print(match args.trace.json {
        true => format!("{:#}\n", render::trace::goroutines::value(&groups, args.n, warning)),
        false => render::trace::goroutines::text(&groups, args.n, warning, paint),
    })?;
    Ok(ExitCode::SUCCESS)
}

fn profile(args: &TraceProfileArgs) -> Result<ExitCode, Failure> {
    let mut profiler = Profiler::new(match args.kind {
        WaitKind::Sync => Wait::Sync,
        WaitKind::Net => Wait::Network,
        WaitKind::Syscall => Wait::Syscall,
        WaitKind::Sched => Wait::Scheduler,
    });
    let done = analyze(&args.file, &mut profiler)?;
    if let Some(warning) = &done.warning {
        eprintln!("memsight: warning: {warning}");
    }
    let bytes = decode::pprof::write(&profiler.finish());
    match &args.output {
        Some(output) => {
            let name = || output.display().to_string();
            std::fs::write(output, &bytes).with_context(name)?;
        }
        None => print(bytes)?,
    }
    Ok(ExitCode::SUCCESS)
}
