//! The memory of a running Go program at one moment, with the program stopped for
//! milliseconds.
//!
//! [`Method::Fork`] stops all threads by ptrace, saves their registers, lets one of them
//! clone the process, and lets all go on. The clone shares the memory copy-on-write and
//! never runs; it is copied into a scratch file, killed, and reaped in the target by a
//! second, shorter stop of one thread. The pause is what the kernel needs to copy the
//! page tables. [`Method::Stop`] keeps the threads stopped while memory is copied, and
//! injects nothing. [`Method::ReadOnly`] reads while the program runs.
//!
//! What it changes in the target: nothing is written to its memory, and afterwards it has
//! its threads, registers, files and children as before. Like any ptrace stop it may make
//! a blocked epoll_wait of C code return EINTR. While the clone lives, pages the program
//! writes to are copied: [`take`] refuses when a memory limit leaves too little for that.
//!
//! Whatever becomes of memsight, the target is let go: a process of its own does the
//! tracing (see `tracer`). Only a kill -9 of that process within the one system call that
//! clones can do harm, and only when no thread of the target idles in the Go runtime
//! (see `inject`): then one thread goes on at the wrong place. If one does idle, the worst
//! is a clone that faults at once, with a Go traceback in the target's standard error;
//! memsight reaps it, or, if it was killed as well, the next snapshot does.
//!
//! Limits: Linux; cloning on x86-64 only. Shared mappings, devices, files mapped beyond
//! 1 GiB, and memory the program itself excluded from forks are left out. A clone under
//! a seccomp filter is refused.

mod clone;
mod code;
mod copy;
mod inject;
mod link;
mod preflight;
mod ptrace;
mod threads;
mod tracer;

use std::fs;
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use decode::elf::core::thread_registers;
use decode::goheap::Library;
use decode::goruntime::{MemoryImage, ThreadRegisters};
use decode::procfs::Mapping;
use model::{Addr, Timestamp};

use crate::error::CaptureError;
use crate::libraries::Libraries;
use crate::{scratch, signals};
use copy::Copied;
use link::{FailureKind, Order, Released, Report, Work};

/// How to get at the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Stop, clone, go on; copy the clone.
    Fork,
    /// Stop, copy, go on.
    Stop,
    /// Copy while it runs: the parts are of different moments, and registers unknown.
    ReadOnly,
}

impl Method {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Method::Fork => "fork",
            Method::Stop => "stop",
            Method::ReadOnly => "read-only",
        }
    }
}

/// How a snapshot is to be taken.
#[derive(Clone, Debug)]
pub struct Options {
    /// How to get at the memory.
    pub method: Method,
    /// Where a clone is refused, stop the target for the copy instead.
    pub may_stop: bool,
    /// Where the scratch file goes: as large as the target's memory, gone when the
    /// snapshot is dropped. A slow disk makes the clone live longer.
    pub scratch_dir: PathBuf,
    /// Clone even if the memory for it may be missing. The kernel may then kill the
    /// target.
    pub ignore_headroom: bool,
    /// The garbage collector marks objects within their pages (Go 1.26 and later), so
    /// that one collection copies up to half of what the clone shares.
    pub marks_in_pages: bool,
    /// How long the threads may take to stop before the attempt is given up.
    pub stop_max: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            method: Method::Fork,
            may_stop: false,
            scratch_dir: std::env::temp_dir(),
            ignore_headroom: false,
            marks_in_pages: true,
            stop_max: Duration::from_secs(1),
        }
    }
}

/// Called with the bytes copied and the bytes there are.
pub type Progress<'a> = dyn FnMut(u64, u64) + 'a;

