//! Abbreviation tables, parsed as long as a budget lasts.
//!
//! Go writes one table for all its units, so it is parsed once and kept. C units have one each,
//! which is only looked into to learn that the unit is not Go's.

use std::collections::HashMap;
use std::sync::Arc;

use gimli::{Abbreviations, DebugAbbrevOffset, constants as dw};

use super::sections::Sections;
use crate::bytes::Bytes;

/// Bytes of abbreviation tables that are parsed at most.
const ABBREV_BYTES_MAX: usize = 64 << 20;
/// Go units share one table; a few more come from files that were linked together.
const ABBREV_TABLES_MAX: usize = 16;
/// One table at most; Go's has 400 bytes.
const ABBREV_TABLE_BYTES_MAX: usize = 1 << 20;
/// Attributes of one abbreviation at most; Go's have 12. Attributes may take no bytes in the
/// entries, so that without a limit a short file could hold years of work.
const ATTRIBUTES_MAX: usize = 64;

/// Abbreviation tables: parsed as long as the budget lasts, kept where Go units use them.
pub(super) struct Tables<'t, 'a> {
    sections: &'t Sections<'a>,
    kept: HashMap<usize, Arc<Abbreviations>>,
    bytes_left: usize,
    /// A table was damaged or too much.
    pub(super) is_partial: bool,
}

impl<'t, 'a> Tables<'t, 'a> {
    pub(super) fn new(sections: &'t Sections<'a>) -> Tables<'t, 'a> {
        let kept = HashMap::new();
        Tables { sections, kept, bytes_left: ABBREV_BYTES_MAX, is_partial: false }
    }

    pub(super) fn table(&mut self, offset: usize) -> Option<Arc<Abbreviations>> {
        if let Some(table) = self.kept.get(&offset) {
            return Some(table.clone());
        }
        let len = table_len(self.sections.abbrev_bytes(), offset);
        let is_room = |len: &usize| *len <= self.bytes_left && self.kept.len() < ABBREV_TABLES_MAX;
        let Some(len) = len.filter(is_room) else {
            self.is_partial = true;
            return None;
        };
        self.bytes_left -= len;
        let table = self.sections.abbrev().abbreviations(DebugAbbrevOffset(offset));
        table.ok().map(Arc::new)
    }

    pub(super) fn keep(&mut self, offset: usize, table: &Arc<Abbreviations>) {
        self.kept.entry(offset).or_insert_with(|| table.clone());
    }
}

/// How long an abbreviation table is: gimli parses to its end, wherever that is. `None` when
/// it is no table that a compiler writes.
fn table_len(bytes: &[u8], offset: usize) -> Option<usize> {
    let bytes = bytes.get(offset..)?;
    let bytes = Bytes(bytes.get(..bytes.len().min(ABBREV_TABLE_BYTES_MAX))?);
    let mut at = 0;
    let number = |at: &mut usize| {
        let (value, len) = bytes.uvarint(*at)?;
        *at += len;
        Some(value)
    };
    while number(&mut at)? != 0 {
        number(&mut at)?;
        at += 1;
        attributes_end(number, &mut at)?;
    }
    Some(at)
}

/// Moves behind the attributes of an abbreviation.
fn attributes_end(number: impl Fn(&mut usize) -> Option<u64>, at: &mut usize) -> Option<()> {
    for _ in 0..=ATTRIBUTES_MAX {
        let (name, form) = (number(at)?, number(at)?);
        // A constant in the table itself: signed, but of the same length.
        if form == u64::from(dw::DW_FORM_implicit_const.0) {
            number(at)?;
        }
        if name == 0 && form == 0 {
            return Some(());
        }
    }
    None
}
