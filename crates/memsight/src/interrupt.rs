//! Signals as flags, for commands that have something to finish.

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

/// A flag that each SIGHUP sets; who acts on it takes it back.
///
/// # Errors
/// When the signal cannot be handled.
pub(crate) fn hangup(runtime: &Runtime) -> io::Result<Arc<AtomicBool>> {
    each(runtime, SignalKind::hangup())
}

/// The same for SIGUSR1.
///
/// # Errors
/// When the signal cannot be handled.
pub(crate) fn user(runtime: &Runtime) -> io::Result<Arc<AtomicBool>> {
    each(runtime, SignalKind::user_defined1())
}

fn each(runtime: &Runtime, kind: SignalKind) -> io::Result<Arc<AtomicBool>> {
    let _entered = runtime.enter();
    let mut signals = signal(kind)?;
    let flag = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&flag);
    runtime.spawn(async move {
        while signals.recv().await.is_some() {
            set.store(true, Ordering::Relaxed);
        }
    });
    Ok(flag)
}
