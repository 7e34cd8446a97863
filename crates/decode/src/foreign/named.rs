//! Building profiles whose frames have names and no addresses.

use std::collections::HashMap;

use model::profile::Location;
use model::{Function, FunctionId, Line, LocationId, Profile};

/// Frames by name.
#[derive(Default)]
pub(super) struct NamedFrames {
    functions: HashMap<(String, String), FunctionId>,
    locations: HashMap<(FunctionId, i64, i64), LocationId>,
}

impl NamedFrames {
    /// The location of a frame.
    pub(super) fn location(
        &mut self,
        profile: &mut Profile,
        name: &str,
        file: &str,
        line: i64,
        column: i64,
    ) -> LocationId {
        let function = self.function(profile, name, file);
        *self.locations.entry((function, line, column)).or_insert_with(|| {
            let lines = vec![Line { function, line, column }];
            profile.locations.push(Location { lines, ..Location::default() });
            LocationId(profile.locations.len() as u32 - 1)
        })
    }

    pub(super) fn function(&mut self, profile: &mut Profile, name: &str, file: &str) -> FunctionId {
        let key = (name.to_owned(), file.to_owned());
        *self.functions.entry(key).or_insert_with(|| {
            let name = profile.strings.intern(name);
            let filename = profile.strings.intern(file);
            let new = Function { name, system_name: name, filename, ..Function::default() };
            profile.functions.push(new);
            FunctionId(profile.functions.len() as u32 - 1)
        })
    }
}
