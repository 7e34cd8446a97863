//! Core files of Go programs: from the kernel and from gcore, plain or compressed.
//!
//! The file is mapped, so that only what is looked at is read; a compressed one is
//! inflated into a scratch file first. What cores leave out because a file has it (code,
//! constants) is taken from the executable and from the libraries the core names, if they
//! are the same ones still. A core that was cut short gives what is there, and a warning.
//!
//! A core file that is truncated while it is open ends this process (SIGBUS).

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use decode::compress;
use decode::elf;
use decode::goheap::Library;
use decode::goruntime::{Attached, Bias, Binary, MemoryImage, ThreadRegisters};
use decode::procfs::Mapping;
use model::{Addr, Bytes};

use crate::error::CaptureError;
use crate::image::Image;
use crate::libraries::{FILES_MAX, Part, Place, open_elf};
use crate::program::Program;
use crate::scratch;

/// What a compressed core may inflate to: address space, not disk, as zeros take none.
const INFLATED_BYTES_MAX: u64 = 8 << 40;

/// A core file and the executable it is of.
#[derive(Debug)]
pub struct Core {
    /// The process.
    pub pid: Option<u32>,
    /// Its command with the first arguments, at most 79 bytes.
    pub command: String,
    /// The registers of every thread.
    pub threads: Vec<ThreadRegisters>,
    /// What was mapped.
    pub mappings: Vec<Mapping>,
    /// The auxiliary vector.
    pub auxv: Vec<u8>,
    /// Where its executable was found.
    pub exe_path: String,
    /// What is missing or could not be checked.
    pub warnings: Vec<String>,
    path: String,
    bytes: Image,
    files: Files,
    places: Vec<Place>,
    binary: Binary,
    attached: Attached,
}

impl Core {
    /// Opens a core file. Without `exe` the executable is found by the path the core
    /// names. `scratch_dir` is where a compressed core is inflated.
    ///
    /// # Errors
    /// When a file cannot be read, is no core, when the executable is not there or is
    /// another one, or no Go program.
    pub fn open(path: &Path, exe: Option<&Path>, scratch_dir: &Path) -> Result<Core, CaptureError> {
        let mut warnings = Vec::new();
        let bad = |what| CaptureError::BadCore { path: path.display().to_string(), what };
        let bytes = open_bytes(path, scratch_dir, &mut warnings)?;
        let core =
            elf::core::Core::parse(bytes.as_ref()).map_err(|error| bad(error.to_string()))?;
        if core.truncated_bytes > 0 {
            let missing = Bytes(core.truncated_bytes);
            warnings.push(format!("the core was cut short: {missing} are missing at its end"));
        }
        let (files, exe_path) = Files::find(&core, exe, &mut warnings).map_err(bad)?;
        let exe = files.exe.as_ref();
        let binary = Binary::open(exe).map_err(|error| bad(error.to_string()))?;
        let bias = load_bias(&core, &files, &binary).map_err(|error| bad(error.to_owned()))?;
        let (image, missing) = files.memory(&core, bias);
        if missing > 0 {
            let missing = Bytes(missing);
            warnings.push(format!("{missing} of its memory are neither in the core nor in a file"));
        }
        let attached = binary.attach(exe, bias, &image).map_err(|error| bad(error.to_string()))?;
        let (mappings, auxv) = (core.mappings(), core.auxv.to_vec());
        let places = places(&core);
        let elf::core::Core { threads, pid, command, .. } = core;
        drop(image);
        Ok(Core {
            pid,
            command,
            threads,
            mappings,
            auxv,
            exe_path,
            warnings,
            path: path.display().to_string(),
            bytes,
            files,
            places,
            binary,
            attached,
        })
    }

    /// The memory. It costs a pass over the headers of the core.
    pub fn image(&self) -> MemoryImage<'_> {
        let core = elf::core::Core::parse(self.bytes.as_ref());
        core.map(|core| self.files.memory(&core, self.attached.bias).0).unwrap_or_default()
    }

    pub(crate) fn unusable(&self, what: String) -> CaptureError {
        CaptureError::BadCore { path: self.path.clone(), what }
    }

    /// Joins the executable with the memory.
    pub fn program(&self) -> Program<'_> {
        Program {
            binary: &self.binary,
            attached: &self.attached,
            exe: self.files.exe.as_ref(),
            libraries: self.places.iter().map(|place| self.files.library(place)).collect(),
            image: self.image(),
            threads: &self.threads,
            mappings: &self.mappings,
        }
    }
}

