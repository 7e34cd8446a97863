//! Ctrl-C and SIGTERM as a flag, for commands that have something to finish.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

/// A flag that Ctrl-C or SIGTERM sets, from now on and for as long as the runtime lives.
///
/// # Errors
/// When the signals cannot be handled.
pub(crate) fn flag(runtime: &Runtime) -> io::Result<Arc<AtomicBool>> {
    let _entered = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let flag = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&flag);
    runtime.spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        set.store(true, Ordering::Relaxed);
    });
    Ok(flag)
}
