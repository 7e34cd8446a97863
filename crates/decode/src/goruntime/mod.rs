//! The Go runtime's own structures, read from another process's memory.
//!
//! [`Binary`] is what the executable tells (once per file), [`Process`] joins it
//! with a running process. Nothing is written and nothing is stopped.

mod debugvars;
mod goroutines;
mod heap;
mod image;
mod layout;
mod locate;
mod memory;
mod metrics;
mod prologue;
mod stats;

pub use debugvars::DebugVariable;
pub use heap::{Bucket, Counts, HeapBuckets, NOW_COMMENT, ProfilePlace, scale_heap_sample};
pub use image::{MemoryImage, ThreadRegisters};
pub use locate::Variables;
pub use memory::{BlockCache, Memory, MemoryError};
pub use prologue::ProbePoint;

pub(crate) use goroutines::{is_alive, state as goroutine_state};
pub(crate) use layout::{Layout as RuntimeLayout, wait_reason};

use model::{Addr, GoVersion};

use crate::buildinfo::BuildInfo;
use crate::elf::{Elf, ElfError};
use crate::pclntab::{Pclntab, PclntabError};

/// Why the runtime cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RuntimeError {
    /// The executable is damaged or of another kind.
    #[error(transparent)]
    Elf(#[from] ElfError),
    /// No build information: not built by Go.
    #[error("not a Go program (no .go.buildinfo)")]
    NotGo,
    /// A release whose layout is not known.
    #[error("{0} is not supported; memsight reads Go 1.21 to 1.27")]
    UnsupportedVersion(String),
    /// No function table.
    #[error("no Go function table (.gopclntab) in the executable")]
    NoPclntab,
    /// The function table is damaged.
    #[error(transparent)]
    Pclntab(#[from] PclntabError),
    /// `runtime.firstmoduledata` was not found in memory.
    #[error("the module data of the Go runtime was not found in memory")]
    NoModuleData,
    /// A variable has no known address.
    #[error("{0} was not found: the binary is stripped and its code has an unknown shape")]
    NotFound(&'static str),
    /// The linker switched heap profiling off.
    #[error("the linker left heap profiling out of this program")]
    ProfilingDisabled,
    /// The program set `runtime.MemProfileRate` to 0 before it allocated.
    #[error("the program switched heap profiling off (runtime.MemProfileRate is 0)")]
    SamplingOff,
    /// The memory cannot be read.
    #[error(transparent)]
    Memory(#[from] MemoryError),
}

/// Difference between run-time and link-time addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bias(pub u64);

impl Bias {
    /// Link-time to run-time.
    pub fn apply(self, addr: Addr) -> Option<Addr> {
        addr.checked_add(self.0)
    }

    /// Run-time to link-time.
    pub fn remove(self, addr: Addr) -> Option<Addr> {
        addr.0.checked_sub(self.0).map(Addr)
    }
}

/// What a Go executable tells about itself. Cheap to keep: it holds no part of
/// the file, only addresses and texts.
#[derive(Clone, Debug)]
pub struct Binary {
    /// Version, module, settings.
    pub info: BuildInfo,
    /// Parsed version.
    pub version: GoVersion,
    /// Build id.
    pub build_id: Option<String>,
    /// Loaded where the kernel chooses.
    pub is_position_independent: bool,
    /// Lowest loaded address as linked, page aligned.
    pub first_load: Addr,
    /// Symbols of variables were found by name.
    pub has_symbols: bool,
    /// The processor it was built for, as ELF numbers them.
    machine: u16,
    variables: Variables,
    pclntab: (Addr, usize),
    module_data: Option<Addr>,
    module_data_sections: Vec<(Addr, usize)>,
    /// Where the program's variables are, as linked.
    writable: Vec<std::ops::Range<u64>>,
}

const SUPPORTED_MINOR: std::ops::RangeInclusive<u16> = 21..=27;
const PCLNTAB_NAMES: [&str; 2] = [".gopclntab", ".data.rel.ro.gopclntab"];
const MODULE_SECTIONS: [&str; 4] = [".go.module", ".noptrdata", ".data.rel.ro", ".data"];
const WRITABLE_SECTIONS: [&str; 4] = [".data", ".noptrdata", ".bss", ".noptrbss"];
const SECTION_MAX: u64 = 1 << 30;

impl Binary {
    /// Where in its g the runtime has the number of a goroutine.
    pub fn goid_offset(&self) -> u32 {
        layout::Layout::of(self.version).goid as u32
    }

    /// Reads an executable.
    ///
    /// # Errors
    /// When it is no Go program of a supported release.
    pub fn open(file: &[u8]) -> Result<Binary, RuntimeError> {
        let elf = Elf::parse(file)?;
        let info = BuildInfo::parse(&elf).ok_or(RuntimeError::NotGo)?;
        let unsupported = || RuntimeError::UnsupportedVersion(info.version.clone());
        let version = info.go_version().ok_or_else(unsupported)?;
        if !SUPPORTED_MINOR.contains(&version.minor) {
            return Err(unsupported());
        }
        let section = PCLNTAB_NAMES
            .iter()
            .find_map(|name| elf.section(name))
            .filter(|section| section.size < SECTION_MAX)
            .ok_or(RuntimeError::NoPclntab)?;
        let variables = Variables::by_symbols(&elf);
        let module_data = elf.symbols(&["runtime.firstmoduledata"]).first().copied().flatten();
        let module_data_sections = MODULE_SECTIONS
            .iter()
            .filter_map(|name| elf.section(name))
            .filter(|section| section.size < SECTION_MAX)
            .map(|section| (section.addr, section.size as usize))
            .collect();
        let writable = WRITABLE_SECTIONS.iter().filter_map(|name| elf.section(name));
        let writable = writable
            .map(|section| section.addr.0..section.addr.0.saturating_add(section.size))
            .collect();
        Ok(Binary {
            version,
            build_id: elf.build_id(),
            is_position_independent: elf.is_position_independent,
            first_load: elf.first_page(),
            has_symbols: variables.mbuckets.is_some(),
            machine: elf.machine,
            variables,
            pclntab: (section.addr, section.size as usize),
            module_data,
            module_data_sections,
            writable,
            info,
        })
    }

    /// Finds the module data and what only code tells of the variables: in stripped binaries
    /// all of them. Do it once per process and keep the result.
    ///
    /// # Errors
    /// When memory cannot be read or the module data is not there.
    pub fn attach(
        &self,
        file: &[u8],
        bias: Bias,
        memory: &impl Memory,
    ) -> Result<Attached, RuntimeError> {
        let module = self.find_module_data(bias, memory)?;
        let word = |offset: u64| {
            let addr = module.checked_add(offset).ok_or(RuntimeError::NoModuleData)?;
            memory.read_u64(addr).map_err(RuntimeError::from)
        };
        let text = bias.remove(Addr(word(176)?)).ok_or(RuntimeError::NoModuleData)?;
        let gofunc = word(layout::Layout::of(self.version).gofunc)?;
        let gofunc = bias.remove(Addr(gofunc)).ok_or(RuntimeError::NoModuleData)?;
        let mut attached =
            Attached { bias, text, gofunc, module_data: module, variables: self.variables };
        let elf = Elf::parse(file)?;
        match self.table(&elf, &attached) {
            Ok(table) => {
                attached.variables = self.variables.or_by_code(&elf, &table, self.version);
            }
            // Symbols have told most of it.
            Err(_) if self.variables.mbuckets.is_some() && self.variables.allgs.is_some() => {}
            Err(error) => return Err(error),
        }
        Ok(attached)
    }

    /// The function table, borrowed from the file.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn table<'a>(
        &self,
        elf: &Elf<'a>,
        attached: &Attached,
    ) -> Result<Pclntab<'a>, RuntimeError> {
        let (addr, size) = self.pclntab;
        let bytes = elf.bytes_at(addr).and_then(|bytes| bytes.get(..size));
        let bytes = bytes.ok_or(RuntimeError::NoPclntab)?;
        let gofunc = elf.bytes_at(attached.gofunc).unwrap_or(&[]);
        Ok(Pclntab::parse(bytes, attached.text, gofunc)?)
    }

    /// The module data starts with a pointer to the function table; that word is
    /// unique in its section.
    fn find_module_data(&self, bias: Bias, memory: &impl Memory) -> Result<Addr, RuntimeError> {
        let table = bias.apply(self.pclntab.0).ok_or(RuntimeError::NoModuleData)?;
        if let Some(addr) = self.module_data.and_then(|addr| bias.apply(addr)) {
            return match memory.read_u64(addr)? {
                word if word == table.0 => Ok(addr),
                _ => Err(RuntimeError::NoModuleData),
            };
        }
        let wanted = table.0.to_le_bytes();
        for &(start, size) in &self.module_data_sections {
            let start = bias.apply(start).ok_or(RuntimeError::NoModuleData)?;
            let bytes = memory.read_vec(start, size)?;
            if let Some(index) = bytes.chunks_exact(8).position(|word| word == wanted) {
                return start.checked_add(index as u64 * 8).ok_or(RuntimeError::NoModuleData);
            }
        }
        Err(RuntimeError::NoModuleData)
    }
}

/// A binary's data as its file has it.
struct FileMemory<'a, 'e>(&'e Elf<'a>);

impl Memory for FileMemory<'_, '_> {
    fn read(&self, addr: Addr, buffer: &mut [u8]) -> Result<(), MemoryError> {
        let bytes = self.0.bytes_at(addr).and_then(|bytes| bytes.get(..buffer.len()));
        let bytes = bytes.ok_or(MemoryError::Unmapped(addr))?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }
}

/// The function table of a Go binary that does not run; `None` for other binaries.
///
/// Position-independent ones get their pointers only when they are loaded; without
/// symbols their inlined calls cannot be told apart.
pub fn static_table<'a>(elf: &Elf<'a>, file: &[u8]) -> Option<Pclntab<'a>> {
    if let Ok(binary) = Binary::open(file)
        && let Ok(attached) = binary.attach(file, Bias::default(), &FileMemory(elf))
        && let Ok(table) = binary.table(elf, &attached)
    {
        return Some(table);
    }
    let section = PCLNTAB_NAMES.iter().find_map(|name| elf.section(name))?;
    let table = elf.section_bytes(&section)?;
    let found = elf.symbols(&["runtime.text", "go:func.*"]);
    let symbol = |index: usize| found.get(index).copied().flatten();
    let text = symbol(0).or_else(|| elf.section(".text").map(|section| section.addr))?;
    let gofunc = symbol(1).and_then(|addr| elf.bytes_at(addr)).unwrap_or(&[]);
    Pclntab::parse(table, text, gofunc).ok()
}

