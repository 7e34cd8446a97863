//! Files that are read, and the places of what is wrong in others.

use std::path::Path;
use std::time::Duration;

use model::TargetSpec;

use super::{Config, LogFormat};
use crate::events::Level;

fn parse(text: &str) -> Result<Config, String> {
    let environment = |name: &str| (name == "HOST").then(|| "db-1".to_owned());
    let config = Config::parse(Path::new("/etc/m.yaml"), text, &environment);
    config.map_err(|error| error.to_string())
}

#[test]
fn everything_has_a_default() {
    for text in ["", "# nothing\n", "log: {}\n"] {
        let config = parse(text).unwrap();
        assert_eq!(config.web.listen, "127.0.0.1:7171");
        assert_eq!(config.global.scrape_interval, Duration::from_secs(10));
    }
}

#[test]
fn sections_are_read() {
    let config = parse(
        "global:\n  scrape_interval: 5s\n  external_labels: {host: '${HOST}'}\n\
         targets:\n  all_go: true\n  watch: [4242, 'name:shop', http://localhost:6060]\n  exclude: ['^go$']\n\
         store: {path: kept, keep_bytes: 1GiB}\nbudget: {cpu: 3%, memory: 256MiB}\nlog: {level: debug, format: json}\n",
    )
    .unwrap();
    assert_eq!(config.global.external_labels.get("host"), Some("db-1"));
    assert_eq!(config.targets.watch.first(), Some(&TargetSpec::Pid(4242)));
    assert_eq!((config.targets.watch.len(), config.targets.exclude.len()), (3, 1));
    assert_eq!(config.store.path, Path::new("/etc/kept"));
    assert_eq!((config.store.keep_bytes, config.budget.cpu), (1 << 30, 0.03));
    assert_eq!(config.budget.memory, Some(256 << 20));
    assert_eq!((config.log.level, config.log.format), (Level::Debug, LogFormat::Json));
}

#[test]
fn faults_have_their_place() {
    let check = |text: &str, expected: &str| {
        let error = parse(text).unwrap_err();
        assert!(error.starts_with(&format!("/etc/m.yaml:{expected}")), "{error}");
    };
    check("global:\n  interval: 5s\n", "2:3: unknown field `interval`, expected one of");
    check("global:\n  scrape_interval: 5 s\n", "2:20: \"5 s\" is no duration: write 30s");
    check("global:\n  scrape_interval: 0s\n", "2:20: must be longer than 0");
    check("targets:\n  watch: ['core:x']\n", "2:11: a core file cannot be watched");
    check("targets:\n  exclude: ['(']\n", "2:13: unclosed group");
    check("store: {keep_bytes: lots}\n", "1:21: \"lots\" is no size");
    check("global: {external_labels: {'a b': c}}\n", "1:");
    check("global: {external_labels: {a: '${NONE}'}}\n", "1:32: the environment has no NONE");
    check(
        "rules:\n  - name: a\n    when: {signal: rss, above: 1GiB}\n",
        "3:20: there is no signal \"rss\"",
    );
    check(
        "scrape_configs:\n  - job_name: a\n    scrape_interval: never\n",
        "3:22: \"never\" is no duration",
    );
    check(
        "scrape_configs: [{job_name: a}, {job_name: a}]\n",
        " scrape_configs: the job_name \"a\"",
    );
    check("remote_write:\n  - url: http://x\n    queue_config: {max_shards: 0}\n", "3:");
    check("log: [\n", "");
    check("- a\n", "");
    check("web: {token: a, token_file: b}\n", " web: give token or token_file, not both");
}

/// Wherever the agent was started: each file of each block is looked for beside the configuration.
#[test]
fn files_are_looked_for_beside_the_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let template = dir.path().join("mine.tmpl");
    std::fs::write(&template, "{{ define \"slack.default.title\" }}mine{{ end }}").unwrap();
    std::fs::write(dir.path().join("a.yaml"), "groups: []\n").unwrap();
    std::fs::write(dir.path().join("token"), "secret\n").unwrap();
    let tls = "tls_config: {ca_file: f-ca, cert_file: f-cert, key_file: f-key}";
    let http = format!("http_config: {{authorization: {{credentials_file: f-c}}, {tls}}}");
    let text = format!(
        "web: {{token_file: token}}\nrule_files: [a.yaml]\n\
         remote_write: [{{url: 'http://a/', basic_auth: {{username: u, password_file: f-p}}, {tls}}}]\n\
         scrape_configs: [{{job_name: j, bearer_token_file: f-b, {tls}}}]\n\
         alerting: {{alertmanagers: [{{basic_auth: {{username: u, password_file: f-p}}, {tls}}}]}}\n\
         notify:\n  templates: [m*.tmpl]\n  \
         global: {{slack_api_url_file: f-s, smtp_auth_password_file: f-m, smtp_{tls}, {http}}}\n  \
         alerting: {{alertmanagers: [{{bearer_token_file: f-b}}]}}\n  receivers:\n  - name: r\n    \
         webhook_configs: [{{url_file: f-u, {http}}}]\n    \
         slack_configs: [{{app_token_file: f-t, {http}}}, {{api_url_file: f-a}}]\n    \
         pagerduty_configs: [{{routing_key_file: f-k, {http}}}]\n    \
         email_configs: [{{to: a@b.c, from: a@b.c, smarthost: 'a:25', auth_password_file: f-m, {tls}}}]\n    \
         log_configs: [{{path: f-log}}]\n"
    );
    // What TLS trusts is read while the configuration is checked.
    let written = text.matches("f-").count();
    for name in ["f-ca", "f-cert", "f-key"] {
        std::fs::write(dir.path().join(name), "").unwrap();
    }
    let config = Config::parse(&dir.path().join("m.yaml"), &text, &|_| None);
    let config = config.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(config.web.token.as_deref(), Some("secret"));
    assert_eq!(config.notify.templates, [dir.path().join("m*.tmpl")]);
    let said = format!("{config:?}");
    let beside = format!("\"{}/f-", dir.path().display());
    assert_eq!(said.matches(&beside).count(), written, "{said}");
    assert_eq!(said.matches("\"f-").count(), 0, "{said}");
}
