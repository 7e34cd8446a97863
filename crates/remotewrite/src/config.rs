//! The `remote_write` block of prometheus.yml, with its defaults and checks.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use httpclient::{Check, Url};
use model::units::parse_duration;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::relabel::Rule;

httpclient::with_http_options! {
    /// One destination, as a `remote_write` block of prometheus.yml says it.
    #[derive(Clone, Debug, PartialEq, Deserialize)]
    pub struct Config {
        /// Where to.
        pub url: Url,
        /// How long one request may take.
        #[serde(default = "remote_timeout", deserialize_with = "duration")]
        pub remote_timeout: Duration,
        /// More headers for each request.
        #[serde(default, deserialize_with = "headers")]
        pub headers: BTreeMap<String, String>,
        /// Which series go there, and under which labels.
        #[serde(default, deserialize_with = "httpclient::or_default")]
        pub write_relabel_configs: Vec<Rule>,
        /// A name for metrics and messages.
        #[serde(default)]
        pub name: Option<String>,
        /// Send exemplars.
        #[serde(default)]
        pub send_exemplars: bool,
        /// Send native histograms.
        #[serde(default)]
        pub send_native_histograms: bool,
        /// Accepted and ignored: each new connection asks the resolver again.
        #[serde(default)]
        pub round_robin_dns: bool,
        /// Accepted and ignored: what a receiver refuses is always told.
        #[serde(default)]
        pub failed_request_logging: bool,
        /// 1.0 or 2.0.
        #[serde(default)]
        pub protobuf_message: Protocol,
        /// Batches, shards, retries.
        #[serde(default, deserialize_with = "checked")]
        pub queue_config: QueueConfig,
        /// How types and help texts are sent under 1.0.
        #[serde(default, deserialize_with = "checked")]
        pub metadata_config: MetadataConfig,
    }
}

impl Config {
    /// The name in metrics and messages: the given one, or the address.
    pub fn title(&self) -> String {
        self.name.clone().filter(|name| !name.is_empty()).unwrap_or_else(|| self.url.to_string())
    }

    /// What the cursor's file is named after: the same destination keeps its place when its
    /// other options change.
    pub(crate) fn key(&self) -> String {
        let own = self.name.as_deref().filter(|name| !name.is_empty());
        let text = own.unwrap_or_else(|| self.url.as_str());
        let readable = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
        let readable: String = self.title().chars().map(readable).take(60).collect();
        format!("{readable}-{:08x}", crc32fast::hash(text.as_bytes()))
    }
}

/// Checks what concerns several destinations.
///
/// # Errors
/// Two of them have one name, or HTTP options contradict each other.
pub fn check(configs: &[Config]) -> Result<(), String> {
    let mut keys = BTreeSet::new();
    for config in configs {
        config.http_options().check().map_err(|error| error.to_string())?;
        if !keys.insert(config.key()) {
            let title = config.title();
            return Err(format!("two remote_write blocks are {title:?}: give each its own name"));
        }
    }
    Ok(())
}

/// Which message is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Protocol {
    /// Remote write 1.0.
    #[default]
    #[serde(rename = "prometheus.WriteRequest")]
    V1,
    /// Remote write 2.0.
    #[serde(rename = "io.prometheus.write.v2.Request")]
    V2,
}

/// Batches, shards and retries.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QueueConfig {
    /// Samples that wait in a shard.
    pub capacity: usize,
    /// Most connections at a time.
    pub max_shards: usize,
    /// Fewest.
    pub min_shards: usize,
    /// Samples of a request.
    pub max_samples_per_send: usize,
    /// How long a sample waits for others.
    #[serde(deserialize_with = "duration")]
    pub batch_send_deadline: Duration,
    /// Wait after the first failure.
    #[serde(deserialize_with = "duration")]
    pub min_backoff: Duration,
    /// Longest wait.
    #[serde(deserialize_with = "duration")]
    pub max_backoff: Duration,
    /// Wait and try again when the receiver says that it is too much.
    pub retry_on_http_429: bool,
    /// Older samples are not sent; 0 sends all.
    #[serde(deserialize_with = "duration")]
    pub sample_age_limit: Duration,
}

