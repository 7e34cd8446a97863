//! What debug information (DWARF 4 and 5) tells about the variables of a Go program: package
//! variables, locals by code address, what closures captured, and their types.
//!
//! Opening reads the ELF headers only. Sections are inflated when they are first needed;
//! [`Variables::globals`] reads every entry once, everything else only what it is asked for.
//! Types are decoded one by one. Compressed sections cost their size in memory, plain ones
//! nothing.
//!
//! All addresses are link-time ones. A stripped binary gives empty answers. Damaged debug
//! information gives what could be read before the damage. C's variables (cgo) are left out.

mod abbreviations;
mod entry;
mod functions;
mod globals;
mod locals;
mod place;
mod sections;
mod types;
mod units;

use std::sync::{Arc, OnceLock};

use model::Addr;

use crate::elf::{Elf, ElfError};
use functions::Functions;
pub use globals::{Globals, Variable};
use locals::Reading;
pub use locals::{Capture, Local};
pub use place::{Piece, Place};
use sections::Sections;
use types::Types;
pub use types::{Field, RuntimeTypeOffset, TypeId, TypeKind, VarType};
use units::{Budget, Units};

/// Entries that those of one function refer to may take so many bytes.
const REFERRED_BYTES_MAX: usize = 64 << 20;

/// The variables of a Go program. It may be asked from several threads.
pub struct Variables<'a> {
    elf: Elf<'a>,
    sections: Sections<'a>,
    units: OnceLock<Units>,
    globals: OnceLock<Globals>,
    types: Types,
    functions: Functions,
    types_start: OnceLock<Option<Addr>>,
}

impl<'a> Variables<'a> {
    /// Opens a binary. `debug` is a file that holds its debug information instead.
    ///
    /// # Errors
    /// When it is no ELF file that can be read.
    ///
    /// # Examples
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use decode::symbols::variables::Variables;
    ///
    /// let file = std::fs::read("service")?;
    /// let variables = Variables::open(&file, None)?;
    /// for global in variables.globals().all() {
    ///     let kind = variables.get(global.type_id);
    ///     println!("{} {} {} bytes: {}", global.addr, global.name, global.bytes, kind.name);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn open(file: &'a [u8], debug: Option<&'a [u8]>) -> Result<Variables<'a>, ElfError> {
        let elf = Elf::parse(file)?;
        let debug = debug.map(Elf::parse).transpose()?;
        let source = debug.as_ref().unwrap_or(&elf).clone();
        Ok(Variables {
            sections: Sections::new(source.clone()),
            // Symbols are stripped together with the debug information.
            elf: source,
            units: OnceLock::new(),
            globals: OnceLock::new(),
            types: Types::default(),
            functions: Functions::default(),
            types_start: OnceLock::new(),
        })
    }

    /// Reports whether there is debug information of Go code at all.
    pub fn has_any(&self) -> bool {
        self.units().iter().next().is_some()
    }

    /// All package variables. The first call reads all entries of the debug information.
    pub fn globals(&self) -> &Globals {
        self.globals.get_or_init(|| Globals::read(&self.sections, self.units()))
    }

    /// A type. What no type stands for gives one of kind [`TypeKind::Unknown`].
    pub fn get(&self, id: TypeId) -> Arc<VarType> {
        self.types.get(&self.sections, self.units(), id)
    }

    /// The parameters and locals of the function that holds `pc`, and of the functions that
    /// are inlined there, in the order of the debug information: outer blocks first.
    ///
    /// `pc` is the next instruction of a thread that was interrupted there. For frames that
    /// called something use [`Variables::locals_of_caller`]. Reads the entries of one
    /// function, so the answer for an address should be kept.
    pub fn locals_at(&self, pc: Addr) -> Vec<Local> {
        self.at(pc, |reading, function| locals::locals(reading, function, pc.0, None))
    }

    /// The same for a frame that waits for a call to return to `return_address`. No place is
    /// a register: the call may have overwritten them all.
    pub fn locals_of_caller(&self, return_address: Addr) -> Vec<Local> {
        let Some(call) = return_address.0.checked_sub(1) else { return Vec::new() };
        let behind = Some(return_address.0);
        self.at(Addr(call), |reading, function| locals::locals(reading, function, call, behind))
    }

    /// What closures whose code is at `code` captured, by offset: since Go 1.23, and neither
    /// for closures that are also inlined somewhere (their entries tell no offsets) nor for
    /// variables that the optimiser took apart.
    pub fn captures(&self, code: Addr) -> Vec<Capture> {
        self.at(code, locals::captures)
    }

    /// `moduledata.types` at link time, which [`RuntimeTypeOffset`] counts from. From the
    /// symbol table, so `None` where that is stripped.
    pub fn types_start(&self) -> Option<Addr> {
        let read = || self.elf.symbols(&["runtime.types"]).into_iter().next().flatten();
        *self.types_start.get_or_init(read)
    }

    fn units(&self) -> &Units {
        self.units.get_or_init(|| Units::read(&self.sections))
    }

    fn at<T>(&self, pc: Addr, read: impl FnOnce(&Reading<'_, '_>, usize) -> Vec<T>) -> Vec<T> {
        let (sections, units) = (&self.sections, self.units());
        let Some((unit, function)) = self.functions.at(sections, units, pc.0) else {
            return Vec::new();
        };
        let budget = Budget::new(REFERRED_BYTES_MAX);
        read(&Reading { sections, units, unit, budget }, function)
    }
}
