//! ELF core files: what the kernel and gcore write of a process.
//!
//! It takes the file's bytes (usually a memory map) and copies none of them. Cores are
//! often cut short by a limit or a full disk: what lies past the end is missing and said
//! so. Every count is bounded by the bytes that are left, notes are read once.

use model::Addr;

use super::ElfError;
use crate::bytes::Bytes;
use crate::goruntime::ThreadRegisters;
use crate::procfs::Mapping;

const ET_CORE: u16 = 4;
const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;
/// The number of program headers does not fit and stands in the first section header.
const PN_XNUM: u16 = 0xffff;
const HEADER: usize = 56;

const NT_PRSTATUS: u32 = 1;
const NT_PRPSINFO: u32 = 3;
const NT_AUXV: u32 = 6;
const NT_FILE: u32 = 0x4649_4c45;

const AT_PHDR: u64 = 3;
const AT_ENTRY: u64 = 9;

const X86_64: u16 = 62;
const AARCH64: u16 = 183;

/// A run of memory. Where `bytes` is shorter than `memory_size`, the rest was not dumped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoreSegment<'a> {
    /// Where it begins.
    pub addr: Addr,
    /// How long it is.
    pub memory_size: u64,
    /// What the core holds of it, from its beginning.
    pub bytes: &'a [u8],
    /// `p_flags`: 1 executable, 2 writable, 4 readable.
    pub flags: u32,
}

impl CoreSegment<'_> {
    /// The program could write there: what is missing is in no file.
    pub fn is_writable(&self) -> bool {
        self.flags & 2 != 0
    }

    fn end(&self) -> u64 {
        self.addr.0.saturating_add(self.memory_size)
    }

    fn permissions(&self) -> String {
        let letter = |bit, letter| if self.flags & bit != 0 { letter } else { '-' };
        [letter(4, 'r'), letter(2, 'w'), letter(1, 'x'), 'p'].iter().collect()
    }
}

/// A file that was mapped (NT_FILE).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappedFile {
    /// First address.
    pub start: Addr,
    /// First address past it.
    pub end: Addr,
    /// Offset in the file.
    pub offset: u64,
    /// Path as the process saw it.
    pub path: String,
}

/// A core file.
#[derive(Clone, Debug, Default)]
pub struct Core<'a> {
    /// `e_machine`: 62 is x86-64, 183 is AArch64.
    pub machine: u16,
    /// Memory, in the order of the file.
    pub segments: Vec<CoreSegment<'a>>,
    /// Every thread, the one that got the signal first.
    pub threads: Vec<ThreadRegisters>,
    /// The mapped files.
    pub files: Vec<MappedFile>,
    /// The auxiliary vector.
    pub auxv: &'a [u8],
    /// Process id.
    pub pid: Option<u32>,
    /// The command with its first arguments, at most 79 bytes.
    pub command: String,
    /// Bytes that the headers promise and the file has not.
    pub truncated_bytes: u64,
}

