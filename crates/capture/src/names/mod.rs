//! Names for code addresses of any process: of its executable and libraries (also deleted ones and
//! those of other mount namespaces), of code that a compiler made as it runs, of the kernel's
//! library in it.
//!
//! Files are mapped when the mappings of the process are read, so that names can be given after it
//! ended, too. What lies in no function that something names is called by its file and how far into
//! it, never by the function before.

mod debug;
mod object;
mod profile;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::PathBuf;
use std::sync::Arc;

use decode::goruntime::Memory;
use decode::procfs::{self, Mapping};
use decode::symbols::SymbolFrame;
use decode::symbols::perf_map::PerfMap;
use model::Addr;

use crate::error::CaptureError;
use crate::executable::FileId;
use crate::find::exe_path;
use crate::memory::ProcessMemoryReader;
use crate::signals;

pub use debug::debug_image;
pub use object::Object;
pub use profile::StackNamer;

/// Mappings with code: more than any program has.
const REGIONS_MAX: usize = 1 << 16;
/// A file of names beyond this many bytes is cut off.
const PERF_MAP_MAX: u64 = 64 << 20;
/// The kernel's library has two pages.
const VDSO_MAX: u64 = 1 << 20;

/// A mapping with code.
#[derive(Clone)]
pub struct Region {
    /// First address.
    pub start: Addr,
    /// First address past it.
    pub end: Addr,
    /// Offset in its file.
    pub file_offset: u64,
    /// Its file, if it could be opened.
    pub object: Option<Arc<Object>>,
    /// Path of its file, as the process sees it; empty for memory of no file.
    pub path: String,
    /// Where the file was found, also where that path leads elsewhere; empty without an object.
    pub place: PathBuf,
}

impl Region {
    /// What its addresses are above those of the linker.
    pub fn bias(&self) -> Option<u64> {
        self.object.as_ref()?.bias(self.start.0, self.file_offset)
    }

    fn link_address(&self, address: Addr) -> Option<u64> {
        self.object.as_ref()?.link_address(address.0, self.start.0, self.file_offset)
    }
}

/// What names a process's code.
pub struct ProcessNames {
    pid: u32,
    start_ticks: u64,
    program: Option<FileId>,
    executable: String,
    /// By first address; they do not overlap.
    regions: BTreeMap<u64, Region>,
    /// Names of code that was made as the program runs.
    made: HashMap<u64, Option<String>>,
}

