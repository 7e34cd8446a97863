//! A small reader of 64-bit little-endian ELF files: sections, segments, symbols
//! by name, build id.
//!
//! It takes the file's bytes (usually a memory map) and touches only what is
//! asked for. Section and segment counts are bounded; nothing is trusted.

pub mod core;

use model::Addr;

use crate::bytes::Bytes;

/// Why a file is no ELF file that this reader takes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ElfError {
    /// The magic number is missing.
    #[error("not an ELF file")]
    NotElf,
    /// 32-bit or big-endian.
    #[error("{0} ELF files are not supported; memsight reads 64-bit little-endian ones")]
    Unsupported(&'static str),
    /// It is an executable or a library.
    #[error("an ELF file, but no core file")]
    NotCore,
    /// A table lies outside the file.
    #[error("damaged ELF file: {what} at offset {offset:#x} lies outside the file")]
    Truncated {
        /// Which table.
        what: &'static str,
        /// Where it should be.
        offset: u64,
    },
}

/// A section header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section {
    /// Offset of the name in the section name table.
    name: u32,
    /// `sh_type`.
    pub kind: u32,
    /// `sh_flags`.
    pub flags: u64,
    /// `sh_addr`.
    pub addr: Addr,
    /// `sh_offset`.
    pub offset: u64,
    /// `sh_size`.
    pub size: u64,
    /// `sh_link`.
    pub link: u32,
}

/// A program header of type PT_LOAD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// `p_offset`.
    pub offset: u64,
    /// `p_vaddr`.
    pub addr: Addr,
    /// `p_filesz`.
    pub file_size: u64,
    /// `p_flags & PF_X`.
    pub is_executable: bool,
    /// `p_flags & PF_W`.
    pub is_writable: bool,
}

/// An ELF file.
#[derive(Clone, Debug)]
pub struct Elf<'a> {
    data: Bytes<'a>,
    /// `e_machine`: 62 is x86-64, 183 is AArch64.
    pub machine: u16,
    /// `e_type` is ET_DYN: the file is loaded at an address of the kernel's choice.
    pub is_position_independent: bool,
    /// `e_entry`.
    pub entry: Addr,
    sections: Vec<Section>,
    segments: Vec<Segment>,
    names: Option<Section>,
}

const SHT_NOBITS: u32 = 8;
const SHT_SYMTAB: u32 = 2;
const SHT_DYNSYM: u32 = 11;
const PT_LOAD: u32 = 1;
const ET_DYN: u16 = 3;
const STT_FUNC: u8 = 2;
/// More headers than any linker writes; damaged files claim more.
const HEADERS_MAX: usize = 4096;

impl<'a> Elf<'a> {
    /// Reads the headers.
    ///
    /// # Errors
    /// When the bytes are not a 64-bit little-endian ELF file.
    pub fn parse(data: &'a [u8]) -> Result<Elf<'a>, ElfError> {
        let data = Bytes(data);
        if data.u32(0) != Some(0x464c_457f) {
            return Err(ElfError::NotElf);
        }
        if data.u8(4) != Some(2) {
            return Err(ElfError::Unsupported("32-bit"));
        }
        if data.u8(5) != Some(1) {
            return Err(ElfError::Unsupported("big-endian"));
        }
        let header = |offset| ElfError::Truncated { what: "header", offset };
        let kind = data.u16(16).ok_or(header(16))?;
        let machine = data.u16(18).ok_or(header(18))?;
        let entry = Addr(data.u64(24).ok_or(header(24))?);
        let segments = read_segments(data)?;
        let sections = read_sections(data)?;
        let names_index = data.u16(62).ok_or(header(62))?;
        let names = sections.get(usize::from(names_index)).copied();
        Ok(Elf {
            data,
            machine,
            is_position_independent: kind == ET_DYN,
            entry,
            sections,
            segments,
            names,
        })
    }

    /// The loadable segments.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The page the first segment begins in, at link time; 0 without segments.
    pub fn first_page(&self) -> Addr {
        let starts = self.segments.iter().map(|segment| segment.addr.0);
        Addr(starts.min().unwrap_or(0) & !0xfff)
    }

    /// The section with this name.
    pub fn section(&self, name: &str) -> Option<Section> {
        let names = self.names?;
        let table = self.section_bytes(&names)?;
        self.sections
            .iter()
            .copied()
            .find(|section| Bytes(table).c_str(section.name as usize, 256) == Some(name))
    }

    /// The bytes of a section; `None` for .bss-like ones and damaged ones.
    pub fn section_bytes(&self, section: &Section) -> Option<&'a [u8]> {
        if section.kind == SHT_NOBITS {
            return None;
        }
        let offset = usize::try_from(section.offset).ok()?;
        Some(self.data.slice(offset, usize::try_from(section.size).ok()?)?.0)
    }

