//! DWARF: lines and inlined calls.

use std::io::Read;
use std::rc::Rc;

use addr2line::Context;
use gimli::{EndianRcSlice, LittleEndian};

use super::SymbolFrame;
use crate::elf::{Elf, Section};

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
            let bytes = elf.section(id.name()).and_then(|section| bytes_of(elf, &section));
            let old_name = id.name().replacen(".debug", ".zdebug", 1);
            let bytes = bytes.or_else(|| old_bytes_of(elf, &elf.section(&old_name)?));
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

/// The bytes of a section, inflated where its header says so (SHF_COMPRESSED).
fn bytes_of(elf: &Elf<'_>, section: &Section) -> Option<Vec<u8>> {
    const COMPRESSED: u64 = 0x800;
    let bytes = elf.section_bytes(section)?;
    if section.flags & COMPRESSED == 0 {
        return Some(bytes.to_vec());
    }
    let (header, data) = bytes.split_at_checked(24)?;
    let kind = u32::from_le_bytes(*header.first_chunk::<4>()?);
    match kind {
        1 => inflated(flate2::read::ZlibDecoder::new(data)),
        2 => inflated(ruzstd::decoding::StreamingDecoder::new(data).ok()?),
        _ => None,
    }
}

/// The bytes of an old compressed section: `ZLIB`, size, data.
fn old_bytes_of(elf: &Elf<'_>, section: &Section) -> Option<Vec<u8>> {
    let data = elf.section_bytes(section)?.strip_prefix(b"ZLIB")?.get(8..)?;
    inflated(flate2::read::ZlibDecoder::new(data))
}

fn inflated(reader: impl Read) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(SECTION_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}
