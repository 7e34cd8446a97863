//! Which probes work here, and which capability, kernel option or lockdown forbids the others.

use std::error::Error;
use std::fs;
use std::io;

use super::{AllocProbe, ExecProbe, FaultProbe, MmapProbe, NativeProbe, OomProbe};
use crate::error::CaptureError;

/// What a probe is attached to, which decides the privileges it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Tracepoints of the kernel.
    Kernel,
    /// Code of a process.
    User,
}

/// Capabilities by their number (linux/capability.h).
const CAPABILITIES: [(u32, &str); 4] =
    [(38, "CAP_PERFMON"), (39, "CAP_BPF"), (21, "CAP_SYS_ADMIN"), (19, "CAP_SYS_PTRACE")];

impl Need {
    /// The least privileges, as measured (docs/probes.md).
    fn capabilities(self) -> &'static [&'static str] {
        match self {
            Need::Kernel => &["CAP_BPF", "CAP_PERFMON"],
            // Links, which this kernel has for all of them, ask for less than events of perf.
            Need::User if kernel_version() >= (6, 13) => {
                &["CAP_BPF", "CAP_PERFMON", "CAP_SYS_PTRACE"]
            }
            Need::User => &["CAP_BPF", "CAP_PERFMON", "CAP_SYS_ADMIN", "CAP_SYS_PTRACE"],
        }
    }

    /// Those that this process lacks.
    fn missing(self) -> Vec<&'static str> {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let bits = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        let bits = bits.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()).unwrap_or(0);
        let has =
            |name: &str| CAPABILITIES.iter().any(|(bit, of)| *of == name && bits & (1 << bit) != 0);
        // CAP_SYS_ADMIN stands for both of the newer ones.
        let is_admin = has("CAP_SYS_ADMIN");
        let is_covered =
            |name: &str| has(name) || is_admin && ["CAP_BPF", "CAP_PERFMON"].contains(&name);
        self.capabilities().iter().copied().filter(|name| !is_covered(name)).collect()
    }
}

/// What a failed call means for the person at the terminal.
pub(super) fn explain(
    probe: &'static str,
    need: Need,
    error: &(dyn Error + 'static),
) -> CaptureError {
    let is_denied = causes(error).any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
    });
    let missing = need.missing();
    if is_denied && !missing.is_empty() {
        return CaptureError::ProbeDenied { probe, missing: missing.join(", ") };
    }
    let mut reason: Vec<String> = Vec::new();
    for cause in causes(error) {
        let text = cause.to_string();
        // Some of these errors print their cause, too.
        if !reason.iter().any(|known| known.contains(&text)) {
            reason.push(text);
        }
    }
    let mut reason = reason.join(": ");
    if is_denied {
        reason = format!("{reason}; {}", forbidden_by());
    }
    CaptureError::Probe { probe, reason }
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error)
    })
}

/// Who says no to somebody who has all capabilities.
fn forbidden_by() -> String {
    let lockdown = fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default();
    let lockdown = lockdown.split(['[', ']']).nth(1).unwrap_or("none");
    if lockdown == "confidentiality" {
        return "the kernel is locked down (lockdown=confidentiality), which forbids reading memory \
                by BPF: boot with lockdown=integrity"
            .to_owned();
    }
    "a seccomp filter or security module forbids it (in a container: run privileged, or allow bpf \
     and perf_event_open)"
        .to_owned()
}

/// The kernel does not tell its types.
pub(super) fn no_types(probe: &'static str, error: &dyn Error) -> CaptureError {
    let reason = if fs::metadata("/sys/kernel/btf/vmlinux").is_ok() {
        format!("/sys/kernel/btf/vmlinux cannot be read: {error}")
    } else {
        "this kernel does not tell its types (/sys/kernel/btf/vmlinux is missing): it must be built \
         with CONFIG_DEBUG_INFO_BTF, as those of distributions since 2020 are"
            .to_owned()
    };
    CaptureError::Probe { probe, reason }
}

/// Tries each probe on this machine, and takes it out again.
pub fn checks() -> Vec<(&'static str, Result<(), CaptureError>)> {
    vec![
        ("probe exec", ExecProbe::open().map(drop)),
        ("probe oom", OomProbe::open().map(drop)),
        ("probe faults", FaultProbe::check()),
        ("probe mmap", MmapProbe::check()),
        ("probe alloc", AllocProbe::open().and_then(|mut probe| probe.try_own_code())),
        ("probe native", NativeProbe::check()),
    ]
}

/// Process ids are those that the kernel has only in the first pid namespace.
pub(super) fn check_namespace(probe: &'static str) -> Result<(), CaptureError> {
    /// PROC_PID_INIT_INO of the kernel.
    const FIRST: &str = "pid:[4026531836]";
    match fs::read_link("/proc/self/ns/pid") {
        Ok(namespace) if namespace.as_os_str() != FIRST => {
            let reason = "memsight runs in a pid namespace of its own, where processes have other \
                          ids than in the kernel: run it in the host's (hostPID: true, --pid=host)";
            Err(CaptureError::Probe { probe, reason: reason.to_owned() })
        }
        _ => Ok(()),
    }
}

/// The first two numbers of the kernel's release.
pub(super) fn kernel_version() -> (u32, u32) {
    version(&fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default())
}

fn version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(['.', '-']).map_while(|part| part.trim().parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn releases_have_versions() {
        let releases = ["6.1.0-18-amd64", "6.13.5-cloud", "6.14\n", "7.0-rc1", ""];
        assert_eq!(releases.map(version), [(6, 1), (6, 13), (6, 14), (7, 0), (0, 0)]);
    }
}