    /// The file's bytes that are loaded at `addr`, to the end of their segment.
    pub fn bytes_at(&self, addr: Addr) -> Option<&'a [u8]> {
        let segment = self.segment_of(addr)?;
        let skip = addr.0 - segment.addr.0;
        let offset = usize::try_from(segment.offset.checked_add(skip)?).ok()?;
        Some(self.data.slice(offset, usize::try_from(segment.file_size - skip).ok()?)?.0)
    }

    /// Where in the file lies what is loaded at `addr`.
    pub fn file_offset(&self, addr: Addr) -> Option<u64> {
        let segment = self.segment_of(addr)?;
        segment.offset.checked_add(addr.0 - segment.addr.0)
    }

    fn segment_of(&self, addr: Addr) -> Option<&Segment> {
        let holds = |segment: &&Segment| {
            addr >= segment.addr && addr.0 - segment.addr.0 < segment.file_size
        };
        self.segments.iter().find(holds)
    }

    /// Names and addresses of the functions that the file defines, exported ones and others, as far
    /// as it is not stripped. Each name of a function is told, but for longer ones than asked for.
    pub fn functions(&self, name_bytes_max: usize) -> Vec<(&'a str, Addr)> {
        let mut found = Vec::new();
        for (symbols, names) in [self.symbol_table(), self.export_table()].into_iter().flatten() {
            for entry in symbols.chunks_exact(24) {
                let entry = Bytes(entry);
                let is_function = entry.u8(4).is_some_and(|info| info & 15 == STT_FUNC);
                let is_defined = entry.u16(6) != Some(0);
                let name =
                    entry.u32(0).and_then(|at| Bytes(names).c_str(at as usize, name_bytes_max));
                if let (true, Some(name), Some(value)) =
                    (is_function && is_defined, name, entry.u64(8))
                {
                    found.push((name, Addr(value)));
                }
            }
        }
        found
    }

    /// Addresses of the named symbols in .symtab, in the order asked; `None` for
    /// each one that is missing (all of them in a stripped file).
    ///
    /// One pass over the symbol table, without an index: cost is linear in it.
    pub fn symbols(&self, wanted: &[&str]) -> Vec<Option<Addr>> {
        let mut found = vec![None; wanted.len()];
        let Some((symbols, names)) = self.symbol_table() else { return found };
        let mut left = wanted.len();
        for entry in symbols.chunks_exact(24) {
            let entry = Bytes(entry);
            let (Some(name), Some(value)) = (entry.u32(0), entry.u64(8)) else { continue };
            let Some(position) = match_name(names, name as usize, wanted) else { continue };
            if let Some(slot) = found.get_mut(position).filter(|slot| slot.is_none()) {
                *slot = Some(Addr(value));
                left -= 1;
                if left == 0 {
                    break;
                }
            }
        }
        found
    }

    /// The symbol table and its names.
    pub(crate) fn symbol_table(&self) -> Option<(&'a [u8], &'a [u8])> {
        self.table_of(SHT_SYMTAB)
    }

    /// The table of what the file exports and imports, and its names.
    pub(crate) fn export_table(&self) -> Option<(&'a [u8], &'a [u8])> {
        self.table_of(SHT_DYNSYM)
    }

    fn table_of(&self, kind: u32) -> Option<(&'a [u8], &'a [u8])> {
        let table = self.sections.iter().find(|section| section.kind == kind)?;
        let names = self.sections.get(table.link as usize)?;
        Some((self.section_bytes(table)?, self.section_bytes(names)?))
    }

    /// The GNU build id in hex, else Go's own build id, else nothing.
    pub fn build_id(&self) -> Option<String> {
        let note = |name: &str| -> Option<&'a [u8]> {
            let section = self.section(name)?;
            let bytes = Bytes(self.section_bytes(&section)?);
            let name_len = (bytes.u32(0)? as usize).checked_next_multiple_of(4)?;
            let len = bytes.u32(4)? as usize;
            Some(bytes.slice(name_len.checked_add(12)?, len)?.0)
        };
        if let Some(id) = note(".note.gnu.build-id") {
            return Some(id.iter().map(|byte| format!("{byte:02x}")).collect());
        }
        note(".note.go.buildid").and_then(|id| String::from_utf8(id.to_vec()).ok())
    }
}

