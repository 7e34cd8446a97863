//! Captures of figures as the store keeps them: JSON, gzip. Written and read by memsight only,
//! and open to whoever unpacks them: names are those of Go's `runtime/metrics` and of
//! `memsight rss --json`.
//!
//! Fields may be added; readers leave out what they do not know.

mod metrics;
mod rss;

use std::io::{Read, Write};

use serde_json::Value;

pub use metrics::{read_metrics, write_metrics};
pub use rss::{read_rss, write_rss};

/// More than the largest record, unpacked.
const BYTES_MAX: u64 = 16 << 20;

/// Why a record cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// It does not unpack.
    #[error("the record is damaged: {0}")]
    Packing(#[from] std::io::Error),
    /// It is no JSON.
    #[error("the record is damaged: {0}")]
    Json(#[from] serde_json::Error),
    /// It is JSON of another shape.
    #[error("the record lacks {0}")]
    Lacks(&'static str),
}

fn pack(value: &Value) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    // Writing to memory does not fail.
    let _ = encoder.write_all(value.to_string().as_bytes());
    encoder.finish().unwrap_or_default()
}

fn unpack(bytes: &[u8]) -> Result<Value, RecordError> {
    let mut text = Vec::new();
    flate2::read::GzDecoder::new(bytes).take(BYTES_MAX).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}
