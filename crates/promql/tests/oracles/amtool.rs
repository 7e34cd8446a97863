//! Alertmanager's default templates, and its functions, beside `amtool template render`.

use std::path::Path;
use std::process::Command;

use model::units::Timestamp;
use promql::template::{Context, Dialect, Templates, Value};
use serde_json::{Value as Json, json};

/// Notifications: what is grouped, firing and resolved.
fn notifications() -> [Json; 2] {
    let alert = |status: &str, instance: &str, ends: &str| {
        json!({
            "status": status,
            "labels": {"alertname": "Down", "job": "shop", "instance": instance, "zone": "a&b"},
            "annotations": {"summary": format!("{instance} is <down>"), "runbook": "http://r/x y"},
            "startsAt": "2026-01-02T03:04:05.678Z", "endsAt": ends, "generatorURL": "http://prom/graph?g0.expr=up",
            "fingerprint": "abc"
        })
    };
    let zero = "0001-01-01T00:00:00Z";
    let whole = |status: &str, alerts: Json| {
        json!({
            "receiver": "team x", "status": status, "alerts": alerts, "groupLabels": {"alertname": "Down"},
            "commonLabels": {"alertname": "Down", "job": "shop", "zone": "a&b"}, "commonAnnotations": {"runbook": "http://r/x y"},
            "externalURL": "http://am:9093"
        })
    };
    let resolved = "2026-01-02T04:00:00Z";
    let both = json!([
        alert("firing", "1:80", zero),
        alert("firing", "2:80", zero),
        alert("resolved", "3:80", resolved)
    ]);
    [whole("firing", both), whole("resolved", json!([alert("resolved", "3:80", resolved)]))]
}

/// The same with the names that templates use.
fn data(json: &Json) -> Value {
    let texts = |json: &Json| {
        let fields = json.as_object().unwrap().iter();
        Value::map(fields.map(|(name, text)| (name.clone(), Value::from(text.as_str().unwrap()))))
    };
    let text = |json: &Json| Value::from(json.as_str().unwrap());
    let time = |json: &Json| {
        Value::Time(Timestamp(match json.as_str().unwrap() {
            "2026-01-02T03:04:05.678Z" => 1_767_323_045_678,
            "2026-01-02T04:00:00Z" => 1_767_326_400_000,
            _ => -62_135_596_800_000,
        }))
    };
    let alert = |alert: &Json| {
        Value::object([
            ("Status", text(&alert["status"])),
            ("Labels", texts(&alert["labels"])),
            ("Annotations", texts(&alert["annotations"])),
            ("StartsAt", time(&alert["startsAt"])),
            ("EndsAt", time(&alert["endsAt"])),
            ("GeneratorURL", text(&alert["generatorURL"])),
            ("Fingerprint", text(&alert["fingerprint"])),
        ])
    };
    Value::object([
        ("Receiver", text(&json["receiver"])),
        ("Status", text(&json["status"])),
        ("Alerts", Value::list(json["alerts"].as_array().unwrap().iter().map(alert))),
        ("GroupLabels", texts(&json["groupLabels"])),
        ("CommonLabels", texts(&json["commonLabels"])),
        ("CommonAnnotations", texts(&json["commonAnnotations"])),
        ("ExternalURL", text(&json["externalURL"])),
    ])
}

