//! What the probes tell, as it lies in memory: the other half of programs/records.h.

use model::{Addr, Timestamp};

pub(super) const FRAMES_MAX: usize = 127;
pub(super) const COMMAND_MAX: usize = 256;
pub(super) const PATH_MAX: usize = 128;
pub(super) const CGROUP_LEVELS: usize = 6;
pub(super) const CGROUP_NAME_MAX: usize = 72;
pub(super) const BUCKET_MAX: usize = 8368;

/// As in records.h.
pub(super) const FAULTS_MAX: usize = 1 << 16;
pub(super) const REGIONS_MAX: usize = 1 << 14;

pub(super) const COUNT_SEEN: u32 = 0;
pub(super) const COUNT_DROPPED: u32 = 1;
pub(super) const COUNT_MAP_FULL: u32 = 2;
pub(super) const COUNT_NO_STACK: u32 = 3;

pub(super) const KIND_EXEC: u32 = 1;
pub(super) const KIND_EXIT: u32 = 2;
pub(super) const KIND_FORK: u32 = 3;
pub(super) const KIND_ALLOC: u32 = 4;
pub(super) const KIND_FREE: u32 = 5;
pub(super) const KIND_VICTIM: u32 = 6;
pub(super) const KIND_BUCKET: u32 = 7;
pub(super) const KIND_DUMPED: u32 = 8;
pub(super) const KIND_RESIDENT: u32 = 20;
pub(super) const KIND_CALL: u32 = 21;

/// A record: integers and arrays of them, without padding.
///
/// # Safety
/// Any bytes must make a value of it.
pub(super) unsafe trait Record: Copy {}

/// Reads a record, of which the end may be missing: that is 0.
pub(super) fn read<T: Record>(bytes: &[u8]) -> T {
    let mut record = std::mem::MaybeUninit::<T>::zeroed();
    let len = bytes.len().min(size_of::<T>());
    // SAFETY: `len` bytes are within both, which do not overlap, and any bytes are a `T`.
    unsafe {
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), record.as_mut_ptr().cast(), len);
        record.assume_init()
    }
}

/// What kind of record this is.
pub(super) fn kind(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |bytes| u32::from_ne_bytes(*bytes))
}

/// Text up to the first 0.
pub(super) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// What was a time since the machine started, on the clock that people use.
pub(super) fn wall(nanos: u64) -> Timestamp {
    let ago = crate::live::monotonic_nanos().saturating_sub(nanos.cast_signed());
    Timestamp(crate::live::now().0 - ago / 1_000_000)
}

/// Addresses of a stack: `top` is where the probe lies, `caller` what lies on top of the stack
/// there. The kernel leaves the caller out where it does not know that a function's frame is not
/// set up yet (before Linux 6.7).
pub(super) fn return_addresses(stack: &[u64], caller: u64) -> Vec<Addr> {
    let rest = stack.get(1..).unwrap_or_default();
    let missing = (caller != 0 && rest.first() != Some(&caller)).then_some(caller);
    missing.into_iter().chain(rest.iter().copied()).map(Addr).collect()
}

macro_rules! record {
    ($(#[$doc:meta])* $name:ident, $bytes:literal, { $($field:ident: $kind:ty,)* }) => {
        $(#[$doc])*
        #[repr(C)]
        #[derive(Clone, Copy)]
        pub(super) struct $name { $(pub(super) $field: $kind,)* }
        const _: () = assert!(size_of::<$name>() == $bytes);
        // SAFETY: integers and arrays of them.
        unsafe impl Record for $name {}
    };
}

record!(ExecRecord, 424, {
    kind: u32,
    tgid: u32,
    nanos: u64,
    parent: u32,
    command_bytes: u32,
    comm: [u8; 16],
    path: [u8; PATH_MAX],
    command: [u8; COMMAND_MAX],
});

record!(ForkRecord, 40, {
    kind: u32,
    tgid: u32,
    nanos: u64,
    parent: u32,
    unused: u32,
    comm: [u8; 16],
});

record!(ExitRecord, 56, {
    kind: u32,
    tgid: u32,
    nanos: u64,
    started_nanos: u64,
    peak_pages: u64,
    status: u32,
    unused: u32,
    comm: [u8; 16],
});

record!(AllocRecord, 1072, {
    kind: u32,
    tgid: u32,
    nanos: u64,
    address: u64,
    bytes: u64,
    goroutine: u64,
    tid: u32,
    frames: u32,
    caller: u64,
    stack: [u64; FRAMES_MAX],
});

record!(FreeRecord, 40, {
    kind: u32,
    tgid: u32,
    nanos: u64,
    address: u64,
    bytes: u64,
    born_nanos: u64,
});

record!(VictimRecord, 528, {
    kind: u32,
    tgid: u32,
    nanos: u64,
    total_pages: u64,
    pages: [u64; 4],
    usage_pages: u64,
    limit_pages: u64,
    comm: [u8; 16],
    limit_level: u32,
    is_target: u32,
    cgroup: [[u8; CGROUP_NAME_MAX]; CGROUP_LEVELS],
});

record!(BucketRecord, 8392, {
    kind: u32,
    tgid: u32,
    address: u64,
    bytes: u64,
    memory: [u8; BUCKET_MAX],
});

record!(DumpedRecord, 56, {
    kind: u32,
    tgid: u32,
    nanos: u64,
    victim_nanos: u64,
    first: u64,
    rate: u64,
    cycle: u32,
    buckets: u32,
    unread: u32,
    unused: u32,
});

record!(ResidentRecord, 48, {
    kind: u32,
    tgid: u32,
    nanos: u64,
    pages: [u64; 4],
});

record!(CallRecord, 88, {
    kind: u32,
    tgid: u32,
    nanos: u64,
    tid: u32,
    number: u32,
    arguments: [u64; 5],
    result: u64,
    brk: u64,
    stack: u64,
});
