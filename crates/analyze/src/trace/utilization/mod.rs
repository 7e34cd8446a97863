//! Which share of the Ps is left to the program while the collector works: as a function of
//! time, and the least that any window of a length had (minimum mutator utilisation, MMU).
//!
//! Source: internal/trace/gc.go of Go 1.26, whose figures these are, but for its faults:
//!
//! * A background worker is labelled each time that it starts. Go counts it once more each time and
//!   never less, so that after two collections nothing is left of a P. Here it counts while it
//!   runs, as in Go up to 1.21.
//! * In format 1 the number of Ps comes after the first stop has begun, which Go then takes for
//!   ended before it began; no later one counts.
//! * A goroutine that waits in an assist when the trace begins has no P. Go takes one for it.
//! * Go's percentiles are all the minimum. Here they are those of the windows.
//!
//! Kept is a change of the share, 16 bytes, and as much again for its integral.

mod curve;
mod distribution;
mod report;
#[cfg(test)]
mod tests;
mod worst;

use ahash::{AHashMap, AHashSet};
pub use curve::Curve;
use model::trace::{
    Event, GoId, GoState, GoTransition, Metric, ProcId, Range, StringId, Tables, Time, What,
};
pub use report::{Point, Report, Steps};
pub use worst::Window;

use super::Analysis;
use super::intern::{Name, Names};

/// What takes Ps from the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Stops of the world for the collector.
    pub stops: bool,
    /// Background workers, but for those on Ps with nothing else to do.
    pub background: bool,
    /// Goroutines that help marking before they may allocate.
    pub assists: bool,
    /// Goroutines that sweep before they may allocate.
    pub sweeps: bool,
    /// Each P has a function of its own. Workers with a P for themselves do not count then:
    /// other goroutines run elsewhere.
    pub per_proc: bool,
}

/// From a time on, this share of the Ps is the program's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// When.
    pub time: Time,
    /// From 0 to 1.
    pub share: f64,
}

/// The shares over time: one series, or one for each P. The last entry of each is where it
/// ends, with 0.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Utilization {
    /// In the order of time; none is empty.
    pub series: Vec<Vec<Change>>,
    /// When the trace begins.
    pub start: Time,
}

/// Makes a [`Utilization`].
#[derive(Debug)]
pub struct Utilizer {
    counted: Counted,
    names: Names,
    start: Option<Time>,
    end: Time,
    syncs: u64,
    procs: Vec<Proc>,
    /// How many Ps there were from which time on.
    proc_counts: Vec<(Time, usize)>,
    series: Vec<Vec<Change>>,
    stops: i64,
    /// Goroutines that help or work for the collector, running or not.
    assisting: AHashSet<GoId>,
    working: AHashSet<GoId>,
    /// Of the first part of the trace, where ranges turn up that began before it.
    states: AHashMap<GoId, GoState>,
    /// The shares may be others than the last ones that stand in the series.
    is_changed: bool,
}

#[derive(Clone, Copy, Debug)]
struct Proc {
    /// Things of the collector that it does now.
    collecting: i64,
    /// Which series is its own.
    series: usize,
}

impl Utilizer {
    /// Starts.
    pub fn new(counted: Counted) -> Utilizer {
        Utilizer {
            counted,
            names: Names::default(),
            start: None,
            end: Time(0),
            syncs: 0,
            procs: Vec::new(),
            proc_counts: Vec::new(),
            series: Vec::new(),
            stops: 0,
            assisting: AHashSet::new(),
            working: AHashSet::new(),
            states: AHashMap::new(),
            is_changed: false,
        }
    }

    /// Ends.
    pub fn finish(mut self) -> Utilization {
        for proc in &self.procs {
            if let Some(series) = self.series.get_mut(proc.series) {
                add(series, Change { time: self.end, share: 0.0 });
            }
        }
        self.series.iter_mut().for_each(Vec::shrink_to_fit);
        Utilization { series: self.series, start: self.start.unwrap_or(self.end) }
    }

    fn procs_change(&mut self, time: Time, count: u64) {
        let count = usize::try_from(count).unwrap_or(usize::MAX).min(PROCS_MAX);
        for proc in self.procs.get(count..).unwrap_or_default() {
            if self.counted.per_proc
                && let Some(series) = self.series.get_mut(proc.series)
            {
                add(series, Change { time, share: 0.0 });
            }
        }
        self.procs.truncate(count);
        while self.procs.len() < count {
            let mut series = 0;
            if self.counted.per_proc || self.series.is_empty() {
                series = self.series.len();
                self.series.push(vec![Change { time, share: 1.0 }]);
            }
            self.procs.push(Proc { collecting: 0, series });
        }
        if self.proc_counts.last().is_none_or(|last| last.1 != count) {
            self.proc_counts.push((time, count));
        }
        self.is_changed = true;
    }

    /// Whether a range of this kind counts.
    fn counts(&mut self, range: &Range, tables: &Tables<'_>) -> bool {
        match range {
            Range::StopTheWorld { reason } => {
                self.counted.stops && self.text(*reason, tables).contains("GC")
            }
            Range::Assist { .. } => self.counted.assists,
            Range::Sweep { .. } => self.counted.sweeps,
            Range::Mark => false,
        }
    }

    fn text(&mut self, id: StringId, tables: &Tables<'_>) -> &str {
        let name: Name = self.names.of(id, tables);
        self.names.text(name)
    }

