//! Births and deaths of the objects that Go's own heap sampler takes.
//!
//! The runtime samples one object in every 512 KiB that a program allocates. Uprobes lie on what it
//! calls then (`runtime.profilealloc`) and on what the sweeper calls when such an object is dead
//! (`runtime.freeSpecial`), so that the cost is that of the samples and not of the allocations.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aya::include_bytes_aligned;
use model::probe::{HeapSample, MonotonicNanos, ProbeCounts, SampledObject};
use model::trace::GoId;
use model::{Addr, Bytes};

use super::multi::{Link, Place, Program, Sees};
use super::object::{Attachment, Object, ProbeCost};
use super::record::{self, AllocRecord, FreeRecord};
use super::support::{self, Need};
use super::way;
use crate::error::CaptureError;
use crate::live::ProcessTarget;

const PROBE: &str = "probe alloc";
/// Some 8,000 samples: seconds of a program that allocates as fast as it can.
const RING_BYTES: u32 = 4 << 20;

/// Objects that live, of all processes; as in alloc.bpf.c.
const LIVE_MAX: usize = 1 << 18;

/// A stack of so many calls may have had more of them.
pub const STACK_MAX: usize = record::FRAMES_MAX - 1;

static OBJECT: &[u8] = include_bytes_aligned!("programs/alloc.bpf.o");

/// The functions, and the program for each.
const FUNCTIONS: [&str; 2] = ["runtime.profilealloc", "runtime.freeSpecial"];
const PROGRAMS: [&str; 2] = ["go_alloc", "go_free"];

/// The probe: of no process when it is opened, then of those that are attached.
pub struct AllocProbe {
    object: Object,
    /// Where the kernel has links for them; it asks for more privileges otherwise.
    linked: Option<[Program; 2]>,
    attached: BTreeMap<u32, Attached>,
}

/// What is attached to a process.
enum Attached {
    Links(#[expect(dead_code, reason = "dropping them takes the programs off")] Vec<Link>),
    Events(Vec<Attachment>),
}

/// Where an object of a process lies; the key of the kernel's table.
#[repr(C)]
#[derive(Clone, Copy)]
struct LivePlace {
    address: u64,
    tgid: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Birth {
    nanos: u64,
    bytes: u64,
}

// SAFETY: two integers each, any bytes are a value.
unsafe impl aya::Pod for LivePlace {}
// SAFETY: as above.
unsafe impl aya::Pod for Birth {}

impl AllocProbe {
    /// Loads the probe.
    ///
    /// # Errors
    /// When the kernel cannot do it or does not let us; the message says which privilege or option
    /// is missing.
    pub fn open() -> Result<AllocProbe, CaptureError> {
        support::check_namespace(PROBE)?;
        let mut object = Object::load(PROBE, Need::User, OBJECT, RING_BYTES, &[])?;
        object.measure();
        let load = || -> io::Result<[Program; 2]> {
            let linked = object.linked(OBJECT)?;
            Ok([linked.load(PROGRAMS[0], Sees::Place)?, linked.load(PROGRAMS[1], Sees::Place)?])
        };
        let linked = load().ok();
        Ok(AllocProbe { object, linked, attached: BTreeMap::new() })
    }

    /// Whether this process may look at processes at all.
    pub(super) fn try_own_code(&mut self) -> Result<(), CaptureError> {
        if let Some([program, _]) = &self.linked
            && program.try_own_code().is_ok()
        {
            return Ok(());
        }
        self.object.try_own_code(PROGRAMS[0])
    }

    /// Begins to look at a process. Objects that live already are not known.
    ///
    /// # Errors
    /// When the program takes no samples, has other code than any release that is known, or a
    /// privilege is missing.
    pub fn attach(&mut self, target: &ProcessTarget) -> Result<(), CaptureError> {
        let pid = target.pid();
        let points = target.probe_points(&FUNCTIONS)?;
        let file = PathBuf::from(format!("/proc/{pid}/exe"));
        let mut offsets = [0; 2];
        for ((function, point), offset) in FUNCTIONS.iter().zip(points).zip(&mut offsets) {
            let Some(point) = point else {
                let reason = format!(
                    "{function} was not found in process {pid}, or is not as Go's \
                     compiler writes functions"
                );
                return Err(CaptureError::Probe { probe: PROBE, reason });
            };
            *offset = point.file_offset;
        }
        // Where the table is full, the samples are of no goroutine.
        let _ = self.object.table("goids").insert(pid, target.binary().goid_offset(), 0);
        let attached = match self.links(&file, offsets, pid) {
            Ok(links) => Attached::Links(links),
            Err(_) => Attached::Events(self.events(&file, offsets, pid)?),
        };
        self.attached.insert(pid, attached);
        Ok(())
    }

