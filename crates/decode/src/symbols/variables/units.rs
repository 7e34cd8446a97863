//! The compilation units of Go's compiler, found by offset or by code address, and how one
//! entry of them is read.
//!
//! Finding them reads a header and a root entry a unit, no more. C units (cgo) are left out:
//! they speak of no Go variable.

use std::cell::Cell;
use std::sync::Arc;

use gimli::{
    Abbreviations, AttributeSpecification, AttributeValue, DebugAddrBase, DebugAddrIndex,
    DebugInfoOffset, DwTag, Encoding, EntriesRaw, Expression, LocationListsOffset, Range,
    RangeListsOffset, UnitHeader, UnitOffset, UnitSectionOffset, constants as dw,
};

use super::abbreviations::Tables;
use super::entry::{
    DW_AT_GO_ELEM, DW_AT_GO_KEY, DW_AT_GO_RUNTIME_TYPE, Entry, Number, code, location, text,
};
use super::sections::{Reader, Sections};

/// Units at most; the largest programs have tens of thousands.
const UNITS_MAX: usize = 1 << 20;
/// Entries of lists that one question reads at most.
pub(super) const LIST_ENTRIES_MAX: usize = 1 << 20;

/// How many bytes of entries may still be read out of their order. References of damaged files
/// can make everything refer to one huge entry, so that reading would never end.
pub(super) struct Budget(Cell<usize>);

impl Budget {
    pub(super) fn new(bytes: usize) -> Budget {
        Budget(Cell::new(bytes))
    }

    /// Notes that bytes were read; `None` when they were too many.
    pub(super) fn spend(&self, bytes: usize) -> Option<()> {
        let left = self.0.get().checked_sub(bytes);
        self.0.set(left.unwrap_or(0));
        left.map(|_| ())
    }

    pub(super) fn left(&self) -> usize {
        self.0.get()
    }
}

/// A unit that Go's compiler or linker wrote.
pub(super) struct Unit {
    /// Where it starts in .debug_info.
    pub(super) start: usize,
    end: usize,
    encoding: Encoding,
    low_pc: u64,
    high_pc: Option<Number>,
    addr_base: usize,
    ranges: Option<RangeListsOffset>,
    abbreviations: Arc<Abbreviations>,
}

/// All Go units of a file, by offset.
pub(super) struct Units {
    units: Vec<Unit>,
    /// Something was damaged, and what follows it is missing.
    pub(super) is_partial: bool,
}

impl Units {
    pub(super) fn read(sections: &Sections<'_>) -> Units {
        let mut tables = Tables::new(sections);
        let mut units = Vec::new();
        let mut is_partial = false;
        let mut headers = sections.info().units();
        loop {
            match headers.next() {
                Ok(Some(header)) if units.len() < UNITS_MAX => {
                    units.extend(Unit::read(sections, header, &mut tables));
                }
                Ok(None) => break,
                Ok(Some(_)) | Err(_) => {
                    is_partial = true;
                    break;
                }
            }
        }
        is_partial |= tables.is_partial;
        Units { units, is_partial }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Unit> {
        self.units.iter()
    }

    pub(super) fn get(&self, index: usize) -> Option<&Unit> {
        self.units.get(index)
    }

    /// The unit that holds this offset of .debug_info.
    pub(super) fn holding(&self, offset: usize) -> Option<&Unit> {
        let after = self.units.partition_point(|unit| unit.start <= offset);
        self.units.get(after.checked_sub(1)?).filter(|unit| offset < unit.end)
    }

    /// The entry at this offset of .debug_info.
    pub(super) fn entry<'s>(
        &self,
        sections: &'s Sections<'_>,
        offset: usize,
        budget: &Budget,
    ) -> Option<Entry<'s>> {
        let unit = self.holding(offset)?;
        let header = unit.header(sections)?;
        let mut entries = unit.entries_from(&header, offset)?;
        let abbreviation = entries.read_abbreviation().ok()??;
        let specs = abbreviation.attributes();
        let entry = unit.entry(sections, &mut entries, offset, abbreviation.tag(), specs);
        budget.spend(unit.start.checked_add(entries.next_offset().0)?.checked_sub(offset)?)?;
        entry
    }
}

