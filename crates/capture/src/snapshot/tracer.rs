//! The tracer: a process of ours that does the tracing, so that whatever happens to
//! memsight, the target gets its threads back.
//!
//! It is forked for one snapshot, has a session of its own and every signal blocked. A
//! kill -9 of memsight does not reach it; it notices by the end of the link, kills and
//! reaps the frozen clone, and ends. If the tracer itself is killed, the kernel detaches
//! the threads and kills the clone (PTRACE_O_EXITKILL); memsight, if it still runs, starts
//! another one to reap that.
//!
//! The program it was forked from may have had other threads: no lock of ours may be
//! taken here, nothing printed, nothing may panic. Allocating is safe, the C library
//! sees to that. An alarm ends the process should it hang all the same.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::clone::Clone;
use super::link::{Failure, FailureKind, Frozen, Order, Released, Report, Work};
use super::threads::Threads;

/// Without a sign of life for this long memsight counts as stuck (suspended, perhaps).
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Runs one snapshot over `link` and returns the exit status of the process.
pub(super) fn main(order: &Order, mut link: UnixStream) -> i32 {
    let report = match run(order, &mut link) {
        Ok(released) => Report::Released(released),
        Err(failure) => Report::Failed(failure),
    };
    // Memsight may be gone; there is nobody else to tell.
    let _ = link.write_all(&report.to_bytes());
    0
}

fn run(order: &Order, link: &mut UnixStream) -> Result<Released, Failure> {
    arm_alarm(order.stop_max + SILENCE_MAX + Duration::from_secs(200));
    match order.work {
        Work::Fork => {}
        Work::Stop => return hold_threads(Threads::stop(order)?, link),
        Work::Reap => return Ok(reap_all(order)),
        Work::ReapAfterLoss => {
            // A thread that is about to clone stops only when it has.
            drop(Threads::stop(order)?);
            return Ok(reap_all(order));
        }
    }
    let (threads, clone, earlier) = stop_and_clone(order)?;
    let registers = threads.registers();
    let pause = earlier + threads.release();
    clone.hold();
    let frozen = Frozen { clone: clone.pid.cast_unsigned(), pause, threads: registers };
    if link.write_all(&Report::Frozen(frozen).to_bytes()).is_ok() {
        wait_for_end(link, order.pid);
    }
    Ok(clone.end())
}

/// Stops the target and clones it. When every thread has a signal to take first, they are
/// let go to take them; when none idles in Go, which would be safest, a few more looks
/// are taken. Also returns how long the target stood still in vain.
fn stop_and_clone(order: &Order) -> Result<(Threads, Clone<'_>, Duration), Failure> {
    const ATTEMPTS: u32 = 50;
    const PATIENT_ATTEMPTS: u32 = 10;
    let mut earlier = Duration::ZERO;
    for attempt in 0..ATTEMPTS {
        let mut threads = Threads::stop(order)?;
        let is_patient = attempt < PATIENT_ATTEMPTS;
        if let Some(clone) = Clone::make(&mut threads, order, is_patient)? {
            return Ok((threads, clone, earlier));
        }
        earlier += threads.release();
        std::thread::sleep(Duration::from_millis(1));
    }
    let text = "no thread of it could make the system call: signals come in all the time";
    Err(Failure { kind: FailureKind::Refused, text: text.to_owned() })
}

/// Reaps what snapshots left behind whose tracer was killed.
fn reap_all(order: &Order) -> Released {
    let reap = |clone: Clone<'_>| {
        clone.bury();
        clone.reap()
    };
    let reaped: Vec<_> = Clone::left_behind(order).into_iter().map(reap).collect();
    let pause = reaped.iter().map(|(pause, _)| *pause).max().unwrap_or_default();
    Released { pause, is_intact: true, is_reaped: reaped.iter().all(|(_, is_reaped)| *is_reaped) }
}

/// The method without injection: the threads stand still until memsight has copied.
fn hold_threads(threads: Threads, link: &mut UnixStream) -> Result<Released, Failure> {
    let frozen = Frozen { clone: 0, pause: Duration::ZERO, threads: threads.registers() };
    if link.write_all(&Report::Frozen(frozen).to_bytes()).is_ok() {
        wait_for_end(link, 0);
    }
    let is_intact = threads.are_stopped();
    Ok(Released { pause: threads.release(), is_intact, is_reaped: true })
}

/// Waits until memsight says that it has all it wants, ends, or falls silent; and no
/// longer than `pid` lives, whose files the clone keeps open.
fn wait_for_end(link: &mut UnixStream, pid: u32) {
    // SAFETY: a plain system call; where the kernel is too old, poll skips the result.
    let pidfd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let entry = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    let target = i32::try_from(pidfd).unwrap_or(-1);
    let mut byte = [0];
    loop {
        arm_alarm(SILENCE_MAX + Duration::from_secs(200));
        let mut entries = [entry(link.as_raw_fd()), entry(if pid == 0 { -1 } else { target })];
        let timeout = i32::try_from(SILENCE_MAX.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: two entries, and their number is given.
        let ready = unsafe { libc::poll(entries.as_mut_ptr(), 2, timeout) };
        let [said, ended] = entries.map(|entry| entry.revents != 0);
        if ready <= 0 || ended {
            return;
        }
        if said && !matches!(link.read(&mut byte), Ok(1) if byte == [super::link::ALIVE]) {
            return;
        }
    }
}

/// Ends this process when something in it hangs; the kernel then lets the target go.
fn arm_alarm(after: Duration) {
    // SAFETY: alarm has no memory effects.
    unsafe {
        libc::alarm(u32::try_from(after.as_secs()).unwrap_or(u32::MAX));
    }
}

/// Leaves memsight's surroundings: its session, its signals, its files.
pub(super) fn settle_in(link: &UnixStream) {
    let keep = u32::try_from(link.as_raw_fd()).unwrap_or(0);
    // SAFETY: plain system calls in a process that has one thread; the descriptors that
    // are closed belong to objects this process never touches again.
    unsafe {
        libc::setsid();
        // The kernel tells an ignoring parent nothing about its tracees.
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
        libc::signal(libc::SIGALRM, libc::SIG_DFL);
        let mut alarm = std::mem::zeroed();
        libc::sigemptyset(&mut alarm);
        libc::sigaddset(&mut alarm, libc::SIGALRM);
        libc::sigprocmask(libc::SIG_UNBLOCK, &alarm, std::ptr::null_mut());
        if keep > 0 {
            libc::syscall(libc::SYS_close_range, 0, keep - 1, 0);
        }
        libc::syscall(libc::SYS_close_range, keep + 1, u32::MAX, 0);
        libc::chdir(c"/".as_ptr());
    }
    // Where we may: threads are waiting for this process, and it should not be the first
    // to go when memory runs out.
    // SAFETY: changes nothing but the priority of this process.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -20) };
    let _ = fs::write("/proc/self/oom_score_adj", "-1000");
}
