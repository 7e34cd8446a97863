//! What a process has from malloc and its kin and has not freed, by the calls that asked for it, and
//! how long what it freed had lived.
//!
//! Probes lie on the functions of every allocator that the process has mapped. Each call costs a
//! trap where it begins; those that are sampled cost one more where they return (before Linux 6.13
//! all do), and their stack is unwound there. What was there before is not known.

mod statics;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io, thread};

use aya::include_bytes_aligned;
use decode::allocators::{self, AllocatorFunction, Signature};
use decode::elf::Elf;
use decode::procfs;
use model::Addr;
use model::probe::{
    CallStack, CallStackId, MonotonicNanos, NativeBlock, NativeHeap, NativeTurnover, ProbeCounts,
};

use super::multi::{Link, Place, Sees};
use super::object::{Attachment, Object};
use super::stacks;
use super::support::{self, Need, kernel_version};
use super::unwinding::Unwinding;
use super::way;
use crate::error::CaptureError;
use crate::live::monotonic_nanos;
use crate::names::{ProcessNames, Region};

const PROBE: &str = "probe native";
/// Nothing is told; all is read from tables.
const RING_BYTES: u32 = 1 << 12;
/// Sampled blocks: at one in 512 KiB those of 128 GiB. 16 bytes each, and 100 once used.
const LIVE_MAX: u32 = 1 << 18;
/// The same when all blocks count.
const LIVE_MAX_EXACT: u32 = 1 << 22;
/// Distinct stacks; a kilobyte each once used.
const STACKS_MAX: u32 = 1 << 16;
/// Sums by stack, size and time; 100 bytes each once used. As in blocks.h.
const TURNOVERS_MAX: usize = 1 << 17;
/// Below, tables are as large as when all blocks count.
const EVERY_FINE: u64 = 16 << 10;

static OBJECT: &[u8] = include_bytes_aligned!("../programs/native.bpf.o");

/// As in native.bpf.c.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Control {
    target: u64,
    every: u64,
    stopped: u32,
    unused: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct ObjectRecord {
    bytes: u64,
    nanos: u64,
    stack: u64,
    weight: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct TurnoverKey {
    stack: u64,
    size: u32,
    lived: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct TurnoverRecord {
    blocks: u64,
    bytes: u64,
    weight: u64,
}

/// `TurnoverKey::lived` of the sum of all that a stack asked for.
const BORN: u32 = u32::MAX;

const _: () = assert!(size_of::<Control>() == 24 && size_of::<ObjectRecord>() == 32);
const _: () = assert!(size_of::<TurnoverKey>() == 16 && size_of::<TurnoverRecord>() == 24);

// SAFETY: integers without padding, any bytes are a value.
unsafe impl aya::Pod for Control {}
// SAFETY: as above.
unsafe impl aya::Pod for ObjectRecord {}
// SAFETY: as above.
unsafe impl aya::Pod for TurnoverKey {}
// SAFETY: as above.
unsafe impl aya::Pod for TurnoverRecord {}

/// An allocator that is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allocator {
    /// The file it is in.
    pub path: String,
    /// Its functions that have a probe.
    pub functions: Vec<String>,
    /// Those that have none: a C++ program could not be told by them that there is no memory.
    pub unfollowed: Vec<String>,
}

/// Who says what is allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Calls of malloc and its kin, seen from outside.
    Malloc {
        /// Of the bytes that are asked for, one in so many is sampled on average, and with it the
        /// block that it is in; all are with 1.
        every: u64,
    },
    /// The process itself, which samples as it likes: static probes of the provider `otel_memory`.
    Usdt,
}

/// How calls are seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// As the kernel can best.
    Best,
    /// As kernels before 6.13 can.
    Probes,
}

/// The probe, of one process.
pub struct NativeProbe {
    object: Object,
    source: Source,
    /// How many blocks the kernel's table holds.
    live_max: u32,
    unwinding: Unwinding,
    allocators: Vec<Allocator>,
    attached: Attached,
    /// Mappings of which it is known whether they have static probes.
    known: statics::Known,
}

/// Programs that are attached to the allocators.
enum Attached {
    /// Both ends of a call by one program, and the return only when it is wanted; or static probes.
    Links(Vec<Link>),
    /// Each end by its own, on older kernels.
    Probes(Vec<Attachment>),
}

