//! Rule files, unit tests and numbers beside `promtool`.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use model::series::{Labels, Sample, Value};
use model::units::Timestamp;
use promql::rules::{RuleFile, UnitTests, run_unit_tests};
use promql::{Answer, MemoryStorage, Options, Query, notation};

/// Reports whether promtool is content, with what it says.
fn passes(promtool: &Path, args: &[&str], file: &Path) -> (bool, String) {
    let output = Command::new(promtool).args(args).arg(file).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// Rule files, good and bad.
const FILES: &[&str] = &[
    "",
    "groups:\n",
    "groups: []\n",
    "groups:\n- name: a\n",
    "groups:\n- name: a\n  rules:\n",
    "groups:\n- name: a\n  rules: []\n",
    "groups:\n- rules: []\n",
    "groups:\n- name: ''\n  rules: []\n",
    "groups:\n- name: a\n- name: a\n",
    "groups:\n- name: a\n- name: b\n",
    "group: []\n",
    "groups:\n- name: a\n  interval: 1x\n",
    "groups:\n- name: a\n  interval: 1h30m\n  query_offset: 10s\n  limit: 5\n  labels: {a: b}\n",
    "groups:\n- name: a\n  limit: many\n",
    "groups:\n- name: a\n  labels: {__name__: b}\n",
    "groups:\n- name: a\n  labels: {'': b}\n",
    "groups:\n- name: a\n  colour: blue\n",
    "groups:\n- name: a\n  rules:\n  - expr: up\n",
    "groups:\n- name: a\n  rules:\n  - record: b\n",
    "groups:\n- name: a\n  rules:\n  - record: b\n    expr: ''\n",
    "groups:\n- name: a\n  rules:\n  - record: b\n    expr: up\n",
    "groups:\n- name: a\n  rules:\n  - record: b\n    expr: 1\n",
    "groups:\n- name: a\n  rules:\n  - record: b\n    expr: up[5m]\n",
    "groups:\n- name: a\n  rules:\n  - record: b c\n    expr: up\n",
    "groups:\n- name: a\n  rules:\n  - record: b{c}\n    expr: up\n",
    "groups:\n- name: a\n  rules:\n  - record: 'b:é'\n    expr: up\n",
    "groups:\n- name: a\n  rules:\n  - record: b\n    alert: c\n    expr: up\n",
    "groups:\n- name: a\n  rules:\n  - record: b\n    expr: up\n    for: 5m\n",
    "groups:\n- name: a\n  rules:\n  - record: b\n    expr: up\n    for: 0s\n",
    "groups:\n- name: a\n  rules:\n  - record: b\n    expr: up\n    keep_firing_for: 5m\n",
    "groups:\n- name: a\n  rules:\n  - record: b\n    expr: up\n    annotations: {c: d}\n",
    "groups:\n- name: a\n  rules:\n  - record: b\n    expr: up\n    labels: {c: d, e: 5}\n",
    "groups:\n- name: a\n  rules:\n  - record: b\n    expr: up\n    labels: {__name__: d}\n",
    "groups:\n- name: a\n  rules:\n  - record: b\n    expr: up\n    labels: {'c.d': '{{ .nonsense'}\n",
    "groups:\n- name: a\n  rules:\n  - alert: b\n    expr: up\n    for: 5m\n    keep_firing_for: 1h\n",
    "groups:\n- name: a\n  rules:\n  - alert: b\n    expr: up\n    for: five\n",
    "groups:\n- name: a\n  rules:\n  - alert: b\n    expr: up ==\n",
    "groups:\n- name: a\n  rules:\n  - alert: b\n    expr: sum(up\n",
    "groups:\n- name: a\n  rules:\n  - alert: b\n    expr: rate(up)\n",
    "groups:\n- name: a\n  rules:\n  - alert: b\n    expr: up > bool 1 > 2\n",
    "groups:\n- name: a\n  rules:\n  - alert: b\n    expr: 1 > 2\n",
    "groups:\n- name: a\n  rules:\n  - alert: b\n    expr: up\n    labels: {c: '{{ $labels.d }}'}\n",
    "groups:\n- name: a\n  rules:\n  - alert: b\n    expr: up\n    labels: {c: '{{ $label.d }}'}\n",
    "groups:\n- name: a\n  rules:\n  - alert: b\n    expr: up\n    annotations: {c: '{{ $value | humanize }}'}\n",
    "groups:\n- name: a\n  rules:\n  - alert: b\n    expr: up\n    annotations: {c: '{{ $value | humanise }}'}\n",
    "groups:\n- name: a\n  rules:\n  - alert: b\n    expr: up\n    annotations: {c: '{{ join \",\" .x }}'}\n",
    "groups:\n- name: a\n  rules:\n  - alert: b\n    expr: up\n    annotations: {c: '{{ $value'}\n",
    "groups:\n- name: a\n  rules:\n  - alert: b\n    expr: up\n    annotations: {'': d}\n",
    "groups:\n- name: a\n  rules:\n  - alert: b\n    expr: up\n    annotation: {c: d}\n",
    "groups:\n- name: a\n  rules:\n  - alert: b\n    alert: c\n    expr: up\n",
    "groups:\n- name: a\n  rules:\n  - alert: b\n    expr: |\n      up\n      == 0\n",
    "groups:\n- name: a\n  rules:\n  - alert: b\n    expr: &e up\n  - alert: c\n    expr: *e\n",
    "groups: {}\n",
    "groups:\n- 5\n",
    "- a\n",
    "groups:\n- name: a\n  rules:\n  - alert: [b]\n    expr: up\n",
    "groups:\n\t- name: a\n",
    "groups:\n- name: 5\n  rules:\n  - record: 6\n    expr: up\n",
    "groups:\n- name: a\n  labels: {team: '{{ nosuch }}'}\n  rules:\n  - alert: b\n    expr: up\n",
    "groups:\n- name: a\n  rules:\n  - alert: b\n    expr: label_replace(up, 'a', '$1', 'b', '(.*)')\n",
    "groups:\n- name: a\n  rules:\n  - alert: b\n    expr: up{job=~'('}\n",
    "groups:\n- name: a\n  rules:\n  - alert: b\n    expr: '{}'\n",
    "groups:\n- name: a\n  rules:\n  - alert: b\n    expr: count_values('x', up) by (a)\n",
    "groups:\n- name: a\n  rules:\n  - alert: b\n    expr: topk(up)\n",
    "groups:\n- name: a\n  rules:\n  - alert: b\n    expr: a + on (b) group_left (b) c\n",
    "groups:\n- name: a\n  rules:\n  - alert: b\n    expr: a and on (b) group_left c\n",
    "groups:\n- name: a\n  rules:\n  - alert: b\n    expr: sum(a) by (b,) + ignoring () c offset -5m\n",
    "groups:\n- name: a\n  rules:\n  - alert: b\n    expr: up @ 5 offset 1m + up[5m:] \n",
    "groups:\n- name: a\n  rules:\n  - alert: b\n    expr: max_over_time(up[5m:1m] @ end())\n",
];

#[test]
fn rule_files_pass_where_promtool_passes_them() {
    let Some(promtool) = super::modules::peer("promtool") else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut differences = Vec::new();
    for (index, text) in FILES.iter().enumerate() {
        let file = folder.path().join(format!("{index}.yml"));
        std::fs::write(&file, text).unwrap();
        let (passes, said) = passes(&promtool, &["check", "rules", "--lint=none"], &file);
        let ours = RuleFile::parse(text);
        if passes != ours.is_ok() {
            let ours = ours.map(|_| "passes").map_err(|errors| errors[0].to_string());
            differences.push(format!("{text}\n  promtool: {said}\n  ours: {ours:?}"));
        }
    }
    println!("{} rule files beside promtool", FILES.len());
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
}

/// Rules for unit tests.
const RULES: &str = r#"
groups:
- name: first
  rules:
  - record: job:rate:sum
    expr: sum by (job) (rate(requests_total[5m]))
    labels: {kind: rate, gone: ''}
  - record: fixed
    expr: 42
  - alert: Slow
    expr: job:rate:sum < 1
    for: 3m
    labels: {severity: '{{ if gt $value 0.5 }}low{{ else }}high{{ end }}', site: '{{ $externalLabels.site }}'}
    annotations:
      summary: '{{ $labels.job }} at {{ $value | printf "%.3f" }} in {{ $externalURL }}'
      humanized: '{{ humanize 1234567.0 }} {{ humanize 0.00012 }} {{ humanize1024 1048576.0 }} {{ humanizeDuration 3661.5 }} {{ humanizeDuration 0.0012 }} {{ humanizePercentage 0.1234 }} {{ humanizeTimestamp 1435065584.128 }}'
      texts: '{{ title "a bC-d e''f" }} {{ toUpper "aé" }} {{ stripPort "a.b:80" }} {{ stripDomain "a.b.c:80" }} {{ stripDomain "1.2.3.4:80" }} {{ match "a.*b" "xaxb" }} {{ reReplaceAll "(.)b" "<$1>" "abcb" }}'
      links: '{{ graphLink "up == 0" }} {{ tableLink "a{b=\"c\"}" }} {{ urlQueryEscape "a b&c" }}'
      queries: '{{ range query "sort_desc(job:rate:sum)" }}{{ .Labels.job }}={{ .Value }};{{ end }} {{ with query "sort(job:rate:sum)" }}{{ . | first | label "job" }}{{ end }} {{ query "fixed" | first | value }} {{ range query "requests_total" | sortByLabel "instance" }}{{ .Labels.instance }}{{ end }}'
      times: '{{ parseDuration "1h30m" }} {{ (toTime 1435065584.128).Format "2006-01-02T15:04:05.000Z07:00" }} {{ (toTime 0.5).Unix }} {{ now }} {{ toDuration 90.5 }}'
      empty: ''
      loops: '{{ range $name, $value := $labels }}{{ $name }}={{ $value }},{{ end }}{{ define "x" }}[{{ . }}]{{ end }}{{ template "x" $labels.job }}'
- name: second
  interval: 1m
  limit: 3
  rules:
  - alert: Kept
    expr: gauge > 5
    keep_firing_for: 4m
    annotations: {value: '{{ $value }}'}
  - record: alerts:count
    expr: count by (alertname, alertstate) (ALERTS)
  - alert: Absent
    expr: absent(nothing{job="x"})
    for: 1m
"#;

const TESTS: &str = r#"
rule_files: [rules.yml]
evaluation_interval: 1m
group_eval_order: [first, second]
tests:
- name: alerts
  interval: 1m
  external_labels: {site: home}
  external_url: http://here:9090/base/x?y
  input_series:
  - {series: 'requests_total{job="a", instance="1"}', values: '0+30x20'}
  - {series: 'requests_total{job="b", instance="2"}', values: '0+90x5 540+12x10 stale'}
  - {series: 'gauge{x="1"}', values: '1 6 7 1x6 6 1x9'}
  - {series: 'gauge{x="2"}', values: '_x3 9x2 stale _x4 8'}
  alert_rule_test:
  - {eval_time: 3m, alertname: Slow}
  - eval_time: 5m
    alertname: Slow
    exp_alerts:
    - exp_labels: {severity: high, job: a, kind: rate, site: home}
      exp_annotations: ANNOTATIONS
  - {eval_time: 0m, alertname: Kept}
  - eval_time: 4m
    alertname: Kept
    exp_alerts:
    - {exp_labels: {x: "1"}, exp_annotations: {value: "7"}}
    - {exp_labels: {x: "2"}, exp_annotations: {value: "9"}}
  - eval_time: 7m
    alertname: Kept
    exp_alerts:
    - {exp_labels: {x: "2"}, exp_annotations: {value: "9"}}
  - eval_time: 2m
    alertname: Absent
    exp_alerts:
    - {exp_labels: {job: x}}
  promql_expr_test:
  - expr: fixed
    eval_time: 4m
    exp_samples: [{labels: 'fixed', value: 42}]
  - expr: job:rate:sum
    eval_time: 4m
    exp_samples:
    - {labels: 'job:rate:sum{job="a", kind="rate"}', value: 0.4}
    - {labels: 'job:rate:sum{job="b", kind="rate"}', value: 1.2000000000000002}
  - expr: alerts:count
    eval_time: 5m
    exp_samples:
    - {labels: 'alerts:count{alertname="Absent", alertstate="firing"}', value: 1}
    - {labels: 'alerts:count{alertname="Kept", alertstate="firing"}', value: 2}
    - {labels: 'alerts:count{alertname="Slow", alertstate="firing"}', value: 1}
  - expr: ALERTS_FOR_STATE{alertname="Kept"}
    eval_time: 4m
    exp_samples:
    - {labels: 'ALERTS_FOR_STATE{alertname="Kept", x="1"}', value: 60}
    - {labels: 'ALERTS_FOR_STATE{alertname="Kept", x="2"}', value: 180}
"#;

/// What promtool says that the annotations are, as YAML.
fn annotations(said: &str) -> Option<String> {
    let got = said.split("got:").nth(1)?;
    let line = got.lines().find_map(|line| line.trim().strip_prefix("Annotations:"))?;
    let labels = promql::parse_metric(line).ok()?;
    let entry =
        |(name, value): (&str, &str)| format!("{name}: {}", serde_json::to_string(value).unwrap());
    // Labels have no empty values, annotations have.
    let entries = labels.iter().map(entry).chain(["empty: ''".to_owned()]);
    Some(format!("{{{}}}", entries.collect::<Vec<_>>().join(", ")))
}

#[test]
fn unit_tests_pass_where_promtool_passes_them() {
    let Some(promtool) = super::modules::peer("promtool") else { return };
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("rules.yml"), RULES).unwrap();
    let rules = [RuleFile::parse(RULES).unwrap()];
    let file = folder.path().join("tests.yml");
    let compare = |tests: &str, wanted: Option<bool>| {
        std::fs::write(&file, tests).unwrap();
        let (passes, said) = passes(&promtool, &["test", "rules"], &file);
        let failures = match UnitTests::parse(tests) {
            Ok(tests) if tests.rule_files.is_empty() => run_unit_tests(&tests, &[]),
            Ok(tests) => run_unit_tests(&tests, &rules),
            Err(error) => vec![error],
        };
        let ours = failures.join("\n");
        assert_eq!(passes, failures.is_empty(), "{tests}\npromtool: {said}\nours: {ours}");
        assert!(wanted.is_none_or(|wanted| wanted == passes), "{tests}\nboth: {said}");
        said
    };
    // The annotations are promtool's own: only the rest of the file could be wrong.
    let said = compare(&TESTS.replace("ANNOTATIONS", "{}"), Some(false));
    let whole = TESTS.replace("ANNOTATIONS", &annotations(&said).expect("annotations"));
    compare(&whole, Some(true));
    // Each of these makes a test fail, or changes nothing, for both.
    let changes = [
        ("value: 42", "value: 43"),
        ("eval_time: 7m", "eval_time: 8m"),
        ("x: \"2\"", "x: \"3\""),
        ("0.4}", "0.41}"),
        ("evaluation_interval: 1m", "evaluation_interval: 2m"),
        ("interval: 1m", "interval: 30s"),
        ("1 6 7 1x6", "1 6 7 1x4"),
        ("stale _x4 8", "9 _x4 8"),
        ("[first, second]", "[second, first]"),
        ("alertname: Absent\n", "alertname: ''\n"),
        ("eval_time: 3m, alertname: Slow", "eval_time: 2m30s, alertname: Slow"),
        ("{site: home}", "{site: away}"),
        ("'fixed'", "'fixed{'"),
        ("expr: fixed", "expr: fixed["),
        ("expr: fixed", "expr: fixed[5m]"),
        ("0+30x20", "0+30y20"),
        ("alert_rule_test", "alert_rule_tests"),
        ("[rules.yml]", "[]"),
        ("value: 180", "value: 120"),
        ("'0+90x5", "'1-0.5x5"),
        ("external_url: http", "start_timestamp: 1000000000\n  external_url: http"),
        ("group_eval_order: [first, second]", ""),
        ("tests:\n- name", "fuzzy_compare: true\ntests:\n- name"),
        ("gauge{x=\"2\"}', values: '_x3", "gauge{x=\"2\", __name__=\"gauge\"}', values: '_x3"),
    ];
    for (from, to) in changes {
        assert!(whole.contains(from), "{from}");
        compare(&whole.replace(from, to), None);
    }
    println!("{} files of unit tests beside promtool", changes.len() + 2);
}

