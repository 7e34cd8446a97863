//! The texts of /proc and cgroups.
#![no_main]

use decode::procfs;
use libfuzzer_sys::fuzz_target;
use model::ProcessMemory;

fuzz_target!(|text: &str| {
    let mut memory = ProcessMemory::default();
    procfs::status(text, &mut memory);
    procfs::smaps_rollup(text, &mut memory);
    procfs::stat(text, 100.0, &mut memory);
    let _ = (procfs::start_ticks(text), procfs::meminfo(text), procfs::pressure(text));
    procfs::vmstat(text, &mut procfs::meminfo(text));
    let _ = (procfs::smaps(text), procfs::cgroup_identity(text));
    let _ = (procfs::maps(text), procfs::cgroup(text), procfs::cgroup_mounts(text));
    let _ = (procfs::limit(text), procfs::flat_field(text, "oom_kill"));
});
