//! Executables of processes, each mapped and looked into once however many processes run it.

use std::collections::{HashMap, VecDeque};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use decode::goruntime::Binary;

use crate::error::CaptureError;
use crate::image::Image;

/// A file that was not replaced or rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FileId {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
}

impl FileId {
    /// The executable of a process. One system call: the link leads to the file itself, also
    /// when it is deleted.
    pub(crate) fn of_process(pid: u32) -> Option<FileId> {
        fs::metadata(format!("/proc/{pid}/exe")).ok().map(|metadata| FileId::of(&metadata))
    }

    pub(crate) fn of(metadata: &fs::Metadata) -> FileId {
        FileId {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

impl FileId {
    /// Whether both are one file, which may have been touched meanwhile.
    pub(crate) fn is_same_file(self, other: FileId) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

/// An executable that some process runs.
#[derive(Debug)]
pub(crate) struct Executable {
    pub(crate) image: Image,
    pub(crate) binary: Binary,
    released: Mutex<Instant>,
}

/// Pages that were looked at stay resident so long: reading them in again costs more than they do.
const RELEASE_EVERY: Duration = Duration::from_secs(10);

/// Of so many executables: where hundreds of processes each run another one, it is turn and turn
/// about, and each has a megabyte that is looked at.
const RESIDENT_MAX: usize = 8;

/// Executables of which pages are resident, the one that was used last at the end.
static RESIDENT: Mutex<VecDeque<Weak<Executable>>> = Mutex::new(VecDeque::new());

/// While a process runs a file, no other can have its inode.
static KNOWN: LazyLock<Mutex<HashMap<FileId, Weak<Executable>>>> = LazyLock::new(Mutex::default);

impl Executable {
    /// The executable of a process.
    ///
    /// # Errors
    /// When it cannot be opened or is no Go program of a supported release.
    pub(crate) fn of_process(pid: u32) -> Result<Arc<Executable>, CaptureError> {
        let id = FileId::of_process(pid);
        // Held while the file is looked into: of hundreds that run it the others wait for the one.
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(executable) = id.and_then(|id| known.get(&id)).and_then(Weak::upgrade) {
            return Ok(executable);
        }
        let path = format!("/proc/{pid}/exe");
        let image =
            Image::open(&path).map_err(|source| CaptureError::from_io(pid, path, source))?;
        let binary = Binary::open(image.as_ref());
        let binary = binary.map_err(|source| CaptureError::from_runtime(pid, source))?;
        let released = Mutex::new(Instant::now());
        let executable = Arc::new(Executable { image, binary, released });
        // The process may have become another program since it was looked at.
        if let Some(id) = id.filter(|id| FileId::of_process(pid) == Some(*id)) {
            known.retain(|_, executable| executable.strong_count() > 0);
            known.insert(id, Arc::downgrade(&executable));
        }
        Ok(executable)
    }

    /// Gives back the pages that were looked at, now and then, and those of executables that were
    /// not used for longer. To be called after each use.
    pub(crate) fn release(self: &Arc<Self>) {
        let mut released = self.released.lock().unwrap_or_else(PoisonError::into_inner);
        if released.elapsed() >= RELEASE_EVERY {
            *released = Instant::now();
            self.image.release();
        }
        drop(released);
        let mut resident = RESIDENT.lock().unwrap_or_else(PoisonError::into_inner);
        resident.retain(|known| known.as_ptr() != Arc::as_ptr(self));
        resident.push_back(Arc::downgrade(self));
        if resident.len() > RESIDENT_MAX
            && let Some(oldest) = resident.pop_front().and_then(|oldest| oldest.upgrade())
        {
            oldest.image.release();
        }
    }
}
