//! Another process's memory, by process_vm_readv: the target is not stopped, not
//! traced, and not changed.

use std::cell::Cell;

use decode::goruntime::{Memory, MemoryError};
use model::Addr;

/// Reads the memory of one process.
#[derive(Debug)]
pub struct ProcessMemoryReader {
    pid: libc::pid_t,
    calls: Cell<u64>,
}

impl ProcessMemoryReader {
    /// A reader of this process; nothing is checked until the first read.
    pub fn new(pid: u32) -> ProcessMemoryReader {
        ProcessMemoryReader { pid: pid.cast_signed(), calls: Cell::new(0) }
    }

    /// How many system calls were made.
    pub fn calls(&self) -> u64 {
        self.calls.get()
    }
}

impl Memory for ProcessMemoryReader {
    fn read(&self, addr: Addr, buffer: &mut [u8]) -> Result<(), MemoryError> {
        let mut done = 0;
        while done < buffer.len() {
            let at = addr.checked_add(done as u64).ok_or(MemoryError::Unmapped(addr))?;
            let rest = &mut buffer[done..];
            let local = libc::iovec { iov_base: rest.as_mut_ptr().cast(), iov_len: rest.len() };
            let remote = libc::iovec { iov_base: at.0 as *mut _, iov_len: rest.len() };
            self.calls.set(self.calls.get() + 1);
            // SAFETY: `local` describes the live, exclusively borrowed `rest`; the
            // kernel checks `remote` against the other process's mappings.
            let read = unsafe { libc::process_vm_readv(self.pid, &local, 1, &remote, 1, 0) };
            match usize::try_from(read) {
                Ok(0) => return Err(MemoryError::Unmapped(at)),
                // A short read ends at an unmapped page; the next round says so.
                Ok(count) => done += count,
                Err(_) => {
                    return Err(match std::io::Error::last_os_error().raw_os_error() {
                        Some(libc::ESRCH) => MemoryError::Gone,
                        Some(libc::EPERM) => MemoryError::Denied,
                        _ => MemoryError::Unmapped(at),
                    });
                }
            }
        }
        Ok(())
    }
}
