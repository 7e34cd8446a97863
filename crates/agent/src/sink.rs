//! Where series go: the store of this machine, and Prometheus's elsewhere.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use analyze::families::Exposed;
use model::{Family, Timestamp};
use remotewrite::RemoteWrites;
use store::SeriesStore;

use crate::events::{Event, Publish};
use crate::failures::Part;

/// Takes series from all who measure.
pub struct Sink {
    series: Arc<SeriesStore>,
    remote: Arc<RemoteWrites>,
    publish: Publish,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What each source had last.
    sources: HashMap<String, Exposed>,
    has_failed: bool,
}

impl Sink {
    /// Into this store, and to these destinations.
    pub fn new(series: Arc<SeriesStore>, remote: Arc<RemoteWrites>, publish: Publish) -> Sink {
        Sink { series, remote, publish, state: Mutex::default() }
    }

    /// Takes what a source has at a time. What it had last time and has no more ends; no families
    /// at all end everything of it.
    pub fn append(&self, source: &str, time: Timestamp, families: &[Family]) {
        self.remote.append(source, time, families);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let exposed = state.sources.entry(source.to_owned()).or_default();
        let result = self.series.append_all(exposed.samples(families, time));
        if families.is_empty() {
            state.sources.remove(source);
        }
        if result.is_err() {
            Part::Series.failed();
        }
        let text = match (&result, state.has_failed) {
            (Err(error), false) => format!("series are not kept: {error}"),
            (Ok(_), true) => "series are kept again".to_owned(),
            _ => return,
        };
        state.has_failed = result.is_err();
        drop(state);
        (self.publish)(Event::Warning { target: None, text });
    }
}
