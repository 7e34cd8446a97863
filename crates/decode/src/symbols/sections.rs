//! The sections of debug information, inflated where the file says they are compressed.
//!
//! A section that is stored plainly is borrowed from the file, so that only what is
//! compressed costs memory: its size, which callers limit.

use std::borrow::Cow;
use std::io::Read;

use crate::elf::{Elf, Section};

/// Deflate makes at most this of a byte; a header that claims more is not believed.
const DEFLATE_RATIO_MAX: u64 = 1032;

/// The bytes of a section of debug information, by its plain name (`.debug_info`), or of
/// the one that older linkers compressed (`.zdebug_info`). At most `bytes_max` are inflated.
pub(super) fn debug_section<'a>(
    elf: &Elf<'a>,
    name: &str,
    bytes_max: u64,
) -> Option<Cow<'a, [u8]>> {
    if let Some(section) = elf.section(name) {
        return bytes_of(elf, &section, bytes_max);
    }
    let old = elf.section(&name.replacen(".debug", ".zdebug", 1))?;
    let (size, data) = elf.section_bytes(&old)?.strip_prefix(b"ZLIB")?.split_first_chunk()?;
    let claimed = u64::from_be_bytes(*size);
    inflated(flate2::read::ZlibDecoder::new(data), data, claimed.min(bytes_max)).map(Cow::Owned)
}

/// The bytes of a section, inflated where its header says so (SHF_COMPRESSED).
fn bytes_of<'a>(elf: &Elf<'a>, section: &Section, bytes_max: u64) -> Option<Cow<'a, [u8]>> {
    const COMPRESSED: u64 = 0x800;
    let bytes = elf.section_bytes(section)?;
    if section.flags & COMPRESSED == 0 {
        return Some(Cow::Borrowed(bytes));
    }
    let (header, data) = bytes.split_first_chunk::<24>()?;
    let kind = u32::from_le_bytes(*header.first_chunk()?);
    let claimed = u64::from_le_bytes(*header.get(8..)?.first_chunk()?).min(bytes_max);
    let bytes = match kind {
        1 => inflated(flate2::read::ZlibDecoder::new(data), data, claimed),
        2 => inflated(ruzstd::decoding::StreamingDecoder::new(data).ok()?, data, claimed),
        _ => None,
    };
    bytes.map(Cow::Owned)
}

fn inflated(reader: impl Read, data: &[u8], bytes_max: u64) -> Option<Vec<u8>> {
    let likely = bytes_max.min((data.len() as u64).saturating_mul(DEFLATE_RATIO_MAX));
    // One allocation of the right size: growing would copy, and hold both for a while.
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(usize::try_from(likely).ok()?).ok()?;
    reader.take(bytes_max).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}