/// A file with functions of an allocator.
struct Found {
    region: Region,
    functions: Vec<AllocatorFunction>,
}

impl Found {
    fn allocator(&self) -> Allocator {
        let functions = self.functions.iter().map(|function| function.name.clone()).collect();
        Allocator { path: self.region.path.clone(), functions, unfollowed: Vec::new() }
    }
}

impl NativeProbe {
    /// Whether this process may look at others: programs are attached to this one where it never
    /// comes again.
    pub(super) fn check() -> Result<(), CaptureError> {
        support::check_namespace(PROBE)?;
        let mut object = Object::load(PROBE, Need::User, OBJECT, RING_BYTES, &[])?;
        let with_session =
            || object.linked(OBJECT)?.load("session_free", Sees::Both)?.try_own_code();
        // Sessions need less privileges than what kernels before 6.13 have.
        with_session().or_else(|_: io::Error| object.try_own_code("end_call"))
    }

    /// Begins to look at a process.
    ///
    /// # Errors
    /// When the process has no allocator that is known, or does not tell of what it allocates, or the
    /// kernel cannot do it or does not let us; the message says which privilege or option is missing.
    pub fn attach(
        names: &ProcessNames,
        source: Source,
        method: Method,
    ) -> Result<NativeProbe, CaptureError> {
        support::check_namespace(PROBE)?;
        match source {
            Source::Malloc { every } => NativeProbe::at_malloc(names, every, method),
            Source::Usdt => NativeProbe::at_static_probes(names),
        }
    }

    fn at_malloc(
        names: &ProcessNames,
        every: u64,
        method: Method,
    ) -> Result<NativeProbe, CaptureError> {
        check_returns(names.pid())?;
        let mut found = allocators_of(names)?;
        let (mut object, unwinding) = loaded(names, every)?;
        let mut unfollowed = Vec::new();
        if !has_memory(names.pid()) {
            unfollowed = leave_throwing(&mut found);
        }
        // It looks at its own process only.
        way::measure(|| object.linked(OBJECT)?.load("session_free", Sees::Both));
        let of_sessions = match method {
            Method::Best => sessions(&object, names.pid(), &found),
            Method::Probes => Err(io::Error::from(io::ErrorKind::Unsupported)),
        };
        let attached = match of_sessions {
            Ok(sessions) => Attached::Links(sessions),
            Err(_) => {
                unfollowed.extend(leave_throwing(&mut found));
                // Whether that was for want of a privilege is found out now.
                Attached::Probes(probes(&mut object, names.pid(), &found)?)
            }
        };
        let mut allocators: Vec<Allocator> = found.iter().map(Found::allocator).collect();
        for allocator in &mut allocators {
            let of_this = unfollowed.iter().filter(|(path, _)| *path == allocator.path);
            allocator.unfollowed = of_this.map(|(_, name)| name.clone()).collect();
        }
        let (source, live_max) = (Source::Malloc { every }, live_max(every));
        let known = statics::Known::new();
        Ok(NativeProbe { object, source, live_max, unwinding, allocators, attached, known })
    }

    fn at_static_probes(names: &ProcessNames) -> Result<NativeProbe, CaptureError> {
        let found = statics::telling(names)?;
        let (mut object, unwinding) = loaded(names, 0)?;
        let links = statics::attach(&mut object, names.pid(), &found);
        let attached = Attached::Links(links.map_err(|error| match error.kind() {
            io::ErrorKind::Unsupported => CaptureError::Probe {
                probe: PROBE,
                reason: "static probes need Linux 6.10".to_owned(),
            },
            _ => object.explain(&error),
        })?);
        let allocators = found.iter().map(statics::Telling::allocator).collect();
        let (source, live_max) = (Source::Usdt, live_max(0));
        let known = statics::known(names);
        Ok(NativeProbe { object, source, live_max, unwinding, allocators, attached, known })
    }

    /// The allocators that are looked at.
    pub fn allocators(&self) -> &[Allocator] {
        &self.allocators
    }

