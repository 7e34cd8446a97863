//! DWARF: lines and inlined calls.

use std::rc::Rc;

use addr2line::Context;
use gimli::{EndianRcSlice, LittleEndian};

use super::SymbolFrame;
use super::sections::debug_section;
use crate::elf::Elf;

type Reader = EndianRcSlice<LittleEndian>;

/// A section of debug information may not inflate beyond this.
const SECTION_BYTES_MAX: u64 = 4 << 30;
/// Frames of one address at most.
const INLINED_MAX: usize = 256;

/// The debug information of a binary.
pub(super) struct Dwarf {
    context: Context<Reader>,
}

impl Dwarf {
    /// `None` when the file has no debug information, or damaged one.
    pub(super) fn read(elf: &Elf<'_>) -> Option<Dwarf> {
        elf.section(".debug_info").or_else(|| elf.section(".zdebug_info"))?;
        let load = |id: gimli::SectionId| -> Result<Reader, gimli::Error> {
            let bytes = debug_section(elf, id.name(), SECTION_BYTES_MAX);
            Ok(EndianRcSlice::new(Rc::from(bytes.unwrap_or_default()), LittleEndian))
        };
        let dwarf = gimli::Dwarf::load(load).ok()?;
        Context::from_dwarf(dwarf).ok().map(|context| Dwarf { context })
    }

    /// The frames of an address, innermost first.
    pub(super) fn frames(&self, address: u64) -> Vec<SymbolFrame> {
        let mut frames = Vec::new();
        // The search asks for the address behind.
        if address == u64::MAX {
            return frames;
        }
        let Ok(mut found) = self.context.find_frames(address).skip_all_loads() else {
            return frames;
        };
        while let Ok(Some(frame)) = found.next() {
            let name = frame
                .function
                .as_ref()
                .and_then(|function| function.raw_name().ok().map(std::borrow::Cow::into_owned));
            let place = frame.location;
            frames.push(SymbolFrame {
                function: name.unwrap_or_default(),
                file: place.as_ref().and_then(|place| place.file).unwrap_or("").to_owned(),
                line: place.as_ref().and_then(|place| place.line).unwrap_or(0),
                column: place.as_ref().and_then(|place| place.column).unwrap_or(0),
                start_line: 0,
            });
            if frames.len() >= INLINED_MAX {
                break;
            }
        }
        frames
    }
}
