//! Files of /proc and /sys, which have no size and are short.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Most are shorter than this.
const SHORT: usize = 4 << 10;

/// The text of a file. In one read and one that finds its end, where the standard library asks for
/// its size and then begins with 32 bytes: it is two thirds of what an observation costs.
///
/// # Errors
/// When it cannot be read, or is no text.
pub(crate) fn read(path: impl AsRef<Path>) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut short = [0; SHORT];
    let mut filled = 0;
    while let Some(free) = short.get_mut(filled..).filter(|free| !free.is_empty()) {
        match file.read(free) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let mut bytes = short.get(..filled).unwrap_or_default().to_vec();
    if filled == SHORT {
        file.read_to_end(&mut bytes)?;
    }
    String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use std::fs;

    #[test]
    fn files_are_read_to_their_end() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for len in [0, 1, 4095, 4096, 4097, 100_000] {
            let text = "abc\n".repeat(len)[..len].to_owned();
            fs::write(file.path(), &text).unwrap();
            assert_eq!(super::read(file.path()).unwrap(), text);
        }
        let status = super::read("/proc/self/status").unwrap();
        assert!(status.starts_with("Name:") && status.contains("nonvoluntary_ctxt_switches"));
        // Of more than a page, which the kernel tells in pieces.
        assert!(super::read("/proc/self/smaps").unwrap().ends_with('\n'));
        assert!(super::read("/proc/self/none").is_err());
    }
}
