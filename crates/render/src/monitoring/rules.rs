//! Rule files of Prometheus, and unit tests for them.

use std::fmt::Write;

use super::Settings;
use super::definitions::{Alert, GROUPS};

/// Recording and alerting rules, as a file for `rule_files`.
pub fn rules(settings: &Settings) -> String {
    let mut out =
        String::from("# Written by `memsight rules generate`; changes are lost.\ngroups:\n");
    for group in &GROUPS {
        let _ = writeln!(out, "  - name: {}\n    interval: 1m\n    rules:", group.name);
        for recording in group.recordings {
            let expr = settings.fill(recording.expr);
            let _ = writeln!(
                out,
                "      - record: {}\n        expr: {}",
                recording.name,
                quoted(&expr)
            );
        }
        for alert in group.alerts {
            push(&mut out, alert, settings);
        }
    }
    out
}

fn push(out: &mut String, alert: &Alert, settings: &Settings) {
    let expr = quoted(&settings.fill(alert.expr));
    let _ = writeln!(out, "      - alert: {}\n        expr: {expr}", alert.name);
    for (key, duration) in [("for", alert.held), ("keep_firing_for", alert.keep_firing)] {
        if duration != "0s" {
            let _ = writeln!(out, "        {key}: {duration}");
        }
    }
    let _ = writeln!(out, "        labels:\n          severity: {}", alert.severity);
    for (name, value) in &settings.labels {
        let _ = writeln!(out, "          {name}: {}", quoted(value));
    }
    out.push_str("        annotations:\n");
    let Alert { summary, description, next, .. } = alert;
    for (name, text) in [("summary", summary), ("description", description), ("next", next)] {
        let _ = writeln!(out, "          {name}: {}", quoted(&settings.fill(text)));
    }
}

/// Unit tests of the rules for `promtool test rules`: each alert fires where it should, and is
/// quiet on a healthy program. `rule_file` is the name of the rules' file beside it.
pub fn rule_tests(settings: &Settings, rule_file: &str) -> String {
    let mut out = String::from("# Written by `memsight rules generate`; changes are lost.\n");
    let _ = writeln!(out, "rule_files: [{}]\nevaluation_interval: 1m\ntests:", quoted(rule_file));
    for alert in GROUPS.iter().flat_map(|group| group.alerts) {
        for (series, fires) in [(alert.fires, true), (alert.quiet, false)] {
            let word = if fires { "fires" } else { "is quiet" };
            let _ = writeln!(
                out,
                "  - name: {} {word}\n    interval: 1m\n    input_series:",
                alert.name
            );
            for (name, values) in series {
                let _ = writeln!(
                    out,
                    "      - series: {}\n        values: {}",
                    quoted(name),
                    quoted(&settings.fill(values))
                );
            }
            let _ = writeln!(
                out,
                "    promql_expr_test:\n      \
                 - expr: count(ALERTS{{alertname=\"{}\",alertstate=\"firing\"}})\n        \
                 eval_time: 3h\n        exp_samples:{}",
                alert.name,
                if fires { "\n          - {labels: '{}', value: 1}" } else { " []" }
            );
        }
    }
    out
}

/// A YAML scalar that means exactly the text.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
