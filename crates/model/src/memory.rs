//! Memory signals of a process, its cgroup and its host. `None` is unknown,
//! never zero.

use crate::go::RuntimeMemory;
use crate::units::Timestamp;

/// Memory of one process, from /proc/PID.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProcessMemory {
    /// Resident set.
    pub rss_bytes: Option<u64>,
    /// Resident anonymous memory.
    pub rss_anon_bytes: Option<u64>,
    /// Resident file mappings.
    pub rss_file_bytes: Option<u64>,
    /// Resident shared memory.
    pub rss_shmem_bytes: Option<u64>,
    /// Highest resident set so far.
    pub rss_peak_bytes: Option<u64>,
    /// Proportional set (smaps_rollup).
    pub pss_bytes: Option<u64>,
    /// Freed with MADV_FREE but still counted as resident (smaps_rollup).
    pub lazy_free_bytes: Option<u64>,
    /// Swapped out.
    pub swap_bytes: Option<u64>,
    /// Address space.
    pub virtual_bytes: Option<u64>,
    /// Page tables.
    pub page_table_bytes: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
    /// Start time in clock ticks after boot; tells a reused pid apart.
    pub start_ticks: Option<u64>,
    /// CPU time used, seconds.
    pub cpu_seconds: Option<f64>,
    /// Major page faults so far.
    pub major_faults: Option<u64>,
}

/// Which cgroup interface holds the memory controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CgroupVersion {
    /// memory.limit_in_bytes and friends.
    V1,
    /// memory.max and friends.
    V2,
}

/// Memory of the cgroup a process lives in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CgroupMemory {
    /// Which interface; `None` when no memory controller was found.
    pub version: Option<CgroupVersion>,
    /// Path inside the hierarchy.
    pub path: String,
    /// The tightest limit among the cgroup and its ancestors; `None` = unlimited.
    pub limit_bytes: Option<u64>,
    /// The cgroup that sets `limit_bytes`.
    pub limit_path: String,
    /// Usage of the cgroup that sets the limit (else of the own one).
    pub usage_bytes: Option<u64>,
    /// Usage less inactive file pages: what the kernel cannot easily drop.
    pub working_set_bytes: Option<u64>,
    /// Anonymous memory.
    pub anon_bytes: Option<u64>,
    /// Page cache.
    pub file_bytes: Option<u64>,
    /// Inactive page cache.
    pub inactive_file_bytes: Option<u64>,
    /// Kernel slab.
    pub slab_bytes: Option<u64>,
    /// Socket buffers.
    pub sock_bytes: Option<u64>,
    /// All the kernel keeps for it, slab included.
    pub kernel_bytes: Option<u64>,
    /// Of that stacks of threads in the kernel.
    pub kernel_stack_bytes: Option<u64>,
    /// Of that page tables.
    pub page_table_bytes: Option<u64>,
    /// OOM kills so far.
    pub oom_kills: Option<u64>,
    /// Times the limit was hit.
    pub limit_hits: Option<u64>,
    /// Memory pressure of its tasks.
    pub pressure: Pressure,
}

/// Memory of the machine, from /proc/meminfo and /proc/vmstat.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HostMemory {
    /// All memory.
    pub total_bytes: Option<u64>,
    /// Memory available for new programs without swapping.
    pub available_bytes: Option<u64>,
    /// Free memory.
    pub free_bytes: Option<u64>,
    /// Page cache.
    pub cached_bytes: Option<u64>,
    /// Swap in all.
    pub swap_total_bytes: Option<u64>,
    /// Free swap.
    pub swap_free_bytes: Option<u64>,
    /// Processes killed for want of memory so far, of any cgroup.
    pub oom_kills: Option<u64>,
    /// Page faults so far that had to wait for a disk.
    pub major_faults: Option<u64>,
    /// Pages that were evicted and needed again soon after, so far: the sign of thrashing.
    pub refaults: Option<u64>,
    /// Pages read from swap so far.
    pub swapped_in_pages: Option<u64>,
    /// Pages written to swap so far.
    pub swapped_out_pages: Option<u64>,
    /// Times so far that an allocation had to free memory itself first.
    pub allocation_stalls: Option<u64>,
    /// Pages so far that the kernel looked at to free memory: in the background, and in allocations.
    pub scanned_pages: [Option<u64>; 2],
    /// Pages of those that it freed.
    pub reclaimed_pages: [Option<u64>; 2],
}

/// One line of a pressure file.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PressureLine {
    /// Share of the last 10 s, percent.
    pub avg10: f64,
    /// Share of the last 60 s, percent.
    pub avg60: f64,
    /// Share of the last 300 s, percent.
    pub avg300: f64,
    /// Stalled time in all, microseconds.
    pub total_micros: u64,
}

/// Memory pressure stall information.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pressure {
    /// At least one task waited.
    pub some: Option<PressureLine>,
    /// All tasks waited.
    pub full: Option<PressureLine>,
}

/// All level signals of a target at one time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observation {
    /// When.
    pub time: Timestamp,
    /// The process; all `None` for a target known only by URL.
    pub process: ProcessMemory,
    /// Its cgroup.
    pub cgroup: CgroupMemory,
    /// The Go runtime.
    pub runtime: RuntimeMemory,
    /// The machine.
    pub host: HostMemory,
    /// Memory pressure of the machine.
    pub pressure: Pressure,
}
