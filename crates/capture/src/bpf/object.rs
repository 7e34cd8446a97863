//! One object in the kernel: loaded, its programs attached one by one, its records read.
//!
//! The kernel detaches and frees all of it when the last descriptor is closed, whatever way this
//! process ends. Nothing is pinned.

use std::collections::HashMap as Names;
use std::io;
use std::num::NonZeroU32;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use aya::maps::{Array, HashMap, Map, MapData, PerCpuArray};
use aya::programs::uprobe::{UProbeAttachLocation, UProbeAttachPoint, UProbeLinkId, UProbeScope};
use aya::programs::{BtfTracePoint, ProgramError, ProgramInfo, UProbe};
use aya::sys::{Stats, enable_stats};
use aya::{Btf, BtfError, Ebpf, EbpfLoader};
use decode::elf::Elf;
use model::probe::ProbeCounts;

use super::multi::Linked;
use super::record::{COUNT_DROPPED, COUNT_MAP_FULL, COUNT_NO_STACK, COUNT_SEEN};
use super::ring::Ring;
use super::support::{self, Need};
use super::way::way_cost;
use crate::error::CaptureError;
use crate::image::Image;

/// What a probe has cost: time of whoever ran into it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProbeCost {
    /// How often its programs ran; 0 where the kernel does not measure it for us.
    pub runs: u64,
    /// How long they ran, as the kernel measured it.
    pub ran: Duration,
}

impl ProbeCost {
    /// Both together.
    #[must_use]
    pub(super) fn plus(self, other: ProbeCost) -> ProbeCost {
        ProbeCost { runs: self.runs + other.runs, ran: self.ran + other.ran }
    }

    /// What it took of whoever ran into it, the way to its programs and back included.
    pub fn time(&self) -> Duration {
        self.ran + way_cost().mul_f64(self.runs as f64)
    }

    /// The share of a core that it took in this time.
    pub fn share(&self, time: Duration) -> f64 {
        self.time().as_secs_f64() / time.as_secs_f64().max(1e-9)
    }
}

/// A program that is attached to code of a process.
pub(super) struct Attachment {
    program: &'static str,
    link: UProbeLinkId,
}

/// The types of the kernel: tens of megabytes while somebody has them, and a tenth of a second to read.
/// Probes that are opened at the same time share them.
fn kernel_types() -> Result<Arc<Btf>, BtfError> {
    static SHARED: Mutex<Weak<Btf>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(types) = shared.upgrade() {
        return Ok(types);
    }
    let types = Arc::new(Btf::from_sys_fs()?);
    *shared = Arc::downgrade(&types);
    Ok(types)
}

/// Records lie in the ring buffer this long at most.
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// A loaded object.
pub(super) struct Object {
    probe: &'static str,
    need: Need,
    /// While it is open, the kernel measures how long programs run, those of others included.
    measured: Option<OwnedFd>,
    /// Until all is attached that needs them.
    kernel: Option<Arc<Btf>>,
    ebpf: Ebpf,
    /// Of the maps, by name; open as long as this is.
    maps: Names<String, RawFd>,
    records: Ring,
    counts: PerCpuArray<MapData, u64>,
}

/// Where this process begins, and in which file: it never comes there again.
pub(super) fn own_entry() -> io::Result<(&'static Path, u64)> {
    let file = Path::new("/proc/self/exe");
    let image = Image::open(file)?;
    let elf = Elf::parse(image.as_ref()).map_err(io::Error::other)?;
    let entry = elf.file_offset(elf.entry).ok_or(io::ErrorKind::InvalidData)?;
    Ok((file, entry))
}

