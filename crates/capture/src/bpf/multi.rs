//! Programs that are attached to many places of a file at once, by links of the kernel: they need
//! less privileges than events of perf, which all kernels have.
//!
//! The library that loads all else has no notion of them, so that they are linked by its parts here
//! and loaded by the system call.

use std::collections::{HashMap, HashSet};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use aya_obj::generated::{bpf_attr, bpf_cmd, bpf_prog_info, bpf_prog_type};
use aya_obj::obj;

use super::object::{ProbeCost, own_entry};
use super::support::kernel_version;

/// What of a function such a program sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sees {
    /// The place that it is attached to. Linux has it since 6.6, but tells processes from threads
    /// only since 6.10.
    Place,
    /// The beginning and, where the program asks for it there, the return: sessions, since 6.13.
    Both,
}

impl Sees {
    /// BPF_TRACE_UPROBE_MULTI and BPF_TRACE_UPROBE_SESSION; the latter is newer than the library.
    fn attach_type(self) -> u32 {
        match self {
            Sees::Place => 48,
            Sees::Both => 57,
        }
    }

    /// Whether this kernel has it.
    fn check(self) -> io::Result<()> {
        let since = match self {
            Sees::Place => (6, 10),
            Sees::Both => (6, 13),
        };
        if kernel_version() < since {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok(())
    }
}

/// What a program is made of.
pub(super) struct Linked {
    object: obj::Object,
    /// The types of the object, which programs with callbacks need.
    types: OwnedFd,
}

/// A loaded program.
#[derive(Debug)]
pub(super) struct Program {
    program: OwnedFd,
    sees: Sees,
}

/// A program that is attached to places of a file; dropping it takes it off.
#[derive(Debug)]
pub(super) struct Link {
    _descriptor: OwnedFd,
}

/// A place of a file, for a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Of the code.
    pub offset: u64,
    /// Of a count that is more than 0 as long as a program is attached; 0 for none.
    pub count_offset: u64,
}

impl Place {
    pub(super) fn of(offset: u64) -> Place {
        Place { offset, count_offset: 0 }
    }
}

impl Linked {
    /// Links the programs of an object with the maps that were made for it, by name.
    pub(super) fn new(object: &[u8], maps: &HashMap<String, RawFd>) -> io::Result<Linked> {
        let features = aya::features();
        let mut object = obj::Object::parse(object).map_err(io::Error::other)?;
        let types = match features.btf() {
            Some(btf) => object.fixup_and_sanitize_btf(btf).map_err(io::Error::other)?,
            None => None,
        };
        let types = types.map(aya_obj::btf::Btf::to_bytes);
        let types = load_types(&types.ok_or_else(|| io::Error::other("it has no types"))?)?;
        let sections: HashSet<usize> =
            object.functions.keys().map(|(section, _)| *section).collect();
        let own = std::mem::take(&mut object.maps);
        let known =
            own.iter().filter_map(|(name, map)| Some((name.as_str(), *maps.get(name)?, map)));
        object.relocate_maps(known, &sections).map_err(io::Error::other)?;
        object.relocate_calls(&sections).map_err(io::Error::other)?;
        object.sanitize_functions(features);
        Ok(Linked { object, types })
    }

    /// Loads a program.
    pub(super) fn load(&self, name: &str, sees: Sees) -> io::Result<Program> {
        sees.check()?;
        let program = self.object.programs.get(name).expect("a program of this object");
        let function = &self.object.functions[&program.function_key()];
        let lines = function.line_info.line_info_bytes();
        let functions = function.func_info.func_info_bytes();
        let mut attributes = no_attributes();
        // SAFETY: all fields of this part are integers, of which any bytes are a value.
        let load = unsafe { &mut attributes.__bindgen_anon_3 };
        load.prog_type = bpf_prog_type::BPF_PROG_TYPE_KPROBE as u32;
        load.expected_attach_type = sees.attach_type();
        load.insns = function.instructions.as_ptr() as u64;
        load.insn_cnt = function.instructions.len() as u32;
        load.license = program.license.as_ptr() as u64;
        load.prog_name = shown_name(name);
        load.prog_btf_fd = self.types.as_raw_fd().cast_unsigned();
        load.func_info = functions.as_ptr() as u64;
        load.func_info_cnt = function.func_info.len() as u32;
        load.func_info_rec_size = function.func_info_rec_size as u32;
        load.line_info = lines.as_ptr() as u64;
        load.line_info_cnt = function.line_info.len() as u32;
        load.line_info_rec_size = function.line_info_rec_size as u32;
        let program = call(bpf_cmd::BPF_PROG_LOAD, &mut attributes)?;
        Ok(Program { program, sees })
    }
}

