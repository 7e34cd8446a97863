//! Configurations: what is refused, and where the error is; and Alertmanager's verdict on the same.

use std::process::Command;

use crate::peers::peer;

/// The error's text, and ` at line:column` where it has a place.
fn verdict(yaml: &str) -> Result<(), String> {
    let config: notify::Config = serde_saphyr::from_str(yaml).map_err(|error| error.to_string())?;
    config.validate().map_err(|error| error.to_string())
}

/// Configurations without our own keys, and whether they are good.
const SHARED: [(&str, bool); 14] = [
    ("receivers: [{name: a}]\nroute: {receiver: a}", true),
    (
        "global: {resolve_timeout: 5m, smtp_smarthost: 'localhost:25', smtp_from: 'a@example.org'}\n\
         route: {receiver: a, group_by: ['...'], routes: [{match_re: {s: 'x|y'}, continue: true, receiver: b}]}\n\
         receivers: [{name: a, email_configs: [{to: b@example.org, headers: {X-A: b}}]}, {name: b}]\n\
         inhibit_rules: [{source_matchers: ['a=\"b\"'], target_match: {c: d}, equal: [e]}]",
        true,
    ),
    (
        "route: {receiver: a, routes: [{matchers: ['a=~\"b|c\"'], mute_time_intervals: [n]}]}\n\
         receivers: [{name: a, webhook_configs: [{url: 'http://x/', http_config: {bearer_token: x}}]}]\n\
         time_intervals: [{name: n, time_intervals: [{weekdays: ['monday:friday'], location: UTC}]}]",
        true,
    ),
    (
        "route: {receiver: a}\nreceivers: [{name: a, pagerduty_configs: [{routing_key: k, \
         details: {a: '{{ .Status }}'}, links: [{href: x, text: y}]}], slack_configs: [{api_url: \
         'https://hooks.slack.com/x', fields: [{title: a, value: b}]}]}]",
        true,
    ),
    ("receivers: [{name: a}, {name: a}]\nroute: {receiver: a}", false),
    ("receivers: [{name: a}]\nroute: {receiver: b}", false),
    ("receivers: [{name: a}]\nroute: {receiver: a, matchers: [x=y]}", false),
    ("receivers: [{name: a}]\nroute: {receiver: a, group_interval: 0s}", false),
    ("receivers: [{name: a}]\nroute: {receiver: a, group_by: [b, b]}", false),
    ("receivers: [{name: a}]\nroute: {receiver: a, routes: [{matchers: ['=b']}]}", false),
    ("receivers: [{name: a}]\nroute: {receiver: a, routes: [{mute_time_intervals: [n]}]}", false),
    ("receivers: [{name: a, webhook_configs: [{max_alerts: 1}]}]\nroute: {receiver: a}", false),
    ("receivers: [{name: a, email_configs: [{to: x@y.z}]}]\nroute: {receiver: a}", false),
    ("receivers: [{name: a, color: red}]\nroute: {receiver: a}", false),
];

#[test]
fn alertmanager_accepts_and_refuses_the_same() {
    let amtool = peer("amtool");
    if amtool.is_none() {
        eprintln!("skipped: amtool's verdict: run scripts/monitoring-peers");
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("alertmanager.yml");
    for (yaml, is_good) in SHARED {
        let ours = verdict(yaml);
        assert_eq!(ours.is_ok(), is_good, "{ours:?}\n{yaml}");
        let Some(amtool) = &amtool else { continue };
        std::fs::write(&file, yaml).unwrap();
        let output = Command::new(amtool).arg("check-config").arg(&file).output().unwrap();
        assert_eq!(output.status.success(), is_good, "{output:?}\n{yaml}");
    }
}

#[test]
fn errors_say_what_and_where() {
    let check = |yaml: &str, words: &[&str]| {
        let error = verdict(yaml).unwrap_err();
        assert!(words.iter().all(|word| error.contains(word)), "{error}\n{yaml}");
        assert!(!error.contains("hunter2"), "{error}");
    };
    check(
        "receivers:\n- name: a\nroute:\n  receiver: b",
        &["no receiver \"b\"", "line 4, column 13"],
    );
    check("receivers:\n- name: a\n  colour: red", &["colour", "line 3"]);
    check("route:\n  group_wait: 5 minutes", &["5 minutes", "line 2"]);
    check("receivers:\n- name: a\n  exec_configs: [{command: []}]", &["names no program"]);
    check("receivers: [{name: a, exec_configs: [{command: ['{{ .x }}']}]}]", &["only arguments"]);
    check("receivers: [{name: a, exec_configs: [{command: [x, '{{ if }}']}]}]", &["template"]);
    check("receivers: [{name: a, webhook_configs: [{url: 'hunter2{{'}]}]", &["url is no template"]);
    check("receivers: [{name: a, webhook_configs: [{url: hunter2}]}]", &["url is no URL"]);
    check("receivers: [{name: a, slack_configs: [{update_message: true}]}]", &["not edited"]);
    check("templates: [/nowhere/at/all.tmpl]", &["/nowhere/at/all.tmpl"]);
    let target = "alerting:\n  alertmanagers:\n  - static_configs:\n    - targets: ['no port/']";
    check(target, &["no target", "line 4"]);
}
