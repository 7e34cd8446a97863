//! A trace as shapes for viewers of timelines, made while the events pass: slices of what
//! runs in each row, instants, arrows, and counters.
//!
//! Rows and slices are those of `go tool trace` (cmd/trace/procgen.go, goroutinegen.go and
//! gstate.go of Go 1.26). Kept is what lives in the program, never the shapes.

mod goroutine;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use ahash::AHashMap;
use goroutine::Goroutine;
use model::trace::{
    Event, GoId, GoState, GoTransition, Metric, ProcId, ProcState, Range, StringId, Tables, Time,
    What,
};

use super::Analysis;

/// What the rows are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// Ps, with the goroutines that run on them.
    Procs,
    /// Goroutines.
    Goroutines,
}

/// Where a shape is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Row {
    /// A P.
    Proc(ProcId),
    /// A goroutine.
    Goroutine(GoId),
    /// The collector.
    Collector,
    /// What wakes those that wait for the network.
    Network,
    /// System calls that blocked.
    Syscalls,
}

/// What is drawn. Times are those of the trace.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape<'a> {
    /// Something from one time to another. What is within another slice of its row comes after it.
    Slice {
        /// Where.
        row: Row,
        /// What.
        name: &'a str,
        /// Its begin.
        start: Time,
        /// Its end.
        end: Time,
    },
    /// Something at one time.
    Instant {
        /// Where.
        row: Row,
        /// What.
        name: &'a str,
        /// When.
        at: Time,
    },
    /// One thing lets another begin.
    Arrow {
        /// Why.
        name: &'a str,
        /// From where and when.
        from: (Row, Time),
        /// To where and when.
        to: (Row, Time),
    },
    /// Figures from a time on.
    Counter {
        /// Of what.
        name: &'static str,
        /// Since when.
        at: Time,
        /// Each with its name.
        values: &'a [(&'static str, u64)],
    },
    /// What a row is called; after its shapes.
    Name {
        /// Which.
        row: Row,
        /// Its name.
        name: &'a str,
    },
}

/// Takes shapes.
pub trait Sink {
    /// The trace begins; before the first shape.
    fn begin(&mut self, start: Time);
    /// Takes one.
    fn shape(&mut self, shape: &Shape<'_>);
}

/// Draws a trace.
#[derive(Debug)]
pub struct Drawer<S> {
    rows: Rows,
    sink: S,
    start: Option<Time>,
    end: Time,
    syncs: u64,
    goroutines: BTreeMap<GoId, Goroutine>,
    in_syscall: AHashMap<ProcId, GoId>,
    procs: BTreeSet<ProcId>,
    sweeps: BTreeMap<ProcId, Time>,
    marking: Option<Time>,
    states: [u64; 3],
    running_threads: u64,
    heap: [u64; 2],
}

impl<S: Sink> Drawer<S> {
    /// Starts.
    pub fn new(rows: Rows, sink: S) -> Drawer<S> {
        Drawer {
            rows,
            sink,
            start: None,
            end: Time(0),
            syncs: 0,
            goroutines: BTreeMap::new(),
            in_syscall: AHashMap::new(),
            procs: BTreeSet::new(),
            sweeps: BTreeMap::new(),
            marking: None,
            states: [0; 3],
            running_threads: 0,
            heap: [0; 2],
        }
    }

    /// Ends what goes on, and gives the sink back.
    pub fn finish(mut self) -> S {
        for proc in self.sweeps.keys().copied().collect::<Vec<_>>() {
            self.sweep_ends(proc, self.end);
        }
        if let Some(start) = self.marking.take() {
            self.marked(start, self.end);
        }
        let end = self.end;
        for mut goroutine in std::mem::take(&mut self.goroutines).into_values() {
            goroutine.finish(end, &mut self.sink);
            self.name(&goroutine);
        }
        // The numbers of Ps and goroutines are not to be mixed up.
        let procs = std::mem::take(&mut self.procs).into_iter();
        for proc in procs.filter(|_| self.rows == Rows::Procs) {
            let name = format!("Proc {}", proc.0);
            self.sink.shape(&Shape::Name { row: Row::Proc(proc), name: &name });
        }
        self.sink
    }

    fn name(&mut self, goroutine: &Goroutine) {
        if self.rows == Rows::Goroutines {
            let row = Row::Goroutine(goroutine.id);
            self.sink.shape(&Shape::Name { row, name: goroutine.name() });
        }
    }

    /// The row in which a goroutine runs.
    fn row(&self, event: &Event, goroutine: GoId) -> Option<Row> {
        match self.rows {
            Rows::Procs => (event.proc != ProcId::NONE).then_some(Row::Proc(event.proc)),
            Rows::Goroutines => Some(Row::Goroutine(goroutine)),
        }
    }

