//! Copying the memory of a process into a scratch file.
//!
//! The file has room for every byte of every mapping that is copied, but only pages that
//! exist are written: what a program reserved and never touched costs nothing. Pages
//! are found by /proc/PID/pagemap (8 bytes a page) and read 4 MiB at a time.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use decode::procfs::{self, Mapping};
use model::Addr;

use super::Progress;
use crate::error::CaptureError;
use crate::image::Image;
use crate::scratch;

const PAGE: u64 = 4096;
const CHUNK: usize = 4 << 20;
/// The kernel takes at most 1,024 pieces in one call.
const PIECES_MAX: usize = 1024;
/// Page entries read at once.
const ENTRIES: u64 = 64 << 10;

/// Mapped files beyond this are data, not code.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// Mappings beyond this are reservations of sanitizers: 20 TiB of shadow memory.
const MAPPING_BYTES_MAX: u64 = 4 << 40;

/// A run of memory and where the file holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) start: Addr,
    pub(super) offset: u64,
    pub(super) len: u64,
}

/// Memory that was copied.
#[derive(Debug)]
pub(super) struct Copied {
    pub(super) image: Image,
    /// In address order, neighbours joined.
    pub(super) ranges: Vec<Range>,
    pub(super) mappings: Vec<Mapping>,
    pub(super) bytes: u64,
    pub(super) unreadable_bytes: u64,
    pub(super) left_out_bytes: u64,
}

/// Copies the memory of `pid`, which had better stand still.
///
/// # Errors
/// When the process ends meanwhile, or the file cannot be written.
pub(super) fn memory(
    pid: u32,
    dir: &Path,
    progress: &mut Progress<'_>,
) -> Result<Copied, CaptureError> {
    let io_error = |source| CaptureError::Io { path: dir.display().to_string(), cause: source };
    let path = format!("/proc/{pid}/maps");
    let text =
        fs::read_to_string(&path).map_err(|source| CaptureError::from_io(pid, path, source))?;
    let mappings = procfs::maps(&text);
    let file = scratch::file(dir).map_err(io_error)?;
    let plan = Plan::of(pid, &mappings)?;
    file.set_len(plan.file_bytes.max(PAGE)).map_err(io_error)?;
    let mut copier = Copier {
        pid,
        file: &file,
        buffer: vec![0; CHUNK],
        pieces: Vec::new(),
        used: 0,
        copied: 0,
        unreadable: 0,
    };
    for run in &plan.runs {
        let mut done = 0;
        while done < run.len {
            let len = (run.len - done).min(CHUNK as u64 - copier.used as u64);
            copier.add(run.start.0 + done, run.offset + done, len as usize);
            done += len;
            if copier.is_full() {
                copier.flush().map_err(|error| error.into_capture(pid, dir))?;
                progress(copier.copied + copier.unreadable, plan.present_bytes);
            }
        }
    }
    copier.flush().map_err(|error| error.into_capture(pid, dir))?;
    progress(plan.present_bytes, plan.present_bytes);
    let (bytes, unreadable_bytes) = (copier.copied, copier.unreadable);
    let image = Image::of_file(&file).map_err(io_error)?;
    let left_out_bytes = plan.left_out_bytes;
    let ranges = join(plan.ranges);
    Ok(Copied { image, ranges, mappings, bytes, unreadable_bytes, left_out_bytes })
}

/// What is to be copied.
#[derive(Debug, Default)]
struct Plan {
    ranges: Vec<Range>,
    runs: Vec<Range>,
    file_bytes: u64,
    present_bytes: u64,
    left_out_bytes: u64,
}

impl Plan {
    fn of(pid: u32, mappings: &[Mapping]) -> Result<Plan, CaptureError> {
        let path = format!("/proc/{pid}/pagemap");
        // Without it (a kernel without CONFIG_PROC_PAGE_MONITOR) every page is read.
        let pagemap = File::open(path).ok();
        let mut plan = Plan::default();
        for mapping in mappings {
            let (start, end) = (mapping.start, mapping.end);
            match choice(mapping) {
                Choice::Nothing => continue,
                Choice::LeftOut => {
                    plan.left_out_bytes = plan.left_out_bytes.saturating_add(end - start);
                    continue;
                }
                Choice::Whole => plan.add_run(start, end, plan.file_bytes),
                Choice::Present => match &pagemap {
                    Some(pagemap) => plan.add_present(pagemap, start, end),
                    None => plan.add_run(start, end, plan.file_bytes),
                },
            }
            let (start, len) = (Addr(start), end - start);
            plan.ranges.push(Range { start, offset: plan.file_bytes, len });
            plan.file_bytes = plan.file_bytes.saturating_add(len);
        }
        match plan.runs.is_empty() {
            // The maps of a process that ends are empty.
            true => Err(CaptureError::Ended(pid)),
            false => Ok(plan),
        }
    }

