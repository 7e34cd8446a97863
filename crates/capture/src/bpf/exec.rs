//! Processes that come and go, with the most memory that each held. Three tracepoints; a few
//! microseconds for each process of the machine.

use std::time::Duration;

use aya::include_bytes_aligned;
use model::Bytes;
use model::probe::{ProbeCounts, ProcessChange, ProcessEnd, ProcessEvent};

use super::object::Object;
use super::record::{self, ExecRecord, ExitRecord, ForkRecord, text, wall};
use super::support::{self, Need};
use crate::error::CaptureError;

/// Names the probe in errors.
const PROBE: &str = "probe exec";
/// Some 2,000 processes that nobody has looked at yet.
const RING_BYTES: u32 = 1 << 20;

static OBJECT: &[u8] = include_bytes_aligned!("programs/exec.bpf.o");

/// The probe; it sees every process of the machine while it is there.
pub struct ExecProbe {
    object: Object,
    page_bytes: u64,
}

impl ExecProbe {
    /// Begins to look.
    ///
    /// # Errors
    /// When the kernel cannot do it or does not let us; the message says which privilege or option
    /// is missing.
    pub fn open() -> Result<ExecProbe, CaptureError> {
        support::check_namespace(PROBE)?;
        let mut object = Object::load(PROBE, Need::Kernel, OBJECT, RING_BYTES, &[])?;
        // Ends first: whose beginning is told has an end that is told.
        object.trace("process_exit", "sched_process_exit")?;
        object.trace("process_exec", "sched_process_exec")?;
        object.trace("process_fork", "sched_process_fork")?;
        object.all_is_traced();
        Ok(ExecProbe { object, page_bytes: rustix::param::page_size() as u64 })
    }

    /// Waits at most so long, and hands over what happened since the last call.
    pub fn read(&mut self, timeout: Duration, mut take: impl FnMut(ProcessEvent)) {
        let page_bytes = self.page_bytes;
        self.object.read(timeout, |bytes| {
            if let Some(event) = event(bytes, page_bytes) {
                take(event);
            }
        });
    }

    /// What was told and what not.
    pub fn counts(&self) -> ProbeCounts {
        self.object.counts()
    }
}

fn event(bytes: &[u8], page_bytes: u64) -> Option<ProcessEvent> {
    let (pid, nanos, comm, change) = match record::kind(bytes) {
        record::KIND_EXEC => {
            let record: ExecRecord = record::read(bytes);
            let command =
                &record.command[..(record.command_bytes as usize).min(record::COMMAND_MAX)];
            let arguments = command.strip_suffix(&[0]).unwrap_or(command).split(|byte| *byte == 0);
            let arguments = arguments.map(|part| String::from_utf8_lossy(part).into_owned());
            let change = ProcessChange::Executed {
                parent: record.parent,
                path: text(&record.path),
                arguments: arguments.collect(),
            };
            (record.tgid, record.nanos, record.comm, change)
        }
        record::KIND_FORK => {
            let record: ForkRecord = record::read(bytes);
            (
                record.tgid,
                record.nanos,
                record.comm,
                ProcessChange::Forked { parent: record.parent },
            )
        }
        record::KIND_EXIT => {
            let record: ExitRecord = record::read(bytes);
            let change = ProcessChange::Exited {
                lived: Duration::from_nanos(record.nanos.saturating_sub(record.started_nanos)),
                peak_rss: Bytes(record.peak_pages.saturating_mul(page_bytes)),
                end: ProcessEnd::of_status(record.status),
            };
            (record.tgid, record.nanos, record.comm, change)
        }
        _ => return None,
    };
    Some(ProcessEvent { time: wall(nanos), pid, name: text(&comm), change })
}
