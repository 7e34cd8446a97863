//! Programs that see both the beginning and the return of functions of a process, and say at the
//! beginning whether they want to see the return (uprobe sessions, since Linux 6.13).
//!
//! The library that loads all else has no notion of them, so that they are linked by its parts here
//! and loaded by the system call. All places of a file are attached at once.

use std::collections::{HashMap, HashSet};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use aya_obj::generated::{bpf_attr, bpf_cmd, bpf_prog_type};
use aya_obj::obj;

/// BPF_TRACE_UPROBE_SESSION; newer than what the library knows.
const SESSION: u32 = 57;

/// What a program is made of.
pub(super) struct Linked {
    object: obj::Object,
    /// The types of the object, which programs with callbacks need.
    types: OwnedFd,
}

/// A loaded program and the places it is attached to; closing the descriptors takes it off.
#[derive(Debug)]
pub(super) struct Session {
    program: OwnedFd,
    links: Vec<OwnedFd>,
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
    pub(super) fn load(&self, name: &str) -> io::Result<Session> {
        let program = self.object.programs.get(name).expect("a program of this object");
        let function = &self.object.functions[&program.function_key()];
        let lines = function.line_info.line_info_bytes();
        let functions = function.func_info.func_info_bytes();
        let mut attributes = no_attributes();
        // SAFETY: all fields of this part are integers, of which any bytes are a value.
        let load = unsafe { &mut attributes.__bindgen_anon_3 };
        load.prog_type = bpf_prog_type::BPF_PROG_TYPE_KPROBE as u32;
        load.expected_attach_type = SESSION;
        load.insns = function.instructions.as_ptr() as u64;
        load.insn_cnt = function.instructions.len() as u32;
        load.license = program.license.as_ptr() as u64;
        load.prog_btf_fd = self.types.as_raw_fd().cast_unsigned();
        load.func_info = functions.as_ptr() as u64;
        load.func_info_cnt = function.func_info.len() as u32;
        load.func_info_rec_size = function.func_info_rec_size as u32;
        load.line_info = lines.as_ptr() as u64;
        load.line_info_cnt = function.line_info.len() as u32;
        load.line_info_rec_size = function.line_info_rec_size as u32;
        let program = call(bpf_cmd::BPF_PROG_LOAD, &mut attributes)?;
        Ok(Session { program, links: Vec::new() })
    }
}

impl Session {
    /// Attaches it to places of a file, for one process.
    pub(super) fn attach(&mut self, file: &Path, offsets: &[u64], pid: u32) -> io::Result<()> {
        let path = CString::new(file.as_os_str().as_bytes()).map_err(io::Error::other)?;
        let mut attributes = no_attributes();
        // SAFETY: as above.
        let link = unsafe { &mut attributes.link_create };
        link.__bindgen_anon_1.prog_fd = self.program.as_raw_fd().cast_unsigned();
        link.attach_type = SESSION;
        // SAFETY: as above.
        let places = unsafe { &mut link.__bindgen_anon_3.uprobe_multi };
        places.path = path.as_ptr() as u64;
        places.offsets = offsets.as_ptr() as u64;
        places.cnt = offsets.len() as u32;
        places.pid = pid;
        self.links.push(call(bpf_cmd::BPF_LINK_CREATE, &mut attributes)?);
        Ok(())
    }
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
        // SAFETY: the kernel has just opened it for us, and nobody else has it.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}