const TEXTS: &[&str] = &[
    "{{ template \"slack.default.title\" . }}",
    "{{ template \"slack.default.fallback\" . }}",
    "{{ template \"slack.default.color\" . }}",
    "{{ template \"opsgenie.default.description\" . }}",
    "{{ template \"pagerduty.default.instances\" .Alerts.Firing }}",
    "{{ template \"wechat.default.message\" . }}",
    "{{ template \"email.default.subject\" . }}",
    "{{ template \"telegram.default.message\" . }}",
    "{{ template \"webex.default.message\" . }}",
    "{{ template \"msteams.default.text\" . }}",
    "{{ template \"nosuch\" . }}",
    "{{ .CommonLabels }}|{{ .CommonLabels.SortedPairs.Names }}|{{ .CommonLabels.Names | join \",\" }}|{{ .CommonLabels.Values }}",
    "{{ (.CommonLabels.Remove (stringSlice \"job\" \"zone\")).Names }}",
    "{{ range .Alerts }}{{ .Labels.instance }} {{ .StartsAt }} {{ .EndsAt }};{{ end }}",
    "{{ range .Alerts }}{{ .StartsAt.Format \"Mon Jan _2 15:04:05.000 2006\" }} {{ .StartsAt.Unix }} {{ .EndsAt.IsZero }};{{ end }}",
    "{{ range .Alerts }}{{ date \"2006-01-02 3:04PM\" .StartsAt }} {{ .EndsAt.Sub .StartsAt }};{{ end }}",
    "{{ tz \"UTC\" (index .Alerts 0).StartsAt }}",
    "{{ title \"hello WORLD of x-y\" }} {{ toUpper \"a\" }} {{ toLower \"A\" }} {{ trimSpace \"  a b \" }}",
    "{{ match \"^a+$\" \"aaa\" }} {{ reReplaceAll \"(a)(b)\" \"$2$1\" \"ab ab\" }}",
    "{{ stringSlice \"a\" \"b\" | join \"-\" }} {{ list 1 \"a\" 2.5 }} {{ append (list 1) 2 3 }} {{ len (list) }}",
    "{{ .CommonLabels | toJson }} {{ list 1 \"<&>\" 1.5 true | toJson }}",
    "{{ $d := dict \"a\" 1 \"b\" \"x\" }}{{ $d.a }}{{ $d.b }} {{ toJson $d }}",
    "{{ dict \"a\" }}",
    "{{ urlUnescape \"a%20b+c\" }} {{ \"a b&c\" | urlquery }}",
    "{{ base64encode \"a?b>c\" }} {{ base64decode \"YT9iPmM=\" }}",
    "{{ humanizeDuration 93784 }} {{ humanizeDuration \"0.05\" }}",
    "{{ .Nosuch }}",
    "{{ .CommonLabels.nosuch }}|",
    "{{ (index .Alerts 0).Labels.job | printf \"%q\" }}",
    "{{ len .Alerts.Firing }}/{{ len .Alerts.Resolved }}",
    "{{ if and (eq .Status \"firing\") (gt (len .Alerts.Firing) 1) }}many{{ else }}few{{ end }}",
    "{{ humanize 5 }}",
    "{{ safeHtml \"<b>\" }}{{ safeUrl \"x\" }}",
    "{{ range .CommonAnnotations.SortedPairs }}{{ .Name }}={{ .Value }}{{ end }}",
];

#[test]
fn notifications_read_as_in_alertmanager() {
    let Some(amtool) = super::modules::peer("amtool") else { return };
    let Some(sources) = super::modules::sources(super::modules::ALERTMANAGER) else { return };
    let file = sources.join("template/default.tmpl");
    let mut templates = Templates::new(Dialect::Alertmanager);
    templates.add(&std::fs::read_to_string(&file).unwrap()).unwrap();
    templates.add(&std::fs::read_to_string(sources.join("template/email.tmpl")).unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (mut differences, mut succeeded) = (Vec::new(), 0);
    for (index, notification) in notifications().iter().enumerate() {
        let json = folder.path().join(format!("{index}.json"));
        std::fs::write(&json, notification.to_string()).unwrap();
        for text in TEXTS {
            let theirs = render(&amtool, &file, &json, text);
            let rendered = templates.parse(text).and_then(|template| {
                template.render(&templates, &data(notification), &Context::default())
            });
            let same = match (&theirs, &rendered) {
                (Some(theirs), Ok(ours)) => theirs.trim_end() == ours.trim_end(),
                (None, Err(_)) => true,
                _ => false,
            };
            succeeded += usize::from(same && theirs.is_some());
            if !same {
                differences.push(format!("{text}\n  amtool: {theirs:?}\n  ours:   {rendered:?}"));
            }
        }
    }
    println!("{succeeded} of {} templates render, and the same as amtool's", 2 * TEXTS.len());
    assert!(succeeded > TEXTS.len(), "amtool renders hardly any");
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
}

/// What amtool makes of a text; `None` if it fails.
fn render(amtool: &Path, glob: &Path, data: &Path, text: &str) -> Option<String> {
    let mut command = Command::new(amtool);
    command.args(["template", "render", "--template.text", text]);
    command.arg("--template.glob").arg(glob).arg("--template.data").arg(data);
    let output = command.output().unwrap();
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
