//! What the resident memory of a process consists of, from /proc and, of a Go program, the
//! runtime's tables.
//!
//! Reads smaps, pagemap, then the runtime's tables, in this order and without stopping the
//! process: 8 bytes for each page of mappings that are resident in part. 2 GiB of small Go
//! objects cost 0.16 s of CPU, half of it the kernel's for smaps and pagemap.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use decode::goruntime::{Memory, RuntimeError};
use decode::procfs::{self, MemoryMap, PAGE_BYTES, PageEntry};
use decode::resident::{self, Areas, GoTables, Input, PageBits, PageReader, Pages, ResidentMap};
use model::rss::{HugePages, Rss};
use model::{Addr, Target, TargetSpec};

use crate::error::CaptureError;
use crate::live::{ProcessTarget, cpu_time, inode, now};
use crate::memory::ProcessMemoryReader;
use crate::{find, signals};

/// Entries read at once.
const ENTRIES: usize = 32 << 10;
/// Of mappings of more pages (64 GiB) those with less than one in `SPARSE_PART` resident are not
/// looked into: what is reserved must not cost more than what is used.
const PAGES_MAX: u64 = 16 << 20;
const SPARSE_PART: u64 = 16;
/// Of more threads the stacks are not told from other memory.
const THREADS_MAX: usize = 10_000;

/// What the resident memory of any process consists of, and what it is. Of one that is no Go
/// program, or whose runtime cannot be read, the mappings are told apart and what malloc
/// leaves in them; see also [`LiveTarget::rss`](crate::LiveTarget::rss).
///
/// # Errors
/// When the target is no process on this machine, or its mappings may not be read.
pub fn of_target(spec: &TargetSpec) -> Result<(Target, Rss), CaptureError> {
    let pid = match spec {
        TargetSpec::Pid(pid) => *pid,
        TargetSpec::Name(pattern) => find::one_by_name(pattern)?,
        TargetSpec::Url(_) | TargetSpec::Core { .. } => {
            return Err(CaptureError::Unsupported(NO_PROCESS.to_owned()));
        }
    };
    let started = cpu_time();
    let error = match ProcessTarget::attach(pid) {
        Ok(process) => {
            let mut rss = process.rss()?;
            rss.cost_micros = micros_since(started);
            return Ok((process.target().clone(), rss));
        }
        Err(error @ (CaptureError::Denied { .. } | CaptureError::Runtime { .. })) => error,
        Err(error) => return Err(error),
    };
    let mut rss = of_process(pid)?;
    let is_no_go = matches!(error, CaptureError::Runtime { cause: RuntimeError::NotGo, .. });
    if !is_no_go {
        let next = error.next_step().map_or_else(String::new, |next| format!(" ({next})"));
        rss.warnings.insert(0, format!("{error}: mappings only{next}"));
    }
    let name = find::binary_name(pid, &find::exe_path(pid).unwrap_or_default());
    let labels = BTreeMap::new();
    Ok((Target { name, spec: TargetSpec::Pid(pid), pid: Some(pid), labels }, rss))
}

/// Of what is resident there is no trace elsewhere.
pub(crate) const NO_PROCESS: &str = "resident memory is that of a process on this machine, not of \
     an endpoint or a core file; give its PID or name:REGEX";

/// What the resident memory of any process consists of, without a Go runtime's tables.
///
/// # Errors
/// When the process is not there or its mappings may not be read.
pub fn of_process(pid: u32) -> Result<Rss, CaptureError> {
    take(pid, find::is_go(pid), || None)
}

/// Reads the tables of a Go program's runtime.
pub(crate) type ReadTables<'a> = dyn Fn() -> Result<GoTables, RuntimeError> + 'a;

/// The same of a Go program, with the tables that `read` gets from its runtime. What is
/// anonymous stays open when that fails.
pub(crate) fn of_go(pid: u32, read: &ReadTables<'_>) -> Result<Rss, CaptureError> {
    take(pid, true, || Some(read()))
}