/// The memory of a process as it was at one moment.
#[derive(Debug)]
pub struct Frozen {
    /// The process.
    pub pid: u32,
    /// How it was got.
    pub method: Method,
    /// When.
    pub time: Timestamp,
    /// How long the process stood still, from the first thread that was asked to stop to
    /// the last that was let go.
    pub pause: Duration,
    /// How long one thread stood still afterwards, to reap the clone.
    pub second_pause: Duration,
    /// How long the clone lived.
    pub clone_age: Duration,
    /// The registers of every thread; none when it was not stopped.
    pub threads: Vec<ThreadRegisters>,
    /// What was mapped.
    pub mappings: Vec<Mapping>,
    /// /proc/PID/auxv.
    pub auxv: Vec<u8>,
    /// Bytes that were copied.
    pub copied_bytes: u64,
    /// Bytes of what was to be copied that could not be read; they read as zero.
    pub unreadable_bytes: u64,
    /// Bytes of readable mappings that were left out: shared memory, devices.
    pub left_out_bytes: u64,
    /// What did not go as it should.
    pub warnings: Vec<String>,
    copied: Copied,
    libraries: Libraries,
}

impl Frozen {
    /// Everything was read at the same moment.
    pub fn is_consistent(&self) -> bool {
        self.method != Method::ReadOnly
    }

    /// The memory.
    pub fn image(&self) -> MemoryImage<'_> {
        let parts = self.copied.ranges.iter().map(|range| {
            let from = range.offset as usize;
            (range.start, from..from.saturating_add(range.len as usize))
        });
        MemoryImage::of_file(self.copied.image.as_ref(), parts.collect())
    }

    /// The shared objects that were mapped.
    pub(crate) fn libraries(&self) -> Vec<Library<'_>> {
        self.libraries.list()
    }

    /// The ranges of the memory, in address order.
    pub fn ranges(&self) -> impl Iterator<Item = (Addr, u64)> {
        self.copied.ranges.iter().map(|range| (range.start, range.len))
    }
}

/// Takes the memory of a running process.
///
/// # Errors
/// When the process is not there, may not be traced, cannot be stopped or cloned, or
/// when a clone could cost it its life; and when the scratch file cannot be written. The
/// target runs on in every case.
pub fn take(
    pid: u32,
    options: &Options,
    progress: &mut Progress<'_>,
) -> Result<Frozen, CaptureError> {
    let start_ticks = signals::start_ticks(pid).ok_or(CaptureError::NoProcess(pid))?;
    check_space(pid, options)?;
    let mut order = order(pid, start_ticks, options);
    match options.method {
        Method::ReadOnly => return read_only(pid, start_ticks, options, progress),
        Method::Stop => preflight::may_be_traced(pid)?,
        Method::Fork => {
            preflight::may_be_traced(pid)?;
            match prepare_fork(pid, options) {
                Ok(instruction) => (order.work, order.instruction) = (Work::Fork, instruction),
                Err(CaptureError::Refused { .. }) if options.may_stop => {}
                Err(error) => return Err(error),
            }
            reap_left_behind(&order, false);
        }
    }
    match trace(&order, options, progress) {
        Err(CaptureError::Refused { .. }) if order.work == Work::Fork && options.may_stop => {
            order.work = Work::Stop;
            trace(&order, options, progress)
        }
        result => result,
    }
}

fn order(pid: u32, start_ticks: u64, options: &Options) -> Order {
    let stop_max = options.stop_max;
    Order { pid, start_ticks, work: Work::Stop, instruction: 0, stop_max }
}

/// The syscall instruction to clone with, if it may be done.
fn prepare_fork(pid: u32, options: &Options) -> Result<u64, CaptureError> {
    preflight::may_be_cloned(pid, options)?;
    code::find_instruction(pid).ok_or_else(|| CaptureError::Refused {
        pid,
        reason: "no system call instruction was found in its code".to_owned(),
        advice: None,
    })
}

fn check_space(pid: u32, options: &Options) -> Result<(), CaptureError> {
    let memory = signals::process(pid, false);
    let needed = memory.rss_bytes.unwrap_or(0).saturating_add(memory.swap_bytes.unwrap_or(0));
    match scratch::free_bytes(&options.scratch_dir) {
        Some(free) if free < needed => {
            let (needed, free) = (model::Bytes(needed), model::Bytes(free));
            let source = io::Error::new(
                io::ErrorKind::StorageFull,
                format!("its memory is {needed} and {free} are free"),
            );
            Err(CaptureError::Io { path: options.scratch_dir.display().to_string(), cause: source })
        }
        _ => Ok(()),
    }
}

