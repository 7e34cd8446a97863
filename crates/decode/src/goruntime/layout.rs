//! Struct offsets of the runtime, by Go release.
//!
//! Produced by `fixtures/layout/dump.go` from the DWARF of a program built with
//! each release from 1.21 to 1.27; patch releases did not change these so far. Releases
//! that agree share an arm, so that what changed can be seen.

use model::GoVersion;

/// Offsets in bytes, all of linux/amd64 and linux/arm64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// runtime.mstats
    pub(super) stacks_sys: u64,
    pub(super) numgc: u64,
    /// runtime.heapStatsDelta
    pub(super) delta_size: u64,
    pub(super) large_alloc: u64,
    /// runtime.g
    pub(super) g_size: usize,
    pub(super) sched_bp: usize,
    pub(crate) syscall_sp: usize,
    pub(crate) status: usize,
    pub(crate) goid: usize,
    pub(super) gopc: usize,
    pub(super) startpc: usize,
    /// runtime.moduledata
    pub(crate) gofunc: u64,
    /// abi.FuncIDWrapper: the last of a list that grew (internal/abi/symtab.go).
    pub(super) wrapper_id: u8,
}

impl Layout {
    pub(crate) fn of(version: GoVersion) -> Layout {
        let minor = version.minor;
        // 1.25 dropped a word of heapStatsDelta from each of its three copies.
        let delta_size = if minor >= 25 { 1168 } else { 1176 };
        // 1.23 put syscallbp before the status; 1.25 dropped gobuf.ret.
        let status = if matches!(minor, 23 | 24) { 152 } else { 144 };
        let (gopc, startpc) = match minor {
            23 | 24 => (288, 304),
            26.. => (288, 304),
            _ => (280, 296),
        };
        let shift = if minor >= 25 { 8 } else { 0 };
        Layout {
            stacks_sys: delta_size * 3 + 16,
            numgc: delta_size * 3 + 4176,
            delta_size,
            large_alloc: 56 - shift as u64,
            g_size: 320,
            sched_bp: 104 - shift,
            syscall_sp: 112 - shift,
            status,
            goid: status + 8,
            gopc,
            startpc,
            // 1.27 put three words before it.
            gofunc: if minor >= 27 { 344 } else { 320 },
            wrapper_id: match minor {
                ..22 => 21,
                22..25 => 22,
                _ => 23,
            },
        }
    }
}

/// The wait reasons of Go 1.21 to 1.25 with the release that added each; a value
/// is an index into those the release has.
const WAIT_REASONS_TO_1_25: [(u16, &str); 47] = [
    (0, ""),
    (0, "GC assist marking"),
    (0, "IO wait"),
    (0, "chan receive (nil chan)"),
    (0, "chan send (nil chan)"),
    (0, "dumping heap"),
    (0, "garbage collection"),
    (0, "garbage collection scan"),
    (0, "panicwait"),
    (0, "select"),
    (0, "select (no cases)"),
    (0, "GC assist wait"),
    (0, "GC sweep wait"),
    (0, "GC scavenge wait"),
    (0, "chan receive"),
    (0, "chan send"),
    (0, "finalizer wait"),
    (0, "force gc (idle)"),
    (25, "GOMAXPROCS updater (idle)"),
    (0, "semacquire"),
    (0, "sleep"),
    (0, "sync.Cond.Wait"),
    (0, "sync.Mutex.Lock"),
    (0, "sync.RWMutex.RLock"),
    (0, "sync.RWMutex.Lock"),
    (24, "sync.WaitGroup.Wait"),
    (0, "trace reader (blocked)"),
    (0, "wait for GC cycle"),
    (0, "GC worker (idle)"),
    (0, "GC worker (active)"),
    (0, "preempted"),
    (0, "debug call"),
    (0, "GC mark termination"),
    (0, "stopping the world"),
    (22, "flushing proc caches"),
    (22, "trace goroutine status"),
    (22, "trace proc status"),
    (22, "page trace flush"),
    (22, "coroutine"),
    (23, "GC weak to strong wait"),
    (24, "synctest.Run"),
    (24, "synctest.Wait"),
    (24, "chan receive (durable)"),
    (24, "chan send (durable)"),
    (24, "select (durable)"),
    (25, "sync.WaitGroup.Wait (durable)"),
    (25, "cleanup wait"),
];

