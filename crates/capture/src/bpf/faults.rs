//! Page faults of processes, counted in the kernel by stack and by what memory it was, and how much
//! of them is resident as it changes.
//!
//! Counted is what the kernel's own event `page-faults` counts. A fault makes one page resident, or
//! a huge page, or several around it that a file has in memory, or none: it is no number of bytes.

use std::collections::BTreeMap;
use std::time::Duration;

use aya::include_bytes_aligned;
use model::probe::{
    FaultAccess, FaultCount, FaultRegion, MappingKind, MonotonicNanos, ProbeCounts, ResidentSample,
};
use model::{Addr, Bytes};

use super::object::Object;
use super::record::{self, FAULTS_MAX, REGIONS_MAX, ResidentRecord};
use super::stacks;
use super::support::{self, Need};
use super::unwinding::Unwinding;
use crate::error::CaptureError;
use crate::names::ProcessNames;

const PROBE: &str = "probe faults";
/// A minute of changes of ten processes.
const RING_BYTES: u32 = 1 << 20;

static OBJECT: &[u8] = include_bytes_aligned!("programs/faults.bpf.o");

/// `VM_HUGEPAGE` of the kernel.
const VM_HUGEPAGE: u64 = 1 << 29;
/// What the kernel's program takes where the mapping is not known.
const CHUNK_BYTES: u64 = 2 << 20;

/// The probe; it counts for the processes that it was told of.
pub struct FaultProbe {
    object: Object,
    unwinding: Unwinding,
    page_bytes: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Target {
    user: u64,
    kernel: u64,
    told_nanos: u64,
}

#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct RegionKey {
    tgid: u32,
    kind: u32,
    start: u64,
    inode: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Region {
    end: u64,
    flags: u64,
    name: [u8; 64],
}

#[repr(C)]
#[derive(Clone, Copy)]
struct FaultKey {
    region: RegionKey,
    stack: u64,
    code: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Faults {
    count: u64,
    low: u64,
    high: u64,
}

// SAFETY: integers and arrays of them, any bytes are a value.
unsafe impl aya::Pod for Target {}
// SAFETY: as above.
unsafe impl aya::Pod for RegionKey {}
// SAFETY: as above.
unsafe impl aya::Pod for Region {}
// SAFETY: as above.
unsafe impl aya::Pod for FaultKey {}
// SAFETY: as above.
unsafe impl aya::Pod for Faults {}

fn trace(object: &mut Object) -> Result<(), CaptureError> {
    object.trace("fault_user", "page_fault_user")?;
    object.trace("fault_kernel", "page_fault_kernel")?;
    object.trace("resident", "rss_stat")
}

impl FaultProbe {
    /// Begins to look, at no process yet. Stacks of the one that is named are unwound by what its
    /// files say, those of others by frame pointers.
    ///
    /// # Errors
    /// When the kernel cannot do it or does not let us; the message says which privilege or option
    /// is missing.
    pub fn open(names: &ProcessNames) -> Result<FaultProbe, CaptureError> {
        support::check_namespace(PROBE)?;
        let mut unwinding = Unwinding::of(names);
        let tables = [("rows", unwinding.rows_max())];
        let mut object = Object::load(PROBE, Need::Kernel, OBJECT, RING_BYTES, &tables)?;
        unwinding.write(&mut object, names)?;
        trace(&mut object)?;
        Ok(FaultProbe { object, unwinding, page_bytes: rustix::param::page_size() as u64 })
    }

    /// Whether it works here.
    pub(super) fn check() -> Result<(), CaptureError> {
        support::check_namespace(PROBE)?;
        trace(&mut Object::load(PROBE, Need::Kernel, OBJECT, RING_BYTES, &[])?)
    }

    /// Begins to count for a process.
    ///
    /// # Errors
    /// When there are too many.
    pub fn attach(&mut self, pid: u32) -> Result<(), CaptureError> {
        let mut targets = self.object.table::<u32, Target>("targets");
        targets.insert(pid, Target::default(), 0).map_err(|error| CaptureError::Probe {
            probe: PROBE,
            reason: format!("process {pid} cannot be added: {error}"),
        })
    }