fn read_only(
    pid: u32,
    start_ticks: u64,
    options: &Options,
    progress: &mut Progress<'_>,
) -> Result<Frozen, CaptureError> {
    let copied = copy::memory(pid, &options.scratch_dir, progress)?;
    let frozen = frozen(pid, Method::ReadOnly, copied);
    match signals::start_ticks(pid) == Some(start_ticks) {
        true => Ok(frozen),
        false => Err(CaptureError::Ended(pid)),
    }
}

fn frozen(pid: u32, method: Method, copied: Copied) -> Frozen {
    let mut warnings = Vec::new();
    if copied.unreadable_bytes > 0 {
        let bytes = model::Bytes(copied.unreadable_bytes);
        warnings.push(format!("{bytes} of its memory could not be read and count as zero"));
    }
    Frozen {
        pid,
        method,
        time: crate::now(),
        pause: Duration::ZERO,
        second_pause: Duration::ZERO,
        clone_age: Duration::ZERO,
        threads: Vec::new(),
        mappings: copied.mappings.clone(),
        auxv: fs::read(format!("/proc/{pid}/auxv")).unwrap_or_default(),
        copied_bytes: copied.bytes,
        unreadable_bytes: copied.unreadable_bytes,
        left_out_bytes: copied.left_out_bytes,
        warnings,
        libraries: Libraries::of_process(pid, &copied.mappings),
        copied,
    }
}

/// Takes the snapshot with a tracer, and cleans up after one that was killed.
fn trace(
    order: &Order,
    options: &Options,
    progress: &mut Progress<'_>,
) -> Result<Frozen, CaptureError> {
    let result = trace_once(order, options, progress);
    if order.work != Work::Fork {
        return Ok(result?.0);
    }
    let is_clean = result.as_ref().is_ok_and(|(_, released)| released.is_reaped);
    let is_lost = matches!(&result, Err(CaptureError::Refused { reason, .. }) if reason == LOST);
    let is_clean = is_clean || reap_left_behind(order, is_lost);
    let (mut frozen, _) = result?;
    if !is_clean {
        let text = "a clone could not be reaped: it stays as a zombie until the next snapshot";
        frozen.warnings.push(text.to_owned());
    }
    Ok(frozen)
}

/// Lets a tracer stop the target, copies, and lets the tracer undo it all.
fn trace_once(
    order: &Order,
    options: &Options,
    progress: &mut Progress<'_>,
) -> Result<(Frozen, Released), CaptureError> {
    let pid = order.pid;
    let mut tracer = Tracer::start(order)?;
    let report = match tracer.read(pid)? {
        Report::Frozen(report) => report,
        Report::Failed(failure) => return Err(failure_of(pid, failure)),
        Report::Released(_) => return Err(tracer_lost(pid)),
    };
    let (begun, time) = (Instant::now(), crate::now());
    let (method, source) = match order.work {
        Work::Fork => (Method::Fork, report.clone),
        _ => (Method::Stop, pid),
    };
    let copied = copy::memory(source, &options.scratch_dir, &mut |done, total| {
        tracer.still_copying();
        progress(done, total);
    });
    let copying = begun.elapsed();
    let released = tracer.release(pid)?;
    if !released.is_intact {
        return Err(killed(order));
    }
    let mut frozen = frozen(pid, method, copied?);
    let machine = if cfg!(target_arch = "x86_64") { 62 } else { 183 };
    let registers = |(tid, bytes): &(u32, Vec<u8>)| thread_registers(machine, *tid, bytes);
    frozen.threads = report.threads.iter().filter_map(registers).collect();
    frozen.time = time;
    match method {
        Method::Fork => {
            (frozen.pause, frozen.second_pause) = (report.pause, released.pause);
            frozen.clone_age = copying;
        }
        _ => frozen.pause = released.pause,
    }
    Ok((frozen, released))
}

/// Lets a tracer reap clones in the target whose own tracer was killed, if there are any;
/// reports whether none is left.
fn reap_left_behind(order: &Order, is_lost: bool) -> bool {
    let mut work = if is_lost { Work::ReapAfterLoss } else { Work::Reap };
    for _ in 0..4 {
        if work == Work::Reap && clone::Clone::left_behind(order).is_empty() {
            return true;
        }
        let tracer = Tracer::start(&Order { work, ..order.clone() });
        let report = tracer.and_then(|mut tracer| tracer.read(order.pid));
        if matches!(report, Ok(Report::Released(_))) {
            work = Work::Reap;
        }
    }
    clone::Clone::left_behind(order).is_empty()
}

