//! Calls that change the mappings of a process: mmap, munmap, brk, mremap, mprotect, and madvise where
//! it gives memory back.
//!
//! The kernel has programs for all system calls of the machine or for none, so that every one of any
//! process costs a comparison while the probe is there. System V shared memory (shmat) is not told.

use std::collections::HashMap;
use std::fs;
use std::ops::Range;
use std::time::Duration;

use aya::include_bytes_aligned;
use decode::procfs;
use model::Addr;
use model::probe::{MappingCall, MappingChange, MonotonicNanos, ProbeCounts};

use super::object::Object;
use super::record::{self, CallRecord};
use super::stacks;
use super::support::{self, Need};
use super::unwinding::Unwinding;
use crate::error::CaptureError;
use crate::names::ProcessNames;

const PROBE: &str = "probe mmap";
/// Some 45,000 calls.
const RING_BYTES: u32 = 4 << 20;

static OBJECT: &[u8] = include_bytes_aligned!("programs/mmap.bpf.o");

/// Numbers of system calls on x86-64.
const MMAP: u32 = 9;
const MPROTECT: u32 = 10;
const MUNMAP: u32 = 11;
const BRK: u32 = 12;
const MREMAP: u32 = 25;
const MADVISE: u32 = 28;
const EXECVE: u32 = 59;
const EXECVEAT: u32 = 322;
const PKEY_MPROTECT: u32 = 329;

/// Flags of the kernel's interface (linux/mman.h).
const MAP_HUGETLB: u64 = 0x40000;
const MAP_HUGE_SHIFT: u32 = 26;
const MREMAP_DONTUNMAP: u64 = 4;
/// The size of huge pages where a call does not say it.
const HUGE_BYTES_LOG2: u32 = 21;

/// The probe; it tells of the processes that it was told of.
pub struct MmapProbe {
    object: Object,
    unwinding: Unwinding,
    page_bytes: u64,
    stacks: HashMap<u64, Vec<Addr>>,
}

/// A mapping, and whether nothing may access it.
pub type Mapped = (Range<Addr>, bool);

impl MmapProbe {
    /// Begins to look, at no process yet. Stacks of the one that is named are unwound by what its
    /// files say, those of others by frame pointers.
    ///
    /// # Errors
    /// When the kernel cannot do it or does not let us; the message says which privilege or option
    /// is missing.
    pub fn open(names: &ProcessNames) -> Result<MmapProbe, CaptureError> {
        support::check_namespace(PROBE)?;
        let mut unwinding = Unwinding::of(names);
        let tables = [("rows", unwinding.rows_max())];
        let mut object = Object::load(PROBE, Need::Kernel, OBJECT, RING_BYTES, &tables)?;
        unwinding.write(&mut object, names)?;
        object.trace("call_ends", "sys_exit")?;
        let page_bytes = rustix::param::page_size() as u64;
        Ok(MmapProbe { object, unwinding, page_bytes, stacks: HashMap::new() })
    }

    /// Whether it works here.
    pub(super) fn check() -> Result<(), CaptureError> {
        support::check_namespace(PROBE)?;
        let mut object = Object::load(PROBE, Need::Kernel, OBJECT, RING_BYTES, &[])?;
        object.trace("call_ends", "sys_exit")
    }

    /// Begins to look at a process, and returns what is mapped there. Calls between the two are in
    /// both, which comes to the same.
    ///
    /// # Errors
    /// When there is no such process, its mappings may not be read, it is a 32-bit program, whose
    /// system calls have other numbers, or there are too many processes.
    pub fn attach(&mut self, pid: u32) -> Result<Vec<Mapped>, CaptureError> {
        if is_32_bit(pid) {
            return Err(CaptureError::Unsupported(format!("process {pid} is a 32-bit program")));
        }
        let mut targets = self.object.table::<u32, u64>("targets");
        targets.insert(pid, brk(pid), 0).map_err(|error| CaptureError::Probe {
            probe: PROBE,
            reason: format!("process {pid} cannot be added: {error}"),
        })?;
        mapped(pid).inspect_err(|_| self.detach(pid))
    }

    /// Takes in which libraries were loaded meanwhile.
    ///
    /// # Errors
    /// When the kernel's tables cannot be written.
    pub fn refresh(&mut self, names: &ProcessNames) -> Result<(), CaptureError> {
        self.unwinding.write(&mut self.object, names)
    }

