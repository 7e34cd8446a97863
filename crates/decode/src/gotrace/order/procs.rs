//! Ps: held by threads, given back, and taken from threads that are in system calls.

use model::trace::{GoId, ProcId, ProcState, StackId, ThreadId, What};

use super::{Context, Outcome, Proc, ProcStatus, Scheduler, Step};

impl Scheduler<'_> {
    /// Says what state a P is in, once in each generation.
    pub(super) fn proc_status(&mut self, step: Step<'_>) -> Outcome {
        let id = ProcId(step.argument(0) as i64);
        let Some(status) = ProcStatus::from_wire(step.argument(1)) else {
            return Err(format!("invalid status for proc {}: {}", id.0, step.argument(1)));
        };
        let last = step.sequence(0);
        let mut to = status;
        let from = match self.procs.get_mut(&id) {
            Some(proc) => {
                let mut from = status.state();
                match (status, proc.status) {
                    // What "abandoned" lost is known here: it still is in its system call.
                    (ProcStatus::SyscallAbandoned, ProcStatus::Syscall) => {
                        from = ProcState::Running;
                        to = ProcStatus::Syscall;
                    }
                    (ProcStatus::SyscallAbandoned, ProcStatus::SyscallAbandoned) => {
                        from = ProcState::Idle;
                    }
                    (status, old) if status != old => {
                        return Err(format!(
                            "inconsistent status for proc {}: old {old:?} vs. new {status:?}",
                            id.0
                        ));
                    }
                    _ => {}
                }
                proc.last = last;
                from
            }
            None => {
                self.procs.insert(id, Proc { status, last, ranges: Vec::new() });
                if step.is_first_generation { ProcState::Undetermined } else { ProcState::NotExist }
            }
        };
        let mut next = step.now;
        if matches!(status, ProcStatus::Running | ProcStatus::Syscall) {
            next.proc = id;
        }
        let mut at = step.now;
        if status == ProcStatus::SyscallAbandoned && from == ProcState::Running {
            // It is some other thread that holds it.
            at = self.holder(id).ok_or_else(|| {
                format!("failed to find sched context for proc {} that's about to be stolen", id.0)
            })?;
        }
        let what = What::Proc { proc: id, from, to: to.state() };
        self.done_at(step, at, next, StackId(0), what)
    }

    fn holder(&self, id: ProcId) -> Option<Context> {
        let mut threads = self.threads.iter();
        let thread = threads.find(|thread| thread.is_known && thread.proc == id)?;
        Some(Context { thread: thread.id, proc: id, goroutine: thread.goroutine })
    }

    /// A thread takes a free P.
    pub(super) fn proc_start(&mut self, step: Step<'_>) -> Outcome {
        let id = ProcId(step.argument(0) as i64);
        let sequence = step.sequence(step.argument(1));
        let Some(proc) = self.procs.get_mut(&id) else { return Ok(None) };
        // With a P in hand we came from a system call, and wait until that P is stolen.
        let is_ready = proc.status == ProcStatus::Idle
            && sequence.follows(proc.last)
            && step.now.proc == ProcId::NONE;
        if !is_ready {
            return Ok(None);
        }
        step.now.needs_thread()?;
        proc.status = ProcStatus::Running;
        proc.last = sequence;
        let what = What::Proc { proc: id, from: ProcState::Idle, to: ProcState::Running };
        self.done(step, Context { proc: id, ..step.now }, StackId(0), what)
    }

    /// A thread gives its P back.
    pub(super) fn proc_stop(&mut self, step: Step<'_>) -> Outcome {
        let id = step.now.proc;
        let Some(proc) = self.procs.get_mut(&id) else {
            return Err(format!("event {} for proc {} that doesn't exist", step.name(), id.0));
        };
        if !matches!(proc.status, ProcStatus::Running | ProcStatus::Syscall) {
            return Err(format!("{} event for proc that's not Running or Syscall", step.name()));
        }
        step.now.needs_proc()?;
        proc.status = ProcStatus::Idle;
        let what = What::Proc { proc: id, from: ProcState::Running, to: ProcState::Idle };
        self.done(step, Context { proc: ProcId::NONE, ..step.now }, StackId(0), what)
    }

    /// A P is taken from a thread in a system call.
    pub(super) fn proc_steal(&mut self, step: Step<'_>) -> Outcome {
        let id = ProcId(step.argument(0) as i64);
        let sequence = step.sequence(step.argument(1));
        let Some(proc) = self.procs.get_mut(&id) else { return Ok(None) };
        let old = proc.status;
        let can_be_taken = matches!(old, ProcStatus::Syscall | ProcStatus::SyscallAbandoned);
        if !can_be_taken || !sequence.follows(proc.last) {
            return Ok(None);
        }
        step.now.needs_thread()?;
        proc.status = ProcStatus::Idle;
        proc.last = sequence;
        if old == ProcStatus::SyscallAbandoned {
            // It already counts as idle, and its thread may be elsewhere.
            let what = What::Proc { proc: id, from: ProcState::Idle, to: ProcState::Idle };
            return self.done(step, step.now, StackId(0), what);
        }
        let what = What::Proc { proc: id, from: ProcState::Running, to: ProcState::Idle };
        let from = ThreadId(step.argument(2) as i64);
        if from == step.now.thread {
            if step.now.proc != id {
                return Err(format!(
                    "tried to self-steal proc {} (thread {}), but got proc {} instead",
                    id.0, from.0, step.now.proc.0
                ));
            }
            return self.done(step, Context { proc: ProcId::NONE, ..step.now }, StackId(0), what);
        }
        let Some(thread) = self.known_thread(from) else {
            return Err(format!("stole proc from non-existent thread {}", from.0));
        };
        if thread.proc != id {
            return Err(format!(
                "tried to steal proc {} from thread {}, but got proc {} instead",
                id.0, from.0, thread.proc.0
            ));
        }
        // Its system call cannot end before it knows.
        thread.proc = ProcId::NONE;
        self.done(step, step.now, StackId(0), what)
    }

    /// A goroutine that C code called ends with its thread in C: the P is lost with it,
    /// because the thread's number may be used again.
    pub(super) fn go_destroy_syscall(&mut self, step: Step<'_>) -> Outcome {
        step.now.needs_thread()?;
        step.now.needs_goroutine()?;
        self.current_in(step, super::GoStatus::Syscall)?;
        let id = step.now.goroutine;
        self.goroutines.remove(&id);
        let end = step.event(
            step.now,
            StackId(0),
            super::routines::change(
                id,
                model::trace::GoState::Syscall,
                model::trace::GoState::NotExist,
            ),
        );
        let mut next = Context { goroutine: GoId::NONE, ..step.now };
        let proc_id = step.now.proc;
        if proc_id == ProcId::NONE {
            self.event = end;
            return Ok(Some(next));
        }
        let proc = self.current_proc(step)?;
        if proc.status != ProcStatus::Syscall {
            let status = proc.status;
            return Err(format!(
                "proc {} in unexpected state {status:?} during {}",
                proc_id.0,
                step.name()
            ));
        }
        proc.status = ProcStatus::SyscallAbandoned;
        next.proc = ProcId::NONE;
        // As if we stole the P from ourselves.
        self.follow.push_back(end);
        let what = What::Proc { proc: proc_id, from: ProcState::Running, to: ProcState::Idle };
        self.done(step, next, StackId(0), what)
    }
}