    /// Takes in which libraries were loaded meanwhile.
    ///
    /// # Errors
    /// When the kernel's tables cannot be written.
    pub fn refresh(&mut self, names: &ProcessNames) -> Result<(), CaptureError> {
        self.unwinding.write(&mut self.object, names)
    }

    /// No longer counts for a process. What was counted stays.
    pub fn detach(&mut self, pid: u32) {
        // It may not have been attached.
        let _ = self.object.table::<u32, Target>("targets").remove(&pid);
    }

    /// Waits at most so long, and hands over how resident memory changed since the last call: at
    /// most every 10 ms for each process. Each processor may hold back some 32 pages.
    pub fn read(&mut self, timeout: Duration, mut take: impl FnMut(ResidentSample)) {
        let page_bytes = self.page_bytes;
        self.object.read(timeout, |bytes| {
            if record::kind(bytes) == record::KIND_RESIDENT {
                let record: ResidentRecord = record::read(bytes);
                // A sum that is not complete may be below 0.
                let memory = |kind: usize| {
                    let pages = record.pages[kind].cast_signed().max(0).cast_unsigned();
                    Bytes(pages.saturating_mul(page_bytes))
                };
                take(ResidentSample {
                    time: MonotonicNanos(record.nanos),
                    pid: record.tgid,
                    file: memory(0),
                    anonymous: memory(1),
                    swap: memory(2),
                    shared: memory(3),
                });
            }
        });
    }

    /// How many faults a process had so far: of its own code, and in the kernel on behalf of it.
    /// Exact also when not all of them fitted into the kernel's tables.
    pub fn total(&mut self, pid: u32) -> (u64, u64) {
        let target = self.object.table::<u32, Target>("targets").get(&pid, 0).unwrap_or_default();
        (target.user, target.kernel)
    }

    /// All faults of a process so far, those of which there are most first.
    pub fn faults(&mut self, pid: u32) -> Vec<FaultCount> {
        let regions = self.object.entries::<RegionKey, Region>("regions", REGIONS_MAX);
        let regions: BTreeMap<RegionKey, Region> = regions.into_iter().collect();
        let counts = self.object.entries::<FaultKey, Faults>("faults", FAULTS_MAX);
        let mut found = Vec::new();
        for (key, faults) in counts.into_iter().filter(|(key, _)| key.region.tgid == pid) {
            found.push(FaultCount {
                stack: stacks::frames(&mut self.object, key.stack),
                region: region(&key.region, regions.get(&key.region)),
                access: access(key.code),
                faults: faults.count,
                pages: Addr(faults.low)..Addr(faults.high.saturating_add(self.page_bytes)),
            });
        }
        found.sort_by(|a, b| {
            let place = |of: &FaultCount| (of.region.mapping.start, of.access, of.pages.start);
            let by_stack = || a.stack.cmp(&b.stack);
            b.faults.cmp(&a.faults).then_with(by_stack).then_with(|| place(a).cmp(&place(b)))
        });
        found
    }

    /// What was told and what not.
    pub fn counts(&self) -> ProbeCounts {
        self.object.counts()
    }
}

fn region(key: &RegionKey, region: Option<&Region>) -> FaultRegion {
    let kind = match key.kind {
        1 => MappingKind::Anonymous,
        2 => MappingKind::Brk,
        3 => MappingKind::Stack,
        4 => MappingKind::File,
        5 => MappingKind::Shared,
        _ => MappingKind::Unknown,
    };
    let end = region.map_or(key.start.saturating_add(CHUNK_BYTES), |region| region.end);
    FaultRegion {
        kind,
        mapping: Addr(key.start)..Addr(end),
        file: region.map_or_else(String::new, |region| record::text(&region.name)),
        is_huge: region.is_some_and(|region| region.flags & VM_HUGEPAGE != 0),
    }
}

/// From the bits of the processor's error code: the page was there, it was written to, executed.
fn access(code: u64) -> FaultAccess {
    match (code & 1 != 0, code & 2 != 0, code & 16 != 0) {
        (false, true, _) => FaultAccess::Write,
        (false, false, true) => FaultAccess::Execute,
        (false, false, false) => FaultAccess::Read,
        (true, true, _) => FaultAccess::Copy,
        (true, false, _) => FaultAccess::Protected,
    }
}
