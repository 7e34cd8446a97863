//! Writes what happens to the store, and hands it on with the key it got there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use serde_json::Value;
use store::{Store, StoredEvent};

use crate::bus::Record;
use crate::events::Event;
use crate::failures::Part;

/// Events that come within this time are written together.
const GATHER: Duration = Duration::from_millis(250);
const GATHERED_MAX: usize = 500;

/// Writes events until `stop` is set and all are written. `told` gets each as it was stored; those
/// that are not stored, as there is one every few seconds a target, have the key 0.
pub fn run(
    events: &Receiver<Arc<Record>>,
    store: &Store,
    stop: &AtomicBool,
    told: &dyn Fn(StoredEvent),
) {
    let mut has_failed = false;
    loop {
        // Read first: what was published before it was set is written.
        let is_last = stop.load(Ordering::Acquire);
        let gathered = gather(events);
        let (kept, passing): (Vec<_>, Vec<_>) =
            gathered.iter().partition(|record| !matches!(record.event, Event::Observed { .. }));
        passing.into_iter().for_each(|record| told(stored(record)));
        let mut kept: Vec<StoredEvent> = kept.into_iter().map(|record| stored(record)).collect();
        let written = store.put_events(&mut kept);
        if written.is_err() {
            Part::Store.failed();
        }
        match written {
            Ok(()) => has_failed = false,
            Err(error) if !has_failed => {
                has_failed = true;
                let text = format!("events are not kept: {error}");
                told(stored(&Record {
                    number: 0,
                    time: capture::now(),
                    event: Event::Warning { target: None, text },
                }));
            }
            Err(_) => {}
        }
        kept.into_iter().for_each(told);
        if is_last && gathered.is_empty() {
            return;
        }
    }
}

fn gather(events: &Receiver<Arc<Record>>) -> Vec<Arc<Record>> {
    let Ok(first) = events.recv_timeout(GATHER) else { return Vec::new() };
    let (mut gathered, until) = (vec![first], Instant::now() + GATHER);
    while gathered.len() < GATHERED_MAX
        && let left = until.saturating_duration_since(Instant::now())
        && let Ok(record) = events.recv_timeout(left)
    {
        gathered.push(record);
    }
    gathered
}

fn stored(record: &Record) -> StoredEvent {
    let event = &record.event;
    StoredEvent {
        id: 0,
        time: record.time,
        kind: event.kind().to_owned(),
        level: event.level().as_str().to_owned(),
        target: event.target(),
        message: event.message(),
        fields: Value::Object(event.fields()).to_string(),
    }
}
