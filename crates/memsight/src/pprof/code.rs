//! The code of binaries, for listings of it.

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Component, Path};
use std::rc::Rc;

use decode::disasm;
use decode::elf::{Elf, Segment};
use decode::symbols::{self, Symbols};
use model::Addr;
use render::pprof::{BinaryName, Code, CodeFrame, CodeLine, CodeSymbol};

use super::symbolize;

/// Symbols that mark where sections begin and end.
const SECTION_MARKS: [&str; 6] =
    ["runtime.text", "text", "_text", "runtime.etext", "etext", "_etext"];

/// Larger binaries are not read for a page.
const SERVED_BYTES_MAX: u64 = 1 << 30;

/// A binary's bytes, where they are loaded, and its symbols: start, size, name.
struct Binary {
    bytes: Vec<u8>,
    segments: Vec<Segment>,
    text: Range<u64>,
    symbols: Vec<(u64, u64, String)>,
}

/// Binaries that were opened, by path and build id.
pub(crate) struct Binaries {
    is_served: bool,
    known: HashMap<(String, String), Result<Rc<Binary>, String>>,
}

impl Binaries {
    /// For whoever named the profile on the command line: a binary is refused when its
    /// build id is not the profile's, and used when one of them has none.
    pub(super) fn local() -> Binaries {
        Binaries { is_served: false, known: HashMap::new() }
    }

    /// For clients of the server, who can make a profile name any file: only ELF files
    /// whose build id is the profile's.
    pub(crate) fn served() -> Binaries {
        Binaries { is_served: true, known: HashMap::new() }
    }

    fn open(&mut self, name: &BinaryName<'_>) -> Result<Rc<Binary>, String> {
        let key = (name.path.to_owned(), name.build_id.to_owned());
        if let Some(known) = self.known.get(&key) {
            return known.clone();
        }
        let is_served = self.is_served;
        let allowed = if is_served { may_be_served(name) } else { Ok(()) };
        let opened = allowed.and_then(|()| read(name, is_served)).map(Rc::new);
        self.known.insert(key, opened.clone());
        opened
    }
}

/// What can be said before a file is opened: opening a pipe would wait for ever.
fn may_be_served(name: &BinaryName<'_>) -> Result<(), String> {
    let BinaryName { path, build_id, .. } = *name;
    if build_id.is_empty() {
        return Err(format!("{path}: the profile does not tell its build id"));
    }
    if Path::new(path).components().any(|part| part == Component::ParentDir) {
        return Err(format!("{path}: not a plain path"));
    }
    match std::fs::metadata(path) {
        Ok(file) if !file.is_file() => Err(format!("{path}: not a regular file")),
        Ok(file) if file.len() > SERVED_BYTES_MAX => Err(format!("{path}: too large")),
        // It may still lie where PPROF_BINARY_PATH says.
        _ => Ok(()),
    }
}

fn read(name: &BinaryName<'_>, is_served: bool) -> Result<Binary, String> {
    let (_, bytes) = symbolize::binary(name.path, name.build_id)?;
    let elf = Elf::parse(&bytes).map_err(|error| error.to_string())?;
    if is_served && elf.build_id().as_deref() != Some(name.build_id) {
        return Err(format!("{}: it has no build id to compare with the profile's", name.path));
    }
    let mut symbols = symbols::all(&elf);
    if symbols.is_empty() {
        // Stripped: Go's own table still knows its functions.
        let table = decode::goruntime::static_table(&elf, &bytes);
        let functions =
            table.iter().flat_map(|table| (0..table.len()).filter_map(|index| table.func(index)));
        symbols = functions
            .filter_map(|func| {
                let size = func.end.0.saturating_sub(func.entry.0);
                Some((func.entry.0, size, func.raw_name()?.to_owned()))
            })
            .collect();
    }
    let segments = elf.segments().to_vec();
    let text = elf
        .section(".text")
        .map_or(0..0, |section| section.addr.0..section.addr.0.saturating_add(section.size));
    Ok(Binary { bytes, segments, text, symbols })
}

impl Code for Binaries {
    fn symbols(&mut self, name: &BinaryName<'_>) -> Result<Vec<CodeSymbol>, String> {
        let binary = self.open(name)?;
        let symbol = |(start, size, name): &(u64, u64, String)| CodeSymbol {
            name: name.clone(),
            start: *start,
            end: start.saturating_add(*size).saturating_sub(1),
        };
        Ok(binary.symbols.iter().map(symbol).collect())
    }

    fn address(&mut self, name: &BinaryName<'_>, address: u64) -> Option<u64> {
        let binary = self.open(name).ok()?;
        let mapping = name.mapping;
        symbols::link_address(&binary.segments, address, mapping.start.0, mapping.file_offset)
    }

    fn text(&mut self, name: &BinaryName<'_>) -> Option<Range<u64>> {
        self.open(name).ok().map(|binary| binary.text.clone())
    }

    fn instructions(
        &mut self,
        name: &BinaryName<'_>,
        ranges: &[Range<u64>],
    ) -> Result<Vec<Vec<CodeLine>>, String> {
        const X86_64: u16 = 62;
        let binary = self.open(name)?;
        let failed = |error: decode::elf::ElfError| error.to_string();
        let elf = Elf::parse(&binary.bytes).map_err(failed)?;
        if elf.machine != X86_64 {
            return Err(format!("{}: only x86-64 code can be disassembled", name.path));
        }
        let names = Symbols::open(&binary.bytes, None).map_err(failed)?;
        let lookup = |address: u64| binary.symbol_at(address);
        let line = |instruction: disasm::Instruction| {
            let frames = names.raw_frames(instruction.address).into_iter().map(|frame| CodeFrame {
                function: frame.function,
                file: frame.file,
                line: frame.line.into(),
            });
            let frames = frames.collect();
            CodeLine { address: instruction.address, text: instruction.text, frames }
        };
        let of_range = |range: &Range<u64>| {
            let code = elf.bytes_at(Addr(range.start)).unwrap_or(&[]);
            let len = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
            let code = code.get(..len.min(code.len())).unwrap_or(&[]);
            disasm::x86_64(code, range.start, &lookup).into_iter().map(line).collect()
        };
        Ok(ranges.iter().map(of_range).collect())
    }
}

impl Binary {
    fn symbol_at(&self, address: u64) -> Option<(String, u64)> {
        let after = self.symbols.partition_point(|(start, ..)| *start <= address);
        let before = self.symbols.get(..after)?;
        let (start, size, name) =
            before.iter().rfind(|(.., name)| !SECTION_MARKS.contains(&name.as_str()))?;
        (address - start < *size).then(|| (name.clone(), *start))
    }
}
