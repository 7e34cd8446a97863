//! What survives a `kill -9`: the state in one file, each notification that waits in one more.
//!
//! Files are written beside their place, synced and renamed; each starts with a line that holds
//! the checksum and length of the rest. Losing the machine loses nothing that was acknowledged.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::dispatch::{Key, Pending, State};

/// Longest file that is read.
const FILE_BYTES_MAX: u64 = 256 << 20;
/// So many waiting notifications are read at most.
const FILES_MAX: usize = 100_000;
const STATE: &str = "state";
const QUEUE: &str = "queue";
const MARK: &str = "memsight-notify-1";

/// The folder.
pub(crate) struct Disk {
    folder: PathBuf,
    lock: File,
}

/// What was found in it.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) state: State,
    pub(crate) waiting: Vec<Pending>,
    /// Files that make no sense; they were renamed to `NAME.damaged`.
    pub(crate) damaged: Vec<PathBuf>,
}

impl Disk {
    /// Opens the folder for this process alone.
    ///
    /// # Errors
    /// When it cannot be made or is in use.
    pub(crate) fn open(folder: &Path) -> io::Result<Disk> {
        fs::create_dir_all(folder.join(QUEUE))?;
        let lock = File::create(folder.join("lock"))?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| io::Error::other("another memsight uses it"))?;
        Ok(Disk { folder: folder.to_owned(), lock })
    }

    /// Reads what is there; what is damaged is put aside.
    pub(crate) fn read(&self) -> io::Result<Found> {
        let mut found = Found::default();
        let state = self.folder.join(STATE);
        if state.exists() {
            match read_file(&state)? {
                Some(read) => found.state = read,
                None => put_aside(&state, &mut found.damaged),
            }
        }
        for entry in fs::read_dir(self.folder.join(QUEUE))?.take(FILES_MAX) {
            let path = entry?.path();
            match path.extension().and_then(|extension| extension.to_str()) {
                // A write that was cut off; what it replaces is still there.
                Some("new") => fs::remove_file(&path)?,
                Some("damaged") => {}
                _ => match read_file::<Pending>(&path)? {
                    Some(pending) => found.waiting.push(pending),
                    None => put_aside(&path, &mut found.damaged),
                },
            }
        }
        Ok(found)
    }

    /// Lets others have the folder; nothing may be written after this.
    pub(crate) fn release(&self) {
        // It is released at the latest when the process ends.
        let _ = rustix::fs::flock(&self.lock, rustix::fs::FlockOperation::Unlock);
    }

    /// Writes the state.
    pub(crate) fn write_state(&self, text: &[u8]) -> io::Result<()> {
        write_file(&self.folder, STATE, text)
    }

    /// Writes a notification that waits.
    pub(crate) fn write_pending(&self, key: &Key, text: &[u8]) -> io::Result<()> {
        write_file(&self.folder.join(QUEUE), &file_name(key), text)
    }

    /// Removes one that no longer does.
    pub(crate) fn remove_pending(&self, key: &Key) -> io::Result<()> {
        match fs::remove_file(self.folder.join(QUEUE).join(file_name(key))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// What is written, with its checksum.
pub(crate) fn encode(value: &impl Serialize) -> Vec<u8> {
    let body = serde_json::to_vec(value).unwrap_or_default();
    let mut text = format!("{MARK} {:08x} {}\n", crc32fast::hash(&body), body.len()).into_bytes();
    text.extend(body);
    text
}

fn decode<T: DeserializeOwned>(text: &[u8]) -> Option<T> {
    let end = text.iter().position(|byte| *byte == b'\n')?;
    let header = std::str::from_utf8(text.get(..end)?).ok()?;
    let mut words = header.split(' ');
    let (mark, sum, length) = (words.next()?, words.next()?, words.next()?);
    let body = text.get(end + 1..)?;
    let sum = u32::from_str_radix(sum, 16).ok()?;
    let is_whole = mark == MARK && length.parse() == Ok(body.len()) && sum == crc32fast::hash(body);
    if is_whole { serde_json::from_slice(body).ok() } else { None }
}

fn read_file<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    let mut text = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX).read_to_end(&mut text)?;
    Ok(decode(&text))
}

fn put_aside(path: &Path, damaged: &mut Vec<PathBuf>) {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".damaged");
    let _ = fs::rename(path, &aside);
    damaged.push(PathBuf::from(aside));
}

fn write_file(folder: &Path, name: &str, text: &[u8]) -> io::Result<()> {
    let (path, new) = (folder.join(name), folder.join(format!("{name}.new")));
    let written = File::create(&new).and_then(|mut file| {
        file.write_all(text)?;
        file.sync_data()
    });
    if let Err(error) = written {
        // On a full disk the half-written file would only be in the way.
        let _ = fs::remove_file(&new);
        return Err(error);
    }
    fs::rename(&new, &path)?;
    File::open(folder)?.sync_data()
}

/// Keys hold any text; two hashes of it are a name.
fn file_name(key: &Key) -> String {
    let mut hashes = [0xcbf2_9ce4_8422_2325_u64, 0x8422_2325_cbf2_9ce4];
    for byte in key.integration.bytes().chain([0xff]).chain(key.group.bytes()) {
        for hash in &mut hashes {
            *hash = (*hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    format!("{:016x}{:016x}", hashes[0], hashes[1])
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{Disk, decode, encode};

    #[test]
    fn only_what_is_whole_is_read() {
        let text = encode(&vec!["some text", "more"]);
        assert_eq!(decode::<Vec<String>>(&text).unwrap(), ["some text", "more"]);
        for length in 0..text.len() {
            assert!(decode::<Vec<String>>(&text[..length]).is_none(), "{length}");
        }
        for place in 0..text.len() {
            let mut damaged = text.clone();
            damaged[place] ^= 0x20;
            // The checksum's letters may be of either case.
            let is_read = decode::<Vec<String>>(&damaged).is_some();
            assert!(!is_read || damaged.eq_ignore_ascii_case(&text), "{place}");
        }
    }

    #[test]
    fn damaged_files_are_put_aside_and_the_folder_is_locked() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(folder.path()).unwrap();
        assert!(Disk::open(folder.path()).is_err());
        fs::write(folder.path().join("state"), "memsight-notify-1 00000000 5\nhello").unwrap();
        fs::write(folder.path().join("queue/abc"), b"\xff\x00").unwrap();
        fs::write(folder.path().join("queue/abd.new"), "half").unwrap();
        let found = disk.read().unwrap();
        assert_eq!((found.damaged.len(), found.waiting.len()), (2, 0));
        assert_eq!(disk.read().unwrap().damaged.len(), 0);
    }
}
