//! Names for locations that have none, from binaries on this machine.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use capture::names::debug_image;
use decode::symbols::{SymbolFrame, Symbols};
use model::profile::Mapping;
use model::{Function, FunctionId, Line, MappingId, Profile, StrId};

/// Names the locations of every mapping that is not named yet, or of all with `force`.
pub(super) fn locally(profile: &mut Profile, force: bool) {
    let mut is_missing = false;
    for index in 0..profile.mappings.len() as u32 {
        let id = MappingId(index);
        let is_used = profile.locations.iter().any(|location| location.mapping == Some(id));
        let Some(mapping) = profile.mappings.get(index as usize).copied() else { continue };
        let is_named = mapping.has_functions || mapping.has_filenames || mapping.has_line_numbers;
        if !is_used || is_named && !force {
            continue;
        }
        let file = profile.str(mapping.filename).to_owned();
        if file.is_empty() && index == 0 {
            eprintln!("Main binary filename not available.");
            continue;
        }
        if !can_have_symbols(&file) {
            continue;
        }
        if let Err(error) = mapping_from(profile, id, &mapping, &file) {
            let name = Path::new(&file).file_name().unwrap_or_default().to_string_lossy();
            let build_id = match profile.str(mapping.build_id) {
                "" => String::new(),
                id => format!(" (build ID {id})"),
            };
            eprintln!("Local symbolization failed for {name}{build_id}: {error}");
            is_missing = true;
        }
    }
    if is_missing {
        eprintln!(
            "Some binary filenames not available. Symbolization may be incomplete.\n\
             Try setting PPROF_BINARY_PATH to the search path for local binaries."
        );
    }
}

/// Kernel pages, anonymous memory and the like have no file to look into.
fn can_have_symbols(file: &str) -> bool {
    let base = file.rsplit('/').next().unwrap_or(file);
    !(file.is_empty()
        || base.starts_with('[')
        || base.starts_with("linux-vdso")
        || file.starts_with("/dev/dri/")
        || file.starts_with("/memfd:")
        || file == "//anon"
        || file.contains("://"))
}

fn mapping_from(
    profile: &mut Profile,
    id: MappingId,
    mapping: &Mapping,
    file: &str,
) -> Result<(), String> {
    let build_id = profile.str(mapping.build_id).to_owned();
    let (path, bytes) = binary(file, &build_id)?;
    let own = Symbols::open(&bytes, None).map_err(|error| error.to_string())?;
    let own_id = own.build_id().unwrap_or_default();
    let debug = match own.has_lines() {
        true => None,
        false => debug_file(&path, &own, &own_id),
    };
    let symbols = match &debug {
        Some(debug) => Symbols::open(&bytes, Some((**debug).as_ref())).unwrap_or(own),
        None => own,
    };
    let mut namer = Namer::new(profile);
    let mut locations = std::mem::take(&mut profile.locations);
    let mut named = Mapping { has_inline_frames: mapping.has_inline_frames, ..*mapping };
    for location in locations.iter_mut().filter(|location| location.mapping == Some(id)) {
        let address = location.address.0;
        let address = symbols.link_address(address, mapping.start.0, mapping.file_offset);
        let frames = address.map(|address| symbols.frames(address)).unwrap_or_default();
        if frames.is_empty() {
            continue;
        }
        for frame in &frames {
            named.has_functions |= !frame.function.is_empty();
            named.has_filenames |= !frame.file.is_empty();
            named.has_line_numbers |= frame.line != 0;
        }
        named.has_inline_frames = true;
        location.is_folded = false;
        location.lines = frames.iter().map(|frame| namer.line(profile, frame)).collect();
    }
    profile.locations = locations;
    if let Some(slot) = profile.mappings.get_mut(id.0 as usize) {
        *slot = named;
    }
    Ok(())
}

/// New functions by what they are.
pub(super) struct Namer {
    known: HashMap<(StrId, StrId, i64), FunctionId>,
    next_id: u64,
}

impl Namer {
    pub(super) fn new(profile: &Profile) -> Namer {
        let ids = (0..profile.functions.len() as u32).map(FunctionId);
        let last = ids.map(|id| profile.function_id(id)).max().unwrap_or(0);
        Namer { known: HashMap::new(), next_id: last + 1 }
    }

    pub(super) fn line(&mut self, profile: &mut Profile, frame: &SymbolFrame) -> Line {
        let name = profile.strings.intern(&frame.function);
        let filename = profile.strings.intern(&frame.file);
        let start_line = i64::from(frame.start_line);
        let function = *self.known.entry((name, filename, start_line)).or_insert_with(|| {
            let id = self.next_id;
            self.next_id += 1;
            let system_name = name;
            profile.functions.push(Function { id, name, system_name, filename, start_line });
            FunctionId(profile.functions.len() as u32 - 1)
        });
        Line { function, line: frame.line.into(), column: frame.column.into() }
    }
}

