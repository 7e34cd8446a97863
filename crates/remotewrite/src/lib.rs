//! Remote write: what Prometheus's `remote_write` block says, done.
//!
//! What is collected goes into one log on disk ([`RemoteWrites::append`]), whatever the number
//! of destinations. Each destination reads it at its own pace and keeps its place in a file, so
//! nothing unsent is lost when the process ends, however it ends. Series that a receiver refuses
//! are found and left out; receivers that silently drop remote write 2.0 get 1.0.
//!
//! ```no_run
//! use model::{Labels, Timestamp};
//! use remotewrite::{Config, Limits, RemoteWrites};
//!
//! let configs: Vec<Config> = serde_saphyr::from_str("- url: http://localhost:9090/api/v1/write")?;
//! let folder = std::path::Path::new("/var/lib/memsight/remote-write");
//! let report = std::sync::Arc::new(|notice: remotewrite::Notice| eprintln!("{notice}"));
//! let external = Labels::new([("host", "a")]);
//! let writes = RemoteWrites::open(folder, &external, &configs, Limits::default(), report)?;
//! writes.append("node", Timestamp(1_700_000_000_000), &[]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod config;
mod cursor;
mod deliver;
mod destination;
mod exchange;
mod families;
mod item;
mod log;
mod numbers;
mod proto;
mod quarantine;
pub mod relabel;
mod request;
mod reshard;
mod shards;
mod tables;
mod writes;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use crate::config::{Config, MetadataConfig, Protocol, QueueConfig, check};
pub use crate::log::{Contents, segment_contents};
pub use crate::writes::{DestinationStatus, RemoteWrites};

/// Bounds of the log on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all segments; the oldest are deleted beyond it, sent or not.
    pub bytes: u64,
    /// Age of a segment after which it is deleted, sent or not.
    pub age: Duration,
    /// Bytes of a segment; what was sent is deleted segment by segment.
    pub segment_bytes: u64,
    /// Age after which a segment is closed.
    pub segment_age: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Limits {
            bytes: 4 << 30,
            age: 14 * DAY,
            segment_bytes: 32 << 20,
            segment_age: Duration::from_secs(60 * 60),
        }
    }
}

/// Something to be told once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Whom it concerns; nothing when it is the log that all share.
    pub destination: Option<String>,
    /// Somebody has to look at it.
    pub is_problem: bool,
    /// What happened.
    pub text: String,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.destination {
            Some(destination) => write!(f, "remote write to {destination}: {}", self.text),
            None => write!(f, "remote write: {}", self.text),
        }
    }
}

/// Where notices go.
pub type Report = Arc<dyn Fn(Notice) + Send + Sync>;

/// Why remote write cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteWriteError {
    /// The configuration contradicts itself.
    #[error("{0}")]
    Config(String),
    /// The HTTP options contradict each other.
    #[error(transparent)]
    Http(#[from] httpclient::HttpError),
    /// A file of the queue cannot be used.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another process has the folder.
    #[error("{} is in use by another process: give each its own folder", .0.display())]
    Locked(PathBuf),
}

/// A number that tells values apart within a process.
fn digest(value: &impl Hash) -> u64 {
    let mut hasher = ahash::AHasher::default();
    value.hash(&mut hasher);
    hasher.finish()
}
