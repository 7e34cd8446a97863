//! How a command fails: a message, a next step, and the exit code.

use std::fmt;

/// Exit codes of every command (0 is success).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// The command is a check and the answer is "yes, a problem".
    Problem = 1,
    /// Bad usage or input.
    Usage = 2,
    /// Not permitted; the message names the missing capability.
    Denied = 3,
    /// The target went away.
    Gone = 4,
}

/// An error on its way to the terminal.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What happened, innermost cause last.
    pub error: anyhow::Error,
    /// What to do about it.
    pub next: Option<String>,
}

impl Failure {
    /// A failure the user can mend by calling differently.
    pub(crate) fn usage(message: impl fmt::Display) -> Failure {
        Failure { exit: Exit::Usage, error: anyhow::anyhow!("{message}"), next: None }
    }

    /// Adds the next step.
    #[must_use]
    pub(crate) fn next(mut self, next: impl Into<String>) -> Failure {
        self.next = Some(next.into());
        self
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Failure {
        let error = error.into();
        let capture = error.chain().find_map(|cause| cause.downcast_ref::<capture::CaptureError>());
        let (exit, next) = match capture {
            Some(cause) => (exit_of(cause.kind()), cause.next_step()),
            None => (Exit::Usage, None),
        };
        Failure { exit, error, next }
    }
}

fn exit_of(kind: capture::ErrorKind) -> Exit {
    match kind {
        capture::ErrorKind::BadInput => Exit::Usage,
        capture::ErrorKind::Denied => Exit::Denied,
        capture::ErrorKind::Gone => Exit::Gone,
    }
}
