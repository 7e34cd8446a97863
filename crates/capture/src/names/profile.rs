//! Stacks of addresses as stacks of a profile, by name: those whose calls have the same names and
//! lines are one stack, whatever instruction of a line each came from.

use std::collections::HashMap;

use decode::symbols::SymbolFrame;
use decode::symbols::demangle::{Mode, readable};
use model::profile::{Location, Mapping};
use model::{Addr, Function, FunctionId, Line, LocationId, MappingId, Profile, StackId, StrId};

use super::{ProcessNames, Region};

/// Puts stacks into a profile. It keeps what the profile has, by name.
#[derive(Debug, Default)]
pub struct StackNamer {
    functions: HashMap<(StrId, StrId), FunctionId>,
    locations: HashMap<(Option<MappingId>, Vec<Line>), LocationId>,
    mappings: HashMap<Addr, MappingId>,
    addresses: HashMap<Addr, LocationId>,
}

impl StackNamer {
    /// Begins with the executable, as the first mapping of a profile is the program's own.
    pub fn new(profile: &mut Profile, names: &ProcessNames) -> StackNamer {
        let mut namer = StackNamer::default();
        let is_executable = |region: &&Region| {
            let object = region.object.as_ref();
            object.is_some_and(|object| object.path().as_os_str() == names.executable())
        };
        if let Some(region) = names.regions().find(is_executable) {
            namer.mapping(profile, region);
        }
        namer
    }

    /// The stack of these code addresses, the innermost first, in the profile. They were looked up
    /// ([`ProcessNames::look_up`]); of return addresses they are 1 less.
    pub fn stack(
        &mut self,
        profile: &mut Profile,
        names: &ProcessNames,
        addresses: &[Addr],
    ) -> StackId {
        let stack: Vec<LocationId> =
            addresses.iter().map(|address| self.location(profile, names, *address)).collect();
        profile.stacks.intern(&stack)
    }

    fn location(
        &mut self,
        profile: &mut Profile,
        names: &ProcessNames,
        address: Addr,
    ) -> LocationId {
        if let Some(known) = self.addresses.get(&address) {
            return *known;
        }
        let mapping = names.region(address).map(|region| self.mapping(profile, region));
        let frames = names.frames(address);
        let lines: Vec<Line> = match frames.is_empty() {
            false => frames.iter().map(|frame| self.line(profile, frame)).collect(),
            true => {
                let function = names.unnamed(address);
                vec![self.line(profile, &SymbolFrame { function, ..SymbolFrame::default() })]
            }
        };
        if let Some(mapping) = mapping.and_then(|id| profile.mappings.get_mut(id.0 as usize)) {
            mapping.has_functions = true;
            mapping.has_filenames |= frames.iter().any(|frame| !frame.file.is_empty());
            mapping.has_line_numbers |= frames.iter().any(|frame| frame.line > 0);
            mapping.has_inline_frames = true;
        }
        let location = *self.locations.entry((mapping, lines)).or_insert_with_key(|(_, lines)| {
            let (mapping, lines) = (mapping, lines.clone());
            profile.locations.push(Location { mapping, address, lines, ..Location::default() });
            LocationId(profile.locations.len() as u32 - 1)
        });
        self.addresses.insert(address, location);
        location
    }

    fn line(&mut self, profile: &mut Profile, frame: &SymbolFrame) -> Line {
        let system_name = profile.strings.intern(&frame.function);
        let filename = profile.strings.intern(&frame.file);
        let function = *self.functions.entry((system_name, filename)).or_insert_with(|| {
            let name = profile.strings.intern(&readable(&frame.function, Mode::Templates));
            let start_line = i64::from(frame.start_line);
            profile.functions.push(Function { id: 0, name, system_name, filename, start_line });
            FunctionId(profile.functions.len() as u32 - 1)
        });
        // Without the column, so that what is one line for people is one line.
        Line { function, line: frame.line.into(), column: 0 }
    }

    fn mapping(&mut self, profile: &mut Profile, region: &Region) -> MappingId {
        *self.mappings.entry(region.start).or_insert_with(|| {
            let object = region.object.as_ref();
            let build_id = object.map_or("", |object| object.build_id());
            // Without the mark of a file that is deleted.
            let path = object.map_or(region.path.as_str().into(), |it| it.path().to_string_lossy());
            let mapping = Mapping {
                start: region.start,
                limit: region.end,
                file_offset: region.file_offset,
                filename: profile.strings.intern(&path),
                build_id: profile.strings.intern(build_id),
                ..Mapping::default()
            };
            profile.mappings.push(mapping);
            MappingId(profile.mappings.len() as u32 - 1)
        })
    }
}