impl ProcessNames {
    /// Reads which code a process has mapped.
    ///
    /// # Errors
    /// When there is no such process, or its mappings may not be read.
    pub fn open(pid: u32) -> Result<ProcessNames, CaptureError> {
        let start_ticks = signals::start_ticks(pid).ok_or(CaptureError::NoProcess(pid))?;
        let (regions, made) = (BTreeMap::new(), HashMap::new());
        let (program, executable) = (FileId::of_process(pid), exe_path(pid).unwrap_or_default());
        let mut names = ProcessNames { pid, start_ticks, program, executable, regions, made };
        names.refresh()?;
        Ok(names)
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Reports whether it still runs, and runs the same program.
    pub fn is_alive(&self) -> bool {
        signals::start_ticks(self.pid) == Some(self.start_ticks)
            && FileId::of_process(self.pid) == self.program
    }

    /// Path of its executable, as it sees it.
    pub fn executable(&self) -> &str {
        &self.executable
    }

    /// Reads the mappings once more: programs load libraries as they run. What is no longer mapped
    /// keeps its names, unless something else lies there now.
    ///
    /// # Errors
    /// When the process has ended, or its mappings may not be read.
    pub fn refresh(&mut self) -> Result<(), CaptureError> {
        let pid = self.pid;
        let path = format!("/proc/{pid}/maps");
        let text = fs::read_to_string(&path);
        let text = text.map_err(|error| CaptureError::from_io(pid, path, error))?;
        if signals::start_ticks(pid) != Some(self.start_ticks) {
            return Err(CaptureError::Ended(pid));
        }
        // Who may not see them is shown a file without lines, as are those of the kernel's threads.
        let is_denied = |error: std::io::Error| error.kind() == ErrorKind::PermissionDenied;
        if text.is_empty() && fs::read_link(format!("/proc/{pid}/exe")).is_err_and(is_denied) {
            return Err(CaptureError::Denied { pid, what: "its mappings" });
        }
        let mappings = procfs::maps(&text);
        let code = mappings.iter().filter(|mapping| mapping.permissions.contains('x'));
        for mapping in code.take(REGIONS_MAX) {
            let is_known = self.regions.get(&mapping.start).is_some_and(|region| {
                (region.end.0, region.file_offset) == (mapping.end, mapping.offset)
                    && region.path == mapping.path
            });
            if !is_known {
                self.forget(mapping.start, mapping.end);
                self.regions.insert(mapping.start, region(pid, mapping));
            }
        }
        Ok(())
    }

    /// Leaves out what lay where something else lies now.
    fn forget(&mut self, start: u64, end: u64) {
        // They do not overlap, so that those that end last begin last.
        let before = self.regions.range(..end).rev();
        let hidden = before.take_while(|(_, region)| region.end.0 > start);
        let hidden: Vec<u64> = hidden.map(|(start, _)| *start).collect();
        for start in hidden {
            self.regions.remove(&start);
        }
    }

    /// The mapping with code that holds an address.
    pub fn region(&self, address: Addr) -> Option<&Region> {
        let (_, region) = self.regions.range(..=address.0).next_back()?;
        (address < region.end).then_some(region)
    }

    /// All mappings with code, by address.
    pub fn regions(&self) -> impl Iterator<Item = &Region> {
        self.regions.values()
    }

    /// Looks addresses up, so that [`frames`](Self::frames) knows them: all that are needed at
    /// once, as each call reads symbols anew. They are those of instructions: of a return address,
    /// that of the call before it, 1 less.
    pub fn look_up(&mut self, addresses: impl IntoIterator<Item = Addr>) {
        let addresses: BTreeSet<Addr> = addresses.into_iter().collect();
        if addresses.iter().any(|address| self.region(*address).is_none()) {
            // The process may have ended: then what was read before must do.
            let _ = self.refresh();
        }
        let mut of_objects: BTreeMap<*const Object, (Arc<Object>, BTreeSet<u64>)> = BTreeMap::new();
        let mut made = Vec::new();
        for address in addresses {
            let Some(region) = self.region(address) else { continue };
            match (&region.object, region.link_address(address)) {
                (Some(object), Some(at)) => {
                    let of = of_objects.entry(Arc::as_ptr(object));
                    of.or_insert_with(|| (object.clone(), BTreeSet::new())).1.insert(at);
                }
                _ if !self.made.contains_key(&address.0) => made.push(address),
                _ => {}
            }
        }
        let root = PathBuf::from(format!("/proc/{}/root", self.pid));
        for (object, addresses) in of_objects.values() {
            object.look_up(addresses, &root);
        }
        self.look_up_made(&made);
    }

    fn look_up_made(&mut self, addresses: &[Addr]) {
        if addresses.is_empty() {
            return;
        }
        let text = perf_map(self.pid).unwrap_or_default();
        let map = PerfMap::parse(&text);
        for address in addresses {
            self.made.insert(address.0, map.at(address.0).map(str::to_owned));
        }
    }

    /// The frames of an address that was looked up, the innermost inlined call first, with the
    /// names of the linker; empty where nothing is known.
    pub fn frames(&self, address: Addr) -> Arc<[SymbolFrame]> {
        let region = self.region(address);
        if let Some((region, at)) = region.and_then(|it| Some((it, it.link_address(address)?))) {
            return region.object.as_ref().map(|object| object.frames(at)).unwrap_or_default();
        }
        let made = self.made.get(&address.0).cloned().flatten();
        made.map(|function| SymbolFrame { function, ..SymbolFrame::default() })
            .into_iter()
            .collect()
    }

    /// What an address is called that has no frames: `libc.so.6+0x1234`, by the link-time address.
    pub fn unnamed(&self, address: Addr) -> String {
        let Some(region) = self.region(address) else { return format!("[unknown] {address}") };
        match (&region.object, region.link_address(address)) {
            (Some(object), Some(at)) => format!("{}+{at:#x}", object.name()),
            _ if region.path.is_empty() => format!("[anonymous] {address}"),
            _ => {
                let name = region.path.rsplit('/').next().unwrap_or_default();
                let offset = address.0 - region.start.0 + region.file_offset;
                format!("{name}+{offset:#x}")
            }
        }
    }
}

/// A mapping, with its file where it has one. The link of the mapping leads to the very file, also
/// a deleted one, but only the privileged may follow it; its path is the process's own.
fn region(pid: u32, mapping: &Mapping) -> Region {
    let path = mapping.path.strip_suffix(" (deleted)").unwrap_or(&mapping.path);
    let by_link = format!("/proc/{pid}/map_files/{:x}-{:x}", mapping.start, mapping.end);
    let by_path = format!("/proc/{pid}/root{path}");
    let is_deleted = path.len() < mapping.path.len();
    let found = match path {
        "[vdso]" => vdso(pid, mapping).map(|object| (object, String::new())),
        _ if path.starts_with('/') => {
            let open = |place: String| Some((Object::open(&place, path).ok()?, place));
            open(by_link).or_else(|| open(by_path).filter(|_| !is_deleted))
        }
        _ => None,
    };
    let (object, place) = found.map_or((None, String::new()), |(of, place)| (Some(of), place));
    Region {
        start: Addr(mapping.start),
        end: Addr(mapping.end),
        file_offset: mapping.offset,
        object,
        path: mapping.path.clone(),
        place: PathBuf::from(place),
    }
}

/// The kernel's library, out of the memory of the process.
fn vdso(pid: u32, mapping: &Mapping) -> Option<Arc<Object>> {
    let len = (mapping.end - mapping.start).min(VDSO_MAX);
    let mut bytes = vec![0; usize::try_from(len).ok()?];
    ProcessMemoryReader::new(pid).read(Addr(mapping.start), &mut bytes).ok()?;
    Object::copied(bytes, "[vdso]").ok()
}

/// The file of names that a runtime writes for perf, where the process has its temporary files and
/// by the id that it has for itself.
fn perf_map(pid: u32) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    let own = ids.and_then(|ids| ids.split_whitespace().next_back()).map(str::to_owned);
    let own = own.unwrap_or_else(|| pid.to_string());
    let path = format!("/proc/{pid}/root/tmp/perf-{own}.map");
    // Anybody may put something there, a pipe for instance.
    fs::metadata(&path).ok().filter(fs::Metadata::is_file)?;
    let mut bytes = Vec::new();
    File::open(&path).ok()?.take(PERF_MAP_MAX).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests;
