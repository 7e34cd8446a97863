//! Whom the OOM killer takes, and of the Go processes that it was told of the heap profile, copied
//! in the kernel while the victim delivers its last signal: it is of the moment of the kill, also
//! when nothing was captured before. It costs nothing until then.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use aya::include_bytes_aligned;
use decode::goruntime::{Memory, MemoryError};
use model::probe::{OomLimit, OomVictim, ProbeCounts};
use model::{Addr, Bytes};

use super::object::Object;
use super::record::{
    self, BUCKET_MAX, BucketRecord, CGROUP_LEVELS, DumpedRecord, VictimRecord, text, wall,
};
use super::support::{self, Need};
use crate::error::CaptureError;
use crate::live::ProcessTarget;

const PROBE: &str = "probe oom";
/// A profile of 30,000 stacks; taken from the machine only while the probe is there.
const RING_BYTES: u32 = 16 << 20;

static OBJECT: &[u8] = include_bytes_aligned!("programs/oom.bpf.o");

/// The probe; it sees every victim of the machine while it is there.
pub struct OomProbe {
    object: Object,
    page_bytes: u64,
    targets: BTreeMap<u32, Target>,
    /// What came so far of copies that are not complete.
    copies: BTreeMap<u32, VictimProfile>,
    /// Victims that were told, and when.
    told: BTreeMap<u32, Instant>,
}

/// A victim has ended after this long, or the machine has other troubles.
const DYING_MAX: Duration = Duration::from_secs(30);

/// Where the heap profile of a process lies, as the kernel's table has it.
#[repr(C)]
#[derive(Clone, Copy)]
struct Target {
    buckets: u64,
    rate: u64,
    cycle: u64,
    counts_bytes: u64,
}

// SAFETY: integers, any bytes are a value.
unsafe impl aya::Pod for Target {}

/// What the probe tells.
#[derive(Clone, Debug)]
pub enum OomEvent {
    /// A process was chosen.
    Killed(OomVictim),
    /// The heap profile of one that was watched.
    Profile(VictimProfile),
}

/// Memory that holds the heap profile of a process that was killed; see
/// [`ProcessTarget::heap_profile_in`].
#[derive(Clone, Debug, Default)]
pub struct VictimProfile {
    /// The process.
    pub pid: u32,
    /// Pieces of its memory by their address.
    memory: BTreeMap<u64, Vec<u8>>,
    /// Stacks that were copied.
    pub buckets: u32,
    /// Stacks that could not be: swapped out, or the copy was not read fast enough.
    pub unread: u32,
    /// Between the kernel's choice and the end of the copy.
    pub took: Duration,
}

impl Memory for VictimProfile {
    fn read(&self, addr: Addr, buffer: &mut [u8]) -> Result<(), MemoryError> {
        let piece = self.memory.range(..=addr.0).next_back();
        let bytes = piece.and_then(|(start, bytes)| {
            let offset = usize::try_from(addr.0 - start).ok()?;
            bytes.get(offset..offset.checked_add(buffer.len())?)
        });
        buffer.copy_from_slice(bytes.ok_or(MemoryError::Unmapped(addr))?);
        Ok(())
    }
}

impl OomProbe {
    /// Begins to look.
    ///
    /// # Errors
    /// When the kernel cannot do it or does not let us; the message says which privilege or option
    /// is missing.
    pub fn open() -> Result<OomProbe, CaptureError> {
        support::check_namespace(PROBE)?;
        let mut object = Object::load(PROBE, Need::Kernel, OBJECT, RING_BYTES, &[])?;
        object.trace("signal_deliver", "signal_deliver")?;
        object.trace("mark_victim", "mark_victim")?;
        object.all_is_traced();
        let page_bytes = rustix::param::page_size() as u64;
        let (targets, copies, told) = Default::default();
        Ok(OomProbe { object, page_bytes, targets, copies, told })
    }