    /// Takes in which libraries the process has loaded meanwhile, so that stacks through them can
    /// be unwound, and their static probes are looked at; to be called now and then.
    ///
    /// # Errors
    /// When the kernel's tables cannot be written.
    pub fn refresh(&mut self, names: &ProcessNames) -> Result<(), CaptureError> {
        self.unwinding.write(&mut self.object, names)?;
        if self.source == Source::Usdt {
            let found = statics::loaded_later(names, &mut self.known);
            // It may be gone already.
            let links = statics::attach(&mut self.object, names.pid(), &found).unwrap_or_default();
            if let Attached::Links(attached) = &mut self.attached
                && !links.is_empty()
            {
                attached.extend(links);
                self.allocators.extend(found.iter().map(statics::Telling::allocator));
            }
        }
        Ok(())
    }

    /// How many calls were seen so far, and what was lost.
    pub fn counts(&self) -> ProbeCounts {
        self.object.counts()
    }

    /// What is there now, while the process goes on: a block that is freed meanwhile may be among
    /// it, and one that is new may be missing.
    pub fn so_far(&mut self) -> NativeHeap {
        let time = MonotonicNanos(monotonic_nanos().cast_unsigned());
        self.heap(time)
    }

    /// Stops looking, and reads what is left.
    ///
    /// # Errors
    /// When the kernel's tables cannot be read.
    pub fn finish(mut self) -> Result<(NativeHeap, ProbeCounts), CaptureError> {
        let mut controls = self.object.array::<Control>("controls");
        let changed = controls
            .get(&0, 0)
            .and_then(|control| controls.set(0, Control { stopped: 1, ..control }, 0));
        let time = MonotonicNanos(monotonic_nanos().cast_unsigned());
        changed.map_err(|error| self.object.explain(&error))?;
        // What was under way in a program of the kernel takes microseconds.
        thread::sleep(Duration::from_millis(2));
        let counts = self.object.counts();
        match std::mem::replace(&mut self.attached, Attached::Links(Vec::new())) {
            Attached::Links(sessions) => drop(sessions),
            Attached::Probes(probes) => {
                probes.into_iter().for_each(|attachment| self.object.detach(attachment));
            }
        }
        Ok((self.heap(time), counts))
    }

    fn heap(&mut self, time: MonotonicNanos) -> NativeHeap {
        let (blocks, turnover) = (self.blocks(), self.turnover());
        let of_blocks = blocks.iter().map(|block| block.stack);
        let stacks = self.stacks(of_blocks.chain(turnover.iter().map(|sum| sum.stack)).collect());
        let every = match self.source {
            Source::Malloc { every } => Some(every),
            Source::Usdt => None,
        };
        NativeHeap { every, time, blocks, turnover, stacks }
    }

    fn blocks(&mut self) -> Vec<NativeBlock> {
        let has_weights = self.source == Source::Usdt;
        let live = self.object.entries::<u64, ObjectRecord>("live", self.live_max as usize);
        let mut blocks: Vec<NativeBlock> = live
            .into_iter()
            .map(|(address, record)| NativeBlock {
                address: Addr(address),
                size: model::Bytes(record.bytes),
                born: MonotonicNanos(record.nanos),
                stack: CallStackId(record.stack),
                weight: has_weights.then_some(model::Bytes(record.weight)),
            })
            .collect();
        blocks.sort_by_key(|block| block.address);
        // A walk that began again met some twice.
        blocks.dedup_by_key(|block| block.address);
        blocks
    }

    fn turnover(&mut self) -> Vec<NativeTurnover> {
        let has_weights = self.source == Source::Usdt;
        let sums = self.object.entries::<TurnoverKey, TurnoverRecord>("turnovers", TURNOVERS_MAX);
        // A walk that began again met some twice; what was met last is the newest.
        let sums: BTreeMap<(u64, u32, u32), TurnoverRecord> =
            sums.into_iter().map(|(key, sum)| ((key.stack, key.size, key.lived), sum)).collect();
        let turnover =
            |((stack, _, lived), sum): ((u64, u32, u32), TurnoverRecord)| NativeTurnover {
                stack: CallStackId(stack),
                lived: (lived != BORN).then(|| Duration::from_nanos(middle_of_eighth(lived))),
                blocks: sum.blocks,
                size: model::Bytes(sum.bytes),
                weight: has_weights.then_some(model::Bytes(sum.weight)),
            };
        sums.into_iter().map(turnover).collect()
    }

