//! `memsight trace view`: memsight's own pages on a trace. The file stays where it is.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use decode::gotrace::Reader;
use model::CaptureKind;

use crate::args::trace::TraceViewArgs;
use crate::failure::Failure;
use crate::viewer::{Viewer, file_name};

/// Serves until Ctrl-C.
pub(super) fn run(args: &TraceViewArgs) -> Result<ExitCode, Failure> {
    let name = || args.file.display().to_string();
    // First of all: a file that cannot be read needs no server.
    let image = capture::Image::open(&args.file).with_context(name)?;
    Reader::new(image.as_ref()).with_context(name)?;
    let viewer = Viewer::start(&args.listen)?;
    let target = viewer.target(&file_name(&name()))?;
    let file = std::fs::canonicalize(&args.file).with_context(name)?;
    let service = &viewer.service;
    let (kind, time) = (CaptureKind::Trace, capture::now());
    let id = service.store.link_file(target, kind, time, "view", &file)?.id.0;
    // While the browser starts.
    let (traces, store) = (Arc::clone(&service.traces), Arc::clone(&service.store));
    std::thread::spawn(move || traces.warm(&store, id));
    viewer.serve(&format!("/trace/{id}"), args.no_browser)
}
