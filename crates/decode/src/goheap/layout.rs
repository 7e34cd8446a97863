//! Struct offsets of the memory allocator and the collector, by Go release.
//!
//! Produced by `fixtures/layout/dump.go` from the DWARF of a program built with each
//! release from 1.21 to 1.27.

use model::GoVersion;

use crate::goruntime::RuntimeLayout;

/// Offsets in bytes on 64-bit Linux.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Minor release.
    pub(crate) minor: u16,
    /// runtime.mspan: `nelems` and `freeindex` are words before 1.22, 16 bits after.
    pub(crate) nelems: usize,
    pub(crate) alloc_bits: usize,
    pub(crate) gcmark_bits: usize,
    pub(crate) sweepgen: usize,
    pub(crate) spanclass: usize,
    pub(crate) state: usize,
    pub(crate) is_user_arena: usize,
    pub(crate) elemsize: usize,
    pub(crate) specials: usize,
    /// `largeType`; 0 before allocation headers (1.22).
    pub(crate) large_type: usize,
    pub(crate) span_size: usize,
    /// runtime.mheap
    pub(crate) arenas: u64,
    /// runtime.moduledata
    pub(crate) etypes: u64,
    pub(crate) rodata: u64,
    pub(crate) gofunc: u64,
    pub(crate) gcdatamask: u64,
    pub(crate) next_module: u64,
    /// runtime.special: `kind`; what follows the header.
    pub(crate) special_kind: u64,
    pub(crate) special_end: u64,
    /// Kinds of specials; 0 where the release has none.
    pub(crate) kind_finalizer: u8,
    pub(crate) kind_weak_handle: u8,
    pub(crate) kind_profile: u8,
    pub(crate) kind_cleanup: u8,
    /// runtime.g
    pub(crate) sched_ctxt: u64,
    pub(crate) syscall_sp: u64,
    pub(crate) status: u64,
    pub(crate) goid: u64,
    pub(crate) g_m: u64,
    /// `xRegs`: where the vector registers of a goroutine lie that a signal preempted, and
    /// how many bytes they are. The collector scans them since 1.27; 0 before.
    pub(crate) x_regs: u64,
    pub(crate) x_regs_bytes: u64,
    /// runtime.m
    pub(crate) procid: u64,
    /// runtime._defer: `heap` and `link`.
    pub(crate) defer_heap: u64,
    pub(crate) defer_link: u64,
    /// runtime.hchan: `elemtype`.
    pub(crate) chan_elem: usize,
}

impl Layout {
    pub(crate) fn of(version: GoVersion, machine: u16) -> Layout {
        let minor = version.minor;
        // 1.22 made nelems and freeindex 16 bits wide and put them in one word.
        let shift = if minor == 21 { 8 } else { 0 };
        let next_module = match minor {
            ..=22 => 584,
            23..=25 => 576,
            26 => 584,
            _ => 560,
        };
        let gcdatamask = match minor {
            ..=25 => 536,
            26 => 544,
            _ => 520,
        };
        let (kind_finalizer, kind_weak_handle, kind_profile, kind_cleanup) = match minor {
            ..=22 => (1, 0, 2, 0),
            23 => (1, 2, 3, 0),
            24 => (1, 2, 3, 6),
            _ => (2, 3, 4, 7),
        };
        let runtime = RuntimeLayout::of(version);
        Layout {
            minor,
            nelems: if minor == 21 { 56 } else { 50 },
            alloc_bits: 64 + shift,
            gcmark_bits: 72 + shift,
            sweepgen: 88 + shift,
            spanclass: 98 + shift,
            state: 99 + shift,
            is_user_arena: 101 + shift,
            elemsize: 104 + shift,
            specials: 128 + shift,
            large_type: if minor == 21 { 0 } else { 152 },
            span_size: if minor == 21 { 168 } else { 160 },
            arenas: if minor == 21 { 65944 } else { 66008 },
            etypes: if minor >= 27 { 312 } else { 304 },
            rodata: if minor >= 27 { 336 } else { 312 },
            gofunc: runtime.gofunc,
            gcdatamask,
            next_module,
            special_kind: if minor >= 24 { 16 } else { 10 },
            special_end: if minor >= 24 { 24 } else { 16 },
            kind_finalizer,
            kind_weak_handle,
            kind_profile,
            kind_cleanup,
            sched_ctxt: 80,
            syscall_sp: runtime.syscall_sp as u64,
            status: runtime.status as u64,
            goid: runtime.goid as u64,
            g_m: 48,
            x_regs: if minor >= 27 { 400 } else { 0 },
            // 32 registers of 64 bytes and 8 masks on amd64, 32 of 16 bytes on arm64.
            x_regs_bytes: if machine == X86_64 { 2112 } else { 512 },
            procid: if minor >= 25 { 64 } else { 72 },
            defer_heap: u64::from(minor == 21),
            defer_link: if minor == 21 { 40 } else { 32 },
            chan_elem: if minor >= 23 { 40 } else { 32 },
        }
    }
}

/// `e_machine`.
pub(crate) const X86_64: u16 = 62;
/// `_PageSize`.
pub(crate) const PAGE: u64 = 8192;
/// `heapArenaBytes`.
pub(crate) const ARENA: u64 = 64 << 20;
/// Largest element whose pointer bitmap lies in its span (`minSizeForMallocHeader`).
pub(crate) const BITMAP_MAX: u64 = 512;
/// `mallocHeaderSize`.
pub(crate) const HEADER: u64 = 8;
/// Offset of `marks` in `spanInlineMarkBits`, and its size.
pub(crate) const INLINE_MARKS: (u64, u64) = (64, 128);
/// Offset of `pageUseSpanInlineMarkBits` in `heapArena`.
pub(crate) const ARENA_INLINE_BITS: u64 = 68608;
