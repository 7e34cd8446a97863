//! The two words of a target that are written when asked for by name: runtime.MemProfileRate
//! and runtime.debug.traceallocfree.
//!
//! Where the linker left heap profiling out, the rate is 0 and no allocation is
//! sampled. Writing the default rate makes the runtime sample from the next
//! allocation on. The other word is what GODEBUG=traceallocfree=1 sets; the runtime looks at
//! it when an execution trace starts.
//!
//! A word is written whole through /proc/PID/mem, and put back only
//! if it still holds what was written: whoever changed it since had a reason.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;

use model::Addr;

use crate::error::CaptureError;
use crate::signals;

/// Go's default rate, bytes between samples.
pub const DEFAULT_RATE: i64 = 512 << 10;

/// How many bytes a word has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// Go's int32.
    Four,
    /// Go's int.
    Eight,
}

impl Width {
    /// The width of so many bytes.
    pub fn of_bytes(bytes: u8) -> Option<Width> {
        match bytes {
            4 => Some(Width::Four),
            8 => Some(Width::Eight),
            _ => None,
        }
    }

    /// How many bytes.
    pub fn bytes(self) -> u8 {
        match self {
            Width::Four => 4,
            Width::Eight => 8,
        }
    }
}

/// Where a word of a process lies and what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word {
    /// The process.
    pub pid: u32,
    /// Its start, so that a reused pid is not written to.
    pub start_ticks: u64,
    /// Address of the word.
    pub address: Addr,
    /// Its width.
    pub width: Width,
    /// What it held before.
    pub original: i64,
}

impl Word {
    /// Writes a value.
    ///
    /// # Errors
    /// When the process has ended or may not be written to.
    pub fn write(&self, value: i64) -> Result<(), CaptureError> {
        if signals::start_ticks(self.pid) != Some(self.start_ticks) {
            return Err(CaptureError::Ended(self.pid));
        }
        let path = self.path();
        let file = OpenOptions::new().write(true).open(&path);
        let written = file.and_then(|file| match self.width {
            Width::Four => file.write_all_at(&(value as i32).to_le_bytes(), self.address.0),
            Width::Eight => file.write_all_at(&value.to_le_bytes(), self.address.0),
        });
        written.map_err(|source| CaptureError::from_io(self.pid, path, source))
    }

    /// Puts the original value back if the word still holds `written`.
    ///
    /// # Errors
    /// When the process may not be written to. That it has ended is no error.
    pub fn restore(&self, written: i64) -> Result<(), CaptureError> {
        if self.read().ok() != Some(written) {
            return Ok(());
        }
        match self.write(self.original) {
            Err(CaptureError::Ended(_)) => Ok(()),
            result => result,
        }
    }

    fn read(&self) -> io::Result<i64> {
        let file = File::open(self.path())?;
        match self.width {
            Width::Four => {
                let mut word = [0; 4];
                file.read_exact_at(&mut word, self.address.0)?;
                Ok(i32::from_le_bytes(word).into())
            }
            Width::Eight => {
                let mut word = [0; 8];
                file.read_exact_at(&mut word, self.address.0)?;
                Ok(i64::from_le_bytes(word))
            }
        }
    }

    fn path(&self) -> String {
        format!("/proc/{}/mem", self.pid)
    }
}
