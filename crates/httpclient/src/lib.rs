//! HTTP clients as Prometheus configures them.
//!
//! Any block that has HTTP options in Prometheus (`remote_write`, scrape configs, `http_config`
//! of Alertmanager) is a struct declared by [`with_http_options!`]; [`Client`] does what it says.
//! Secrets in files are read again for each request, so that they may be rotated; certificates
//! too, and connections are made anew when they changed.
//!
//! ```
//! httpclient::with_http_options! {
//!     /// Where to ask.
//!     #[derive(Clone, Debug, serde::Deserialize)]
//!     pub struct Peer {
//!         /// Its address.
//!         pub url: httpclient::Url,
//!     }
//! }
//! let peer: Peer = serde_saphyr::from_str(
//!     "url: http://localhost:9090\nbasic_auth: {username: me, password: pass}",
//! )?;
//! let client = httpclient::Client::new(&peer.http_options(), std::time::Duration::from_secs(5))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

// The structs that the macro declares name this crate, also those declared here.
extern crate self as httpclient;

mod answer;
mod client;
mod error;
mod oauth;
mod options;
mod proxy;
mod secret;
mod tls;
mod url;

pub use crate::answer::Answer;
pub use crate::client::Client;
pub use crate::error::HttpError;
pub use crate::options::{
    Authorization, BasicAuth, Check, HttpHeader, OAuth2, Options, TlsOptions, TlsVersion, checked,
    or_default, yes,
};
pub use crate::secret::Secret;
pub use crate::url::Url;
