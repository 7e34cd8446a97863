//! What goroutines spent their time on, by the function they start with.
//!
//! A goroutine is running, ready to run, blocked for a reason, or in a system call, with or
//! without a P. Times of states that began before the trace count from its begin.

use std::collections::BTreeMap;

use ahash::AHashMap;
use model::trace::{
    Event, GoId, GoState, GoTransition, ProcId, ProcState, Range, Tables, Time, What,
};

use super::Analysis;
use super::intern::{Name, Names};

/// Goroutines that start with the same function.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// The function; empty when no event told.
    pub function: String,
    /// How many goroutines.
    pub goroutines: u64,
    /// From creation, or the begin of the trace, to the end.
    pub total_nanos: u64,
    /// Running.
    pub running_nanos: u64,
    /// Ready, but without a P.
    pub runnable_nanos: u64,
    /// In system calls, holding a P.
    pub syscall_nanos: u64,
    /// In system calls that took so long that the P was taken away.
    pub syscall_blocked_nanos: u64,
    /// Helping the collector; part of the times above.
    pub assist_nanos: u64,
    /// Blocked, by reason.
    pub blocked_nanos: BTreeMap<String, u64>,
}

impl Group {
    /// Blocked for any reason.
    pub fn blocked_nanos_total(&self) -> u64 {
        self.blocked_nanos.values().fold(0, |sum, nanos| sum.saturating_add(*nanos))
    }
}

/// Makes [`Group`]s.
#[derive(Debug, Default)]
pub struct Grouper {
    names: Names,
    live: AHashMap<GoId, Goroutine>,
    /// Goroutines in system calls by their P.
    in_syscall: AHashMap<ProcId, GoId>,
    groups: AHashMap<Option<Name>, Times>,
    /// The last synchronisation.
    synced: Time,
    end: Time,
    is_started: bool,
}

#[derive(Debug, Default)]
struct Times {
    goroutines: u64,
    total: u64,
    running: u64,
    runnable: u64,
    syscall: u64,
    syscall_blocked: u64,
    assist: u64,
    blocked: Vec<(Name, u64)>,
}

#[derive(Debug)]
struct Goroutine {
    function: Option<Name>,
    created: Time,
    state: GoState,
    reason: Option<Name>,
    since: Time,
    /// When its P was taken away in a system call.
    lost_proc: Option<Time>,
    proc: ProcId,
    assist: Option<Time>,
    times: Times,
}

impl Grouper {
    /// Ends; those with the largest total time come first.
    pub fn finish(mut self) -> Vec<Group> {
        for (_, goroutine) in std::mem::take(&mut self.live) {
            self.fold(goroutine, self.end);
        }
        let mut groups: Vec<Group> = Vec::with_capacity(self.groups.len());
        for (function, times) in std::mem::take(&mut self.groups) {
            let named = |(name, nanos): &(Name, u64)| (self.names.text(*name).to_owned(), *nanos);
            groups.push(Group {
                function: function.map_or("", |name| self.names.text(name)).to_owned(),
                goroutines: times.goroutines,
                total_nanos: times.total,
                running_nanos: times.running,
                runnable_nanos: times.runnable,
                syscall_nanos: times.syscall,
                syscall_blocked_nanos: times.syscall_blocked,
                assist_nanos: times.assist,
                blocked_nanos: times.blocked.iter().map(named).collect(),
            });
        }
        groups.sort_by(|a, b| {
            b.total_nanos.cmp(&a.total_nanos).then_with(|| a.function.cmp(&b.function))
        });
        groups
    }

    /// Adds an ended goroutine to its group.
    fn fold(&mut self, mut goroutine: Goroutine, end: Time) {
        goroutine.leave(end);
        if let Some(start) = goroutine.assist {
            add(&mut goroutine.times.assist, end.nanos_since(start));
        }
        let group = self.groups.entry(goroutine.function).or_default();
        let times = goroutine.times;
        group.goroutines += 1;
        add(&mut group.total, end.nanos_since(goroutine.created));
        add(&mut group.running, times.running);
        add(&mut group.runnable, times.runnable);
        add(&mut group.syscall, times.syscall);
        add(&mut group.syscall_blocked, times.syscall_blocked);
        add(&mut group.assist, times.assist);
        for (reason, nanos) in times.blocked {
            add_blocked(&mut group.blocked, reason, nanos);
        }
    }

