//! Stopping the threads of a target, and letting them go.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::time::{Duration, Instant};

use super::inject::{Outcome, Place};
use super::link::{Failure, FailureKind, Order};
use super::ptrace::{self, Registers, Stop, Tid};
use crate::signals;

/// A traced thread.
#[derive(Debug)]
pub(super) struct Thread {
    pub(super) tid: Tid,
    /// `None` while it runs.
    pub(super) stop: Option<Stop>,
    pub(super) registers: Registers,
}

/// All threads of the target, traced. They are released when this is dropped.
pub(super) struct Threads {
    pub(super) pid: Tid,
    pub(super) threads: Vec<Thread>,
    started: Instant,
}

impl Drop for Threads {
    fn drop(&mut self) {
        for thread in &self.threads {
            let signal = match thread.stop {
                // A thread that does not stop is released by our end.
                None => continue,
                Some(Stop::Signal(signal)) => signal,
                Some(_) => 0,
            };
            let _ = ptrace::detach(thread.tid, signal);
        }
    }
}

impl Threads {
    /// Stops every thread, those too that begin while we look.
    pub(super) fn stop(order: &Order) -> Result<Threads, Failure> {
        let pid = order.pid.cast_signed();
        let started = Instant::now();
        let mut stopped = Threads { pid, threads: Vec::new(), started };
        let mut known = BTreeSet::new();
        let deadline = started + order.stop_max;
        loop {
            let mut is_complete = true;
            for tid in tasks(pid)? {
                if known.insert(tid) {
                    is_complete = false;
                    stopped.seize(tid)?;
                }
            }
            stopped.wait_for_stops(deadline)?;
            if is_complete {
                break;
            }
        }
        if signals::start_ticks(order.pid) != Some(order.start_ticks) {
            return Err(Failure::gone());
        }
        for thread in &mut stopped.threads {
            thread.registers = ptrace::registers(thread.tid).map_err(Failure::of_ptrace)?;
        }
        match stopped.threads.is_empty() {
            true => Err(Failure::gone()),
            false => Ok(stopped),
        }
    }

    /// Stops one thread only.
    ///
    /// # Errors
    /// As [`Threads::stop`]. One that did not stop in time is let go by our end only.
    pub(super) fn stop_one(pid: Tid, tid: Tid, stop_max: Duration) -> Result<Threads, Failure> {
        let mut one = Threads { pid, threads: Vec::new(), started: Instant::now() };
        one.seize(tid)?;
        one.wait_for_stops(one.started + stop_max)?;
        for thread in &mut one.threads {
            thread.registers = ptrace::registers(thread.tid).map_err(Failure::of_ptrace)?;
        }
        Ok(one)
    }

    fn seize(&mut self, tid: Tid) -> Result<(), Failure> {
        match ptrace::seize(tid) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Ok(()),
            // The kernel says EPERM of a thread that is ending, too.
            Err(_) if is_ending(self.pid, tid) => return Ok(()),
            Err(error) => {
                return Err(match tracer_of(self.pid, tid) {
                    0 => Failure::of_ptrace(error),
                    tracer => {
                        let text = format!("process {tracer} traces it");
                        Failure { kind: FailureKind::Refused, text }
                    }
                });
            }
        }
        self.threads.push(Thread { tid, stop: None, registers: Registers::default() });
        match ptrace::interrupt(tid) {
            Err(error) if error.raw_os_error() != Some(libc::ESRCH) => {
                Err(Failure::of_ptrace(error))
            }
            _ => Ok(()),
        }
    }

    fn wait_for_stops(&mut self, deadline: Instant) -> Result<(), Failure> {
        while self.threads.iter().any(|thread| thread.stop.is_none()) {
            match ptrace::wait(-1, deadline) {
                Ok((tid, Stop::Ended)) => self.threads.retain(|thread| thread.tid != tid),
                Ok((tid, stop)) => {
                    if let Some(thread) = self.threads.iter_mut().find(|known| known.tid == tid) {
                        thread.stop = Some(stop);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                    return Err(self.stuck());
                }
                Err(_) => return Err(Failure::gone()),
            }
        }
        Ok(())
    }

    fn stuck(&self) -> Failure {
        let running = self.threads.iter().filter(|thread| thread.stop.is_none());
        let (count, first) = (running.clone().count(), running.map(|thread| thread.tid).next());
        let (first, all) = (first.unwrap_or(0), self.threads.len());
        let text = format!(
            "{count} of {all} threads did not stop in time (the first is {first}): they wait in \
             the kernel, for a disk perhaps; all were let go"
        );
        Failure { kind: FailureKind::Refused, text }
    }

    /// The registers of each thread, under the thread id its own program knows.
    pub(super) fn registers(&self) -> Vec<(u32, Vec<u8>)> {
        let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
        let is_same = namespace("self") == namespace(&self.pid.to_string());
        let of = |thread: &Thread| {
            let tid = thread.tid.cast_unsigned();
            let tid = if is_same { tid } else { inner_tid(self.pid, thread.tid).unwrap_or(tid) };
            (tid, thread.registers.bytes().to_vec())
        };
        self.threads.iter().map(of).collect()
    }

    /// Nobody killed the process while it was held.
    pub(super) fn are_stopped(&self) -> bool {
        self.threads.iter().all(|thread| matches!(ptrace::poll(thread.tid), Ok(None)))
    }

    /// Lets the target run on; returns how long it stood still.
    pub(super) fn release(self) -> Duration {
        let started = self.started;
        drop(self);
        started.elapsed()
    }
}

/// A thread's id in the innermost pid namespace.
fn inner_tid(pid: Tid, tid: Tid) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/task/{tid}/status")).ok()?;
    let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    ids.split_ascii_whitespace().next_back()?.parse().ok()
}

/// The syscall instruction to use in a thread.
pub(super) fn instruction(place: Place, registers: &Registers, other: u64) -> u64 {
    match place {
        Place::IdleInGo => registers.own_instruction(),
        Place::Syscall | Place::User => other,
    }
}

/// Takes note how a thread is stopped after an injected call; `None` when a signal came
/// before it.
pub(super) fn settle(
    thread: &mut Thread,
    outcome: io::Result<Outcome>,
) -> Result<Option<Outcome>, Failure> {
    let outcome = outcome.map_err(Failure::of_ptrace)?;
    thread.stop = Some(outcome.stop);
    match outcome.stop {
        Stop::Ended => Err(Failure::gone()),
        _ => Ok(outcome.value.map(|_| outcome)),
    }
}

/// The threads of a process.
pub(super) fn tasks(pid: Tid) -> Result<Vec<Tid>, Failure> {
    let entries = fs::read_dir(format!("/proc/{pid}/task")).map_err(|_| Failure::gone())?;
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect())
}

/// Who traces a thread already; 0 when nobody does.
fn tracer_of(pid: Tid, tid: Tid) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/task/{tid}/status")).unwrap_or_default();
    decode::procfs::field(&status, "TracerPid").unwrap_or(0)
}

fn is_ending(pid: Tid, tid: Tid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/task/{tid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    matches!(state, None | Some('Z' | 'X' | 'x'))
}
