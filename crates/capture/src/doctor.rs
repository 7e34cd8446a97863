//! What works on this machine, and which privilege or kernel feature is missing for
//! the rest.

use std::fs;

use model::CgroupVersion;

use crate::bpf;
use crate::error::CaptureError;
use crate::events::{self, Source, SourceState};
use crate::find::{self, Readable};
use crate::signals;

/// How well something works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It works.
    Ok,
    /// It works in part.
    Limited,
    /// It does not work.
    Missing,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What.
    pub name: &'static str,
    /// How well it works.
    pub state: State,
    /// What was found, and what to do about it.
    pub detail: String,
}

/// Looks at everything.
pub fn checks() -> Vec<Check> {
    let mut checks = vec![kernel(), other_processes(), go_processes(), cgroup(), pressure()];
    checks.extend(kernel_signals());
    checks.extend([smaps_rollup(), pages()]);
    checks.extend(bpf::checks().into_iter().map(|(name, result)| probe(name, result)));
    checks
}

fn check(name: &'static str, state: State, detail: impl Into<String>) -> Check {
    Check { name, state, detail: detail.into() }
}

fn kernel() -> Check {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    match (cfg!(target_arch = "x86_64"), release.trim()) {
        (true, release) => check("kernel", State::Ok, format!("Linux {release}, x86-64")),
        (false, release) => {
            let detail = format!(
                "Linux {release}; on this architecture stripped Go binaries are not understood"
            );
            check("kernel", State::Limited, detail)
        }
    }
}

/// Capability numbers of linux/capability.h.
const CAP_SYS_PTRACE: u32 = 19;

/// Whether processes of other users may be read.
fn other_processes() -> Check {
    let name = "reading processes";
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    let has_ptrace = effective.is_some_and(|bits| bits & (1 << CAP_SYS_PTRACE) != 0);
    let scope = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default();
    match (has_ptrace, scope.trim()) {
        (true, "3") => {
            check(name, State::Missing, "kernel.yama.ptrace_scope=3 forbids it to everybody")
        }
        (true, _) => check(name, State::Ok, "CAP_SYS_PTRACE: every process on this machine"),
        (false, "" | "0") => {
            let detail = "your own processes; for others add CAP_SYS_PTRACE (sudo)";
            check(name, State::Limited, detail)
        }
        (false, scope) => {
            let detail = format!(
                "kernel.yama.ptrace_scope={scope}: only children; run with CAP_SYS_PTRACE (sudo), \
                 or sysctl kernel.yama.ptrace_scope=0"
            );
            check(name, State::Missing, detail)
        }
    }
}

fn go_processes() -> Check {
    let found = find::go_processes();
    let readable = found.iter().filter(|process| process.readable == Readable::Everything).count();
    let detail = format!("{} found, {readable} can be read wholly (memsight ps)", found.len());
    let state = if readable == found.len() { State::Ok } else { State::Limited };
    check("Go processes", state, detail)
}

fn cgroup() -> Check {
    let memory = signals::cgroup(std::process::id());
    let limit = match memory.limit_bytes {
        Some(limit) => format!("limit {}", model::Bytes(limit)),
        None => "no limit for this process".to_owned(),
    };
    match memory.version {
        Some(CgroupVersion::V1) => check("cgroup memory", State::Ok, format!("version 1, {limit}")),
        Some(CgroupVersion::V2) => check("cgroup memory", State::Ok, format!("version 2, {limit}")),
        None => {
            let detail = "no memory controller is mounted: limits and kills are not seen";
            check("cgroup memory", State::Missing, detail)
        }
    }
}

fn pressure() -> Check {
    match signals::pressure().some {
        Some(_) => check("memory pressure (PSI)", State::Ok, "/proc/pressure/memory"),
        None => {
            let detail = "this kernel has no PSI: boot with psi=1";
            check("memory pressure (PSI)", State::Missing, detail)
        }
    }
}

/// What the kernel tells by itself; whatever does not work is polled.
fn kernel_signals() -> Vec<Check> {
    let told = |state: SourceState| {
        let (name, what) = match state.source {
            Source::Psi => ("pressure triggers", "/proc/pressure/memory"),
            Source::CgroupPsi => ("cgroup pressure triggers", "memory.pressure of each cgroup"),
            Source::UsageThreshold => ("usage thresholds", "told by the kernel as they are passed"),
            Source::OomControl => ("notices of kills", "memory.oom_control"),
            Source::PressureLevel => ("pressure levels", "memory.pressure_level"),
            Source::MemoryEvents => {
                ("notices of kills", "memory.events; usage is polled, up to 50 times a second")
            }
            Source::Polled => return None,
        };
        Some(match state.works {
            Ok(()) => check(name, State::Ok, what),
            Err(why) => check(name, State::Limited, format!("{why}; polled instead")),
        })
    };
    events::probe().into_iter().filter_map(told).collect()
}

/// A probe in the kernel.
fn probe(name: &'static str, result: Result<(), CaptureError>) -> Check {
    match result {
        Ok(()) => check(name, State::Ok, "eBPF programs load and attach"),
        Err(CaptureError::Probe { reason, .. }) => check(name, State::Missing, reason),
        Err(CaptureError::ProbeDenied { missing, .. }) => {
            check(name, State::Missing, format!("not permitted: run with {missing} (sudo)"))
        }
        Err(error) => check(name, State::Missing, error.to_string()),
    }
}

fn pages() -> Check {
    match fs::File::open("/proc/self/smaps").and_then(|_| fs::File::open("/proc/self/pagemap")) {
        Ok(_) => check("resident pages", State::Ok, "/proc/PID/smaps, /proc/PID/pagemap"),
        Err(error) => {
            let detail = format!("{error}: memsight rss knows less, or nothing");
            check("resident pages", State::Missing, detail)
        }
    }
}

fn smaps_rollup() -> Check {
    match fs::read_to_string("/proc/self/smaps_rollup") {
        Ok(_) => check("smaps_rollup", State::Ok, "proportional and lazily freed memory"),
        Err(error) => {
            let detail = format!("{error}: proportional memory is unknown");
            check("smaps_rollup", State::Missing, detail)
        }
    }
}
