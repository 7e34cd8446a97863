//! One request, and what its answer means.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant, SystemTime};

use httpclient::{Answer, Client, HttpError};

use crate::config::{Config, Protocol};
use crate::item::Counts;

/// How long 1.0 is used before 2.0 is tried again.
const FALLBACK: Duration = Duration::from_secs(600);

/// Receivers that want to be left alone for longer are asked all the same.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// What became of a request.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// All of it is stored.
    Stored,
    /// What the receiver could store is stored; so much is not.
    Partly { missing: u64, status: u16, words: String },
    /// Later, when this long has passed if the receiver said so.
    Again { after: Option<Duration>, is_suspect: bool, words: String },
    /// The same by the other message.
    OtherProtocol { words: String },
    /// There is something in it that the receiver does not take.
    Refused { status: u16, words: String },
    /// Less at a time.
    TooLarge { words: String },
    /// The receiver has enough, and nobody wants to wait.
    RateLimited { words: String },
}

/// Sends the requests of a destination.
pub(crate) struct Exchange {
    client: Client,
    url: String,
    headers: Vec<(String, String)>,
    wanted: Protocol,
    retries_429: bool,
    /// Until then 1.0 is used where 2.0 is wanted.
    fallback_until: Mutex<Option<Instant>>,
}

impl Exchange {
    pub(crate) fn new(config: &Config) -> Result<Exchange, HttpError> {
        Ok(Exchange {
            client: Client::new(&config.http_options(), config.remote_timeout)?
                .with_body_max(1 << 20),
            url: config.url.as_str().to_owned(),
            headers: config.headers.clone().into_iter().collect(),
            wanted: config.protobuf_message,
            retries_429: config.queue_config.retry_on_http_429,
            fallback_until: Mutex::new(None),
        })
    }

    /// The message that is sent now.
    pub(crate) fn protocol(&self) -> Protocol {
        let mut until = self.fallback_until.lock().unwrap_or_else(PoisonError::into_inner);
        *until = until.filter(|until| Instant::now() < *until);
        if until.is_some() { Protocol::V1 } else { self.wanted }
    }

    /// Uses 1.0 for a while.
    pub(crate) fn fall_back(&self) {
        let mut until = self.fallback_until.lock().unwrap_or_else(PoisonError::into_inner);
        *until = Instant::now().checked_add(FALLBACK);
    }

    /// Sends a compressed message.
    pub(crate) fn send(
        &self,
        protocol: Protocol,
        body: &[u8],
        attempt: u32,
    ) -> Result<Answer, HttpError> {
        let (content, version) = match protocol {
            Protocol::V1 => ("application/x-protobuf", "0.1.0"),
            Protocol::V2 => {
                ("application/x-protobuf;proto=io.prometheus.write.v2.Request", "2.0.0")
            }
        };
        let attempt_text = attempt.to_string();
        let mut headers = vec![
            ("Content-Encoding", "snappy"),
            ("Content-Type", content),
            ("X-Prometheus-Remote-Write-Version", version),
        ];
        if attempt > 0 {
            headers.push(("Retry-Attempt", &attempt_text));
        }
        let own = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        headers.extend(own);
        self.client.send("POST", &self.url, &headers, body)
    }

    /// What the answer to a message with `counts` means.
    pub(crate) fn verdict(
        &self,
        protocol: Protocol,
        counts: Counts,
        answer: Result<Answer, HttpError>,
    ) -> Verdict {
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                let words = error.to_string();
                return Verdict::Again { after: None, is_suspect: false, words };
            }
        };
        let status = answer.status;
        let words = format!("{status} {}", answer.first_line()).trim_end().to_owned();
        let after = answer.retry_after(SystemTime::now()).map(|after| after.min(RETRY_AFTER_MAX));
        let values = counts.samples + counts.histograms;
        let written = (protocol == Protocol::V2).then(|| written(&answer));
        match (status, written) {
            // Receivers that know 1.0 only take 2.0 for an empty message, and say that all is
            // well. Those that store it say how much.
            (200..300, Some(None)) => {
                Verdict::OtherProtocol { words: format!("{words} without saying what was written") }
            }
            (200..300, Some(Some(written))) => match values.saturating_sub(written) {
                0 => Verdict::Stored,
                missing => Verdict::Partly { missing, status, words },
            },
            (200..300, None) => Verdict::Stored,
            (429, _) if !self.retries_429 => Verdict::RateLimited { words },
            (413, _) => Verdict::TooLarge { words },
            (415, Some(_)) | (400 | 409 | 422, Some(None)) => Verdict::OtherProtocol { words },
            // A 2.0 receiver stores what it can, and says how much. When it has a line to say on
            // each value, it looked at all of them. A single one has its own name to be told.
            (400 | 409 | 422, Some(Some(written)))
                if values > 1 && (written > 0 || lines(&answer) >= values) =>
            {
                Verdict::Partly { missing: values.saturating_sub(written), status, words }
            }
            (400 | 409 | 422, _) => Verdict::Refused { status, words },
            // All else says nothing about the values: a wrong password or path must not cost data.
            _ => Verdict::Again { after, is_suspect: status == 500, words },
        }
    }
}

/// Samples and histograms that a 2.0 receiver says it wrote; nothing when it does not say.
fn written(answer: &Answer) -> Option<u64> {
    let number = |kind: &str| {
        let text = answer.header(&format!("X-Prometheus-Remote-Write-{kind}-Written"))?;
        text.trim().parse::<u64>().ok()
    };
    let [samples, histograms, exemplars] = ["Samples", "Histograms", "Exemplars"].map(number);
    samples.or(histograms).or(exemplars)?;
    Some(samples.unwrap_or(0).saturating_add(histograms.unwrap_or(0)))
}

fn lines(answer: &Answer) -> u64 {
    answer.body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count() as u64
}

/// Whether the receiver says that it has that time of the series, or a later one.
pub(crate) fn is_out_of_order(words: &str) -> bool {
    let words = words.to_lowercase();
    const SIGNS: [&str; 6] = [
        "out of order",
        "out-of-order",
        "duplicate sample",
        "out of bounds",
        "too old sample",
        "too far",
    ];
    SIGNS.iter().any(|sign| words.contains(sign))
}
