//! Builds a timeline from events.

use ahash::AHashMap;
use model::trace::{
    Event, GoId, GoState, GoTransition, Metric, ProcId, ProcState, Range, StringId, Tables, Time,
    What,
};

use super::buckets::Buckets;
use super::log::{Log, Moment, Occupant, Record};
use super::steps::Steps;
use super::{Activity, CHANGES_FEW, Goroutine, Slice, Slot, Text, Timeline};
use crate::trace::Analysis;
use crate::trace::intern::Names;

/// More Ps than any machine has; each costs memory.
const PROCS_MAX: usize = 1 << 12;

/// Why a goroutine runs for the collector.
const WORKER: u8 = 1;
const ASSIST: u8 = 2;
const SWEEP: u8 = 4;

/// Makes a [`Timeline`].
#[derive(Debug)]
pub struct Builder {
    start: Option<Time>,
    end: Time,
    names: Names,
    procs: Vec<ProcId>,
    proc_at: AHashMap<ProcId, u32>,
    goroutines: Vec<Goroutine>,
    live: AHashMap<GoId, Live>,
    slots: AHashMap<GoId, Slot>,
    occupants: Vec<Option<Occupant>>,
    counts: [u32; 3],
    counted_until: Time,
    log: Log,
    buckets: Buckets,
    heap: Steps,
    goal: Steps,
    marking_since: Option<Time>,
    marking: Vec<Slice>,
    stopped_since: AHashMap<GoId, Time>,
    stops: Vec<Slice>,
}

/// What is known of a goroutine while it lives.
#[derive(Clone, Copy, Debug)]
struct Live {
    slot: u32,
    activity: Activity,
    proc: Option<u32>,
    /// [`WORKER`], [`ASSIST`], [`SWEEP`].
    collecting: u8,
    is_named: bool,
}

impl Default for Builder {
    fn default() -> Builder {
        Builder {
            start: None,
            end: Time(0),
            names: Names::default(),
            procs: Vec::new(),
            proc_at: AHashMap::new(),
            goroutines: Vec::new(),
            live: AHashMap::new(),
            slots: AHashMap::new(),
            occupants: Vec::new(),
            counts: [0; 3],
            counted_until: Time(0),
            log: Log::default(),
            buckets: Buckets::new(Time(0)),
            heap: Steps::default(),
            goal: Steps::default(),
            marking_since: None,
            marking: Vec::new(),
            stopped_since: AHashMap::new(),
            stops: Vec::new(),
        }
    }
}

impl Builder {
    /// Ends; what goes on ends with the trace.
    pub fn finish(mut self) -> Timeline {
        let end = self.end;
        for (proc, occupant) in self.occupants.iter().enumerate() {
            if let Some(Occupant { slot, activity, since }) = occupant {
                self.buckets.busy(proc, (*since, end), *slot, *activity);
            }
        }
        self.buckets.counts((self.counted_until, end), self.counts);
        self.buckets.finish();
        self.log.finish();
        self.mark_ends(end);
        for live in self.live.values() {
            if let Some(goroutine) = self.goroutines.get_mut(live.slot as usize) {
                goroutine.ended = end;
            }
        }
        // A stop that the trace cuts has no name here: its end has it.
        for (_, start) in self.stopped_since.drain() {
            self.stops.push(Slice { reason: None, ..range(start, end) });
        }
        self.stops.sort_by_key(|stop| stop.start);
        Timeline {
            start: self.start.unwrap_or(end),
            end,
            procs: self.procs,
            goroutines: self.goroutines,
            slots: self.slots,
            names: self.names,
            log: self.log,
            buckets: self.buckets,
            heap: self.heap,
            goal: self.goal,
            marking: self.marking,
            stops: self.stops,
            changes_few: CHANGES_FEW,
        }
    }

    fn proc(&mut self, id: ProcId) -> Option<u32> {
        if let Some(at) = self.proc_at.get(&id) {
            return Some(*at);
        }
        if id == ProcId::NONE || self.procs.len() >= PROCS_MAX {
            return None;
        }
        let at = self.procs.len() as u32;
        self.procs.push(id);
        self.occupants.push(None);
        self.proc_at.insert(id, at);
        Some(at)
    }

