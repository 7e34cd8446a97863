//! Mapped memory of a file.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;

/// Whether what is written goes to the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Nothing is written here; what others write is seen.
    ReadShared,
    /// Nothing is written here.
    ReadPrivate,
    /// It does.
    WriteShared,
}

/// A mapping from the start of a file, unmapped when it is dropped.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: it is owned memory; what is done with it through `start` answers for itself.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps so many bytes.
    pub(crate) fn new(file: BorrowedFd<'_>, len: usize, access: Access) -> io::Result<Mapping> {
        let (protection, flags) = match access {
            Access::ReadShared => (libc::PROT_READ, libc::MAP_SHARED),
            Access::ReadPrivate => (libc::PROT_READ, libc::MAP_PRIVATE),
            Access::WriteShared => (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED),
        };
        // SAFETY: a fresh mapping where nothing is; the result is checked before use.
        let start = unsafe {
            libc::mmap(std::ptr::null_mut(), len, protection, flags, file.as_raw_fd(), 0)
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::other("mapped at 0"))?;
        Ok(Mapping { start, len })
    }

    /// Where it begins, at a page.
    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// How many bytes it has.
    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: this is the mapping made in `new`, unmapped once.
        unsafe {
            libc::munmap(self.start.as_ptr().cast(), self.len);
        }
    }
}
