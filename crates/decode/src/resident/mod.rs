//! What every resident page of a process is used for.
//!
//! Three levels, each a part of the one above: mappings; what lies in them, as the Go
//! runtime's tables, glibc's malloc and the threads' stack pointers tell; and what lies in
//! that, slot by slot. A byte counts for the innermost that has it, so that the kinds add up
//! to the pages. Pages are those of /proc/PID/pagemap; the program runs meanwhile, so that
//! the pages of one moment meet the tables of another, milliseconds apart.

mod areas;
mod attribute;
mod pages;
mod places;
mod space;
mod spans;
#[cfg(test)]
mod tests;
mod window;

use model::rss::{HugePages, Rss};

pub use areas::Areas;
pub use pages::{PageBits, PageReader, Pages, ResidentMap};

use crate::elf::Elf;
use crate::goruntime::{Memory, Process, RuntimeError};
use attribute::Books;
use space::{Places, Reader, Space};
use spans::SpanTable;

/// What /proc tells of a process.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// Its mappings, in address order.
    pub maps: &'a [ResidentMap],
    /// Inode of its executable; 0 when unknown.
    pub exe_inode: u64,
    /// Its path as the kernel writes it; empty when unknown. On file systems of layers the
    /// inode of a mapping may be that of another layer.
    pub exe_path: &'a str,
    /// Stack pointers of its threads, as far as they are known.
    pub stack_pointers: &'a [u64],
    /// How many threads it has.
    pub threads: u64,
    /// Size of a thread's stack; `None` when unlimited or unknown.
    pub stack_limit: Option<u64>,
    /// It is a Go program, whether its runtime can be read or not.
    pub is_go: bool,
}

/// The Go runtime's tables, read after the pages.
#[derive(Debug)]
pub struct GoTables {
    space: Space,
    table: SpanTable,
    /// What the runtime has from the system for its own structures, by its own count.
    metadata_bytes: Option<u64>,
    runtime: model::RuntimeMemory,
}

/// So often the spans are read when collections end meanwhile.
const ATTEMPTS: u32 = 3;

impl GoTables {
    /// Reads them. `file` is the executable.
    ///
    /// # Errors
    /// When the heap's own tables were not found or cannot be read; single tables that were
    /// not found become warnings.
    pub fn read<M: Memory>(
        process: &Process<'_, M>,
        file: &[u8],
    ) -> Result<GoTables, RuntimeError> {
        let (version, machine) = (process.binary.version, Elf::parse(file)?.machine);
        let mut reader = Reader::new(process.memory(), Places::of(process)?, version, machine);
        reader.read()?;
        let mut table = reader.spans()?;
        for _ in 1..ATTEMPTS {
            if !table.is_torn {
                break;
            }
            table = reader.spans()?;
        }
        if table.is_torn {
            let what = "collections ended while the heap was read: dead and free are mixed up";
            reader.space.warnings.push(what.to_owned());
        }
        reader.add_parts(table.structures.clone(), model::RssKind::Spans);
        let runtime = process.runtime_memory();
        let metadata_bytes = runtime.metadata_bytes;
        Ok(GoTables { space: reader.space, table, metadata_bytes, runtime })
    }
}

/// Attributes every resident byte. `memory` is what the marks of malloc are looked for in.
///
/// The result has no time, cost, cgroup and process figures: those are the caller's.
pub fn attribute(input: &Input<'_>, go: Option<&GoTables>, memory: Option<&dyn Memory>) -> Rss {
    let mut books = Books::new(input);
    let kinds = books.kinds.clone();
    let taken = go.map(|go| attribute::taken(&go.space)).unwrap_or_default();
    let native = places::native(input, &kinds, &taken, memory);
    let mut rss = Rss {
        malloc_arenas: native.malloc_arenas,
        threads: input.threads,
        smaps_bytes: input.maps.iter().map(|map| map.map.rss_bytes).sum(),
        lazy_free_bytes: input.maps.iter().map(|map| map.map.lazy_free_bytes).sum(),
        huge_pages: HugePages::default(),
        has_runtime: go.is_some(),
        ..Rss::default()
    };
    let areas = go.map_or(&[][..], |go| &go.space.areas);
    books.areas(areas, &native.areas, go.map_or(&[][..], |go| &go.space.heap));
    if let Some(go) = go {
        books.parts(&go.space.parts);
        rss.classes = books.heap(&go.space, &go.table);
        rss.released_bytes = books.returned(&go.space.returned);
        books.stacks(&go.space.stacks);
        books.unknown(go);
        rss.stacks = Some(go.space.goroutines);
        rss.runtime = go.runtime;
        rss.warnings.extend(go.space.warnings.iter().chain(&go.table.warnings).cloned());
    } else if input.is_go {
        books.unread();
    }
    (rss.tally, rss.maps) = books.finish(&mut rss.warnings);
    rss
}
