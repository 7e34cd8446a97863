//! Parameters, locals and captured variables of functions.

use std::sync::Arc;

use gimli::{Range, constants as dw};
use model::Addr;

use super::entry::{Entry, Location};
use super::functions::{Walk, walk};
use super::place::{Found, Place, is_cfa, place};
use super::sections::Sections;
use super::types::{TypeId, type_id};
use super::units::{Budget, LIST_ENTRIES_MAX, Unit, Units};

/// Variables of one function at most.
const LOCALS_MAX: usize = 1 << 16;
/// Blocks within blocks at most.
const SCOPES_MAX: usize = 1 << 10;

/// A parameter or local variable, as it is while the code at an address runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    /// As in source; results without a name are `~r0`, `~r1`.
    pub name: String,
    /// The function that declares it: an inlined one, or the one whose frame it is.
    pub function: Arc<str>,
    /// How many inlined calls deep that function is; 0 for the frame's own.
    pub inlined: u32,
    /// Line of the declaration; 0 when unknown (parameters of inlined functions).
    pub line: u32,
    /// Where it is; with `is_moved_to_heap` where the pointer to it is.
    pub place: Place,
    /// Type of the variable.
    pub type_id: TypeId,
    /// A parameter, a receiver or a result.
    pub is_parameter: bool,
    /// A result.
    pub is_result: bool,
    /// It escapes: the frame holds a pointer to a heap object that is the variable.
    pub is_moved_to_heap: bool,
    /// How many blocks deep the declaration is; a deeper one hides others of its name.
    pub depth: u32,
    /// The code around the address that its block covers.
    pub scope: (Addr, Addr),
}

/// A variable that a closure captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capture {
    /// As in source.
    pub name: String,
    /// Bytes into the closure object, whose first word is the code's address.
    pub offset: u64,
    /// Type of the variable.
    pub type_id: TypeId,
    /// The closure object holds a pointer to it.
    pub is_by_reference: bool,
}

/// A function, a block or an inlined call around the entries that follow.
#[derive(Clone)]
struct Scope {
    depth: isize,
    function: Arc<str>,
    inlined: u32,
    blocks: u32,
    code: Range,
}

pub(super) struct Reading<'r, 'a> {
    pub(super) sections: &'r Sections<'a>,
    pub(super) units: &'r Units,
    pub(super) unit: &'r Unit,
    /// For what entries refer to.
    pub(super) budget: Budget,
}

/// The variables of the function whose entry is at `function`, seen from `pc`; while the call
/// that returns to `behind` runs.
pub(super) fn locals(
    reading: &Reading<'_, '_>,
    function: usize,
    pc: u64,
    behind: Option<u64>,
) -> Vec<Local> {
    let mut walker = Walker {
        reading,
        pc,
        behind,
        budget: LIST_ENTRIES_MAX,
        is_frame_cfa: false,
        scopes: Vec::new(),
        found: Vec::new(),
    };
    walk(reading.sections, reading.unit, function, |entry, depth| walker.visit(entry, depth));
    walker.found
}

/// What the closures of the function whose entry is at `function` captured, by offset.
pub(super) fn captures(reading: &Reading<'_, '_>, function: usize) -> Vec<Capture> {
    let mut found: Vec<Capture> = Vec::new();
    walk(reading.sections, reading.unit, function, |entry, _| {
        if entry.tag == dw::DW_TAG_inlined_subroutine {
            return Walk::Over;
        }
        found.extend(reading.capture(entry));
        if found.len() < LOCALS_MAX { Walk::Into } else { Walk::Stop }
    });
    found.sort_by(|a, b| (a.offset, &a.name).cmp(&(b.offset, &b.name)));
    found.dedup();
    found
}

struct Walker<'w, 'r, 'a> {
    reading: &'w Reading<'r, 'a>,
    pc: u64,
    behind: Option<u64>,
    /// List entries that may still be read.
    budget: usize,
    is_frame_cfa: bool,
    scopes: Vec<Scope>,
    found: Vec<Local>,
}

impl<'r> Walker<'_, 'r, '_> {
    fn visit(&mut self, entry: &Entry<'r>, depth: isize) -> Walk {
        while self.scopes.last().is_some_and(|scope| scope.depth >= depth) {
            self.scopes.pop();
        }
        match entry.tag {
            dw::DW_TAG_subprogram if self.scopes.is_empty() => self.function(entry, depth),
            dw::DW_TAG_lexical_block | dw::DW_TAG_inlined_subroutine => self.block(entry, depth),
            dw::DW_TAG_variable | dw::DW_TAG_formal_parameter => {
                let local = self.local(entry);
                self.found.extend(local);
                if self.found.len() < LOCALS_MAX { Walk::Over } else { Walk::Stop }
            }
            _ => Walk::Over,
        }
    }

