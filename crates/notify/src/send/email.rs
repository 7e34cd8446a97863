//! Mail by SMTP.

use std::fs;
use std::path::Path;
use std::time::Duration;

use httpclient::TlsOptions;
use lettre::address::Envelope;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, Mailboxes, MultiPart, SinglePart};
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{Certificate, Identity, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::{Error, PoolConfig};
use lettre::{Message as Mail, SmtpTransport, Transport};

use super::{Failure, Words, secret, truncated};
use crate::alert::Fingerprint;
use crate::config::{self, Global, HostPort, ThreadBy};
use crate::template::Templates;

const SUBJECT: &str = "{{ template \"email.default.subject\" . }}";
const SUBJECT_CHARS_MAX: usize = 250;
/// The port on which TLS starts with the first byte.
const IMPLICIT_TLS_PORT: u16 = 465;

pub(super) struct Email {
    config: config::Email,
    from: String,
    smarthost: HostPort,
    encryption: Encryption,
    tls: TlsOptions,
}

/// When TLS starts.
#[derive(Clone, Copy, PartialEq)]
enum Encryption {
    FirstByte,
    Required,
    IfOffered,
}

impl Email {
    pub(super) fn new(
        config: &config::Email,
        global: &Global,
        templates: &Templates,
    ) -> Result<Email, String> {
        let mut config = config.clone();
        config.hello = config.hello.or_else(|| global.smtp_hello.clone());
        config.auth_username = config.auth_username.or_else(|| global.smtp_auth_username.clone());
        if config.auth_password.is_none() && config.auth_password_file.is_none() {
            config.auth_password.clone_from(&global.smtp_auth_password);
            config.auth_password_file.clone_from(&global.smtp_auth_password_file);
        }
        let from = config.from.clone().or_else(|| global.smtp_from.clone()).unwrap_or_default();
        let smarthost = config.smarthost.clone().or_else(|| global.smtp_smarthost.clone());
        let smarthost = smarthost.ok_or("no smarthost")?;
        let implicit = config.force_implicit_tls.or(global.smtp_force_implicit_tls);
        let required = config.require_tls.or(global.smtp_require_tls).unwrap_or(true);
        let encryption = if implicit.unwrap_or(smarthost.port == IMPLICIT_TLS_PORT) {
            Encryption::FirstByte
        } else if required {
            Encryption::Required
        } else {
            Encryption::IfOffered
        };
        let tls = config.tls_config.clone().or_else(|| global.smtp_tls_config.clone());
        let mut texts = vec![config.to.as_str(), &from, &config.html, &config.text];
        texts.extend(config.headers.values().map(String::as_str));
        texts.into_iter().try_for_each(|text| templates.check(text))?;
        Ok(Email { config, from, smarthost, encryption, tls: tls.unwrap_or_default() })
    }

    pub(super) fn send(&self, words: &Words<'_>) -> Result<(), Failure> {
        let (envelope, mail) = self.mail(words)?;
        let transport = self.transport()?;
        transport.send_raw(&envelope, &mail).map(|_| ()).map_err(|error| failed(&error))
    }

    fn mail(&self, words: &Words<'_>) -> Result<(Envelope, Vec<u8>), Failure> {
        let refused = |what: &str, error: &dyn std::fmt::Display| {
            Failure::refused("config", format!("{what}: {error}"))
        };
        let from: Mailbox =
            words.text(&self.from)?.parse().map_err(|error| refused("from", &error))?;
        let to = words.text(&self.config.to)?;
        let to: Mailboxes = to.parse().map_err(|error| refused("to", &error))?;
        let addresses: Vec<_> = to.iter().map(|mailbox| mailbox.email.clone()).collect();
        let envelope = Envelope::new(Some(from.email.clone()), addresses)
            .map_err(|error| refused("to", &error))?;
        let subject = self.header("subject").unwrap_or(SUBJECT);
        let subject = words.text(subject)?;
        let subject = subject.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut builder =
            Mail::builder().from(from).subject(truncated(&subject, SUBJECT_CHARS_MAX));
        builder = to.into_iter().fold(builder, |builder, mailbox| builder.to(mailbox));
        if self.header("message-id").is_none() {
            builder = builder.message_id(None);
        }
        if self.config.threading.enabled {
            let root = self.thread_root(&words.message.group_key);
            builder = builder.in_reply_to(root.clone()).references(root);
        }
        let mut mail = self.parts(words, builder)?;
        for (name, template) in &self.config.headers {
            if name.eq_ignore_ascii_case("subject") {
                continue;
            }
            let value = words.text(template)?.replace(['\r', '\n'], " ");
            let name = HeaderName::new_from_ascii(name.clone())
                .map_err(|_| refused("headers", &format!("{name:?} is no name")))?;
            mail.headers_mut().remove_raw(&name);
            mail.headers_mut().insert_raw(HeaderValue::new(name, value));
        }
        Ok((envelope, mail.formatted()))
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.config.headers.iter();
        headers.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    fn parts(
        &self,
        words: &Words<'_>,
        builder: lettre::message::MessageBuilder,
    ) -> Result<Mail, Failure> {
        let has = |template: &str| !template.is_empty();
        let (text, html) = (&self.config.text, &self.config.html);
        let built = match (has(text), has(html)) {
            (true, true) => builder
                .multipart(MultiPart::alternative_plain_html(words.text(text)?, words.html(html)?)),
            (false, true) => builder.singlepart(SinglePart::html(words.html(html)?)),
            _ => builder.singlepart(SinglePart::plain(words.text(text)?)),
        };
        built.map_err(|error| Failure::refused("config", error.to_string()))
    }

    /// A mail that was never sent and that all mails of a group answer.
    fn thread_root(&self, group_key: &str) -> String {
        let labels = model::series::Labels::new([("group", group_key)]);
        let day = match self.config.threading.thread_by_date {
            ThreadBy::Daily => crate::alert::rfc3339(crate::now()).chars().take(10).collect(),
            ThreadBy::None => String::new(),
        };
        format!("<alert-{}-{day}@memsight>", Fingerprint::of(&labels))
    }

    fn transport(&self) -> Result<SmtpTransport, Failure> {
        let host = &self.smarthost.host;
        let is_safe = self.encryption != Encryption::IfOffered || is_loopback(host);
        let tls = match self.encryption {
            Encryption::FirstByte => Tls::Wrapper(self.tls_parameters()?),
            Encryption::Required => Tls::Required(self.tls_parameters()?),
            // Debian's and others' local mail servers offer STARTTLS with a certificate for
            // nobody; towards ourselves nothing is won by it.
            Encryption::IfOffered if is_loopback(host) && self.tls == TlsOptions::default() => {
                Tls::None
            }
            Encryption::IfOffered => Tls::Opportunistic(self.tls_parameters()?),
        };
        let mut builder = SmtpTransport::builder_dangerous(host)
            .port(self.smarthost.port)
            .tls(tls)
            .timeout(Some(if self.config.timeout.0.is_zero() {
                Duration::from_secs(30)
            } else {
                self.config.timeout.0
            }))
            .pool_config(PoolConfig::new().max_size(1));
        if let Some(hello) = &self.config.hello {
            builder = builder.hello_name(ClientId::Domain(hello.clone()));
        }
        if let Some(user) = &self.config.auth_username {
            let (value, file) = (&self.config.auth_password, &self.config.auth_password_file);
            let password = secret(value.as_ref(), file.as_deref())?.unwrap_or_default();
            if !is_safe {
                let words = "the password would cross the network in clear: set require_tls";
                return Err(Failure::refused("config", words));
            }
            builder = builder
                .credentials(Credentials::new(user.clone(), password))
                .authentication(vec![Mechanism::Plain, Mechanism::Login]);
        }
        Ok(builder.build())
    }

    fn tls_parameters(&self) -> Result<TlsParameters, Failure> {
        let tls = &self.tls;
        let bad = |what: &str, error: &dyn std::fmt::Display| {
            Failure::retry("config", format!("tls_config: {what}: {error}"))
        };
        let name = tls.server_name.clone().unwrap_or_else(|| self.smarthost.host.clone());
        let mut builder = TlsParameters::builder(name)
            .dangerous_accept_invalid_certs(tls.insecure_skip_verify)
            .dangerous_accept_invalid_hostnames(tls.insecure_skip_verify);
        if let Some(pem) = text_or_file(tls.ca.as_deref(), tls.ca_file.as_deref())? {
            let read = Certificate::from_pem(pem.as_bytes()).map_err(|error| bad("ca", &error))?;
            builder = builder.add_root_certificate(read);
        }
        let key = text_or_file(tls.key.as_ref().map(|key| key.reveal()), tls.key_file.as_deref())?;
        let cert = text_or_file(tls.cert.as_deref(), tls.cert_file.as_deref())?;
        if let (Some(cert), Some(key)) = (cert, key) {
            let identity = Identity::from_pem(cert.as_bytes(), key.as_bytes());
            builder = builder.identify_with(identity.map_err(|error| bad("cert", &error))?);
        }
        builder.build().map_err(|error| bad("cannot be used", &error))
    }
}

fn text_or_file(text: Option<&str>, file: Option<&Path>) -> Result<Option<String>, Failure> {
    if text.is_some() {
        return Ok(text.map(str::to_owned));
    }
    let read = |path: &Path| {
        let text = fs::read_to_string(path);
        text.map_err(|error| Failure::retry("config", format!("{}: {error}", path.display())))
    };
    file.map(read).transpose()
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

/// Servers say with 5xx that they will never take a mail, with 4xx that they may later.
fn failed(error: &Error) -> Failure {
    let mut message = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let text = cause.to_string();
        if !message.contains(&text) {
            message = format!("{message}: {text}");
        }
        source = cause.source();
    }
    let status = error.status().map(u16::from);
    match status {
        // Another password may be in place in a moment, but this many attempts lock accounts.
        Some(530 | 534 | 535 | 538) => Failure::refused("auth", message),
        _ if error.is_permanent() => Failure::refused("client_error", message),
        _ if error.is_transient() => Failure::retry("server_error", message),
        _ if error.is_client() => Failure::retry("config", message),
        _ if error.is_timeout() => Failure::unsure("timeout", message),
        _ => Failure::retry("connection", message),
    }
}