    /// A range that was there before the trace: what was said of the time until now is wrong.
    fn goes_on(&mut self, event: &Event, range: &Range) {
        let has_proc = match range {
            Range::Assist { goroutine } => {
                self.states.get(goroutine).is_some_and(|state| is_executing(*state))
            }
            _ => true,
        };
        match range {
            Range::Assist { goroutine } if !has_proc => {
                self.assisting.insert(*goroutine);
            }
            _ => {
                self.take_one_from_the_past();
                self.begins(event, range);
            }
        }
    }

    /// A series of its own has nothing yet when its P turns up.
    fn take_one_from_the_past(&mut self) {
        let mut counts = self.proc_counts.iter().peekable();
        let Some(mut count) = counts.next().filter(|_| !self.counted.per_proc) else { return };
        for change in self.series.first_mut().into_iter().flatten() {
            while let Some(next) = counts.next_if(|next| next.0 < change.time) {
                count = next;
            }
            change.share = (change.share - 1.0 / count.1 as f64).max(0.0);
        }
    }

    fn begins(&mut self, event: &Event, range: &Range) {
        match range {
            Range::StopTheWorld { .. } => self.stops += 1,
            Range::Assist { goroutine } => {
                self.collects(event.proc, 1);
                self.assisting.insert(*goroutine);
            }
            Range::Sweep { proc, .. } => self.collects(*proc, 1),
            Range::Mark => {}
        }
        self.is_changed = true;
    }

    fn ends(&mut self, event: &Event, range: &Range) {
        match range {
            Range::StopTheWorld { .. } => self.stops = (self.stops - 1).max(0),
            Range::Assist { goroutine } => {
                self.collects(event.proc, -1);
                self.assisting.remove(goroutine);
            }
            Range::Sweep { proc, .. } => self.collects(*proc, -1),
            Range::Mark => {}
        }
        self.is_changed = true;
    }

    fn collects(&mut self, proc: ProcId, more: i64) {
        let at = usize::try_from(proc.0).unwrap_or(usize::MAX);
        if let Some(proc) = self.procs.get_mut(at) {
            proc.collecting = (proc.collecting + more).max(0);
            self.is_changed = true;
        }
    }

    fn labelled(&mut self, event: &Event, label: StringId, tables: &Tables<'_>) {
        let (counted, label) = (self.counted, self.text(label, tables));
        let counts = match label {
            "GC (idle)" => false,
            "GC (dedicated)" => !counted.per_proc,
            label => label.starts_with("GC "),
        };
        if counted.background && counts && self.working.insert(event.goroutine) {
            self.collects(event.proc, 1);
        }
    }

    fn goroutine(&mut self, event: &Event, change: &GoTransition) {
        if self.syncs <= 1 {
            self.states.insert(change.goroutine, change.to);
        }
        if self.assisting.is_empty() && self.working.is_empty() {
            return;
        }
        let (from, to) = (is_executing(change.from), is_executing(change.to));
        if from == to {
            return;
        }
        if !from && self.assisting.contains(&change.goroutine) {
            self.collects(event.proc, 1);
        } else if from {
            // The next start says anew what the worker is.
            let worked = self.working.remove(&change.goroutine);
            if worked || self.assisting.contains(&change.goroutine) {
                self.collects(event.proc, -1);
            }
        }
    }

    /// Writes down what the shares are now.
    fn record(&mut self, time: Time) {
        self.is_changed = false;
        if self.counted.per_proc {
            for proc in &self.procs {
                let is_taken = self.stops > 0 || proc.collecting > 0;
                let change = Change { time, share: if is_taken { 0.0 } else { 1.0 } };
                if let Some(series) = self.series.get_mut(proc.series) {
                    self.is_changed |= !add(series, change);
                }
            }
            return;
        }
        let all = self.procs.len();
        let taken = match self.stops > 0 {
            true => all,
            false => self.procs.iter().filter(|proc| proc.collecting > 0).count(),
        };
        let share = 1.0 - taken as f64 / all as f64;
        if let Some(series) = self.series.first_mut() {
            self.is_changed |= !add(series, Change { time, share });
        }
    }
}

/// More Ps than any machine has; each costs memory.
const PROCS_MAX: usize = 1 << 12;

fn is_executing(state: GoState) -> bool {
    matches!(state, GoState::Running | GoState::Syscall)
}

/// Adds what is new. Of two at one time the lower one stays; false when the other is to be
/// added a moment later.
fn add(series: &mut Vec<Change>, change: Change) -> bool {
    if let Some(last) = series.last_mut() {
        if last.share == change.share {
            return true;
        }
        if last.time == change.time {
            let is_lower = change.share < last.share;
            if is_lower {
                *last = change;
            }
            return is_lower;
        }
    }
    series.push(change);
    true
}

impl Analysis for Utilizer {
    fn event(&mut self, event: &Event, tables: &Tables<'_>) {
        self.start.get_or_insert(event.time);
        self.end = event.time;
        match &event.what {
            What::Sync { number } => {
                self.syncs = *number;
                self.names.forget_ids();
                if self.syncs > 1 {
                    self.states = AHashMap::new();
                }
            }
            What::Metric(Metric::Procs, count) => self.procs_change(event.time, *count),
            // Beyond the first part these say nothing new.
            What::RangeActive(range) if self.syncs <= 1 && self.counts(range, tables) => {
                self.goes_on(event, range);
            }
            What::RangeBegin(range) if self.counts(range, tables) => self.begins(event, range),
            What::RangeEnd(range) if self.counts(range, tables) => self.ends(event, range),
            What::Goroutine(change) => self.goroutine(event, change),
            What::Label(label) => self.labelled(event, *label, tables),
            _ => {}
        }
        // What the shares are of comes early in each trace.
        if self.is_changed && !self.procs.is_empty() {
            self.record(event.time);
        }
    }
}
