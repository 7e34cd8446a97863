//! How the server opens files of traces and has running programs write them.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use capture::Image;
use capture::http::Tls;
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
        let TargetSpec::Url(base) = target else {
            return Err(FilesError {
                message: "a process is not asked for traces".to_owned(),
                next: "watch its pprof endpoint, with --url".to_owned(),
            });
        };
        let url = format!("{base}/debug/pprof/trace?seconds={}", duration.as_secs());
        let told = |message: String| FilesError { message, next: String::new() };
        let bytes = capture::http::fetch(&url, duration + ANSWER, &Tls::default())
            .map_err(|error| told(error.to_string()))?;
        out.write_all(&bytes).map_err(|error| told(error.to_string()))
    }
}
