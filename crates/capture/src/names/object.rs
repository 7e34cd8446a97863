//! A file with code, as some process has it mapped, and the names of its addresses.
//!
//! Opening one maps it and no more. Names are looked up for many addresses at once: a binary's
//! debug information is read for a batch and let go again, which costs as much memory as it is
//! large and, of a large program, a second; what was found is kept, some hundred bytes an address.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::{fs, io};

use decode::elf::{Elf, Segment};
use decode::procfs::PAGE_BYTES;
use decode::symbols::{SymbolFrame, Symbols, link_address};

use super::debug::debug_image;
use crate::executable::FileId;
use crate::image::Image;
use crate::libraries::open_elf;

/// What is mapped: a file, or the kernel's own library, of which there is no file.
enum Content {
    File(Image),
    Copy(Vec<u8>),
}

impl AsRef<[u8]> for Content {
    fn as_ref(&self) -> &[u8] {
        match self {
            Content::File(image) => image.as_ref(),
            Content::Copy(bytes) => bytes,
        }
    }
}

/// A file with code.
pub struct Object {
    /// As its process has it.
    path: PathBuf,
    content: Content,
    segments: Vec<Segment>,
    build_id: String,
    /// Frames of link-time addresses, the innermost call first; empty where nothing is known.
    known: Mutex<HashMap<u64, Arc<[SymbolFrame]>>>,
}

/// While somebody has a file mapped, no other can have its inode.
static KNOWN: LazyLock<Mutex<HashMap<FileId, Weak<Object>>>> = LazyLock::new(Mutex::default);

impl Object {
    /// The file that lies at `place`; the path of its process is what it is called by.
    pub(super) fn open(place: &str, path: &str) -> io::Result<Arc<Object>> {
        let id = FileId::of(&fs::metadata(place)?);
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(object) = known.get(&id).and_then(Weak::upgrade) {
            return Ok(object);
        }
        let object = Arc::new(Object::of(Content::File(open_elf(place)?), path)?);
        known.retain(|_, object| object.strong_count() > 0);
        known.insert(id, Arc::downgrade(&object));
        Ok(object)
    }

    /// What was copied out of the memory of a process.
    pub(super) fn copied(bytes: Vec<u8>, path: &str) -> io::Result<Arc<Object>> {
        Object::of(Content::Copy(bytes), path).map(Arc::new)
    }

    fn of(content: Content, path: &str) -> io::Result<Object> {
        let elf = Elf::parse(content.as_ref()).map_err(io::Error::other)?;
        let (segments, build_id) = (elf.segments().to_vec(), elf.build_id().unwrap_or_default());
        let path = PathBuf::from(path);
        Ok(Object { path, content, segments, build_id, known: Mutex::default() })
    }

    /// Its path, as its process has it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The last part of its path.
    pub fn name(&self) -> String {
        self.path.file_name().unwrap_or(self.path.as_os_str()).to_string_lossy().into_owned()
    }

    /// The linker's id, in hex; empty when it has none.
    pub fn build_id(&self) -> &str {
        &self.build_id
    }

    /// The bytes of the file.
    pub fn bytes(&self) -> &[u8] {
        self.content.as_ref()
    }

    /// The link-time address of what a mapping of the file, from this offset, shows at `address`.
    pub(super) fn link_address(&self, address: u64, start: u64, file_offset: u64) -> Option<u64> {
        link_address(&self.segments, address, start, file_offset)
    }

    /// What addresses of code are above those of the linker, in a mapping from this offset.
    pub(super) fn bias(&self, start: u64, file_offset: u64) -> Option<u64> {
        // A mapping begins with the page that its segment begins in.
        let page = |offset: u64| offset & !(PAGE_BYTES - 1);
        let code = self.segments.iter().filter(|segment| segment.is_executable);
        let mut of_mapping = code.filter(|segment| {
            page(segment.offset) <= file_offset
                && file_offset < segment.offset.saturating_add(segment.file_size)
        });
        let segment = of_mapping.next()?;
        let link_start = segment.addr.0.wrapping_sub(segment.offset).wrapping_add(file_offset);
        Some(start.wrapping_sub(link_start))
    }

    /// The frames of a link-time address that was looked up.
    pub(super) fn frames(&self, address: u64) -> Arc<[SymbolFrame]> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&address).cloned().unwrap_or_default()
    }

    /// Looks link-time addresses up. `root` is where the root folder of its process is.
    pub(super) fn look_up(&self, addresses: &BTreeSet<u64>, root: &Path) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let new = addresses.iter().copied().filter(|address| !known.contains_key(address));
        let new: Vec<u64> = new.collect();
        if new.is_empty() {
            return;
        }
        // It was an ELF file when it was opened.
        let Ok(own) = Symbols::open(self.bytes(), None) else { return };
        let debug = match (own.has_lines(), &self.content) {
            (false, Content::File(_)) => debug_image(root, &self.path, &own)
                .or_else(|| debug_image(Path::new("/"), &self.path, &own)),
            _ => None,
        };
        let symbols = match &debug {
            Some(debug) => Symbols::open(self.bytes(), Some(debug.as_ref())).unwrap_or(own),
            None => own,
        };
        for address in new {
            known.insert(address, frames(&symbols, address));
        }
        if let Content::File(image) = &self.content {
            image.release();
        }
    }
}

/// The frames of an address. The function itself has the name that it is exported by, if it is:
/// the one that people know, where the linker had several.
fn frames(symbols: &Symbols<'_>, address: u64) -> Arc<[SymbolFrame]> {
    let mut frames = symbols.frames(address);
    frames.retain(|frame| !frame.function.is_empty());
    let Some(exported) = symbols.exported(address).filter(|name| !name.is_empty()) else {
        return frames.into();
    };
    match frames.last_mut() {
        Some(outer) => exported.clone_into(&mut outer.function),
        None => {
            frames.push(SymbolFrame { function: exported.to_owned(), ..SymbolFrame::default() })
        }
    }
    frames.into()
}