/// The files a core names, as far as they are here and still the same.
#[derive(Debug)]
struct Files {
    /// The executable, and what the core calls it.
    exe: Image,
    exe_name: Option<String>,
    libraries: BTreeMap<String, Image>,
}

impl Files {
    fn find(
        core: &elf::core::Core<'_>,
        exe: Option<&Path>,
        warnings: &mut Vec<String>,
    ) -> Result<(Files, String), String> {
        let exe_name = core.executable().map(|file| file.path.clone());
        let path = exe.map(|path| path.display().to_string()).or_else(|| exe_name.clone());
        let path = path.ok_or("it does not name its executable: give that, too")?;
        let exe = open_elf(&path)
            .map_err(|error| format!("its executable {path}: {error}; give the one it is of"))?;
        match exe_name.as_deref().and_then(|name| core.is_same_file(name, exe.as_ref())) {
            Some(true) => {}
            Some(false) => return Err(format!("it is not of {path}: the first page differs")),
            None => warnings.push(format!("nothing in the core tells whether it is of {path}")),
        }
        let mut libraries = BTreeMap::new();
        let names: BTreeSet<&str> = core.files.iter().map(|file| file.path.as_str()).collect();
        let others = names.into_iter().filter(|name| Some(*name) != exe_name.as_deref());
        for name in others.take(FILES_MAX) {
            if let Ok(image) = open_elf(name)
                && core.is_same_file(name, image.as_ref()) == Some(true)
            {
                libraries.insert(name.to_owned(), image);
            }
        }
        Ok((Files { exe, exe_name, libraries }, path))
    }

    fn library<'m>(&'m self, place: &'m Place) -> Library<'m> {
        place.library(self.libraries.get(&place.path).map(Image::as_ref))
    }

    /// The memory, and how many bytes of it are nowhere.
    fn memory<'a>(&'a self, core: &elf::core::Core<'a>, bias: Bias) -> (MemoryImage<'a>, u64) {
        let bytes = |path: &str| match self.exe_name.as_deref() == Some(path) {
            true => Some(self.exe.as_ref()),
            false => self.libraries.get(path).map(Image::as_ref),
        };
        let (mut ranges, missing) = core.memory(bytes);
        let end = |range: &(Addr, &[u8])| range.0.0.saturating_add(range.1.len() as u64);
        let held = ranges.iter().map(|range| (range.0.0, end(range))).filter(|(a, b)| a < b);
        let mut held: Vec<(u64, u64)> = held.collect();
        held.sort_unstable();
        ranges.extend(left_out(self.exe.as_ref(), bias, &held));
        for (name, library) in &self.libraries {
            let Some(start) = core.start_of(name) else { continue };
            let bytes = library.as_ref();
            let first = elf::Elf::parse(bytes).map(|elf| elf.first_page().0).unwrap_or_default();
            ranges.extend(left_out(bytes, Bias(start.0.wrapping_sub(first)), &held));
        }
        (MemoryImage::new(ranges), missing)
    }
}

/// What of a file nobody can write and the core does not even mention: gdb leaves out whole
/// mappings, the constants with the function table and the types among them. `held` is what
/// the core has, in address order.
fn left_out<'a>(file: &'a [u8], bias: Bias, held: &[(u64, u64)]) -> Vec<(Addr, &'a [u8])> {
    let Ok(elf) = elf::Elf::parse(file) else { return Vec::new() };
    let mut left_out = Vec::new();
    for segment in elf.segments().iter().filter(|segment| !segment.is_writable) {
        let start = segment.addr.0.wrapping_add(bias.0);
        let last = start.saturating_add(segment.file_size);
        let before = held.partition_point(|(from, _)| *from <= start).saturating_sub(1);
        let near = held.get(before..).unwrap_or(&[]).iter().copied();
        let mut at = start;
        for (from, to) in near.take_while(|(from, _)| *from < last).chain([(last, last)]) {
            let until = from.min(last);
            if until > at {
                left_out.push((Addr(at), bytes_of(file, segment, at - start, until - at)));
            }
            at = at.max(to);
        }
    }
    left_out
}