fn killed(order: &Order) -> CaptureError {
    if order.work != Work::Fork {
        return CaptureError::Ended(order.pid);
    }
    CaptureError::Refused {
        pid: order.pid,
        reason: "the clone was killed while it was copied, perhaps for want of memory".to_owned(),
        advice: Some("stop the target while it is copied instead (--stop)"),
    }
}

fn failure_of(pid: u32, failure: link::Failure) -> CaptureError {
    match failure.kind {
        FailureKind::Gone => CaptureError::Ended(pid),
        FailureKind::Denied => CaptureError::Denied { pid, what: preflight::DENIED },
        FailureKind::Refused => CaptureError::Refused { pid, reason: failure.text, advice: None },
    }
}

const LOST: &str = "the tracing process was killed; the kernel has let the target go";

fn tracer_lost(pid: u32) -> CaptureError {
    CaptureError::Refused { pid, reason: LOST.to_owned(), advice: None }
}

/// The process that traces, as memsight sees it. When it is dropped it undoes what it
/// did and ends.
struct Tracer {
    process: libc::pid_t,
    link: UnixStream,
    told: Instant,
}

impl Tracer {
    fn start(order: &Order) -> Result<Tracer, CaptureError> {
        let failed =
            |source| CaptureError::Io { path: "tracing process".to_owned(), cause: source };
        let (ours, theirs) = UnixStream::pair().map_err(failed)?;
        let mask = block_signals();
        // SAFETY: in the child only the one thread goes on; it takes no lock, see
        // `tracer`, and leaves by _exit.
        let process = unsafe { libc::fork() };
        if process == 0 {
            drop(ours);
            tracer::settle_in(&theirs);
            let run = std::panic::AssertUnwindSafe(|| tracer::main(order, theirs));
            let status = std::panic::catch_unwind(run).unwrap_or(1);
            // SAFETY: ends the process without running anything of the parent's.
            unsafe { libc::_exit(status) }
        }
        let error = io::Error::last_os_error();
        restore_signals(&mask);
        match process {
            -1 => Err(failed(error)),
            process => Ok(Tracer { process, link: ours, told: Instant::now() }),
        }
    }

    fn read(&mut self, pid: u32) -> Result<Report, CaptureError> {
        Report::read(&mut self.link).map_err(|_| tracer_lost(pid))
    }

    /// Tells the tracer, once a second, that we are alive.
    fn still_copying(&mut self) {
        if self.told.elapsed() > Duration::from_secs(1) {
            self.told = Instant::now();
            let _ = self.link.write_all(&[link::ALIVE]);
        }
    }

    fn release(mut self, pid: u32) -> Result<Released, CaptureError> {
        let _ = self.link.write_all(&[link::DONE]);
        match self.read(pid)? {
            Report::Released(released) => Ok(released),
            Report::Failed(failure) => Err(failure_of(pid, failure)),
            Report::Frozen(_) => Err(tracer_lost(pid)),
        }
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // It ends when this link does, even if a copy of the link is still open.
        let _ = self.link.shutdown(std::net::Shutdown::Both);
        let mut status = 0;
        // SAFETY: waits for our own child; the kernel writes one int. Where SIGCHLD is
        // ignored there is nothing to wait for, and that is fine, too.
        unsafe {
            while libc::waitpid(self.process, &mut status, 0) == -1
                && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted
            {}
        }
    }
}

fn block_signals() -> libc::sigset_t {
    // SAFETY: both sets are initialised, by sigfillset and by the kernel.
    unsafe {
        let (mut all, mut before) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
        before
    }
}

fn restore_signals(mask: &libc::sigset_t) {
    // SAFETY: the mask this thread had before.
    unsafe {
        libc::pthread_sigmask(libc::SIG_SETMASK, mask, std::ptr::null_mut());
    }
}
