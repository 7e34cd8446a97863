//! What the targets share: a count of the memory in use, and the check that every
//! profile reader must pass.

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
