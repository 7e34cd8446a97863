//! The HTTP API `/api/v1` and the embedded pages.
//!
//! Everything is read from the store; events come from the watch. Bound to loopback
//! no token is needed, but the Host header must name this machine, so that a web
//! site cannot read the API through DNS rebinding. Bound wider a token is required.
//!
//! Profiles are not trusted: a file that one names is read only through [`Server::sources`]
//! and [`Server::code`], which decide what may be shown.

mod access;
mod api;
mod error;
mod events;
mod figures;
mod files;
mod heap;
mod large;
mod listings;
mod packed;
mod pages;
mod probes;
mod processes;
mod profiles;
mod prometheus;
mod recent;
mod targets;
mod trace;
mod view;
mod watch;

use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use agent::{Bus, View};
use model::{Profile, Timestamp};
use render::pprof::{Code, SourceFiles};
use store::{Store, StoredEvent};
use tokio::sync::broadcast;

pub use error::{ApiError, ServeError};
pub use files::{FilesError, HeapFiles, ProbeRuns, TraceFiles};
pub use heap::Heaps;
pub use probes::Probes;
pub use prometheus::{Figures, Metrics};
pub use recent::Recent;
pub use trace::Traces;
pub use watch::{replay_document, rfc3339};

/// How often decoded profiles that nobody looks at are dropped.
const FORGET_EVERY: Duration = Duration::from_secs(60);

/// What the server works with.
#[derive(Clone)]
pub struct Server {
    /// The store to read.
    pub store: Arc<Store>,
    /// Where what happens is told.
    pub bus: Bus,
    /// What happened, after it was stored.
    pub notices: broadcast::Sender<Arc<StoredEvent>>,
    /// Token that clients must present; `None` on loopback only.
    pub token: Option<Arc<str>>,
    /// The watch has begun.
    pub ready: Arc<AtomicBool>,
    /// When the server started.
    pub started: Timestamp,
    /// What this process uses now: resident bytes and CPU seconds.
    pub usage: fn() -> (Option<u64>, Option<f64>),
    /// The source files that profiles may show, anew for each answer.
    pub sources: fn() -> Box<dyn SourceFiles>,
    /// The binaries whose code profiles may show, anew for each answer.
    pub code: fn() -> Box<dyn Code>,
    /// Profiles that were shown last.
    pub recent: Arc<Recent<Profile>>,
    /// Object graphs that were shown last, and how they are opened.
    pub heaps: Arc<Heaps>,
    /// Traces that were shown last, and how they are opened.
    pub traces: Arc<Traces>,
    /// Probes of running programs.
    pub probes: Arc<Probes>,
    /// What is measured.
    pub metrics: Arc<Metrics>,
    /// The agent at work; set once it is.
    pub watch: Arc<OnceLock<View>>,
}

/// A bound port.
#[derive(Debug)]
pub struct Bound {
    listener: tokio::net::TcpListener,
    /// The address, with the port that was given for 0.
    pub address: SocketAddr,
}

/// Binds `listen`.
///
/// # Errors
/// When the address is taken, is no address, or needs a token and has none.
pub async fn bind(listen: &str, has_token: bool) -> Result<Bound, ServeError> {
    let fail = |source| ServeError::Bind { listen: listen.to_owned(), source };
    let addresses: Vec<SocketAddr> = tokio::net::lookup_host(listen).await.map_err(fail)?.collect();
    if !has_token && addresses.iter().any(|address| !address.ip().is_loopback()) {
        return Err(ServeError::TokenNeeded { listen: listen.to_owned() });
    }
    let listener = tokio::net::TcpListener::bind(addresses.as_slice()).await.map_err(fail)?;
    let address = listener.local_addr().map_err(fail)?;
    Ok(Bound { listener, address })
}

impl Server {
    /// Serves until `stop` resolves. Event streams that are still open end with it.
    ///
    /// # Errors
    /// When the socket fails.
    pub async fn run(
        self,
        bound: Bound,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        let (recent, heaps) = (Arc::clone(&self.recent), Arc::clone(&self.heaps));
        let traces = Arc::clone(&self.traces);
        let forget = async move {
            loop {
                tokio::time::sleep(FORGET_EVERY).await;
                recent.forget_old();
                heaps.forget_old();
                traces.forget_old();
            }
        };
        let (stopped, mut ended) = tokio::sync::watch::channel(false);
        let serve =
            axum::serve(bound.listener, api::router(self)).with_graceful_shutdown(async move {
                stop.await;
                let _ = stopped.send(true);
            });
        tokio::select! {
            result = serve => result,
            () = forget => Ok(()),
            () = async {
                let _ = ended.wait_for(|ended| *ended).await;
                // Open event streams never end by themselves.
                tokio::time::sleep(Duration::from_millis(300)).await;
            } => Ok(()),
        }
    }
}