/// The wait reasons since Go 1.26, which moved the channel reasons together.
const WAIT_REASONS: [&str; 47] = [
    "",
    "GC assist marking",
    "IO wait",
    "dumping heap",
    "garbage collection",
    "garbage collection scan",
    "panicwait",
    "GC assist wait",
    "GC sweep wait",
    "GC scavenge wait",
    "finalizer wait",
    "force gc (idle)",
    "GOMAXPROCS updater (idle)",
    "semacquire",
    "sleep",
    "chan receive (nil chan)",
    "chan send (nil chan)",
    "select (no cases)",
    "select",
    "chan receive",
    "chan send",
    "sync.Cond.Wait",
    "sync.Mutex.Lock",
    "sync.RWMutex.RLock",
    "sync.RWMutex.Lock",
    "sync.WaitGroup.Wait",
    "trace reader (blocked)",
    "wait for GC cycle",
    "GC worker (idle)",
    "GC worker (active)",
    "preempted",
    "debug call",
    "GC mark termination",
    "stopping the world",
    "flushing proc caches",
    "trace goroutine status",
    "trace proc status",
    "page trace flush",
    "coroutine",
    "GC weak to strong wait",
    "synctest.Run",
    "synctest.Wait",
    "chan receive (durable)",
    "chan send (durable)",
    "select (durable)",
    "sync.WaitGroup.Wait (durable)",
    "cleanup wait",
];

/// The text of a wait reason in this release.
pub(crate) fn wait_reason(version: GoVersion, value: u8) -> Option<&'static str> {
    if version.minor >= 26 {
        return WAIT_REASONS.get(usize::from(value)).copied();
    }
    WAIT_REASONS_TO_1_25
        .iter()
        .filter(|(since, _)| *since <= version.minor)
        .nth(value.into())
        .map(|(_, text)| *text)
}

#[cfg(test)]
mod tests {
    use super::{Layout, wait_reason};
    use model::GoVersion;

    fn go(minor: u16) -> GoVersion {
        GoVersion { major: 1, minor, patch: 0 }
    }

    /// Rows as `fixtures/layout/dump.go` printed them: minor, stacks_sys, numgc,
    /// largeAlloc, bp, syscallsp, status, goid, gopc, startpc, gofunc.
    #[test]
    fn offsets_match_dwarf() {
        let rows: [[u64; 11]; 7] = [
            [21, 3544, 7704, 56, 104, 112, 144, 152, 280, 296, 320],
            [22, 3544, 7704, 56, 104, 112, 144, 152, 280, 296, 320],
            [23, 3544, 7704, 56, 104, 112, 152, 160, 288, 304, 320],
            [24, 3544, 7704, 56, 104, 112, 152, 160, 288, 304, 320],
            [25, 3520, 7680, 48, 96, 104, 144, 152, 280, 296, 320],
            [26, 3520, 7680, 48, 96, 104, 144, 152, 288, 304, 320],
            [27, 3520, 7680, 48, 96, 104, 144, 152, 288, 304, 344],
        ];
        for row in rows {
            let layout = Layout::of(go(row[0] as u16));
            let found = [
                layout.stacks_sys,
                layout.numgc,
                layout.large_alloc,
                layout.sched_bp as u64,
                layout.syscall_sp as u64,
                layout.status as u64,
                layout.goid as u64,
                layout.gopc as u64,
                layout.startpc as u64,
                layout.gofunc,
            ];
            assert_eq!(found, row[1..], "go1.{}", row[0]);
        }
    }

    #[test]
    fn wait_reasons_shift_with_releases() {
        assert_eq!(wait_reason(go(21), 18), Some("semacquire"));
        assert_eq!(wait_reason(go(25), 18), Some("GOMAXPROCS updater (idle)"));
        assert_eq!(wait_reason(go(27), 46), Some("cleanup wait"));
        assert_eq!(wait_reason(go(21), 14), Some("chan receive"));
        assert_eq!(wait_reason(go(26), 19), Some("chan receive"));
        assert_eq!(wait_reason(go(21), 32), None);
    }
}