/// The binary of a mapping: where the search path has one with the right build id, else
/// the file itself.
pub(super) fn binary(file: &str, build_id: &str) -> Result<(PathBuf, Vec<u8>), String> {
    let mut refused = None;
    for path in candidates(file, build_id) {
        let Ok(bytes) = std::fs::read(&path) else { continue };
        let Ok(symbols) = Symbols::open(&bytes, None) else { continue };
        let found = symbols.build_id().unwrap_or_default();
        if !build_id.is_empty() && !found.is_empty() && found != build_id {
            refused = Some(format!(
                "build ID mismatch: {} has {found}. Its names would be wrong; give the binary \
                 that ran",
                path.display()
            ));
            continue;
        }
        return Ok((path, bytes));
    }
    let missing = || match std::fs::metadata(file) {
        Ok(_) => format!("{file}: not an ELF binary that can be read"),
        Err(_) => format!("open {file}: no such file or directory"),
    };
    Err(refused.unwrap_or_else(missing))
}

fn candidates(file: &str, build_id: &str) -> Vec<PathBuf> {
    let search = std::env::var("PPROF_BINARY_PATH").ok().filter(|path| !path.is_empty());
    let home = || std::env::var("HOME").unwrap_or_default();
    let search = search.unwrap_or_else(|| format!("{}/pprof/binaries", home()));
    let base = Path::new(file).file_name().unwrap_or_default();
    let dir = Path::new(file).parent().unwrap_or(Path::new("")).strip_prefix("/");
    let dir = dir.unwrap_or(Path::new(file).parent().unwrap_or(Path::new("")));
    let relative = file.trim_start_matches('/');
    let debug_name = format!("{}.debug", base.to_string_lossy());
    let mut found = Vec::new();
    for root in search.split(':').filter(|root| !root.is_empty()).map(Path::new) {
        if !build_id.is_empty() {
            found.push(root.join(build_id).join(base));
            let entries = std::fs::read_dir(root.join(build_id)).into_iter().flatten().flatten();
            let mut entries: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
            entries.sort();
            found.extend(entries);
            found.push(root.join(relative).join(build_id));
            if let Some((first, rest)) = build_id.split_at_checked(2) {
                found.push(root.join(first).join(format!("{rest}.debug")));
            }
        }
        found.push(root.join(base));
        found.push(root.join(relative));
        found.push(root.join(format!("{relative}.debug")));
        found.push(root.join(dir).join(".debug").join(&debug_name));
        found.push(root.join("usr/lib/debug").join(dir).join(&debug_name));
    }
    found.push(PathBuf::from(file));
    found
}

/// The file with the debug information that was split off a binary: on this machine, or from a
/// debuginfod server.
fn debug_file(path: &Path, symbols: &Symbols<'_>, build_id: &str) -> Option<Box<dyn AsRef<[u8]>>> {
    if let Some(image) = debug_image(Path::new("/"), path, symbols) {
        return Some(Box::new(image));
    }
    debuginfod(build_id).map(|bytes| Box::new(bytes) as Box<dyn AsRef<[u8]>>)
}

/// Asks the servers of DEBUGINFOD_URLS; what they send is kept where other tools look too.
fn debuginfod(build_id: &str) -> Option<Vec<u8>> {
    let is_hex = build_id.len() >= 8 && build_id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let urls = std::env::var("DEBUGINFOD_URLS").ok().filter(|_| is_hex)?;
    let is_set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let cache = is_set("DEBUGINFOD_CACHE_PATH")
        .map(PathBuf::from)
        .or_else(|| is_set("HOME").map(|home| Path::new(&home).join(".cache/debuginfod_client")))?;
    let kept = cache.join(build_id).join("debuginfo");
    if let Ok(bytes) = std::fs::read(&kept) {
        return Some(bytes);
    }
    for server in urls.split_whitespace() {
        let url = format!("{}/buildid/{build_id}/debuginfo", server.trim_end_matches('/'));
        eprintln!("Fetching debug information from {url}");
        match capture::http::fetch(&url, Duration::from_secs(90), &capture::http::Tls::default()) {
            Ok(bytes) => {
                let written = std::fs::create_dir_all(cache.join(build_id))
                    .and_then(|()| std::fs::write(&kept, &bytes));
                if let Err(error) = written {
                    eprintln!("{}: {error}", kept.display());
                }
                return Some(bytes);
            }
            Err(error) => eprintln!("{error}"),
        }
    }
    None
}
