//! Package variables: those with a fixed address.

use std::collections::HashMap;

use gimli::constants as dw;
use model::Addr;

use super::entry::{Entry, Location};
use super::place::{Place, place};
use super::sections::Sections;
use super::types::{TypeId, bytes_max, size_of_value, type_id};
use super::units::{Budget, Unit, Units};

/// A package variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// With its package: `net/http.DefaultClient`.
    pub name: String,
    /// Link-time address.
    pub addr: Addr,
    /// Size.
    pub bytes: u64,
    /// Type.
    pub type_id: TypeId,
}

/// All package variables, by address.
#[derive(Clone, Debug, Default)]
pub struct Globals {
    variables: Vec<Variable>,
    /// The debug information is damaged, and variables may be missing.
    pub is_partial: bool,
}

impl Globals {
    /// All of them, by ascending address.
    pub fn all(&self) -> &[Variable] {
        &self.variables
    }

    /// The variable that an address lies in.
    pub fn at(&self, addr: Addr) -> Option<&Variable> {
        let after = self.variables.partition_point(|variable| variable.addr <= addr);
        // Variables without size share their address with the next.
        let before = self.variables.get(..after)?.last()?;
        (addr.0 - before.addr.0 < before.bytes).then_some(before)
    }

    /// The variable of this name: a search through all.
    pub fn named(&self, name: &str) -> Option<&Variable> {
        self.variables.iter().find(|variable| variable.name == name)
    }

    pub(super) fn read(sections: &Sections<'_>, units: &Units) -> Globals {
        let budget = Budget::new(bytes_max(sections));
        let (sizes, found) = (HashMap::default(), Vec::new());
        let mut lister = Lister { sections, units, budget, sizes, found };
        let mut is_partial = units.is_partial;
        for unit in units.iter() {
            is_partial |= lister.unit(unit).is_none();
        }
        is_partial |= lister.budget.left() == 0;
        let mut variables = lister.found;
        variables.sort_by(|a, b| (a.addr, a.bytes, &a.name).cmp(&(b.addr, b.bytes, &b.name)));
        variables.shrink_to_fit();
        Globals { variables, is_partial }
    }
}

struct Lister<'l, 'a> {
    sections: &'l Sections<'a>,
    units: &'l Units,
    budget: Budget,
    /// Sizes of the types that were met.
    sizes: HashMap<TypeId, u64, ahash::RandomState>,
    found: Vec<Variable>,
}

impl<'l> Lister<'l, '_> {
    /// Lists the variables of a unit; `None` when it is damaged.
    fn unit(&mut self, unit: &Unit) -> Option<()> {
        let header = unit.header(self.sections)?;
        let mut entries = unit.entries(&header)?;
        while !entries.is_empty() {
            let depth = entries.next_depth();
            let offset = unit.start.checked_add(entries.next_offset().0)?;
            let Some(abbreviation) = entries.read_abbreviation().ok()? else { continue };
            let (tag, specs) = (abbreviation.tag(), abbreviation.attributes());
            if depth != 1 || tag != dw::DW_TAG_variable {
                entries.skip_attributes(specs).ok()?;
                continue;
            }
            let entry = unit.entry(self.sections, &mut entries, offset, tag, specs)?;
            let variable = self.variable(unit, &entry);
            self.found.extend(variable);
        }
        Some(())
    }

    fn variable(&mut self, unit: &Unit, entry: &Entry<'l>) -> Option<Variable> {
        let Location::Everywhere(expression) = entry.location? else { return None };
        let Place::Address(addr) = place(expression, unit.encoding(), false).place else {
            return None;
        };
        let type_id = type_id(entry.type_ref?)?;
        let (sections, units, budget) = (self.sections, self.units, &self.budget);
        let size = || size_of_value(sections, units, type_id, budget);
        let bytes = *self.sizes.entry(type_id).or_insert_with(size);
        Some(Variable { name: entry.name(), addr, bytes, type_id })
    }
}
