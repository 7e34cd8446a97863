//! Level signals of processes, cgroups and the machine.

use model::FamilyKind::{self, Counter, Gauge, Unknown};
use model::{CgroupMemory, Labels, Observation, PressureLine, ProcessMemory, Timestamp};

use super::{Families, Subject};

/// Name, kind, meaning, and where the value is.
type Row<T> = (&'static str, FamilyKind, &'static str, fn(&T) -> Option<f64>);

fn number(value: Option<u64>) -> Option<f64> {
    value.map(|value| value as f64)
}

/// As client_golang's process collector has them; then what that has not.
#[rustfmt::skip]
const PROCESS: [Row<ProcessMemory>; 13] = [
    ("process_resident_memory_bytes", Gauge, "Resident memory size in bytes.", |p| number(p.rss_bytes)),
    ("process_virtual_memory_bytes", Gauge, "Virtual memory size in bytes.", |p| number(p.virtual_bytes)),
    ("process_cpu_seconds_total", Counter, "Total user and system CPU time spent in seconds.", |p| p.cpu_seconds),
    ("process_threads", Gauge, "Threads of the process.", |p| number(p.threads)),
    ("memsight_process_rss_anon_bytes", Gauge, "Resident anonymous memory.", |p| number(p.rss_anon_bytes)),
    ("memsight_process_rss_file_bytes", Gauge, "Resident pages of files.", |p| number(p.rss_file_bytes)),
    ("memsight_process_rss_shmem_bytes", Gauge, "Resident shared memory.", |p| number(p.rss_shmem_bytes)),
    ("memsight_process_rss_peak_bytes", Gauge, "Highest resident size so far.", |p| number(p.rss_peak_bytes)),
    ("memsight_process_pss_bytes", Gauge, "Proportional set: shared pages divided among those who share them.", |p| number(p.pss_bytes)),
    ("memsight_process_lazy_free_bytes", Gauge, "Resident pages that were freed with MADV_FREE: the kernel takes them when it needs them.", |p| number(p.lazy_free_bytes)),
    ("memsight_process_swap_bytes", Gauge, "Swapped out.", |p| number(p.swap_bytes)),
    ("memsight_process_page_table_bytes", Gauge, "Page tables.", |p| number(p.page_table_bytes)),
    ("memsight_process_major_faults_total", Counter, "Page faults that had to read.", |p| number(p.major_faults)),
];

/// As cadvisor has them; of the cgroup that sets the limit.
#[rustfmt::skip]
const CGROUP: [Row<CgroupMemory>; 12] = [
    ("container_memory_usage_bytes", Gauge, "Current memory usage in bytes, including all memory regardless of when it was accessed.", |c| number(c.usage_bytes)),
    ("container_memory_working_set_bytes", Gauge, "Current working set in bytes: usage less inactive file pages.", |c| number(c.working_set_bytes)),
    ("container_memory_rss", Gauge, "Size of RSS in bytes: anonymous memory.", |c| number(c.anon_bytes)),
    ("container_memory_cache", Gauge, "Number of bytes of page cache memory.", |c| number(c.file_bytes)),
    ("container_memory_total_inactive_file_bytes", Gauge, "Inactive page cache.", |c| number(c.inactive_file_bytes)),
    ("container_memory_kernel_usage", Gauge, "Size of kernel memory allocated in bytes.", |c| number(c.kernel_bytes)),
    ("memsight_cgroup_slab_bytes", Gauge, "Kernel slab.", |c| number(c.slab_bytes)),
    ("memsight_cgroup_sock_bytes", Gauge, "Socket buffers.", |c| number(c.sock_bytes)),
    ("memsight_cgroup_page_table_bytes", Gauge, "Page tables.", |c| number(c.page_table_bytes)),
    ("container_spec_memory_limit_bytes", Gauge, "Memory limit for the container; absent without one.", |c| number(c.limit_bytes)),
    ("container_memory_failcnt", Counter, "Number of memory usage hits limits.", |c| number(c.limit_hits)),
    ("container_oom_events_total", Counter, "Count of out of memory events observed for the container.", |c| number(c.oom_kills)),
];

