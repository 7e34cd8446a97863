//! The frozen clone of a target: made, held, killed, and reaped by the target itself.

use std::fs;
use std::io;
use std::time::{Duration, Instant};

use super::code;
use super::inject::{self, Call, Outcome, Place};
use super::link::{Failure, FailureKind, Order, Released};
use super::ptrace::{self, Stop, Tid};
use super::threads::{Thread, Threads, instruction, settle, tasks};
use crate::{find, signals};

/// How long to go on trying to reap a clone in the target.
const REAP_MAX: Duration = Duration::from_secs(20);

/// How often to look for a thread that idles in Go before taking any.
const PATIENT_ATTEMPTS: usize = 500;

/// How long a clone may take to stop or to die: its page tables are large.
const CLONE_MAX: Duration = Duration::from_secs(60);

/// The kernel's own code for "a signal came first"; never seen by programs.
const ERESTARTNOINTR: i64 = 513;

/// A clone of the target, or what is left of it.
pub(super) struct Clone<'a> {
    pub(super) pid: Tid,
    /// As the target knows it, which may be in another pid namespace.
    inner_pid: u64,
    start_ticks: Option<u64>,
    order: &'a Order,
}

impl<'a> Clone<'a> {
    /// Lets one of the stopped threads clone the process; `None` when all of them have a
    /// signal to take first, or, if we are patient, none of them idles in Go.
    pub(super) fn make(
        threads: &mut Threads,
        order: &'a Order,
        is_patient: bool,
    ) -> Result<Option<Clone<'a>>, Failure> {
        for (place, index) in candidates(threads, order) {
            if is_patient && place != Place::IdleInGo {
                break;
            }
            let Some(thread) = threads.threads.get_mut(index) else { continue };
            let at = instruction(place, &thread.registers, order.instruction);
            let outcome = clone_process(thread, at)?;
            let child = outcome.child;
            match settle(thread, Ok(outcome)) {
                Ok(None) => {}
                Ok(Some(Outcome { child: Some(pid), value: Some(inner_pid), .. })) => {
                    let start_ticks = signals::start_ticks(pid.cast_unsigned());
                    let inner_pid = inner_pid.cast_unsigned();
                    return Ok(Some(Clone { pid, inner_pid, start_ticks, order }));
                }
                // A signal came in first; another thread may do.
                Ok(Some(Outcome { value: Some(value), .. })) if value == -ERESTARTNOINTR => {}
                Ok(Some(outcome)) => return Err(clone_failed(outcome.value.unwrap_or(0))),
                Err(failure) => {
                    child.into_iter().for_each(kill);
                    return Err(failure);
                }
            }
        }
        Ok(None)
    }

    /// What snapshots left behind whose tracer was killed: children of the target that send
    /// no signal when they end, that nobody traces, and that are dead or run the target's
    /// own program. Programs make no such children.
    pub(super) fn left_behind(order: &'a Order) -> Vec<Clone<'a>> {
        let of = |pid: u32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let (_, rest) = stat.rsplit_once(") ")?;
            let fields: Vec<&str> = rest.split(' ').collect();
            // Fields 3 (state), 4 (parent) and 38 (exit signal) of proc(5).
            let (state, parent, signal) = (fields.first()?, fields.get(1)?, fields.get(35)?);
            if *signal != "0" || parent.parse() != Ok(order.pid) {
                return None;
            }
            let exe = |pid: u32| fs::read_link(format!("/proc/{pid}/exe")).ok();
            let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let is_traced = decode::procfs::field(&status, "TracerPid") != Some(0);
            // One that is dying has no executable any more.
            let is_other = exe(pid).is_some_and(|path| Some(path) != exe(order.pid));
            if is_traced || *state != "Z" && is_other {
                return None;
            }
            let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
            let inner_pid =
                ids.and_then(|ids| ids.split_ascii_whitespace().next_back()?.parse().ok());
            Some(Clone {
                pid: pid.cast_signed(),
                inner_pid: inner_pid.unwrap_or(u64::from(pid)),
                start_ticks: signals::start_ticks(pid),
                order,
            })
        };
        find::pids().into_iter().filter_map(of).collect()
    }

    /// Waits until it stands still, and makes sure that it dies with us, and before
    /// anything else when memory runs out.
    pub(super) fn hold(&self) {
        let stopped = ptrace::wait(self.pid, Instant::now() + CLONE_MAX);
        if !matches!(stopped, Ok((_, Stop::Trap(_)))) {
            return;
        }
        let _ = ptrace::set_options(self.pid, libc::PTRACE_O_EXITKILL);
        let _ = fs::write(format!("/proc/{}/oom_score_adj", self.pid), "1000");
    }

    /// Kills it and lets the target reap it.
    pub(super) fn end(self) -> Released {
        let is_intact = matches!(ptrace::poll(self.pid), Ok(None));
        kill(self.pid);
        let deadline = Instant::now() + CLONE_MAX;
        while !matches!(ptrace::wait(self.pid, deadline), Err(_) | Ok((_, Stop::Ended))) {}
        let (pause, is_reaped) = self.reap();
        Released { pause, is_intact, is_reaped }
    }

    /// Makes sure that one that was left behind is dead: it faults by itself, unless that
    /// went wrong, too.
    pub(super) fn bury(&self) {
        let status = format!("/proc/{}/status", self.pid);
        let is_dead = || {
            let status = fs::read_to_string(&status).unwrap_or_default();
            status.is_empty() || status.contains("State:\tZ")
        };
        for attempt in 0..2000 {
            if is_dead() || !self.is_child_of_target() {
                return;
            }
            if attempt == 1000 {
                kill(self.pid);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Lets the target reap it, now that it is dead. Returns the longest stop of a thread
    /// that this took, and whether it worked.
    pub(super) fn reap(&self) -> (Duration, bool) {
        let (begun, mut pause) = (Instant::now(), Duration::ZERO);
        let mut attempt = 0;
        while self.is_child_of_target() {
            match self.reap_once(attempt) {
                Ok(stopped) => pause = pause.max(stopped.unwrap_or_default()),
                // A thread that does not stop in time stops later, and then must find us
                // gone.
                Err(_) => return (pause, !self.is_child_of_target()),
            }
            attempt += 1;
            std::thread::sleep(Duration::from_millis(1));
            if begun.elapsed() > REAP_MAX {
                return (pause, false);
            }
        }
        (pause, true)
    }

    /// The target is there and has it as its child. The pid of a reaped one may by now be
    /// that of another child of the target: the start time tells.
    fn is_child_of_target(&self) -> bool {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap_or_default();
        decode::procfs::field(&status, "PPid") == Some(u64::from(self.order.pid))
            && signals::start_ticks(self.pid.cast_unsigned()) == self.start_ticks
            && signals::start_ticks(self.order.pid) == Some(self.order.start_ticks)
    }

    /// Stops one thread of the target, an idle one if there is one, and lets it wait for
    /// the clone. Returns how long the thread stood still, if it made the call.
    fn reap_once(&self, attempt: usize) -> Result<Option<Duration>, Failure> {
        let pid = self.order.pid.cast_signed();
        let tids = tasks(pid)?;
        let is_idle = |tid: &&Tid| {
            let call = fs::read_to_string(format!("/proc/{pid}/task/{tid}/syscall"));
            call.is_ok_and(|text| text.starts_with(&format!("{} ", libc::SYS_futex)))
        };
        let idle: Vec<&Tid> = tids.iter().filter(is_idle).collect();
        // Another one each time: some take signals all the time.
        let tid = idle.get(attempt % idle.len().max(1)).copied();
        let Some(tid) = tid.or(tids.get(attempt % tids.len().max(1))).copied() else {
            return Err(Failure::gone());
        };
        // The target may have become another program since.
        let found = code::find_instruction(self.order.pid).ok_or_else(Failure::gone)?;
        let mut one = Threads::stop_one(pid, tid, Duration::from_secs(2))?;
        let Some(thread) = one.threads.first_mut() else { return Ok(None) };
        let Some(Stop::Trap(_)) = thread.stop else { return Ok(None) };
        let registers = thread.registers;
        if !registers.is_supported() {
            return Err(Failure::gone());
        }
        let place = registers.place(|at| code::read(self.order.pid, at));
        if place != Place::IdleInGo && attempt < PATIENT_ATTEMPTS {
            return Ok(None);
        }
        let options = (libc::__WALL | libc::WNOHANG).cast_unsigned();
        let arguments = [self.inner_pid, 0, options.into(), 0, 0];
        let at = instruction(place, &registers, found);
        let call = Call { at, number: libc::SYS_wait4, arguments };
        let outcome = settle(thread, inject::run(tid, &registers, &call))?;
        Ok(outcome.map(|_| one.release()))
    }
}

/// Threads that can make a system call now, the least delicate first.
fn candidates(threads: &Threads, order: &Order) -> Vec<(Place, usize)> {
    let mut candidates: Vec<(bool, Place, usize)> = Vec::new();
    for (index, thread) in threads.threads.iter().enumerate() {
        // A thread about to take a signal must take it first.
        let Some(Stop::Trap(group)) = thread.stop else { continue };
        if thread.registers.is_supported() {
            let place = thread.registers.place(|at| code::read(order.pid, at));
            candidates.push((group.is_some(), place, index));
        }
    }
    candidates.sort_unstable();
    candidates.into_iter().map(|(_, place, index)| (place, index)).collect()
}

/// Clones the process of a stopped thread.
///
/// The clone shares the table of open files, so that it never holds a socket, a pipe or a
/// lock that the target has closed (a copy would have to be closed in the clone, and until
/// then the far ends would wait for an end of file). It sends no signal when it ends, so
/// that no SIGCHLD handler and no wait(-1) of the target sees it. Its stack pointer is
/// nonsense: should the tracer be killed before it has the clone in hand, the clone faults
/// at once instead of running the program a second time.
fn clone_process(thread: &Thread, at: u64) -> Result<Outcome, Failure> {
    const NO_STACK: u64 = 8;
    let flags = libc::CLONE_FILES.cast_unsigned().into();
    ptrace::set_options(thread.tid, libc::PTRACE_O_TRACECLONE | libc::PTRACE_O_TRACEFORK)
        .map_err(Failure::of_ptrace)?;
    let arguments = [flags, NO_STACK, 0, 0, 0];
    let call = Call { at, number: libc::SYS_clone, arguments };
    let outcome = inject::run(thread.tid, &thread.registers, &call);
    // If it was killed meanwhile, the outcome says so.
    let _ = ptrace::set_options(thread.tid, 0);
    outcome.map_err(Failure::of_ptrace)
}

fn clone_failed(value: i64) -> Failure {
    let errno = i32::try_from(-value).unwrap_or(0);
    let why = match errno {
        libc::ENOMEM => "no memory for its page tables, or overcommit forbids".to_owned(),
        libc::EAGAIN => "a limit on processes (ulimit -u, pids.max)".to_owned(),
        errno => io::Error::from_raw_os_error(errno).to_string(),
    };
    Failure { kind: FailureKind::Refused, text: format!("it could not be cloned: {why}") }
}

fn kill(clone: Tid) {
    // SAFETY: a clone of ours, which nobody else can have reaped yet.
    unsafe {
        libc::kill(clone, libc::SIGKILL);
    }
}
