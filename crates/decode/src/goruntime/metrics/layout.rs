//! Where the figures of runtime/metrics lie, by Go release.
//!
//! Printed by `fixtures/layout/dump.go` from the DWARF of a program built with each release from
//! 1.21 to 1.27, for amd64 and arm64: those of structures with padding to cache lines differ.
//!
//! Patch releases leave most of them alone, but not all: 1.23.9 has `work.cpuStats` 32 bytes
//! further than 1.23.1, 1.24.11 the last fields of `m` 24 bytes further than 1.24.3. These are
//! taken from the code (see `locate`), and from here where it has another shape.

use model::GoVersion;

use crate::goruntime::layout::Layout as RuntimeLayout;
use crate::goruntime::locate::X86_64;

/// Offsets in bytes; 0 where the release has none.
#[derive(Clone, Copy, Debug)]
pub(in crate::goruntime) struct Layout {
    pub(super) minor: u16,
    /// runtime.heapStatsDelta and runtime.mstats
    pub(super) shared: RuntimeLayout,
    /// mstats.gcPauseDist
    pub(super) pauses_in_mstats: u64,
    /// runtime.mheap
    pub(super) spans_in_use: u64,
    pub(super) caches_in_use: u64,
    /// runtime.workType
    pub(super) cpu_stats: u64,
    /// runtime.gcCPULimiterState
    pub(super) last_enabled: u64,
    /// runtime.cleanupQueue
    pub(super) cleanups_queued: u64,
    /// runtime.schedt
    pub(super) sched_size: usize,
    pub(in crate::goruntime) threads_made: usize,
    pub(super) threads_freed: usize,
    pub(super) system_goroutines: usize,
    pub(super) in_syscall: usize,
    pub(super) run_queue: usize,
    /// Lengths of one list of free goroutines, to 1.24, or of two.
    pub(super) free_lists: [usize; 2],
    pub(super) latencies: usize,
    pub(super) mutex_wait: usize,
    /// Four histograms, one after the other, from here on; then what follows them.
    pub(super) pauses: usize,
    pub(super) lock_wait: usize,
    pub(super) goroutines_created: usize,
    /// runtime.p
    pub(super) p_size: usize,
    pub(super) p_m: usize,
    pub(super) p_run_queue: usize,
    pub(super) p_run_next: usize,
    pub(super) p_free_list: usize,
    pub(super) p_cleanups_queued: usize,
    pub(super) p_goroutines_created: usize,
    /// runtime.m
    pub(super) m_size: usize,
    pub(super) m_current: usize,
    pub(super) m_p: usize,
    pub(super) m_next: usize,
    pub(super) m_cgo_calls: usize,
    pub(super) m_lock_wait: usize,
}

/// p.status and m are at the same place in all releases.
pub(super) const P_STATUS: usize = 4;
/// Bytes that a runtime.m is shorter than.
const M_SIZE_MAX: usize = 4096;
/// g.m
pub(super) const G_M: usize = 48;

impl Layout {
    /// The same with `m.alllink` where the code has it, and what lies behind it.
    pub(super) fn with_m_next(self, m_next: Option<u64>) -> Layout {
        let next = m_next.and_then(|next| usize::try_from(next).ok());
        let Some(next) = next.filter(|next| (self.m_p..M_SIZE_MAX).contains(next)) else {
            return self;
        };
        let moved = |offset: usize| match offset {
            0 => 0,
            offset => offset + next - self.m_next,
        };
        Layout {
            m_size: moved(self.m_size),
            m_next: next,
            m_cgo_calls: moved(self.m_cgo_calls),
            m_lock_wait: moved(self.m_lock_wait),
            ..self
        }
    }

    pub(in crate::goruntime) fn of(version: GoVersion, machine: u16) -> Layout {
        // Columns: 1.21, 1.22, 1.23, 1.24, 1.25, 1.26 and 1.27.
        let at = |[go21, go22, go23, go24, go25, go26]: [usize; 6]| match version.minor {
            ..=21 => go21,
            22 => go22,
            23 => go23,
            24 => go24,
            25 => go25,
            _ => go26,
        };
        let of_machine = |amd64: [usize; 6], arm64: [usize; 6]| {
            at(if machine == X86_64 { amd64 } else { arm64 }) as u64
        };
        let shared = RuntimeLayout::of(version);
        Layout {
            minor: version.minor,
            shared,
            pauses_in_mstats: at([7744, 0, 0, 0, 0, 0]) as u64,
            spans_in_use: of_machine(
                [92280, 92344, 92344, 92344, 92368, 92368],
                [100_984, 101_112, 101_112, 101_112, 101_136, 101_136],
            ),
            caches_in_use: of_machine(
                [92352, 92416, 92416, 92416, 92440, 92512],
                [101_056, 101_184, 101_184, 101_184, 101_208, 101_280],
            ),
            cpu_stats: of_machine([488, 480, 504, 504, 592, 728], [616, 608, 632, 632, 784, 984]),
            last_enabled: at([72, 72, 64, 64, 64, 64]) as u64,
            cleanups_queued: of_machine([0, 0, 0, 0, 232, 232], [0, 0, 0, 0, 424, 424]),
            sched_size: at([1632, 6824, 6824, 6824, 6848, 6872]),
            threads_made: at([48, 48, 48, 48, 56, 72]),
            threads_freed: at([64, 64, 64, 64, 72, 88]),
            system_goroutines: at([72, 72, 72, 72, 80, 96]),
            in_syscall: at([0, 0, 0, 0, 0, 100]),
            run_queue: at([0, 0, 0, 0, 128, 144]),
            free_lists: [at([184, 184, 184, 184, 184, 200]), at([0, 0, 0, 0, 200, 216])],
            latencies: at([320, 320, 320, 320, 344, 360]),
            mutex_wait: at([1624, 1624, 1624, 1624, 1648, 1664]),
            pauses: at([0, 1632, 1632, 1632, 1656, 1672]),
            lock_wait: at([0, 6816, 6816, 6816, 6840, 6856]),
            goroutines_created: at([0, 0, 0, 0, 0, 6864]),
            p_size: at([2480, 2480, 2480, 2480, 2480, 13_800]),
            p_m: at([56, 56, 48, 48, 48, 48]),
            p_run_queue: at([400, 400, 392, 392, 392, 400]),
            p_run_next: at([2456, 2456, 2448, 2448, 2448, 2456]),
            p_free_list: at([2472, 2472, 2464, 2464, 2464, 2472]),
            p_cleanups_queued: at([0, 0, 0, 0, 9464, 13_744]),
            p_goroutines_created: at([0, 0, 0, 0, 0, 13_792]),
            m_size: at([344, 632, 632, 656, 656, 688]),
            m_current: at([192, 192, 192, 192, 184, 184]),
            m_p: at([208, 208, 208, 208, 200, 208]),
            m_next: at([336, 328, 328, 352, 344, 352]),
            m_cgo_calls: at([304, 296, 296, 320, 312, 320]),
            m_lock_wait: at([0, 624, 624, 648, 648, 680]),
        }
    }
}
