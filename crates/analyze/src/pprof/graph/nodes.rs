//! Which nodes the locations of a profile become.

use ahash::AHashMap;
use model::profile::Location;
use model::{Line, LocationId, Profile, StrId, StringTable};

use super::NodeInfo;
use crate::pprof::paths;

/// Distinct nodes and those of each location, innermost line first.
#[derive(Debug, Default)]
pub struct Nodes {
    /// Distinct nodes.
    pub infos: Vec<NodeInfo>,
    /// The only node of a location, or [`SEVERAL`]: most have one, and need one look.
    only: Vec<u32>,
    starts: Vec<u32>,
    places: Vec<u32>,
    /// Some location has several lines.
    pub has_inlines: bool,
}

const SEVERAL: u32 = u32::MAX;

/// How file and object names go into nodes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Naming<'a> {
    /// Keeps object files, so that equal functions of several binaries stay apart.
    pub object_names: bool,
    /// What to remove from paths, and where sources are searched; none leaves paths.
    pub trim: Option<(&'a str, &'a str)>,
}

impl Nodes {
    /// Makes the nodes of all locations.
    pub fn of(profile: &mut Profile, naming: Naming<'_>) -> Nodes {
        let mut nodes = Nodes::default();
        let mut index: AHashMap<NodeInfo, u32> = AHashMap::new();
        let mut files = Files { naming, cleaned: AHashMap::new() };
        let locations = std::mem::take(&mut profile.locations);
        nodes.starts.push(0);
        for location in &locations {
            let mut add = |info| {
                let next = index.len() as u32;
                let place = *index.entry(info).or_insert(next);
                if place == next {
                    nodes.infos.push(info);
                }
                nodes.places.push(place);
            };
            for line in &location.lines {
                add(info_of(profile, &mut files, location, line));
            }
            if location.lines.is_empty() {
                let objfile = objfile(profile, location);
                add(NodeInfo { address: location.address.0, objfile, ..NodeInfo::default() });
            }
            nodes.has_inlines |= location.lines.len() > 1;
            let only = nodes.places.last().copied().filter(|_| location.lines.len() < 2);
            nodes.only.push(only.unwrap_or(SEVERAL));
            nodes.starts.push(nodes.places.len() as u32);
        }
        profile.locations = locations;
        nodes
    }

    /// The nodes of a location, innermost line first.
    #[inline]
    pub fn of_location(&self, location: LocationId) -> &[u32] {
        let index = location.0 as usize;
        match self.only.get(index..=index) {
            Some(only) if only != [SEVERAL] => only,
            _ => self.several(index),
        }
    }

    fn several(&self, index: usize) -> &[u32] {
        match self.starts.get(index..index + 2) {
            Some(&[start, end]) => self.places.get(start as usize..end as usize).unwrap_or(&[]),
            _ => &[],
        }
    }
}

fn objfile(profile: &Profile, location: &Location) -> StrId {
    let mapping = location.mapping.and_then(|id| profile.mappings.get(id.0 as usize));
    mapping.map_or(StrId(0), |mapping| mapping.filename)
}

fn info_of(
    profile: &mut Profile,
    files: &mut Files<'_>,
    location: &Location,
    line: &Line,
) -> NodeInfo {
    let function = profile.functions.get(line.function.0 as usize).copied().unwrap_or_default();
    let mut info = NodeInfo {
        name: function.name,
        address: location.address.0,
        file: files.clean(&mut profile.strings, function.filename),
        line: line.line,
        column: line.column,
        ..NodeInfo::default()
    };
    if files.naming.object_names || info.name == StrId(0) {
        info.objfile = objfile(profile, location);
        info.start_line = function.start_line;
    }
    info
}

struct Files<'a> {
    naming: Naming<'a>,
    cleaned: AHashMap<StrId, StrId>,
}

impl Files<'_> {
    fn clean(&mut self, strings: &mut StringTable, file: StrId) -> StrId {
        if let Some(known) = self.cleaned.get(&file) {
            return *known;
        }
        let path = strings.get(file);
        let path = match self.naming.trim {
            Some((trim_path, search_path)) => paths::trim(path, trim_path, search_path),
            None => path,
        };
        let cleaned = if path.is_empty() { String::new() } else { paths::clean(path) };
        let id = strings.intern(&cleaned);
        self.cleaned.insert(file, id);
        id
    }
}

/// How reports call a node: address, function, and place in the source.
pub fn printable_name(info: &NodeInfo, strings: &StringTable) -> String {
    let text = |id| strings.get(id);
    name_parts(info, text(info.name), text(info.file), text(info.objfile)).join(" ")
}

/// The parts of a node's name.
pub fn name_parts(info: &NodeInfo, name: &str, file: &str, objfile: &str) -> Vec<String> {
    let mut parts = Vec::new();
    if info.address != 0 {
        parts.push(format!("{:016x}", info.address));
    }
    if !name.is_empty() {
        parts.push(name.to_owned());
    }
    match () {
        () if info.line != 0 && info.column != 0 => {
            parts.push(format!("{file}:{}:{}", info.line, info.column));
        }
        () if info.line != 0 => parts.push(format!("{file}:{}", info.line)),
        () if !file.is_empty() => parts.push(file.to_owned()),
        () if !name.is_empty() => {}
        () if !objfile.is_empty() => parts.push(format!("[{}]", paths::base(objfile))),
        () => parts.push("<unknown>".to_owned()),
    }
    parts
}
