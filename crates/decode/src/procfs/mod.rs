//! Text files of /proc and of the cgroup file systems.
//!
//! Parsers are tolerant: a missing line gives `None`, an unknown line is skipped.
//! Sizes in "kB" are KiB (the kernel's habit) and are returned in bytes.

mod identity;
mod smaps;
mod sockets;

pub use identity::{CgroupIdentity, cgroup_identity};
pub use smaps::{MemoryMap, PAGE_BYTES, PageEntry, smaps};

use model::{HostMemory, Pressure, PressureLine, ProcessMemory};

pub use sockets::{Listener, listeners};

/// One line of /proc/PID/maps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// First address.
    pub start: u64,
    /// First address past it.
    pub end: u64,
    /// `r-xp`.
    pub permissions: String,
    /// Offset in the file.
    pub offset: u64,
    /// Inode of the file; 0 for anonymous memory.
    pub inode: u64,
    /// Path, `[stack]`, or empty.
    pub path: String,
}

/// Parses /proc/PID/maps; damaged lines are skipped.
pub fn maps(text: &str) -> Vec<Mapping> {
    text.lines().filter_map(mapping).collect()
}

fn mapping(line: &str) -> Option<Mapping> {
    let mut fields = line.splitn(6, ' ');
    let (start, end) = fields.next()?.split_once('-')?;
    let permissions = fields.next()?.to_owned();
    let offset = u64::from_str_radix(fields.next()?, 16).ok()?;
    let _device = fields.next()?;
    let inode = fields.next()?.parse().ok()?;
    let path = fields.next().unwrap_or("").trim_start().to_owned();
    let start = u64::from_str_radix(start, 16).ok()?;
    let end = u64::from_str_radix(end, 16).ok()?;
    Some(Mapping { start, end, permissions, offset, inode, path })
}

/// The value of `Key:   123 kB` in bytes, or of `Key: 123` as it is.
pub fn field(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    let mut words = line.split_ascii_whitespace();
    let value: u64 = words.next()?.parse().ok()?;
    match words.next() {
        Some("kB") => value.checked_mul(1024),
        _ => Some(value),
    }
}

/// The value of `key 123` (cgroup memory.stat and memory.events).
pub fn flat_field(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))?;
    line.trim().parse().ok()
}

/// Fills in what /proc/PID/status tells.
pub fn status(text: &str, memory: &mut ProcessMemory) {
    memory.rss_bytes = field(text, "VmRSS");
    memory.rss_anon_bytes = field(text, "RssAnon");
    memory.rss_file_bytes = field(text, "RssFile");
    memory.rss_shmem_bytes = field(text, "RssShmem");
    memory.rss_peak_bytes = field(text, "VmHWM");
    memory.swap_bytes = field(text, "VmSwap");
    memory.virtual_bytes = field(text, "VmSize");
    memory.page_table_bytes = field(text, "VmPTE");
    memory.threads = field(text, "Threads");
}

/// Fills in what /proc/PID/smaps_rollup tells.
pub fn smaps_rollup(text: &str, memory: &mut ProcessMemory) {
    memory.pss_bytes = field(text, "Pss");
    memory.lazy_free_bytes = field(text, "LazyFree");
}

/// Fills in what /proc/PID/stat tells. `ticks_per_second` is `sysconf(_SC_CLK_TCK)`.
pub fn stat(text: &str, ticks_per_second: f64, memory: &mut ProcessMemory) {
    // The command may contain spaces and brackets: count from the last bracket.
    let Some((_, rest)) = text.rsplit_once(')') else { return };
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // Field 3 (state) is the first one here; see proc(5).
    let number = |field: usize| fields.get(field - 3).and_then(|text| text.parse::<u64>().ok());
    memory.major_faults = number(12);
    memory.start_ticks = number(22);
    if let (Some(user), Some(system)) = (number(14), number(15)) {
        memory.cpu_seconds = Some((user as f64 + system as f64) / ticks_per_second);
    }
}

