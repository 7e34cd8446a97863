//! What the targets share: a count of the memory in use, and the check that every
//! profile reader must pass.

pub mod subject;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A reader may use this much, whatever its input.
const BYTES_FREE: usize = 1 << 20;

/// Beyond that, so much for each byte of a plain input. The worst are fields of two bytes
/// that become a structure each, in a vector that is just growing.
pub const BYTES_PER_BYTE: usize = 100;

struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(now, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Runs `work` and panics when it holds more than `bytes_max` more than before at any time.
pub fn bounded<T>(bytes_max: usize, work: impl FnOnce() -> T) -> T {
    let before = NOW.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let result = work();
    let used = PEAK.load(Ordering::Relaxed).saturating_sub(before);
    assert!(used <= bytes_max, "{used} bytes in use, at most {bytes_max} expected");
    result
}

/// Reads a plain profile within its memory; what is read can be written and read again.
pub fn read_profile(bytes: &[u8]) {
    let bytes_max = BYTES_FREE + BYTES_PER_BYTE * bytes.len();
    let Ok(parsed) = bounded(bytes_max, || decode::profile::read(bytes)) else { return };
    let written = decode::pprof::write_plain(&parsed.profile);
    let again = decode::pprof::read(&written).expect("what was written can be read");
    assert_eq!(again.profile.samples.len(), parsed.profile.samples.len());
}

/// As [`read_profile`], of one of these beginnings, which the first byte chooses, and the
/// rest of the input.
pub fn read_with_head(heads: &[&[u8]], data: &[u8]) {
    let Some((choice, rest)) = data.split_first() else { return };
    let head = heads[usize::from(*choice) % heads.len()];
    read_profile(&[head, rest].concat());
}

const HEAD_BYTES: usize = 24;
const ENTRY_BYTES: usize = 64;
const TRAILER_BYTES: usize = 32;

fn index(bytes: &[u8], at: usize) -> Option<usize> {
    let field: [u8; 8] = bytes.get(at..at + 8)?.try_into().ok()?;
    usize::try_from(u64::from_le_bytes(field)).ok()
}

/// Gives every column of a snapshot file and its directory the checksum of their bytes, where
/// the directory can be found.
pub fn mend_heapfile(file: &mut [u8]) -> Option<()> {
    let end = file.len().checked_sub(TRAILER_BYTES)?;
    let (start, count) = (index(file, end)?, index(file, end + 8)?);
    let directory = start..start.checked_add(count.checked_mul(ENTRY_BYTES)?)?;
    file.get(directory.clone())?;
    for entry in directory.clone().step_by(ENTRY_BYTES) {
        let (from, len) = (index(file, entry + 40)?, index(file, entry + 48)?);
        if let Some(column) = file.get(from..from.checked_add(len)?) {
            let crc = crc32fast::hash(column).to_le_bytes();
            file.get_mut(entry + 36..entry + 40)?.copy_from_slice(&crc);
        }
    }
    let mut crc = crc32fast::Hasher::new();
    crc.update(file.get(..HEAD_BYTES)?);
    crc.update(file.get(directory)?);
    crc.update(file.get(end..end + 16)?);
    let crc = u64::from(crc.finalize()).to_le_bytes();
    file.get_mut(end + 16..end + 24)?.copy_from_slice(&crc);
    Some(())
}

/// Reads a heap within its memory; what is read is sound and can be written as a Java heap
/// dump that holds the same objects.
pub fn read_heap(bytes: &[u8], read: impl FnOnce(&[u8]) -> Option<model::HeapGraph<'static>>) {
    let bytes_max = 2 * BYTES_FREE + BYTES_PER_BYTE * bytes.len();
    let Some(graph) = bounded(bytes_max, || read(bytes)) else { return };
    graph.check().expect("a sound graph");
    let (mut total, mut objects) = (0_u64, 0);
    graph.objects.each_size(|object, bytes| {
        total = total.saturating_add(bytes);
        // 0 is no id, and ids are taken for signed numbers.
        let address = graph.objects.address(object).map_or(0, |address| address.0);
        objects += u64::from(address != 0 && address < 1 << 61);
    });
    // Sizes need not be those of the input.
    if total > 4 << 20 || objects < graph.len() as u64 {
        return;
    }
    let mut written = Vec::new();
    let count = decode::hprof::write(&graph, &mut written).expect("a vector takes all");
    assert_eq!((count.objects, count.bytes), (objects, written.len() as u64));
    let again = decode::hprof::read(&written, &decode::hprof::Options::default());
    let again = again.expect("what was written can be read");
    again.check().expect("a sound graph");
    assert!(again.len() >= graph.len() && again.warnings.is_empty(), "{:?}", again.warnings);
}
