//! Relabelling and configuration against what Prometheus makes of them.

use std::collections::BTreeMap;

use model::Labels;
use remotewrite::relabel::{Rule, relabel};
use remotewrite::{Config, Protocol};
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    rules: serde_json::Value,
    labels: BTreeMap<String, String>,
    #[serde(default)]
    invalid: bool,
    #[serde(default)]
    dropped: bool,
    #[serde(default)]
    expected: BTreeMap<String, String>,
}

#[test]
fn rules_do_what_prometheus_does() {
    let cases = include_str!("../../../../fixtures/relabel/cases.jsonl");
    for line in cases.lines() {
        let case: Case = serde_json::from_str(line).unwrap();
        let rules = serde_json::from_value::<Vec<Rule>>(case.rules);
        assert_eq!(rules.is_err(), case.invalid, "{rules:?} {line}");
        let Ok(rules) = rules else { continue };
        let relabelled = relabel(&rules, &Labels::new(case.labels));
        let expected = (!case.dropped).then(|| Labels::new(case.expected));
        assert_eq!(relabelled, expected, "{line}");
    }
}

/// A block as the documentation of Prometheus has it.
const PASTED: &str = r#"
- url: "http://remote1/push"
  name: drop_expensive
  protobuf_message: "io.prometheus.write.v2.Request"
  remote_timeout: 1m
  send_exemplars: true
  send_native_histograms: true
  round_robin_dns: true
  headers: {X-Scope-OrgID: tenant}
  write_relabel_configs:
    - source_labels: [__name__]
      regex: expensive.*
      action: drop
  oauth2:
    client_id: "123"
    client_secret: "456"
    token_url: "http://remote1/auth"
    tls_config:
      cert_file: valid_cert_file
      key_file: valid_key_file
  queue_config:
    capacity: 20000
    max_shards: 10
    min_shards: 2
    max_samples_per_send: 5000
    batch_send_deadline: 1s500ms
    min_backoff: 10ms
    max_backoff: 1s
    retry_on_http_429: true
    sample_age_limit: 2h
  metadata_config: {send: false, send_interval: 5m, max_samples_per_send: 500}
- url: "http://remote2/push"
  tls_config:
    insecure_skip_verify: true
  headers:
  write_relabel_configs:
  http_headers:
  queue_config:
  metadata_config:
"#;

#[test]
fn a_pasted_block_is_understood() {
    let configs: Vec<Config> = serde_saphyr::from_str(PASTED).unwrap();
    remotewrite::check(&configs).unwrap();
    let queue = &configs[0].queue_config;
    assert_eq!(configs[0].protobuf_message, Protocol::V2);
    assert_eq!((queue.capacity, queue.max_shards, queue.min_shards), (20_000, 10, 2));
    assert_eq!((queue.max_samples_per_send, queue.retry_on_http_429), (5000, true));
    assert_eq!(queue.batch_send_deadline.as_millis(), 1500);
    assert_eq!((queue.min_backoff.as_millis(), queue.max_backoff.as_millis()), (10, 1000));
    assert_eq!(queue.sample_age_limit.as_secs(), 7200);
    assert!(!configs[0].metadata_config.send && configs[1].metadata_config.send);
    let defaults = &configs[1].queue_config;
    assert_eq!((defaults.capacity, defaults.max_shards, defaults.min_shards), (10_000, 50, 1));
    assert_eq!((defaults.max_samples_per_send, defaults.retry_on_http_429), (2000, false));
    assert_eq!((defaults.min_backoff.as_millis(), defaults.max_backoff.as_secs()), (30, 5));
    assert_eq!(configs[1].remote_timeout.as_secs(), 30);
    assert_eq!(configs[1].protobuf_message, Protocol::V1);
}

#[test]
fn mistakes_are_told_where_they_are() {
    let check = |yaml: &str, line: u64, expected: &str| {
        let error = serde_saphyr::from_str::<Vec<Config>>(yaml).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(expected), "{text}");
        assert_eq!(error.location().map(|place| place.line()), Some(line), "{text}");
    };
    check("- name: a", 1, "missing field `url`");
    check("- url: http://a\n  urll: b", 2, "unknown field `urll`");
    check("- url: http://a\n  remote_timeout: fast", 2, "is no duration");
    check("- url: http://a\n  queue_config:\n    max_shards: 0", 3, "max_shards must lie between");
    check(
        "- url: http://a\n  queue_config:\n    max_shards: 1\n    min_shards: 2",
        3,
        "min_shards must not be greater",
    );
    check("- url: http://a\n  protobuf_message: v3", 2, "unknown variant `v3`");
    check("- url: http://a\n  headers:\n    Host: b", 3, "Host is a reserved header");
    check("- url: http://a\n  sigv4: {}", 2, "unknown field `sigv4`");
    check(
        "- url: http://a\n  write_relabel_configs:\n  - action: replace",
        3,
        "replace needs a target_label",
    );
    check("- url: http://a\n  write_relabel_configs:\n  - regex: (", 3, "regex");
    let twice: Vec<Config> = serde_saphyr::from_str("- url: http://a\n- url: http://a").unwrap();
    let error = remotewrite::check(&twice).unwrap_err();
    assert!(error.contains("give each its own name"), "{error}");
}