    /// From now on copies the heap profile of this process if it is killed.
    ///
    /// # Errors
    /// When its heap profile was not found, or so many are watched already that the kernel's table is
    /// full.
    pub fn watch(&mut self, target: &ProcessTarget) -> Result<(), CaptureError> {
        let place = target.profile_place()?;
        let entry = Target {
            buckets: place.buckets.0,
            rate: place.rate.0,
            cycle: place.cycle.0,
            counts_bytes: 4 * place.record_bytes as u64,
        };
        let inserted = self.object.table("targets").insert(target.pid(), entry, 0);
        inserted
            .map_err(|error| CaptureError::Probe { probe: PROBE, reason: error.to_string() })?;
        self.targets.insert(target.pid(), entry);
        Ok(())
    }

    /// No longer watches a process.
    pub fn forget(&mut self, pid: u32) {
        self.copies.remove(&pid);
        self.targets.remove(&pid);
        // It is there no more when nobody watched it.
        let _ = self.object.table::<u32, Target>("targets").remove(&pid);
    }

    /// Waits at most so long, and hands over what happened since the last call.
    pub fn read(&mut self, timeout: Duration, mut take: impl FnMut(OomEvent)) {
        let page_bytes = self.page_bytes;
        let (targets, copies, told) = (&mut self.targets, &mut self.copies, &mut self.told);
        told.retain(|_, at| at.elapsed() < DYING_MAX);
        self.object.read(timeout, |bytes| match record::kind(bytes) {
            record::KIND_VICTIM => {
                let record: VictimRecord = record::read(bytes);
                // The kernel may choose one again that has not ended yet.
                if told.insert(record.tgid, Instant::now()).is_none() {
                    take(OomEvent::Killed(victim(&record, page_bytes)));
                }
            }
            record::KIND_BUCKET => {
                let record: BucketRecord = record::read(bytes);
                let memory = &record.memory[..(record.bytes as usize).min(BUCKET_MAX)];
                let copy = copies.entry(record.tgid).or_default();
                copy.memory.insert(record.address, memory.to_vec());
            }
            record::KIND_DUMPED => {
                let record: DumpedRecord = record::read(bytes);
                let mut copy = copies.remove(&record.tgid).unwrap_or_default();
                let Some(target) = targets.remove(&record.tgid) else { return };
                let told = copy.memory.len() as u32;
                copy.memory.insert(target.buckets, record.first.to_ne_bytes().to_vec());
                copy.memory.insert(target.rate, record.rate.to_ne_bytes().to_vec());
                copy.memory.insert(target.cycle, record.cycle.to_ne_bytes().to_vec());
                copy.pid = record.tgid;
                copy.buckets = told;
                copy.unread = record.unread + record.buckets.saturating_sub(told);
                copy.took = Duration::from_nanos(record.nanos.saturating_sub(record.victim_nanos));
                take(OomEvent::Profile(copy));
            }
            _ => {}
        });
    }

    /// What was told and what not.
    pub fn counts(&self) -> ProbeCounts {
        self.object.counts()
    }
}

fn victim(record: &VictimRecord, page_bytes: u64) -> OomVictim {
    let memory = |pages: u64| Bytes(pages.saturating_mul(page_bytes));
    // Counters of single processors may be behind, so that a sum is below 0.
    let resident = |kind: usize| memory(record.pages[kind].cast_signed().max(0).cast_unsigned());
    let limit = (record.limit_pages > 0).then(|| OomLimit {
        cgroup: cgroup_path(record, record.limit_level as usize),
        usage: memory(record.usage_pages),
        limit: memory(record.limit_pages),
    });
    OomVictim {
        time: wall(record.nanos),
        pid: record.tgid,
        name: text(&record.comm),
        address_space: memory(record.total_pages),
        file: resident(0),
        anonymous: resident(1),
        swap: resident(2),
        shared: resident(3),
        cgroup: cgroup_path(record, 0),
        limit,
    }
}

/// The path of a cgroup whose names lie from itself upwards; the root has none.
fn cgroup_path(record: &VictimRecord, level: usize) -> String {
    let names = record.cgroup.iter().skip(level).map(|name| text(name));
    let names: Vec<String> = names.filter(|name| !name.is_empty() && name != "/").collect();
    let is_cut = level + names.len() == CGROUP_LEVELS;
    let path: Vec<String> = names.into_iter().rev().collect();
    format!("{}/{}", if is_cut { "..." } else { "" }, path.join("/"))
}