/// The parent's process id of /proc/PID/stat.
pub fn parent(text: &str) -> Option<u32> {
    // As in `stat`; the field after the state.
    text.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// The start time (clock ticks after boot) of /proc/PID/stat.
pub fn start_ticks(text: &str) -> Option<u64> {
    let mut memory = ProcessMemory::default();
    stat(text, 100.0, &mut memory);
    memory.start_ticks
}

/// Parses /proc/meminfo.
pub fn meminfo(text: &str) -> HostMemory {
    HostMemory {
        total_bytes: field(text, "MemTotal"),
        available_bytes: field(text, "MemAvailable"),
        free_bytes: field(text, "MemFree"),
        cached_bytes: field(text, "Cached"),
        swap_total_bytes: field(text, "SwapTotal"),
        swap_free_bytes: field(text, "SwapFree"),
        ..HostMemory::default()
    }
}

/// Fills in what /proc/vmstat tells. What kernels count by zone or kind of page is summed.
pub fn vmstat(text: &str, host: &mut HostMemory) {
    let [mut scanned, mut reclaimed] = [[None; 2]; 2];
    let (mut oom_kills, mut major_faults, mut refaults) = (None, None, None);
    let (mut swapped_in, mut swapped_out, mut stalls) = (None, None, None);
    for line in text.lines() {
        let Some((name, value)) = line.split_once(' ') else { continue };
        let sum = match name {
            "oom_kill" => &mut oom_kills,
            "pgmajfault" => &mut major_faults,
            "pswpin" => &mut swapped_in,
            "pswpout" => &mut swapped_out,
            "pgscan_direct_throttle" => continue,
            // One counter until Linux 5.9, then one for each kind of page.
            _ if name.starts_with("workingset_refault") => &mut refaults,
            _ if name.starts_with("allocstall") => &mut stalls,
            // By zone until Linux 4.8.
            _ if name.starts_with("pgscan_kswapd") => &mut scanned[0],
            _ if name.starts_with("pgscan_direct") => &mut scanned[1],
            _ if name.starts_with("pgsteal_kswapd") => &mut reclaimed[0],
            _ if name.starts_with("pgsteal_direct") => &mut reclaimed[1],
            _ => continue,
        };
        let Ok(value) = value.trim().parse::<u64>() else { continue };
        *sum = Some(sum.unwrap_or(0_u64).saturating_add(value));
    }
    (host.oom_kills, host.major_faults, host.refaults) = (oom_kills, major_faults, refaults);
    (host.swapped_in_pages, host.swapped_out_pages) = (swapped_in, swapped_out);
    (host.allocation_stalls, host.scanned_pages) = (stalls, scanned);
    host.reclaimed_pages = reclaimed;
}

/// Parses /proc/pressure/memory or a cgroup's memory.pressure.
pub fn pressure(text: &str) -> Pressure {
    let line = |name: &str| -> Option<PressureLine> {
        let rest = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        let value = |key: &str| {
            rest.split_ascii_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
        };
        Some(PressureLine {
            avg10: value("avg10")?.parse().ok()?,
            avg60: value("avg60")?.parse().ok()?,
            avg300: value("avg300")?.parse().ok()?,
            total_micros: value("total")?.parse().ok()?,
        })
    };
    Pressure { some: line("some"), full: line("full") }
}

/// Path of the cgroup that holds a process's memory controller, from
/// /proc/PID/cgroup: the v1 `memory` line if there is one, and the v2 line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CgroupPaths {
    /// Path in the v1 memory hierarchy.
    pub memory_v1: Option<String>,
    /// Path in the unified hierarchy.
    pub unified: Option<String>,
}

/// Parses /proc/PID/cgroup.
pub fn cgroup(text: &str) -> CgroupPaths {
    let mut paths = CgroupPaths::default();
    for line in text.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(id), Some(controllers), Some(path)) =
            (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        if id == "0" && controllers.is_empty() {
            paths.unified = Some(path.to_owned());
        } else if controllers.split(',').any(|controller| controller == "memory") {
            paths.memory_v1 = Some(path.to_owned());
        }
    }
    paths
}

/// A cgroup file system of /proc/self/mountinfo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupMount {
    /// Which part of the hierarchy is mounted.
    pub root: String,
    /// Where.
    pub mount_point: String,
    /// The unified hierarchy (v2).
    pub is_unified: bool,
}

/// The mounts that can hold a memory controller: v2, and v1 `memory`.
pub fn cgroup_mounts(mountinfo: &str) -> Vec<CgroupMount> {
    mountinfo.lines().filter_map(cgroup_mount).collect()
}