impl<'a> Core<'a> {
    /// Reads headers and notes.
    ///
    /// # Errors
    /// When it is no 64-bit little-endian ELF core file.
    pub fn parse(data: &'a [u8]) -> Result<Core<'a>, ElfError> {
        let data = Bytes(data);
        if data.u32(0) != Some(0x464c_457f) {
            return Err(ElfError::NotElf);
        }
        match (data.u8(4), data.u8(5)) {
            (Some(2), Some(1)) => {}
            (Some(2), _) => return Err(ElfError::Unsupported("big-endian")),
            _ => return Err(ElfError::Unsupported("32-bit")),
        }
        let header = |offset| ElfError::Truncated { what: "header", offset };
        if data.u16(16).ok_or(header(16))? != ET_CORE {
            return Err(ElfError::NotCore);
        }
        let machine = data.u16(18).ok_or(header(18))?;
        let mut core = Core { machine, ..Core::default() };
        let mut note_bytes_left = data.0.len();
        for entry in program_headers(data)? {
            match entry.u32(0) {
                Some(PT_LOAD) => core.add_segment(data, entry),
                Some(PT_NOTE) => {
                    let (offset, size) = (entry.u64(8).unwrap_or(0), entry.u64(32).unwrap_or(0));
                    let bytes = core.file_bytes(data, offset, size);
                    // Headers that overlap must not make us read the same notes again.
                    let len = bytes.len().min(note_bytes_left);
                    note_bytes_left -= len;
                    core.add_notes(Bytes(bytes.get(..len).unwrap_or(&[])));
                }
                _ => {}
            }
        }
        Ok(core)
    }

    /// What the file has of `size` bytes at `offset`; the rest is counted as missing.
    fn file_bytes(&mut self, data: Bytes<'a>, offset: u64, size: u64) -> &'a [u8] {
        let tail = usize::try_from(offset).ok().and_then(|offset| data.from(offset));
        let tail = tail.map_or(&[][..], |tail| tail.0);
        let len = usize::try_from(size).unwrap_or(usize::MAX).min(tail.len());
        self.truncated_bytes = self.truncated_bytes.saturating_add(size - len as u64);
        tail.get(..len).unwrap_or(&[])
    }

    fn add_segment(&mut self, data: Bytes<'a>, entry: Bytes<'a>) {
        let word = |offset| entry.u64(offset).unwrap_or(0);
        let addr = Addr(word(16));
        let memory_size = word(40).min(u64::MAX - addr.0);
        let bytes = self.file_bytes(data, word(8), word(32).min(memory_size));
        let flags = entry.u32(4).unwrap_or(0);
        self.segments.push(CoreSegment { addr, memory_size, bytes, flags });
    }

    fn add_notes(&mut self, notes: Bytes<'a>) {
        let mut at = 0;
        while let Some((kind, name, body, next)) = note(notes, at) {
            at = next;
            if name != b"CORE\0" {
                continue;
            }
            match kind {
                NT_PRSTATUS => {
                    let thread = body.u32(32).unwrap_or(0);
                    let registers = body.from(112).map_or(&[][..], |bytes| bytes.0);
                    self.threads.extend(thread_registers(self.machine, thread, registers));
                }
                NT_PRPSINFO => {
                    self.pid = body.u32(24);
                    let arguments = body.slice(56, 80).map_or(&[][..], |bytes| bytes.0);
                    let end = arguments.iter().position(|byte| *byte == 0);
                    let arguments = arguments.get(..end.unwrap_or(80)).unwrap_or(&[]);
                    self.command = String::from_utf8_lossy(arguments).trim().to_owned();
                }
                NT_AUXV => self.auxv = body.0,
                NT_FILE => self.files.extend(mapped_files(body)),
                _ => {}
            }
        }
    }

    /// A value of the auxiliary vector.
    pub fn auxiliary(&self, key: u64) -> Option<u64> {
        let (pairs, _) = self.auxv.as_chunks::<16>();
        let pair = pairs.iter().find(|pair| Bytes(&pair[..]).u64(0) == Some(key))?;
        Bytes(&pair[..]).u64(8)
    }

    /// The executable among the mapped files: the one that holds the program headers the
    /// kernel told the process about, or its entry point.
    pub fn executable(&self) -> Option<&MappedFile> {
        let holds = |file: &&MappedFile, addr: u64| (file.start.0..file.end.0).contains(&addr);
        [AT_PHDR, AT_ENTRY]
            .iter()
            .filter_map(|key| self.auxiliary(*key))
            .find_map(|addr| self.files.iter().find(|file| holds(file, addr)))
    }

    /// Where the beginning of a file is mapped.
    pub fn start_of(&self, path: &str) -> Option<Addr> {
        let files = self.files.iter().filter(|file| file.path == path && file.offset == 0);
        files.map(|file| file.start).min()
    }

    /// Compares a file with what the core holds of its first page, in which the build id
    /// lies; `None` when the core has nothing of it.
    pub fn is_same_file(&self, path: &str, file: &[u8]) -> Option<bool> {
        const PAGE: usize = 4096;
        let start = self.start_of(path)?;
        let segment = self.segments.iter().find(|segment| segment.addr == start)?;
        if segment.is_writable() || segment.bytes.is_empty() {
            return None;
        }
        let len = segment.bytes.len().min(PAGE);
        Some(segment.bytes.get(..len) == file.get(..len))
    }

    /// The memory: what the core holds, and what it left out because a file has it,
    /// from the files `file_of` knows. Also the bytes that are in neither.
    pub fn memory(
        &self,
        file_of: impl Fn(&str) -> Option<&'a [u8]>,
    ) -> (Vec<(Addr, &'a [u8])>, u64) {
        let mut ranges = Vec::with_capacity(self.segments.len());
        let mut missing = 0_u64;
        let mut files: Vec<&MappedFile> = self.files.iter().collect();
        files.sort_by_key(|file| file.start);
        // Segments do not overlap, nor do files: more pieces than this are made up.
        let mut pieces_left = self.segments.len() + files.len();
        for segment in &self.segments {
            ranges.push((segment.addr, segment.bytes));
            let rest = segment.addr.0.saturating_add(segment.bytes.len() as u64);
            let mut left = segment.end() - rest;
            if !segment.is_writable() {
                let first = files.partition_point(|file| file.end.0 <= rest);
                let files = files.get(first..).unwrap_or(&[]).iter();
                let files = files.take_while(|file| file.start.0 < segment.end());
                for file in files.take(pieces_left) {
                    pieces_left = pieces_left.saturating_sub(1);
                    let Some(bytes) = file_of(&file.path) else { continue };
                    let start = rest.max(file.start.0);
                    let len = segment.end().min(file.end.0).saturating_sub(start);
                    let offset = file.offset.saturating_add(start - file.start.0);
                    let bytes = within(bytes, offset, len);
                    left = left.saturating_sub(bytes.len() as u64);
                    ranges.push((Addr(start), bytes));
                }
            }
            // Reserved address space is no memory.
            missing = missing.saturating_add(if segment.flags & 4 != 0 { left } else { 0 });
        }
        (ranges, missing)
    }

    /// The mappings as /proc/PID/maps would have shown them, but for the inodes.
    pub fn mappings(&self) -> Vec<Mapping> {
        let mut files: Vec<&MappedFile> = self.files.iter().collect();
        files.sort_by_key(|file| file.start);
        let mapping = |segment: &CoreSegment<'_>| {
            let before = files.partition_point(|file| file.start <= segment.addr);
            let file = before.checked_sub(1).and_then(|index| files.get(index));
            let file = file.filter(|file| segment.addr < file.end);
            let offset =
                file.map_or(0, |file| file.offset.saturating_add(segment.addr.0 - file.start.0));
            Mapping {
                start: segment.addr.0,
                end: segment.end(),
                permissions: segment.permissions(),
                offset,
                inode: 0,
                path: file.map(|file| file.path.clone()).unwrap_or_default(),
            }
        };
        self.segments.iter().map(mapping).collect()
    }
}

fn within(bytes: &[u8], offset: u64, len: u64) -> &[u8] {
    let tail = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or(&[]);
    let len = usize::try_from(len).unwrap_or(usize::MAX).min(tail.len());
    tail.get(..len).unwrap_or(&[])
}

/// The program headers that lie within the file.
fn program_headers(data: Bytes<'_>) -> Result<Vec<Bytes<'_>>, ElfError> {
    let offset = data.u64(32).unwrap_or(0);
    let truncated = ElfError::Truncated { what: "program headers", offset };
    let size = usize::from(data.u16(54).unwrap_or(0));
    if size < HEADER {
        return Err(truncated);
    }
    let count = match data.u16(56).unwrap_or(0) {
        PN_XNUM => {
            let first_section = data.index(40).unwrap_or(usize::MAX);
            let count = first_section.checked_add(44).and_then(|at| data.u32(at));
            count.map_or(usize::from(PN_XNUM), |count| count as usize)
        }
        count => usize::from(count),
    };
    let table = usize::try_from(offset).ok().and_then(|offset| data.from(offset));
    let table = table.ok_or(truncated)?;
    let entries = table.0.chunks(size).take(count).filter(|entry| entry.len() >= HEADER);
    Ok(entries.map(Bytes).collect())
}

type Note<'a> = (u32, &'a [u8], Bytes<'a>, usize);

/// The note at `at`: its kind, name and body, and where the next one begins. A body cut
/// short by the end of the file is given as far as it goes.
fn note(notes: Bytes<'_>, at: usize) -> Option<Note<'_>> {
    let name_len = notes.u32(at)? as usize;
    let body_len = notes.u32(at.checked_add(4)?)? as usize;
    let kind = notes.u32(at.checked_add(8)?)?;
    let name_at = at.checked_add(12)?;
    let name = notes.slice(name_at, name_len)?.0;
    let body_at = name_at.checked_add(name_len.checked_next_multiple_of(4)?)?;
    let tail = notes.from(body_at)?;
    let body = tail.slice(0, body_len.min(tail.0.len()))?;
    let next = body_at.checked_add(body_len.checked_next_multiple_of(4)?)?;
    Some((kind, name, body, next))
}

/// No path is longer (PATH_MAX); damaged notes claim more.
const PATH_BYTES_MAX: usize = 4096;

/// NT_FILE: a count, a unit, three words for each file, then their paths.
fn mapped_files(body: Bytes<'_>) -> Vec<MappedFile> {
    let (Some(count), Some(unit)) = (body.index(0), body.u64(8)) else { return Vec::new() };
    let Some(table) = body.from(16) else { return Vec::new() };
    let (entries, _) = table.0.as_chunks::<24>();
    let count = count.min(entries.len());
    let paths = table.0.get(count * 24..).unwrap_or(&[]).split(|byte| *byte == 0);
    let entries = entries.get(..count).unwrap_or(&[]);
    let file = |(entry, path): (&[u8; 24], &[u8])| {
        let entry = Bytes(&entry[..]);
        let (start, end) = (entry.u64(0)?, entry.u64(8)?);
        let path = String::from_utf8_lossy(path).into_owned();
        let offset = entry.u64(16)?.saturating_mul(unit);
        let is_sound = start < end && path.len() < PATH_BYTES_MAX;
        is_sound.then_some(MappedFile { start: Addr(start), end: Addr(end), offset, path })
    };
    entries.iter().zip(paths).filter_map(file).collect()
}

/// The registers of a thread from the kernel's general register set (NT_PRSTATUS), of a
/// core file or of ptrace; `None` when it is cut short or of an unknown machine.
pub fn thread_registers(machine: u16, thread: u32, set: &[u8]) -> Option<ThreadRegisters> {
    /// The words of the set that may hold pointers, and where pc and sp are.
    struct Layout {
        general: std::ops::Range<usize>,
        base: Option<usize>,
        pc: usize,
        sp: usize,
    }
    let layout = match machine {
        // r15 to rdi; fs_base.
        X86_64 => Layout { general: 0..15, base: Some(21), pc: 16, sp: 19 },
        AARCH64 => Layout { general: 0..31, base: None, pc: 32, sp: 31 },
        _ => return None,
    };
    let word = |index: usize| Bytes(set).u64(index * 8);
    let words = layout.general.chain(layout.base);
    Some(ThreadRegisters {
        thread,
        pc: Addr(word(layout.pc)?),
        sp: Addr(word(layout.sp)?),
        general: words.map(word).collect::<Option<Vec<u64>>>()?,
    })
}

#[cfg(test)]
mod tests;
