//! The modules of a program: its own code and data, and those of its plugins.
//!
//! Source: runtime/symtab.go (moduledata).

use std::borrow::Cow;

use model::Addr;

use super::layout::Layout;
use crate::bytes::Bytes;
use crate::goruntime::{Memory, MemoryImage};
use crate::pclntab::Pclntab;

/// A part of memory with a bit a word that says where pointers are.
#[derive(Clone, Debug)]
pub(super) struct Region<'a> {
    pub(super) start: u64,
    pub(super) bytes: Cow<'a, [u8]>,
    pub(super) mask: &'a [u8],
}

impl Region<'_> {
    pub(super) fn has(&self, addr: u64) -> bool {
        addr.checked_sub(self.start).is_some_and(|offset| offset < self.bytes.len() as u64)
    }

    fn overlaps(&self, start: u64, end: u64) -> bool {
        start < self.start.saturating_add(self.bytes.len() as u64) && self.start < end
    }
}

/// A module's tables, at run-time addresses.
#[derive(Clone)]
pub(super) struct Module<'a> {
    pub(super) text: u64,
    pub(super) etext: u64,
    pub(super) types: u64,
    pub(super) etypes: u64,
    pub(super) rodata: u64,
    /// Data and bss.
    pub(super) regions: Vec<Region<'a>>,
    pub(super) table: Option<Pclntab<'a>>,
}

/// Plugins are few; a longer list is damage.
const MODULES_MAX: usize = 1000;

/// Reads the list that starts at `first`, `runtime.firstmoduledata`.
pub(super) fn read<'a>(
    memory: &MemoryImage<'a>,
    first: Addr,
    layout: &Layout,
    warnings: &mut Vec<String>,
) -> Vec<Module<'a>> {
    let mut modules = Vec::new();
    let mut next = first;
    while !next.is_nil() && modules.len() < MODULES_MAX {
        let Some(module) = module(memory, next, layout, &modules, warnings) else {
            warnings.push(format!("the module data at {next} could not be read"));
            break;
        };
        modules.push(module);
        let link = next.checked_add(layout.next_module);
        next = Addr(link.and_then(|link| memory.read_u64(link).ok()).unwrap_or(0));
    }
    modules
}

fn module<'a>(
    memory: &MemoryImage<'a>,
    at: Addr,
    layout: &Layout,
    known: &[Module<'a>],
    warnings: &mut Vec<String>,
) -> Option<Module<'a>> {
    let data = Bytes(memory.slice(at, layout.next_module + 8)?);
    let word = |offset: u64| data.u64(offset as usize);
    let (text, etext, gofunc) = (word(176)?, word(184)?, word(layout.gofunc)?);
    // A list that runs in a circle, or memory that counts twice.
    if known.iter().any(|known| text < known.etext && known.text < etext) {
        return None;
    }
    let gofunc = memory.tail(Addr(gofunc)).unwrap_or(&[]);
    let header = memory.tail(Addr(word(0)?)).unwrap_or(&[]);
    let table = Pclntab::parse(header, Addr(text), gofunc);
    if let Err(error) = &table {
        warnings.push(format!("the functions of the module at {at} are unknown: {error}"));
    }
    let mut regions = Vec::new();
    // data and gcdatamask, bss and gcbssmask.
    for (bounds, mask) in [(208, layout.gcdatamask), (224, layout.gcdatamask + 16)] {
        let (start, end) = (word(bounds)?, word(bounds + 8)?);
        let bits = word(mask)? as u32;
        let mask = memory.slice(Addr(word(mask + 8)?), u64::from(bits).div_ceil(8));
        let others = known.iter().flat_map(|module| &module.regions).chain(&regions);
        let is_apart = others.into_iter().all(|other| !other.overlaps(start, end));
        // The end of .data and .bss are mapped apart.
        let len = end.checked_sub(start)?;
        match (is_apart.then(|| memory.joined(Addr(start), len)).flatten(), mask) {
            (Some(bytes), Some(mask)) => regions.push(Region { start, bytes, mask }),
            _ if start == end => {}
            _ => warnings.push(format!("the variables at {start:#x} could not be read")),
        }
    }
    Some(Module {
        text,
        etext,
        types: word(296)?,
        etypes: word(layout.etypes)?,
        rodata: word(layout.rodata)?,
        regions,
        table: table.ok(),
    })
}

impl Module<'_> {
    pub(super) fn has_code(&self, pc: u64) -> bool {
        (self.text..self.etext).contains(&pc)
    }

    pub(super) fn has_type(&self, addr: u64) -> bool {
        (self.types..self.etypes).contains(&addr)
    }
}