/// What the parts of the address space of any process are used for.
///
/// # Errors
/// When the process is not there or its mappings may not be read.
pub fn areas(pid: u32) -> Result<Areas, CaptureError> {
    match ProcessTarget::attach(pid) {
        Ok(process) => process.areas(),
        Err(_) => Ok(Evidence::take(pid, find::is_go(pid), || None)?.areas()),
    }
}

/// The same of a Go program, with the tables that `read` gets from its runtime.
pub(crate) fn areas_of_go(pid: u32, read: &ReadTables<'_>) -> Result<Areas, CaptureError> {
    Ok(Evidence::take(pid, true, || Some(read()))?.areas())
}

fn take(
    pid: u32,
    is_go: bool,
    read: impl FnOnce() -> Option<Result<GoTables, RuntimeError>>,
) -> Result<Rss, CaptureError> {
    let started = cpu_time();
    let mut evidence = Evidence::take(pid, is_go, read)?;
    let memory = evidence.memory();
    let memory = memory.as_ref().map(|memory| memory as &dyn Memory);
    let mut rss = resident::attribute(&evidence.input(), evidence.tables.as_ref(), memory);
    rss.process = signals::process(pid, false);
    rss.process.pss_bytes = Some(evidence.maps.iter().map(|map| map.map.pss_bytes).sum());
    rss.cgroup = signals::cgroup(pid);
    rss.huge_pages = huge_pages();
    rss.time = now();
    evidence.warnings.append(&mut rss.warnings);
    rss.warnings = evidence.warnings;
    rss.cost_micros = micros_since(started);
    Ok(rss)
}

/// What /proc and the runtime tell of a process's memory.
struct Evidence {
    pid: u32,
    maps: Vec<ResidentMap>,
    tables: Option<GoTables>,
    exe_inode: u64,
    exe_path: String,
    threads: u64,
    stack_pointers: Vec<u64>,
    is_go: bool,
    warnings: Vec<String>,
}

impl Evidence {
    fn take(
        pid: u32,
        is_go: bool,
        read: impl FnOnce() -> Option<Result<GoTables, RuntimeError>>,
    ) -> Result<Evidence, CaptureError> {
        let mut warnings = Vec::new();
        // Tables only grow: those read last know of everything that was resident before.
        let maps = pages(pid, maps(pid)?, &mut warnings);
        let tables = match read() {
            Some(Ok(tables)) => Some(tables),
            Some(Err(error)) => {
                warnings.push(format!("the Go runtime could not be read: {error}"));
                None
            }
            None => None,
        };
        let (threads, stack_pointers) = stack_pointers(pid);
        let exe = format!("/proc/{pid}/exe");
        let exe_path = fs::read_link(&exe).unwrap_or_default().to_string_lossy().into_owned();
        let exe_inode = inode(&exe).unwrap_or(0);
        Ok(Evidence {
            pid,
            maps,
            tables,
            exe_inode,
            exe_path,
            threads,
            stack_pointers,
            is_go,
            warnings,
        })
    }

    fn input(&self) -> Input<'_> {
        Input {
            maps: &self.maps,
            exe_inode: self.exe_inode,
            exe_path: &self.exe_path,
            stack_pointers: &self.stack_pointers,
            threads: self.threads,
            stack_limit: stack_limit(self.pid),
            is_go: self.is_go,
        }
    }

    /// Its memory, if it can be read.
    fn memory(&self) -> Option<ProcessMemoryReader> {
        let memory = ProcessMemoryReader::new(self.pid);
        let can_read = self.maps.iter().any(|map| {
            let at = Addr(map.map.mapping.start);
            map.map.rss_bytes > 0 && memory.read_u64(at).is_ok()
        });
        can_read.then_some(memory)
    }

    fn areas(&self) -> Areas {
        let memory = self.memory();
        let memory = memory.as_ref().map(|memory| memory as &dyn Memory);
        Areas::read(&self.input(), self.tables.as_ref(), memory)
    }
}

fn micros_since(started: Duration) -> u64 {
    cpu_time().saturating_sub(started).as_micros() as u64
}

