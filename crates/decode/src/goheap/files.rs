//! The files of the modules: the executable and the shared objects that hold plugins. Their
//! debug information and symbols name variables; nothing else is taken from them.
//!
//! A file on disk may be another one than the program loaded. One whose build ids are not
//! those in memory is not used: wrong names are worse than none.

use model::Addr;

use super::Input;
use super::modules::Module;
use crate::elf::Elf;
use crate::goruntime::MemoryImage;
use crate::symbols::variables::{self as debug, Variables};

/// A shared object that was mapped when the memory was taken.
#[derive(Clone, Copy, Debug)]
pub struct Library<'m> {
    /// Where its first byte lies.
    pub start: Addr,
    /// First address past its last mapping.
    pub end: Addr,
    /// Path as the process saw it.
    pub path: &'m str,
    /// Its bytes, if the file was found.
    pub file: Option<&'m [u8]>,
}

/// What a module's file tells.
pub(super) struct ModuleFile<'m> {
    /// The last part of its path; of plugins only.
    pub(super) name: &'m str,
    /// Difference between run-time and link-time addresses.
    pub(super) bias: u64,
    pub(super) elf: Option<Elf<'m>>,
    pub(super) debug: Option<Variables<'m>>,
}

/// A type of one module's debug information.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct DebugType {
    /// Index of the module.
    pub(super) module: usize,
    pub(super) id: debug::TypeId,
}

const NOTES: [&str; 2] = [".note.gnu.build-id", ".note.go.buildid"];
/// Larger notes are damage.
const NOTE_MAX: u64 = 4096;

/// The files of all modules, in their order; the executable's is the first.
pub(super) fn open<'m>(
    input: &Input<'_, 'm>,
    exe: &Elf<'m>,
    modules: &[Module<'_>],
    warnings: &mut Vec<String>,
) -> Vec<ModuleFile<'m>> {
    let debug = Variables::open(input.file, input.debug_file).ok().filter(Variables::has_any);
    if debug.is_none() {
        warnings.push("no debug information: variables have no names of their own".to_owned());
    }
    let bias = input.attached.bias.0;
    let mut files = vec![ModuleFile { name: "", bias, elf: Some(exe.clone()), debug }];
    for module in modules.iter().skip(1) {
        let file = plugin(input, module);
        if file.debug.is_none() {
            let name = if file.name.is_empty() { "a plugin" } else { file.name };
            let why = match file.elf {
                Some(_) => "has no debug information",
                None => "was not found, or is not the one that was loaded",
            };
            warnings.push(format!("{name} {why}: its variables have no names of their own"));
        }
        files.push(file);
    }
    files
}

fn plugin<'m>(input: &Input<'_, 'm>, module: &Module<'_>) -> ModuleFile<'m> {
    let holds = |found: &&Library<'m>| (found.start.0..found.end.0).contains(&module.text);
    let Some(library) = input.libraries.iter().find(holds) else {
        return ModuleFile { name: "", bias: 0, elf: None, debug: None };
    };
    let name = library.path.trim_end_matches(" (deleted)").rsplit('/').next().unwrap_or("");
    let mut found = ModuleFile { name, bias: 0, elf: None, debug: None };
    let Some(file) = library.file else { return found };
    let Ok(elf) = Elf::parse(file) else { return found };
    found.bias = library.start.0.wrapping_sub(elf.first_page().0);
    if is_loaded(&elf, found.bias, input.image) {
        found.debug = Variables::open(file, None).ok().filter(Variables::has_any);
        found.elf = Some(elf);
    }
    found
}

/// Reports whether memory has the build ids of a file, at the places where the file has them.
fn is_loaded(elf: &Elf<'_>, bias: u64, memory: &MemoryImage<'_>) -> bool {
    let mut notes = NOTES.iter().filter_map(|name| elf.section(name)).peekable();
    let is_same = |note: crate::elf::Section| {
        let bytes = elf.section_bytes(&note).filter(|_| (1..=NOTE_MAX).contains(&note.size));
        let loaded = memory.joined(Addr(note.addr.0.wrapping_add(bias)), note.size);
        bytes.is_some() && bytes == loaded.as_deref()
    };
    notes.peek().is_some() && notes.all(is_same)
}