impl Unit {
    fn read<'s>(
        sections: &'s Sections<'_>,
        header: UnitHeader<Reader<'s>>,
        tables: &mut Tables<'_, '_>,
    ) -> Option<Unit> {
        let UnitSectionOffset::DebugInfoOffset(DebugInfoOffset(start)) = header.offset() else {
            return None;
        };
        // The files are 64-bit ones.
        if header.address_size() != 8 {
            return None;
        }
        let abbreviations = tables.table(header.debug_abbrev_offset().0)?;
        let mut unit = Unit {
            start,
            end: start.checked_add(header.length_including_self())?,
            encoding: header.encoding(),
            low_pc: 0,
            high_pc: None,
            addr_base: 0,
            ranges: None,
            abbreviations,
        };
        let root = {
            let mut entries = header.entries_raw(&unit.abbreviations, None).ok()?;
            let abbreviation = entries.read_abbreviation().ok()??;
            let specs = abbreviation.attributes();
            unit.entry(sections, &mut entries, start, abbreviation.tag(), specs)?
        };
        let is_go = root.tag == dw::DW_TAG_compile_unit
            && root.language == Some(u64::from(dw::DW_LANG_Go.0));
        if !is_go {
            return None;
        }
        tables.keep(header.debug_abbrev_offset().0, &unit.abbreviations);
        unit.low_pc = root.low_pc.unwrap_or(0);
        unit.high_pc = root.high_pc;
        unit.addr_base = root.addr_base.unwrap_or(0);
        unit.ranges = root.ranges;
        Some(unit)
    }

    /// Headers are parsed anew: they borrow from the sections.
    pub(super) fn header<'s>(&self, sections: &'s Sections<'_>) -> Option<UnitHeader<Reader<'s>>> {
        sections.info().header_from_offset(DebugInfoOffset(self.start)).ok()
    }

    /// All entries of the unit.
    pub(super) fn entries<'u, 's>(
        &'u self,
        header: &'u UnitHeader<Reader<'s>>,
    ) -> Option<EntriesRaw<'u, 'u, Reader<'s>>> {
        header.entries_raw(&self.abbreviations, None).ok()
    }

    /// The entries from this offset of .debug_info on.
    pub(super) fn entries_from<'u, 's>(
        &'u self,
        header: &'u UnitHeader<Reader<'s>>,
        offset: usize,
    ) -> Option<EntriesRaw<'u, 'u, Reader<'s>>> {
        let offset = UnitOffset(offset.checked_sub(self.start)?);
        header.entries_raw(&self.abbreviations, Some(offset)).ok()
    }

    /// Reads the attributes that follow an abbreviation. They are in no fixed order, and
    /// an address by index needs the root's base: nothing but the root has both.
    pub(super) fn entry<'s>(
        &self,
        sections: &'s Sections<'_>,
        entries: &mut EntriesRaw<'_, '_, Reader<'s>>,
        offset: usize,
        tag: DwTag,
        specs: &[AttributeSpecification],
    ) -> Option<Entry<'s>> {
        let mut entry = Entry::new(offset, tag);
        for spec in specs {
            let attribute = entries.read_attribute(*spec).ok()?;
            let raw = attribute.raw_value();
            match attribute.name() {
                dw::DW_AT_name => entry.name = text(sections, raw),
                dw::DW_AT_type => entry.type_ref = self.reference(raw),
                dw::DW_AT_abstract_origin | dw::DW_AT_specification => {
                    entry.origin = self.reference(raw);
                }
                dw::DW_AT_low_pc => entry.low_pc = self.address(sections, raw),
                dw::DW_AT_high_pc => entry.high_pc = self.number(sections, raw),
                dw::DW_AT_ranges => {
                    entry.ranges = raw.offset_value().map(RangeListsOffset);
                }
                dw::DW_AT_location => {
                    entry.location = location(attribute.value());
                }
                dw::DW_AT_frame_base => entry.frame_base = raw.exprloc_value(),
                DW_AT_GO_KEY => entry.key = self.reference(raw),
                DW_AT_GO_ELEM => entry.elem = self.reference(raw),
                DW_AT_GO_RUNTIME_TYPE => entry.runtime_type = self.address(sections, raw),
                name => entry.note(name, &raw),
            }
        }
        Some(entry)
    }

    /// An offset of .debug_info.
    fn reference(&self, value: AttributeValue<Reader<'_>>) -> Option<usize> {
        match value {
            AttributeValue::DebugInfoRef(offset) => Some(offset.0),
            AttributeValue::UnitRef(offset) => self.start.checked_add(offset.0),
            _ => None,
        }
    }

    fn address(&self, sections: &Sections<'_>, value: AttributeValue<Reader<'_>>) -> Option<u64> {
        match value {
            AttributeValue::Addr(address) => Some(address),
            AttributeValue::DebugAddrIndex(index) => self.indexed_address(sections, index),
            _ => None,
        }
    }

    fn indexed_address(&self, sections: &Sections<'_>, index: DebugAddrIndex) -> Option<u64> {
        if !is_sane(index) {
            return None;
        }
        let base = DebugAddrBase(self.addr_base);
        sections.addr().get_address(self.encoding.address_size, base, index).ok()
    }

    fn number(&self, sections: &Sections<'_>, value: AttributeValue<Reader<'_>>) -> Option<Number> {
        let address = self.address(sections, value).map(Number::Address);
        address.or_else(|| value.udata_value().map(Number::Count))
    }

    /// The code of the unit. `budget` is what is left of the list entries that may be read.
    pub(super) fn code(&self, sections: &Sections<'_>, budget: &mut usize) -> Vec<Range> {
        match self.ranges {
            Some(offset) => self.ranges(sections, offset, budget),
            None => self.high_pc.and_then(|high| code(self.low_pc, high)).into_iter().collect(),
        }
    }

    /// A list of code ranges, as far as the budget goes.
    pub(super) fn ranges(
        &self,
        sections: &Sections<'_>,
        offset: RangeListsOffset,
        budget: &mut usize,
    ) -> Vec<Range> {
        let lists = sections.range_lists(self.encoding.version);
        let base = DebugAddrBase(self.addr_base);
        let addr = sections.addr();
        let mut found = Vec::new();
        let Ok(mut list) = lists.ranges(offset, self.encoding, self.low_pc, &addr, base) else {
            return found;
        };
        while let Ok(Some(raw)) = list.next_raw() {
            if *budget == 0 || !super::place::is_sane_range(&raw) {
                break;
            }
            *budget -= 1;
            let Ok(range) = list.convert_raw(raw) else { break };
            found.extend(range);
        }
        found
    }

    /// The expression of a list of places that holds at `pc`.
    pub(super) fn expression_at<'s>(
        &self,
        sections: &'s Sections<'_>,
        offset: LocationListsOffset,
        pc: u64,
        budget: &mut usize,
    ) -> Option<Expression<Reader<'s>>> {
        let lists = sections.location_lists(self.encoding.version);
        let base = DebugAddrBase(self.addr_base);
        let addr = sections.addr();
        let mut list = lists.locations(offset, self.encoding, self.low_pc, &addr, base).ok()?;
        while let Ok(Some(raw)) = list.next_raw() {
            if *budget == 0 || !super::place::is_sane_location(&raw) {
                break;
            }
            *budget -= 1;
            let entry = list.convert_raw(raw).ok()?;
            let Some(entry) = entry else { continue };
            if (entry.range.begin..entry.range.end).contains(&pc) {
                return Some(entry.data);
            }
        }
        None
    }

    pub(super) fn encoding(&self) -> Encoding {
        self.encoding
    }
}

/// Larger numbers of addresses than any file has would overflow on the way to their place.
pub(super) fn is_sane(index: DebugAddrIndex) -> bool {
    index.0 < 1 << 40
}
