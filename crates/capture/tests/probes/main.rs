//! Probes in the kernel against programs with known truth. They need the privileges that
//! `memsight doctor` lists; a test that lacks one says so and is skipped.

mod alloc;
mod exec;
mod faults;
mod mmap;
mod native;
mod oom;
mod perf;
mod subject;

#[path = "../../../../fixtures/climber.rs"]
mod climber;
#[path = "../../../../fixtures/toolchains.rs"]
mod toolchains;

use capture::{CaptureError, ErrorKind};

/// The probe, or `None` and a word where this process may not use it.
fn permitted<T>(opened: Result<T, CaptureError>) -> Option<T> {
    match opened {
        Ok(probe) => Some(probe),
        Err(error) if error.kind() == ErrorKind::Denied => {
            println!("skipped: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}
