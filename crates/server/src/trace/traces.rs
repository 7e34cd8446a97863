//! The traces that were shown last, and what was made of them.
//!
//! Each question reads the trace once, from its mapped file; nothing of an answer refers to
//! it. What the page shows first is made in one pass.

use std::sync::{Arc, Mutex};

use analyze::trace::Analysis;
use analyze::trace::collections::{Collections, Collector};
use analyze::trace::goroutines::{Group, Grouper};
use analyze::trace::summary::{Summarizer, Summary};
use analyze::trace::timeline::{Builder, Timeline};
use axum::http::StatusCode;
use decode::gotrace;
use model::trace::{Event, Tables};
use model::{CaptureId, CaptureKind};
use serde_json::Value;
use store::Store;

use crate::error::ApiError;
use crate::files::TraceFiles;
use crate::recent::Recent;

/// What came of reading a trace beside its analysis.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) version: u32,
    /// Why the trace was not read to its end.
    pub(super) warning: Option<String>,
}

/// What the page shows first.
#[derive(Debug)]
pub(super) struct Overview {
    pub(super) done: Done,
    pub(super) summary: Summary,
    pub(super) timeline: Timeline,
}

/// Collections, and what goroutines did.
#[derive(Debug)]
pub(super) struct Figures {
    pub(super) done: Done,
    pub(super) collections: Collections,
    pub(super) groups: Vec<Group>,
}

/// Two analyses in one pass.
#[derive(Default)]
struct Both<A, B>(A, B);

impl<A: Analysis, B: Analysis> Analysis for Both<A, B> {
    fn event(&mut self, event: &Event, tables: &Tables<'_>) {
        self.0.event(event, tables);
        self.1.event(event, tables);
    }
}

/// Traces that are open, and how they are opened and taken.
pub struct Traces {
    pub(super) files: Arc<dyn TraceFiles>,
    /// Whether traces of running programs may be taken.
    may_take: bool,
    /// Held while a trace is taken: one at a time.
    pub(super) taking: Mutex<()>,
    overviews: Recent<Overview>,
    figures: Recent<Figures>,
    pub(super) utilization: Recent<Value>,
    pub(super) tasks: Recent<Value>,
    pub(super) lifetimes: Recent<Value>,
}

impl std::fmt::Debug for Traces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Traces").field("may_take", &self.may_take).finish_non_exhaustive()
    }
}

impl Traces {
    /// Nothing is open yet. `may_take` allows clients to have running programs traced.
    pub fn new(files: Arc<dyn TraceFiles>, may_take: bool) -> Traces {
        Traces {
            files,
            may_take,
            taking: Mutex::default(),
            overviews: Recent::default(),
            figures: Recent::default(),
            utilization: Recent::default(),
            tasks: Recent::default(),
            lifetimes: Recent::default(),
        }
    }

    /// Whether clients may have running programs traced.
    pub(crate) fn may_take(&self) -> bool {
        self.may_take
    }

    /// Makes ready what the page shows first. What is wrong with the trace is said there.
    pub fn warm(&self, store: &Store, id: i64) {
        let _ = self.overview(store, id);
    }

    /// What the page of a capture's trace shows first.
    pub(super) fn overview(&self, store: &Store, id: i64) -> Result<Arc<Overview>, ApiError> {
        self.overviews.get(id, || {
            let mut both = Both(Summarizer::default(), Builder::default());
            let done = self.read(store, id, &mut both)?;
            let Both(summarizer, builder) = both;
            Ok(Overview { done, summary: summarizer.finish(), timeline: builder.finish() })
        })
    }

    /// The collections and goroutines of a capture's trace.
    pub(super) fn figures(&self, store: &Store, id: i64) -> Result<Arc<Figures>, ApiError> {
        self.figures.get(id, || {
            let mut both = Both(Collector::default(), Grouper::default());
            let done = self.read(store, id, &mut both)?;
            let Both(collector, grouper) = both;
            Ok(Figures { done, collections: collector.finish(), groups: grouper.finish() })
        })
    }

    /// Feeds all events of a capture's trace to an analysis.
    pub(super) fn read(
        &self,
        store: &Store,
        id: i64,
        analysis: &mut impl Analysis,
    ) -> Result<Done, ApiError> {
        let capture = store.capture(CaptureId(id))?;
        if capture.kind != CaptureKind::Trace {
            return Err(ApiError::other_kind(&capture));
        }
        let path = store.capture_path(capture.id)?;
        let mut outcome = None;
        let opened = self.files.with_file(&path, &mut |bytes| {
            let read = gotrace::each(bytes, |event, tables| analysis.event(event, tables));
            outcome = Some(read);
        });
        opened.map_err(|error| unreadable(error.message, error.next))?;
        let outcome = outcome.ok_or_else(|| ApiError::internal(&"the file was not read"))?;
        let outcome = outcome.map_err(|error| unreadable(error.to_string(), String::new()))?;
        let warning = outcome.damage.map(|damage| damage.to_string());
        Ok(Done { version: outcome.version, warning })
    }

    /// Forgets what nobody has asked about lately.
    pub(crate) fn forget_old(&self) {
        self.figures.forget_old();
        self.overviews.forget_old();
        for answers in [&self.utilization, &self.tasks, &self.lifetimes] {
            answers.forget_old();
        }
    }
}

pub(super) fn unreadable(error: String, next: String) -> ApiError {
    ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, error, next)
}