    fn add_run(&mut self, start: u64, end: u64, offset: u64) {
        let (start, len) = (Addr(start), end - start);
        self.runs.push(Range { start, offset, len });
        self.present_bytes = self.present_bytes.saturating_add(len);
    }

    /// Adds the pages of an anonymous mapping that are in memory or in swap.
    fn add_present(&mut self, pagemap: &File, start: u64, end: u64) {
        let base = self.file_bytes;
        let mut entries = vec![0; (ENTRIES * 8) as usize];
        let mut at = start;
        let mut open: Option<u64> = None;
        while at < end {
            let count = ENTRIES.min((end - at) / PAGE);
            let buffer = &mut entries[..(count * 8) as usize];
            if pagemap.read_exact_at(buffer, at / PAGE * 8).is_err() {
                // Rather too much than too little.
                open = open.or(Some(at));
                break;
            }
            for (index, entry) in buffer.as_chunks::<8>().0.iter().enumerate() {
                let page = at + index as u64 * PAGE;
                match (is_there(u64::from_le_bytes(*entry)), open) {
                    (true, None) => open = Some(page),
                    (false, Some(from)) => {
                        self.add_run(from, page, base + (from - start));
                        open = None;
                    }
                    _ => {}
                }
            }
            at += count * PAGE;
        }
        if let Some(from) = open {
            self.add_run(from, end, base + (from - start));
        }
    }
}

/// An entry of pagemap: bit 63 present, bit 62 swapped.
fn is_there(entry: u64) -> bool {
    entry >> 62 != 0
}

/// What to do with a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    /// It has no memory that can be read.
    Nothing,
    /// It has, and it is none of a Go heap's.
    LeftOut,
    /// Every page: a clone's page tables do not show the pages of files.
    Whole,
    /// The pages that exist.
    Present,
}

fn choice(mapping: &Mapping) -> Choice {
    let is_readable = mapping.permissions.starts_with('r');
    let is_shared = mapping.permissions.ends_with('s');
    let len = mapping.end.saturating_sub(mapping.start);
    let is_kernels = mapping.path.starts_with("[vvar") || mapping.path == "[vsyscall]";
    if !is_readable || is_kernels || len == 0 {
        return Choice::Nothing;
    }
    // Device memory must not be touched; shared memory and databases are nothing that the
    // runtime allocates from, and can be larger than the machine.
    let is_device = mapping.path.starts_with("/dev/") || mapping.path.starts_with("anon_inode:");
    match mapping.inode {
        _ if is_shared || is_device || len > MAPPING_BYTES_MAX => Choice::LeftOut,
        0 => Choice::Present,
        _ if len > FILE_BYTES_MAX => Choice::LeftOut,
        _ => Choice::Whole,
    }
}

/// Joins ranges that are neighbours both in memory and in the file.
fn join(ranges: Vec<Range>) -> Vec<Range> {
    let mut joined: Vec<Range> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match joined.last_mut() {
            Some(last) if last.start.0 + last.len == range.start.0 => last.len += range.len,
            _ => joined.push(range),
        }
    }
    joined
}

#[derive(Debug)]
enum CopyError {
    Gone,
    Denied,
    Write(io::Error),
}

impl CopyError {
    fn into_capture(self, pid: u32, dir: &Path) -> CaptureError {
        match self {
            CopyError::Gone => CaptureError::Ended(pid),
            CopyError::Denied => CaptureError::Denied { pid, what: "reading its memory" },
            CopyError::Write(source) => {
                CaptureError::Io { path: dir.display().to_string(), cause: source }
            }
        }
    }
}

struct Piece {
    address: u64,
    offset: u64,
    len: usize,
}

struct Copier<'a> {
    pid: u32,
    file: &'a File,
    buffer: Vec<u8>,
    pieces: Vec<Piece>,
    used: usize,
    copied: u64,
    unreadable: u64,
}

