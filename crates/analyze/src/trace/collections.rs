//! Garbage collections: their phases, who helped, and what became of the heap.
//!
//! A collection stops the world for a moment to end the last sweep, marks while the program
//! runs, stops it again to end marking, and sweeps until the next one. The bounds of marking
//! are events of their own, and the stops have reasons; both belong together by time.

use ahash::AHashMap;
use model::trace::{Event, GoId, GoState, Metric, Range, StringId, Tables, Time, What};

use super::intern::{Name, Names};
use super::{Analysis, Durations};

/// One collection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collection {
    /// From the first event of the trace to its begin; 0 when it was under way.
    pub start_nanos: u64,
    /// It began before the trace.
    pub is_cut_at_start: bool,
    /// It ended after the trace.
    pub is_cut_at_end: bool,
    /// From begin to end of marking.
    pub mark_nanos: u64,
    /// The stop that ends the last sweep.
    pub sweep_termination_nanos: Option<u64>,
    /// The stop that ends marking.
    pub mark_termination_nanos: Option<u64>,
    /// Times that goroutines had to help marking.
    pub assists: Durations,
    /// CPU time of the workers that had a P for themselves.
    pub dedicated_nanos: u64,
    /// CPU time of the workers that ran for part of the time.
    pub fractional_nanos: u64,
    /// CPU time of the workers on Ps with nothing else to do.
    pub idle_nanos: u64,
    /// Heap when it began.
    pub heap_before_bytes: Option<u64>,
    /// Heap when marking ended, with what was allocated meanwhile.
    pub heap_peak_bytes: Option<u64>,
    /// What was marked.
    pub heap_live_bytes: Option<u64>,
    /// The heap at which it was to be done.
    pub goal_bytes: Option<u64>,
    /// Bytes swept after it, until the next one.
    pub swept_bytes: u64,
    /// Bytes of them that became free.
    pub reclaimed_bytes: u64,
}

/// All collections of a trace, and what is not part of one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collections {
    /// In the order of time.
    pub collections: Vec<Collection>,
    /// Stops of the world for other reasons.
    pub other_stops: Durations,
    /// From the first event to the last.
    pub duration_nanos: u64,
}

/// Makes [`Collections`].
#[derive(Debug, Default)]
pub struct Collector {
    done: Vec<Collection>,
    /// The one that marks, and since when.
    open: Option<(Collection, Time)>,
    start: Option<Time>,
    end: Time,
    names: Names,
    stops: AHashMap<GoId, (Stop, Time)>,
    /// A stop that came before the begin of its collection.
    early_stop_nanos: Option<u64>,
    other_stops: Durations,
    assists: AHashMap<GoId, Time>,
    workers: AHashMap<GoId, (Worker, Time)>,
    heap: Option<u64>,
    /// The largest heap since marking began, but for the latest figure: the last one of a collection
    /// is what was marked. The heap grows until the world stands still, a while after it was told to.
    heap_peak: Option<u64>,
    goal: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    SweepTermination,
    MarkTermination,
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Worker {
    Dedicated,
    Fractional,
    Idle,
}

impl Collector {
    /// Ends; a collection that goes on is cut.
    pub fn finish(mut self) -> Collections {
        for goroutine in self.assists.keys().copied().collect::<Vec<_>>() {
            self.assist_ends(goroutine, self.end);
        }
        for goroutine in self.workers.keys().copied().collect::<Vec<_>>() {
            self.worker_ends(goroutine, self.end);
        }
        if let Some((mut open, start)) = self.open.take() {
            open.mark_nanos = self.end.nanos_since(start);
            open.is_cut_at_end = true;
            self.done.push(open);
        }
        let duration_nanos = self.end.nanos_since(self.start.unwrap_or(self.end));
        Collections { collections: self.done, other_stops: self.other_stops, duration_nanos }
    }

    /// The collection that something belongs to which comes with marking or after it.
    fn latest(&mut self) -> Option<&mut Collection> {
        match &mut self.open {
            Some((open, _)) => Some(open),
            None => self.done.last_mut(),
        }
    }

    fn begin(&mut self, event: &Event, is_cut_at_start: bool) {
        if self.open.is_some() {
            return;
        }
        let start = self.start.unwrap_or(event.time);
        let since = if is_cut_at_start { start } else { event.time };
        let collection = Collection {
            start_nanos: since.nanos_since(start),
            is_cut_at_start,
            sweep_termination_nanos: self.early_stop_nanos.take(),
            heap_before_bytes: if is_cut_at_start { None } else { self.heap },
            goal_bytes: self.goal,
            ..Collection::default()
        };
        self.heap_peak = None;
        self.open = Some((collection, since));
    }