    fn stacks(&mut self, ids: BTreeSet<CallStackId>) -> HashMap<CallStackId, CallStack> {
        let stack = |id: CallStackId| Some((id, stacks::call_stack(&mut self.object, id.0)?));
        ids.into_iter().filter_map(stack).collect()
    }
}

/// The middle of the numbers that blocks.h has under one: eight for each power of two from 8 on,
/// and each number below.
fn middle_of_eighth(index: u32) -> u64 {
    if index < 8 {
        return index.into();
    }
    let (whole, part) = (index / 8 + 2, u64::from(index % 8));
    let width = 1_u64.checked_shl(whole - 3).unwrap_or(0);
    (8 + part).saturating_mul(width).saturating_add(width / 2)
}

/// How many blocks the kernel's table holds.
fn live_max(every: u64) -> u32 {
    if every < EVERY_FINE { LIVE_MAX_EXACT } else { LIVE_MAX }
}

/// The object in the kernel, told whom to look at, and whose stacks it unwinds.
fn loaded(names: &ProcessNames, every: u64) -> Result<(Object, Unwinding), CaptureError> {
    let mut unwinding = Unwinding::of(names);
    let sizes = [("rows", unwinding.rows_max()), ("live", live_max(every)), ("stacks", STACKS_MAX)];
    let mut object = Object::load(PROBE, Need::User, OBJECT, RING_BYTES, &sizes)?;
    let control = Control { target: names.pid().into(), every, ..Control::default() };
    unwinding.write(&mut object, names)?;
    let told = object.array::<Control>("controls").set(0, control, 0);
    told.map_err(|error| object.explain(&error))?;
    Ok((object, unwinding))
}

/// Leaves out the functions that may throw; file and name of each.
fn leave_throwing(found: &mut [Found]) -> Vec<(String, String)> {
    let mut left = Vec::new();
    for of in found {
        let path = &of.region.path;
        let throwing = of.functions.iter().filter(|function| function.may_throw);
        left.extend(throwing.map(|function| (path.clone(), function.name.clone())));
        of.functions.retain(|function| !function.may_throw);
    }
    left
}

/// Attaches sessions: one program for each kind of function, to all places of a file at once.
fn sessions(object: &Object, pid: u32, found: &[Found]) -> io::Result<Vec<Link>> {
    let linked = object.linked(OBJECT)?;
    // What frees comes first: a block of which the end was missed would never go.
    let mut places: BTreeMap<(bool, &str), Vec<(usize, u64)>> = BTreeMap::new();
    for (index, of) in found.iter().enumerate() {
        for function in &of.functions {
            let allocates = function.signature != Signature::Free;
            let of_program = places.entry((allocates, program(function, found.len())));
            of_program.or_default().push((index, function.file_offset));
        }
    }
    let mut links = Vec::new();
    for ((_, program), places) in places {
        let session = linked.load(&program.replacen("begin", "session", 1), Sees::Both)?;
        for of_file in places.chunk_by(|a, b| a.0 == b.0) {
            let offsets: Vec<Place> = of_file.iter().map(|(_, at)| Place::of(*at)).collect();
            links.push(session.attach(&found[of_file[0].0].region.place, &offsets, pid)?);
        }
    }
    Ok(links)
}

/// Attaches probes: what sees a return first, then what sees a beginning. A call of which only the
/// beginning is seen would look as if it never returned.
fn probes(object: &mut Object, pid: u32, found: &[Found]) -> Result<Vec<Attachment>, CaptureError> {
    let mut attached = Vec::new();
    let is_free = |function: &AllocatorFunction| function.signature == Signature::Free;
    for of in found {
        let file = &of.region.place;
        for function in of.functions.iter().filter(|function| !is_free(function)) {
            attached.push(object.probe_user("end_call", file, function.file_offset, pid)?);
        }
    }
    for of in found {
        let file = &of.region.place;
        let mut functions: Vec<&AllocatorFunction> = of.functions.iter().collect();
        functions.sort_by_key(|function| !is_free(function));
        for function in functions {
            let program = program(function, found.len());
            attached.push(object.probe_user(program, file, function.file_offset, pid)?);
        }
    }
    Ok(attached)
}