fn cgroup_mount(line: &str) -> Option<CgroupMount> {
    let (before, after) = line.split_once(" - ")?;
    let mut kind = after.split(' ');
    let file_system = kind.next()?;
    let options = kind.nth(1).unwrap_or("");
    let is_unified = match file_system {
        "cgroup2" => true,
        "cgroup" if options.split(',').any(|option| option == "memory") => false,
        _ => return None,
    };
    let mut fields = before.split(' ').skip(3);
    let root = fields.next()?.to_owned();
    let mount_point = fields.next()?.to_owned();
    Some(CgroupMount { root, mount_point, is_unified })
}

/// A v1 or v2 limit; `None` = unlimited ("max", or v1's huge page-rounded number).
pub fn limit(text: &str) -> Option<u64> {
    /// v1 writes i64::MAX rounded down to a page; no machine has this much.
    const UNLIMITED: u64 = 1 << 60;
    text.trim().parse().ok().filter(|&limit| limit < UNLIMITED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_survives_brackets_in_the_command() {
        let text = "42 (a) b) S 1 42 42 0 -1 4194304 100 0 7 0 250 50 0 0 20 0 9 0 12345 1 2";
        let mut memory = ProcessMemory::default();
        stat(text, 100.0, &mut memory);
        assert_eq!(memory.start_ticks, Some(12345));
        assert_eq!(memory.major_faults, Some(7));
        assert_eq!(memory.cpu_seconds, Some(3.0));
    }

    #[test]
    fn sizes_are_bytes_and_unknown_is_none() {
        let mut memory = ProcessMemory::default();
        status("VmRSS:\t    2048 kB\nThreads:\t7\n", &mut memory);
        assert_eq!(memory.rss_bytes, Some(2 << 20));
        assert_eq!(memory.threads, Some(7));
        assert_eq!(memory.swap_bytes, None);
    }

    #[test]
    fn hybrid_hosts_have_both_hierarchies() {
        let text = "5:memory:/a/b\n3:cpu,cpuacct:/\n0::/u\n";
        let expected = CgroupPaths { memory_v1: Some("/a/b".into()), unified: Some("/u".into()) };
        assert_eq!(cgroup(text), expected);
        let mounts = cgroup_mounts(
            "30 25 0:26 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory\n\
             31 25 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
             32 25 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n",
        );
        assert_eq!(mounts.len(), 2);
        assert!(!mounts[0].is_unified && mounts[1].is_unified);
        assert_eq!(limit("9223372036854771712\n"), None);
        assert_eq!(limit("max\n"), None);
        assert_eq!(limit("1048576\n"), Some(1 << 20));
    }

    #[test]
    fn vmstat_joins_the_kinds_of_refaults() {
        let mut host = HostMemory::default();
        let text = "pgmajfault 12\nworkingset_refault_anon 3\nworkingset_refault_file 4\n\
                    oom_kill 2\noom_kill_other 9\n";
        vmstat(text, &mut host);
        assert_eq!(
            (host.oom_kills, host.major_faults, host.refaults),
            (Some(2), Some(12), Some(7))
        );
        vmstat("workingset_refault 5\n", &mut host);
        assert_eq!((host.oom_kills, host.refaults), (None, Some(5)));
    }

    #[test]
    fn vmstat_sums_zones() {
        let mut host = HostMemory::default();
        let text = "allocstall_dma32 1\nallocstall_normal 2\nallocstall_movable 3\npswpin 4\n\
                    pswpout 5\npgscan_kswapd 6\npgscan_direct 7\npgscan_direct_throttle 99\n\
                    pgsteal_kswapd_dma 8\npgsteal_kswapd_normal 1\npgsteal_direct x\n";
        vmstat(text, &mut host);
        assert_eq!(host.allocation_stalls, Some(6));
        assert_eq!((host.swapped_in_pages, host.swapped_out_pages), (Some(4), Some(5)));
        assert_eq!(host.scanned_pages, [Some(6), Some(7)]);
        assert_eq!(host.reclaimed_pages, [Some(9), None]);
    }

    #[test]
    fn pressure_reads_both_lines() {
        let text = "some avg10=1.50 avg60=0.20 avg300=0.00 total=99\n\
                    full avg10=0.00 avg60=0.00 avg300=0.00 total=1\n";
        let pressure = pressure(text);
        assert_eq!(pressure.some.map(|line| line.avg10), Some(1.5));
        assert_eq!(pressure.full.map(|line| line.total_micros), Some(1));
    }
}
