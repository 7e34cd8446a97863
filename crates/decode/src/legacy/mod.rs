//! The text and binary formats that came before profile.proto, as google/pprof reads
//! them (profile/legacy_profile.go, legacy_java_profile.go): CPU, heap, Go counts,
//! threads, contention, and Java's.
//!
//! Texts that Go programs print also name their frames and labels in `#` lines. pprof
//! skips those; here they come beside the profile as [`TextNames`].

mod contention;
mod count;
mod cpu;
mod draft;
mod frames;
mod heap;
mod java;
mod jemalloc;
mod lines;
mod maps;
mod names;
mod thread;

use model::Profile;

use draft::Draft;
pub(crate) use jemalloc::JemallocSink;
pub use names::TextNames;

use crate::pprof::PprofError;

/// What a reader says: not my format, or damaged.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// Another reader may know it.
    Unrecognized,
    /// It is this format, and it is damaged.
    Malformed(String),
}

type Outcome = Result<Draft, Refusal>;

fn malformed(line: &str, error: impl std::fmt::Display) -> Refusal {
    Refusal::Malformed(format!("malformed sample: {line}: {error}"))
}

/// Reads one of the legacy formats.
///
/// # Errors
/// When none fits, or the one that does finds damage.
pub(crate) fn read(bytes: &[u8]) -> Result<(Profile, TextNames), PprofError> {
    let readers: [fn(&[u8]) -> Outcome; 6] = [
        cpu::read,
        |bytes| heap::read(&lines::text(bytes)),
        |bytes| count::read(&lines::text(bytes)),
        |bytes| thread::read(&lines::text(bytes)),
        |bytes| contention::read(&lines::text(bytes)),
        |bytes| java::read(&lines::text(bytes)),
    ];
    for reader in readers {
        match reader(bytes) {
            Ok(draft) if !draft.has_types() => {
                let message = "missing sample type information";
                return Err(PprofError::Malformed(message.to_owned()));
            }
            Ok(mut draft) => {
                draft.name_uninteresting();
                return Ok(draft.finish());
            }
            Err(Refusal::Unrecognized) => {}
            Err(Refusal::Malformed(message)) => return Err(PprofError::Malformed(message)),
        }
    }
    Err(PprofError::NotAProfile)
}

#[cfg(test)]
mod tests;