/// Pseudo-random numbers that are the same in every run.
fn noise(state: &mut u64) -> f64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) as f64 / 1e6
}

/// Expressions whose values have to be the same to the bit. Not among them: functions that each
/// mathematical library rounds in its own way (`exp`, `ln`, `^`), and aggregations that depend on
/// the order of series, which promtool does not fix (`stddev`, `stdvar`).
const EXACT: &[&str] = &[
    "rate(counter[5m])",
    "rate(counter[3m30s])",
    "increase(counter[7m])",
    "irate(counter[5m])",
    "delta(gauge[5m])",
    "idelta(gauge[5m])",
    "deriv(gauge[10m])",
    "predict_linear(gauge[10m], 3600)",
    "predict_linear(gauge[10m] offset 1m, 3600)",
    "deriv(counter[4m])",
    "resets(counter[20m])",
    "changes(gauge[20m])",
    "avg_over_time(gauge[9m])",
    "sum_over_time(gauge[9m])",
    "stddev_over_time(gauge[9m])",
    "stdvar_over_time(gauge[9m])",
    "quantile_over_time(0.37, gauge[9m])",
    "min_over_time(gauge[9m])",
    "max_over_time(gauge[9m])",
    "last_over_time(gauge[9m])",
    "sum(gauge)",
    "avg(gauge)",
    "quantile(0.42, gauge)",
    "sum(rate(counter[5m]))",
    "avg(rate(counter[5m]))",
    "sum without (i) (rate(counter[5m]))",
    "max(deriv(gauge[10m]))",
    "rate(counter[5m:1m])",
    "max_over_time(rate(counter[5m])[10m:1m])",
    "predict_linear(gauge[15m:30s], -600)",
    "gauge * on (i) counter",
    "gauge / ignoring (job) group_left () counter",
    "sqrt(gauge)",
    "round(gauge, 0.1)",
    "gauge % 7",
    "clamp(gauge, 500, 1000)",
    "topk(2, gauge)",
    "bottomk(1, gauge)",
    "gauge > 900",
    "gauge >= bool 900",
    "timestamp(gauge)",
    "histogram_quantile(0.9, sum by (le) (rate(h_bucket[5m])))",
    "histogram_quantile(0.5, h_bucket)",
    "absent(nothing{a=\"b\"})",
    "count_values(\"v\", round(gauge, 1000))",
    "-gauge",
    "hour()",
    "day_of_week(gauge * 1e6)",
    "sum_over_time((gauge > 500)[10m:1m])",
    "increase(counter[10m] @ 900)",
    "rate(counter[1m])",
    "increase(counter[90s])",
];

