//! Certificates for connections, read again for each use.

use std::path::{Path, PathBuf};

use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};

use crate::error::HttpError;
use crate::options::TlsOptions;
use crate::secret::read_text;

/// Where systems keep the authorities that they trust.
const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The texts that a connection's certificates come from; equal texts, equal connection.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct Pems {
    ca: Option<String>,
    identity: Option<(String, String)>,
    is_unchecked: bool,
}

impl Pems {
    pub(crate) fn read(options: Option<&TlsOptions>) -> Result<Pems, HttpError> {
        let Some(options) = options else { return Ok(Pems::default()) };
        let text = |value: Option<&str>, file: Option<&PathBuf>| match (value, file) {
            (Some(value), _) => Ok(Some(value.to_owned())),
            (None, Some(path)) => read_text(path).map(Some),
            (None, None) => Ok(None),
        };
        let cert = text(options.cert.as_deref(), options.cert_file.as_ref())?;
        let key = options.key.as_ref().map(crate::secret::Secret::reveal);
        let key = text(key, options.key_file.as_ref())?;
        Ok(Pems {
            ca: text(options.ca.as_deref(), options.ca_file.as_ref())?,
            identity: cert.zip(key),
            is_unchecked: options.insecure_skip_verify,
        })
    }

    /// What ureq wants to know.
    pub(crate) fn config(&self) -> Result<TlsConfig, HttpError> {
        let roots = match &self.ca {
            Some(text) => RootCerts::new_with_certs(&certificates("ca", text)?),
            None => machine_roots(),
        };
        let mut config =
            TlsConfig::builder().disable_verification(self.is_unchecked).root_certs(roots);
        if let Some((cert, key)) = &self.identity {
            let chain = certificates("cert", cert)?;
            let key = PrivateKey::from_pem(key.as_bytes());
            let key = key.map_err(|error| failure("key", error.to_string()))?;
            config = config.client_cert(Some(ClientCert::new_with_certs(&chain, key)));
        }
        Ok(config.build())
    }
}

fn failure(what: &'static str, message: String) -> HttpError {
    HttpError::Certificate { what, message }
}

fn certificates(what: &'static str, text: &str) -> Result<Vec<Certificate<'static>>, HttpError> {
    let mut found = Vec::new();
    for item in parse_pem(text.as_bytes()) {
        match item.map_err(|error| failure(what, error.to_string()))? {
            PemItem::Certificate(certificate) => found.push(certificate),
            _ => continue,
        }
    }
    if found.is_empty() {
        return Err(failure(what, "no certificate in it: expected PEM".to_owned()));
    }
    Ok(found)
}

/// The machine's authorities, so that those of a company count; Mozilla's where there are none.
fn machine_roots() -> RootCerts {
    let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let places = named.iter().map(PathBuf::as_path).chain(BUNDLES.iter().map(Path::new));
    let text = places.filter_map(|path| std::fs::read_to_string(path).ok()).next();
    match text.map(|text| certificates("ca", &text)) {
        Some(Ok(found)) => RootCerts::new_with_certs(&found),
        _ => RootCerts::WebPki,
    }
}
