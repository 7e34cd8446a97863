//! Mail, to a real server: Python's aiosmtpd, with and without TLS and a password.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use notify::{DeliveryStatus, Event};
use serde_json::Value;

use crate::help::{Watched, alert, quick, until};

/// A server that prints each mail as a JSON line to a file.
struct MailServer {
    child: Child,
    port: u16,
    mails: PathBuf,
}

impl Drop for MailServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl MailServer {
    /// `mode` is of `plain`, `starttls`, `implicit` and `auth`.
    fn start(folder: &Path, mode: &str) -> Option<MailServer> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/smtpd.py");
        let mails = folder.join("mails");
        let started = Command::new("python3")
            .arg(script)
            .arg(&mails)
            .args([mode, &folder.join("cert.pem").display().to_string()])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut child) = started else {
            eprintln!("skipped: {mode} mail: no python3");
            return None;
        };
        let mut line = String::new();
        BufReader::new(child.stdout.take()?).read_line(&mut line).ok()?;
        let Ok(port) = line.trim().parse() else {
            eprintln!("skipped: {mode} mail: no aiosmtpd (pip install aiosmtpd)");
            let _ = child.wait();
            return None;
        };
        Some(MailServer { child, port, mails })
    }

    fn wait(&self, count: usize) -> Vec<Value> {
        until("mails", || {
            let text = std::fs::read_to_string(&self.mails).ok()?;
            let mails: Vec<Value> =
                text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
            (mails.len() >= count).then_some(mails)
        })
    }
}

/// A certificate for localhost that trusts itself.
fn certificate(folder: &Path) -> bool {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-nodes", "-days", "2", "-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(folder.join("key.pem"))
        .arg("-out")
        .arg(folder.join("only.pem"))
        .stderr(Stdio::null())
        .status();
    if !made.is_ok_and(|status| status.success()) {
        eprintln!("skipped: mail with TLS: no openssl");
        return false;
    }
    let [cert, key] = ["only.pem", "key.pem"].map(|name| std::fs::read(folder.join(name)).unwrap());
    std::fs::write(folder.join("cert.pem"), [cert, key].concat()).unwrap();
    true
}

fn watch(folder: &Path, port: u16, more: &str) -> Watched {
    let yaml = format!(
        "email_configs: [{{to: 'Ops <ops@example.com>, b@example.com', from: 'memsight <m@example.com>', \
         smarthost: 'localhost:{port}', send_resolved: true, {more}}}]"
    );
    Watched::open(&folder.join("queue"), &quick(&yaml))
}

#[test]
fn a_mail_has_both_parts_and_a_thread() {
    let folder = tempfile::tempdir().unwrap();
    let Some(server) = MailServer::start(folder.path(), "plain") else { return };
    let more = "require_tls: false, threading: {enabled: true}, headers: {X-Team: '{{ .CommonLabels.service }}'}";
    let watched = watch(folder.path(), server.port, more);
    watched.fire(vec![alert("Leak", "a")]);
    let mail = server.wait(1).remove(0);
    assert_eq!(mail["to"], serde_json::json!(["ops@example.com", "b@example.com"]));
    assert_eq!(mail["subject"], "[FIRING:1] shop leaks <heap> & grows");
    assert_eq!(mail["x-team"], "shop");
    let (text, html) = (mail["text"].as_str().unwrap(), mail["html"].as_str().unwrap());
    assert!(text.contains("Verdict: heap-leak: main.(*Cache).Put, 12 MiB/min"), "{text}");
    assert!(text.contains("Next: memsight heap why main.cache"), "{text}");
    assert!(html.contains("shop leaks &lt;heap&gt; &amp; grows"), "{html}");
    assert!(html.contains("<a href=\"http://memsight.example/target/7\">"), "{html}");
    watched.fire(vec![]);
    let over = server.wait(2).remove(1);
    assert!(over["subject"].as_str().unwrap().starts_with("[RESOLVED]"));
    assert_eq!(over["references"], mail["references"]);
    assert_eq!(over["in-reply-to"], mail["references"]);
    assert_ne!(over["message-id"], mail["message-id"]);
}

#[test]
fn tls_is_started_or_insisted_on() {
    let folder = tempfile::tempdir().unwrap();
    if !certificate(folder.path()) {
        return;
    }
    let ca = folder.path().join("only.pem");
    let tls = format!("tls_config: {{ca_file: {}}}", ca.display());
    for (mode, more) in [("starttls", ""), ("implicit", "force_implicit_tls: true, ")] {
        let folder = tempfile::tempdir_in(folder.path()).unwrap();
        std::fs::copy(ca.with_file_name("cert.pem"), folder.path().join("cert.pem")).unwrap();
        let Some(server) = MailServer::start(folder.path(), mode) else { return };
        let watched = watch(folder.path(), server.port, &format!("{more}{tls}"));
        watched.fire(vec![alert("Leak", "a")]);
        assert_eq!(server.wait(1)[0]["tls"], true, "{mode}");
        drop(watched);
        // Nobody vouches for it without the authority.
        let other = folder.path().join("other");
        let watched = watch(&other, server.port, more.trim_end_matches(", "));
        watched.fire(vec![alert("Leak", "b")]);
        let error = until("a failure", || watched.notifier.recent().first()?.error.clone());
        assert!(error.contains("certificate"), "{error}");
    }
    let plain = tempfile::tempdir().unwrap();
    let Some(server) = MailServer::start(plain.path(), "plain") else { return };
    let watched = watch(plain.path(), server.port, "hello: me");
    watched.fire(vec![alert("Leak", "a")]);
    until("a failure", || watched.notifier.recent().first()?.error.clone());
    assert!(!server.mails.exists());
}

#[test]
fn passwords_are_given_over_tls_and_never_printed() {
    let folder = tempfile::tempdir().unwrap();
    if !certificate(folder.path()) {
        return;
    }
    let Some(server) = MailServer::start(folder.path(), "auth") else { return };
    let tls = format!("tls_config: {{ca_file: {}}}", folder.path().join("only.pem").display());
    let right = format!("auth_username: me, auth_password: hunter2, {tls}");
    let watched = watch(folder.path(), server.port, &right);
    watched.fire(vec![alert("Leak", "a")]);
    assert_eq!(server.wait(1)[0]["user"], "me");
    drop(watched);
    let wrong = format!("auth_username: me, auth_password: hunter3, {tls}");
    let watched = watch(&folder.path().join("other"), server.port, &wrong);
    watched.fire(vec![alert("Leak", "b")]);
    let refused = until("a refusal", || {
        watched.events().into_iter().find(|event| matches!(event, Event::Refused(_)))
    });
    assert!(!format!("{refused:?}").contains("hunter"), "{refused:?}");
    assert_eq!(watched.notifier.recent()[0].status, DeliveryStatus::Refused);
}
