//! Which variable a word of memory belongs to.

use std::rc::Rc;

use ahash::AHashMap;
use model::Addr;

use crate::bytes::Bytes;
use crate::elf::Elf;
use crate::symbols::variables::{Place, TypeId, Variables};

/// A package variable.
#[derive(Clone, Debug)]
pub(super) struct Global {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) name: String,
    pub(super) of: Option<TypeId>,
}

/// A local variable of a frame.
#[derive(Clone, Debug)]
pub(super) struct Local {
    pub(super) name: String,
    pub(super) bytes: u64,
    /// Parts of it on the stack: offset in the variable, size, offset from the CFA.
    pub(super) places: Vec<(u64, u64, i64)>,
    pub(super) of: TypeId,
    /// What lies there is a pointer to the variable.
    pub(super) is_moved_to_heap: bool,
}

/// Names variables, by debug information or else by the symbol table. Link-time addresses.
pub(super) struct Names<'m> {
    debug: Option<&'m Variables<'m>>,
    /// Data symbols: start, size, name.
    symbols: Vec<(u64, u64, &'m str)>,
    locals: AHashMap<(u64, bool), Rc<Vec<Local>>>,
}

/// The addresses whose locals are kept.
const SITES_MAX: usize = 1 << 20;

impl<'m> Names<'m> {
    pub(super) fn new(elf: &Elf<'m>, debug: Option<&'m Variables<'m>>) -> Names<'m> {
        Names { debug, symbols: data_symbols(elf), locals: AHashMap::new() }
    }

    /// The package variable that holds an address.
    pub(super) fn global(&self, addr: u64) -> Option<Global> {
        let known = self.debug.and_then(|debug| debug.globals().at(Addr(addr)));
        if let Some(found) = known {
            let (start, name, of) = (found.addr.0, found.name.clone(), Some(found.type_id));
            return Some(Global { start, end: start.saturating_add(found.bytes), name, of });
        }
        let index = self.symbols.partition_point(|(start, ..)| *start <= addr).checked_sub(1)?;
        let (start, size, name) = *self.symbols.get(index)?;
        let end = start.saturating_add(size);
        (addr < end).then(|| Global { start, end, name: name.to_owned(), of: None })
    }

    /// The variables of the frame whose code is at `pc`, in a call or not; inner blocks
    /// first.
    pub(super) fn locals(&mut self, pc: u64, is_call: bool) -> Rc<Vec<Local>> {
        if let Some(found) = self.locals.get(&(pc, is_call)) {
            return Rc::clone(found);
        }
        let found = Rc::new(self.read_locals(pc, is_call));
        if self.locals.len() < SITES_MAX {
            self.locals.insert((pc, is_call), Rc::clone(&found));
        }
        found
    }

    fn read_locals(&self, pc: u64, is_call: bool) -> Vec<Local> {
        let Some(debug) = self.debug else { return Vec::new() };
        // `pc` lies in the call; no register survives it, and what is told for its end is
        // where variables are meanwhile.
        let mut locals = match is_call {
            true => debug.locals_of_caller(Addr(pc.saturating_add(1))),
            false => debug.locals_at(Addr(pc)),
        };
        locals.sort_by_key(|local| std::cmp::Reverse((local.inlined, local.depth)));
        let local = |local: crate::symbols::variables::Local| {
            let size = if local.is_moved_to_heap { 8 } else { debug.get(local.type_id).bytes };
            let places = match &local.place {
                Place::Frame(offset) => vec![(0, size, *offset)],
                Place::Pieces(pieces) => pieces
                    .iter()
                    .filter_map(|piece| match piece.place {
                        Place::Frame(offset) => Some((piece.offset, piece.bytes, offset)),
                        _ => None,
                    })
                    .collect(),
                _ => Vec::new(),
            };
            let (name, of) = (local.name, local.type_id);
            let is_moved_to_heap = local.is_moved_to_heap;
            Local { name, bytes: size, places, of, is_moved_to_heap }
        };
        locals.into_iter().map(local).filter(|local| !local.places.is_empty()).collect()
    }
}

/// Variables of the symbol table, by address.
fn data_symbols<'m>(elf: &Elf<'m>) -> Vec<(u64, u64, &'m str)> {
    const STT_OBJECT: u8 = 1;
    const NAME_MAX: usize = 4096;
    let Some((symbols, names)) = elf.symbol_table() else { return Vec::new() };
    let symbol = |entry: &[u8]| {
        let entry = Bytes(entry);
        let (start, size) = (entry.u64(8)?, entry.u64(16)?);
        let name = Bytes(names).c_str(entry.u32(0)? as usize, NAME_MAX)?;
        (entry.u8(4)? & 15 == STT_OBJECT && size > 0).then_some((start, size, name))
    };
    let mut found: Vec<_> = symbols.chunks_exact(24).filter_map(symbol).collect();
    found.sort_unstable();
    found
}
