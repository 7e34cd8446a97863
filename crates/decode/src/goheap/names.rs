//! Which variable a word of memory belongs to.

use std::rc::Rc;

use ahash::AHashMap;
use model::Addr;

use super::bounds::Room;
use super::files::{DebugType, ModuleFile};
use crate::bytes::Bytes;
use crate::elf::Elf;
use crate::symbols::variables::{Place, Variables};

/// A package variable.
#[derive(Clone, Debug)]
pub(super) struct Global {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) name: String,
    pub(super) of: Option<DebugType>,
}

/// A local variable of a frame.
#[derive(Clone, Debug)]
pub(super) struct Local {
    pub(super) name: String,
    pub(super) bytes: u64,
    /// Parts of it on the stack: offset in the variable, size, offset from the CFA.
    pub(super) places: Vec<(u64, u64, i64)>,
    pub(super) of: DebugType,
    /// What lies there is a pointer to the variable.
    pub(super) is_moved_to_heap: bool,
}

/// Names variables, by debug information or else by the symbol table of their module's
/// file. All addresses are those of the running program.
pub(super) struct Names<'m> {
    files: &'m [ModuleFile<'m>],
    /// Data symbols of each module: start, size, name.
    symbols: Vec<Vec<(u64, u64, &'m str)>>,
    locals: AHashMap<(u64, bool), Rc<Vec<Local>>>,
    /// Addresses and variables that may still be kept.
    room: Room,
}

/// Addresses and variables of which what was read is kept.
const KEPT_MAX: u64 = 1 << 20;

impl<'m> Names<'m> {
    pub(super) fn new(files: &'m [ModuleFile<'m>]) -> Names<'m> {
        let symbols = |file: &ModuleFile<'m>| file.elf.as_ref().map(data_symbols);
        let symbols = files.iter().map(|file| symbols(file).unwrap_or_default()).collect();
        Names { files, symbols, locals: AHashMap::new(), room: Room::of(KEPT_MAX) }
    }

    /// The last part of a plugin's path; empty for the program itself.
    pub(super) fn file(&self, module: usize) -> &'m str {
        self.files.get(module).map_or("", |file| file.name)
    }

    /// The package variable of a module that holds an address.
    pub(super) fn global(&self, module: usize, addr: u64) -> Option<Global> {
        let file = self.files.get(module)?;
        let linked = addr.checked_sub(file.bias)?;
        let known = file.debug.as_ref().and_then(|debug| debug.globals().at(Addr(linked)));
        let (start, bytes, name, of) = match known {
            Some(found) => {
                let of = DebugType { module, id: found.type_id };
                (found.addr.0, found.bytes, found.name.as_str(), Some(of))
            }
            None => {
                let symbols = self.symbols.get(module)?;
                let index = symbols.partition_point(|(start, ..)| *start <= linked);
                let (start, size, name) = *symbols.get(index.checked_sub(1)?)?;
                (start, size, name, None)
            }
        };
        let end = start.saturating_add(bytes);
        let at = |addr: u64| addr.saturating_add(file.bias);
        let global = Global { start: at(start), end: at(end), name: name.to_owned(), of };
        (linked < end).then_some(global)
    }

    /// The variables of the frame whose code is at `pc` of a module, in a call or not; inner
    /// blocks first.
    pub(super) fn locals(&mut self, module: usize, pc: u64, is_call: bool) -> Rc<Vec<Local>> {
        if let Some(found) = self.locals.get(&(pc, is_call)) {
            return Rc::clone(found);
        }
        let found = Rc::new(self.read_locals(module, pc, is_call).unwrap_or_default());
        if self.room.take(1 + found.len() as u64) {
            self.locals.insert((pc, is_call), Rc::clone(&found));
        }
        found
    }

    fn read_locals(&self, module: usize, pc: u64, is_call: bool) -> Option<Vec<Local>> {
        let file = self.files.get(module)?;
        let debug: &Variables<'_> = file.debug.as_ref()?;
        let pc = pc.checked_sub(file.bias)?;
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
            let (name, of) = (local.name, DebugType { module, id: local.type_id });
            let is_moved_to_heap = local.is_moved_to_heap;
            Local { name, bytes: size, places, of, is_moved_to_heap }
        };
        let locals = locals.into_iter().map(local);
        Some(locals.filter(|local| !local.places.is_empty()).collect())
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
