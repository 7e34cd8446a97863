//! The `scrape_configs` block of prometheus.yml; targets stand there, in files, or are asked for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use httpclient::Url;
use model::Labels;
use remotewrite::relabel::Rule;
use serde::Deserialize;

use crate::config::values::{bytes, duration, labels};

httpclient::with_http_options! {
    /// Pages that are read alike.
    #[derive(Clone, Debug, PartialEq, Deserialize)]
    pub struct ScrapeConfig {
        /// The label `job`.
        pub job_name: String,
        /// Between two reads of a page; `global.scrape_interval` unless it says so.
        #[serde(default, deserialize_with = "some_duration")]
        pub scrape_interval: Option<Duration>,
        /// How long one may take: the interval, at most 10 s, unless it says so.
        #[serde(default, deserialize_with = "some_duration")]
        pub scrape_timeout: Option<Duration>,
        /// The path.
        #[serde(default = "metrics_path")]
        pub metrics_path: String,
        /// http or https.
        #[serde(default)]
        pub scheme: Scheme,
        /// Parameters of the query.
        #[serde(default)]
        pub params: BTreeMap<String, Vec<String>>,
        /// The page's labels win over the target's.
        #[serde(default)]
        pub honor_labels: bool,
        /// The page's times are taken over.
        #[serde(default = "httpclient::yes")]
        pub honor_timestamps: bool,
        /// Pages are asked for as protocol buffers, the only ones that have native histograms.
        #[serde(default)]
        pub scrape_native_histograms: bool,
        /// Of a native histogram the classic buckets are read, too.
        #[serde(default)]
        pub always_scrape_classic_histograms: bool,
        /// Which pages.
        #[serde(default)]
        pub static_configs: Vec<StaticConfig>,
        /// Files that list pages.
        #[serde(default)]
        pub file_sd_configs: Vec<FileSdConfig>,
        /// Servers that list pages.
        #[serde(default)]
        pub http_sd_configs: Vec<HttpSdConfig>,
        /// Changes the targets' labels; may drop targets.
        #[serde(default)]
        pub relabel_configs: Vec<Rule>,
        /// Changes the series' labels; may drop series.
        #[serde(default)]
        pub metric_relabel_configs: Vec<Rule>,
        /// A page with more samples fails; 0 is no limit.
        #[serde(default)]
        pub sample_limit: usize,
        /// A larger page fails; 0 is no limit.
        #[serde(default, deserialize_with = "bytes")]
        pub body_size_limit: u64,
        /// A page with a series of more labels fails; 0 is no limit.
        #[serde(default)]
        pub label_limit: usize,
    }
}

/// Addresses, with labels.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StaticConfig {
    /// HOST:PORT each.
    pub targets: Vec<String>,
    /// Labels of all of them.
    #[serde(default, deserialize_with = "labels")]
    pub labels: Labels,
}

/// Files that list pages.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileSdConfig {
    /// `.json`, `.yml` or `.yaml`; `*` and `?` in the name of the file.
    pub files: Vec<PathBuf>,
    /// They are read again after this, also where no change is seen.
    #[serde(default = "files_interval", deserialize_with = "duration")]
    pub refresh_interval: Duration,
}

fn files_interval() -> Duration {
    Duration::from_secs(300)
}

httpclient::with_http_options! {
    /// A server that lists pages, as JSON.
    #[derive(Clone, Debug, PartialEq, Deserialize)]
    pub struct HttpSdConfig {
        /// Where.
        pub url: Url,
        /// It is asked again after this.
        #[serde(default = "server_interval", deserialize_with = "duration")]
        pub refresh_interval: Duration,
    }
}

fn server_interval() -> Duration {
    Duration::from_secs(60)
}

impl ScrapeConfig {
    /// Pages are listed elsewhere.
    pub(super) fn has_lists(&self) -> bool {
        !self.file_sd_configs.is_empty() || !self.http_sd_configs.is_empty()
    }

    /// Makes what names lists relative to the folder of the configuration.
    pub(crate) fn resolve_lists(&mut self, folder: &Path) {
        let files = self.file_sd_configs.iter_mut().flat_map(|config| &mut config.files);
        files.for_each(|file| *file = folder.join(&*file));
        self.http_sd_configs.iter_mut().for_each(|config| config.set_directory(folder));
    }

    fn check_lists(&self) -> Result<(), String> {
        for file in self.file_sd_configs.iter().flat_map(|config| &config.files) {
            let kind = file.extension().and_then(|kind| kind.to_str()).unwrap_or_default();
            let is_list = ["json", "yml", "yaml"].contains(&kind.to_ascii_lowercase().as_str());
            let folder = file.parent().map(Path::to_string_lossy).unwrap_or_default();
            if !is_list || folder.contains(['*', '?']) {
                return Err(format!(
                    "{}: files of targets end in .json, .yml or .yaml; * stands in their names only",
                    file.display()
                ));
            }
        }
        let mut servers = self.http_sd_configs.iter();
        servers.try_for_each(|config| config.http_options().check().map_err(|e| e.to_string()))
    }
}

/// How a page is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// In the clear.
    #[default]
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// The word in URLs.
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }
}

/// Pages that are read at most; each has a thread.
pub(super) const TARGETS_MAX: usize = 512;

/// Checks what concerns several blocks.
///
/// # Errors
/// Two blocks have one name, or there are too many pages.
pub fn check(configs: &[ScrapeConfig]) -> Result<(), String> {
    let mut names = std::collections::BTreeSet::new();
    for config in configs {
        let job = &config.job_name;
        if job.is_empty() || !names.insert(job) {
            return Err(format!(
                "scrape_configs: the job_name {job:?} must be there, and only once"
            ));
        }
        let fail = |error: httpclient::HttpError| format!("scrape_configs: {job}: {error}");
        config.http_options().check().map_err(fail)?;
        config.check_lists().map_err(|why| format!("scrape_configs: {job}: {why}"))?;
        if config.static_configs.iter().flat_map(|part| &part.targets).any(|at| at.contains('/')) {
            return Err(format!("scrape_configs: {job}: targets are HOST:PORT, without a path"));
        }
    }
    let count = |config: &ScrapeConfig| -> usize {
        config.static_configs.iter().map(|part| part.targets.len()).sum()
    };
    let targets: usize = configs.iter().map(count).sum();
    if targets > TARGETS_MAX {
        return Err(format!("scrape_configs: {targets} targets, {TARGETS_MAX} are read at most"));
    }
    Ok(())
}

fn metrics_path() -> String {
    "/metrics".to_owned()
}

fn some_duration<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    duration(from).map(Some)
}