    /// No longer looks at a process.
    pub fn detach(&mut self, pid: u32) {
        // It may not have been attached.
        let _ = self.object.table::<u32, u64>("targets").remove(&pid);
    }

    /// Waits at most so long, and hands over what happened since the last call.
    pub fn read(&mut self, timeout: Duration, mut take: impl FnMut(MappingCall)) {
        let mut records: Vec<CallRecord> = Vec::new();
        self.object.read(timeout, |bytes| {
            if record::kind(bytes) == record::KIND_CALL {
                records.push(record::read(bytes));
            }
        });
        for record in &records {
            let Some(change) = change(record, self.page_bytes) else { continue };
            let frames = || stacks::frames(&mut self.object, record.stack);
            let stack = self.stacks.entry(record.stack).or_insert_with(frames).clone();
            take(MappingCall {
                time: MonotonicNanos(record.nanos),
                pid: record.tgid,
                thread: record.tid,
                change,
                stack,
            });
        }
    }

    /// What was told and what not.
    pub fn counts(&self) -> ProbeCounts {
        self.object.counts()
    }
}

/// What is mapped in a process.
///
/// # Errors
/// When there is no such process or its mappings may not be read.
pub fn mapped(pid: u32) -> Result<Vec<Mapped>, CaptureError> {
    let path = format!("/proc/{pid}/maps");
    let text = fs::read_to_string(&path);
    let text = text.map_err(|error| CaptureError::from_io(pid, path, error))?;
    let mapped = procfs::maps(&text).into_iter().map(|mapping| {
        let is_reserved = mapping.permissions.starts_with("---");
        (Addr(mapping.start)..Addr(mapping.end), is_reserved)
    });
    Ok(mapped.collect())
}

/// Where the heap of brk ends; 0 when it has none yet.
fn brk(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    let heap = procfs::maps(&text).into_iter().find(|mapping| mapping.path == "[heap]");
    heap.map_or(0, |heap| heap.end)
}

fn is_32_bit(pid: u32) -> bool {
    use std::io::Read;
    let mut head = [0; 5];
    let file = fs::File::open(format!("/proc/{pid}/exe"));
    file.and_then(|mut file| file.read_exact(&mut head)).is_ok() && head == *b"\x7fELF\x01"
}

/// What a call that succeeded has changed.
fn change(record: &CallRecord, page_bytes: u64) -> Option<MappingChange> {
    let [first, second, third, fourth, _] = record.arguments;
    let rounded = |bytes: u64, unit: u64| bytes.checked_next_multiple_of(unit).unwrap_or(bytes);
    let pages = |start: u64, bytes: u64| {
        Addr(start)..Addr(start.saturating_add(rounded(bytes, page_bytes)))
    };
    Some(match record.number {
        MMAP => {
            let log2 = match (fourth >> MAP_HUGE_SHIFT) as u32 & 63 {
                0 => HUGE_BYTES_LOG2,
                log2 => log2,
            };
            let unit = if fourth & MAP_HUGETLB != 0 { 1 << log2 } else { page_bytes };
            let end = Addr(record.result.saturating_add(rounded(second, unit)));
            MappingChange::Mapped { range: Addr(record.result)..end, is_reserved: third == 0 }
        }
        MPROTECT | PKEY_MPROTECT => {
            MappingChange::Protected { range: pages(first, second), is_reserved: third == 0 }
        }
        MUNMAP => MappingChange::Unmapped { range: pages(first, second) },
        BRK => {
            let page = |end: u64| Addr(rounded(end, page_bytes));
            // It answers with the old end when it fails, or was asked for it, as all do before they
            // move it for the first time.
            let (from, to) = (page(record.brk), page(record.result));
            (from != to && record.brk > 0).then_some(MappingChange::BreakMoved { from, to })?
        }
        MREMAP => MappingChange::Moved {
            from: pages(first, second),
            to: pages(record.result, third),
            is_kept: second == 0 || fourth & MREMAP_DONTUNMAP != 0,
        },
        MADVISE => MappingChange::GivenBack { range: pages(first, second) },
        EXECVE | EXECVEAT => MappingChange::Replaced,
        _ => return None,
    })
}
