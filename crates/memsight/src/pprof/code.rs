//! The code of binaries, for listings of it.

use std::collections::HashMap;
use std::rc::Rc;

use decode::disasm;
use decode::elf::{Elf, Segment};
use decode::symbols::{self, Symbols};
use model::Addr;
use model::profile::Mapping;
use render::pprof::{Code, CodeLine, CodeSymbol};

use super::symbolize;

/// Symbols that mark where sections begin and end.
const SECTION_MARKS: [&str; 6] =
    ["runtime.text", "text", "_text", "runtime.etext", "etext", "_etext"];

/// A binary's bytes, where they are loaded, and its symbols: start, size, name.
struct Binary {
    bytes: Vec<u8>,
    segments: Vec<Segment>,
    symbols: Vec<(u64, u64, String)>,
}

/// Binaries that were opened.
#[derive(Default)]
pub(super) struct Binaries {
    known: HashMap<String, Result<Rc<Binary>, String>>,
}

impl Binaries {
    fn open(&mut self, path: &str) -> Result<Rc<Binary>, String> {
        if let Some(known) = self.known.get(path) {
            return known.clone();
        }
        let opened = symbolize::binary(path, "").and_then(|(_, bytes)| {
            let elf = Elf::parse(&bytes).map_err(|error| error.to_string())?;
            let mut symbols = symbols::all(&elf);
            if symbols.is_empty() {
                // Stripped: Go's own table still knows its functions.
                let table = decode::goruntime::static_table(&elf, &bytes);
                let functions = table
                    .iter()
                    .flat_map(|table| (0..table.len()).filter_map(|index| table.func(index)));
                symbols = functions
                    .filter_map(|func| {
                        let size = func.end.0.saturating_sub(func.entry.0);
                        Some((func.entry.0, size, func.raw_name()?.to_owned()))
                    })
                    .collect();
            }
            let segments = elf.segments().to_vec();
            Ok(Rc::new(Binary { bytes, segments, symbols }))
        });
        self.known.insert(path.to_owned(), opened.clone());
        opened
    }
}

impl Code for Binaries {
    fn symbols(&mut self, path: &str) -> Result<Vec<CodeSymbol>, String> {
        let binary = self.open(path)?;
        let symbol = |(start, size, name): &(u64, u64, String)| CodeSymbol {
            name: name.clone(),
            start: *start,
            end: start.saturating_add(*size).saturating_sub(1),
        };
        Ok(binary.symbols.iter().map(symbol).collect())
    }

    fn address(&mut self, path: &str, mapping: &Mapping, address: u64) -> Option<u64> {
        let binary = self.open(path).ok()?;
        symbols::link_address(&binary.segments, address, mapping.start.0, mapping.file_offset)
    }

    fn instructions(&mut self, path: &str, start: u64, end: u64) -> Result<Vec<CodeLine>, String> {
        const X86_64: u16 = 62;
        let binary = self.open(path)?;
        let failed = |error: decode::elf::ElfError| error.to_string();
        let elf = Elf::parse(&binary.bytes).map_err(failed)?;
        if elf.machine != X86_64 {
            return Err(format!("{path}: only x86-64 code can be disassembled"));
        }
        let names = Symbols::open(&binary.bytes, None).map_err(failed)?;
        let len = usize::try_from(end.saturating_sub(start)).unwrap_or(usize::MAX);
        let code = elf.bytes_at(Addr(start)).unwrap_or(&[]);
        let code = code.get(..len.min(code.len())).unwrap_or(&[]);
        let lookup = |address: u64| {
            let after = binary.symbols.partition_point(|(start, ..)| *start <= address);
            let before = binary.symbols.get(..after)?;
            let (start, size, name) =
                before.iter().rfind(|(.., name)| !SECTION_MARKS.contains(&name.as_str()))?;
            (address - start < *size).then(|| (name.clone(), *start))
        };
        let line = |instruction: disasm::Instruction| {
            let frame = names.frames(instruction.address).into_iter().next().unwrap_or_default();
            CodeLine {
                address: instruction.address,
                text: instruction.text,
                file: frame.file,
                line: frame.line.into(),
            }
        };
        Ok(disasm::x86_64(code, start, &lookup).into_iter().map(line).collect())
    }
}
