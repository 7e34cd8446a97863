//! Variables of Go programs: any ELF file, or changes to the debug information of a real one.
//!
//! The first byte chooses a section. Changes are four bytes each: where (as a part of the
//! section's size) and the new byte. The real file is `MEMSIGHT_FUZZ_DEBUG`, with plain sections.
#![no_main]

use std::collections::HashSet;
use std::sync::LazyLock;

use decode::elf::{Elf, Section};
use decode::symbols::variables::{TypeId, TypeKind, Variables};
use libfuzzer_sys::fuzz_target;
use model::Addr;

const SECTIONS: [&str; 7] = ["info", "abbrev", "addr", "loc", "loclists", "ranges", "rnglists"];

static SUBJECT: LazyLock<Option<Subject>> = LazyLock::new(Subject::read);

/// A file, its sections of debug information, and addresses of code.
struct Subject {
    file: Vec<u8>,
    sections: Vec<Section>,
    code: Vec<Addr>,
}

impl Subject {
    fn read() -> Option<Subject> {
        let file = std::fs::read(std::env::var_os("MEMSIGHT_FUZZ_DEBUG")?).ok()?;
        let elf = Elf::parse(&file).ok()?;
        let sections =
            SECTIONS.iter().filter_map(|name| elf.section(&format!(".debug_{name}"))).collect();
        let wanted = ["main.main", "main.main.func1", "runtime.mallocgc", "runtime.gopark"];
        let code = elf.symbols(&wanted).into_iter().flatten();
        let code = code.map(|start| Addr(start.0 + 40)).collect();
        Some(Subject { file, sections, code })
    }

    fn changed(&self, data: &[u8]) -> Option<Vec<u8>> {
        let (choice, changes) = data.split_first()?;
        let section = &self.sections[usize::from(*choice) % self.sections.len()];
        let mut file = self.file.clone();
        for change in changes.chunks_exact(4) {
            let part = u32::from_le_bytes([change[0], change[1], change[2], 0]);
            let offset = (u64::from(part) * section.size) >> 24;
            file[(section.offset + offset) as usize] = change[3];
        }
        Some(file)
    }
}

fuzz_target!(|data: &[u8]| {
    ask(data, &[Addr(0), Addr(0x1000), Addr(0x40_1000), Addr(u64::MAX)]);
    let Some(subject) = SUBJECT.as_ref() else { return };
    if let Some(file) = subject.changed(data) {
        ask(&file, &subject.code);
    }
});

/// All questions, within memory that the input is worth.
fn ask(file: &[u8], code: &[Addr]) {
    let inflated = if inflates(file) { 1 << 30 } else { 0 };
    let bytes_max = (4 << 20) + inflated + 64 * file.len();
    memsight_fuzz::bounded(bytes_max, || {
        let Ok(variables) = Variables::open(file, None) else { return };
        for addr in code {
            for local in variables.locals_at(*addr) {
                variables.get(local.type_id);
            }
            variables.locals_of_caller(*addr);
            variables.captures(*addr);
            variables.globals().at(*addr);
        }
        variables.types_start();
        let globals = variables.globals().all().iter();
        walk(&variables, globals.map(|variable| variable.type_id).collect());
    });
}

/// Reports whether any section of debug information says that it is compressed.
fn inflates(file: &[u8]) -> bool {
    let Ok(elf) = Elf::parse(file) else { return false };
    let is_compressed = |name: &str| {
        let new = elf.section(&format!(".debug_{name}"));
        new.is_some_and(|section| section.flags & 0x800 != 0)
            || elf.section(&format!(".zdebug_{name}")).is_some()
    };
    SECTIONS.iter().chain(&["str", "line_str"]).any(|name| is_compressed(name))
}

/// Follows types, as far as a reader would.
fn walk(variables: &Variables<'_>, mut ids: Vec<TypeId>) {
    let mut seen = HashSet::new();
    while let Some(id) = ids.pop() {
        if seen.len() >= 10_000 || !seen.insert(id) {
            continue;
        }
        match &variables.get(id).kind {
            TypeKind::Pointer(Some(to)) | TypeKind::Slice(to) => ids.push(*to),
            TypeKind::Struct(fields) => {
                ids.extend(fields.iter().take(1000).map(|field| field.type_id));
            }
            TypeKind::Array { elem, .. } => ids.push(*elem),
            TypeKind::Map { key, elem, header } => {
                ids.extend([*key, *elem]);
                ids.extend(*header);
            }
            TypeKind::Chan { elem, header } => {
                ids.push(*elem);
                ids.extend(*header);
            }
            _ => {}
        }
    }
}