impl Program {
    /// Attaches it to places of a file, for one process. A place may have a count that the kernel
    /// keeps above 0 meanwhile, by which the process knows that somebody looks; 0 if it has none.
    pub(super) fn attach(&self, file: &Path, places: &[Place], pid: u32) -> io::Result<Link> {
        let path = CString::new(file.as_os_str().as_bytes()).map_err(io::Error::other)?;
        let offsets: Vec<u64> = places.iter().map(|place| place.offset).collect();
        let counts: Vec<u64> = places.iter().map(|place| place.count_offset).collect();
        let mut attributes = no_attributes();
        // SAFETY: as above.
        let link = unsafe { &mut attributes.link_create };
        link.__bindgen_anon_1.prog_fd = self.program.as_raw_fd().cast_unsigned();
        link.attach_type = self.sees.attach_type();
        // SAFETY: as above.
        let many = unsafe { &mut link.__bindgen_anon_3.uprobe_multi };
        many.path = path.as_ptr() as u64;
        many.offsets = offsets.as_ptr() as u64;
        many.ref_ctr_offsets = counts.as_ptr() as u64;
        many.cnt = offsets.len() as u32;
        many.pid = pid;
        Ok(Link { _descriptor: call(bpf_cmd::BPF_LINK_CREATE, &mut attributes)? })
    }

    /// Attaches it to this process where it never comes again, and takes it off.
    pub(super) fn try_own_code(&self) -> io::Result<()> {
        let (file, entry) = own_entry()?;
        self.attach(file, &[Place::of(entry)], std::process::id()).map(drop)
    }

    /// How often it ran, and how long, since the kernel measures that.
    pub(super) fn cost(&self) -> io::Result<ProbeCost> {
        // SAFETY: a structure of integers.
        let mut info: bpf_prog_info = unsafe { std::mem::zeroed() };
        let mut attributes = no_attributes();
        // SAFETY: as above.
        let about = unsafe { &mut attributes.info };
        about.bpf_fd = self.program.as_raw_fd().cast_unsigned();
        about.info_len = size_of::<bpf_prog_info>() as u32;
        about.info = std::ptr::from_mut(&mut info) as u64;
        system(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attributes)?;
        Ok(ProbeCost { runs: info.run_cnt, ran: Duration::from_nanos(info.run_time_ns) })
    }
}

/// The name as bpftool shows it; the kernel takes 15 bytes.
fn shown_name(name: &str) -> [libc::c_char; 16] {
    let mut shown = [0; 16];
    for (to, byte) in shown.iter_mut().take(15).zip(name.bytes()) {
        *to = byte.cast_signed();
    }
    shown
}

fn load_types(bytes: &[u8]) -> io::Result<OwnedFd> {
    let mut attributes = no_attributes();
    // SAFETY: all fields of this part are integers, of which any bytes are a value.
    let load = unsafe { &mut attributes.__bindgen_anon_7 };
    load.btf = bytes.as_ptr() as u64;
    load.btf_size = bytes.len() as u32;
    call(bpf_cmd::BPF_BTF_LOAD, &mut attributes)
}

fn no_attributes() -> bpf_attr {
    // SAFETY: a union of structures of integers.
    unsafe { std::mem::zeroed() }
}

/// Makes a call that returns a new descriptor.
fn call(command: bpf_cmd, attributes: &mut bpf_attr) -> io::Result<OwnedFd> {
    let descriptor = system(command, attributes)?;
    // SAFETY: the kernel has just opened it for us, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

fn system(command: bpf_cmd, attributes: &mut bpf_attr) -> io::Result<RawFd> {
    // SAFETY: the attributes are as long as is said, and what they point to lives in the callers,
    // which fill them as the command has them.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command as libc::c_long,
            std::ptr::from_mut(attributes),
            size_of::<bpf_attr>(),
        )
    };
    match RawFd::try_from(result) {
        Ok(result) if result >= 0 => Ok(result),
        _ => Err(io::Error::last_os_error()),
    }
}