/// What is known of a binary once it runs: link-time addresses and the bias.
#[derive(Clone, Copy, Debug)]
pub struct Attached {
    /// Where it was loaded.
    pub bias: Bias,
    text: Addr,
    gofunc: Addr,
    /// `runtime.firstmoduledata`, where it is now.
    pub(crate) module_data: Addr,
    /// The runtime's variables.
    pub variables: Variables,
}

impl Attached {
    /// Where a variable is now.
    pub(crate) fn variable(
        &self,
        addr: Option<Addr>,
        name: &'static str,
    ) -> Result<Addr, RuntimeError> {
        addr.and_then(|addr| self.bias.apply(addr)).ok_or(RuntimeError::NotFound(name))
    }
}

/// A running Go program.
pub struct Process<'a, M: Memory> {
    /// What its executable tells.
    pub binary: &'a Binary,
    /// Where it was loaded.
    pub bias: Bias,
    /// The runtime's variables.
    pub variables: Variables,
    /// Its function table.
    pub table: Pclntab<'a>,
    memory: &'a M,
}

impl<'a, M: Memory> Process<'a, M> {
    /// Joins executable and process; `file` is the executable's bytes.
    ///
    /// # Errors
    /// When the executable is damaged.
    pub fn new(
        binary: &'a Binary,
        attached: &Attached,
        file: &'a [u8],
        memory: &'a M,
    ) -> Result<Process<'a, M>, RuntimeError> {
        let table = binary.table(&Elf::parse(file)?, attached)?;
        let (bias, variables) = (attached.bias, attached.variables);
        Ok(Process { binary, bias, variables, table, memory })
    }

    /// The memory it is read through.
    pub(crate) fn memory(&self) -> &'a M {
        self.memory
    }

    /// Where a variable is now.
    pub(crate) fn variable(
        &self,
        addr: Option<Addr>,
        name: &'static str,
    ) -> Result<Addr, RuntimeError> {
        addr.and_then(|addr| self.bias.apply(addr)).ok_or(RuntimeError::NotFound(name))
    }
}
