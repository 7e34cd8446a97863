//! Memory signals of a process, its cgroup and its host.

use std::fs;
use std::path::{Path, PathBuf};

use decode::procfs;
use model::{CgroupMemory, CgroupVersion, HostMemory, Pressure, ProcessMemory};

/// Reads /proc/PID/{status,stat}, and smaps_rollup when `deep` (it walks the
/// page tables, about a millisecond a gigabyte).
pub fn process(pid: u32, deep: bool) -> ProcessMemory {
    let mut memory = ProcessMemory::default();
    let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).ok();
    if let Some(text) = read("status") {
        procfs::status(&text, &mut memory);
    }
    if let Some(text) = read("stat") {
        procfs::stat(&text, ticks_per_second(), &mut memory);
    }
    if let Some(text) = deep.then(|| read("smaps_rollup")).flatten() {
        procfs::smaps_rollup(&text, &mut memory);
    }
    memory
}

/// Clock ticks per second of /proc/PID/stat.
pub fn ticks_per_second() -> f64 {
    rustix::param::clock_ticks_per_second() as f64
}

/// Start time of a process in clock ticks after boot.
pub fn start_ticks(pid: u32) -> Option<u64> {
    procfs::start_ticks(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Reads /proc/meminfo.
pub fn host() -> HostMemory {
    fs::read_to_string("/proc/meminfo").map(|text| procfs::meminfo(&text)).unwrap_or_default()
}

/// Reads /proc/pressure/memory.
pub fn pressure() -> Pressure {
    let text = fs::read_to_string("/proc/pressure/memory");
    text.map(|text| procfs::pressure(&text)).unwrap_or_default()
}

/// Reads the memory controller of a process's cgroup: v1 where the controller is
/// there (also on hybrid hosts), else v2. The limit is the least of the cgroup and
/// its ancestors, as the kernel enforces them all.
pub fn cgroup(pid: u32) -> CgroupMemory {
    let Ok(text) = fs::read_to_string(format!("/proc/{pid}/cgroup")) else {
        return CgroupMemory::default();
    };
    let Ok(mountinfo) = fs::read_to_string("/proc/self/mountinfo") else {
        return CgroupMemory::default();
    };
    let paths = procfs::cgroup(&text);
    let mounts = procfs::cgroup_mounts(&mountinfo);
    for (path, is_unified) in [(paths.memory_v1, false), (paths.unified, true)] {
        let mount = mounts.iter().find(|mount| mount.is_unified == is_unified);
        let (Some(path), Some(mount)) = (path, mount) else { continue };
        // In a container the mount shows only our own part of the hierarchy.
        let relative = path.strip_prefix(mount.root.trim_end_matches('/')).unwrap_or(&path);
        let hierarchy = if is_unified { &V2 } else { &V1 };
        if let Some(memory) = hierarchy.read(Path::new(&mount.mount_point), relative) {
            return memory;
        }
    }
    CgroupMemory::default()
}

/// The file and field names of one cgroup version.
struct Hierarchy {
    version: CgroupVersion,
    usage: &'static str,
    limit: &'static str,
    anon: &'static str,
    file: &'static str,
    inactive_file: &'static str,
    slab: &'static str,
    sock: &'static str,
    /// A file of its own in v1, a field of memory.stat in v2.
    kernel: &'static str,
    oom_file: &'static str,
}

const V1: Hierarchy = Hierarchy {
    version: CgroupVersion::V1,
    usage: "memory.usage_in_bytes",
    limit: "memory.limit_in_bytes",
    anon: "total_rss",
    file: "total_cache",
    inactive_file: "total_inactive_file",
    slab: "slab",
    sock: "memory.kmem.tcp.usage_in_bytes",
    kernel: "memory.kmem.usage_in_bytes",
    oom_file: "memory.oom_control",
};

const V2: Hierarchy = Hierarchy {
    version: CgroupVersion::V2,
    usage: "memory.current",
    limit: "memory.max",
    anon: "anon",
    file: "file",
    inactive_file: "inactive_file",
    slab: "slab",
    sock: "sock",
    kernel: "kernel",
    oom_file: "memory.events",
};

impl Hierarchy {
    /// `None` when the memory controller is not in this hierarchy.
    fn read(&self, mount: &Path, path: &str) -> Option<CgroupMemory> {
        let own = mount.join(path.trim_start_matches('/'));
        let number = |dir: &Path, name: &str| -> Option<u64> {
            fs::read_to_string(dir.join(name)).ok()?.trim().parse().ok()
        };
        let (limit_bytes, limit_dir) = self.tightest_limit(mount, &own);
        let level = limit_dir.as_deref().unwrap_or(&own);
        let usage_bytes = number(level, self.usage).or_else(|| number(mount, self.usage));
        let stat = fs::read_to_string(level.join("memory.stat")).ok();
        if usage_bytes.is_none() && stat.is_none() {
            return None;
        }
        let field = |name: &str| stat.as_deref().and_then(|text| procfs::flat_field(text, name));
        let inactive_file_bytes = field(self.inactive_file);
        let oom = fs::read_to_string(level.join(self.oom_file)).unwrap_or_default();
        Some(CgroupMemory {
            version: Some(self.version),
            path: path.to_owned(),
            limit_bytes,
            limit_path: limit_dir.as_ref().map(|dir| dir.display().to_string()).unwrap_or_default(),
            usage_bytes,
            working_set_bytes: usage_bytes
                .map(|usage| usage.saturating_sub(inactive_file_bytes.unwrap_or(0))),
            anon_bytes: field(self.anon),
            file_bytes: field(self.file),
            inactive_file_bytes,
            slab_bytes: field(self.slab),
            sock_bytes: field(self.sock).or_else(|| number(level, self.sock)),
            kernel_bytes: field(self.kernel).or_else(|| number(level, self.kernel)),
            kernel_stack_bytes: field("kernel_stack"),
            page_table_bytes: field("pagetables"),
            oom_kills: procfs::flat_field(&oom, "oom_kill"),
            limit_hits: number(level, "memory.failcnt").or_else(|| procfs::flat_field(&oom, "max")),
        })
    }

    fn tightest_limit(&self, mount: &Path, own: &Path) -> (Option<u64>, Option<PathBuf>) {
        let mut tightest: (Option<u64>, Option<PathBuf>) = (None, None);
        for dir in own.ancestors().take_while(|dir| dir.starts_with(mount)) {
            let text = fs::read_to_string(dir.join(self.limit)).unwrap_or_default();
            let Some(limit) = procfs::limit(&text) else { continue };
            if tightest.0.is_none_or(|least| limit < least) {
                tightest = (Some(limit), Some(dir.to_owned()));
            }
        }
        tightest
    }
}
