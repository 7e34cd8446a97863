//! Go execution traces: what runtime/trace and /debug/pprof/trace write, of Go 1.11 to 1.27.
//!
//! [`Reader`] gives the events one after the other, in the order and with the goroutines, Ps
//! and threads that Go's own reader gives them. Format 2 (Go 1.22 and later) is read one
//! generation at a time: the memory is that of its tables, of the threads' places in it, and
//! of what lives in the traced program. Format 1 needs all of its events in memory, because
//! names and clock stand at its end.
//!
//! Damage ends the events with an error that says where; those before it stand. Source:
//! internal/trace of Go 1.26, tracev2 for format 2, internal/tracev1 and tracev1.go for 1.

mod batch;
mod error;
mod frontier;
mod generation;
mod objects;
mod order;
mod reader;
mod spec;
mod v1;
mod whole;
mod wire;

pub use error::GoTraceError;
use model::trace::{Clock, Event, Tables, ThreadId};
pub use whole::Whole;

/// What stands behind "go 1." in each format.
const VERSIONS_1: [u32; 3] = [11, 19, 21];
const VERSIONS_2: [u32; 4] = [22, 23, 25, 26];

/// The first version that says where generations end.
const MARKED_ENDS: u32 = 26;

/// Data of an experiment of the runtime, uninterpreted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Experimental<'a> {
    /// Which experiment: 1 is AllocFree.
    pub experiment: u8,
    /// The thread that wrote it.
    pub thread: ThreadId,
    /// What it wrote.
    pub bytes: &'a [u8],
}

/// Whether these bytes begin as a trace does.
pub fn is_trace(bytes: &[u8]) -> bool {
    version_of(bytes).is_some()
}

/// Reads a trace from its bytes, best those of a mapped file.
#[derive(Debug)]
pub struct Reader<'a> {
    version: u32,
    format: Format<'a>,
}

#[derive(Debug)]
enum Format<'a> {
    One(Box<v1::Reader<'a>>),
    Two(Box<reader::Reader<'a>>),
}

impl<'a> Reader<'a> {
    /// Starts.
    ///
    /// # Errors
    /// When this is no trace, or one of a version that is not known.
    pub fn new(bytes: &'a [u8]) -> Result<Reader<'a>, GoTraceError> {
        let version = version_of(bytes).ok_or(GoTraceError::NotTrace)?;
        let format = if VERSIONS_2.contains(&version) {
            Format::Two(Box::new(reader::Reader::new(bytes, version)))
        } else if VERSIONS_1.contains(&version) {
            Format::One(Box::new(v1::Reader::new(bytes, version)?))
        } else {
            return Err(GoTraceError::Version(version));
        };
        Ok(Reader { version, format })
    }

    /// The minor version of Go that the header names: that of the format, not of the program.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The next event; `None` at the end, and after an error.
    ///
    /// # Errors
    /// When the trace is damaged from here on.
    #[expect(clippy::should_implement_trait, reason = "an iterator could not lend the tables")]
    pub fn next(&mut self) -> Result<Option<Event>, GoTraceError> {
        match &mut self.format {
            Format::One(reader) => reader.next(),
            Format::Two(reader) => reader.next(),
        }
    }

    /// What ids of strings and stacks mean, in the events from the last synchronisation on.
    pub fn tables(&self) -> &Tables<'a> {
        match &self.format {
            Format::One(reader) => reader.tables(),
            Format::Two(reader) => reader.tables(),
        }
    }

    /// What the clocks showed near the last synchronisation; from Go 1.25 on.
    pub fn clock(&self) -> Option<Clock> {
        match &self.format {
            Format::One(_) => None,
            Format::Two(reader) => reader.clock(),
        }
    }

    /// Data of experiments since the last synchronisation.
    pub fn experiments(&self) -> &[Experimental<'a>] {
        match &self.format {
            Format::One(_) => &[],
            Format::Two(reader) => reader.experiments(),
        }
    }
}

/// What came of reading a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The minor version of Go that the header names.
    pub version: u32,
    /// Why it was not read to its end.
    pub damage: Option<GoTraceError>,
}

/// Calls `take` with the events of a trace in their order, and the tables that they are of, up
/// to its end or to where it is damaged.
///
/// # Errors
/// When nothing can be read.
pub fn each(
    bytes: &[u8],
    mut take: impl FnMut(&Event, &Tables<'_>),
) -> Result<Outcome, GoTraceError> {
    let mut reader = Reader::new(bytes)?;
    let version = reader.version();
    let mut events = 0_u64;
    loop {
        match reader.next() {
            Ok(Some(event)) => {
                events += 1;
                take(&event, reader.tables());
            }
            Ok(None) => return Ok(Outcome { version, damage: None }),
            // A synchronisation alone is nothing that was read.
            Err(error) if events < 2 => return Err(error),
            Err(error) => return Ok(Outcome { version, damage: Some(error) }),
        }
    }
}

/// Bytes of the header: `go 1.22 trace` and three zeros.
const HEADER_LEN: usize = 16;

fn version_of(bytes: &[u8]) -> Option<u32> {
    let header = bytes.get(..HEADER_LEN)?;
    let number = header.strip_prefix(b"go 1.")?.strip_suffix(b" trace\0\0\0")?;
    if !number.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(number).ok()?.parse().ok()
}