    fn links(&self, file: &Path, offsets: [u64; 2], pid: u32) -> io::Result<Vec<Link>> {
        let programs = self.linked.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        // Of no sample: nothing is looked up or told.
        way::measure(|| Ok(&programs[1]));
        let pairs = programs.iter().zip(offsets);
        pairs.map(|(program, offset)| program.attach(file, &[Place::of(offset)], pid)).collect()
    }

    fn events(
        &mut self,
        file: &Path,
        offsets: [u64; 2],
        pid: u32,
    ) -> Result<Vec<Attachment>, CaptureError> {
        let pairs = PROGRAMS.into_iter().zip(offsets);
        pairs.map(|(program, offset)| self.object.probe_user(program, file, offset, pid)).collect()
    }

    /// No longer looks at a process.
    pub fn detach(&mut self, pid: u32) {
        if let Some(Attached::Events(events)) = self.attached.remove(&pid) {
            events.into_iter().for_each(|event| self.object.detach(event));
        }
        let _ = self.object.table::<u32, u32>("goids").remove(&pid);
        let gone = self.places(pid);
        let mut live = self.object.table::<LivePlace, Birth>("live");
        for place in gone {
            // It may have been freed meanwhile.
            let _ = live.remove(&place);
        }
    }

    /// Waits at most so long, and hands over what happened since the last call.
    pub fn read(&mut self, timeout: Duration, mut take: impl FnMut(HeapSample)) {
        self.object.read(timeout, |bytes| {
            if let Some(sample) = sample(bytes) {
                take(sample);
            }
        });
    }

    /// Addresses of the sampled objects of a process that live: the kernel's own table, which is
    /// right also when records were dropped.
    pub fn live(&mut self, pid: u32) -> Vec<Addr> {
        self.places(pid).into_iter().map(|place| Addr(place.address)).collect()
    }

    fn places(&mut self, pid: u32) -> Vec<LivePlace> {
        let live = self.object.entries::<LivePlace, Birth>("live", LIVE_MAX);
        let places = live.into_iter().map(|(place, _)| place);
        places.filter(|place| place.tgid == u64::from(pid)).collect()
    }

    /// What it costs the processes it looks at.
    pub fn cost(&self) -> ProbeCost {
        let linked = self.linked.iter().flatten().filter_map(|program| program.cost().ok());
        linked.fold(self.object.cost(), ProbeCost::plus)
    }

    /// What was told and what not.
    pub fn counts(&self) -> ProbeCounts {
        self.object.counts()
    }
}

/// The runtime numbers them from 1.
fn goroutine(number: u64) -> GoId {
    if number == 0 { GoId::NONE } else { GoId(number.cast_signed()) }
}

fn sample(bytes: &[u8]) -> Option<HeapSample> {
    match record::kind(bytes) {
        record::KIND_ALLOC => {
            let record: AllocRecord = record::read(bytes);
            let frames = (record.frames as usize).min(record::FRAMES_MAX);
            Some(HeapSample::Allocated(SampledObject {
                time: MonotonicNanos(record.nanos),
                pid: record.tgid,
                thread: record.tid,
                goroutine: goroutine(record.goroutine),
                address: Addr(record.address),
                size: Bytes(record.bytes),
                stack: record::return_addresses(&record.stack[..frames], record.caller),
            }))
        }
        record::KIND_FREE => {
            let record: FreeRecord = record::read(bytes);
            Some(HeapSample::Freed {
                time: MonotonicNanos(record.nanos),
                pid: record.tgid,
                address: Addr(record.address),
                size: Bytes(record.bytes),
                born: MonotonicNanos(record.born_nanos),
            })
        }
        _ => None,
    }
}