/// The program that sees where a function begins. Where there are several allocators one may call
/// the other, and then the outer call counts.
fn program(function: &AllocatorFunction, allocators: usize) -> &'static str {
    let is_leaf = allocators == 1 && !function.may_call;
    match (function.signature, function.may_throw) {
        (Signature::Size, false) if is_leaf => "begin_size",
        (Signature::Size, false) => "begin_outer_size",
        (Signature::Size, true) if is_leaf => "begin_throwing_size",
        (Signature::Size, true) => "begin_throwing_outer_size",
        (Signature::SecondSize, _) => "begin_second_size",
        (Signature::Product, _) if is_leaf => "begin_product",
        (Signature::Product, _) => "begin_outer_product",
        (Signature::Realloc, _) => "begin_realloc",
        (Signature::ReallocProduct, _) => "begin_realloc_product",
        (Signature::ByPointer, _) => "begin_by_pointer",
        (Signature::Free, _) => "begin_free",
    }
}

/// Kernels on which a return probe would be the end of some processes. Since Linux 6.11 it ends with
/// a system call of its own, which filters of system calls, such as containers have, let pass since
/// 6.14 only; before 6.11 it does not know shadow stacks.
fn check_returns(pid: u32) -> Result<(), CaptureError> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let status = read(&format!("/proc/{pid}/status"));
    let is_filtered = procfs::field(&status, "Seccomp").is_some_and(|mode| mode > 0);
    let features = status.lines().find_map(|line| line.strip_prefix("x86_Thread_features:"));
    let has_shadow_stack = features.is_some_and(|features| features.contains("shstk"));
    let reason = match kernel_version() {
        (6, 11..14) if is_filtered => {
            "a seccomp filter forbids it system calls, which on this kernel ends it"
        }
        (..=5, _) | (6, ..11) if has_shadow_stack => {
            "it has shadow stacks, which on this kernel end it"
        }
        _ => return Ok(()),
    };
    let reason = format!("{reason} when it returns to where a return probe is");
    Err(CaptureError::Refused { pid, reason, advice: Some("use a kernel from 6.14 on") })
}

/// Reports whether a process is not likely to be refused memory. Where a function throws an
/// exception for want of it, and its return is to be seen, the program ends: the exception does not
/// find its way. Then better nothing is known of that function.
fn has_memory(pid: u32) -> bool {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap_or_default();
    let is_unlimited = |name: &str| {
        let mut values = limits.lines().filter_map(|line| line.strip_prefix(name));
        values.next().is_some_and(|values| values.trim_start().starts_with("unlimited"))
    };
    let overcommit = fs::read_to_string("/proc/sys/vm/overcommit_memory").unwrap_or_default();
    is_unlimited("Max address space") && is_unlimited("Max data size") && overcommit.trim() != "2"
}

/// The files of a process that have functions of an allocator.
fn allocators_of(names: &ProcessNames) -> Result<Vec<Found>, CaptureError> {
    let (mut found, mut seen) = (Vec::new(), BTreeSet::new());
    for region in names.regions() {
        let Some(object) = &region.object else { continue };
        // A file that is mapped twice is one.
        if !seen.insert(Arc::as_ptr(object)) {
            continue;
        }
        let Ok(elf) = Elf::parse(object.bytes()) else { continue };
        let functions = allocators::functions(&elf);
        // The file may have others only: `free` of something else, for instance.
        let takes = functions.iter().any(|function| function.signature == Signature::Free);
        let gives = functions.iter().any(|function| function.signature != Signature::Free);
        if takes && gives {
            found.push(Found { region: region.clone(), functions });
        }
    }
    if found.is_empty() {
        let pid = names.pid();
        let is_hidden = |region: &Region| region.object.is_none() && region.path.starts_with('/');
        if names.regions().any(is_hidden) {
            return Err(CaptureError::Denied { pid, what: "opening the files it has mapped" });
        }
        let reason = format!(
            "process {pid} has no function of an allocator that is known by name (malloc, \
             je_malloc, mi_malloc, tc_malloc and their kin): a Go program without C has its own \
             heap (memsight probe alloc), and a statically linked one that is stripped does not \
             tell its names"
        );
        return Err(CaptureError::Probe { probe: PROBE, reason });
    }
    Ok(found)
}
