//! Memsight's own pages on one file, from a store that lives as long as the server.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Duration;

use agent::config::Config;
use anyhow::Context;
use model::{Target, TargetId, TargetSpec};

use crate::failure::Failure;
use crate::pprof::browser;
use crate::service::Service;

/// Longer than anybody looks at a file.
const KEEP: Duration = Duration::from_secs(365 * 24 * 3600);

/// A server that watches nothing. What is to be seen is put into its store.
pub(crate) struct Viewer {
    /// Store and server.
    pub service: Service,
    // Dropped last: the service writes to it.
    _dir: TemporaryStore,
}

impl Viewer {
    /// Starts a server with an empty store.
    pub(crate) fn start(listen: &str) -> Result<Viewer, Failure> {
        let dir = TemporaryStore::create().context("cannot create a folder for the server")?;
        let mut config = Config::default();
        config.store.path.clone_from(&dir.0);
        (config.store.keep, config.store.keep_bytes) = (KEEP, u64::MAX >> 1);
        listen.clone_into(&mut config.web.listen);
        let service = Service::start(&config, false)?;
        Ok(Viewer { service, _dir: dir })
    }

    /// A target of this name, for what is to be seen.
    pub(crate) fn target(&self, name: &str) -> Result<TargetId, Failure> {
        let name = name.to_owned();
        let spec = TargetSpec::Name(name.clone());
        let target = Target { spec, name, pid: None, labels: BTreeMap::new() };
        Ok(self.service.store.put_target(&target, capture::now())?)
    }

    /// Serves until Ctrl-C. A browser opens the page unless there is no screen, or
    /// `no_browser` says so.
    pub(crate) fn serve(self, page: &str, no_browser: bool) -> Result<ExitCode, Failure> {
        let url = format!("{}{page}", self.service.url);
        eprintln!("Serving web UI on {url}");
        let is_wanted = !no_browser
            && ["BROWSER", "DISPLAY"].iter().any(|name| std::env::var_os(name).is_some());
        // It runs on by itself; without a screen nothing is started.
        let _ = is_wanted.then(|| browser::start(&browser::names(), url.as_ref()));
        let signalled = self.service.signalled();
        while !signalled.load(Ordering::Relaxed) {
            let _ = self.service.events.recv_timeout(Duration::from_millis(250));
        }
        self.service.stop()?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The name that a file's target gets: the file's own.
pub(crate) fn file_name(source: &str) -> String {
    let name = Path::new(source).file_name().map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_else(|| source.to_owned())
}

/// A folder that goes when the server ends.
struct TemporaryStore(PathBuf);

impl TemporaryStore {
    fn create() -> std::io::Result<TemporaryStore> {
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
