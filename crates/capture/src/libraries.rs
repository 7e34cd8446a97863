//! The shared objects a program has mapped, C libraries and plugins of Go. Their files are
//! mapped, not read: only what of them is asked for costs anything.
//!
//! A shared object that is truncated in place meanwhile ends this process (SIGBUS); it ends
//! the program that runs it, too.

use std::{fs, io};

use decode::goheap::Library;
use decode::procfs::Mapping;
use model::Addr;

use crate::image::Image;

/// Files beyond this many are not looked for; a Go program maps a handful.
pub(crate) const FILES_MAX: usize = 1024;

/// A part of a file that was mapped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part<'a> {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) offset: u64,
    pub(crate) path: &'a str,
    /// It may hold code; unknown parts may.
    pub(crate) is_code: bool,
}

/// A file whose beginning is mapped, and code of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) path: String,
    /// Last address of the first mapping.
    first_end: u64,
}

impl Place {
    /// Joins the parts of each file, which are in address order.
    pub(crate) fn all<'a>(parts: impl Iterator<Item = Part<'a>>) -> Vec<Place> {
        let mut places: Vec<(Place, bool)> = Vec::new();
        for part in parts.filter(|part| part.path.starts_with('/')) {
            let has_room = places.len() < FILES_MAX;
            let known = places.iter_mut().rev().find(|(place, _)| place.path == part.path);
            match known {
                Some((place, is_code)) if part.offset > 0 => {
                    (place.end, *is_code) = (part.end, *is_code || part.is_code);
                }
                _ if part.offset == 0 && has_room => {
                    let (start, end, path) = (part.start, part.end, part.path.to_owned());
                    places.push((Place { start, end, path, first_end: end }, part.is_code));
                }
                _ => {}
            }
        }
        places.into_iter().filter(|(_, is_code)| *is_code).map(|(place, _)| place).collect()
    }

    /// With the bytes of its file.
    pub(crate) fn library<'m>(&'m self, file: Option<&'m [u8]>) -> Library<'m> {
        Library { start: Addr(self.start), end: Addr(self.end), path: &self.path, file }
    }
}

/// The shared objects of a process, those of their files mapped that were found.
#[derive(Debug, Default)]
pub(crate) struct Libraries(Vec<(Place, Option<Image>)>);

impl Libraries {
    /// Those of a process that runs.
    pub(crate) fn of_process(pid: u32, mappings: &[Mapping]) -> Libraries {
        let parts = mappings.iter().map(|mapping| Part {
            start: mapping.start,
            end: mapping.end,
            offset: mapping.offset,
            path: &mapping.path,
            is_code: mapping.permissions.contains('x'),
        });
        let open = |place: Place| {
            let image = of_mapping(pid, &place).or_else(|_| of_path(pid, &place)).ok();
            (place, image)
        };
        Libraries(Place::all(parts).into_iter().map(open).collect())
    }

    pub(crate) fn list(&self) -> Vec<Library<'_>> {
        let all = self.0.iter();
        all.map(|(place, image)| place.library(image.as_ref().map(Image::as_ref))).collect()
    }
}

/// The very file that is mapped, even if it was deleted; only the privileged may.
fn of_mapping(pid: u32, place: &Place) -> io::Result<Image> {
    open_elf(&format!("/proc/{pid}/map_files/{:x}-{:x}", place.start, place.first_end))
}

/// What lies at its path now, as the process sees it.
fn of_path(pid: u32, place: &Place) -> io::Result<Image> {
    open_elf(&format!("/proc/{pid}/root{}", place.path))
}

/// Maps an ELF file. The path may be anything: nothing is opened that could block or act
/// when it is.
pub(crate) fn open_elf(path: &str) -> io::Result<Image> {
    let other = || io::Error::new(io::ErrorKind::InvalidInput, "not an ELF file");
    if !fs::metadata(path)?.is_file() {
        return Err(other());
    }
    let image = Image::open(path)?;
    if image.as_ref().starts_with(b"\x7fELF") { Ok(image) } else { Err(other()) }
}

#[cfg(test)]
mod tests {
    use super::{Part, Place};

    fn part(start: u64, end: u64, offset: u64, path: &str, is_code: bool) -> Part<'_> {
        Part { start, end, offset, path, is_code }
    }

    #[test]
    fn parts_of_a_file_are_one_place() {
        let parts = [
            part(0x1000, 0x2000, 0, "/a.so", false),
            part(0x2000, 0x3000, 0x1000, "/a.so", true),
            part(0x3000, 0x4000, 0, "", false),
            part(0x4000, 0x5000, 0x2000, "/a.so", false),
            // Data, and a part of a file whose beginning is nowhere.
            part(0x6000, 0x7000, 0, "/data", false),
            part(0x8000, 0x9000, 0x1000, "/b.so", true),
            part(0x9000, 0xa000, 0, "[vdso]", true),
        ];
        let places = Place::all(parts.into_iter());
        let first_end = 0x2000;
        assert_eq!(
            places,
            [Place { start: 0x1000, end: 0x5000, path: "/a.so".to_owned(), first_end }]
        );
    }
}