#[test]
fn numbers_are_those_of_prometheus_to_the_bit() {
    let Some(promtool) = super::modules::peer("promtool") else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut seed = 7;
    let (mut storage, mut input) = (MemoryStorage::default(), String::new());
    for series in 0..4 {
        let mut counter = 0.0;
        let mut texts = [String::new(), String::new()];
        for step in 0..60 {
            counter = if step % 23 == 22 { 0.0 } else { counter + noise(&mut seed) };
            // Now and then a reading is missing.
            if (step * 7 + series) % 11 == 0 {
                texts.iter_mut().for_each(|text| text.push_str("_ "));
                continue;
            }
            texts[0].push_str(&format!("{counter} "));
            texts[1].push_str(&format!("{} ", noise(&mut seed)));
        }
        for (name, text) in ["counter", "gauge"].iter().zip(texts) {
            add(&mut storage, &mut input, &format!("{name}{{i=\"{series}\"}}"), &text);
        }
    }
    for (index, bound) in ["0.1", "0.5", "1", "+Inf"].iter().enumerate() {
        let values = format!("0+{}x59", index * index + 3);
        add(&mut storage, &mut input, &format!("h_bucket{{le=\"{bound}\"}}"), &values);
    }
    let mut expected = String::new();
    for expr in EXACT {
        for seconds in [600_u64, 1234, 1740] {
            let query = Query::parse(expr).unwrap();
            let time = Timestamp(i64::try_from(seconds * 1000).unwrap());
            let options = Options { default_step: Duration::from_secs(60), ..Options::default() };
            let Ok(Answer::Vector(values)) = query.instant(&storage, time, &options) else {
                panic!("{expr}")
            };
            let samples = values.iter().map(|sample| {
                let Value::Float(value) = sample.value else { panic!("{expr}") };
                let labels = serde_json::to_string(&full(&sample.labels)).unwrap();
                format!("{{labels: {labels}, value: {value:?}}}")
            });
            let samples = samples.collect::<Vec<_>>().join(", ");
            let expr = serde_json::to_string(expr).unwrap();
            expected.push_str(&format!(
                "  - {{expr: {expr}, eval_time: {seconds}s, exp_samples: [{samples}]}}\n"
            ));
        }
    }
    let file = folder.path().join("tests.yml");
    let text = format!(
        "evaluation_interval: 1m\ntests:\n- interval: 30s\n  input_series:\n{input}  promql_expr_test:\n{expected}"
    );
    std::fs::write(&file, text).unwrap();
    let (passes, said) = passes(&promtool, &["test", "rules"], &file);
    println!("{} queries beside Prometheus", EXACT.len() * 3);
    assert!(passes, "{said}");
}

fn add(storage: &mut MemoryStorage, input: &mut String, series: &str, values: &str) {
    let labels = promql::parse_metric(series).unwrap();
    let parsed = notation::parse_values(values).unwrap();
    for (index, value) in (0_i64..).zip(parsed) {
        if let Some(value) = value {
            storage.add(&labels, Sample { time: Timestamp(index * 30_000), value });
        }
    }
    input.push_str(&format!("  - {{series: '{series}', values: '{values}'}}\n"));
}

fn full(labels: &Labels) -> String {
    let all = labels.iter().map(|(name, value)| format!("{name}={value:?}"));
    format!("{{{}}}", all.collect::<Vec<_>>().join(", "))
}
