//! Standard output and standard error as the commands use them: colours that
//! vanish in a pipe, one progress line that never reaches a file.

use std::io::{self, IsTerminal, Write};

use crate::args::Color;

/// Whether standard output takes colour codes.
pub(crate) fn use_color(choice: Color) -> bool {
    match choice {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => {
            io::stdout().is_terminal()
                && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
                && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
        }
    }
}

/// Writes to standard output; a reader that has gone away (`| head`) is no error.
pub(crate) fn print(bytes: impl AsRef<[u8]>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes.as_ref()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// A single line on standard error that is rewritten in place, on a terminal only.
pub(crate) struct Progress {
    shown: bool,
    enabled: bool,
}

impl Progress {
    /// Starts without a line.
    pub(crate) fn new() -> Progress {
        Progress { shown: false, enabled: io::stderr().is_terminal() }
    }

    /// Replaces the line.
    pub(crate) fn show(&mut self, line: &str) {
        if self.enabled {
            eprint!("\r\x1b[2K{line}");
            self.shown = true;
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            eprint!("\r\x1b[2K");
        }
    }
}
