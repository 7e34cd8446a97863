//! What memsight and the tracer say to each other, over a socket pair.
//!
//! Memsight sends [`ALIVE`] while it copies and [`DONE`] at the end; its own end, by
//! which the kernel closes the socket, means the same as [`DONE`].

use std::io::{self, Read};
use std::time::Duration;

/// Memsight still copies.
pub(super) const ALIVE: u8 = b'a';
/// Memsight has all it wants.
pub(super) const DONE: u8 = b'd';

/// No process has more threads than this (kernel.pid_max is at most 4 Mi), and no
/// machine more registers.
const MESSAGE_BYTES_MAX: usize = 4 << 30;

/// What to do with a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Clone it and let it go on.
    Fork,
    /// Stop it for the copy.
    Stop,
    /// Reap clones that were left behind.
    Reap,
    /// The same, right after a tracer was lost: a clone may be in the making.
    ReapAfterLoss,
}

/// What the tracer is to do.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) pid: u32,
    pub(super) start_ticks: u64,
    pub(super) work: Work,
    /// A syscall instruction in its code; 0 when none is needed.
    pub(super) instruction: u64,
    /// How long its threads may take to stop.
    pub(super) stop_max: Duration,
}

/// The target, or its clone, stands still.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frozen {
    /// The clone; 0 when the target itself stands still.
    pub(super) clone: u32,
    /// How long the target stood still, where it runs again.
    pub(super) pause: Duration,
    /// Thread ids and their NT_PRSTATUS registers.
    pub(super) threads: Vec<(u32, Vec<u8>)>,
}

/// All is undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Released {
    /// The stop for reaping the clone, or the whole stop where there was no clone.
    pub(super) pause: Duration,
    /// Nobody killed it while it was held.
    pub(super) is_intact: bool,
    /// No zombie is left in the target.
    pub(super) is_reaped: bool,
}

/// Why the tracer did not do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FailureKind {
    Gone,
    Denied,
    Refused,
}

/// That the tracer did not do it; the target runs as before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) kind: FailureKind,
    pub(super) text: String,
}

impl Failure {
    pub(super) fn gone() -> Failure {
        Failure { kind: FailureKind::Gone, text: String::new() }
    }

    pub(super) fn of_ptrace(error: io::Error) -> Failure {
        match error.raw_os_error() {
            Some(libc::ESRCH | libc::ECHILD) => Failure::gone(),
            Some(libc::EPERM) => Failure { kind: FailureKind::Denied, text: String::new() },
            _ => Failure { kind: FailureKind::Refused, text: format!("ptrace: {error}") },
        }
    }
}

/// What the tracer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Report {
    Frozen(Frozen),
    Released(Released),
    Failed(Failure),
}

impl Report {
    /// The message: its length, its kind, its fields.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut body = Vec::new();
        match self {
            Report::Frozen(frozen) => {
                body.push(0);
                body.extend(frozen.clone.to_le_bytes());
                body.extend(nanos(frozen.pause).to_le_bytes());
                for (tid, registers) in &frozen.threads {
                    body.extend(tid.to_le_bytes());
                    body.extend((registers.len() as u32).to_le_bytes());
                    body.extend(registers);
                }
            }
            Report::Released(released) => {
                body.push(1);
                body.extend(nanos(released.pause).to_le_bytes());
                body.extend([u8::from(released.is_intact), u8::from(released.is_reaped)]);
            }
            Report::Failed(failure) => {
                body.push(2 + failure.kind as u8);
                body.extend(failure.text.as_bytes());
            }
        }
        let mut message = (body.len() as u64).to_le_bytes().to_vec();
        message.extend(body);
        message
    }

    /// Reads one message.
    pub(super) fn read(link: &mut impl Read) -> io::Result<Report> {
        let mut len = [0; 8];
        link.read_exact(&mut len)?;
        let len = usize::try_from(u64::from_le_bytes(len)).map_err(io::Error::other)?;
        if len > MESSAGE_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut body = vec![0; len];
        link.read_exact(&mut body)?;
        parse(&body).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn parse(body: &[u8]) -> Option<Report> {
    let (kind, mut rest) = body.split_first()?;
    let rest = &mut rest;
    Some(match kind {
        0 => {
            let clone = u32::from_le_bytes(take(rest)?);
            let pause = Duration::from_nanos(u64::from_le_bytes(take(rest)?));
            let mut threads = Vec::new();
            while !rest.is_empty() {
                let tid = u32::from_le_bytes(take(rest)?);
                let len = u32::from_le_bytes(take(rest)?) as usize;
                let (registers, later) = rest.split_at_checked(len)?;
                *rest = later;
                threads.push((tid, registers.to_vec()));
            }
            Report::Frozen(Frozen { clone, pause, threads })
        }
        1 => {
            let pause = Duration::from_nanos(u64::from_le_bytes(take(rest)?));
            let [is_intact, is_reaped] = take::<2>(rest)?.map(|byte| byte != 0);
            Report::Released(Released { pause, is_intact, is_reaped })
        }
        kind => {
            let kind = match kind {
                2 => FailureKind::Gone,
                3 => FailureKind::Denied,
                _ => FailureKind::Refused,
            };
            let text = String::from_utf8_lossy(rest).into_owned();
            Report::Failed(Failure { kind, text })
        }
    })
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, later) = bytes.split_first_chunk::<N>()?;
    *bytes = later;
    Some(*first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_the_link_and_short_ones_are_refused() {
        let threads = vec![(7, vec![1, 2, 3]), (8, Vec::new())];
        let pause = Duration::from_nanos(123_456_789);
        let reports = [
            Report::Frozen(Frozen { clone: 42, pause, threads }),
            Report::Released(Released { pause, is_intact: true, is_reaped: false }),
            Report::Failed(Failure { kind: FailureKind::Refused, text: "why".to_owned() }),
            Report::Failed(Failure::gone()),
        ];
        for report in reports {
            let bytes = report.to_bytes();
            assert_eq!(Report::read(&mut &bytes[..]).unwrap(), report);
            assert!(Report::read(&mut &bytes[..bytes.len() - 1]).is_err());
        }
    }
}
