//! What is known of a Go program from outside: version, goroutines, and the
//! runtime's own memory figures.

use crate::units::{Addr, Timestamp};

/// A Go release: `go1.26.3` is major 1, minor 26, patch 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GoVersion {
    /// Always 1 so far.
    pub major: u16,
    /// The release that layouts depend on.
    pub minor: u16,
    /// The patch release; 0 for development versions and candidates.
    pub patch: u16,
}

impl GoVersion {
    /// Parses `go1.26.3`, `go1.27rc1`, `go1.26-custom`, `devel go1.28-abc`.
    pub fn parse(text: &str) -> Option<GoVersion> {
        let start = text.find("go1.")?;
        let rest = text.get(start + 4..)?;
        let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let minor_len = digits(rest);
        let minor = rest.get(..minor_len)?.parse().ok()?;
        let patch =
            rest.get(minor_len..).and_then(|tail| tail.strip_prefix('.')).map_or(0, |tail| {
                tail.get(..digits(tail)).and_then(|patch| patch.parse().ok()).unwrap_or(0)
            });
        Some(GoVersion { major: 1, minor, patch })
    }
}

impl std::fmt::Display for GoVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "go{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// Bytes of the slots of each size class (`runtime.class_to_size`): alike in Go 1.21 to 1.27.
/// Class 0 has no slots; its objects have spans of their own.
pub const CLASS_SIZES: [u64; 68] = [
    0, 8, 16, 24, 32, 48, 64, 80, 96, 112, 128, 144, 160, 176, 192, 208, 224, 240, 256, 288, 320,
    352, 384, 416, 448, 480, 512, 576, 640, 704, 768, 896, 1024, 1152, 1280, 1408, 1536, 1792,
    2048, 2304, 2688, 3072, 3200, 3456, 4096, 4864, 5376, 6144, 6528, 6784, 6912, 8192, 9472, 9728,
    10240, 10880, 12288, 13568, 14336, 16384, 18432, 19072, 20480, 21760, 24576, 27264, 28672,
    32768,
];

/// The size class that holds `bytes`; `None` beyond 32 KiB.
pub fn class_size(bytes: u64) -> Option<u64> {
    let index = CLASS_SIZES.partition_point(|size| *size < bytes);
    CLASS_SIZES.get(index).copied()
}

/// A resolved call frame.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Frame {
    /// Full function name: `main.(*Cache).Put`.
    pub function: String,
    /// Source file as the compiler recorded it.
    pub file: String,
    /// Line of the call; 0 when unknown.
    pub line: u32,
}

/// One goroutine.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Goroutine {
    /// The runtime's goroutine number.
    pub id: u64,
    /// `running`, `runnable`, `syscall`, `waiting` ...: the words of a Go traceback.
    pub state: &'static str,
    /// Why it waits (`chan receive`, `select` ...), empty when it does not.
    pub wait_reason: String,
    /// How long it has waited; `None` when unknown.
    pub wait_seconds: Option<f64>,
    /// Size of its stack.
    pub stack_bytes: u64,
    /// Index into [`GoroutineSnapshot::stacks`].
    pub stack: usize,
    /// Runtime-internal goroutine (GC worker, finalizer ...).
    pub is_system: bool,
    /// The unwinder stopped early; the stack is partial.
    pub is_partial: bool,
    /// Address of the runtime's `g`; 0 when read through HTTP.
    pub address: Addr,
}

/// All goroutines of a program at one time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GoroutineSnapshot {
    /// Each goroutine. Empty when the source only gives groups.
    pub goroutines: Vec<Goroutine>,
    /// Distinct stacks, innermost call first; the last frame may be the
    /// creator (`created by`).
    pub stacks: Vec<Vec<Frame>>,
    /// Goroutines of the same stack, state and wait reason, largest first.
    pub groups: Vec<GoroutineGroup>,
    /// What was left out, and why.
    pub warnings: Vec<String>,
}

/// Goroutines that share stack, state and wait reason.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GoroutineGroup {
    /// How many.
    pub count: u64,
    /// As in [`Goroutine::state`].
    pub state: &'static str,
    /// As in [`Goroutine::wait_reason`].
    pub wait_reason: String,
    /// The longest wait among them.
    pub wait_seconds_max: Option<f64>,
    /// Their stacks' size together; 0 when unknown.
    pub stack_bytes: u64,
    /// Index into [`GoroutineSnapshot::stacks`].
    pub stack: usize,
    /// Where they were started (`go` statement), when known.
    pub created_by: Option<Frame>,
    /// Runtime-internal goroutines.
    pub is_system: bool,
}

impl GoroutineSnapshot {
    /// How many goroutines the program itself has (without the runtime's own).
    pub fn user_count(&self) -> u64 {
        self.groups.iter().filter(|group| !group.is_system).map(|group| group.count).sum()
    }
}

/// The runtime's memory figures. `None` is unknown, never zero.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RuntimeMemory {
    /// Bytes the last GC marked (`/gc/heap/live:bytes`): the saw-tooth's floor.
    pub heap_live_bytes: Option<u64>,
    /// Bytes in spans that hold objects (MemStats.HeapInuse).
    pub heap_in_use_bytes: Option<u64>,
    /// Bytes in idle spans, released ones included (MemStats.HeapIdle).
    pub heap_idle_bytes: Option<u64>,
    /// Bytes returned to the operating system (MemStats.HeapReleased).
    pub heap_released_bytes: Option<u64>,
    /// Bytes of allocated objects, dead ones not yet swept included (HeapAlloc).
    pub heap_alloc_bytes: Option<u64>,
    /// Allocated objects.
    pub heap_objects: Option<u64>,
    /// Bytes allocated since the program started (TotalAlloc).
    pub total_alloc_bytes: Option<u64>,
    /// Goroutine stacks (MemStats.StackInuse).
    pub stacks_bytes: Option<u64>,
    /// Runtime metadata: mspan, mcache, GC, profiling buckets, other.
    pub metadata_bytes: Option<u64>,
    /// Everything the runtime has from the operating system (MemStats.Sys).
    pub sys_bytes: Option<u64>,
    /// Heap size at which the next GC starts.
    pub heap_goal_bytes: Option<u64>,
    /// Completed GC cycles.
    pub gc_cycles: Option<u64>,
    /// The time the published heap profile shows: the end of the GC cycle before
    /// the last one (runtime/mprof.go publishes a cycle late, after its sweep).
    pub heap_profile_time: Option<Timestamp>,
    /// Completed forced GC cycles.
    pub gc_forced_cycles: Option<u64>,
    /// Fraction of CPU spent in GC since start.
    pub gc_cpu_fraction: Option<f64>,
    /// GOGC in percent; -1 when off.
    pub gogc_percent: Option<i32>,
    /// GOMEMLIMIT; `i64::MAX` when unset.
    pub gomemlimit_bytes: Option<i64>,
    /// MemProfileRate.
    pub mem_profile_rate: Option<i64>,
    /// Goroutines, without dead ones.
    pub goroutines: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::GoVersion;

    #[test]
    fn versions_parse() {
        let check = |text: &str, expected: Option<(u16, u16)>| {
            let parsed = GoVersion::parse(text).map(|version| (version.minor, version.patch));
            assert_eq!(parsed, expected, "{text}");
        };
        check("go1.26.3", Some((26, 3)));
        check("go1.27rc1", Some((27, 0)));
        check("devel go1.28-abcdef Mon", Some((28, 0)));
        check("go1.26.8 X:jsonv2", Some((26, 8)));
        check("rust 1.95", None);
        check("go1.", None);
    }
}
