//! Profile files of any kind as streams. Those of `perf record` go through `perf script`,
//! which alone knows all their versions; it is run as a program.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// How files of `perf record` begin.
const PERF_DATA: &[u8; 8] = b"PERFILE2";

/// Opens a profile for reading.
///
/// # Errors
/// When it cannot be opened, or needs a program that does not start.
pub(crate) fn open(path: &Path) -> io::Result<Box<dyn Read>> {
    let mut file = File::open(path)?;
    let mut head = Vec::new();
    file.by_ref().take(PERF_DATA.len() as u64).read_to_end(&mut head)?;
    if head == PERF_DATA {
        return Ok(Box::new(PerfScript::start(path)?));
    }
    Ok(Box::new(Cursor::new(head).chain(file)))
}

/// The output of `perf script`; its failure is an error of the last read.
struct PerfScript {
    child: Child,
    is_reported: bool,
}

impl PerfScript {
    fn start(path: &Path) -> io::Result<PerfScript> {
        let child = Command::new("perf")
            .args(["script", "-i"])
            .arg(path)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| {
                let message = format!(
                    "a file of perf record needs the program perf, which does not start \
                     ({error}); elsewhere, `perf script` makes a text that can be read here"
                );
                io::Error::other(message)
            })?;
        Ok(PerfScript { child, is_reported: false })
    }
}

impl Read for PerfScript {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(output) = self.child.stdout.as_mut() else { return Ok(0) };
        let count = output.read(buffer)?;
        if count == 0 && !buffer.is_empty() && !self.is_reported {
            self.is_reported = true;
            let status = self.child.wait()?;
            if !status.success() {
                let message = format!("perf script failed ({status})");
                return Err(io::Error::new(io::ErrorKind::BrokenPipe, message));
            }
        }
        Ok(count)
    }
}

impl Drop for PerfScript {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
