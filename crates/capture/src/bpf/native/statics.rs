//! Programs that sample what they allocate themselves, and tell it by static probes (USDT): those of
//! OpenTelemetry's contract for memory profiling, `otel_memory:alloc(address, size, weighted_bytes)`
//! and `otel_memory:free(address)`.

use std::collections::BTreeSet;
use std::io;
use std::mem::offset_of;

use decode::elf::Elf;
use decode::usdt::{self, Argument, Operand, Register, StaticProbe};
use model::Addr;

use super::{Allocator, OBJECT, PROBE};
use crate::bpf::multi::{Link, Place, Sees};
use crate::bpf::object::Object;
use crate::error::CaptureError;
use crate::names::{ProcessNames, Region};

const PROVIDER: &str = "otel_memory";
/// What is probed, by which program, and how many arguments it has.
const KINDS: [(&str, &str, usize); 2] = [("free", "static_free", 1), ("alloc", "static_alloc", 3)];

/// `struct argument` of native.bpf.c.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct ArgumentRecord {
    number: i64,
    base: u16,
    index: u16,
    scale: u8,
    size: u8,
    is_signed: u8,
    is_memory: u8,
}

/// Its `struct static_probe`.
type ProbeRecord = [ArgumentRecord; 3];

const _: () = assert!(size_of::<ProbeRecord>() == 48);

// SAFETY: integers without padding, any bytes are a value.
unsafe impl aya::Pod for ArgumentRecord {}

/// NO_REGISTER of native.bpf.c.
const NO_REGISTER: u16 = 0xffff;

/// A file that tells its allocations.
pub(super) struct Telling {
    region: Region,
    probes: Vec<StaticProbe>,
}

impl Telling {
    pub(super) fn allocator(&self) -> Allocator {
        let mut functions: Vec<String> =
            self.probes.iter().map(|probe| format!("{PROVIDER}:{}", probe.name)).collect();
        functions.sort();
        functions.dedup();
        Allocator { path: self.region.path.clone(), functions, unfollowed: Vec::new() }
    }
}

/// What a file tells of its allocations, if it does; why that cannot be read otherwise.
fn telling_of(region: &Region) -> Result<Option<Telling>, String> {
    let Some(elf) = region.object.as_ref().and_then(|it| Elf::parse(it.bytes()).ok()) else {
        return Ok(None);
    };
    let mut probes = usdt::static_probes(&elf, PROVIDER);
    // Of a file that is mapped several times, those that are in this mapping.
    probes.retain(|probe| address(region, probe).is_some());
    if let Some(odd) = probes.iter().find_map(|probe| record(probe).err()) {
        return Err(format!("{}: {odd}", region.path));
    }
    probes.retain(|probe| KINDS.iter().any(|(name, ..)| *name == probe.name));
    Ok((!probes.is_empty()).then(|| Telling { region: region.clone(), probes }))
}

/// The files of a process that tell what they allocate, and what is freed of it.
pub(super) fn telling(names: &ProcessNames) -> Result<Vec<Telling>, CaptureError> {
    let failed = |reason: String| CaptureError::Probe { probe: PROBE, reason };
    let mut found = Vec::new();
    for region in names.regions() {
        found.extend(telling_of(region).map_err(failed)?);
    }
    let tells = |name: &str| found.iter().flat_map(|of| &of.probes).any(|it| it.name == name);
    match KINDS.iter().find(|(name, ..)| !tells(name)) {
        Some((name, ..)) => Err(failed(format!(
            "process {} has no static probe {PROVIDER}:{name}: its allocators do not tell what they \
             sample; without --usdt, calls of malloc are sampled from outside",
            names.pid()
        ))),
        None => Ok(found),
    }
}

/// Mappings that were looked at: where each begins, and its file.
pub(super) type Known = BTreeSet<(Addr, String)>;

/// Those that are there now.
pub(super) fn known(names: &ProcessNames) -> Known {
    names.regions().map(|region| (region.start, region.path.clone())).collect()
}