impl Default for QueueConfig {
    fn default() -> QueueConfig {
        QueueConfig {
            capacity: 10_000,
            max_shards: 50,
            min_shards: 1,
            max_samples_per_send: 2000,
            batch_send_deadline: Duration::from_secs(5),
            min_backoff: Duration::from_millis(30),
            max_backoff: Duration::from_secs(5),
            retry_on_http_429: false,
            sample_age_limit: Duration::ZERO,
        }
    }
}

/// Beyond these, what was written is a mistake and would cost memory or threads.
const SHARDS_MAX: usize = 1000;
const SAMPLES_MAX: usize = 1_000_000;

impl Check for QueueConfig {
    fn check(&self) -> Result<(), String> {
        let numbers = [
            ("max_shards", self.max_shards, SHARDS_MAX),
            ("min_shards", self.min_shards, SHARDS_MAX),
            ("max_samples_per_send", self.max_samples_per_send, SAMPLES_MAX),
            ("capacity", self.capacity, SAMPLES_MAX),
        ];
        for (name, number, most) in numbers {
            if number == 0 || number > most {
                return Err(format!("{name} must lie between 1 and {most}"));
            }
        }
        if self.min_shards > self.max_shards {
            return Err("min_shards must not be greater than max_shards".to_owned());
        }
        if self.max_backoff < self.min_backoff {
            return Err("max_backoff must not be less than min_backoff".to_owned());
        }
        Ok(())
    }
}

/// How types and help texts are sent under 1.0; 2.0 has them beside the samples.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetadataConfig {
    /// Whether.
    pub send: bool,
    /// How often.
    #[serde(deserialize_with = "duration")]
    pub send_interval: Duration,
    /// Entries of a request.
    pub max_samples_per_send: usize,
}

impl Default for MetadataConfig {
    fn default() -> MetadataConfig {
        MetadataConfig {
            send: true,
            send_interval: Duration::from_secs(60),
            max_samples_per_send: 2000,
        }
    }
}

impl Check for MetadataConfig {
    fn check(&self) -> Result<(), String> {
        if self.max_samples_per_send == 0 || self.max_samples_per_send > SAMPLES_MAX {
            return Err(format!("max_samples_per_send must lie between 1 and {SAMPLES_MAX}"));
        }
        if self.send_interval.is_zero() {
            return Err("send_interval must be positive".to_owned());
        }
        Ok(())
    }
}

fn remote_timeout() -> Duration {
    Duration::from_secs(30)
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parse_duration(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

/// An empty block is the default, as in Go.
fn checked<'de, D: Deserializer<'de>, T: Deserialize<'de> + Check + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    httpclient::checked(deserializer).map(Option::unwrap_or_default)
}

/// Headers that the protocol or other options set.
const RESERVED_HEADERS: [&str; 17] = [
    "authorization",
    "host",
    "content-encoding",
    "content-length",
    "content-type",
    "user-agent",
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "www-authenticate",
    "accept-encoding",
    "x-prometheus-remote-write-version",
    "x-prometheus-remote-read-version",
    "x-amz-date",
    "x-amz-security-token",
    "x-amz-content-sha256",
];

fn headers<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    let headers: BTreeMap<String, String> = httpclient::or_default(deserializer)?;
    for name in headers.keys() {
        let lower = name.to_lowercase();
        if lower == "authorization" {
            return Err(D::Error::custom(
                "authorization cannot be a header: use basic_auth, authorization or oauth2",
            ));
        }
        if RESERVED_HEADERS.contains(&lower.as_str()) {
            return Err(D::Error::custom(format!("{name} is a reserved header: leave it out")));
        }
    }
    Ok(headers)
}
