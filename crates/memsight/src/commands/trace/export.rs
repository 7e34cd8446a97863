//! `memsight trace export`.

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use analyze::trace::drawing::{Drawer, Rows};
use anyhow::Context;
use render::trace::chrome::Chrome;
use render::trace::perfetto::Perfetto;
use render::trace::shown::Shown;

use super::{Done, analyze};
use crate::args::trace::{ExportFormat, ExportView, TraceExportArgs};
use crate::atomic;
use crate::failure::Failure;

/// Writes a timeline.
pub(crate) fn run(args: &TraceExportArgs) -> Result<ExitCode, Failure> {
    let done = match &args.output {
        Some(path) => {
            let mut failure = None;
            let written = atomic::create(path, |out| {
                write(args, out).map_err(|error| {
                    failure = Some(error);
                    io::Error::other("nothing is written")
                })
            });
            if let Some(failure) = failure {
                return Err(failure);
            }
            written.with_context(|| path.display().to_string())?
        }
        None => write(args, &mut BufWriter::new(io::stdout().lock()))?,
    };
    done.warn();
    Ok(ExitCode::SUCCESS)
}

fn write(args: &TraceExportArgs, mut out: &mut dyn Write) -> Result<Done, Failure> {
    let rows = match args.view {
        ExportView::Procs => Rows::Procs,
        ExportView::Goroutines => Rows::Goroutines,
    };
    let shown = Shown::new(args.from, args.to.unwrap_or(u64::MAX), args.arrows);
    let (done, written) = match args.format {
        ExportFormat::Chrome => {
            let mut drawer = Drawer::new(rows, Chrome::new(&mut out, rows, shown));
            let done = analyze(&args.file, &mut drawer)?;
            (done, drawer.finish().finish().map(|_| ()))
        }
        ExportFormat::Perfetto => {
            let mut drawer = Drawer::new(rows, Perfetto::new(&mut out, rows, shown));
            let done = analyze(&args.file, &mut drawer)?;
            (done, drawer.finish().finish().map(|_| ()))
        }
    };
    match written.and_then(|()| out.flush()) {
        // A reader that has gone away is no error.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(done),
        Err(error) => Err(error.into()),
        Ok(()) => Ok(done),
    }
}
