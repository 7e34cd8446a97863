//! What can go wrong between us and a live target, and what to do about it.

use std::io;

use decode::goruntime::{MemoryError, RuntimeError};

/// What kind of failure this is; decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The target was named wrongly or cannot be read at all.
    BadInput,
    /// A privilege is missing.
    Denied,
    /// The target has ended or does not answer.
    Gone,
}

/// A capture that did not work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// No such process.
    #[error("there is no process {0}")]
    NoProcess(u32),
    /// The process ended, or its pid now belongs to another one.
    #[error("process {0} has ended")]
    Ended(u32),
    /// The kernel refuses to let us look.
    #[error("not permitted to read process {pid}: {what}")]
    Denied {
        /// The process.
        pid: u32,
        /// What was tried.
        what: &'static str,
    },
    /// A core file cannot be used.
    #[error("{path}: {what}")]
    BadCore {
        /// The file.
        path: String,
        /// Why.
        what: String,
    },
    /// It could be done, but would harm the process or cannot work on it now.
    #[error("process {pid}: {reason}")]
    Refused {
        /// The process.
        pid: u32,
        /// Why.
        reason: String,
        /// What to do instead.
        advice: Option<&'static str>,
    },
    /// It is no Go program memsight can read.
    #[error("process {pid}: {cause}")]
    Runtime {
        /// The process.
        pid: u32,
        /// Why; told by the message, so it is no source that is told once more.
        cause: RuntimeError,
    },
    /// A pattern matches no process, or several.
    #[error("{0}")]
    Ambiguous(String),
    /// A file of the process cannot be read.
    #[error("{path}: {cause}")]
    Io {
        /// The file.
        path: String,
        /// Why.
        cause: io::Error,
    },
    /// The HTTP endpoint failed.
    #[error("{url}: {message}")]
    Http {
        /// The address.
        url: String,
        /// Why.
        message: String,
        /// Nobody answers there.
        is_unreachable: bool,
    },
    /// A probe cannot be used on this machine or process.
    #[error("{probe}: {reason}")]
    Probe {
        /// The probe.
        probe: &'static str,
        /// Why.
        reason: String,
    },
    /// A probe needs privileges that this process lacks.
    #[error("{probe} is not permitted: missing {missing}")]
    ProbeDenied {
        /// The probe.
        probe: &'static str,
        /// The capabilities.
        missing: String,
    },
    /// This kind of target cannot be read yet.
    #[error("{0}")]
    Unsupported(String),
}

impl CaptureError {
    pub(crate) fn from_runtime(pid: u32, source: RuntimeError) -> CaptureError {
        match source {
            RuntimeError::Memory(MemoryError::Gone) => CaptureError::Ended(pid),
            RuntimeError::Memory(MemoryError::Denied) => {
                CaptureError::Denied { pid, what: "reading its memory" }
            }
            cause => CaptureError::Runtime { pid, cause },
        }
    }

    pub(crate) fn from_io(pid: u32, path: String, source: io::Error) -> CaptureError {
        match source.kind() {
            io::ErrorKind::NotFound => CaptureError::NoProcess(pid),
            io::ErrorKind::PermissionDenied => {
                CaptureError::Denied { pid, what: "opening its executable" }
            }
            // ESRCH: /proc/PID is there but its process is being reaped.
            _ if source.raw_os_error() == Some(libc::ESRCH) => CaptureError::Ended(pid),
            _ => CaptureError::Io { path, cause: source },
        }
    }

    /// The kind of failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            CaptureError::Ended(_) => ErrorKind::Gone,
            CaptureError::Http { is_unreachable: true, .. } => ErrorKind::Gone,
            CaptureError::Denied { .. } | CaptureError::ProbeDenied { .. } => ErrorKind::Denied,
            _ => ErrorKind::BadInput,
        }
    }

    /// What the person at the terminal can do.
    pub fn next_step(&self) -> Option<String> {
        let text = match self {
            CaptureError::NoProcess(_) | CaptureError::Ambiguous(_) => {
                "memsight ps lists the Go processes on this machine"
            }
            CaptureError::Denied { .. } => {
                "run as the same user, or with CAP_SYS_PTRACE (sudo); memsight doctor says more"
            }
            CaptureError::ProbeDenied { .. } => {
                "run as root (sudo), or give memsight these capabilities (setcap, or \
                 securityContext.capabilities); memsight doctor says what works without"
            }
            CaptureError::Probe { .. } => "memsight doctor says which probes work here",
            CaptureError::Refused { advice, .. } => (*advice)?,
            CaptureError::Runtime { cause: RuntimeError::ProfilingDisabled, .. } => {
                "use --enable-profiling to switch sampling on in the running process (restored \
                 on exit), or import net/http/pprof or call runtime/pprof.Lookup in the program"
            }
            CaptureError::Runtime { cause: RuntimeError::NotGo, .. } => {
                "memsight ps lists the Go processes on this machine"
            }
            CaptureError::Runtime { cause: RuntimeError::UnsupportedVersion(_), .. } => {
                "what does not depend on the release works: profiles over HTTP (memsight diagnose \
                 http://HOST:PORT), a file of debug.WriteHeapDump (memsight heap summary FILE), \
                 memory of the process (memsight ps)"
            }
            CaptureError::Http { is_unreachable: true, .. } => {
                "is the program running, and does it serve net/http/pprof on that address?"
            }
            _ => return None,
        };
        Some(text.to_owned())
    }
}
