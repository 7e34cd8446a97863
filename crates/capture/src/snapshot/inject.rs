//! One system call made by a stopped thread that is not ours.
//!
//! Nothing is written to the target's memory: the call is made by a syscall instruction
//! that is there already. From the moment the registers are changed until they are back,
//! the thread stands on our instruction, and if the tracer were killed in between it
//! would go on from there. Where the thread is one that idles in `runtime.futex` (most Go
//! programs have several), even that is harmless: the call is made at the futex call's
//! own instruction, the runtime ignores what that returns and expects to wake up for no
//! reason. Only in other threads is there a window: the length of the one system call.

use std::io;
use std::time::{Duration, Instant};

use super::ptrace::{self, Registers, Stop, Tid};

/// What a thread was doing when it was stopped, as far as injecting goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// It waits in `runtime.futex`.
    IdleInGo,
    /// It is in another system call; the kernel restarts that by the registers.
    Syscall,
    /// It runs its own code, maybe within a restartable sequence: last choice.
    User,
}

/// A system call to be made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    /// Address of a syscall instruction.
    pub(super) at: u64,
    /// Number of the call.
    pub(super) number: libc::c_long,
    /// Its arguments.
    pub(super) arguments: [u64; 5],
}

/// What came of an injected call. The thread is stopped, with its own registers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outcome {
    /// What the call returned; `None` when a signal came before it began.
    pub(super) value: Option<i64>,
    /// The child it made.
    pub(super) child: Option<Tid>,
    /// How the thread is stopped now.
    pub(super) stop: Stop,
}

/// Until the thread stands where we want it. It is running: there is no giving up.
const PATIENCE: Duration = Duration::from_secs(100);

/// `syscall; movl %eax, N(%rsp); ret`: the end of `runtime.futex` and of others of the
/// runtime's calls. Only the return value follows, no register is expected to be kept.
pub(super) fn is_runtime_call(code: &[u8]) -> bool {
    matches!(code, [0x0f, 0x05, 0x89, 0x44, 0x24, _, 0xc3, ..])
}

#[cfg(target_arch = "x86_64")]
impl Registers {
    /// Where the thread is. `code` reads seven bytes of its code.
    pub(super) fn place(&self, code: impl FnOnce(u64) -> Option<[u8; 7]>) -> Place {
        if self.orig_rax.cast_signed() < 0 {
            return Place::User;
        }
        let is_futex = self.orig_rax.cast_signed() == libc::SYS_futex;
        let code = if is_futex { code(self.rip.wrapping_sub(2)) } else { None };
        match code {
            Some(code) if is_runtime_call(&code) => Place::IdleInGo,
            _ => Place::Syscall,
        }
    }

    /// The syscall instruction the thread stands behind.
    pub(super) fn own_instruction(&self) -> u64 {
        self.rip.wrapping_sub(2)
    }

    /// 64-bit code: the system call numbers are those we know.
    pub(super) fn is_supported(&self) -> bool {
        self.cs == 0x33
    }

    fn with_call(&self, call: &Call) -> Registers {
        let [rdi, rsi, rdx, r10, r8] = call.arguments;
        // No system call is under way: the kernel must not restart the interrupted one
        // at our instruction.
        let orig_rax = u64::MAX;
        let rax = call.number.cast_unsigned();
        Registers { rip: call.at, rax, orig_rax, rdi, rsi, rdx, r10, r8, ..*self }
    }

    fn returned(&self) -> i64 {
        self.rax.cast_signed()
    }

    /// Equal but for the flags, of which the kernel keeps some for itself.
    fn is_same(&self, other: &Registers) -> bool {
        Registers { eflags: other.eflags, ..*self } == *other
    }
}

#[cfg(not(target_arch = "x86_64"))]
impl Registers {
    pub(super) fn place(&self, _code: impl FnOnce(u64) -> Option<[u8; 7]>) -> Place {
        Place::User
    }

    pub(super) fn own_instruction(&self) -> u64 {
        0
    }

    pub(super) fn is_supported(&self) -> bool {
        false
    }

    fn with_call(&self, _call: &Call) -> Registers {
        *self
    }

    fn returned(&self) -> i64 {
        -i64::from(libc::ENOSYS)
    }

    fn is_same(&self, other: &Registers) -> bool {
        self == other
    }
}

/// Lets the stopped thread `tid`, whose registers are `saved`, make one system call.
///
/// # Errors
/// When the thread was killed meanwhile.
pub(super) fn run(tid: Tid, saved: &Registers, call: &Call) -> io::Result<Outcome> {
    ptrace::set_registers(tid, &saved.with_call(call))?;
    let mut child = None;
    let made = make_call(tid, &mut child);
    // Whatever happened: first of all its own registers.
    let restored = ptrace::set_registers(tid, saved);
    match back_to_trap(tid, saved, made, restored) {
        Ok((value, stop)) => Ok(Outcome { value, child, stop }),
        Err(error) => {
            // The target was killed; its clone must not outlive us.
            if let Some(child) = child {
                // SAFETY: our own traced child, which nobody can have reaped yet.
                unsafe { libc::kill(child, libc::SIGKILL) };
            }
            Err(error)
        }
    }
}

/// From the exit of the call to a stop from which an interrupted call is restarted.
fn back_to_trap(
    tid: Tid,
    saved: &Registers,
    made: io::Result<Made>,
    restored: io::Result<()>,
) -> io::Result<Made> {
    let (value, stop) = made?;
    restored?;
    if value.is_none() {
        return Ok((value, stop));
    }
    // The thread is at the exit of a system call. An interrupted call of its own is
    // restarted on the way out of a signal stop only: go there.
    ptrace::interrupt(tid)?;
    ptrace::resume(tid)?;
    let (_, stop) = ptrace::wait(tid, Instant::now() + PATIENCE)?;
    if !ptrace::registers(tid)?.is_same(saved) {
        ptrace::set_registers(tid, saved)?;
    }
    Ok((value, stop))
}

/// What the call returned, if it was made, and how the thread is stopped.
type Made = (Option<i64>, Stop);

/// Resumes until the exit of the call, or until a signal comes before its entry.
fn make_call(tid: Tid, child: &mut Option<Tid>) -> io::Result<Made> {
    let mut has_entered = false;
    loop {
        ptrace::resume_to_syscall(tid)?;
        let (_, stop) = ptrace::wait(tid, Instant::now() + PATIENCE)?;
        match stop {
            Stop::Syscall if has_entered => {
                let value = ptrace::registers(tid)?.returned();
                return Ok((Some(value), stop));
            }
            Stop::Syscall => has_entered = true,
            Stop::Clone => *child = Some(ptrace::new_child(tid)?),
            Stop::Ended => return Err(io::Error::from_raw_os_error(libc::ESRCH)),
            Stop::Signal(_) if !has_entered => return Ok((None, stop)),
            Stop::Signal(_) | Stop::Trap(_) | Stop::Other => {}
        }
    }
}
