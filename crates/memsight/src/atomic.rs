//! Files that are written whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Writes a file that is there whole or not at all, and only the user may read: beside its
/// place under another name first, then renamed. Returns what `write` does.
///
/// # Errors
/// When writing fails; nothing is left behind then.
pub(crate) fn create<T>(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<T>,
) -> io::Result<T> {
    let name = path.file_name().ok_or_else(|| io::Error::other("no name for a file"))?;
    let hidden = format!(".{}.{}.tmp", name.to_string_lossy(), std::process::id());
    let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    let hidden = folder.join(hidden);
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&hidden)?;
    let begun = Begun(hidden);
    let mut out = BufWriter::with_capacity(1 << 20, file);
    let result = write(&mut out)?;
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    fs::rename(&begun.0, path)?;
    // The name is on disk only when its folder is.
    File::open(folder)?.sync_all()?;
    Ok(result)
}

/// A file under its first name; removed unless it was renamed.
struct Begun(PathBuf);

impl Drop for Begun {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::os::unix::fs::PermissionsExt;

    use super::create;

    #[test]
    fn a_file_is_replaced_whole_or_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("shop.heap");
        create(&path, |out| out.write_all(b"first")).unwrap();
        let failed = create(&path, |out| {
            out.write_all(b"half")?;
            Err::<(), _>(io::Error::other("disk full"))
        });
        assert_eq!(failed.unwrap_err().to_string(), "disk full");
        assert_eq!(std::fs::read(&path).unwrap(), b"first");
        create(&path, |out| out.write_all(b"second")).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"second");
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "memory holds secrets");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
        assert!(create(&dir.path().join("no/such/folder"), |_| Ok(())).is_err());
    }
}