fn bytes_of<'a>(file: &'a [u8], segment: &elf::Segment, skip: u64, len: u64) -> &'a [u8] {
    let start = segment.offset.checked_add(skip).and_then(|start| usize::try_from(start).ok());
    let tail = start.and_then(|start| file.get(start..)).unwrap_or(&[]);
    let len = usize::try_from(len).unwrap_or(usize::MAX).min(tail.len());
    tail.get(..len).unwrap_or(&[])
}

/// The files that were mapped. Debuggers leave out parts that nobody could write, so that
/// segments do not tell which held code.
fn places(core: &elf::core::Core<'_>) -> Vec<Place> {
    let mut files: Vec<_> = core.files.iter().collect();
    files.sort_by_key(|file| file.start);
    Place::all(files.into_iter().map(|file| Part {
        start: file.start.0,
        end: file.end.0,
        offset: file.offset,
        path: &file.path,
        is_code: true,
    }))
}

/// Where the executable was loaded: its first page less the address it was linked for.
fn load_bias(
    core: &elf::core::Core<'_>,
    files: &Files,
    binary: &Binary,
) -> Result<Bias, &'static str> {
    if !binary.is_position_independent {
        return Ok(Bias(0));
    }
    let start = files.exe_name.as_deref().and_then(|name| core.start_of(name));
    let start = start.ok_or("it does not tell where its executable was loaded")?;
    Ok(Bias(start.0.wrapping_sub(binary.first_load.0)))
}

/// The bytes of the core, inflated if need be.
fn open_bytes(
    path: &Path,
    scratch_dir: &Path,
    warnings: &mut Vec<String>,
) -> Result<Image, CaptureError> {
    let name = path.display().to_string();
    let failed = |source| CaptureError::Io { path: name.clone(), cause: source };
    let mut file = File::open(path).map_err(failed)?;
    let mut head = [0; 8];
    let len = file.read_at(&mut head, 0).map_err(failed)?;
    let head = &head[..len];
    if let Some(format) = unknown_compression(head) {
        let what = format!("it is compressed by {format}: unpack it first");
        return Err(CaptureError::BadCore { path: name, what });
    }
    if !compress::is_compressed(head) {
        return Image::of_file(&file).map_err(failed);
    }
    let scratch = scratch::file(scratch_dir).map_err(|source| CaptureError::Io {
        path: scratch_dir.display().to_string(),
        cause: source,
    })?;
    if let Err(error) = inflate(&mut file, &scratch) {
        warnings.push(format!("the core was inflated in part only: {error}"));
    }
    Image::of_file(&scratch).map_err(failed)
}

/// What systemd and others compress cores with that is not read here.
fn unknown_compression(head: &[u8]) -> Option<&'static str> {
    match head {
        [0xfd, b'7', b'z', b'X', b'Z', ..] => Some("xz"),
        [0x04, 0x22, 0x4d, 0x18, ..] => Some("lz4"),
        [b'B', b'Z', b'h', ..] => Some("bzip2"),
        _ => None,
    }
}

/// Inflates into a file in which runs of zeros take no space, until one of both ends.
fn inflate(input: &mut File, output: &File) -> io::Result<()> {
    let mut reader = compress::reader_up_to(input, INFLATED_BYTES_MAX)?;
    let mut buffer = vec![0; 64 << 10];
    let mut at = 0;
    let result = loop {
        match read_full(&mut reader, &mut buffer) {
            (0, result) => break result,
            (len, result) => {
                let bytes = &buffer[..len];
                if bytes.iter().any(|byte| *byte != 0) {
                    output.write_all_at(bytes, at)?;
                }
                at += len as u64;
                if result.is_err() {
                    break result;
                }
            }
        }
    };
    output.set_len(at)?;
    result
}

/// Fills the buffer as far as it goes; what came before an error counts.
fn read_full(reader: &mut impl Read, buffer: &mut [u8]) -> (usize, io::Result<()>) {
    let mut len = 0;
    while len < buffer.len() {
        match reader.read(&mut buffer[len..]) {
            Ok(0) => break,
            Ok(count) => len += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (len, Err(error)),
        }
    }
    (len, Ok(()))
}
