//! Webhook, Slack, PagerDuty and log: what arrives, and what happens when it does not. The real
//! Slack and PagerDuty are not reached: servers of ours check the shapes that they document.

use model::series::Labels;
use notify::{DeliveryStatus, Event, Settings};
use serde_json::{Value, json};

use crate::help::{OK, Server, Watched, alert, config, quick, until};

#[test]
fn a_webhook_gets_version_4() {
    let server = Server::start(OK);
    let folder = tempfile::tempdir().unwrap();
    let url = server.url("/hook/{{ .GroupLabels.alertname }}");
    let watched = Watched::open(
        folder.path(),
        &quick(&format!("webhook_configs: [{{url: '{url}', max_alerts: 2}}]")),
    );
    watched.fire(vec![alert("Leak", "c"), alert("Leak", "a"), alert("Leak", "b")]);
    let request = server.wait(1).remove(0);
    assert_eq!(request.path, "/hook/Leak");
    assert_eq!(request.header("content-type"), Some("application/json"));
    let body = request.json();
    assert_eq!(body["version"], "4");
    assert_eq!(body["groupKey"], r#"{}:{alertname="Leak"}"#);
    assert_eq!(body["truncatedAlerts"], 1);
    assert_eq!(body["alerts"][0]["labels"]["instance"], "a");
    assert_eq!(body["alerts"][0]["startsAt"], "2023-11-14T22:13:20Z");
    assert_eq!(body["alerts"][0]["endsAt"], "0001-01-01T00:00:00Z");
    assert_eq!(body["externalURL"], "http://memsight.example");
    watched.fire(vec![]);
    let body = server.wait(2).remove(1).json();
    assert_eq!(
        (&body["status"], &body["alerts"][1]["status"]),
        (&json!("resolved"), &json!("resolved"))
    );
    until("journal", || {
        let recent = watched.notifier.recent();
        let is_told = recent.len() == 2 && recent[0].status == DeliveryStatus::Delivered;
        is_told.then(|| assert_eq!((recent[0].resolved, recent[1].firing), (3, 3)))
    });
}

#[test]
fn a_webhook_may_get_a_payload_of_its_own() {
    let server = Server::start(OK);
    let folder = tempfile::tempdir().unwrap();
    let payload = "{text: '{{ .CommonAnnotations.verdict }}', count: '{{ .Alerts | len }}', of: ['{{ .Status }}', 7]}";
    let yaml = format!("webhook_configs: [{{url: '{}', payload: {payload}}}]", server.url("/"));
    let watched = Watched::open(folder.path(), &quick(&yaml));
    watched.fire(vec![alert("Leak", "a")]);
    let expected = json!({"text": "heap-leak: main.(*Cache).Put, 12 MiB/min", "count": 1, "of": ["firing", 7]});
    assert_eq!(server.wait(1).remove(0).json(), expected);
}

#[test]
fn what_fails_is_tried_again_and_reported_once() {
    let server = Server::start(("503 Busy", "", "come back"));
    let folder = tempfile::tempdir().unwrap();
    let url = server.url("/secret-path");
    let watched =
        Watched::open(folder.path(), &quick(&format!("webhook_configs: [{{url: '{url}'}}]")));
    watched.fire(vec![alert("Leak", "a")]);
    server.wait(2);
    server.answer(OK);
    until("delivery", || {
        watched.events().iter().any(|event| matches!(event, Event::Delivered(_))).then_some(())
    });
    let events = watched.events();
    let fails = events.iter().filter(|event| matches!(event, Event::Fails { .. })).count();
    let works = events.iter().filter(|event| matches!(event, Event::Works { .. })).count();
    assert_eq!((fails, works), (1, 1), "{events:?}");
    assert!(!format!("{events:?}").contains("secret-path"));
    let families = watched.notifier.families();
    let count = |name: &str| {
        let family = families.iter().find(|family| family.name == name);
        family.and_then(|family| family.points[0].value.float())
    };
    assert_eq!(count("memsight_notifications"), Some(1.0));
    assert!(count("memsight_notification_failures") >= Some(2.0));
    assert_eq!(count("memsight_notification_queue_length"), None);
}

#[test]
fn what_is_refused_is_reported_and_left() {
    let server = Server::start(("400 Bad", "", "no such hook\nmore"));
    let folder = tempfile::tempdir().unwrap();
    let url = server.url("/");
    let watched =
        Watched::open(folder.path(), &quick(&format!("webhook_configs: [{{url: '{url}'}}]")));
    watched.fire(vec![alert("Leak", "a")]);
    let refused = until("refusal", || {
        watched.events().into_iter().find_map(|event| match event {
            Event::Refused(delivery) => Some(delivery),
            _ => None,
        })
    });
    assert_eq!(refused.error.as_deref(), Some("status 400: no such hook"));
    // Several group intervals later nothing was tried again.
    std::thread::sleep(std::time::Duration::from_millis(700));
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn slack_gets_an_attachment_as_documented() {
    let server = Server::start(OK);
    let folder = tempfile::tempdir().unwrap();
    let yaml = format!(
        "slack_configs:\n- api_url: '{}'\n  channel: '#memory'\n  send_resolved: true\n  \
         fields: [{{title: Service, value: '{{{{ .CommonLabels.service }}}}', short: true}}]\n  \
         actions: [{{type: button, text: Page, url: '{{{{ .CommonAnnotations.link }}}}'}}]",
        server.url("/services/T0/B0/XXX")
    );
    let watched = Watched::open(folder.path(), &quick(&yaml));
    watched.fire(vec![alert("Leak", "a")]);
    let body = server.wait(1).remove(0).json();
    let attachment = &body["attachments"][0];
    assert_eq!(body["channel"], "#memory");
    assert_eq!(attachment["title"], "[FIRING:1] shop leaks <heap> & grows");
    assert_eq!(attachment["title_link"], "http://memsight.example/target/7");
    assert_eq!(attachment["color"], "danger");
    let text = attachment["text"].as_str().unwrap();
    assert!(
        text.contains("heap-leak: main.(*Cache).Put") && text.contains("Next: memsight heap why")
    );
    let fields = json!([{"title": "Service", "value": "shop", "short": true}]);
    assert_eq!(attachment["fields"], fields);
    let actions =
        json!([{"type": "button", "text": "Page", "url": "http://memsight.example/target/7"}]);
    assert_eq!(attachment["actions"], actions);
    watched.fire(vec![]);
    let body = server.wait(2).remove(1).json();
    assert_eq!(body["attachments"][0]["color"], "good");
}

#[test]
fn slack_says_no_with_status_200() {
    let json = "Content-Type: application/json; charset=utf-8\r\n";
    let server = Server::start(("200 OK", json, r#"{"ok":false,"error":"channel_not_found"}"#));
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "xoxb-1\n").unwrap();
    let yaml = format!(
        "slack_configs: [{{app_token_file: {}, app_url: '{}', channel: '#gone'}}]",
        token.display(),
        server.url("/api/chat.postMessage")
    );
    let watched = Watched::open(&folder.path().join("queue"), &quick(&yaml));
    watched.fire(vec![alert("Leak", "a")]);
    let request = server.wait(1).remove(0);
    assert_eq!(request.header("authorization"), Some("Bearer xoxb-1"));
    let error =
        until("refusal", || watched.notifier.recent().first().and_then(|d| d.error.clone()));
    assert!(error.contains("channel_not_found"), "{error}");
}

#[test]
fn pagerduty_opens_and_closes_one_incident() {
    let server = Server::start(("202 Accepted", "", r#"{"status":"success"}"#));
    let folder = tempfile::tempdir().unwrap();
    let yaml = format!(
        "pagerduty_configs: [{{routing_key: R0, url: '{}', details: {{team: '{{{{ .CommonLabels.service }}}}'}}}}]",
        server.url("/v2/enqueue")
    );
    let watched = Watched::open(folder.path(), &quick(&yaml));
    watched.fire(vec![alert("Leak", "a")]);
    let opened = server.wait(1).remove(0).json();
    assert_eq!(
        (&opened["routing_key"], &opened["event_action"]),
        (&json!("R0"), &json!("trigger"))
    );
    let payload = &opened["payload"];
    assert_eq!(payload["severity"], "critical");
    assert_eq!(payload["source"], "memsight");
    assert_eq!(payload["summary"], "[FIRING:1] shop leaks <heap> & grows");
    assert_eq!(payload["timestamp"], "2023-11-14T22:13:20Z");
    let details = &payload["custom_details"];
    assert_eq!((&details["team"], &details["num_firing"]), (&json!("shop"), &json!(1)));
    assert!(details["firing"].as_str().unwrap().contains("Verdict: heap-leak"));
    let link = json!({"href": "http://memsight.example/target/7", "text": "Leak"});
    assert_eq!(opened["links"], json!([link]));
    // Busy, then closed: the same incident.
    server.answer(("429 Too Many Requests", "Retry-After: 1\r\n", ""));
    watched.fire(vec![]);
    server.wait(2);
    server.answer(("202 Accepted", "", ""));
    let closed = server.wait(3).remove(2).json();
    assert_eq!(closed["event_action"], "resolve");
    assert_eq!(closed["dedup_key"], opened["dedup_key"]);
    assert_eq!(opened["dedup_key"].as_str().unwrap().len(), 64);
}

#[test]
fn a_log_has_a_line_each_and_is_rotated() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("alerts/log.json");
    let yaml = format!("log_configs: [{{path: {}, bytes_max: 1500, files_max: 2}}]", log.display());
    let watched = Watched::open(&folder.path().join("queue"), &quick(&yaml));
    for round in 0..8 {
        watched.fire(vec![alert(&format!("Leak{round}"), "a")]);
        until("lines", || (watched.notifier.recent().len() > round * 2).then_some(()));
    }
    let old = |index: u32| format!("{}.{index}", log.display());
    for path in [log.display().to_string(), old(1), old(2)] {
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.len() <= 1500, "{path}");
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            assert_eq!(line["notification"]["version"], "4");
        }
    }
    assert!(!std::path::Path::new(&old(3)).exists());
}

#[test]
fn several_ways_do_not_wait_for_each_other() {
    // Takes connections and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Server::start(OK);
    let folder = tempfile::tempdir().unwrap();
    let ways = format!(
        "webhook_configs:\n- {{url: 'http://{}/', timeout: 30s}}\n- {{url: '{}'}}",
        silent.local_addr().unwrap(),
        server.url("/")
    );
    let watched = Watched::open(folder.path(), &quick(&ways));
    for round in 0..5 {
        watched.fire(vec![alert(&format!("Leak{round}"), "a")]);
        server.wait(round * 2 + 1);
    }
    assert!(watched.notifier.recent().iter().all(|delivery| delivery.integration.ends_with("[1]")));
}

#[test]
fn another_configuration_takes_over() {
    let (first, second) = (Server::start(OK), Server::start(OK));
    let folder = tempfile::tempdir().unwrap();
    let ways =
        |server: &Server| quick(&format!("webhook_configs: [{{url: '{}'}}]", server.url("/")));
    let watched = Watched::open(folder.path(), &ways(&first));
    watched.fire(vec![alert("Leak", "a")]);
    first.wait(1);
    let settings = Settings {
        external_url: "http://elsewhere".to_owned(),
        external_labels: Labels::new([("cluster", "eu")]),
    };
    let twice = config("receivers: [{name: a}, {name: a}]");
    assert!(watched.notifier.reload(&twice, settings.clone()).is_err());
    watched.notifier.reload(&config(&ways(&second)), settings).unwrap();
    watched.fire(vec![]);
    let told = second.wait(1).remove(0).json();
    assert_eq!(told["status"], "resolved");
    assert_eq!(told["externalURL"], "http://elsewhere");
    watched.fire(vec![alert("Other", "b")]);
    assert_eq!(second.wait(2).remove(1).json()["commonLabels"]["cluster"], "eu");
    assert_eq!(first.requests().len(), 1);
    assert!(watched.notifier.drain(std::time::Duration::from_secs(30)));
}
