//! Memory signals of a process, its cgroup and its host.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use decode::procfs::{self, CgroupMount};
use model::{CgroupMemory, CgroupVersion, HostMemory, Pressure, ProcessMemory};

use crate::kernel_file;

/// Reads /proc/PID/{status,stat}, and smaps_rollup when `deep` (it walks the
/// page tables, about a millisecond a gigabyte).
pub fn process(pid: u32, deep: bool) -> ProcessMemory {
    let mut memory = ProcessMemory::default();
    let read = |name: &str| kernel_file::read(format!("/proc/{pid}/{name}")).ok();
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
    procfs::start_ticks(&kernel_file::read(format!("/proc/{pid}/stat")).ok()?)
}

/// Reads /proc/meminfo and /proc/vmstat.
pub fn host() -> HostMemory {
    let meminfo = kernel_file::read("/proc/meminfo").unwrap_or_default();
    let mut host = procfs::meminfo(&meminfo);
    if let Ok(text) = kernel_file::read("/proc/vmstat") {
        procfs::vmstat(&text, &mut host);
    }
    host
}

/// Reads /proc/pressure/memory.
pub fn pressure() -> Pressure {
    let text = kernel_file::read("/proc/pressure/memory");
    text.map(|text| procfs::pressure(&text)).unwrap_or_default()
}

/// The machine's memory and its pressure, for observations of many targets: read at most once
/// a second for all of them.
pub fn machine() -> (HostMemory, Pressure) {
    static RECENT: Recent<(HostMemory, Pressure)> = Recent::new(Duration::from_secs(1));
    RECENT.get(|| (host(), pressure()))
}

/// What is mounted, which may be thousands of lines where containers run.
fn mounts() -> Arc<[CgroupMount]> {
    static RECENT: Recent<Arc<[CgroupMount]>> = Recent::new(Duration::from_secs(10));
    RECENT.get(|| {
        let text = kernel_file::read("/proc/self/mountinfo").unwrap_or_default();
        procfs::cgroup_mounts(&text).into()
    })
}

/// A value that is read anew once it is too old.
struct Recent<T> {
    age_max: Duration,
    value: Mutex<Option<(Instant, T)>>,
}

impl<T: Clone> Recent<T> {
    const fn new(age_max: Duration) -> Recent<T> {
        Recent { age_max, value: Mutex::new(None) }
    }

    fn get(&self, read: impl FnOnce() -> T) -> T {
        let mut value = self.value.lock().unwrap_or_else(PoisonError::into_inner);
        match &*value {
            Some((at, value)) if at.elapsed() < self.age_max => value.clone(),
            _ => value.insert((Instant::now(), read())).1.clone(),
        }
    }
}

/// Reads the memory controller of a process's cgroup: v1 where the controller is
/// there (also on hybrid hosts), else v2. The limit is the least of the cgroup and
/// its ancestors, as the kernel enforces them all.
pub fn cgroup(pid: u32) -> CgroupMemory {
    let places = Places::of(pid);
    let mut memory = places.memory().map(|(_, _, memory)| memory).unwrap_or_default();
    // The root of the hierarchy has no such file.
    let text = places.unified.map(|place| kernel_file::read(place.own().join("memory.pressure")));
    memory.pressure =
        text.and_then(Result::ok).map(|text| procfs::pressure(&text)).unwrap_or_default();
    memory
}

/// Where the files of a process's cgroup are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupDirs {
    /// Which interface.
    pub version: CgroupVersion,
    /// Where the hierarchy is mounted.
    pub mount: PathBuf,
    /// The cgroup of the process.
    pub own: PathBuf,
    /// The one that sets the tightest limit; the own one when nothing is limited.
    pub limit: PathBuf,
    /// Where memory.pressure is: in the unified hierarchy, also where version 1 has the memory.
    pub pressure: Option<PathBuf>,
}

