//! Which function's entries speak of a code address.
//!
//! The units' ranges lead to the unit, whose functions are listed when one of them is first
//! asked for: a question about one package never reads the entries of another.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use gimli::constants as dw;

use super::entry::Entry;
use super::sections::Sections;
use super::units::{LIST_ENTRIES_MAX, Unit, Units};

/// Code of a unit, or of a function in it.
#[derive(Clone, Copy)]
struct Code {
    begin: u64,
    end: u64,
    /// Index of the unit; or where the function's entry is.
    what: usize,
}

/// Functions by address, as far as they were asked for.
#[derive(Default)]
pub(super) struct Functions {
    units: OnceLock<Vec<Code>>,
    listed: Mutex<HashMap<usize, Arc<[Code]>, ahash::RandomState>>,
}

impl Functions {
    /// The function that holds `pc`: its unit, and where its entry is.
    pub(super) fn at<'u>(
        &self,
        sections: &Sections<'_>,
        units: &'u Units,
        pc: u64,
    ) -> Option<(&'u Unit, usize)> {
        let ranges = self.units.get_or_init(|| unit_code(sections, units));
        let index = holding(ranges, pc)?.what;
        let unit = units.get(index)?;
        // Nothing can panic while the lock is held.
        let lock = || self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        let known = lock().get(&index).cloned();
        let listed = known.unwrap_or_else(|| {
            let listed: Arc<[Code]> = function_code(sections, unit).into();
            lock().insert(index, listed.clone());
            listed
        });
        holding(&listed, pc).map(|function| (unit, function.what))
    }
}

fn holding(sorted: &[Code], pc: u64) -> Option<&Code> {
    let after = sorted.partition_point(|code| code.begin <= pc);
    sorted.get(..after)?.last().filter(|code| pc < code.end)
}

fn unit_code(sections: &Sections<'_>, units: &Units) -> Vec<Code> {
    let mut budget = LIST_ENTRIES_MAX;
    let mut found = Vec::new();
    for (index, unit) in units.iter().enumerate() {
        let ranges = unit.code(sections, &mut budget).into_iter();
        found.extend(ranges.map(|range| Code { begin: range.begin, end: range.end, what: index }));
    }
    found.sort_by_key(|code| code.begin);
    found.shrink_to_fit();
    found
}

/// The functions of a unit, as far as it is not damaged.
fn function_code(sections: &Sections<'_>, unit: &Unit) -> Vec<Code> {
    let mut found = Vec::new();
    list(sections, unit, &mut found);
    found.sort_by_key(|code| code.begin);
    found
}

fn list(sections: &Sections<'_>, unit: &Unit, found: &mut Vec<Code>) -> Option<()> {
    let header = unit.header(sections)?;
    let mut entries = unit.entries(&header)?;
    while !entries.is_empty() {
        let depth = entries.next_depth();
        let offset = unit.start.checked_add(entries.next_offset().0)?;
        let Some(abbreviation) = entries.read_abbreviation().ok()? else { continue };
        let (tag, specs) = (abbreviation.tag(), abbreviation.attributes());
        if depth != 1 || tag != dw::DW_TAG_subprogram {
            entries.skip_attributes(specs).ok()?;
            continue;
        }
        let entry = unit.entry(sections, &mut entries, offset, tag, specs)?;
        let code = entry.code();
        found.extend(code.map(|range| Code { begin: range.begin, end: range.end, what: offset }));
    }
    Some(())
}

/// What to do after an entry was seen.
pub(super) enum Walk {
    /// Go on, into its children.
    Into,
    /// Go on behind its children.
    Over,
    /// End.
    Stop,
}

/// Visits the entries of a function in their order, with their depth in it. `None` when the
/// entries are damaged; what was visited before stands.
pub(super) fn walk<'s>(
    sections: &'s Sections<'_>,
    unit: &Unit,
    function: usize,
    mut visit: impl FnMut(&Entry<'s>, isize) -> Walk,
) -> Option<()> {
    let header = unit.header(sections)?;
    let mut entries = unit.entries_from(&header, function)?;
    let mut skipped: Option<isize> = None;
    while !entries.is_empty() {
        let depth = entries.next_depth();
        let offset = unit.start.checked_add(entries.next_offset().0)?;
        if depth <= 0 && offset != function {
            break;
        }
        let Some(abbreviation) = entries.read_abbreviation().ok()? else { continue };
        let (tag, specs) = (abbreviation.tag(), abbreviation.attributes());
        if skipped.is_some_and(|above| depth > above) {
            entries.skip_attributes(specs).ok()?;
            continue;
        }
        let entry = unit.entry(sections, &mut entries, offset, tag, specs)?;
        skipped = match visit(&entry, depth) {
            Walk::Into => None,
            Walk::Over => Some(depth),
            Walk::Stop => break,
        };
    }
    Some(())
}