    fn end(&mut self, event: &Event) {
        let Some((mut collection, since)) = self.open.take() else { return };
        collection.mark_nanos = event.time.nanos_since(since);
        collection.heap_live_bytes = self.heap;
        collection.heap_peak_bytes = self.heap_peak;
        self.done.push(collection);
    }

    fn stop_begins(&mut self, event: &Event, reason: StringId, tables: &Tables<'_>) {
        let name = self.names.of(reason, tables);
        let stop = match self.names.text(name) {
            "GC sweep termination" => Stop::SweepTermination,
            "GC mark termination" => Stop::MarkTermination,
            _ => Stop::Other,
        };
        self.stops.insert(event.goroutine, (stop, event.time));
    }

    fn stop_ends(&mut self, event: &Event) {
        let Some((stop, start)) = self.stops.remove(&event.goroutine) else { return };
        let nanos = event.time.nanos_since(start);
        match (stop, &mut self.open) {
            (Stop::Other, _) => self.other_stops.add(nanos),
            (Stop::SweepTermination, Some((open, _))) => {
                open.sweep_termination_nanos = Some(nanos);
            }
            (Stop::SweepTermination, None) => self.early_stop_nanos = Some(nanos),
            // Marking may be over when the world goes on.
            (Stop::MarkTermination, _) => {
                if let Some(latest) = self.latest() {
                    latest.mark_termination_nanos = Some(nanos);
                }
            }
        }
    }

    fn assist_ends(&mut self, goroutine: GoId, end: Time) {
        let Some(start) = self.assists.remove(&goroutine) else { return };
        if let Some(latest) = self.latest() {
            latest.assists.add(end.nanos_since(start));
        }
    }

    fn labelled(&mut self, event: &Event, label: StringId, tables: &Tables<'_>) {
        let name: Name = self.names.of(label, tables);
        let worker = match self.names.text(name) {
            "GC (dedicated)" => Worker::Dedicated,
            "GC (fractional)" => Worker::Fractional,
            "GC (idle)" => Worker::Idle,
            _ => return,
        };
        self.workers.insert(event.goroutine, (worker, event.time));
    }

    fn worker_ends(&mut self, goroutine: GoId, end: Time) {
        let Some((worker, start)) = self.workers.remove(&goroutine) else { return };
        let Some(latest) = self.latest() else { return };
        let total = match worker {
            Worker::Dedicated => &mut latest.dedicated_nanos,
            Worker::Fractional => &mut latest.fractional_nanos,
            Worker::Idle => &mut latest.idle_nanos,
        };
        *total = total.saturating_add(end.nanos_since(start));
    }

    fn range_ends(&mut self, event: &Event, range: &Range) {
        match range {
            Range::Mark => self.end(event),
            Range::StopTheWorld { .. } => self.stop_ends(event),
            Range::Assist { goroutine } => self.assist_ends(*goroutine, event.time),
            Range::Sweep { swept_bytes, reclaimed_bytes, .. } => {
                if let Some(latest) = self.latest() {
                    latest.swept_bytes = latest.swept_bytes.saturating_add(*swept_bytes);
                    latest.reclaimed_bytes =
                        latest.reclaimed_bytes.saturating_add(*reclaimed_bytes);
                }
            }
        }
    }
}

impl Analysis for Collector {
    fn event(&mut self, event: &Event, tables: &Tables<'_>) {
        self.start.get_or_insert(event.time);
        self.end = event.time;
        match &event.what {
            What::Sync { .. } => self.names.forget_ids(),
            What::Metric(Metric::HeapBytes, value) => {
                let before = self.heap.replace(*value);
                if self.open.is_some() {
                    self.heap_peak = self.heap_peak.max(before);
                }
            }
            What::Metric(Metric::HeapGoalBytes, value) => self.goal = Some(*value),
            What::RangeBegin(Range::Mark) => self.begin(event, false),
            What::RangeActive(Range::Mark) => self.begin(event, true),
            What::RangeBegin(Range::StopTheWorld { reason }) => {
                self.stop_begins(event, *reason, tables);
            }
            What::RangeBegin(Range::Assist { goroutine }) => {
                self.assists.insert(*goroutine, event.time);
            }
            // In every generation; only the first one is news.
            What::RangeActive(Range::Assist { goroutine }) => {
                self.assists.entry(*goroutine).or_insert(event.time);
            }
            What::RangeEnd(range) => self.range_ends(event, range),
            What::Label(label) => self.labelled(event, *label, tables),
            What::Goroutine(change)
                if change.from == GoState::Running
                    && change.to != GoState::Running
                    && !self.workers.is_empty() =>
            {
                self.worker_ends(change.goroutine, event.time);
            }
            _ => {}
        }
    }
}