/// Where the files of a process's cgroup are; `None` when no memory controller was found.
pub fn cgroup_dirs(pid: u32) -> Option<CgroupDirs> {
    let places = Places::of(pid);
    let (hierarchy, place, _) = places.memory()?;
    let (version, mount) = (hierarchy.version, place.mount.clone());
    let own = place.own();
    let pressure = places.pressure_dir();
    let mut dirs = CgroupDirs { version, mount, limit: own.clone(), own, pressure };
    dirs.limit = limit_dir(&dirs);
    Some(dirs)
}

/// The cgroup that sets the tightest limit now.
pub(crate) fn limit_dir(dirs: &CgroupDirs) -> PathBuf {
    let hierarchy = match dirs.version {
        CgroupVersion::V1 => &V1,
        CgroupVersion::V2 => &V2,
    };
    let (_, dir) = hierarchy.tightest_limit(&dirs.mount, &dirs.own);
    dir.unwrap_or_else(|| dirs.own.clone())
}

/// A process's place in the hierarchies that may have its memory: version 1 first.
#[derive(Debug, Default)]
struct Places {
    v1: Option<Place>,
    unified: Option<Place>,
}

#[derive(Debug)]
struct Place {
    mount: PathBuf,
    relative: String,
}

impl Place {
    fn own(&self) -> PathBuf {
        self.mount.join(self.relative.trim_start_matches('/'))
    }
}

impl Places {
    fn of(pid: u32) -> Places {
        let Ok(text) = kernel_file::read(format!("/proc/{pid}/cgroup")) else {
            return Places::default();
        };
        let paths = procfs::cgroup(&text);
        let mounts = mounts();
        let place = |path: Option<String>, is_unified: bool| {
            let mount = mounts.iter().find(|mount| mount.is_unified == is_unified)?;
            let path = path?;
            // In a container the mount shows only our own part of the hierarchy.
            let root = mount.root.trim_end_matches('/');
            let relative = path.strip_prefix(root).unwrap_or(&path).to_owned();
            Some(Place { mount: PathBuf::from(&mount.mount_point), relative })
        };
        Places { v1: place(paths.memory_v1, false), unified: place(paths.unified, true) }
    }

    /// The hierarchy that has the memory controller, and what it says.
    fn memory(&self) -> Option<(&'static Hierarchy, &Place, CgroupMemory)> {
        [(&self.v1, &V1), (&self.unified, &V2)].into_iter().find_map(|(place, hierarchy)| {
            let place = place.as_ref()?;
            Some((hierarchy, place, hierarchy.read(&place.mount, &place.relative)?))
        })
    }

    /// The root of the hierarchy has no such file.
    fn pressure_dir(&self) -> Option<PathBuf> {
        let dir = self.unified.as_ref()?.own();
        dir.join("memory.pressure").exists().then_some(dir)
    }
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
            kernel_file::read(dir.join(name)).ok()?.trim().parse().ok()
        };
        let (limit_bytes, limit_dir) = self.tightest_limit(mount, &own);
        let level = limit_dir.as_deref().unwrap_or(&own);
        let usage_bytes = number(level, self.usage).or_else(|| number(mount, self.usage));
        let stat = kernel_file::read(level.join("memory.stat")).ok();
        if usage_bytes.is_none() && stat.is_none() {
            return None;
        }
        let field = |name: &str| stat.as_deref().and_then(|text| procfs::flat_field(text, name));
        let inactive_file_bytes = field(self.inactive_file);
        // Version 1 counts the victims of each cgroup, version 2 those below it too.
        let oom_dir = if self.version == CgroupVersion::V1 { &own } else { level };
        let oom = kernel_file::read(oom_dir.join(self.oom_file)).unwrap_or_default();
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
            pressure: Pressure::default(),
        })
    }

    fn tightest_limit(&self, mount: &Path, own: &Path) -> (Option<u64>, Option<PathBuf>) {
        let mut tightest: (Option<u64>, Option<PathBuf>) = (None, None);
        for dir in own.ancestors().take_while(|dir| dir.starts_with(mount)) {
            let text = kernel_file::read(dir.join(self.limit)).unwrap_or_default();
            let Some(limit) = procfs::limit(&text) else { continue };
            if tightest.0.is_none_or(|least| limit < least) {
                tightest = (Some(limit), Some(dir.to_owned()));
            }
        }
        tightest
    }
}
