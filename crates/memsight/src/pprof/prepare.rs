//! From sources to the one profile that reports are made of: fetched, merged, compared
//! with a base, symbolized, pruned.

use std::io::Write;
use std::path::{Path, PathBuf};

use analyze::pprof::{filter, merge};
use decode::symbols::demangle::Mode;
use model::profile::Mapping;
use model::{MappingId, Profile, StrId};

use super::demangle;
use super::fetch::{self, Fetched};
use super::flags::Call;
use super::generate::numbered;
use super::symbolize;
use super::symbolz::{self, Origins};

/// Fetches and prepares; a base is subtracted.
pub(super) fn profile(call: &Call) -> Result<Profile, String> {
    let Fetch { mut profile, base, origins, is_remote } = fetched(call)?;
    if let Some(base) = base {
        profile = merge::difference(profile, base, call.is_diff_base)?;
    }
    finish(&mut profile, &origins, call)?;
    if is_remote {
        save(&profile);
    }
    Ok(profile)
}

/// Fetches and prepares profile and base, each for itself.
pub(super) fn apart(call: &Call) -> Result<(Profile, Option<Profile>), String> {
    let Fetch { mut profile, mut base, origins, is_remote } = fetched(call)?;
    for profile in [&mut profile].into_iter().chain(&mut base) {
        finish(profile, &origins, call)?;
    }
    if is_remote {
        save(&profile);
    }
    Ok((profile, base))
}

/// What the sources gave.
struct Fetch {
    /// The sources, merged.
    profile: Profile,
    /// The bases, merged.
    base: Option<Profile>,
    origins: Origins,
    is_remote: bool,
}

fn fetched(call: &Call) -> Result<Fetch, String> {
    let (sources, bases) = std::thread::scope(|scope| {
        let bases = scope.spawn(|| fetch::all(&call.bases, call, "base"));
        let sources = fetch::all(&call.sources, call, "source");
        (sources, bases.join().unwrap_or_else(|_| Err("fetching the base failed".to_owned())))
    });
    let (sources, bases) = (sources?, bases?);
    let is_remote = sources.iter().chain(&bases).any(|fetched| fetched.url.is_some());
    let mut origins = Origins::default();
    let what_failed = |what: &'static str| {
        move |error: String| format!("problem fetching {what} profiles: {error}")
    };
    let mut profile = merged(sources, &mut origins, call).map_err(what_failed("source"))?;
    let base = (!bases.is_empty()).then(|| merged(bases, &mut origins, call)).transpose();
    let base = base.map_err(what_failed("base"))?;
    if let Some(base) = base.as_ref().filter(|_| call.config.normalize) {
        merge::normalize(&mut profile, base)?;
    }
    Ok(Fetch { profile, base, origins, is_remote })
}

fn finish(profile: &mut Profile, origins: &Origins, call: &Call) -> Result<(), String> {
    if call.all_frames {
        (profile.drop_frames, profile.keep_frames) = (StrId(0), StrId(0));
    }
    symbolize(profile, origins, call)?;
    symbolz::forget(profile);
    // As pprof: expressions that are no expressions drop nothing.
    let _ = filter::remove_uninteresting(profile);
    if !call.comment.is_empty() {
        let comment = profile.strings.intern(&call.comment);
        profile.comments.push(comment);
    }
    Ok(())
}

fn merged(fetched: Vec<Fetched>, origins: &mut Origins, call: &Call) -> Result<Profile, String> {
    let profiles = fetched.into_iter().map(|fetched| {
        let mut profile = fetched.profile;
        name_main_binary(&mut profile, call);
        if let Some(url) = &fetched.url {
            origins.note(&mut profile, url);
        }
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

fn symbolize(profile: &mut Profile, origins: &Origins, call: &Call) -> Result<(), String> {
    let (mut force, mut is_local, mut is_remote) = (false, true, true);
    let mut style = Mode::Default;
    for option in call.symbolize.to_lowercase().split(':') {
        match option {
            "none" | "no" => return Ok(()),
            "" | "demangle=default" => {}
            "local" | "fastlocal" => (is_local, is_remote) = (true, false),
            "remote" => (is_local, is_remote) = (false, true),
            "force" => force = true,
            "demangle=full" => (force, style) = (true, Mode::Full),
            "demangle=templates" => (force, style) = (true, Mode::Templates),
            "demangle=none" => (force, style) = (true, Mode::None),
            _ => {
                eprintln!("ignoring unrecognized symbolization option: {}", call.symbolize);
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
    if is_remote {
        symbolz::symbolize(profile, force, origins, &fetch::tls(&call.tls)?)?;
    }
    demangle::apply(profile, force, style);
    Ok(())
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
