//! Where goroutines wait, as a profile: the stacks at which they blocked, entered system
//! calls or became ready, with how often and how long.
//!
//! The figures are those of `go tool trace -pprof`: only what ended within the trace counts,
//! and of a goroutine that runs in it nothing before it first does.

use ahash::AHashMap;
use model::profile::{Function, Line, Location, Stacks};
use model::trace::{Event, GoId, GoState, GoTransition, StackFrame, StackId, Tables, Time, What};
use model::{Addr, FunctionId, LocationId, Profile};

use super::Analysis;
use super::intern::Names;

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Channels, mutexes and the like.
    Sync,
    /// The network.
    Network,
    /// System calls.
    Syscall,
    /// A P, when ready to run.
    Scheduler,
}

impl Wait {
    fn state(self) -> GoState {
        match self {
            Wait::Sync | Wait::Network => GoState::Waiting,
            Wait::Syscall => GoState::Syscall,
            Wait::Scheduler => GoState::Runnable,
        }
    }

    fn is_reason(self, reason: &str) -> bool {
        match self {
            Wait::Sync => ["chan", "sync", "select"].iter().any(|part| reason.contains(part)),
            Wait::Network => reason == "network",
            Wait::Syscall | Wait::Scheduler => true,
        }
    }
}

/// Makes a profile.
#[derive(Debug)]
pub struct Profiler {
    wait: Wait,
    names: Names,
    goroutines: AHashMap<GoId, Goroutine>,
    profile: Profile,
    locations: AHashMap<u64, LocationId>,
    functions: AHashMap<(String, String), FunctionId>,
    stacks: Stacks,
    /// Of the tables that hold now.
    known: AHashMap<StackId, model::StackId>,
    /// How often and how long, by stack.
    sums: Vec<(i64, i64)>,
}

#[derive(Debug, Default)]
struct Goroutine {
    has_run: bool,
    waiting: Option<(Time, model::StackId)>,
    /// Waits before it ran, which count only if it never does.
    early: Vec<(model::StackId, u64)>,
}

impl Profiler {
    /// Starts.
    pub fn new(wait: Wait) -> Profiler {
        let mut profile = Profile::new(&[("contentions", "count"), ("delay", "nanoseconds")]);
        profile.period_type = Some(profile.value_type("trace", "count"));
        profile.period = 1;
        Profiler {
            wait,
            names: Names::default(),
            goroutines: AHashMap::new(),
            profile,
            locations: AHashMap::new(),
            functions: AHashMap::new(),
            stacks: Stacks::default(),
            known: AHashMap::new(),
            sums: Vec::new(),
        }
    }

    /// Ends.
    pub fn finish(mut self) -> Profile {
        for (_, goroutine) in std::mem::take(&mut self.goroutines) {
            self.add_early(goroutine);
        }
        for (at, (count, nanos)) in self.sums.iter().enumerate().filter(|(_, sum)| sum.0 > 0) {
            let stack = self.stacks.get(model::StackId(at as u32));
            self.profile.push_sample(stack, &[*count, *nanos], &[]);
        }
        self.profile
    }

    fn add_early(&mut self, goroutine: Goroutine) {
        for (stack, nanos) in goroutine.early {
            self.add(stack, nanos);
        }
    }

    fn add(&mut self, stack: model::StackId, nanos: u64) {
        if nanos == 0 {
            return;
        }
        let at = stack.0 as usize;
        if self.sums.len() <= at {
            self.sums.resize(at + 1, (0, 0));
        }
        if let Some((count, total)) = self.sums.get_mut(at) {
            *count += 1;
            *total = total.saturating_add_unsigned(nanos);
        }
    }

    fn change(&mut self, event: &Event, change: &GoTransition, tables: &Tables<'_>) {
        let GoTransition { goroutine: id, from, to, .. } = *change;
        let state = self.goroutines.entry(id).or_default();
        let is_wanted = to == self.wait.state();
        let mut ended = None;
        if !is_wanted {
            ended = state.waiting.take();
        }
        // The moment it first runs ends a wait that does not count any more.
        if to == GoState::Running && from != to && !state.has_run {
            state.has_run = true;
            state.early = Vec::new();
            ended = None;
        }
        if let Some((start, stack)) = ended {
            let nanos = event.time.nanos_since(start);
            match state.has_run {
                true => self.add(stack, nanos),
                false => state.early.push((stack, nanos)),
            }
        }
        if to == GoState::NotExist {
            if let Some(state) = self.goroutines.remove(&id) {
                self.add_early(state);
            }
            return;
        }
        let Some(state) = self.goroutines.get(&id) else { return };
        if is_wanted && state.waiting.is_none() {
            let reason = self.names.of(change.reason, tables);
            if self.wait.is_reason(self.names.text(reason)) {
                let stack = self.stack(event.stack, tables);
                if let Some(state) = self.goroutines.get_mut(&id) {
                    state.waiting = Some((event.time, stack));
                }
            }
        }
    }

    fn stack(&mut self, id: StackId, tables: &Tables<'_>) -> model::StackId {
        if let Some(known) = self.known.get(&id) {
            return *known;
        }
        // A frame at 0 is none: the runtime writes it for what has no stack.
        let frames = tables.frames(id).filter(|frame| frame.pc != 0);
        let locations: Vec<LocationId> =
            frames.map(|frame| self.location(&frame, tables)).collect();
        let stack = self.stacks.intern(&locations);
        self.known.insert(id, stack);
        stack
    }

    fn location(&mut self, frame: &StackFrame, tables: &Tables<'_>) -> LocationId {
        if let Some(known) = self.locations.get(&frame.pc) {
            return *known;
        }
        let function = self.function(frame, tables);
        let line = Line { function, line: frame.line as i64, column: 0 };
        let (address, lines) = (Addr(frame.pc), vec![line]);
        let id = LocationId(self.profile.locations.len() as u32);
        self.profile.locations.push(Location { address, lines, ..Location::default() });
        self.locations.insert(frame.pc, id);
        id
    }

    fn function(&mut self, frame: &StackFrame, tables: &Tables<'_>) -> FunctionId {
        let key = (tables.text(frame.file).into_owned(), tables.text(frame.function).into_owned());
        if let Some(known) = self.functions.get(&key) {
            return *known;
        }
        let filename = self.profile.strings.intern(&key.0);
        let name = self.profile.strings.intern(&key.1);
        let id = FunctionId(self.profile.functions.len() as u32);
        let function = Function { name, system_name: name, filename, ..Function::default() };
        self.profile.functions.push(function);
        self.functions.insert(key, id);
        id
    }
}

impl Analysis for Profiler {
    fn event(&mut self, event: &Event, tables: &Tables<'_>) {
        match &event.what {
            What::Sync { .. } => {
                self.names.forget_ids();
                self.known.clear();
            }
            What::Goroutine(change) => self.change(event, change, tables),
            _ => {}
        }
    }
}
