//! A file that gets one JSON object a line.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;

use super::Failure;
use crate::config;
use crate::data::Message;

pub(super) struct Log {
    config: config::Log,
}

impl Log {
    pub(super) fn new(config: &config::Log) -> Log {
        Log { config: config.clone() }
    }

    pub(super) fn send(&self, message: &Message) -> Result<(), Failure> {
        let line = serde_json::json!({
            "time": crate::alert::rfc3339(crate::now()),
            "notification": message,
        });
        let text = format!("{line}\n");
        self.append(text.as_bytes()).map_err(|error| {
            Failure::retry("file", format!("{}: {error}", self.config.path.display()))
        })
    }

    fn append(&self, line: &[u8]) -> io::Result<()> {
        if let Some(folder) = self.config.path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut file = self.open()?;
        let length = file.metadata()?.len();
        let is_full = length > 0 && length + line.len() as u64 > self.config.bytes_max;
        if is_full {
            self.rotate()?;
            file = self.open()?;
        }
        let length = file.metadata()?.len();
        let written = file.write_all(line).and_then(|()| file.sync_data());
        if written.is_err() {
            // Half a line would make the next one unreadable.
            let _ = file.set_len(length);
        }
        written
    }

    fn open(&self) -> io::Result<File> {
        OpenOptions::new().create(true).append(true).open(&self.config.path)
    }

    fn rotate(&self) -> io::Result<()> {
        if self.config.files_max == 0 {
            return fs::remove_file(&self.config.path);
        }
        for index in (1..self.config.files_max).rev() {
            let (from, to) = (self.old(index), self.old(index + 1));
            if from.exists() {
                fs::rename(from, to)?;
            }
        }
        fs::rename(&self.config.path, self.old(1))
    }

    fn old(&self, index: u32) -> PathBuf {
        let mut name = self.config.path.as_os_str().to_owned();
        name.push(format!(".{index}"));
        PathBuf::from(name)
    }
}
