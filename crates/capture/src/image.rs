//! The bytes of a file, memory-mapped: a running executable through /proc/PID/exe, so that
//! deleted files and other mount namespaces work too, or a heap file of any size.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use crate::mapping::{Access, Mapping};

/// A read-only, private map of a whole file.
///
/// A file that is truncated in place while mapped would kill us with SIGBUS. A
/// running executable cannot be opened for writing (ETXTBSY), and package managers
/// replace files instead of rewriting them, so the map lives only as long as its
/// process is read. Snapshot files are replaced as a whole too; whoever truncates a heap
/// file of another kind while it is read ends us.
#[derive(Debug)]
pub struct Image(Mapping);

impl Image {
    /// Maps a file.
    ///
    /// # Errors
    /// When it cannot be opened, is empty, or no regular file.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Image> {
        Image::of_file(&File::open(path)?)
    }

    /// Maps an open file.
    pub(crate) fn of_file(file: &File) -> io::Result<Image> {
        let metadata = file.metadata()?;
        if !metadata.is_file() || metadata.len() == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        let len = usize::try_from(metadata.len()).map_err(io::Error::other)?;
        Ok(Image(Mapping::new(file.as_fd(), len, Access::ReadPrivate)?))
    }
}

impl Image {
    /// Gives back the pages that were looked at: watching many programs must not keep
    /// their executables resident, nor checksums a whole heap file. They come back from
    /// the page cache when needed.
    pub fn release(&self) {
        // SAFETY: the pages of a read-only file mapping are read again on the next
        // access; nothing can be lost.
        unsafe {
            libc::madvise(self.0.start().as_ptr().cast(), self.0.len(), libc::MADV_DONTNEED);
        }
    }
}

impl AsRef<[u8]> for Image {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the mapping lives until drop and is never written.
        unsafe { std::slice::from_raw_parts(self.0.start().as_ptr(), self.0.len()) }
    }
}
