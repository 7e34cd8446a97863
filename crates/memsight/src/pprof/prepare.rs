//! From sources to the one profile that reports are made of: fetched, merged, compared
//! with a base, symbolized, pruned.

use std::io::Write;
use std::path::{Path, PathBuf};

use analyze::pprof::{filter, labels, merge};
use model::profile::Mapping;
use model::{MappingId, Profile, StrId};

use super::demangle;
use super::fetch::{self, Fetched};
use super::flags::Call;
use super::generate::numbered;
use super::symbolize;

/// Fetches and prepares; a base is subtracted.
pub(super) fn profile(call: &Call) -> Result<Profile, String> {
    let (mut profile, base, is_remote) = fetched(call)?;
    if let Some(mut base) = base {
        if call.is_diff_base {
            labels::set(&mut base, labels::BASE_LABEL, "true");
        }
        merge::negate(&mut base);
        profile = merge::combine(vec![profile, base])?;
    }
    finish(&mut profile, call);
    if is_remote {
        save(&profile);
    }
    Ok(profile)
}

/// Fetches and prepares profile and base, each for itself.
pub(super) fn apart(call: &Call) -> Result<(Profile, Option<Profile>), String> {
    let (mut profile, mut base, is_remote) = fetched(call)?;
    finish(&mut profile, call);
    base.iter_mut().for_each(|base| finish(base, call));
    if is_remote {
        save(&profile);
    }
    Ok((profile, base))
}

/// The merged sources, the merged bases, and whether any came over the network.
fn fetched(call: &Call) -> Result<(Profile, Option<Profile>, bool), String> {
    let (sources, bases) = std::thread::scope(|scope| {
        let bases = scope.spawn(|| fetch::all(&call.bases, call, "base"));
        let sources = fetch::all(&call.sources, call, "source");
        (sources, bases.join().unwrap_or_else(|_| Err("fetching the base failed".to_owned())))
    });
    let (sources, bases) = (sources?, bases?);
    let is_remote = sources.iter().chain(&bases).any(|fetched| fetched.is_remote);
    let mut profile = merged(sources, call)?;
    let base = (!bases.is_empty()).then(|| merged(bases, call)).transpose()?;
    if let Some(base) = base.as_ref().filter(|_| call.config.normalize) {
        merge::normalize(&mut profile, base)?;
    }
    Ok((profile, base, is_remote))
}

fn finish(profile: &mut Profile, call: &Call) {
    symbolize(profile, &call.symbolize);
    // As pprof: expressions that are no expressions drop nothing.
    let _ = filter::remove_uninteresting(profile);
    if !call.comment.is_empty() {
        let comment = profile.strings.intern(&call.comment);
        profile.comments.push(comment);
    }
}

fn merged(fetched: Vec<Fetched>, call: &Call) -> Result<Profile, String> {
    let profiles = fetched.into_iter().map(|fetched| {
        let mut profile = fetched.profile;
        name_main_binary(&mut profile, call);
        profile
    });
    merge::combine(profiles.collect())
}

/// Profiles without mappings get one for everything; the program on the command line
/// names the first.
fn name_main_binary(profile: &mut Profile, call: &Call) {
    if profile.mappings.is_empty() {
        profile.mappings.push(Mapping { id: 1, ..Mapping::default() });
        for location in &mut profile.locations {
            location.mapping = Some(MappingId(0));
        }
    }
    let exec_name = call.exec_name.as_ref().map(|name| profile.strings.intern(name));
    let build_id = profile.strings.intern(&call.build_id);
    if let Some(main) = profile.mappings.first_mut() {
        main.filename = exec_name.unwrap_or(main.filename);
        if main.build_id == StrId(0) {
            main.build_id = build_id;
        }
    }
}

fn symbolize(profile: &mut Profile, mode: &str) {
    let (mut force, mut is_local, mut style) = (false, true, demangle::Mode::Default);
    for option in mode.to_lowercase().split(':') {
        match option {
            "none" | "no" => return,
            "" | "demangle=default" => {}
            "local" | "fastlocal" => is_local = true,
            // Asking the server of a profile for names is left to the binaries here.
            "remote" => is_local = false,
            "force" => force = true,
            "demangle=full" => (force, style) = (true, demangle::Mode::Full),
            "demangle=templates" => (force, style) = (true, demangle::Mode::Templates),
            "demangle=none" => (force, style) = (true, demangle::Mode::None),
            _ => {
                eprintln!("ignoring unrecognized symbolization option: {mode}");
                eprintln!(
                    "expecting -symbolize=[local|fastlocal|remote|none][:force]\
                     [:demangle=[none|full|templates|default]"
                );
            }
        }
    }
    if is_local {
        symbolize::locally(profile, force);
    }
    demangle::apply(profile, force, style);
}

/// Keeps a copy of what came over the network; a profile cannot be taken twice.
fn save(profile: &Profile) {
    let mut prefix = "pprof.".to_owned();
    if let Some(main) = profile.mappings.first().map(|main| profile.str(main.filename))
        && let Some(name) = Path::new(main).file_name()
    {
        prefix.push_str(&format!("{}.", name.to_string_lossy()));
    }
    for value_type in &profile.sample_types {
        prefix.push_str(&format!("{}.", profile.str(value_type.kind)));
    }
    let saved = numbered(&save_dir(), &prefix, "pb.gz").and_then(|(path, mut file)| {
        let written = file.write_all(&decode::pprof::write(profile));
        written.map(|()| path).map_err(|error| error.to_string())
    });
    match saved {
        Ok(path) => eprintln!("Saved profile in {}", path.display()),
        Err(error) => eprintln!("Could not save profile: {error}"),
    }
}

fn save_dir() -> PathBuf {
    let is_set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let dirs = [
        is_set("PPROF_TMPDIR").map(PathBuf::from),
        is_set("HOME").map(|home| Path::new(&home).join("pprof")),
    ];
    for dir in dirs.into_iter().flatten() {
        match std::fs::create_dir_all(&dir) {
            Ok(()) => return dir,
            Err(error) => eprintln!("Could not use temp dir {}: {error}", dir.display()),
        }
    }
    std::env::temp_dir()
}
