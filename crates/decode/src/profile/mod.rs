//! Any profile format: tries profile.proto, then the legacy formats of pprof, then
//! those of other tools.

use std::io::{self, Read};

use model::Profile;

use crate::legacy::{self, TextNames};
use crate::pprof::{self, Options, Parsed, PprofError};
use crate::{compress, foreign};

/// Up to here any format is tried; above, only a stream that starts like profile.proto is
/// read as such, without holding it.
const WHOLE_BYTES_MAX: usize = 16 << 20;

/// Texts are held as a whole, so they may not be larger.
const TEXT_BYTES_MAX: u64 = 1 << 30;

/// A profile, and what its text says beside it.
#[derive(Clone, Debug)]
pub struct AnyProfile {
    /// The profile.
    pub profile: Profile,
    /// Names and labels from comments; not yet part of the profile.
    pub names: TextNames,
    /// What could not be read.
    pub warnings: Vec<String>,
}

/// Reads a profile in whatever format it is, names and labels included.
///
/// # Errors
/// When no reader knows the format, or the one that does finds it damaged.
pub fn read(input: impl Read) -> Result<Parsed, PprofError> {
    let AnyProfile { mut profile, names, warnings } = read_with_names(input)?;
    if !names.is_empty() {
        names.apply(&mut profile);
    }
    Ok(Parsed { profile, warnings })
}

/// As [`read`], with names and labels from comments apart.
///
/// # Errors
/// As [`read`].
pub fn read_with_names(input: impl Read) -> Result<AnyProfile, PprofError> {
    let mut reader = compress::reader(input)?;
    let mut head = Vec::new();
    let mut is_truncated = false;
    match reader.by_ref().take(WHOLE_BYTES_MAX as u64).read_to_end(&mut head) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && !head.is_empty() => {
            is_truncated = true;
        }
        Err(error) => return Err(error.into()),
    }
    let is_whole = head.len() < WHOLE_BYTES_MAX || is_truncated;
    if !is_whole && !looks_like_proto(&head) {
        let rest = TEXT_BYTES_MAX - head.len() as u64;
        reader.take(rest + 1).read_to_end(&mut head)?;
        if head.len() as u64 > TEXT_BYTES_MAX {
            return Err(PprofError::TooLarge(TEXT_BYTES_MAX));
        }
        return text(&head, false, PprofError::NotAProfile);
    }
    if !is_whole {
        return pprof::read_plain(head, reader, Options::default(), false).map(plain);
    }
    match pprof::read_plain(Vec::new(), head.as_slice(), Options::default(), is_truncated) {
        Ok(parsed) => Ok(plain(parsed)),
        Err(PprofError::Concatenated) => Err(PprofError::Concatenated),
        Err(error) => text(&head, is_truncated, error),
    }
}

fn plain(parsed: Parsed) -> AnyProfile {
    let Parsed { profile, warnings } = parsed;
    AnyProfile { profile, warnings, names: TextNames::default() }
}

/// Starts with a length-delimited field of the Profile message.
fn looks_like_proto(head: &[u8]) -> bool {
    head.first().is_some_and(|tag| matches!(tag, 0x0a | 0x12 | 0x1a | 0x22 | 0x2a | 0x32 | 0x5a))
}

fn text(bytes: &[u8], is_truncated: bool, as_proto: PprofError) -> Result<AnyProfile, PprofError> {
    // The last line of a file that ends early is not whole.
    let whole_lines = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let bytes = if is_truncated { bytes.get(..whole_lines).unwrap_or(bytes) } else { bytes };
    let truncation = "the file ends early; what could be read is shown".to_owned();
    let mut warnings: Vec<String> = is_truncated.then_some(truncation).into_iter().collect();
    match legacy::read(bytes) {
        Ok((profile, names)) => return Ok(AnyProfile { profile, names, warnings }),
        Err(PprofError::NotAProfile) => {}
        Err(error) => return Err(error),
    }
    if bytes.starts_with(b"PERFILE2") {
        let message = "a perf.data file: run `perf script` on it and give its output";
        return Err(PprofError::Malformed(message.to_owned()));
    }
    let is_text = !bytes.is_empty() && !bytes.iter().take(4096).any(|byte| *byte == 0);
    let foreign = is_text.then(|| foreign::read(&String::from_utf8_lossy(bytes))).flatten();
    match foreign {
        Some(Ok((profile, more))) => {
            warnings.extend(more);
            Ok(AnyProfile { profile, names: TextNames::default(), warnings })
        }
        Some(Err(message)) => Err(PprofError::Malformed(message)),
        None if looks_like_proto(bytes) => Err(as_proto),
        None => Err(PprofError::NotAProfile),
    }
}
