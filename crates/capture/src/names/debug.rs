//! Debug information that was split off a binary, on this machine.

use std::path::{Path, PathBuf};

use decode::symbols::Symbols;

use crate::image::Image;
use crate::libraries::open_elf;

/// The file with the debug information of a binary: where distributions put it, or beside it.
/// `root` is what paths begin at, that of a container maybe; `path` is the binary's there.
pub fn debug_image(root: &Path, path: &Path, symbols: &Symbols<'_>) -> Option<Image> {
    let build_id = symbols.build_id().unwrap_or_default();
    let own = below(root, path);
    let places = places(path, symbols.debug_link(), &build_id);
    let mut images = places
        .iter()
        .map(|place| below(root, place))
        .filter(|place| *place != own)
        .filter_map(|place| open_elf(&place.to_string_lossy()).ok());
    images.find(|image| {
        let found = Symbols::open(image.as_ref(), None).ok().and_then(|debug| debug.build_id());
        found.is_none_or(|found| found == build_id)
    })
}

fn places(path: &Path, link: Option<String>, build_id: &str) -> Vec<PathBuf> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    let mut places = Vec::new();
    if let Some((first, rest)) = build_id.split_at_checked(2) {
        places.push(PathBuf::from(format!("/usr/lib/debug/.build-id/{first}/{rest}.debug")));
    }
    if let Some(name) = link {
        places.push(dir.join(&name));
        places.push(dir.join(".debug").join(&name));
        places.push(below(Path::new("/usr/lib/debug"), dir).join(&name));
    }
    places
}

fn below(root: &Path, path: &Path) -> PathBuf {
    match root == Path::new("/") {
        // A path may be relative where it was given by hand.
        true => path.to_owned(),
        false => root.join(path.strip_prefix("/").unwrap_or(path)),
    }
}
