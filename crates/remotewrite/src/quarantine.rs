//! A file with what receivers refused, in their own words.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use model::series::Value;

use crate::item::Item;

/// A full file becomes the one of before; that one is deleted.
const BYTES_MAX: u64 = 1 << 20;
const WORDS_MAX: usize = 500;

/// The file of a destination.
#[derive(Debug)]
pub(crate) struct Quarantine {
    path: PathBuf,
    turn: Mutex<()>,
}

impl Quarantine {
    pub(crate) fn new(path: PathBuf) -> Quarantine {
        Quarantine { path, turn: Mutex::new(()) }
    }

    /// Adds a line for each value, or one for those that are not known. Failing is no reason to stop sending: the numbers and the
    /// report say it, too.
    pub(crate) fn add(&self, items: &[Item], status: u16, words: &str) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if fs::metadata(&self.path).is_ok_and(|file| file.len() > BYTES_MAX) {
            let _ = fs::rename(&self.path, self.path.with_extension("before.tsv"));
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let words: String = words.chars().take(WORDS_MAX).collect();
        let mut lines = String::new();
        for item in items {
            let value = match &item.value {
                Value::Float(value) => value.to_string(),
                Value::Histogram(_) => "histogram".to_owned(),
            };
            let series = &item.series.labels;
            let time = item.time;
            lines.push_str(&format!("{now}\t{status}\t{series}\t{time}\t{value}\t{words:?}\n"));
        }
        if items.is_empty() {
            lines = format!("{now}\t{status}\t\t\t\t{words:?}\n");
        }
        let file = OpenOptions::new().create(true).append(true).open(&self.path);
        let _ = file.and_then(|mut file| file.write_all(lines.as_bytes()));
    }
}
