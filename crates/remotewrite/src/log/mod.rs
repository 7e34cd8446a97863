//! The log of what was collected: written once, read by every destination at its own pace.
//!
//! Segments are files of checksummed records. A segment defines each series that it has samples
//! of, so any segment can be read without those before it, and the oldest can be deleted.

mod reader;
mod record;
mod segments;
mod writer;

pub(crate) use reader::{Next, Reader, Record};
pub(crate) use record::Entry;
pub use record::{Contents, segment_contents};
pub(crate) use writer::{Log, Tip};