/// As node_exporter has them.
#[rustfmt::skip]
const HOST: [Row<Observation>; 18] = [
    ("node_memory_MemTotal_bytes", Gauge, "Memory information field MemTotal_bytes.", |o| number(o.host.total_bytes)),
    ("node_memory_MemAvailable_bytes", Gauge, "Memory information field MemAvailable_bytes.", |o| number(o.host.available_bytes)),
    ("node_memory_MemFree_bytes", Gauge, "Memory information field MemFree_bytes.", |o| number(o.host.free_bytes)),
    ("node_memory_Cached_bytes", Gauge, "Memory information field Cached_bytes.", |o| number(o.host.cached_bytes)),
    ("node_memory_SwapTotal_bytes", Gauge, "Memory information field SwapTotal_bytes.", |o| number(o.host.swap_total_bytes)),
    ("node_memory_SwapFree_bytes", Gauge, "Memory information field SwapFree_bytes.", |o| number(o.host.swap_free_bytes)),
    ("node_pressure_memory_waiting_seconds_total", Counter, "Total time in seconds that processes have waited for memory.", |o| stalled(o.pressure.some)),
    ("node_pressure_memory_stalled_seconds_total", Counter, "Total time in seconds no process could make progress due to memory congestion.", |o| stalled(o.pressure.full)),
    ("node_vmstat_oom_kill", Unknown, "/proc/vmstat information field oom_kill.", |o| number(o.host.oom_kills)),
    ("node_vmstat_pgmajfault", Unknown, "/proc/vmstat information field pgmajfault.", |o| number(o.host.major_faults)),
    ("node_vmstat_pswpin", Unknown, "/proc/vmstat information field pswpin.", |o| number(o.host.swapped_in_pages)),
    ("node_vmstat_pswpout", Unknown, "/proc/vmstat information field pswpout.", |o| number(o.host.swapped_out_pages)),
    ("node_vmstat_workingset_refault", Unknown, "/proc/vmstat information fields workingset_refault*, summed.", |o| number(o.host.refaults)),
    ("node_vmstat_allocstall", Unknown, "/proc/vmstat information fields allocstall*, summed.", |o| number(o.host.allocation_stalls)),
    ("node_vmstat_pgscan_kswapd", Unknown, "/proc/vmstat information field pgscan_kswapd.", |o| number(o.host.scanned_pages[0])),
    ("node_vmstat_pgscan_direct", Unknown, "/proc/vmstat information field pgscan_direct.", |o| number(o.host.scanned_pages[1])),
    ("node_vmstat_pgsteal_kswapd", Unknown, "/proc/vmstat information field pgsteal_kswapd.", |o| number(o.host.reclaimed_pages[0])),
    ("node_vmstat_pgsteal_direct", Unknown, "/proc/vmstat information field pgsteal_direct.", |o| number(o.host.reclaimed_pages[1])),
];

const START: &str = "process_start_time_seconds";
const LIMIT: &str = "memsight_process_limit_bytes";

fn stalled(line: Option<PressureLine>) -> Option<f64> {
    line.map(|line| line.total_micros as f64 / 1e6)
}

impl Families {
    /// A target's process.
    pub fn process(&mut self, observation: &Observation, subject: &Subject) {
        self.rows(&PROCESS, &observation.process, subject);
        if let Some(Timestamp(millis)) = subject.start {
            let help = "Start time of the process since unix epoch in seconds.";
            self.add((START, Gauge, help), subject, millis as f64 / 1e3);
        }
        // What a forecast of its memory is compared with, without a join.
        let limits = [observation.cgroup.limit_bytes, observation.host.total_bytes];
        if let Some(limit) = limits.into_iter().flatten().min() {
            let help = "The least of its cgroups' limits and the machine's memory.";
            self.add((LIMIT, Gauge, help), subject, limit as f64);
        }
    }

    /// The cgroup of a target, once for all targets in it.
    pub fn cgroup(&mut self, cgroup: &CgroupMemory) {
        if cgroup.version.is_none() {
            return;
        }
        let id = cgroup_id(cgroup);
        if self.cgroups.insert(id.to_owned()) {
            let subject = Subject::new(Labels::new([("id", id)]), None);
            self.rows(&CGROUP, cgroup, &subject);
        }
    }

    /// The machine.
    pub fn host(&mut self, observation: &Observation) {
        self.rows(&HOST, observation, &Subject::default());
    }

    fn rows<T>(&mut self, rows: &[Row<T>], of: &T, subject: &Subject) {
        for (name, kind, help, value) in rows {
            if let Some(value) = value(of) {
                self.add((name, *kind, help), subject, value);
            }
        }
    }
}

/// The path of the cgroup that sets the limit, as cadvisor's `id` has it; the own one's without
/// a limit.
pub(super) fn cgroup_id(cgroup: &CgroupMemory) -> &str {
    if cgroup.limit_path.is_empty() {
        return &cgroup.path;
    }
    // The limit's path begins where the hierarchy is mounted; it is the own path or above it.
    let mut path = cgroup.path.trim_end_matches('/');
    while let Some((above, _)) = path.rsplit_once('/') {
        if cgroup.limit_path.ends_with(path) {
            return path;
        }
        path = above;
    }
    "/"
}

/// Names of all series here.
#[cfg(test)]
pub(super) fn names() -> Vec<&'static str> {
    let process = PROCESS.iter().map(|row| row.0);
    let others = CGROUP.iter().map(|row| row.0).chain(HOST.iter().map(|row| row.0));
    process.chain(others).chain([START, LIMIT]).collect()
}