impl Object {
    /// Loads an object. `ring_bytes` is how much may be told and not read yet, a power of two;
    /// `tables` are those whose sizes are known only now.
    pub(super) fn load(
        probe: &'static str,
        need: Need,
        object: &[u8],
        ring_bytes: u32,
        tables: &[(&str, u32)],
    ) -> Result<Object, CaptureError> {
        let kernel = kernel_types().map_err(|error| support::no_types(probe, &error))?;
        let mut loader = EbpfLoader::new();
        loader.btf(Some(&kernel)).map_max_entries("records", ring_bytes);
        for (name, entries) in tables {
            loader.map_max_entries(name, *entries);
        }
        let failed =
            |error: &(dyn std::error::Error + 'static)| support::explain(probe, need, error);
        let mut ebpf = loader.load(object).map_err(|error| failed(&error))?;
        let maps = ebpf.maps().filter_map(|(name, map)| Some((name.to_owned(), descriptor(map)?)));
        let maps = maps.collect();
        let mut map = |name| ebpf.take_map(name).expect("every object has this map");
        let Map::RingBuf(records) = map("records") else { unreachable!("it is a ring") };
        let records = Ring::new(records).map_err(|error| failed(&error))?;
        let counts = PerCpuArray::try_from(map("counts")).map_err(|error| failed(&error))?;
        let kernel = Some(kernel);
        Ok(Object { probe, need, measured: None, kernel, ebpf, maps, records, counts })
    }

    /// Has the kernel measure what its programs cost; see [`Object::cost`].
    pub(super) fn measure(&mut self) {
        // Without the privilege nothing is known of it.
        self.measured = enable_stats(Stats::RunTime).ok();
    }

    /// Attaches a program to a tracepoint of the kernel, by the types of its arguments: that
    /// needs no tracefs.
    pub(super) fn trace(&mut self, program: &str, tracepoint: &str) -> Result<(), CaptureError> {
        let (probe, need) = (self.probe, self.need);
        let kernel = self.kernel.as_ref().expect("nothing is traced once all is");
        let attach = |program: &mut BtfTracePoint| -> Result<(), ProgramError> {
            program.load(tracepoint, kernel)?;
            program.attach().map(drop)
        };
        let program = self.ebpf.program_mut(program).expect("a program of this object");
        program.try_into().and_then(attach).map_err(|error| support::explain(probe, need, &error))
    }

    /// Gives back what only [`trace`](Self::trace) needs.
    pub(super) fn all_is_traced(&mut self) {
        self.kernel = None;
    }

    /// Attaches a program to a place of a file, for one process.
    pub(super) fn probe_user(
        &mut self,
        program: &'static str,
        file: &Path,
        offset: u64,
        pid: u32,
    ) -> Result<Attachment, CaptureError> {
        let scope = NonZeroU32::new(pid).map_or(UProbeScope::AllProcesses, UProbeScope::OneProcess);
        let location = UProbeAttachLocation::AbsoluteOffset(offset);
        let attach = |program: &mut UProbe| {
            if program.fd().is_err() {
                program.load()?;
            }
            program.attach(UProbeAttachPoint { location, cookie: None }, file, scope)
        };
        let link = self
            .user_program(program)
            .and_then(attach)
            .map_err(|error| support::explain(self.probe, self.need, &error))?;
        Ok(Attachment { program, link })
    }

    /// Attaches a program to this process where it never comes again, its entry, and takes it off:
    /// whether that is permitted.
    pub(super) fn try_own_code(&mut self, program: &'static str) -> Result<(), CaptureError> {
        let (file, entry) = own_entry().map_err(|error| CaptureError::Probe {
            probe: self.probe,
            reason: format!("the own executable cannot be read: {error}"),
        })?;
        let attachment = self.probe_user(program, file, entry, std::process::id())?;
        self.detach(attachment);
        Ok(())
    }

    /// The programs of this object, to be attached by links: see [`multi`](super::multi).
    ///
    /// # Errors
    /// When the object has no types that the kernel takes.
    pub(super) fn linked(&self, object: &[u8]) -> io::Result<Linked> {
        Linked::new(object, &self.maps)
    }

    /// Takes a program off the code it was attached to.
    pub(super) fn detach(&mut self, attachment: Attachment) {
        if let Ok(program) = self.user_program(attachment.program) {
            // The kernel has done it already when the process has ended.
            let _ = program.detach(attachment.link);
        }
    }

    fn user_program(&mut self, name: &str) -> Result<&mut UProbe, ProgramError> {
        self.ebpf.program_mut(name).expect("a program of this object").try_into()
    }

    /// A table of this object.
    pub(super) fn table<K: aya::Pod, V: aya::Pod>(
        &mut self,
        name: &str,
    ) -> HashMap<&mut MapData, K, V> {
        let map = self.ebpf.map_mut(name).expect("a map of this object");
        HashMap::try_from(map).expect("a hash map with these sizes")
    }

    /// An array of this object.
    pub(super) fn array<V: aya::Pod>(&mut self, name: &str) -> Array<&mut MapData, V> {
        let map = self.ebpf.map_mut(name).expect("a map of this object");
        Array::try_from(map).expect("an array of this size")
    }

    /// What a failed change of a map means.
    pub(super) fn explain(&self, error: &(dyn std::error::Error + 'static)) -> CaptureError {
        support::explain(self.probe, self.need, error)
    }

    /// Waits for records, at most so long, and hands over all that are there.
    pub(super) fn read(&mut self, timeout: Duration, mut take: impl FnMut(&[u8])) {
        // Nobody is woken up for a record, which would cost whoever has just told it.
        let (begun, pause) = (Instant::now(), (timeout / 10).min(PAUSE_MAX));
        loop {
            // What cannot be read now stays there, and what no longer fits is counted as lost.
            let is_any = self.records.drain(&mut take).unwrap_or(false);
            if is_any || begun.elapsed() >= timeout {
                return;
            }
            thread::sleep(pause);
        }
    }

    /// Entries of a table. A walk that meets an entry as it goes begins again; then it ends after all
    /// there can be.
    pub(super) fn entries<K: aya::Pod, V: aya::Pod>(
        &mut self,
        name: &str,
        entries_max: usize,
    ) -> Vec<(K, V)> {
        self.table::<K, V>(name).iter().filter_map(Result::ok).take(2 * entries_max).collect()
    }

    /// What its programs cost since they are measured.
    pub(super) fn cost(&self) -> ProbeCost {
        let programs = self.ebpf.programs().filter_map(|(_, program)| program.info().ok());
        let cost = |info: ProgramInfo| ProbeCost { runs: info.run_count(), ran: info.run_time() };
        programs.map(cost).fold(ProbeCost::default(), ProbeCost::plus)
    }

    /// What was told and what not.
    pub(super) fn counts(&self) -> ProbeCounts {
        let sum =
            |index| self.counts.get(&index, 0).map_or(0, |of_cpus| of_cpus.iter().sum::<u64>());
        ProbeCounts {
            seen: sum(COUNT_SEEN),
            dropped: sum(COUNT_DROPPED),
            table_full: sum(COUNT_MAP_FULL),
            without_stack: sum(COUNT_NO_STACK),
        }
    }
}

/// The descriptor of a map of the kinds that our objects have.
fn descriptor(map: &Map) -> Option<RawFd> {
    let (Map::Array(data) | Map::HashMap(data) | Map::PerCpuArray(data) | Map::RingBuf(data)) = map
    else {
        return None;
    };
    Some(data.fd().as_fd().as_raw_fd())
}
