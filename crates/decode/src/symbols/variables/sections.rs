//! The sections that speak of variables, inflated when they are first asked for.

use std::borrow::Cow;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use gimli::{
    DebugAbbrev, DebugAddr, DebugInfo, DebugLoc, DebugLocLists, DebugRanges, DebugRngLists,
    EndianSlice, LittleEndian, LocationLists, RangeLists,
};

use crate::elf::Elf;
use crate::symbols::sections::debug_section;

/// How all of DWARF is read here: from bytes that [`Sections`] holds.
pub(super) type Reader<'s> = EndianSlice<'s, LittleEndian>;

/// All sections together may not inflate beyond this; the largest programs need a few hundred
/// megabytes. Type ids are offsets of 32 bits besides.
const INFLATED_BYTES_MAX: u64 = 1 << 30;

type Lazy<'a> = OnceLock<Cow<'a, [u8]>>;

/// The sections of one file.
pub(super) struct Sections<'a> {
    elf: Elf<'a>,
    /// Bytes that may still be inflated.
    inflatable: AtomicU64,
    info: Lazy<'a>,
    abbrev: Lazy<'a>,
    addr: Lazy<'a>,
    str: Lazy<'a>,
    line_str: Lazy<'a>,
    ranges: Lazy<'a>,
    rnglists: Lazy<'a>,
    loc: Lazy<'a>,
    loclists: Lazy<'a>,
}

impl<'a> Sections<'a> {
    pub(super) fn new(elf: Elf<'a>) -> Sections<'a> {
        Sections {
            elf,
            inflatable: AtomicU64::new(INFLATED_BYTES_MAX),
            info: Lazy::new(),
            abbrev: Lazy::new(),
            addr: Lazy::new(),
            str: Lazy::new(),
            line_str: Lazy::new(),
            ranges: Lazy::new(),
            rnglists: Lazy::new(),
            loc: Lazy::new(),
            loclists: Lazy::new(),
        }
    }

    /// A missing section is an empty one.
    fn bytes<'s>(&'s self, section: &'s Lazy<'a>, name: &str) -> Reader<'s> {
        let read = || {
            let left = self.inflatable.load(Ordering::Relaxed);
            let bytes = debug_section(&self.elf, name, left).unwrap_or_default();
            if let Cow::Owned(inflated) = &bytes {
                let now = left.saturating_sub(inflated.len() as u64);
                self.inflatable.store(now, Ordering::Relaxed);
            }
            bytes
        };
        EndianSlice::new(section.get_or_init(read), LittleEndian)
    }

    pub(super) fn info(&self) -> DebugInfo<Reader<'_>> {
        DebugInfo::from(self.bytes(&self.info, ".debug_info"))
    }

    pub(super) fn info_len(&self) -> usize {
        self.bytes(&self.info, ".debug_info").len()
    }

    pub(super) fn abbrev_bytes(&self) -> &[u8] {
        self.bytes(&self.abbrev, ".debug_abbrev").slice()
    }

    pub(super) fn abbrev(&self) -> DebugAbbrev<Reader<'_>> {
        DebugAbbrev::from(self.bytes(&self.abbrev, ".debug_abbrev"))
    }

    pub(super) fn addr(&self) -> DebugAddr<Reader<'_>> {
        DebugAddr::from(self.bytes(&self.addr, ".debug_addr"))
    }

    pub(super) fn str(&self) -> Reader<'_> {
        self.bytes(&self.str, ".debug_str")
    }

    pub(super) fn line_str(&self) -> Reader<'_> {
        self.bytes(&self.line_str, ".debug_line_str")
    }

    /// Lists of code ranges; only the section that this DWARF version uses is inflated.
    pub(super) fn range_lists(&self, version: u16) -> RangeLists<Reader<'_>> {
        let empty = EndianSlice::new(&[], LittleEndian);
        if version <= 4 {
            let old = self.bytes(&self.ranges, ".debug_ranges");
            return RangeLists::new(DebugRanges::from(old), DebugRngLists::from(empty));
        }
        let new = self.bytes(&self.rnglists, ".debug_rnglists");
        RangeLists::new(DebugRanges::from(empty), DebugRngLists::from(new))
    }

    /// Lists of places, alike.
    pub(super) fn location_lists(&self, version: u16) -> LocationLists<Reader<'_>> {
        let empty = EndianSlice::new(&[], LittleEndian);
        if version <= 4 {
            let old = self.bytes(&self.loc, ".debug_loc");
            return LocationLists::new(DebugLoc::from(old), DebugLocLists::from(empty));
        }
        let new = self.bytes(&self.loclists, ".debug_loclists");
        LocationLists::new(DebugLoc::from(empty), DebugLocLists::from(new))
    }
}