    fn function(&mut self, entry: &Entry<'r>, depth: isize) -> Walk {
        let Some(code) = entry.code() else { return Walk::Stop };
        let encoding = self.reading.unit.encoding();
        self.is_frame_cfa = entry.frame_base.is_some_and(|base| is_cfa(base, encoding));
        let function = self.reading.name(entry).into();
        self.scopes.push(Scope { depth, function, inlined: 0, blocks: 0, code });
        Walk::Into
    }

    fn block(&mut self, entry: &Entry<'r>, depth: isize) -> Walk {
        let Some(outer) = self.scopes.last().cloned() else { return Walk::Stop };
        if self.scopes.len() >= SCOPES_MAX {
            return Walk::Over;
        }
        let Some(code) = self.code_here(entry) else { return Walk::Over };
        let mut inner = Scope { depth, code, blocks: outer.blocks.saturating_add(1), ..outer };
        if entry.tag == dw::DW_TAG_inlined_subroutine {
            inner.function = self.reading.name(entry).into();
            inner.inlined = inner.inlined.saturating_add(1);
        }
        self.scopes.push(inner);
        Walk::Into
    }

    /// The range of the block that holds the address.
    fn code_here(&mut self, entry: &Entry<'r>) -> Option<Range> {
        let Reading { sections, unit, .. } = *self.reading;
        let ranges = match entry.ranges {
            Some(offset) => unit.ranges(sections, offset, &mut self.budget),
            None => entry.code().into_iter().collect(),
        };
        ranges.into_iter().find(|range| (range.begin..range.end).contains(&self.pc))
    }

    fn local(&mut self, entry: &Entry<'r>) -> Option<Local> {
        let Found { place, is_pointer } = self.place(entry);
        let scope = self.scopes.last()?;
        let named = self.reading.named(entry)?;
        Some(Local {
            name: named.name,
            function: scope.function.clone(),
            inlined: scope.inlined,
            line: named.line,
            place,
            type_id: named.type_id,
            is_parameter: entry.tag == dw::DW_TAG_formal_parameter,
            is_result: named.is_result,
            is_moved_to_heap: named.is_reference || is_pointer,
            depth: scope.blocks,
            scope: (Addr(scope.code.begin), Addr(scope.code.end)),
        })
    }

    fn place(&mut self, entry: &Entry<'r>) -> Found {
        let found = self.place_at(entry, self.pc);
        let Some(behind) = self.behind else { return found };
        let is_list = matches!(entry.location, Some(Location::List(_)));
        let other = if is_list { self.place_at(entry, behind).place } else { Place::Nowhere };
        Found { place: found.place.during_call(&other), ..found }
    }

    fn place_at(&mut self, entry: &Entry<'r>, pc: u64) -> Found {
        let Reading { sections, unit, .. } = *self.reading;
        let expression = match entry.location {
            Some(Location::Everywhere(expression)) => Some(expression),
            Some(Location::List(list)) => unit.expression_at(sections, list, pc, &mut self.budget),
            None => None,
        };
        let place = |expression| place(expression, unit.encoding(), self.is_frame_cfa);
        expression.map(place).unwrap_or_default()
    }
}

/// What an entry, or the one it refers to, says of a variable.
struct Named {
    name: String,
    type_id: TypeId,
    line: u32,
    is_result: bool,
    /// Go writes `&name`, and the type of a pointer, for what is elsewhere.
    is_reference: bool,
}

impl<'r> Reading<'r, '_> {
    fn entry(&self, offset: usize) -> Option<Entry<'r>> {
        self.units.entry(self.sections, offset, &self.budget)
    }

    /// The name of a function, which may be told where its abstract entry is.
    fn name(&self, entry: &Entry<'r>) -> String {
        let origin = || self.entry(entry.origin?).map(|origin| origin.name());
        if entry.name.is_some() { entry.name() } else { origin().unwrap_or_default() }
    }

    fn named(&self, entry: &Entry<'r>) -> Option<Named> {
        let origin = entry.origin.and_then(|offset| self.entry(offset));
        let told = origin.as_ref().unwrap_or(entry);
        let name = told.name();
        let line = entry.line.or(told.line).and_then(|line| line.try_into().ok());
        let mut type_ref = told.type_ref?;
        let source_name = name.strip_prefix('&');
        if source_name.is_some() {
            type_ref = self.entry(type_ref)?.type_ref?;
        }
        Some(Named {
            type_id: type_id(type_ref)?,
            line: line.unwrap_or(0),
            is_result: told.is_result,
            is_reference: source_name.is_some(),
            name: source_name.map(str::to_owned).unwrap_or(name),
        })
    }

    fn capture(&self, entry: &Entry<'r>) -> Option<Capture> {
        let offset = entry.closure_offset?;
        let named = self.named(entry)?;
        let (name, type_id) = (named.name, named.type_id);
        Some(Capture { name, offset, type_id, is_by_reference: named.is_reference })
    }
}
