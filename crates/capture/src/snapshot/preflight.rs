//! What is looked at before a target is touched: may it be traced, can it be cloned,
//! and is there memory for the pages that clone and target will not share any more.

use std::fs;

use decode::procfs;
use model::Bytes;

use super::Options;
use crate::error::CaptureError;
use crate::signals;

/// Page tables of the clone, bytes for each byte of memory: one 8-byte entry a page.
const PAGE_TABLE_SHARE: u64 = 512;

/// What the program allocates anew while it is copied, at least.
const GROWTH_BYTES_MIN: u64 = 64 << 20;

/// Checks that hold for every method that stops the target.
pub(super) fn may_be_traced(pid: u32) -> Result<(), CaptureError> {
    let refused = |reason: String, advice| CaptureError::Refused { pid, reason, advice };
    if pid == std::process::id() {
        return Err(refused("that is memsight itself".to_owned(), None));
    }
    let mut state = ' ';
    // Waiting for a page of its executable is over soon.
    for _ in 0..20 {
        let status = status(pid)?;
        state = text_field(&status, "State").and_then(|text| text.chars().next()).unwrap_or(' ');
        match procfs::field(&status, "TracerPid") {
            Some(0) | None => {}
            Some(tracer) => {
                let reason = format!("process {tracer} traces it (a debugger, or strace)");
                return Err(refused(reason, Some("end the tracer first")));
            }
        }
        match state {
            'D' => std::thread::sleep(std::time::Duration::from_millis(10)),
            'Z' | 'X' | 'x' => return Err(CaptureError::Ended(pid)),
            _ => break,
        }
    }
    if state == 'D' {
        let reason = "it waits in the kernel and cannot be stopped (state D)".to_owned();
        return Err(refused(reason, Some("try again, or read it without stopping it")));
    }
    // The kernel asks of a reader of this file what it asks of a tracer.
    match fs::File::open(format!("/proc/{pid}/mem")) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(CaptureError::NoProcess(pid))
        }
        Err(_) => Err(CaptureError::Denied { pid, what: DENIED }),
    }
}

/// What is denied when tracing is.
pub(super) const DENIED: &str = "tracing it needs the same user, no stricter \
    kernel.yama.ptrace_scope than 0, or CAP_SYS_PTRACE";

/// Checks for the method that clones the target.
pub(super) fn may_be_cloned(pid: u32, options: &Options) -> Result<(), CaptureError> {
    const STOP: Option<&str> =
        Some("stop the target while it is copied instead (--stop): that needs no extra memory");
    let refused = |reason| CaptureError::Refused { pid, reason, advice: STOP };
    if !cfg!(target_arch = "x86_64") {
        return Err(refused("cloning is implemented for x86-64 only".to_owned()));
    }
    if has_seccomp(pid) {
        let reason = "it runs under a seccomp filter, which may kill it for a system call it \
                      does not expect: cloning it is not safe";
        return Err(refused(reason.to_owned()));
    }
    if options.ignore_headroom {
        return Ok(());
    }
    let status = status(pid)?;
    let estimate = Estimate::of(&status, options);
    check_headroom(pid, &estimate).map_err(refused)?;
    check_overcommit(&status).map_err(refused)
}

/// Reports whether a thread of the process has a seccomp filter, or strict mode.
fn has_seccomp(pid: u32) -> bool {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return false };
    tasks.filter_map(Result::ok).any(|task| {
        let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
        procfs::field(&status, "Seccomp").is_some_and(|mode| mode != 0)
    })
}

/// How much memory a clone may take before it is gone again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Estimate {
    anonymous: u64,
    copied: u64,
    page_tables: u64,
    growth: u64,
}

impl Estimate {
    fn of(status: &str, options: &Options) -> Estimate {
        let bytes = |key| procfs::field(status, key).unwrap_or(0);
        let anonymous = bytes("RssAnon").saturating_add(bytes("VmSwap"));
        // Go 1.26 marks objects within their pages: one collection writes to one of the
        // two pages of every span of small objects.
        let copied = if options.marks_in_pages { anonymous / 2 } else { anonymous / 8 };
        let page_tables = bytes("VmPTE").max(bytes("VmRSS") / PAGE_TABLE_SHARE);
        let growth = GROWTH_BYTES_MIN.max(anonymous / 32);
        Estimate { anonymous, copied, page_tables, growth }
    }