fn maps(pid: u32) -> Result<Vec<MemoryMap>, CaptureError> {
    let path = format!("/proc/{pid}/smaps");
    let text = fs::read(&path).map_err(|source| match source.kind() {
        std::io::ErrorKind::PermissionDenied => {
            CaptureError::Denied { pid, what: "reading /proc/PID/smaps" }
        }
        _ => CaptureError::from_io(pid, path, source),
    })?;
    let maps = procfs::smaps(&String::from_utf8_lossy(&text));
    if maps.is_empty() {
        // A kernel thread, or a process that is being reaped.
        let what = format!("process {pid} has no memory of its own");
        return Err(CaptureError::Unsupported(what));
    }
    Ok(maps)
}

/// Looks up which pages are resident of mappings where some are.
fn pages(pid: u32, maps: Vec<MemoryMap>, warnings: &mut Vec<String>) -> Vec<ResidentMap> {
    let file = File::open(format!("/proc/{pid}/pagemap"));
    let mut left_out = 0;
    let mut buffer = vec![0; ENTRIES * 8];
    let look = |map: MemoryMap| {
        let size = map.mapping.end - map.mapping.start;
        if map.rss_bytes == 0 || map.rss_bytes == size {
            return ResidentMap { map, pages: Pages::Uniform };
        }
        let is_dense = size / PAGE_BYTES <= PAGES_MAX || map.rss_bytes >= size / SPARSE_PART;
        let file = file.as_ref().ok().filter(|_| is_dense);
        let found = file.and_then(|file| read_pages(file, &map, &mut buffer));
        left_out += u64::from(found.is_none());
        ResidentMap { pages: found.map_or(Pages::Unknown, Pages::Some), map }
    };
    let maps = maps.into_iter().map(look).collect();
    if left_out > 0 {
        let why = file.err().map_or_else(String::new, |error| format!(" ({error})"));
        warnings.push(format!("which pages of {left_out} mappings are resident is unknown{why}"));
    }
    maps
}

fn read_pages(file: &File, map: &MemoryMap, buffer: &mut [u8]) -> Option<PageBits> {
    let (mut page, end) = (map.mapping.start / PAGE_BYTES, map.mapping.end / PAGE_BYTES);
    let mut reader = PageReader::default();
    while page < end {
        let count = ((end - page) as usize).min(ENTRIES);
        let bytes = &mut buffer[..count * 8];
        file.read_exact_at(bytes, page * 8).ok()?;
        for entry in bytes.as_chunks::<8>().0 {
            reader.push(PageEntry(u64::from_le_bytes(*entry)));
        }
        page += count as u64;
    }
    Some(reader.finish(map))
}

/// How many threads there are, and the stack pointers of those that are in a system call.
fn stack_pointers(pid: u32) -> (u64, Vec<u64>) {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return (0, Vec::new()) };
    let mut count = 0;
    let mut found = Vec::new();
    for task in tasks.flatten() {
        count += 1;
        if count as usize > THREADS_MAX {
            continue;
        }
        // The number of the call, its arguments, stack pointer, program counter; `running`.
        let text = fs::read_to_string(task.path().join("syscall")).unwrap_or_default();
        let pointer = text.split_ascii_whitespace().rev().nth(1);
        let number = pointer.and_then(|word| word.strip_prefix("0x"));
        found.extend(number.and_then(|digits| u64::from_str_radix(digits, 16).ok()));
    }
    (count, found)
}

/// The soft limit of a stack's size, which is also that of threads.
fn stack_limit(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Max stack size"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// How the kernel makes huge pages.
pub fn huge_pages() -> HugePages {
    let read = |name: &str| {
        fs::read_to_string(format!("/sys/kernel/mm/transparent_hugepage/{name}"))
            .unwrap_or_default()
    };
    let enabled = read("enabled");
    // The choice is in brackets: `always [madvise] never`.
    let chosen = enabled.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
    HugePages {
        enabled: chosen.map_or_else(String::new, |(word, _)| word.to_owned()),
        max_ptes_none: read("khugepaged/max_ptes_none").trim().parse().ok(),
    }
}