    /// The row of what an event happens on.
    fn here(&self, event: &Event) -> Option<Row> {
        match self.rows {
            Rows::Procs => self.row(event, event.goroutine),
            Rows::Goroutines => {
                (event.goroutine != GoId::NONE).then_some(Row::Goroutine(event.goroutine))
            }
        }
    }

    /// When what was there before the trace began.
    fn begin_of(&self, event: &Event, from: GoState) -> Time {
        let is_old = from == GoState::Undetermined;
        self.start.filter(|_| is_old).unwrap_or(event.time)
    }

    fn goroutine(&mut self, event: &Event, change: &GoTransition, tables: &Tables<'_>) {
        let GoTransition { goroutine: id, from, to, .. } = *change;
        if from == GoState::NotExist && self.rows == Rows::Procs {
            // The number may be that of one that ended.
            self.goroutines.remove(&id);
        }
        let begin = self.begin_of(event, from);
        let (row, here) = (self.row(event, id), self.here(event));
        let goroutine = self.goroutines.entry(id).or_insert_with(|| Goroutine::new(id));
        goroutine.find_name(change.stack, tables);
        if from == to {
            return;
        }
        let sink = &mut self.sink;
        // On a P, a system call ends when the P is lost.
        let stops = match self.rows {
            Rows::Procs => from == GoState::Running && !is_executing(to),
            Rows::Goroutines => is_executing(from) && !is_executing(to),
        };
        let starts = match self.rows {
            Rows::Procs => !is_executing(from) && to == GoState::Running,
            Rows::Goroutines => !is_executing(from) && is_executing(to),
        };
        if self.rows == Rows::Goroutines && from == GoState::Syscall {
            goroutine.syscall_ends(event.time);
        }
        if stops {
            goroutine.stops(event.time, sink);
        }
        if to == GoState::Waiting {
            goroutine.reason = tables.text(change.reason).into_owned();
        }
        if starts && let Some(row) = row {
            goroutine.starts(begin, row, sink);
        }
        match (from, to) {
            (GoState::Waiting, _) => goroutine.unblocked(event.time, here, sink),
            (GoState::NotExist, GoState::Runnable) => goroutine.created(event.time, here),
            (GoState::Syscall, to) if to != GoState::Running => {
                goroutine.returned(event.time, sink);
            }
            _ => {}
        }
        if to == GoState::Syscall
            && let Some(row) = row
        {
            goroutine.syscall_begins(begin, row);
            self.in_syscall.insert(event.proc, id);
        }
        if self.rows == Rows::Procs
            && from == GoState::Syscall
            && self.in_syscall.remove(&event.proc).is_some()
        {
            goroutine.syscall_ends(event.time);
        }
        self.counts(event.time, id, from, to);
        if to == GoState::NotExist
            && let Some(goroutine) = self.goroutines.remove(&id)
        {
            self.name(&goroutine);
        }
    }

    /// How many goroutines run, are ready, and wait in assists.
    fn counts(&mut self, time: Time, id: GoId, from: GoState, to: GoState) {
        let is_assisting = self.goroutines.get(&id).is_some_and(Goroutine::is_assisting);
        let kind = |state| match state {
            GoState::Running | GoState::Syscall => Some(0),
            GoState::Runnable => Some(1),
            GoState::Waiting if is_assisting => Some(2),
            _ => None,
        };
        let old = self.states;
        for (kind, change) in [(kind(from), -1), (kind(to), 1)] {
            if let Some(count) = kind.and_then(|kind| self.states.get_mut(kind)) {
                *count = count.saturating_add_signed(change);
            }
        }
        if self.states != old {
            let [running, runnable, waiting] = self.states;
            let values = [("Running", running), ("Runnable", runnable), ("GCWaiting", waiting)];
            self.sink.shape(&Shape::Counter { name: "Goroutines", at: time, values: &values });
        }
    }

    fn proc(&mut self, event: &Event, proc: ProcId, from: ProcState, to: ProcState) {
        if from == to {
            return;
        }
        self.procs.insert(proc);
        let (starts, stops) = (to == ProcState::Running, from == ProcState::Running);
        let is_old = from == ProcState::Undetermined;
        let at = self.start.filter(|_| starts && is_old).unwrap_or(event.time);
        if starts || stops {
            let change = if starts { 1 } else { -1 };
            self.running_threads = self.running_threads.saturating_add_signed(change);
            let values = [("Running", self.running_threads)];
            self.sink.shape(&Shape::Counter { name: "Threads", at, values: &values });
        }
        if self.rows == Rows::Goroutines {
            return;
        }
        // A goroutine whose system call blocks loses its P.
        if stops
            && let Some(id) = self.in_syscall.remove(&proc)
            && let Some(goroutine) = self.goroutines.get_mut(&id)
        {
            goroutine.syscall_ends(event.time);
            goroutine.stops(event.time, &mut self.sink);
        }
        if starts || stops {
            let name = if starts { "proc start" } else { "proc stop" };
            self.sink.shape(&Shape::Instant { row: Row::Proc(proc), name, at });
        }
    }

