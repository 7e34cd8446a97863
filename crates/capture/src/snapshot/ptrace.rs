//! ptrace, as far as a snapshot needs it: one thread at a time, every wait with a
//! deadline.
//!
//! Used only in the tracer process, whose children are the traced threads and nothing
//! else, and which has every signal blocked.

use std::io;
use std::time::{Duration, Instant};

/// A thread id as the kernel's calls take it.
pub(super) type Tid = libc::pid_t;

/// The registers of a thread as the kernel hands them out (NT_PRSTATUS).
#[cfg(target_arch = "x86_64")]
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Registers {
    pub(super) r15_to_rbx: [u64; 6],
    pub(super) r11: u64,
    pub(super) r10: u64,
    pub(super) r9: u64,
    pub(super) r8: u64,
    pub(super) rax: u64,
    pub(super) rcx: u64,
    pub(super) rdx: u64,
    pub(super) rsi: u64,
    pub(super) rdi: u64,
    pub(super) orig_rax: u64,
    pub(super) rip: u64,
    pub(super) cs: u64,
    pub(super) eflags: u64,
    pub(super) rsp: u64,
    pub(super) ss: u64,
    pub(super) fs_base: u64,
    pub(super) gs_base: u64,
    pub(super) segments: [u64; 4],
}

/// The registers of a thread as the kernel hands them out (NT_PRSTATUS).
#[cfg(not(target_arch = "x86_64"))]
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Registers {
    /// x0 to x30, sp, pc, pstate.
    pub(super) words: [u64; 34],
}

#[cfg(not(target_arch = "x86_64"))]
impl Default for Registers {
    fn default() -> Registers {
        Registers { words: [0; 34] }
    }
}

impl Registers {
    /// The bytes as a core file would hold them.
    pub(super) fn bytes(&self) -> &[u8] {
        let len = std::mem::size_of::<Registers>();
        // SAFETY: the struct consists of u64s only, so all its bytes are initialised.
        unsafe { std::slice::from_raw_parts(std::ptr::from_ref(self).cast(), len) }
    }
}

/// Why a traced thread stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// PTRACE_INTERRUPT, or the first stop of a new child; with the signal that stops
    /// its whole process, if one does.
    Trap(Option<i32>),
    /// A signal is about to be delivered.
    Signal(i32),
    /// At the entry or exit of a system call.
    Syscall,
    /// A new child or thread.
    Clone,
    /// Any other event.
    Other,
    /// It has ended.
    Ended,
}

const NT_PRSTATUS: usize = 1;

