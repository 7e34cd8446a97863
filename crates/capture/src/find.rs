//! Finding Go processes on this machine.

use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{DirEntryExt, FileExt};

use decode::buildinfo::BuildInfo;
use decode::goruntime::Binary;
use decode::procfs::{self, CgroupIdentity};
use model::probe::PresentProcess;
use model::{CgroupMemory, Timestamp};
use regex::Regex;

use crate::error::CaptureError;
use crate::executable::FileId;
use crate::image::Image;
use crate::live::{ProcessTarget, now};
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
    entries().into_iter().map(|(pid, _)| pid).collect()
}

/// Every process id with the inode of its folder, ascending: where a process id is used again, the
/// folder is another one.
fn entries() -> Vec<(u32, u64)> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let entry = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.ok()?;
        Some((entry.file_name().to_str()?.parse().ok()?, entry.ino()))
    };
    let others = |(pid, _): &(u32, u64)| *pid != std::process::id();
    let mut entries: Vec<(u32, u64)> = entries.filter_map(entry).filter(others).collect();
    entries.sort_unstable();
    entries
}

/// The programs that run now. Threads of the kernel and processes that have ended are none.
pub fn present() -> Vec<PresentProcess> {
    let boottime = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let booted_millis = now().0 - boottime.tv_sec * 1000 - boottime.tv_nsec / 1_000_000;
    let process = |pid: u32| {
        let command = command_line(pid);
        if command.is_empty() {
            return None;
        }
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        let seconds = procfs::start_ticks(&stat)? as f64 / signals::ticks_per_second();
        Some(PresentProcess {
            pid,
            parent: procfs::parent(&stat)?,
            name: name.trim_end().to_owned(),
            command: command.chars().take(COMMAND_MAX).collect(),
            started: Timestamp(booted_millis + (seconds * 1000.0) as i64),
        })
    };
    // Ourselves too, which `pids` leaves out.
    pids().into_iter().chain([std::process::id()]).filter_map(process).collect()
}

/// As much of a command line as the probe of processes tells.
const COMMAND_MAX: usize = 256;

/// Every Go process that can be recognised.
pub fn go_processes() -> Vec<GoProcess> {
    pids().into_iter().filter_map(go_process).collect()
}

/// Reports whether a process runs a Go binary; cheap enough to ask of all.
pub fn is_go(pid: u32) -> bool {
    build_info(pid).is_ok_and(|info| info.is_some())
}

/// Finds Go processes again and again. An executable is looked into once, however many
/// processes run it; a process is looked at when it is new, and now and then after that, as
/// it may have become another program.
#[derive(Debug, Default)]
pub struct GoPids {
    known: HashMap<u32, Known>,
    executables: HashMap<FileId, bool>,
    round: u32,
}

#[derive(Debug)]
struct Known {
    folder: u64,
    file: Option<FileId>,
    is_go: bool,
    /// Times it was looked at, up to [`LOOKS_YOUNG`].
    looks: u8,
    /// The last round in which the process was there.
    round: u32,
    /// What patterns are matched with, once one was.
    words: Option<[String; 2]>,
}

/// A process that is this new may still be the copy of a shell that starts a program.
const LOOKS_YOUNG: u8 = 3;
/// Afterwards it is looked at every so many rounds.
const LOOK_EVERY: u32 = 10;
/// Executables whose verdict is remembered.
const EXECUTABLES_MAX: usize = 4096;

impl GoPids {
    /// The Go processes there are now, ascending.
    pub fn scan(&mut self) -> Vec<u32> {
        self.round = self.round.wrapping_add(1);
        let mut found = Vec::new();
        for (pid, folder) in entries() {
            if self.look(pid, folder) {
                found.push(pid);
            }
        }
        let round = self.round;
        self.known.retain(|_, known| known.round == round);
        if self.executables.len() > EXECUTABLES_MAX {
            self.executables.clear();
        }
        found
    }

    /// Reports whether a process runs a Go binary.
    pub fn is_go(&mut self, pid: u32) -> bool {
        let folder = self.known.remove(&pid).map_or(0, |known| known.folder);
        self.look(pid, folder)
    }

    /// The Go processes of the last scan whose binary name or command line matches.
    pub fn matching(&mut self, pattern: &Regex) -> Vec<u32> {
        let mut found = Vec::new();
        for (&pid, known) in self.known.iter_mut().filter(|(_, known)| known.is_go) {
            let words = known.words.get_or_insert_with(|| {
                let exe = exe_path(pid).unwrap_or_default();
                [binary_name(pid, &exe), command_line(pid)]
            });
            if words.iter().any(|words| pattern.is_match(words)) {
                found.push(pid);
            }
        }
        found.sort_unstable();
        found
    }