    fn change(&mut self, event: &Event, change: &GoTransition, tables: &Tables<'_>) {
        let GoTransition { goroutine: id, from, to, .. } = *change;
        if from == to {
            return;
        }
        let is_known = !matches!(from, GoState::Undetermined | GoState::NotExist);
        if !(is_known && self.live.contains_key(&id)) && to != GoState::NotExist {
            let is_old = from == GoState::Undetermined;
            self.comes(id, if is_old { self.start.unwrap_or(event.time) } else { event.time });
        }
        let Some(live) = self.live.get_mut(&id) else { return };
        if !live.is_named
            && let Some(function) = tables.started_with(change.stack)
        {
            live.is_named = true;
            if let Some(goroutine) = self.goroutines.get_mut(live.slot as usize) {
                goroutine.function = Text(self.names.of(function, tables).0);
            }
        }
        if from == GoState::Running && to != GoState::Syscall {
            live.collecting &= ASSIST;
        }
        let runs = running(live.collecting);
        let proc = self.proc(event.proc);
        let (activity, detail) = match (to, proc) {
            (GoState::Running, Some(proc)) => (runs, proc),
            (GoState::Syscall, Some(proc)) => (Activity::Syscall, proc),
            (GoState::Syscall, None) => (Activity::SyscallBlocked, 0),
            (GoState::Waiting, _) => (Activity::Waiting, self.names.of(change.reason, tables).0),
            (GoState::NotExist, _) => (Activity::Ended, 0),
            _ => (Activity::Ready, 0),
        };
        self.set(event.time, id, activity, detail);
        if to == GoState::NotExist
            && let Some(live) = self.live.remove(&id)
            && let Some(goroutine) = self.goroutines.get_mut(live.slot as usize)
        {
            goroutine.ended = event.time;
        }
    }

    fn comes(&mut self, id: GoId, created: Time) {
        let slot = self.goroutines.len() as u32;
        let function = Text(self.names.add("").0);
        self.goroutines.push(Goroutine { id, created, ended: created, function });
        self.slots.insert(id, Slot(slot));
        let (activity, proc, collecting, is_named) = (Activity::Ended, None, 0, false);
        let live = Live { slot, activity, proc, collecting, is_named };
        if let Some(old) = self.live.insert(id, live)
            && let Some(goroutine) = self.goroutines.get_mut(old.slot as usize)
        {
            goroutine.ended = created;
        }
    }

    /// A goroutine does something else from now on.
    fn set(&mut self, time: Time, id: GoId, activity: Activity, detail: u32) {
        let proc = activity.has_proc().then_some(detail);
        if let Some(proc) = proc {
            self.leaves(time, id, proc);
        }
        let Some(live) = self.live.get_mut(&id) else { return };
        if live.activity == activity && live.proc == proc && activity != Activity::Waiting {
            return;
        }
        let record = Record { time, slot: live.slot, before: live.activity, activity, detail };
        let (occupants, counts) = (&self.occupants, self.counts);
        self.log.push(&record, occupants.len(), || Moment {
            occupants: occupants.as_slice().into(),
            counts,
        });
        self.buckets.counts((self.counted_until, time), self.counts);
        self.counted_until = time;
        for (kind, change) in [(live.activity.count_kind(), -1), (activity.count_kind(), 1)] {
            if let Some(count) = kind.and_then(|kind| self.counts.get_mut(kind)) {
                *count = count.saturating_add_signed(change);
            }
        }
        for at in [live.proc, proc].into_iter().flatten() {
            let Some(place) = self.occupants.get_mut(at as usize) else { continue };
            if let Some(old) = place.take_if(|old| old.slot == live.slot || Some(at) == proc) {
                self.buckets.busy(at as usize, (old.since, time), old.slot, old.activity);
            }
        }
        if let Some(place) = proc.and_then(|proc| self.occupants.get_mut(proc as usize)) {
            *place = Some(Occupant { slot: live.slot, activity, since: time });
        }
        (live.activity, live.proc) = (activity, proc);
    }

    /// Before a goroutine gets a P, one in a system call has lost it. Format 1 does not say so of
    /// those that were in one when the trace began.
    fn leaves(&mut self, time: Time, to: GoId, proc: u32) {
        let occupant = self.occupants.get(proc as usize).copied().flatten();
        let Some(Occupant { slot, activity: Activity::Syscall, .. }) = occupant else { return };
        let owner = self.goroutines.get(slot as usize).map(|goroutine| goroutine.id);
        if let Some(owner) = owner.filter(|owner| *owner != to) {
            self.set(time, owner, Activity::SyscallBlocked, 0);
        }
    }

