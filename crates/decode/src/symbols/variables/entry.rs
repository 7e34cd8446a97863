//! What is read of one entry of the debug information.

use gimli::{
    AttributeValue, DwAt, DwTag, Expression, LocationListsOffset, Range, RangeListsOffset,
    constants as dw,
};

use super::sections::{Reader, Sections};

/// Longer names are cut; types without a name of their own can have very long ones.
const NAME_BYTES_MAX: usize = 64 << 10;

const DW_AT_GO_KIND: DwAt = DwAt(0x2900);
pub(super) const DW_AT_GO_KEY: DwAt = DwAt(0x2901);
pub(super) const DW_AT_GO_ELEM: DwAt = DwAt(0x2902);
const DW_AT_GO_EMBEDDED_FIELD: DwAt = DwAt(0x2903);
pub(super) const DW_AT_GO_RUNTIME_TYPE: DwAt = DwAt(0x2904);
const DW_AT_GO_DICT_INDEX: DwAt = DwAt(0x2906);
const DW_AT_GO_CLOSURE_OFFSET: DwAt = DwAt(0x2907);

/// `DW_AT_high_pc` and the like: an address, or a number of bytes behind another.
#[derive(Clone, Copy)]
pub(super) enum Number {
    Address(u64),
    Count(u64),
}

/// Where the place of a variable is written.
#[derive(Clone, Copy)]
pub(super) enum Location<'s> {
    Everywhere(Expression<Reader<'s>>),
    List(LocationListsOffset),
}

/// What is read of an entry.
#[derive(Clone)]
pub(super) struct Entry<'s> {
    /// Where it starts in .debug_info.
    pub(super) offset: usize,
    pub(super) tag: DwTag,
    pub(super) name: Option<&'s [u8]>,
    pub(super) type_ref: Option<usize>,
    pub(super) origin: Option<usize>,
    pub(super) byte_size: Option<u64>,
    pub(super) count: Option<u64>,
    pub(super) member_offset: Option<u64>,
    pub(super) line: Option<u64>,
    pub(super) is_result: bool,
    pub(super) low_pc: Option<u64>,
    pub(super) high_pc: Option<Number>,
    pub(super) ranges: Option<RangeListsOffset>,
    pub(super) location: Option<Location<'s>>,
    pub(super) frame_base: Option<Expression<Reader<'s>>>,
    pub(super) go_kind: u8,
    pub(super) key: Option<usize>,
    pub(super) elem: Option<usize>,
    pub(super) is_embedded: bool,
    pub(super) runtime_type: Option<u64>,
    pub(super) dictionary_index: Option<u64>,
    pub(super) closure_offset: Option<u64>,
    pub(super) addr_base: Option<usize>,
    pub(super) language: Option<u64>,
}

impl Entry<'_> {
    pub(super) fn new(offset: usize, tag: DwTag) -> Self {
        Entry {
            offset,
            tag,
            name: None,
            type_ref: None,
            origin: None,
            byte_size: None,
            count: None,
            member_offset: None,
            line: None,
            is_result: false,
            low_pc: None,
            high_pc: None,
            ranges: None,
            location: None,
            frame_base: None,
            go_kind: 0,
            key: None,
            elem: None,
            is_embedded: false,
            runtime_type: None,
            dictionary_index: None,
            closure_offset: None,
            addr_base: None,
            language: None,
        }
    }

    /// The name as text, cut when it is very long.
    pub(super) fn name(&self) -> String {
        let name = self.name.unwrap_or_default();
        let name = name.get(..name.len().min(NAME_BYTES_MAX)).unwrap_or_default();
        String::from_utf8_lossy(name).into_owned()
    }

    /// The code between `DW_AT_low_pc` and `DW_AT_high_pc`.
    pub(super) fn code(&self) -> Option<Range> {
        code(self.low_pc?, self.high_pc?)
    }
}

pub(super) fn code(begin: u64, high: Number) -> Option<Range> {
    let end = match high {
        Number::Address(end) => end,
        Number::Count(count) => begin.checked_add(count)?,
    };
    (begin < end).then_some(Range { begin, end })
}

impl<'s> Entry<'s> {
    /// Attributes whose value is a plain number.
    pub(super) fn note(&mut self, name: DwAt, value: &AttributeValue<Reader<'s>>) {
        let number = value.udata_value();
        let is_set = matches!(value, AttributeValue::Flag(true));
        match name {
            dw::DW_AT_byte_size => self.byte_size = number,
            dw::DW_AT_count => self.count = number,
            dw::DW_AT_data_member_location => self.member_offset = number,
            dw::DW_AT_decl_line => self.line = number,
            dw::DW_AT_variable_parameter => self.is_result = is_set,
            dw::DW_AT_language => self.language = number,
            dw::DW_AT_addr_base => self.addr_base = value.offset_value(),
            DW_AT_GO_KIND => {
                self.go_kind = number.and_then(|kind| kind.try_into().ok()).unwrap_or(0);
            }
            DW_AT_GO_EMBEDDED_FIELD => self.is_embedded = is_set,
            DW_AT_GO_DICT_INDEX => self.dictionary_index = number,
            DW_AT_GO_CLOSURE_OFFSET => self.closure_offset = number,
            _ => {}
        }
    }
}

pub(super) fn location(value: AttributeValue<Reader<'_>>) -> Option<Location<'_>> {
    match value {
        AttributeValue::Exprloc(expression) => Some(Location::Everywhere(expression)),
        AttributeValue::LocationListsRef(offset) => Some(Location::List(offset)),
        _ => None,
    }
}

/// Go writes names into the entries; C compilers beside.
pub(super) fn text<'s>(
    sections: &'s Sections<'_>,
    value: AttributeValue<Reader<'s>>,
) -> Option<&'s [u8]> {
    let table = |table: Reader<'s>, offset: usize| {
        let tail = table.slice().get(offset..)?;
        tail.get(..tail.iter().position(|byte| *byte == 0)?)
    };
    match value {
        AttributeValue::String(text) => Some(text.slice()),
        AttributeValue::DebugStrRef(offset) => table(sections.str(), offset.0),
        AttributeValue::DebugLineStrRef(offset) => table(sections.line_str(), offset.0),
        _ => None,
    }
}