    fn change(&mut self, event: &Event, change: &GoTransition, tables: &Tables<'_>) {
        let GoTransition { goroutine: id, from, to, .. } = *change;
        if from == to {
            return;
        }
        if matches!(from, GoState::Undetermined | GoState::NotExist) {
            let is_new = from == GoState::NotExist;
            let since = if is_new { event.time } else { self.synced };
            let state = if is_new { from } else { to };
            let mut goroutine = Goroutine::new(since, state);
            if !is_new && to == GoState::Waiting {
                goroutine.reason = Some(self.names.of(change.reason, tables));
            }
            // A system call that began with a P, as far as the trace tells, still has it.
            if !is_new && to == GoState::Syscall && event.proc == ProcId::NONE {
                goroutine.lost_proc = Some(since);
            }
            if let Some(old) = self.live.insert(id, goroutine) {
                self.fold(old, event.time);
            }
        }
        let Some(goroutine) = self.live.get_mut(&id) else { return };
        goroutine.leave(event.time);
        if from == GoState::Syscall && self.in_syscall.get(&goroutine.proc) == Some(&id) {
            self.in_syscall.remove(&goroutine.proc);
        }
        if goroutine.function.is_none()
            && let Some(function) = tables.started_with(change.stack)
        {
            goroutine.function = Some(self.names.of(function, tables));
        }
        goroutine.state = to;
        goroutine.since = event.time;
        let mut is_over = to == GoState::NotExist;
        if to == GoState::Waiting {
            let reason = self.names.of(change.reason, tables);
            // As good as ended: such goroutines wait for nothing.
            is_over = self.names.text(reason) == "forever";
            goroutine.reason = Some(reason);
        }
        if to == GoState::Syscall {
            goroutine.proc = event.proc;
            if event.proc != ProcId::NONE {
                self.in_syscall.insert(event.proc, id);
            }
        }
        if is_over && let Some(goroutine) = self.live.remove(&id) {
            self.fold(goroutine, event.time);
        }
    }

    /// A P that becomes idle while its goroutine is in a system call was taken away.
    fn proc_idle(&mut self, proc: ProcId, time: Time) {
        if let Some(id) = self.in_syscall.remove(&proc)
            && let Some(goroutine) = self.live.get_mut(&id)
        {
            goroutine.lost_proc = Some(time);
        }
    }
}

impl Goroutine {
    fn new(created: Time, state: GoState) -> Goroutine {
        Goroutine {
            function: None,
            created,
            state,
            reason: None,
            since: created,
            lost_proc: None,
            proc: ProcId::NONE,
            assist: None,
            times: Times::default(),
        }
    }

    /// Adds the time in the state that it leaves.
    fn leave(&mut self, time: Time) {
        let nanos = time.nanos_since(self.since);
        match self.state {
            GoState::Running => add(&mut self.times.running, nanos),
            GoState::Runnable => add(&mut self.times.runnable, nanos),
            GoState::Waiting => {
                if let Some(reason) = self.reason.take() {
                    add_blocked(&mut self.times.blocked, reason, nanos);
                }
            }
            GoState::Syscall => {
                let lost = self.lost_proc.take().unwrap_or(time);
                add(&mut self.times.syscall, lost.nanos_since(self.since));
                add(&mut self.times.syscall_blocked, time.nanos_since(lost));
            }
            GoState::NotExist | GoState::Undetermined => {}
        }
    }
}

fn add(to: &mut u64, nanos: u64) {
    *to = to.saturating_add(nanos);
}

fn add_blocked(blocked: &mut Vec<(Name, u64)>, reason: Name, nanos: u64) {
    match blocked.iter_mut().find(|(known, _)| *known == reason) {
        Some((_, total)) => add(total, nanos),
        None => blocked.push((reason, nanos)),
    }
}

impl Analysis for Grouper {
    fn event(&mut self, event: &Event, tables: &Tables<'_>) {
        if !self.is_started {
            self.is_started = true;
            self.synced = event.time;
        }
        self.end = event.time;
        match &event.what {
            What::Sync { .. } => {
                self.synced = event.time;
                self.names.forget_ids();
            }
            What::Goroutine(change) => self.change(event, change, tables),
            What::Proc { proc, from, to: ProcState::Idle } if *from != ProcState::Idle => {
                self.proc_idle(*proc, event.time);
            }
            What::RangeBegin(Range::Assist { goroutine }) => {
                if let Some(goroutine) = self.live.get_mut(goroutine) {
                    goroutine.assist = Some(event.time);
                }
            }
            What::RangeActive(Range::Assist { goroutine }) => {
                if let Some(goroutine) = self.live.get_mut(goroutine) {
                    goroutine.assist.get_or_insert(self.synced);
                }
            }
            What::RangeEnd(Range::Assist { goroutine }) => {
                if let Some(goroutine) = self.live.get_mut(goroutine)
                    && let Some(start) = goroutine.assist.take()
                {
                    add(&mut goroutine.times.assist, event.time.nanos_since(start));
                }
            }
            _ => {}
        }
    }
}
