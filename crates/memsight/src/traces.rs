//! How the server opens files of traces and has running programs write them.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use capture::http::HttpTarget;
use capture::{CaptureError, Image, find, pprof_of};
use model::TargetSpec;
use server::{FilesError, TraceFiles};

/// How much longer than asked for a trace may take.
const ANSWER: Duration = Duration::from_secs(20);

/// The files and programs of this machine.
pub(crate) struct TraceAccess;

impl TraceFiles for TraceAccess {
    fn with_file(&self, path: &Path, work: &mut dyn FnMut(&[u8])) -> Result<(), FilesError> {
        // Where the file lies in the store is no client's business.
        let failed = |error: std::io::Error| FilesError {
            message: format!("the trace cannot be read: {error}"),
            next: String::new(),
        };
        work(Image::open(path).map_err(failed)?.as_ref());
        Ok(())
    }

    fn record(
        &self,
        target: &TargetSpec,
        duration: Duration,
        out: &mut dyn Write,
    ) -> Result<(), FilesError> {
        let told = |error: CaptureError| FilesError {
            message: error.to_string(),
            next: error.next_step().unwrap_or_default(),
        };
        let pprof = match target {
            TargetSpec::Url(url) => HttpTarget::attach(url),
            TargetSpec::Pid(pid) => pprof_of(*pid),
            TargetSpec::Name(pattern) => find::one_by_name(pattern).and_then(pprof_of),
            TargetSpec::Core { .. } => Err(CaptureError::Unsupported("it does not run".to_owned())),
        };
        let path = format!("trace?seconds={}", duration.as_secs());
        let stream = pprof.and_then(|pprof| pprof.stream(&path, duration + ANSWER));
        let mut stream = stream.map_err(told)?;
        let failed = |error: io::Error| FilesError {
            message: format!("the trace ended early: {error}"),
            next: String::new(),
        };
        io::copy(&mut stream, out).map_err(failed)?;
        Ok(())
    }
}