fn request(request: libc::c_uint, tid: Tid, addr: usize, data: usize) -> io::Result<()> {
    // SAFETY: the requests used in this file write no memory of ours but what the
    // caller's `data` points to, which outlives the call.
    let result = unsafe { libc::ptrace(request as _, tid, addr, data) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Begins to trace a thread without stopping it.
pub(super) fn seize(tid: Tid) -> io::Result<()> {
    request(libc::PTRACE_SEIZE as _, tid, 0, libc::PTRACE_O_TRACESYSGOOD as usize)
}

/// Asks a thread to stop.
pub(super) fn interrupt(tid: Tid) -> io::Result<()> {
    request(libc::PTRACE_INTERRUPT as _, tid, 0, 0)
}

/// Lets a stopped thread run.
pub(super) fn resume(tid: Tid) -> io::Result<()> {
    request(libc::PTRACE_CONT as _, tid, 0, 0)
}

/// Lets a stopped thread run to the next entry or exit of a system call.
pub(super) fn resume_to_syscall(tid: Tid) -> io::Result<()> {
    request(libc::PTRACE_SYSCALL as _, tid, 0, 0)
}

/// Stops tracing; the thread goes on, with `signal` delivered if it is not 0.
pub(super) fn detach(tid: Tid, signal: i32) -> io::Result<()> {
    request(libc::PTRACE_DETACH as _, tid, 0, signal as usize)
}

/// Sets the options of a stopped thread.
pub(super) fn set_options(tid: Tid, options: libc::c_int) -> io::Result<()> {
    let options = options | libc::PTRACE_O_TRACESYSGOOD;
    request(libc::PTRACE_SETOPTIONS as _, tid, 0, options as usize)
}

/// The child or thread a clone event is about.
pub(super) fn new_child(tid: Tid) -> io::Result<Tid> {
    let mut message: libc::c_ulong = 0;
    request(libc::PTRACE_GETEVENTMSG as _, tid, 0, std::ptr::from_mut(&mut message) as usize)?;
    Tid::try_from(message).map_err(io::Error::other)
}

/// The registers of a stopped thread.
pub(super) fn registers(tid: Tid) -> io::Result<Registers> {
    let mut registers = Registers::default();
    let mut vector = libc::iovec {
        iov_base: std::ptr::from_mut(&mut registers).cast(),
        iov_len: std::mem::size_of::<Registers>(),
    };
    let data = std::ptr::from_mut(&mut vector) as usize;
    request(libc::PTRACE_GETREGSET as _, tid, NT_PRSTATUS, data)?;
    Ok(registers)
}

/// Sets the registers of a stopped thread.
pub(super) fn set_registers(tid: Tid, registers: &Registers) -> io::Result<()> {
    let mut copy = *registers;
    let mut vector = libc::iovec {
        iov_base: std::ptr::from_mut(&mut copy).cast(),
        iov_len: std::mem::size_of::<Registers>(),
    };
    let data = std::ptr::from_mut(&mut vector) as usize;
    request(libc::PTRACE_SETREGSET as _, tid, NT_PRSTATUS, data)
}

/// What a thread has to report now, if anything; `tid` -1 asks all of them.
pub(super) fn poll(tid: Tid) -> io::Result<Option<(Tid, Stop)>> {
    let mut status = 0;
    // SAFETY: the kernel writes one int to `status`.
    let found = unsafe { libc::waitpid(tid, &mut status, libc::__WALL | libc::WNOHANG) };
    match found {
        0 => Ok(None),
        -1 => Err(io::Error::last_os_error()),
        found => Ok(Some((found, stop_of(status)))),
    }
}

/// Waits until a thread reports something; `tid` -1 means any.
///
/// # Errors
/// `TimedOut` at the deadline; ECHILD when there is nothing to wait for.
pub(super) fn wait(tid: Tid, deadline: Instant) -> io::Result<(Tid, Stop)> {
    loop {
        if let Some(found) = poll(tid)? {
            return Ok(found);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        sleep_until_child(left);
    }
}

/// Sleeps until some child changes its state. SIGCHLD is blocked, so that one which came
/// between looking and sleeping ends the sleep at once.
pub(super) fn sleep_until_child(longest: Duration) {
    // One signal may stand for several children, of whom another call has seen some:
    // never sleep long on the strength of it.
    let time = libc::timespec {
        tv_sec: 0,
        tv_nsec: longest.min(Duration::from_millis(20)).subsec_nanos().into(),
    };
    // SAFETY: `set` is initialised by sigemptyset; no siginfo is asked for.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGCHLD);
        libc::sigtimedwait(&set, std::ptr::null_mut(), &time);
    }
}

fn stop_of(status: i32) -> Stop {
    if !libc::WIFSTOPPED(status) {
        return Stop::Ended;
    }
    let signal = libc::WSTOPSIG(status);
    match status >> 16 {
        libc::PTRACE_EVENT_STOP if signal == libc::SIGTRAP => Stop::Trap(None),
        libc::PTRACE_EVENT_STOP => Stop::Trap(Some(signal)),
        libc::PTRACE_EVENT_CLONE | libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK => {
            Stop::Clone
        }
        0 if signal == libc::SIGTRAP | 0x80 => Stop::Syscall,
        0 => Stop::Signal(signal),
        _ => Stop::Other,
    }
}
