//! A store that lives as long as the pages on one file.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// A folder that goes when the server ends.
pub(crate) struct TemporaryStore(pub(crate) PathBuf);

impl TemporaryStore {
    pub(crate) fn create() -> std::io::Result<TemporaryStore> {
        TemporaryStore::sweep();
        let dir = std::env::temp_dir().join(format!("{PREFIX}{}", std::process::id()));
        std::fs::create_dir(&dir)?;
        Ok(TemporaryStore(dir))
    }

    /// Removes what servers left that were killed. The age spares those whose pid is
    /// another container's.
    fn sweep() {
        const OLD: Duration = Duration::from_secs(24 * 3600);
        for entry in std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let pid = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.parse::<u32>().ok());
            let is_gone = pid.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists());
            let age = entry.metadata().ok().and_then(|data| data.modified().ok()?.elapsed().ok());
            if is_gone && age.is_some_and(|age| age > OLD) {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
    }
}

const PREFIX: &str = "memsight-pprof-";

impl Drop for TemporaryStore {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