/// Which of `wanted` stands at `offset` of the string table, NUL included.
fn match_name(names: &[u8], offset: usize, wanted: &[&str]) -> Option<usize> {
    let tail = names.get(offset..)?;
    wanted
        .iter()
        .position(|name| tail.get(name.len()) == Some(&0) && tail.starts_with(name.as_bytes()))
}

fn read_segments(data: Bytes<'_>) -> Result<Vec<Segment>, ElfError> {
    let offset = data.u64(32).unwrap_or(0);
    let truncated = ElfError::Truncated { what: "program headers", offset };
    let size = usize::from(data.u16(54).unwrap_or(0));
    let count = usize::from(data.u16(56).unwrap_or(0)).min(HEADERS_MAX);
    if count > 0 && size < 56 {
        return Err(truncated);
    }
    let mut segments = Vec::new();
    for index in 0..count {
        let start = usize::try_from(offset).ok().and_then(|o| o.checked_add(index * size));
        let entry = start.and_then(|start| data.slice(start, 56)).ok_or(truncated.clone())?;
        if entry.u32(0) != Some(PT_LOAD) {
            continue;
        }
        segments.push(Segment {
            offset: entry.u64(8).unwrap_or(0),
            addr: Addr(entry.u64(16).unwrap_or(0)),
            file_size: entry.u64(32).unwrap_or(0),
            is_executable: entry.u32(4).unwrap_or(0) & 1 != 0,
            is_writable: entry.u32(4).unwrap_or(0) & 2 != 0,
        });
    }
    Ok(segments)
}

fn read_sections(data: Bytes<'_>) -> Result<Vec<Section>, ElfError> {
    let offset = data.u64(40).unwrap_or(0);
    let truncated = ElfError::Truncated { what: "section headers", offset };
    let size = usize::from(data.u16(58).unwrap_or(0));
    let count = usize::from(data.u16(60).unwrap_or(0)).min(HEADERS_MAX);
    if count > 0 && size < 64 {
        return Err(truncated);
    }
    let mut sections = Vec::with_capacity(count);
    for index in 0..count {
        let start = usize::try_from(offset).ok().and_then(|o| o.checked_add(index * size));
        let entry = start.and_then(|start| data.slice(start, 64)).ok_or(truncated.clone())?;
        sections.push(Section {
            name: entry.u32(0).unwrap_or(0),
            kind: entry.u32(4).unwrap_or(0),
            flags: entry.u64(8).unwrap_or(0),
            addr: Addr(entry.u64(16).unwrap_or(0)),
            offset: entry.u64(24).unwrap_or(0),
            size: entry.u64(32).unwrap_or(0),
            link: entry.u32(40).unwrap_or(0),
        });
    }
    Ok(sections)
}
