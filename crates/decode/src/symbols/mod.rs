//! Names for code addresses of a binary: Go's function table (also stripped), DWARF with
//! inlined calls, or the symbol tables.

pub mod demangle;
mod dwarf;
pub mod perf_map;
mod sections;
mod table;
pub mod variables;

use model::Addr;

use crate::elf::{Elf, ElfError, Segment};
use crate::goruntime::static_table;
use crate::pclntab::{LogicalFrame, Pclntab};
use dwarf::Dwarf;
use table::SymbolTable;

/// A frame of an address, innermost inlined call first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SymbolFrame {
    /// The function as the linker names it.
    pub function: String,
    /// Source file; empty when unknown.
    pub file: String,
    /// Line; 0 when unknown.
    pub line: u32,
    /// Column; 0 when unknown.
    pub column: u32,
    /// First line of the function; 0 when unknown.
    pub start_line: u32,
}

/// A binary that names addresses.
pub struct Symbols<'a> {
    elf: Elf<'a>,
    go: Option<Pclntab<'a>>,
    dwarf: Option<Dwarf>,
    table: SymbolTable<'a>,
    exports: SymbolTable<'a>,
}

impl<'a> Symbols<'a> {
    /// Opens a binary. `debug` is a file that holds its DWARF and symbols instead.
    ///
    /// # Errors
    /// When it is no ELF file that can be read.
    pub fn open(file: &'a [u8], debug: Option<&'a [u8]>) -> Result<Symbols<'a>, ElfError> {
        let elf = Elf::parse(file)?;
        let debug_elf = debug.map(Elf::parse).transpose()?;
        let go = static_table(&elf, file);
        let source = debug_elf.as_ref().unwrap_or(&elf);
        let dwarf = Dwarf::read(source);
        let table = SymbolTable::read(source);
        let exports = SymbolTable::read_exports(&elf);
        Ok(Symbols { elf, go, dwarf, table, exports })
    }

    /// The linker's id of the binary.
    pub fn build_id(&self) -> Option<String> {
        self.elf.build_id()
    }

    /// Name of the file that holds the debug information, where the binary says so.
    pub fn debug_link(&self) -> Option<String> {
        let section = self.elf.section(".gnu_debuglink")?;
        let bytes = self.elf.section_bytes(&section)?;
        let name = bytes.split(|byte| *byte == 0).next()?;
        String::from_utf8(name.to_vec()).ok().filter(|name| !name.contains('/'))
    }

    /// Reports whether the binary itself can name lines.
    pub fn has_lines(&self) -> bool {
        self.go.is_some() || self.dwarf.is_some()
    }

    /// The link-time address of what a mapping shows at `address`: see [`link_address`].
    pub fn link_address(&self, address: u64, start: u64, file_offset: u64) -> Option<u64> {
        link_address(self.elf.segments(), address, start, file_offset)
    }

    /// The frames of a link-time address; empty when nothing is known.
    pub fn frames(&self, address: u64) -> Vec<SymbolFrame> {
        self.frames_by(address, |table| table.frames(Addr(address)))
    }

    /// The same with the names that Go's linker wrote, type arguments included.
    pub fn raw_frames(&self, address: u64) -> Vec<SymbolFrame> {
        self.frames_by(address, |table| table.raw_frames(Addr(address)))
    }

    /// The exported function that holds a link-time address: of a stripped library all there is.
    pub fn exported(&self, address: u64) -> Option<&'a str> {
        self.exports.at(address)
    }

    fn frames_by(
        &self,
        address: u64,
        of_go: impl Fn(&Pclntab<'_>) -> Vec<LogicalFrame>,
    ) -> Vec<SymbolFrame> {
        let go = self.go.as_ref().map(of_go).unwrap_or_default();
        if !go.is_empty() {
            let frame = |logical: LogicalFrame| SymbolFrame {
                function: logical.frame.function,
                file: logical.frame.file,
                line: logical.frame.line,
                column: 0,
                start_line: logical.start_line,
            };
            return go.into_iter().map(frame).collect();
        }
        let mut frames = self.dwarf.as_ref().map(|dwarf| dwarf.frames(address)).unwrap_or_default();
        let symbol = self.table.at(address).unwrap_or_default();
        // Lines without a function: assembly, or DWARF that was cut down.
        if let Some(outer) = frames.last_mut().filter(|outer| outer.function.is_empty()) {
            symbol.clone_into(&mut outer.function);
        }
        if frames.is_empty() && !symbol.is_empty() {
            frames.push(SymbolFrame { function: symbol.to_owned(), ..SymbolFrame::default() });
        }
        frames
    }
}

/// The link-time address of what a mapping shows at `address`. A mapping without limits
/// holds link-time addresses.
pub fn link_address(
    segments: &[Segment],
    address: u64,
    start: u64,
    file_offset: u64,
) -> Option<u64> {
    if start == 0 {
        return Some(address);
    }
    let offset = address.checked_sub(start)?.checked_add(file_offset)?;
    let segment = segments
        .iter()
        .find(|segment| offset >= segment.offset && offset - segment.offset < segment.file_size)?;
    segment.addr.0.checked_add(offset - segment.offset)
}

/// Every named symbol of a binary, by address: start, size, name.
pub fn all(elf: &Elf<'_>) -> Vec<(u64, u64, String)> {
    table::all(elf)
}

#[cfg(test)]
mod tests;
