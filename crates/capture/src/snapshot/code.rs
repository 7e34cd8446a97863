//! A syscall instruction in the target's own code.

use std::fs;
use std::os::unix::fs::MetadataExt;

use decode::goruntime::Memory;
use decode::procfs::{self, Mapping};
use model::Addr;

use super::inject::is_runtime_call;
use crate::memory::ProcessMemoryReader;

/// The runtime's system calls lie in the first megabytes of any Go program.
const TEXT_BYTES_MAX: u64 = 64 << 20;
const CHUNK: u64 = 1 << 20;

/// Seven bytes of code at `at`.
pub(super) fn read(pid: u32, at: u64) -> Option<[u8; 7]> {
    let mut code = [0; 7];
    ProcessMemoryReader::new(pid).read(Addr(at), &mut code).ok()?;
    Some(code)
}

/// The address of a syscall instruction: one of the Go runtime's that is followed by
/// nothing but a store to the stack, or else any of the vDSO.
pub(super) fn find_instruction(pid: u32) -> Option<u64> {
    let maps = procfs::maps(&fs::read_to_string(format!("/proc/{pid}/maps")).ok()?);
    let exe = fs::metadata(format!("/proc/{pid}/exe")).map(|metadata| metadata.ino()).ok();
    let is_code = |mapping: &&Mapping| mapping.permissions.starts_with("r-x");
    let in_exe = maps.iter().filter(is_code).filter(|mapping| Some(mapping.inode) == exe);
    let found = in_exe.into_iter().find_map(|mapping| search(pid, mapping, is_runtime_call));
    found.or_else(|| {
        let vdso = maps.iter().filter(is_code).find(|mapping| mapping.path == "[vdso]")?;
        search(pid, vdso, |code| code.starts_with(&[0x0f, 0x05]))
    })
}

fn search(pid: u32, mapping: &Mapping, matches: fn(&[u8]) -> bool) -> Option<u64> {
    let memory = ProcessMemoryReader::new(pid);
    let end = mapping.end.min(mapping.start.saturating_add(TEXT_BYTES_MAX));
    let mut at = mapping.start;
    while at < end {
        // Chunks overlap by what one pattern may straddle.
        let len = (CHUNK + 8).min(end - at);
        let code = memory.read_vec(Addr(at), usize::try_from(len).ok()?).ok()?;
        if let Some(index) = code.windows(7).position(matches) {
            return Some(at + index as u64);
        }
        at += CHUNK;
    }
    None
}
