//! Queries, templates, rule files and series in notation: read, evaluated over a few series.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use model::series::{Labels, Sample};
use model::units::Timestamp;
use promql::rules::{Environment, GroupState, RuleFile, UnitTests, run_unit_tests};
use promql::template::{Context, Dialect, Templates, Value};
use promql::{MemoryStorage, Options, Query, notation};

const SERIES: [(&str, &str); 6] = [
    (r#"up{job="a", instance="1"}"#, "1 0x3 stale 1x5"),
    (r#"up{job="b", instance="2"}"#, "0+1x9"),
    (r#"h_bucket{le="1"}"#, "0+1x9"),
    (r#"h_bucket{le="+Inf"}"#, "0+3x9"),
    (
        "h",
        "{{schema:0 sum:5 count:4 z_bucket:1 buckets:[1 0 2]}}+{{schema:0 sum:1 count:1 buckets:[1]}}x9",
    ),
    ("c", "{{schema:-53 sum:1 count:1 custom_values:[5 10] buckets:[1]}}x9"),
];

fn storage() -> MemoryStorage {
    let mut storage = MemoryStorage::default();
    for (series, values) in SERIES {
        let labels = promql::parse_metric(series).unwrap();
        let values = notation::parse_values(values).unwrap();
        for (index, value) in (0_i64..).zip(values) {
            if let Some(value) = value {
                storage.add(&labels, Sample { time: Timestamp(index * 30_000), value });
            }
        }
    }
    storage
}

fuzz_target!(|text: &str| {
    let storage = storage();
    let options = Options { max_samples: 20_000, max_points: 20, ..Options::default() };
    let time = Timestamp(200_000);
    if let Ok(query) = Query::parse(text) {
        let _ = query.instant(&storage, time, &options);
        let step = Duration::from_secs(30);
        let _ = query.range(&storage, Timestamp(0), time, step, &options);
    }
    let alert = Value::object([
        ("Status", Value::from("firing")),
        ("Labels", Value::map([("job", Value::from("a"))])),
        ("StartsAt", Value::Time(time)),
    ]);
    let data = Value::object([
        ("Alerts", Value::list([alert])),
        ("Labels", Value::map([("job", Value::from("a"))])),
        ("Value", Value::Float(1.5)),
        ("ExternalURL", Value::from("http://a/b")),
    ]);
    let context = Context { max_bytes: 1 << 16, now: time, ..Context::default() };
    for dialect in [Dialect::Prometheus, Dialect::Alertmanager] {
        let templates = Templates::new(dialect);
        if let Ok(template) = templates.parse(text) {
            let _ = template.render(&templates, &data, &context);
        }
    }
    if let Ok(file) = RuleFile::parse(text) {
        let labels = Labels::empty();
        let environment = Environment {
            storage: &storage,
            options: &options,
            external_labels: &labels,
            external_url: "",
        };
        for group in &file.groups {
            let mut state = GroupState::default();
            group.eval(time, &environment, &mut state);
            group.eval(Timestamp(260_000), &environment, &mut state);
            GroupState::restored(group, &state.save(group), time);
        }
    }
    if text.len() < 2000
        && let Ok(tests) = UnitTests::parse(text)
    {
        run_unit_tests(&tests, &[]);
    }
    let _ = (promql::parse_metric(text), notation::parse_values(text));
});
