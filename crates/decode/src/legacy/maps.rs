//! Memory maps at the end of profiles: /proc/PID/maps and a brief form, also behind
//! log prefixes and with `$name` substitution.

use model::profile::Mapping;
use model::{Addr, MappingId};

use super::draft::Draft;
use super::lines::{Lines, pattern};

pattern!(
    PROC_MAPS,
    r"^\s*(?:0x)?([[:xdigit:]]+)[\s-]?\s*(?:0x)?([[:xdigit:]]+):?(?:\s+([-rwxp]+))?(?:\s+([[:xdigit:]]+))?\s+[[:xdigit:]]+:[[:xdigit:]]+\s+[[:digit:]]+(?:\s+(\S+))?"
);
pattern!(
    BRIEF_MAPS,
    r"^\s*(?:0x)?([[:xdigit:]]+)[\s-]?\s*(?:0x)?([[:xdigit:]]+):?(?:\s+([-rwxp]+))?(?:\s+(\S+))?(?:\s+\(@([[:xdigit:]]+)\))?(?:\s+([[:xdigit:]]+))?"
);
pattern!(LOG_PREFIX, r"^[^\[\]]+:[0-9]+]\s");
pattern!(LIBRARY, r"([.]so$|[.]so[._][0-9]+)");

/// Reports whether a memory map follows this line.
pub(super) fn is_sentinel(line: &str) -> bool {
    line.contains("--- Memory map: ---") || line.contains("MAPPED_LIBRARIES:")
}

/// Skips other sections, reads the memory map, and attaches locations to it.
pub(super) fn read_sections(lines: &mut Lines<'_>, draft: &mut Draft) {
    while !is_sentinel(lines.line) && lines.advance() {}
    attach(lines.rest(), draft);
}

/// Reads a memory map and attaches locations to it.
pub(super) fn attach<'t>(lines: impl Iterator<Item = &'t str>, draft: &mut Draft) {
    let mut variables: Vec<(String, String)> = Vec::new();
    for line in lines {
        let line = line.get(LOG_PREFIX.find(line).map_or(0, |m| m.end())..).unwrap_or(line);
        let mut line = line.to_owned();
        for (name, value) in &variables {
            line = line.replace(name, value);
        }
        match entry(&line) {
            Some(Some((mapping, file, build_id))) => {
                let strings = &mut draft.profile.strings;
                let (filename, build_id) = (strings.intern(&file), strings.intern(&build_id));
                draft.push_mapping(Mapping { filename, build_id, ..mapping });
            }
            Some(None) => {}
            None => {
                if let Some((name, value)) = line.split_once('=') {
                    variables.push((format!("${}", name.trim()), value.trim().to_owned()));
                }
            }
        }
    }
    join_neighbours(draft);
    main_first(draft);
    draft.renumber_locations();
    draft.renumber_functions();
    attach_unmapped(draft);
}

/// A mapping, its file and build id; `Some(None)` for memory that holds no code.
fn entry(line: &str) -> Option<Option<(Mapping, String, String)>> {
    let (groups, offset, file, build_id) = match PROC_MAPS.groups(line) {
        Some(groups) => (groups, 4, 5, usize::MAX),
        None => (BRIEF_MAPS.groups(line)?, 5, 4, 6),
    };
    let group = |index: usize| groups.get(index).copied().unwrap_or("");
    let permissions = group(3);
    if !permissions.is_empty() && !permissions.contains('x') {
        return Some(None);
    }
    let number = |text: &str| u64::from_str_radix(text, 16).ok();
    let mapping = Mapping {
        start: Addr(number(group(1))?),
        limit: Addr(number(group(2))?),
        file_offset: if group(offset).is_empty() { 0 } else { number(group(offset))? },
        ..Mapping::default()
    };
    Some(Some((mapping, group(file).to_owned(), group(build_id).to_owned())))
}

/// Joins mappings of one file that follow each other.
fn join_neighbours(draft: &mut Draft) {
    let unknown = model::StrId(0);
    let differ = |a, b| a != unknown && b != unknown && a != b;
    let mut joined: Vec<Mapping> = Vec::new();
    for mapping in std::mem::take(&mut draft.profile.mappings) {
        let Some(last) = joined.last_mut() else {
            joined.push(mapping);
            continue;
        };
        let size = last.limit.0.wrapping_sub(last.start.0);
        let is_gap = last.file_offset != 0
            && mapping.file_offset != 0
            && last.file_offset.wrapping_add(size) != mapping.file_offset;
        if differ(last.filename, mapping.filename)
            || differ(last.build_id, mapping.build_id)
            || last.limit != mapping.start
            || is_gap
        {
            joined.push(mapping);
            continue;
        }
        last.limit = mapping.limit;
        if mapping.filename != unknown {
            last.filename = mapping.filename;
        }
        if mapping.build_id != unknown {
            last.build_id = mapping.build_id;
        }
    }
    draft.profile.mappings = joined;
}

/// Puts what looks like the program itself first.
fn main_first(draft: &mut Draft) {
    let profile = &mut draft.profile;
    let is_main = |mapping: &Mapping| {
        let file = profile.strings.get(mapping.filename).replace("(deleted)", "");
        let file = file.trim();
        !file.is_empty() && LIBRARY.find(file).is_none() && !file.starts_with('[')
    };
    if let Some(index) = profile.mappings.iter().position(is_main) {
        profile.mappings.swap(0, index);
    }
}

/// Attaches locations to the mapping that holds them; to one made up when none does.
pub(super) fn attach_unmapped(draft: &mut Draft) {
    let profile = &mut draft.profile;
    let (strings, mappings) = (&profile.strings, &mut profile.mappings);
    if let [first, second, ..] = mappings.as_slice()
        && strings.get(first.filename).starts_with("/anon_hugepage")
        && first.limit == second.start
    {
        mappings.remove(0);
    }
    // Programs that were remapped to huge pages report the middle of their mapping.
    const USUAL_START: u64 = 0x40_0000;
    if let Some(first) = mappings.first_mut()
        && first.start.0.wrapping_sub(first.file_offset) == USUAL_START
    {
        (first.start, first.file_offset) = (Addr(USUAL_START), 0);
    }
    let mut fake = None;
    for location in &mut profile.locations {
        let address = location.address;
        if location.mapping.is_some() || address.0 == 0 {
            continue;
        }
        let holds = |mapping: &Mapping| mapping.start <= address && address < mapping.limit;
        let found = mappings.iter().position(holds).or_else(|| {
            // Some writers leave out the first part of a split mapping.
            let holds_before = |mapping: &Mapping| {
                mapping.file_offset != 0
                    && mapping.start.0.wrapping_sub(mapping.file_offset) <= address.0
                    && address < mapping.start
            };
            let index = mappings.iter().position(holds_before)?;
            let mapping = mappings.get_mut(index)?;
            mapping.start = Addr(mapping.start.0.wrapping_sub(mapping.file_offset));
            mapping.file_offset = 0;
            Some(index)
        });
        let index = found.unwrap_or_else(|| {
            *fake.get_or_insert_with(|| {
                mappings.push(Mapping { limit: Addr(u64::MAX), ..Mapping::default() });
                mappings.len() - 1
            })
        });
        location.mapping = Some(MappingId(index as u32));
    }
}
