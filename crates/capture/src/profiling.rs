//! The one write to a target: runtime.MemProfileRate, asked for by name.
//!
//! Where the linker left heap profiling out, the rate is 0 and no allocation is
//! sampled. Writing the default rate makes the runtime sample from the next
//! allocation on. The word is written whole through /proc/PID/mem, and put back only
//! if it still holds what was written: whoever changed it since had a reason.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use model::Addr;

use crate::error::CaptureError;
use crate::signals;

/// Go's default rate, bytes between samples.
pub const DEFAULT_RATE: i64 = 512 << 10;

/// Where the rate of a process lies and what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateWord {
    /// The process.
    pub pid: u32,
    /// Its start, so that a reused pid is not written to.
    pub start_ticks: u64,
    /// Address of the word.
    pub address: Addr,
    /// What it held before.
    pub original: i64,
}

impl RateWord {
    /// Writes `rate`.
    ///
    /// # Errors
    /// When the process has ended or may not be written to.
    pub fn write(&self, rate: i64) -> Result<(), CaptureError> {
        if signals::start_ticks(self.pid) != Some(self.start_ticks) {
            return Err(CaptureError::Ended(self.pid));
        }
        let path = format!("/proc/{}/mem", self.pid);
        let file = OpenOptions::new().write(true).open(&path);
        let written = file.and_then(|file| file.write_all_at(&rate.to_le_bytes(), self.address.0));
        written.map_err(|source| CaptureError::from_io(self.pid, path, source))
    }

    /// Puts the original rate back if the word still holds `written`.
    ///
    /// # Errors
    /// When the process may not be written to. That it has ended is no error.
    pub fn restore(&self, written: i64) -> Result<(), CaptureError> {
        let path = format!("/proc/{}/mem", self.pid);
        let mut word = [0; 8];
        let file = OpenOptions::new().read(true).open(&path);
        let read = file.and_then(|file| file.read_exact_at(&mut word, self.address.0));
        if read.is_err() || i64::from_le_bytes(word) != written {
            return Ok(());
        }
        match self.write(self.original) {
            Err(CaptureError::Ended(_)) => Ok(()),
            result => result,
        }
    }
}
