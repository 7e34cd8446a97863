//! The sections that are memsight's own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use model::{Labels, TargetSpec};
use regex::Regex;

use super::text::ConfigError;
use super::values::{bytes, duration, labels, patterns, share, some_bytes, specs};
use crate::events::Level;

/// What holds for everything.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Global {
    /// Between two observations of a target.
    #[serde(deserialize_with = "duration")]
    pub scrape_interval: Duration,
    /// Between two heap profiles of a target, budget permitting.
    #[serde(deserialize_with = "duration")]
    pub profile_interval: Duration,
    /// Between two evaluations of a group of Prometheus rules that names none.
    #[serde(deserialize_with = "duration")]
    pub evaluation_interval: Duration,
    /// Labels that everything carries that leaves this machine.
    #[serde(deserialize_with = "labels")]
    pub external_labels: Labels,
    /// Where people reach the pages, for links in notifications.
    pub external_url: Option<String>,
    /// The form of distributions that are kept and sent.
    pub histograms: Distributions,
}

/// The form of distributions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Distributions {
    /// Native histograms: one series each, with the runtime's own buckets.
    #[default]
    Native,
    /// A series for each of client_golang's buckets, for receivers that know no others.
    Classic,
    /// Both.
    Both,
}

impl Default for Global {
    fn default() -> Global {
        Global {
            scrape_interval: Duration::from_secs(10),
            profile_interval: Duration::from_secs(60),
            evaluation_interval: Duration::from_secs(15),
            external_labels: Labels::empty(),
            external_url: None,
            histograms: Distributions::default(),
        }
    }
}

/// Which processes are watched.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Targets {
    /// Every Go process that can be read, also ones that start later.
    pub all_go: bool,
    /// PID, name:REGEX, http://HOST:PORT.
    #[serde(deserialize_with = "specs")]
    pub watch: Vec<TargetSpec>,
    /// Of `all_go` not those whose name or command line matches.
    #[serde(deserialize_with = "patterns")]
    pub exclude: Vec<Regex>,
    /// Two object graphs are taken of a target whose heap seems to leak: each stops it for
    /// milliseconds and clones it.
    pub graphs: bool,
}

/// Pages, API and metrics.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Web {
    /// Address to listen on.
    pub listen: String,
    /// What clients must present; required when not bound to loopback.
    pub token: Option<String>,
    /// The file it is in.
    pub token_file: Option<PathBuf>,
    /// Clients may have snapshots of targets' heaps taken.
    pub allow_snapshots: bool,
    /// Clients may have targets traced.
    pub allow_traces: bool,
    /// Clients may have targets probed.
    pub allow_probes: bool,
}

impl Default for Web {
    fn default() -> Web {
        Web {
            listen: "127.0.0.1:7171".to_owned(),
            token: None,
            token_file: None,
            allow_snapshots: false,
            allow_traces: false,
            allow_probes: false,
        }
    }
}

impl Web {
    pub(super) fn resolve(&mut self, path: &Path, base: &Path) -> Result<(), ConfigError> {
        let fail = |text: String| ConfigError::whole(path, text);
        let Some(file) = &mut self.token_file else { return Ok(()) };
        if self.token.is_some() {
            return Err(fail("web: give token or token_file, not both".to_owned()));
        }
        super::resolve(base, file);
        let token = std::fs::read_to_string(&*file)
            .map_err(|error| fail(format!("web: token_file {}: {error}", file.display())))?;
        self.token = Some(token.trim().to_owned());
        Ok(())
    }
}

/// Where captures and series are kept, and how long.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Storage {
    /// The directory.
    pub path: PathBuf,
    /// Captures and observations older than this go.
    #[serde(deserialize_with = "duration")]
    pub keep: Duration,
    /// Captures above this size together go, oldest first.
    #[serde(deserialize_with = "bytes")]
    pub keep_bytes: u64,
    /// Series older than this go.
    #[serde(deserialize_with = "duration")]
    pub keep_series: Duration,
    /// Series above this size together go, oldest first.
    #[serde(deserialize_with = "bytes")]
    pub keep_series_bytes: u64,
}

impl Default for Storage {
    fn default() -> Storage {
        Storage {
            path: PathBuf::from("memsight-store"),
            keep: Duration::from_secs(7 * 86_400),
            keep_bytes: 2 << 30,
            keep_series: Duration::from_secs(15 * 86_400),
            keep_series_bytes: 2 << 30,
        }
    }
}

/// Probes in the kernel.
#[derive(Clone, Copy, Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Probes {
    /// Keeps the heap profile that a target has in the moment of its OOM kill.
    pub oom: ProbeUse,
    /// Keeps the lives of the machine's processes, those included that last only for a moment.
    pub exec: ProbeUse,
}

/// Whether a probe is at work all the time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProbeUse {
    /// Where it is permitted.
    #[default]
    Auto,
    /// Says so when it is not.
    Always,
    /// Not at all.
    Never,
}

/// What the watch may cost.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Budget {
    /// Share of one core that scheduled profiles of all targets take together.
    #[serde(deserialize_with = "share")]
    pub cpu: f64,
    /// What the agent may hold in memory: what it leaves bounds graphs, traces and other large
    /// captures. Without it only the limit of the agent's cgroup does.
    #[serde(deserialize_with = "some_bytes")]
    pub memory: Option<u64>,
    /// What is queued for Prometheus, on disk.
    #[serde(deserialize_with = "bytes")]
    pub remote_write_bytes: u64,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget { cpu: 0.02, memory: None, remote_write_bytes: 1 << 30 }
    }
}

/// What is logged.
#[derive(Clone, Copy, Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Logging {
    /// From which level on.
    pub level: Level,
    /// Text or JSON.
    pub format: LogFormat,
}

/// How lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// An object a line.
    Json,
}
