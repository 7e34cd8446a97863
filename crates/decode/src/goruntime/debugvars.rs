//! Where the variables behind GODEBUG lie, by the table that the runtime itself looks them up
//! in (`runtime.dbgvars`). It names them, so that it is found in stripped binaries too, and
//! no layout of `runtime.debug` need be known, which is another in each release.

use model::Addr;

use super::memory::Memory;
use super::{Process, RuntimeError};
use crate::bytes::Bytes;

/// An entry: name (address and length), pointer to an int32, pointer to an atomic one, default.
/// One of the pointers is nil. Alike in Go 1.21 to 1.27.
const ENTRY_BYTES: usize = 40;

/// Data of programs is a few MiB; more than this is not searched.
const SECTION_MAX: usize = 256 << 20;

/// A variable of 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DebugVariable {
    /// Where it lies in the process.
    pub address: Addr,
    /// What it holds.
    pub value: i32,
    /// The runtime expects it to change while it runs.
    pub is_atomic: bool,
}

impl<M: Memory> Process<'_, M> {
    /// Finds a variable by its name in GODEBUG; `None` when this runtime has none of it.
    ///
    /// # Errors
    /// When memory cannot be read.
    pub fn debug_variable(&self, name: &str) -> Result<Option<DebugVariable>, RuntimeError> {
        for &(start, size) in &self.binary.module_data_sections {
            let Some(start) = self.bias.apply(start) else { continue };
            let data = self.memory.read_vec(start, size.min(SECTION_MAX))?;
            let bytes = Bytes(&data);
            let last = data.len().saturating_sub(ENTRY_BYTES);
            for at in (0..=last).step_by(8) {
                if bytes.u64(at + 8) != Some(name.len() as u64) {
                    continue;
                }
                let word = |offset| bytes.u64(at + offset).unwrap_or(0);
                let (plain, atomic) = (word(16), word(24));
                let address = match (plain, atomic) {
                    (0, address) | (address, 0) if address != 0 => Addr(address),
                    _ => continue,
                };
                if !self.reads(Addr(word(0)), name) || !self.is_variable(address) {
                    continue;
                }
                let value = self.memory.read_u32(address)?.cast_signed();
                return Ok(Some(DebugVariable { address, value, is_atomic: atomic != 0 }));
            }
        }
        Ok(None)
    }

    fn reads(&self, address: Addr, text: &str) -> bool {
        let found = self.memory.read_vec(address, text.len());
        found.is_ok_and(|found| found == text.as_bytes())
    }

    /// Whether a word of 32 bits that the program may write to lies here.
    fn is_variable(&self, address: Addr) -> bool {
        let linked = self.bias.remove(address);
        let is_within = |range: &std::ops::Range<u64>| {
            linked.is_some_and(|linked| range.contains(&linked.0) && linked.0 + 4 <= range.end)
        };
        address.0.is_multiple_of(4) && self.binary.writable.iter().any(is_within)
    }
}