    fn total(&self) -> u64 {
        self.copied.saturating_add(self.page_tables).saturating_add(self.growth)
    }

    fn text(&self) -> String {
        format!(
            "a clone may take {} for a moment ({} of the {} it shares with the target may have \
             to be copied, page tables {}, new allocations {})",
            Bytes(self.total()),
            Bytes(self.copied),
            Bytes(self.anonymous),
            Bytes(self.page_tables),
            Bytes(self.growth),
        )
    }
}

fn check_headroom(pid: u32, estimate: &Estimate) -> Result<(), String> {
    let cgroup = signals::cgroup(pid);
    // Pages of files nobody uses are given back before anything is killed.
    let used = cgroup.working_set_bytes.or(cgroup.usage_bytes);
    if let (Some(limit), Some(used)) = (cgroup.limit_bytes, used)
        && limit.saturating_sub(used) < estimate.total()
    {
        let left = Bytes(limit.saturating_sub(used));
        let (text, limit) = (estimate.text(), Bytes(limit));
        return Err(format!("{text}, but its memory limit of {limit} leaves {left}"));
    }
    match signals::host().available_bytes {
        Some(available) if available < estimate.total() => {
            let (text, available) = (estimate.text(), Bytes(available));
            Err(format!("{text}, but the machine has {available} available"))
        }
        _ => Ok(()),
    }
}

/// With vm.overcommit_memory=2 the kernel wants room for all of it.
fn check_overcommit(status: &str) -> Result<(), String> {
    let mode = fs::read_to_string("/proc/sys/vm/overcommit_memory").unwrap_or_default();
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    match commit_shortage(&mode, &meminfo, status) {
        Some((needed, left)) => Err(format!(
            "vm.overcommit_memory is 2 and a clone commits {}, but only {} can be committed",
            Bytes(needed),
            Bytes(left)
        )),
        None => Ok(()),
    }
}

/// What would be committed and what can be, where that is less.
fn commit_shortage(mode: &str, meminfo: &str, status: &str) -> Option<(u64, u64)> {
    if mode.trim() != "2" {
        return None;
    }
    let needed = procfs::field(status, "VmData")?;
    let limit = procfs::field(meminfo, "CommitLimit")?;
    let left = limit.saturating_sub(procfs::field(meminfo, "Committed_AS")?);
    (left < needed).then_some((needed, left))
}

fn status(pid: u32) -> Result<String, CaptureError> {
    let path = format!("/proc/{pid}/status");
    fs::read_to_string(&path).map_err(|source| CaptureError::from_io(pid, path, source))
}

fn text_field<'a>(status: &'a str, key: &str) -> Option<&'a str> {
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    Some(line.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_estimate_is_half_of_what_collections_mark() {
        let status = "RssAnon:\t 4194304 kB\nVmSwap:\t0 kB\nVmRSS:\t4194304 kB\nVmPTE:\t9000 kB\n";
        let options = Options { marks_in_pages: true, ..Options::default() };
        let estimate = Estimate::of(status, &options);
        assert_eq!(estimate.copied, 2 << 30);
        assert_eq!(estimate.page_tables, 9000 << 10);
        assert_eq!(estimate.growth, 128 << 20);
        let options = Options { marks_in_pages: false, ..options };
        assert_eq!(Estimate::of(status, &options).copied, 512 << 20);
    }

    #[test]
    fn strict_overcommit_wants_room_for_all_of_it() {
        let meminfo = "CommitLimit:  1000 kB\nCommitted_AS:  600 kB\n";
        let status = "VmData:\t 500 kB\n";
        assert_eq!(commit_shortage("2\n", meminfo, status), Some((500 << 10, 400 << 10)));
        assert_eq!(commit_shortage("0\n", meminfo, status), None);
        assert_eq!(commit_shortage("2\n", meminfo, "VmData:\t 300 kB\n"), None);
    }
}
