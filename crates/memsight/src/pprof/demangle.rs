//! Readable names for functions of a profile that only have their linker's name.

use decode::symbols::demangle::{Mode, readable};
use model::Profile;

/// Names every function that has no name of its own.
pub(super) fn apply(profile: &mut Profile, force: bool, mode: Mode) {
    let functions = std::mem::take(&mut profile.functions);
    profile.functions = functions
        .into_iter()
        .map(|mut function| {
            let (name, system_name) =
                (profile.str(function.name), profile.str(function.system_name));
            let is_forced = force && !name.is_empty() && !system_name.is_empty();
            let name = if is_forced { system_name } else { name };
            let readable = match mode {
                Mode::None => name.to_owned(),
                _ if !name.is_empty() && name != system_name => name.to_owned(),
                mode => readable(system_name, mode),
            };
            function.name = profile.strings.intern(&readable);
            function
        })
        .collect();
}
