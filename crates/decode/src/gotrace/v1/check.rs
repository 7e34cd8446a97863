//! Whether the events of format 1 fit together, and what only their order tells: stacks of
//! starts, and which system calls blocked. Source: postProcessTrace in
//! internal/trace/internal/tracev1/parser.go.

use ahash::{AHashMap, AHashSet};

use super::Status;
use super::kinds;
use super::parse::Event1;
use crate::gotrace::error::GoTraceError;

#[derive(Clone, Copy, Debug, Default)]
struct Goroutine {
    status: Status,
    /// The stack it was created with, until it starts.
    start_stack: Option<u64>,
    /// Blocked in the network poller by its last event.
    in_netpoll: bool,
    is_assisting: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Proc {
    is_running: bool,
    goroutine: u64,
    is_sweeping: bool,
}

#[derive(Debug, Default)]
struct Checker {
    goroutines: AHashMap<u64, Goroutine>,
    procs: AHashMap<i32, Proc>,
    tasks: AHashSet<u64>,
    /// Tasks and names of the regions each goroutine is in.
    regions: AHashMap<u64, Vec<(u64, u64)>>,
    is_marking: bool,
    is_stopped: bool,
    /// System calls that blocked.
    blocked: Vec<usize>,
    syscalls: AHashMap<u64, usize>,
}

/// Checks all events. In those of system calls that blocked, the first argument is 1
/// afterwards; stacks that do not exist are none.
pub(super) fn check(events: &mut [Event1], stacks: &AHashSet<u32>) -> Result<(), GoTraceError> {
    let mut checker = Checker::default();
    let running = Goroutine { status: Status::Running, ..Goroutine::default() };
    checker.goroutines.insert(0, running);
    for (at, event) in events.iter_mut().enumerate() {
        checker.follow_syscall(at, event);
        checker.event(event).map_err(|what| {
            let what = format!("{what} (time {})", event.time);
            GoTraceError::Order { offset: event.offset, generation: 1, what }
        })?;
        if !stacks.contains(&event.stack) {
            event.stack = 0;
        }
    }
    for at in checker.blocked {
        if let Some(event) = events.get_mut(at) {
            event.arguments[0] = 1;
        }
    }
    Ok(())
}

impl Checker {
    /// A system call blocked if that is what its goroutine says next.
    fn follow_syscall(&mut self, at: usize, event: &Event1) {
        if self.syscalls.is_empty() && event.kind != kinds::GO_SYS_CALL {
            return;
        }
        if let Some(call) = self.syscalls.remove(&event.goroutine)
            && event.kind == kinds::GO_SYS_BLOCK
        {
            self.blocked.push(call);
        }
        if event.kind == kinds::GO_SYS_CALL {
            self.syscalls.insert(event.goroutine, at);
        }
    }

    fn event(&mut self, event: &mut Event1) -> Result<(), String> {
        match event.kind {
            kinds::PROC_START..=kinds::SWEEP_DONE | kinds::ASSIST_START | kinds::ASSIST_DONE => {
                self.proc_event(event)
            }
            kinds::GO_CREATE
            | kinds::GO_START
            | kinds::GO_START_LABEL
            | kinds::GO_UNBLOCK
            | kinds::GO_WAITING
            | kinds::GO_IN_SYSCALL
            | kinds::GO_SYS_EXIT => self.wake_event(event),
            kinds::GO_END..=kinds::GO_BLOCK
            | kinds::GO_BLOCK_SEND..=kinds::GO_BLOCK_NET
            | kinds::GO_BLOCK_GC
            | kinds::GO_SYS_CALL
            | kinds::GO_SYS_BLOCK => self.pause_event(event),
            kinds::TASK_CREATE | kinds::TASK_END | kinds::REGION => self.user_event(event),
            _ => Ok(()),
        }
    }

    fn proc_event(&mut self, event: &mut Event1) -> Result<(), String> {
        let proc = self.procs.entry(event.proc).or_default();
        let id = event.proc;
        match event.kind {
            kinds::PROC_START if proc.is_running => {
                return Err(format!("p {id} is running before start"));
            }
            kinds::PROC_START => proc.is_running = true,
            kinds::PROC_STOP if !proc.is_running => {
                return Err(format!("p {id} is not running before stop"));
            }
            kinds::PROC_STOP if proc.goroutine != 0 => {
                let goroutine = proc.goroutine;
                return Err(format!("p {id} is running a goroutine {goroutine} during stop"));
            }
            kinds::PROC_STOP => proc.is_running = false,
            kinds::GC_START => {
                begin(&mut self.is_marking, "GC")?;
                // The collection is nobody's.
                event.proc = kinds::GC_PROC;
            }
            kinds::GC_DONE => end(&mut self.is_marking, "GC")?,
            kinds::STW_START => begin(&mut self.is_stopped, "STW")?,
            kinds::STW_DONE => end(&mut self.is_stopped, "STW")?,
            kinds::SWEEP_START => begin(&mut proc.is_sweeping, "sweeping")?,
            kinds::SWEEP_DONE => end(&mut proc.is_sweeping, "sweeping")?,
            kinds::ASSIST_START => {
                let goroutine = self.goroutines.entry(event.goroutine).or_default();
                begin(&mut goroutine.is_assisting, "mark assist")?;
            }
            // It may have begun before the trace.
            _ => self.goroutines.entry(event.goroutine).or_default().is_assisting = false,
        }
        Ok(())
    }

