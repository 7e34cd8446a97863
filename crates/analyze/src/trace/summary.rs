//! A trace in a few figures.

use std::collections::BTreeMap;

use ahash::{AHashMap, AHashSet};
use model::trace::{
    Event, GoId, GoState, GoTransition, Metric, ObjectEvent, ProcId, Range, Tables, ThreadId, Time,
    What,
};

use super::{Analysis, Durations};

/// The figures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Events in all.
    pub events: u64,
    /// Of each kind, by [`What::kind`].
    pub kinds: [u64; What::KIND_NAMES.len()],
    /// From the first event to the last.
    pub duration_nanos: u64,
    /// Parts with tables of their own.
    pub generations: u64,
    /// GOMAXPROCS as last set; 0 when the trace does not say.
    pub gomaxprocs: u64,
    /// Ps that were seen.
    pub procs: u64,
    /// Threads that were seen.
    pub threads: u64,
    /// Goroutines that were there when the trace began.
    pub goroutines_before: u64,
    /// Goroutines that were created.
    pub goroutines_created: u64,
    /// Goroutines that ended.
    pub goroutines_ended: u64,
    /// Collections that began or were under way.
    pub collections: u64,
    /// Stops of the world by their reason.
    pub stops: BTreeMap<String, Durations>,
    /// Objects, when the trace was taken with GODEBUG=traceallocfree=1.
    pub objects: Option<Objects>,
    /// Bytes of heap objects.
    pub heap: Option<Curve>,
    /// The goal of the collector in bytes.
    pub heap_goal: Option<Curve>,
}

/// What the experiment AllocFree says of heap objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Objects {
    /// There when the trace began.
    pub before: u64,
    /// Allocated since. Several tiny ones may count as one.
    pub allocated: u64,
    /// Freed since.
    pub freed: u64,
}

/// A figure over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Curve {
    /// The first value.
    pub first: u64,
    /// The last.
    pub last: u64,
    /// The least.
    pub min: u64,
    /// The largest.
    pub max: u64,
}

/// Makes a [`Summary`].
#[derive(Debug, Default)]
pub struct Summarizer {
    summary: Summary,
    start: Option<Time>,
    end: Time,
    thread_last: Option<ThreadId>,
    threads: AHashSet<ThreadId>,
    procs: AHashSet<ProcId>,
    stops: AHashMap<GoId, Time>,
}

impl Summarizer {
    /// Ends.
    pub fn finish(mut self) -> Summary {
        let start = self.start.unwrap_or(self.end);
        self.summary.duration_nanos = self.end.nanos_since(start);
        // The last synchronisation begins nothing.
        self.summary.generations = self.summary.kinds.get(1).map_or(0, |it| it.saturating_sub(1));
        self.summary.threads = self.threads.len() as u64;
        self.summary.procs = self.procs.len() as u64;
        self.summary
    }

    fn goroutine(&mut self, change: &GoTransition) {
        match (change.from, change.to) {
            (GoState::Undetermined, _) => self.summary.goroutines_before += 1,
            (GoState::NotExist, _) => self.summary.goroutines_created += 1,
            (_, GoState::NotExist) => self.summary.goroutines_ended += 1,
            _ => {}
        }
    }

    fn object(&mut self, event: Option<ObjectEvent>) {
        let objects = self.summary.objects.get_or_insert_default();
        match event {
            Some(ObjectEvent::Existed { .. }) => objects.before += 1,
            Some(ObjectEvent::Alloc { .. }) => objects.allocated += 1,
            Some(ObjectEvent::Free { .. }) => objects.freed += 1,
            _ => {}
        }
    }

    fn stop_ends(&mut self, event: &Event, reason: String) {
        if let Some(start) = self.stops.remove(&event.goroutine) {
            let nanos = event.time.nanos_since(start);
            self.summary.stops.entry(reason).or_default().add(nanos);
        }
    }
}

impl Analysis for Summarizer {
    fn event(&mut self, event: &Event, tables: &Tables<'_>) {
        let kind = event.what.kind();
        self.summary.events += 1;
        if let Some(count) = self.summary.kinds.get_mut(kind) {
            *count += 1;
        }
        self.start.get_or_insert(event.time);
        self.end = event.time;
        if self.thread_last != Some(event.thread) {
            self.thread_last = Some(event.thread);
            if event.thread != ThreadId::NONE {
                self.threads.insert(event.thread);
            }
        }
        match &event.what {
            What::Goroutine(change) => self.goroutine(change),
            What::Proc { proc, .. } => {
                self.procs.insert(*proc);
            }
            What::Metric(metric, value) => match metric {
                Metric::Procs => self.summary.gomaxprocs = *value,
                Metric::HeapBytes => follow(&mut self.summary.heap, *value),
                Metric::HeapGoalBytes => follow(&mut self.summary.heap_goal, *value),
            },
            What::RangeBegin(Range::Mark) => self.summary.collections += 1,
            // In every generation that it goes on into, but the first tells something new.
            What::RangeActive(Range::Mark) if self.summary.collections == 0 => {
                self.summary.collections += 1;
            }
            What::RangeBegin(Range::StopTheWorld { .. }) => {
                self.stops.insert(event.goroutine, event.time);
            }
            What::RangeEnd(Range::StopTheWorld { reason }) => {
                self.stop_ends(event, tables.text(*reason).into_owned());
            }
            What::Experiment { code, arguments } => {
                self.object(ObjectEvent::of(*code, *arguments));
            }
            _ => {}
        }
    }
}

fn follow(curve: &mut Option<Curve>, value: u64) {
    let new = Curve { first: value, last: value, min: value, max: value };
    let old = curve.unwrap_or(new);
    let (min, max) = (old.min.min(value), old.max.max(value));
    *curve = Some(Curve { first: old.first, last: value, min, max });
}