/// The files that were mapped since the last call and tell what they allocate; what cannot be read
/// of such a one is left out.
pub(super) fn loaded_later(names: &ProcessNames, known: &mut Known) -> Vec<Telling> {
    let is_new = |region: &&Region| known.insert((region.start, region.path.clone()));
    let new: Vec<&Region> = names.regions().filter(is_new).collect();
    new.into_iter().filter_map(|region| telling_of(region).ok().flatten()).collect()
}

/// Attaches programs to what a process tells.
pub(super) fn attach(object: &mut Object, pid: u32, found: &[Telling]) -> io::Result<Vec<Link>> {
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let mut table = object.table::<u64, ProbeRecord>("static_probes");
    for of in found {
        for probe in &of.probes {
            let (Some(address), Ok(record)) = (address(&of.region, probe), record(probe)) else {
                continue;
            };
            table.insert(address.0, record, 0).map_err(io::Error::other)?;
        }
    }
    let (linked, mut links) = (object.linked(OBJECT)?, Vec::new());
    for (name, program, _) in KINDS {
        let program = linked.load(program, Sees::Place)?;
        for of in found {
            let probes = of.probes.iter().filter(|probe| probe.name == name);
            let place =
                |it: &StaticProbe| Place { offset: it.file_offset, count_offset: it.count_offset };
            let places: Vec<Place> = probes.map(place).collect();
            if !places.is_empty() {
                links.push(program.attach(&of.region.place, &places, pid)?);
            }
        }
    }
    Ok(links)
}

/// Where a probe is in the process, if it is in this mapping.
fn address(region: &Region, probe: &StaticProbe) -> Option<Addr> {
    let skip = probe.file_offset.checked_sub(region.file_offset)?;
    let address = Addr(region.start.0.checked_add(skip)?);
    (address < region.end).then_some(address)
}

/// Where its arguments are, for the kernel; why they cannot be had otherwise.
fn record(probe: &StaticProbe) -> Result<ProbeRecord, String> {
    let wanted = KINDS.iter().find(|(name, ..)| *name == probe.name).map_or(0, |kind| kind.2);
    let mut record = ProbeRecord::default();
    for (index, of) in record.iter_mut().enumerate().take(wanted) {
        let argument = probe.arguments.get(index).copied().flatten();
        *of = argument.map(argument_record).ok_or_else(|| {
            let number = index + 1;
            format!(
                "argument {number} of {PROVIDER}:{} is in a place that is not known",
                probe.name
            )
        })?;
    }
    Ok(record)
}

fn argument_record(argument: Argument) -> ArgumentRecord {
    let plain = ArgumentRecord {
        base: NO_REGISTER,
        index: NO_REGISTER,
        size: argument.size,
        is_signed: argument.is_signed.into(),
        ..ArgumentRecord::default()
    };
    match argument.operand {
        Operand::Constant(number) => ArgumentRecord { number, ..plain },
        Operand::Register(register) => ArgumentRecord { base: offset(register), ..plain },
        Operand::Memory { offset: number, base, index } => ArgumentRecord {
            number,
            base: base.map_or(NO_REGISTER, offset),
            index: index.map_or(NO_REGISTER, |(register, _)| offset(register)),
            scale: index.map_or(0, |(_, scale)| scale),
            is_memory: 1,
            ..plain
        },
    }
}

/// Where a register is among those that the kernel shows its programs.
fn offset(register: Register) -> u16 {
    use libc::user_regs_struct as Registers;
    let offset = match register {
        Register::Rax => offset_of!(Registers, rax),
        Register::Rbx => offset_of!(Registers, rbx),
        Register::Rcx => offset_of!(Registers, rcx),
        Register::Rdx => offset_of!(Registers, rdx),
        Register::Rsi => offset_of!(Registers, rsi),
        Register::Rdi => offset_of!(Registers, rdi),
        Register::Rbp => offset_of!(Registers, rbp),
        Register::Rsp => offset_of!(Registers, rsp),
        Register::R8 => offset_of!(Registers, r8),
        Register::R9 => offset_of!(Registers, r9),
        Register::R10 => offset_of!(Registers, r10),
        Register::R11 => offset_of!(Registers, r11),
        Register::R12 => offset_of!(Registers, r12),
        Register::R13 => offset_of!(Registers, r13),
        Register::R14 => offset_of!(Registers, r14),
        Register::R15 => offset_of!(Registers, r15),
    };
    offset as u16
}