impl Copier<'_> {
    fn add(&mut self, address: u64, offset: u64, len: usize) {
        self.pieces.push(Piece { address, offset, len });
        self.used += len;
    }

    fn is_full(&self) -> bool {
        self.used == CHUNK || self.pieces.len() == PIECES_MAX
    }

    /// Reads all pieces in one call and writes them out.
    fn flush(&mut self) -> Result<(), CopyError> {
        let pieces = std::mem::take(&mut self.pieces);
        let remote =
            |piece: &Piece| libc::iovec { iov_base: piece.address as *mut _, iov_len: piece.len };
        let remotes: Vec<libc::iovec> = pieces.iter().map(remote).collect();
        let used = std::mem::take(&mut self.used);
        if self.read(used, &remotes)? != used {
            return pieces.iter().try_for_each(|piece| self.copy_page_by_page(piece));
        }
        let mut at = 0;
        for piece in &pieces {
            let bytes = &self.buffer[at..at + piece.len];
            self.file.write_all_at(bytes, piece.offset).map_err(CopyError::Write)?;
            at += piece.len;
        }
        self.copied += used as u64;
        Ok(())
    }

    /// How many bytes could be read into the buffer.
    fn read(&mut self, len: usize, remotes: &[libc::iovec]) -> Result<usize, CopyError> {
        if len == 0 {
            return Ok(0);
        }
        let local = libc::iovec { iov_base: self.buffer[..len].as_mut_ptr().cast(), iov_len: len };
        // SAFETY: `local` describes the live, exclusively borrowed buffer; the kernel
        // checks `remotes` against the other process's mappings.
        let read = unsafe {
            let pid = self.pid.cast_signed();
            let count = remotes.len() as libc::c_ulong;
            libc::process_vm_readv(pid, &local, 1, remotes.as_ptr(), count, 0)
        };
        if let Ok(read) = usize::try_from(read) {
            return Ok(read);
        }
        match io::Error::last_os_error().raw_os_error() {
            Some(libc::ESRCH) => Err(CopyError::Gone),
            Some(libc::EPERM) => Err(CopyError::Denied),
            _ => Ok(0),
        }
    }

    /// Some page cannot be read: one of a file past the file's end, or one unmapped since.
    fn copy_page_by_page(&mut self, piece: &Piece) -> Result<(), CopyError> {
        /// After this many pages the rest is given up.
        const BAD_PAGES_MAX: u64 = 4096;
        let (mut done, mut bad) = (0, 0);
        while done < piece.len {
            let len = piece.len - done;
            let iov_base = (piece.address + done as u64) as *mut _;
            let read = self.read(len, &[libc::iovec { iov_base, iov_len: len }])?;
            let offset = piece.offset + done as u64;
            let bytes = &self.buffer[..read];
            self.file.write_all_at(bytes, offset).map_err(CopyError::Write)?;
            self.copied += read as u64;
            done += read;
            if done < piece.len {
                let to_next_page = PAGE - (piece.address + done as u64) % PAGE;
                bad += 1;
                let left = (piece.len - done) as u64;
                let skip = if bad > BAD_PAGES_MAX { left } else { to_next_page.min(left) };
                self.unreadable += skip;
                done += skip as usize;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(line: &str) -> Mapping {
        procfs::maps(line).remove(0)
    }

    #[test]
    fn only_memory_a_program_allocates_or_loads_is_copied() {
        let check = |line: &str, expected| assert_eq!(choice(&mapping(line)), expected, "{line}");
        check("c000000000-c000400000 rw-p 00000000 00:00 0 ", Choice::Present);
        check("c000400000-c004000000 ---p 00000000 00:00 0 ", Choice::Nothing);
        check("c000000000-c000400000 rw-p 00000000 00:00 0 [anon: Go: heap]", Choice::Present);
        check("400000-600000 r-xp 00000000 08:01 77 /bin/app", Choice::Whole);
        check("700000-a0000000 r--s 00000000 08:01 78 /var/db", Choice::LeftOut);
        check("700000-800000 rw-s 00000000 00:05 79 /dev/dri/card0", Choice::LeftOut);
        check("7ffc0-7ffd0 r--p 00000000 00:00 0 [vvar]", Choice::Nothing);
        check("7ffd0-7ffe0 r-xp 00000000 00:00 0 [vdso]", Choice::Present);
        check("7ff00-a0000000000 rw-p 00000000 00:00 0 ", Choice::LeftOut);
    }

    #[test]
    fn a_program_copies_itself_page_by_page() {
        // One touched page in 64 MiB that were reserved.
        let mut reserved = vec![0_u8; 64 << 20];
        reserved[20 << 20] = 77;
        let dir = tempfile::tempdir().unwrap();
        let mut last = (0, 0);
        let mut progress = |done, total| last = (done, total);
        let copied = memory(std::process::id(), dir.path(), &mut progress).unwrap();
        assert_eq!(last.0, last.1);
        assert!(copied.bytes > PAGE && copied.bytes < 60 << 20, "{}", copied.bytes);
        let address = reserved.as_ptr() as u64;
        let range = copied.ranges.iter().find(|range| {
            range.start.0 <= address && address + (64 << 20) <= range.start.0 + range.len
        });
        let range = range.unwrap();
        let at = (range.offset + address - range.start.0) as usize;
        let bytes = &copied.image.as_ref()[at..at + (64 << 20)];
        assert_eq!(bytes.iter().filter(|byte| **byte != 0).count(), 1);
        assert_eq!(bytes[20 << 20], 77);
    }
}
