//! The traces that were shown last, analysed.

use std::sync::{Arc, Mutex, TryLockError};

use analyze::trace::Analysis;
use analyze::trace::collections::{Collections, Collector};
use analyze::trace::goroutines::{Group, Grouper};
use analyze::trace::summary::{Summarizer, Summary};
use axum::http::StatusCode;
use decode::gotrace::Reader;
use model::{CaptureId, CaptureKind};
use store::Store;

use crate::error::ApiError;
use crate::files::TraceFiles;
use crate::recent::Recent;

/// What a trace says. Nothing of it refers to the file.
#[derive(Debug)]
pub(super) struct Analysed {
    pub(super) version: u32,
    /// Why the trace was not read to its end.
    pub(super) warning: Option<String>,
    pub(super) summary: Summary,
    pub(super) collections: Collections,
    pub(super) groups: Vec<Group>,
}

impl Analysed {
    /// Reads a trace once for all questions.
    fn of(bytes: &[u8]) -> Result<Analysed, String> {
        let mut reader = Reader::new(bytes).map_err(|error| error.to_string())?;
        let mut summary = Summarizer::default();
        let mut collections = Collector::default();
        let mut groups = Grouper::default();
        let mut events = 0_u64;
        let error = loop {
            match reader.next() {
                Ok(Some(event)) => {
                    events += 1;
                    let tables = reader.tables();
                    summary.event(&event, tables);
                    collections.event(&event, tables);
                    groups.event(&event, tables);
                }
                Ok(None) => break None,
                Err(error) => break Some(error.to_string()),
            }
        };
        match error {
            // A synchronisation alone is nothing that was read.
            Some(error) if events < 2 => Err(error),
            warning => Ok(Analysed {
                version: reader.version(),
                warning,
                summary: summary.finish(),
                collections: collections.finish(),
                groups: groups.finish(),
            }),
        }
    }
}

/// Traces that are open, and how they are opened and taken.
pub struct Traces {
    pub(super) files: Arc<dyn TraceFiles>,
    /// Whether traces of running programs may be taken.
    may_take: bool,
    /// Held while a trace is taken: one at a time.
    taking: Mutex<()>,
    recent: Recent<Analysed>,
}

impl std::fmt::Debug for Traces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Traces").field("may_take", &self.may_take).finish_non_exhaustive()
    }
}

impl Traces {
    /// Nothing is open yet. `may_take` allows clients to have running programs traced.
    pub fn new(files: Arc<dyn TraceFiles>, may_take: bool) -> Traces {
        Traces { files, may_take, taking: Mutex::default(), recent: Recent::default() }
    }

    /// Whether clients may have running programs traced.
    pub(crate) fn may_take(&self) -> bool {
        self.may_take
    }

    /// Opens a trace that will be asked about. What is wrong with it is said then.
    pub fn warm(&self, store: &Store, id: i64) {
        let _ = self.analysed(store, id);
    }

    /// What the trace of a capture says.
    pub(super) fn analysed(&self, store: &Store, id: i64) -> Result<Arc<Analysed>, ApiError> {
        self.recent.get(id, || {
            let capture = store.capture(CaptureId(id))?;
            if capture.kind != CaptureKind::Trace {
                return Err(ApiError::other_kind(&capture));
            }
            let path = store.capture_path(capture.id)?;
            let mut analysed = None;
            let opened =
                self.files.with_file(&path, &mut |bytes| analysed = Some(Analysed::of(bytes)));
            opened.map_err(|error| unreadable(error.message, error.next))?;
            let analysed = analysed.unwrap_or_else(|| Err("the file was not read".to_owned()));
            analysed.map_err(|error| unreadable(error, String::new()))
        })
    }

    /// Runs `work` unless a trace is being taken.
    pub(super) fn alone<T>(
        &self,
        work: impl FnOnce() -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        let _turn = self.taking.try_lock().or_else(|error| match error {
            TryLockError::Poisoned(poisoned) => Ok(poisoned.into_inner()),
            TryLockError::WouldBlock => {
                let error = "a trace is being taken";
                Err(ApiError::new(StatusCode::CONFLICT, error, "ask again when it is done"))
            }
        })?;
        work()
    }

    /// Forgets what nobody has asked about lately.
    pub(crate) fn forget_old(&self) {
        self.recent.forget_old();
    }
}

pub(super) fn unreadable(error: String, next: String) -> ApiError {
    ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, error, next)
}