    /// A goroutine begins or ends to run for the collector.
    fn collects(&mut self, time: Time, id: GoId, why: u8, begins: bool) {
        let Some(live) = self.live.get_mut(&id) else { return };
        live.collecting = if begins { live.collecting | why } else { live.collecting & !why };
        if matches!(live.activity, Activity::Running | Activity::Collecting)
            && let Some(proc) = live.proc
        {
            let activity = running(live.collecting);
            self.set(time, id, activity, proc);
        }
    }

    /// What runs on a P begins or ends to sweep.
    fn sweeps(&mut self, time: Time, proc: ProcId, begins: bool) {
        if let Some((id, _)) = self.on_proc(proc) {
            self.collects(time, id, SWEEP, begins);
        }
    }

    /// A P that becomes idle in a system call was taken away.
    fn proc_idle(&mut self, proc: ProcId, time: Time) {
        if let Some((id, Activity::Syscall)) = self.on_proc(proc) {
            self.set(time, id, Activity::SyscallBlocked, 0);
        }
    }

    /// Which goroutine has a P, and what it does.
    fn on_proc(&self, proc: ProcId) -> Option<(GoId, Activity)> {
        let at = *self.proc_at.get(&proc)?;
        let occupant = (*self.occupants.get(at as usize)?)?;
        let goroutine = self.goroutines.get(occupant.slot as usize)?;
        Some((goroutine.id, occupant.activity))
    }

    fn mark_ends(&mut self, time: Time) {
        if let Some(since) = self.marking_since.take() {
            self.marking.push(range(since, time));
        }
    }

    fn stop_ends(&mut self, event: &Event, reason: StringId, tables: &Tables<'_>) {
        if let Some(start) = self.stopped_since.remove(&event.goroutine) {
            let reason = Some(Text(self.names.of(reason, tables).0));
            self.stops.push(Slice { reason, ..range(start, event.time) });
        }
    }

    fn begins(&mut self, event: &Event, of: &Range) {
        match of {
            Range::Mark => {
                // One that is active at first began before the trace.
                let is_new = matches!(event.what, What::RangeBegin(_));
                let start = self.start.filter(|_| !is_new).unwrap_or(event.time);
                self.marking_since.get_or_insert(start);
            }
            Range::StopTheWorld { .. } => {
                self.stopped_since.insert(event.goroutine, event.time);
            }
            Range::Assist { goroutine } => self.collects(event.time, *goroutine, ASSIST, true),
            Range::Sweep { proc, .. } => self.sweeps(event.time, *proc, true),
        }
    }

    fn ends(&mut self, event: &Event, of: &Range, tables: &Tables<'_>) {
        match of {
            Range::Mark => self.mark_ends(event.time),
            Range::StopTheWorld { reason } => self.stop_ends(event, *reason, tables),
            Range::Assist { goroutine } => self.collects(event.time, *goroutine, ASSIST, false),
            Range::Sweep { proc, .. } => self.sweeps(event.time, *proc, false),
        }
    }
}

fn running(collecting: u8) -> Activity {
    if collecting == 0 { Activity::Running } else { Activity::Collecting }
}

fn range(start: Time, end: Time) -> Slice {
    Slice { start, end, activity: Activity::Collecting, slot: None, reason: None }
}

impl Analysis for Builder {
    fn event(&mut self, event: &Event, tables: &Tables<'_>) {
        if self.start.is_none() {
            self.start = Some(event.time);
            self.counted_until = event.time;
            self.buckets = Buckets::new(event.time);
        }
        self.end = event.time;
        match &event.what {
            What::Sync { .. } => self.names.forget_ids(),
            What::Metric(Metric::HeapBytes, value) => self.heap.push(event.time, *value),
            What::Metric(Metric::HeapGoalBytes, value) => self.goal.push(event.time, *value),
            What::Goroutine(change) => self.change(event, change, tables),
            What::Proc { proc, to, .. } => {
                self.proc(*proc);
                if *to == ProcState::Idle {
                    self.proc_idle(*proc, event.time);
                }
            }
            What::Label(label) => {
                let name = self.names.of(*label, tables);
                if self.names.text(name).starts_with("GC ") {
                    self.collects(event.time, event.goroutine, WORKER, true);
                }
            }
            // In every generation; what is known already begins nothing.
            What::RangeBegin(of) | What::RangeActive(of) => self.begins(event, of),
            What::RangeEnd(of) => self.ends(event, of, tables),
            _ => {}
        }
    }
}