    fn range(&mut self, event: &Event, of: &Range, tables: &Tables<'_>) {
        let is_first = self.syncs < 2;
        // What is active at first began before the trace; later, nothing new is said.
        let is_active = matches!(event.what, What::RangeActive(_));
        let begin = self.start.filter(|_| is_active).unwrap_or(event.time);
        match of {
            Range::Mark if !is_active || is_first => self.marking = Some(begin),
            Range::Sweep { proc, .. } if !is_active || is_first => {
                self.sweeps.insert(*proc, begin);
            }
            Range::Assist { .. } | Range::StopTheWorld { .. } => {
                let (id, name) = of_goroutine(event, of, tables);
                if let Some(goroutine) = self.goroutines.get_mut(&id) {
                    goroutine.range_begins(name, (!is_active).then_some(event.time));
                }
            }
            Range::Mark | Range::Sweep { .. } => {}
        }
    }

    fn range_ends(&mut self, event: &Event, of: &Range, tables: &Tables<'_>) {
        match of {
            Range::Mark => {
                if let Some(start) = self.marking.take() {
                    self.marked(start, event.time);
                }
            }
            Range::Sweep { proc, .. } => self.sweep_ends(*proc, event.time),
            Range::Assist { .. } | Range::StopTheWorld { .. } => {
                let (id, name) = of_goroutine(event, of, tables);
                if let Some(goroutine) = self.goroutines.get_mut(&id) {
                    goroutine.range_ends(&name, event.time);
                }
            }
        }
    }

    fn marked(&mut self, start: Time, end: Time) {
        let (row, name) = (Row::Collector, "GC concurrent mark phase");
        self.sink.shape(&Shape::Slice { row, name, start, end });
    }

    fn sweep_ends(&mut self, proc: ProcId, end: Time) {
        if let Some(start) = self.sweeps.remove(&proc)
            && self.rows == Rows::Procs
        {
            let (row, name) = (Row::Proc(proc), "GC incremental sweep");
            self.sink.shape(&Shape::Slice { row, name, start, end });
        }
    }

    fn heap(&mut self, at: Time, which: usize, value: u64) {
        if let Some(old) = self.heap.get_mut(which) {
            *old = value;
        }
        let [heap, goal] = self.heap;
        let values = [("Allocated", heap), ("NextGC", goal.saturating_sub(heap))];
        self.sink.shape(&Shape::Counter { name: "Heap", at, values: &values });
    }

    fn instant(&mut self, event: &Event, name: &str) {
        if let Some(row) = self.here(event) {
            self.sink.shape(&Shape::Instant { row, name, at: event.time });
        }
    }

    fn logged(&mut self, event: &Event, texts: [StringId; 2], tables: &Tables<'_>) {
        let [category, message] = texts.map(|text| tables.text(text));
        match category.is_empty() {
            true => self.instant(event, &message),
            false => self.instant(event, &format!("[{category}] {message}")),
        }
    }
}

/// Above it, a goal is none (golang/go#63864).
const GOAL_MAX: u64 = 1 << 50;

fn is_executing(state: GoState) -> bool {
    matches!(state, GoState::Running | GoState::Syscall)
}

/// Whose range it is, and its name.
fn of_goroutine(event: &Event, of: &Range, tables: &Tables<'_>) -> (GoId, String) {
    match of {
        Range::Assist { goroutine } => (*goroutine, goroutine::ASSIST.to_owned()),
        Range::StopTheWorld { reason } => {
            (event.goroutine, format!("stop-the-world ({})", tables.text(*reason)))
        }
        _ => (event.goroutine, String::new()),
    }
}

impl<S: Sink> Analysis for Drawer<S> {
    fn event(&mut self, event: &Event, tables: &Tables<'_>) {
        if self.start.is_none() {
            self.start = Some(event.time);
            self.sink.begin(event.time);
        }
        self.end = event.time;
        match &event.what {
            What::Sync { .. } => self.syncs += 1,
            What::Metric(Metric::HeapBytes, value) => self.heap(event.time, 0, *value),
            What::Metric(Metric::HeapGoalBytes, value) => {
                let goal = if *value > GOAL_MAX { 0 } else { *value };
                self.heap(event.time, 1, goal);
            }
            What::Label(label) => {
                if let Some(goroutine) = self.goroutines.get_mut(&event.goroutine) {
                    goroutine.label(&tables.text(*label));
                }
            }
            What::Sample => self.instant(event, "CPU profile sample"),
            What::RangeBegin(of) | What::RangeActive(of) => self.range(event, of, tables),
            What::RangeEnd(of) => self.range_ends(event, of, tables),
            What::Log { category, message, .. } => {
                self.logged(event, [*category, *message], tables);
            }
            What::Goroutine(change) => self.goroutine(event, change, tables),
            What::Proc { proc, from, to } => self.proc(event, *proc, *from, *to),
            _ => {}
        }
    }
}