    fn wake_event(&mut self, event: &mut Event1) -> Result<(), String> {
        let (id, other) = (event.goroutine, event.arguments[0]);
        let name = kinds::kind(event.kind, u32::MAX).map_or("", |kind| kind.name);
        let status = self.goroutines.get(&id).copied().unwrap_or_default().status;
        match event.kind {
            kinds::GO_CREATE => {
                self.needs_running(event, true)?;
                if self.goroutines.contains_key(&other) {
                    return Err(format!("g {other} already exists"));
                }
                let start_stack = Some(event.arguments[1]);
                let status = Status::Runnable;
                let goroutine = Goroutine { status, start_stack, ..Goroutine::default() };
                self.goroutines.insert(other, goroutine);
            }
            kinds::GO_UNBLOCK => {
                let on = self.procs.get(&event.proc).copied().unwrap_or_default().goroutine;
                if status != Status::Running || (event.proc != kinds::TIMER_PROC && on != id) {
                    return Err(format!("g {id} is not running while unpark"));
                }
                let goroutine = self.goroutines.entry(other).or_default();
                if goroutine.status != Status::Waiting {
                    return Err(format!("g {other} is not waiting before unpark"));
                }
                if goroutine.in_netpoll {
                    event.proc = kinds::NETPOLL_PROC;
                }
                goroutine.status = Status::Runnable;
                goroutine.in_netpoll = false;
            }
            kinds::GO_SYS_EXIT => {
                let goroutine = self.goroutines.entry(id).or_default();
                if goroutine.status != Status::Waiting {
                    return Err(format!("g {id} is not waiting during syscall exit"));
                }
                goroutine.status = Status::Runnable;
                goroutine.in_netpoll = false;
            }
            _ if status != Status::Runnable => {
                return Err(format!("g {id} is not runnable before {name}"));
            }
            kinds::GO_WAITING | kinds::GO_IN_SYSCALL => {
                let goroutine = self.goroutines.entry(id).or_default();
                goroutine.status = Status::Waiting;
            }
            _ => {
                let proc = self.procs.entry(event.proc).or_default();
                if proc.goroutine != 0 {
                    let (p, on) = (event.proc, proc.goroutine);
                    return Err(format!("p {p} is already running g {on} while start g {id}"));
                }
                proc.goroutine = id;
                let goroutine = self.goroutines.entry(id).or_default();
                goroutine.status = Status::Running;
                if let Some(stack) = goroutine.start_stack.take() {
                    event.stack = stack as u32;
                }
                goroutine.in_netpoll = false;
            }
        }
        Ok(())
    }

    fn pause_event(&mut self, event: &Event1) -> Result<(), String> {
        self.needs_running(event, false)?;
        let goroutine = self.goroutines.entry(event.goroutine).or_default();
        goroutine.in_netpoll = event.kind == kinds::GO_BLOCK_NET;
        goroutine.status = match event.kind {
            kinds::GO_SYS_CALL => return Ok(()),
            kinds::GO_END | kinds::GO_STOP => Status::Dead,
            kinds::GO_SCHED | kinds::GO_PREEMPT => Status::Runnable,
            _ => Status::Waiting,
        };
        if event.kind == kinds::GO_END {
            self.regions.remove(&event.goroutine);
        }
        self.procs.entry(event.proc).or_default().goroutine = 0;
        Ok(())
    }

    fn needs_running(&self, event: &Event1, allows_none: bool) -> Result<(), String> {
        let name = kinds::kind(event.kind, u32::MAX).map_or("", |kind| kind.name);
        let id = event.goroutine;
        let status = self.goroutines.get(&id).copied().unwrap_or_default().status;
        if status != Status::Running {
            return Err(format!("g {id} is not running while {name}"));
        }
        let proc = self.procs.get(&event.proc).copied().unwrap_or_default();
        if proc.goroutine != id {
            return Err(format!("p {} is not running g {id} while {name}", event.proc));
        }
        if !allows_none && id == 0 {
            return Err(format!("g 0 did {name}"));
        }
        Ok(())
    }

    fn user_event(&mut self, event: &Event1) -> Result<(), String> {
        let [task, mode, name] = event.arguments;
        match (event.kind, mode) {
            (kinds::TASK_CREATE, _) if !self.tasks.insert(task) => {
                return Err(format!("task id conflicts (id:{task})"));
            }
            (kinds::TASK_CREATE, _) => {}
            (kinds::TASK_END, _) => {
                self.tasks.remove(&task);
            }
            (_, 0) => self.regions.entry(event.goroutine).or_default().push((task, name)),
            (_, 1) => {
                let inner = self.regions.get_mut(&event.goroutine).and_then(Vec::pop);
                if inner.is_some_and(|inner| inner != (task, name)) {
                    return Err(format!("misuse of region in goroutine {}", event.goroutine));
                }
            }
            _ => return Err(format!("invalid user region mode: {mode}")),
        }
        Ok(())
    }
}

fn begin(is_on: &mut bool, what: &str) -> Result<(), String> {
    if std::mem::replace(is_on, true) {
        return Err(format!("previous {what} is not ended before a new one"));
    }
    Ok(())
}

fn end(is_on: &mut bool, what: &str) -> Result<(), String> {
    if !std::mem::replace(is_on, false) {
        return Err(format!("bogus {what} end"));
    }
    Ok(())
}
