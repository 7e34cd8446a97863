//! Finding Go processes on this machine.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use decode::buildinfo::BuildInfo;
use decode::goruntime::Binary;
use model::CgroupMemory;
use regex::Regex;

use crate::error::CaptureError;
use crate::image::Image;
use crate::live::ProcessTarget;
use crate::signals;

/// A Go process and what can be read of it.
#[derive(Clone, Debug)]
pub struct GoProcess {
    /// Process id.
    pub pid: u32,
    /// Name of the binary.
    pub name: String,
    /// Path of the binary as its process sees it.
    pub exe: String,
    /// Go version as the linker wrote it.
    pub go_version: String,
    /// Main module, else main package.
    pub module: String,
    /// Resident set.
    pub rss_bytes: Option<u64>,
    /// Its cgroup.
    pub cgroup: CgroupMemory,
    /// Whether the heap profile and runtime can be read, and if not, why.
    pub readable: Readable,
}

/// What can be read of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readable {
    /// Heap profile, goroutines and runtime.
    Everything,
    /// Goroutines and runtime, not the heap profile.
    WithoutHeapProfile(String),
    /// Nothing beyond /proc.
    Nothing(String),
}

/// Every process id of this pid namespace, ascending.
pub fn pids() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let mut pids: Vec<u32> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != std::process::id())
        .collect();
    pids.sort_unstable();
    pids
}

/// Every Go process that can be recognised.
pub fn go_processes() -> Vec<GoProcess> {
    pids().into_iter().filter_map(go_process).collect()
}

/// Reports whether a process runs a Go binary; cheap enough to ask of all.
pub fn is_go(pid: u32) -> bool {
    build_info(pid).is_ok_and(|info| info.is_some())
}

/// Finds Go processes again and again: an executable is looked into once.
#[derive(Debug, Default)]
pub struct GoPids {
    known: HashMap<u32, (PathBuf, bool)>,
}

impl GoPids {
    /// The Go processes there are now. A process that has another executable than
    /// last time (exec, or a reused pid) is looked into anew.
    pub fn scan(&mut self) -> Vec<u32> {
        let mut now = HashMap::new();
        for pid in pids() {
            let Ok(exe) = fs::read_link(format!("/proc/{pid}/exe")) else { continue };
            let known = self.known.remove(&pid).filter(|(known, _)| *known == exe);
            now.insert(pid, known.unwrap_or_else(|| (exe, is_go(pid))));
        }
        self.known = now;
        let mut found: Vec<u32> =
            self.known.iter().filter(|(_, (_, is_go))| *is_go).map(|(pid, _)| *pid).collect();
        found.sort_unstable();
        found
    }
}

fn go_process(pid: u32) -> Option<GoProcess> {
    let info = build_info(pid).ok()??;
    let exe = exe_path(pid).unwrap_or_default();
    let readable = match ProcessTarget::attach(pid) {
        Ok(target) => match crate::LiveTarget::Process(Box::new(target)).heap_profile() {
            Ok(_) => Readable::Everything,
            Err(error) => Readable::WithoutHeapProfile(error.to_string()),
        },
        Err(error) => Readable::Nothing(error.to_string()),
    };
    Some(GoProcess {
        pid,
        name: binary_name(pid, &exe),
        exe,
        module: if info.module.is_empty() { info.path } else { info.module },
        go_version: info.version,
        rss_bytes: signals::process(pid, false).rss_bytes,
        cgroup: signals::cgroup(pid),
        readable,
    })
}

/// Build information of a process's executable; `Ok(None)` when it is not Go.
fn build_info(pid: u32) -> std::io::Result<Option<BuildInfo>> {
    let path = format!("/proc/{pid}/exe");
    // Most processes are no ELF file we know: look before mapping.
    let mut magic = [0; 6];
    fs::File::open(&path)?.read_exact_at(&mut magic, 0)?;
    if magic != *b"\x7fELF\x02\x01" {
        return Ok(None);
    }
    let image = Image::open(&path)?;
    let elf = decode::elf::Elf::parse(image.as_ref()).ok();
    Ok(elf.and_then(|elf| BuildInfo::parse(&elf)))
}

/// Path of the executable as its process sees it.
pub fn exe_path(pid: u32) -> Option<String> {
    let path = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    let path = path.to_string_lossy();
    Some(path.strip_suffix(" (deleted)").unwrap_or(&path).to_owned())
}

/// Name of the binary, for people.
pub fn binary_name(pid: u32, exe: &str) -> String {
    match exe.rsplit('/').next() {
        Some(name) if !name.is_empty() => name.to_owned(),
        _ => fs::read_to_string(format!("/proc/{pid}/comm"))
            .map(|comm| comm.trim().to_owned())
            .unwrap_or_else(|_| format!("pid {pid}")),
    }
}

fn command_line(pid: u32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ").trim().to_owned()
}

/// Go processes whose binary name or command line matches.
///
/// # Errors
/// When the pattern is no regular expression.
pub fn all_by_name(pattern: &str) -> Result<Vec<u32>, CaptureError> {
    let regex = Regex::new(pattern).map_err(|error| {
        CaptureError::Ambiguous(format!("name:{pattern} is not a regular expression: {error}"))
    })?;
    let matches = |pid: &u32| {
        let exe = exe_path(*pid).unwrap_or_default();
        regex.is_match(&binary_name(*pid, &exe)) || regex.is_match(&command_line(*pid))
    };
    Ok(pids().into_iter().filter(matches).filter(|pid| is_go(*pid)).collect())
}

/// The one Go process whose binary name or command line matches.
///
/// # Errors
/// When none or several match.
pub fn one_by_name(pattern: &str) -> Result<u32, CaptureError> {
    let found = all_by_name(pattern)?;
    match found.as_slice() {
        [pid] => Ok(*pid),
        [] => Err(CaptureError::Ambiguous(format!("no Go process matches name:{pattern}"))),
        several => {
            let list: Vec<String> = several
                .iter()
                .take(10)
                .map(|pid| format!("  {pid}  {}", command_line(*pid)))
                .collect();
            let list = list.join("\n");
            Err(CaptureError::Ambiguous(format!(
                "{} Go processes match name:{pattern}; name one by its pid:\n{list}",
                several.len()
            )))
        }
    }
}

/// The Go release of an executable file; for `doctor` and tests.
pub fn go_version_of(path: &str) -> Option<String> {
    let image = Image::open(path).ok()?;
    Binary::open(image.as_ref()).ok().map(|binary| binary.info.version)
}
