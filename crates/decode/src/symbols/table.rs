//! The ELF symbol tables by address.

use crate::bytes::Bytes;
use crate::elf::Elf;

/// Longest name that is believed.
const NAME_MAX: usize = 1 << 16;
/// Longest name that is compared with the others of an address.
const SORTED_NAME_MAX: usize = 1 << 10;

/// Functions by address.
#[derive(Default)]
pub(super) struct SymbolTable<'a> {
    /// Start, end, offset of the name; by start.
    functions: Vec<(u64, u64, u32)>,
    names: &'a [u8],
}

impl<'a> SymbolTable<'a> {
    /// The functions of a file that is not stripped.
    pub(super) fn read(elf: &Elf<'a>) -> SymbolTable<'a> {
        elf.symbol_table().map_or_else(SymbolTable::default, SymbolTable::of)
    }

    /// The functions that a file exports, which a stripped one has too. Those without a size are
    /// left out: what lies behind them may be anything. Of several names the plain one counts
    /// (`malloc`, not `__libc_malloc`).
    pub(super) fn read_exports(elf: &Elf<'a>) -> SymbolTable<'a> {
        let mut table = elf.export_table().map_or_else(SymbolTable::default, SymbolTable::of);
        table.functions.retain(|(_, end, _)| *end != u64::MAX);
        let names = Bytes(table.names);
        table.functions.sort_by_cached_key(|&(start, end, name)| {
            let name = names.c_str(name as usize, SORTED_NAME_MAX).unwrap_or_default();
            // The last one counts.
            (start, end, !name.starts_with('_'), std::cmp::Reverse(name.len()), name)
        });
        table
    }

    fn of((symbols, names): (&'a [u8], &'a [u8])) -> SymbolTable<'a> {
        let mut functions = Vec::new();
        for entry in symbols.chunks_exact(24) {
            let entry = Bytes(entry);
            let is_function = entry.u8(4).is_some_and(|info| matches!(info & 15, 2 | 10));
            let (Some(name), Some(start), Some(size)) = (entry.u32(0), entry.u64(8), entry.u64(16))
            else {
                continue;
            };
            if is_function && start != 0 {
                // Hand-written code often has no size: it ends where the next begins.
                let end = if size == 0 { u64::MAX } else { start.saturating_add(size) };
                functions.push((start, end, name));
            }
        }
        functions.sort_unstable();
        SymbolTable { functions, names }
    }

    /// The function that holds `address`.
    pub(super) fn at(&self, address: u64) -> Option<&'a str> {
        let after = self.functions.partition_point(|(start, ..)| *start <= address);
        let (_, end, name) = *self.functions.get(after.checked_sub(1)?)?;
        (address < end).then(|| Bytes(self.names).c_str(name as usize, NAME_MAX))?
    }
}

/// Every named symbol with an address: start, size, name.
pub(super) fn all(elf: &Elf<'_>) -> Vec<(u64, u64, String)> {
    let Some((symbols, names)) = elf.symbol_table() else { return Vec::new() };
    let named = symbols.chunks_exact(24).filter_map(|entry| {
        let entry = Bytes(entry);
        let name = Bytes(names).c_str(entry.u32(0)? as usize, NAME_MAX)?;
        let (start, size) = (entry.u64(8)?, entry.u64(16)?);
        (start != 0 && !name.is_empty()).then(|| (start, size, name.to_owned()))
    });
    let mut all: Vec<_> = named.collect();
    all.sort();
    all
}
