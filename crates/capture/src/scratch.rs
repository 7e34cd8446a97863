//! Files without a name, for what is too large for memory: the kernel frees them when
//! we end, in whatever way.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

/// Opens a new file in `dir` that has no name and that nobody else may read.
pub(crate) fn file(dir: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    match options.clone().custom_flags(libc::O_TMPFILE).open(dir) {
        Err(error) if has_no_tmpfile(&error) => {}
        result => return result,
    }
    // Some file systems cannot do that (NFS, overlayfs on old kernels).
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = dir.join(format!(".memsight-{}-{number}", std::process::id()));
        match options.clone().create_new(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
            Ok(file) => {
                fs::remove_file(&path)?;
                return Ok(file);
            }
        }
    }
}

fn has_no_tmpfile(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EISDIR | libc::EINVAL))
}

/// Bytes that can still be written in the file system of `dir`.
pub(crate) fn free_bytes(dir: &Path) -> Option<u64> {
    let space = rustix::fs::statvfs(dir).ok()?;
    Some(space.f_bavail.saturating_mul(space.f_frsize))
}

#[cfg(test)]
mod tests {
    #[test]
    fn scratch_files_leave_no_name() {
        let dir = tempfile::tempdir().unwrap();
        let file = super::file(dir.path()).unwrap();
        file.set_len(1 << 40).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(super::free_bytes(dir.path()).unwrap() > 0);
    }
}