    fn look(&mut self, pid: u32, folder: u64) -> bool {
        let round = self.round;
        if self.known.get(&pid).is_some_and(|known| known.folder != folder) {
            // What was known was of another process.
            self.known.remove(&pid);
        }
        if let Some(known) = self.known.get_mut(&pid) {
            known.round = round;
            let is_due = pid.wrapping_add(round).is_multiple_of(LOOK_EVERY);
            if known.looks >= LOOKS_YOUNG && !is_due {
                return known.is_go;
            }
        }
        let file = FileId::of_process(pid);
        let before = self.known.get(&pid).filter(|known| known.file == file);
        let (looks, words) = before.map_or((0, None), |known| (known.looks, known.words.clone()));
        let is_go = file.is_some_and(|file| match self.executables.get(&file) {
            Some(is_go) => *is_go,
            // What cannot be read now may be readable to us later.
            None => match build_info(pid) {
                Ok(info) => *self.executables.entry(file).or_insert(info.is_some()),
                Err(_) => false,
            },
        });
        let looks = (looks + 1).min(LOOKS_YOUNG);
        self.known.insert(pid, Known { folder, file, is_go, looks, round, words });
        is_go
    }
}

/// What the names of a process's cgroups tell of it.
pub fn cgroup_identity(pid: u32) -> CgroupIdentity {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    procfs::cgroup_identity(&text)
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

/// The command line, its first 4 KiB.
pub fn command_line(pid: u32) -> String {
    /// A command line may have megabytes.
    const BYTES_MAX: u64 = 4096;
    let mut bytes = Vec::new();
    if let Ok(file) = fs::File::open(format!("/proc/{pid}/cmdline")) {
        // What came before an error is worth having.
        let _ = file.take(BYTES_MAX).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).replace('\0', " ").trim().to_owned()
}

/// Go processes whose binary name or command line matches.
///
/// # Errors
/// When the pattern is no regular expression.
pub fn all_by_name(pattern: &str) -> Result<Vec<u32>, CaptureError> {
    let regex = name_pattern(pattern)?;
    let mut go_pids = GoPids::default();
    go_pids.scan();
    Ok(go_pids.matching(&regex))
}

/// The pattern of `name:PATTERN`.
///
/// # Errors
/// When it is no regular expression.
pub fn name_pattern(pattern: &str) -> Result<Regex, CaptureError> {
    Regex::new(pattern).map_err(|error| {
        CaptureError::Ambiguous(format!("name:{pattern} is not a regular expression: {error}"))
    })
}

/// The one Go process whose binary name or command line matches.
///
/// # Errors
/// When none or several match.
pub fn one_by_name(pattern: &str) -> Result<u32, CaptureError> {
    the_one(pattern, "Go process", &all_by_name(pattern)?)
}

/// The one process in any language whose binary name matches or, where no binary's does, whose
/// command line does.
///
/// # Errors
/// When none or several match.
pub fn one_process_by_name(pattern: &str) -> Result<u32, CaptureError> {
    let regex = name_pattern(pattern)?;
    let matching = |words: &dyn Fn(u32) -> String| -> Vec<u32> {
        pids().into_iter().filter(|pid| regex.is_match(&words(*pid))).collect()
    };
    let mut found = matching(&|pid| binary_name(pid, &exe_path(pid).unwrap_or_default()));
    if found.is_empty() {
        found = matching(&command_line);
    }
    the_one(pattern, "process", &found)
}

fn the_one(pattern: &str, what: &str, found: &[u32]) -> Result<u32, CaptureError> {
    match found {
        [pid] => Ok(*pid),
        [] => Err(CaptureError::Ambiguous(format!("no {what} matches name:{pattern}"))),
        several => {
            let list: Vec<String> = several
                .iter()
                .take(10)
                .map(|pid| format!("  {pid}  {}", command_line(*pid)))
                .collect();
            let list = list.join("\n");
            Err(CaptureError::Ambiguous(format!(
                "{} {what}es match name:{pattern}; name one by its pid:\n{list}",
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

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::{now, present};

    #[test]
    fn programs_that_run_are_present_with_their_parents() {
        let before = now().0;
        let mut child = Command::new("cat").arg("-").stdin(Stdio::piped()).spawn().unwrap();
        // Until it has become that program, it is a copy of this one.
        let found = loop {
            let found = present();
            let of = |pid: u32| found.iter().find(|process| process.pid == pid).cloned();
            match (of(child.id()), of(std::process::id())) {
                (Some(cat), Some(own)) if cat.name == "cat" => break (cat, own),
                _ => std::thread::sleep(std::time::Duration::from_millis(5)),
            }
        };
        drop(child.stdin.take());
        child.wait().unwrap();
        let (cat, own) = found;
        assert_eq!((cat.parent, cat.command.as_str()), (own.pid, "cat -"));
        assert_eq!(own.parent, std::os::unix::process::parent_id());
        // The kernel tells beginnings in hundredths of a second.
        assert!(cat.started.0 >= before - 20 && cat.started.0 <= now().0 + 20, "{cat:?} {before}");
        assert!(own.started.0 <= before);
    }
}
