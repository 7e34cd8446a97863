//! Goroutines: created, started, blocked, in system calls, ended.

use model::trace::{GoId, GoState, GoTransition, ProcId, StackId, StringId, ThreadId, What};

use super::{Context, GoStatus, Goroutine, Outcome, ProcStatus, Scheduler, Sequence, Step};
use crate::gotrace::spec;

/// A change of state without a reason.
pub(super) fn change(goroutine: GoId, from: GoState, to: GoState) -> What {
    let (reason, stack) = (StringId(0), StackId(0));
    What::Goroutine(GoTransition { goroutine, from, to, reason, stack })
}

fn new(status: GoStatus, last: Sequence) -> Goroutine<'static> {
    Goroutine { status, last, ranges: Vec::new(), regions: Vec::new() }
}

impl Scheduler<'_> {
    /// Says what state a goroutine is in, once in each generation.
    pub(super) fn go_status(&mut self, step: Step<'_>) -> Outcome {
        let id = GoId(step.argument(0) as i64);
        let Some(status) = GoStatus::from_wire(step.argument(2)) else {
            return Err(format!("invalid status for goroutine {}: {}", id.0, step.argument(2)));
        };
        let last = step.sequence(0);
        let mut from = status.state();
        match self.goroutines.get_mut(&id) {
            Some(goroutine) if goroutine.status != status => {
                let old = goroutine.status;
                return Err(format!(
                    "inconsistent status for goroutine {}: old {old:?} vs. new {status:?}",
                    id.0
                ));
            }
            Some(goroutine) => goroutine.last = last,
            None if step.is_first_generation => {
                self.goroutines.insert(id, new(status, last));
                from = GoState::Undetermined;
            }
            None => {
                return Err(format!(
                    "found goroutine status for new goroutine after the first generation: {}",
                    id.0
                ));
            }
        }
        let (mut at, mut next) = (step.now, step.now);
        match status {
            GoStatus::Running => next.goroutine = id,
            GoStatus::Syscall => (at, next) = self.status_in_syscall(step, id)?,
            GoStatus::Bad | GoStatus::Runnable | GoStatus::Waiting => {}
        }
        let has_stack = step.raw.kind == spec::GO_STATUS_STACK;
        let stack = if has_stack { step.stack(3) } else { StackId(0) };
        let (to, reason) = (status.state(), StringId(0));
        let what = What::Goroutine(GoTransition { goroutine: id, from, to, reason, stack });
        self.done_at(step, at, next, stack, what)
    }

    /// Where a goroutine in a system call is, and who we execute for then. It may be on
    /// another thread, which then sat in the call for all of the generation, without a P.
    fn status_in_syscall(
        &mut self,
        step: Step<'_>,
        id: GoId,
    ) -> Result<(Context, Context), String> {
        let inconsistent = |found: GoId| {
            format!(
                "inconsistent thread for syscalling goroutine {}: thread has goroutine {}",
                id.0, found.0
            )
        };
        let (mut at, mut next) = (step.now, step.now);
        let thread_id = ThreadId(step.argument(1) as i64);
        if thread_id == ThreadId::NONE {
            return Err(format!("found goroutine {} in syscall without a thread", id.0));
        }
        if thread_id == step.now.thread {
            if !step.is_first_generation && step.now.goroutine != id {
                return Err(inconsistent(step.now.goroutine));
            }
            next.goroutine = id;
            return Ok((at, next));
        }
        match self.known_thread(thread_id) {
            Some(thread) if thread.goroutine != id => return Err(inconsistent(thread.goroutine)),
            Some(_) => at.goroutine = id,
            None => {
                let number = self.thread_number(thread_id);
                let thread = number.and_then(|number| self.threads.get_mut(number as usize));
                if let Some(thread) = thread {
                    thread.goroutine = id;
                    thread.proc = ProcId::NONE;
                    thread.is_known = true;
                }
            }
        }
        at.thread = thread_id;
        Ok((at, next))
    }

    pub(super) fn go_create(&mut self, step: Step<'_>) -> Outcome {
        step.now.needs_proc()?;
        // Timers create goroutines without being one.
        let creator = self.goroutines.get(&step.now.goroutine);
        if creator.is_some_and(|creator| creator.status != GoStatus::Running) {
            return Err(format!("{} event for goroutine that's not Running", step.name()));
        }
        let id = GoId(step.argument(0) as i64);
        if self.goroutines.contains_key(&id) {
            return Err(format!("tried to create goroutine {} that already exists", id.0));
        }
        let is_blocked = step.raw.kind == spec::GO_CREATE_BLOCKED;
        let status = if is_blocked { GoStatus::Waiting } else { GoStatus::Runnable };
        self.goroutines.insert(id, new(status, step.sequence(0)));
        let what = What::Goroutine(GoTransition {
            goroutine: id,
            from: GoState::NotExist,
            to: status.state(),
            reason: StringId(0),
            stack: step.stack(1),
        });
        self.done(step, step.now, step.stack(2), what)
    }

    /// C code calls Go on a thread of its own: the goroutine begins in a system call.
    pub(super) fn go_create_syscall(&mut self, step: Step<'_>) -> Outcome {
        step.now.needs_thread()?;
        step.now.needs_no_goroutine()?;
        let id = GoId(step.argument(0) as i64);
        if self.goroutines.contains_key(&id) {
            let id = id.0;
            return Err(format!("tried to create goroutine {id} in syscall that already exists"));
        }
        self.goroutines.insert(id, new(GoStatus::Syscall, step.sequence(0)));
        let next = Context { goroutine: id, ..step.now };
        self.done(step, next, StackId(0), change(id, GoState::NotExist, GoState::Syscall))
    }

    pub(super) fn go_start(&mut self, step: Step<'_>) -> Outcome {
        let id = GoId(step.argument(0) as i64);
        let sequence = step.sequence(step.argument(1));
        let Some(goroutine) = self.goroutines.get_mut(&id) else { return Ok(None) };
        if goroutine.status != GoStatus::Runnable || !sequence.follows(goroutine.last) {
            return Ok(None);
        }
        step.now.needs_proc()?;
        step.now.needs_no_goroutine()?;
        goroutine.status = GoStatus::Running;
        goroutine.last = sequence;
        let next = Context { goroutine: id, ..step.now };
        self.done(step, next, StackId(0), change(id, GoState::Runnable, GoState::Running))
    }

    /// The goroutine we are on ends, yields or blocks.
    pub(super) fn go_pause(&mut self, step: Step<'_>) -> Outcome {
        step.now.needs_all()?;
        let goroutine = self.current_in(step, GoStatus::Running)?;
        let id = step.now.goroutine;
        let next = Context { goroutine: GoId::NONE, ..step.now };
        let to = match step.raw.kind {
            spec::GO_STOP => GoStatus::Runnable,
            spec::GO_BLOCK => GoStatus::Waiting,
            _ => {
                self.goroutines.remove(&id);
                let what = change(id, GoState::Running, GoState::NotExist);
                return self.done(step, next, StackId(0), what);
            }
        };
        goroutine.status = to;
        let (reason, stack) = (StringId(step.argument(0)), step.stack(1));
        let (from, to) = (GoState::Running, to.state());
        let what = What::Goroutine(GoTransition { goroutine: id, from, to, reason, stack });
        self.done(step, next, stack, what)
    }

    pub(super) fn go_unblock(&mut self, step: Step<'_>) -> Outcome {
        let id = GoId(step.argument(0) as i64);
        let sequence = step.sequence(step.argument(1));
        let Some(goroutine) = self.goroutines.get_mut(&id) else { return Ok(None) };
        if goroutine.status != GoStatus::Waiting || !sequence.follows(goroutine.last) {
            return Ok(None);
        }
        goroutine.status = GoStatus::Runnable;
        goroutine.last = sequence;
        // Anything can unblock, also what has no P.
        let what = change(id, GoState::Waiting, GoState::Runnable);
        self.done(step, step.now, step.stack(2), what)
    }

    /// A coroutine hands over: one event of the format is three of ours.
    pub(super) fn go_switch(&mut self, step: Step<'_>) -> Outcome {
        step.now.needs_all()?;
        self.current_in(step, GoStatus::Running)?;
        let (id, other) = (step.now.goroutine, GoId(step.argument(0) as i64));
        let sequence = step.sequence(step.argument(1));
        let Some(goroutine) = self.goroutines.get_mut(&other) else { return Ok(None) };
        if goroutine.status != GoStatus::Waiting || !sequence.follows(goroutine.last) {
            return Ok(None);
        }
        goroutine.status = GoStatus::Running;
        goroutine.last = sequence;
        let to = if step.raw.kind == spec::GO_SWITCH_DESTROY {
            self.goroutines.remove(&id);
            GoState::NotExist
        } else {
            self.current(step)?.status = GoStatus::Waiting;
            GoState::Waiting
        };
        let pause = change(id, GoState::Running, to);
        self.follow.push_back(step.event(step.now, StackId(0), pause));
        let between = Context { goroutine: GoId::NONE, ..step.now };
        let start = change(other, GoState::Runnable, GoState::Running);
        self.follow.push_back(step.event(between, StackId(0), start));
        let next = Context { goroutine: other, ..step.now };
        self.done(step, next, StackId(0), change(other, GoState::Waiting, GoState::Runnable))
    }

    pub(super) fn syscall_begin(&mut self, step: Step<'_>) -> Outcome {
        step.now.needs_all()?;
        self.current_in(step, GoStatus::Running)?.status = GoStatus::Syscall;
        let proc = self.current_proc(step)?;
        proc.status = ProcStatus::Syscall;
        // The number tells which of several system calls a P is stolen from.
        let sequence = step.sequence(step.argument(0));
        if !sequence.follows(proc.last) {
            let (last, number) = (proc.last.number, sequence.number);
            return Err(format!(
                "failed to advance {}: can't make sequence: {last} -> {number}",
                step.name()
            ));
        }
        proc.last = sequence;
        let stack = step.stack(1);
        let what = What::Goroutine(GoTransition {
            goroutine: step.now.goroutine,
            from: GoState::Running,
            to: GoState::Syscall,
            reason: StringId(0),
            stack,
        });
        self.done(step, step.now, stack, what)
    }

    pub(super) fn syscall_end(&mut self, step: Step<'_>) -> Outcome {
        step.now.needs_all()?;
        self.current_in(step, GoStatus::Syscall)?.status = GoStatus::Running;
        let proc = self.current_proc(step)?;
        if proc.status != ProcStatus::Syscall {
            let status = proc.status;
            let id = step.now.proc.0;
            return Err(format!("expected proc {id} in state Syscall, but got {status:?} instead"));
        }
        proc.status = ProcStatus::Running;
        let id = step.now.goroutine;
        self.done(step, step.now, StackId(0), change(id, GoState::Syscall, GoState::Running))
    }

    /// The end of a system call that lost its P: waits until the P is known to be lost.
    pub(super) fn syscall_end_blocked(&mut self, step: Step<'_>) -> Outcome {
        let has_proc = step.now.proc != ProcId::NONE;
        if has_proc && self.current_proc(step)?.status == ProcStatus::Syscall {
            return Ok(None);
        }
        step.now.needs_thread()?;
        step.now.needs_goroutine()?;
        self.current_in(step, GoStatus::Syscall)?.status = GoStatus::Runnable;
        let id = step.now.goroutine;
        let next = Context { goroutine: GoId::NONE, ..step.now };
        self.done(step, next, StackId(0), change(id, GoState::Syscall, GoState::Runnable))
    }
}
