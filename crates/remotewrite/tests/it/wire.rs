//! What is on the wire.

use std::time::Duration;

use model::series::{Exemplar, NAME, NativeHistogram, STALE, Value};
use model::{Family, FamilyKind, Labels, Point, Timestamp};

use crate::receiver::{Field, Receiver, Request, reply, varint, written};
use crate::{gauge, names, open, texts, time};

const DRAIN: Duration = Duration::from_secs(30);

fn counter() -> Family {
    let labels = Labels::new([(NAME, "hits_total"), ("zone", "é"), ("a", "x")]);
    let exemplar = Exemplar {
        labels: Labels::new([("trace_id", "abc")]),
        value: 0.5,
        time: Some(Timestamp(1234)),
    };
    let point = Point {
        start: Some(Timestamp(1000)),
        exemplars: vec![exemplar],
        ..Point::new(labels, -0.0)
    };
    Family {
        name: "hits".to_owned(),
        kind: FamilyKind::Counter,
        help: "Hits\nof it.".to_owned(),
        unit: "hits".to_owned(),
        points: vec![point],
    }
}

fn histogram(histogram: NativeHistogram) -> Family {
    let value = Value::Histogram(histogram.into());
    let labels = Labels::new([(NAME, "sizes")]);
    let points = vec![Point { value, ..Point::new(labels, 0.0) }];
    let name = "sizes".to_owned();
    Family { name, kind: FamilyKind::Histogram, points, ..Family::default() }
}

/// What arrives of families by a destination with `options`.
fn sent(options: &str, families: &[Family]) -> Vec<Request> {
    let folder = tempfile::tempdir().unwrap();
    let is_v2 = options.contains("v2");
    let receiver = Receiver::start(move |_, request| match is_v2 {
        true => written(204, request.values(), ""),
        false => reply(204, ""),
    });
    let url = &receiver.url;
    let (writes, notices) = open(folder.path(), &format!("- {{url: '{url}', {options}}}"));
    writes.append("a", time(0), families);
    assert!(writes.drain(DRAIN), "{:?}", texts(&notices));
    assert!(notices.lock().unwrap().is_empty(), "{:?}", texts(&notices));
    receiver.requests()
}

const V2: &str = "protobuf_message: io.prometheus.write.v2.Request";

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn version_1_is_as_its_specification_says() {
    let requests = sent("send_exemplars: true, headers: {X-Scope-OrgID: me}", &[counter()]);
    let [request] = requests.as_slice() else { panic!("{requests:?}") };
    let headers = [
        ("content-encoding", "snappy"),
        ("content-type", "application/x-protobuf"),
        ("x-prometheus-remote-write-version", "0.1.0"),
        ("x-scope-orgid", "me"),
    ];
    for (name, value) in headers {
        assert_eq!(request.headers[name], value);
    }
    assert!(request.headers["user-agent"].starts_with("memsight/"));
    assert!(!request.headers.contains_key("retry-attempt"));
    let [series] = request.series.as_slice() else { panic!("{request:?}") };
    assert_eq!(series.labels, pairs(&[("__name__", "hits_total"), ("a", "x"), ("zone", "é")]));
    assert_eq!(series.samples, [(time(0).0, (-0.0_f64).to_bits(), 0)]);
    assert_eq!(series.exemplars, [(pairs(&[("trace_id", "abc")]), 0.5, 1234)]);
    assert_eq!(series.metadata, None);
}

#[test]
fn version_2_is_as_its_specification_says() {
    let families = [counter(), gauge(&names(3), 7.0)];
    let requests = sent(&format!("{V2}, send_exemplars: true"), &families);
    let [request] = requests.as_slice() else { panic!("{requests:?}") };
    let content = "application/x-protobuf;proto=io.prometheus.write.v2.Request";
    assert_eq!(request.headers["content-type"], content);
    assert_eq!(request.headers["x-prometheus-remote-write-version"], "2.0.0");
    let mut symbols = request.symbols.clone();
    assert_eq!(symbols[0], "");
    symbols.sort();
    symbols.dedup();
    assert_eq!(symbols.len(), request.symbols.len());
    assert_eq!(request.series.len(), 4);
    let series = request.series.iter().find(|series| series.label("a") == "x").unwrap();
    assert_eq!(series.samples, [(time(0).0, (-0.0_f64).to_bits(), 1000)]);
    assert_eq!(series.exemplars, [(pairs(&[("trace_id", "abc")]), 0.5, 1234)]);
    let metadata = (1, "Hits\nof it.".to_owned(), "hits".to_owned());
    assert_eq!(series.metadata, Some(metadata));
}

#[test]
fn exemplars_and_histograms_are_sent_when_wanted() {
    let families = [counter(), histogram(NativeHistogram::default())];
    for message in ["send_exemplars: false", V2] {
        let requests = sent(message, &families);
        let series: Vec<_> = requests.iter().flat_map(|request| &request.series).collect();
        assert_eq!(series.len(), 1);
        assert!(series[0].exemplars.is_empty());
    }
}

/// The numbers of a packed field.
fn packed(histogram: &[(u64, Field)], wanted: u64) -> Vec<u64> {
    let mut numbers = Vec::new();
    for (_, field) in histogram.iter().filter(|(known, _)| *known == wanted) {
        let mut bytes = field.bytes();
        while !bytes.is_empty() {
            numbers.push(varint(&mut bytes));
        }
    }
    numbers
}

fn number(histogram: &[(u64, Field)], wanted: u64) -> Option<u64> {
    histogram.iter().find(|(known, _)| *known == wanted).map(|(_, field)| field.number())
}

#[test]
fn native_histograms_have_spans_and_differences() {
    let whole = NativeHistogram {
        schema: 3,
        zero_threshold: 0.001,
        zero_count: 2.0,
        count: 12.0,
        sum: 18.5,
        positive: vec![(-1, 1.0), (0, 3.0), (4, 2.0)],
        negative: vec![(2, 4.0)],
        ..NativeHistogram::default()
    };
    for message in ["send_native_histograms: true", &format!("{V2}, send_native_histograms: true")]
    {
        let requests = sent(message, &[histogram(whole.clone())]);
        let histogram = &requests[0].series[0].histograms[0];
        assert_eq!(number(histogram, 1), Some(12));
        assert_eq!(number(histogram, 3), Some(18.5_f64.to_bits()));
        // Signed numbers are written by zigzag: 3 is 6, -1 is 1.
        assert_eq!(number(histogram, 4), Some(6));
        assert_eq!(number(histogram, 5), Some(0.001_f64.to_bits()));
        assert_eq!(number(histogram, 6), Some(2));
        assert_eq!(packed(histogram, 9), [8]);
        // Differences 1, 2, -1.
        assert_eq!(packed(histogram, 12), [2, 4, 1]);
        assert_eq!(number(histogram, 15), Some(time(0).0 as u64));
        let spans = histogram.iter().filter(|(known, _)| *known == 11);
        let spans: Vec<Vec<u8>> = spans.map(|(_, field)| field.bytes().to_vec()).collect();
        // From -1, two; three further, one.
        assert_eq!(spans, [[8, 1, 16, 2], [8, 6, 16, 1]]);
    }
    let parts = NativeHistogram { count: 1.5, positive: vec![(0, 1.5)], ..whole };
    let requests = sent("send_native_histograms: true", &[histogram(parts)]);
    let histogram = &requests[0].series[0].histograms[0];
    assert_eq!(number(histogram, 2), Some(1.5_f64.to_bits()));
    assert_eq!(number(histogram, 7), Some(2_f64.to_bits()));
    assert_eq!(number(histogram, 1), None);
}

#[test]
fn custom_bounds_need_version_2() {
    let custom = NativeHistogram {
        schema: -53,
        count: 3.0,
        positive: vec![(0, 1.0), (2, 2.0)],
        bounds: vec![0.5, 1.0].into(),
        ..NativeHistogram::default()
    };
    let families = [histogram(custom), gauge(&names(1), 1.0)];
    let requests = sent(&format!("{V2}, send_native_histograms: true"), &families);
    let mut series = requests.iter().flat_map(|request| &request.series);
    let found = series.find(|series| !series.histograms.is_empty()).unwrap();
    let bounds = found.histograms[0].iter().find(|(known, _)| *known == 16).unwrap();
    let expected: Vec<u8> = [0.5_f64, 1.0].iter().flat_map(|bound| bound.to_le_bytes()).collect();
    assert_eq!(bounds.1.bytes(), expected);
    let requests = sent("send_native_histograms: true", &families);
    let series: Vec<_> = requests.iter().flat_map(|request| &request.series).collect();
    assert_eq!(series.len(), 1);
    assert!(series[0].histograms.is_empty());
}

#[test]
fn what_goes_gets_a_staleness_marker() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(|_, _| reply(204, ""));
    let (writes, _) = open(folder.path(), &format!("- url: {}", receiver.url));
    let timed = Point { time: Some(time(0)), ..Point::new(Labels::new([(NAME, "t")]), 1.0) };
    let timed = Family { name: "t".to_owned(), points: vec![timed], ..Family::default() };
    writes.append("a", time(0), &[gauge(&names(3), 0.0), timed]);
    writes.append("b", time(0), &[gauge(&["b".to_owned()], 0.0)]);
    writes.append("a", time(1), &[gauge(&names(1), 1.0)]);
    writes.append("a", time(2), &[]);
    writes.append("a", time(3), &[]);
    assert!(writes.drain(DRAIN));
    let requests = receiver.requests();
    let values = |name: &str| -> Vec<(i64, u64)> {
        let series = requests.iter().flat_map(|request| &request.series);
        let series = series.filter(|series| series.label("series") == name);
        series.flat_map(|series| &series.samples).map(|(time, value, _)| (*time, *value)).collect()
    };
    let [zero, one, stale] = [0.0, 1.0, STALE].map(f64::to_bits);
    assert_eq!(stale, 0x7ff0_0000_0000_0002);
    assert_eq!(values("0"), [(time(0).0, zero), (time(1).0, one), (time(2).0, stale)]);
    assert_eq!(values("2"), [(time(0).0, zero), (time(1).0, stale)]);
    assert_eq!(values("b"), [(time(0).0, zero)]);
    assert_eq!(values(""), [(time(0).0, one)]);
}

#[test]
fn external_labels_and_relabelling_come_before_sending() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(|_, _| reply(204, ""));
    let yaml = format!(
        "- url: {}
  write_relabel_configs:
  - {{source_labels: [series], regex: '[13]', action: drop}}
  - {{source_labels: [host, series], target_label: both}}
  - {{regex: host, action: labeldrop}}",
        receiver.url
    );
    let external = Labels::new([("host", "h"), ("series", "never")]);
    let report = std::sync::Arc::new(|_| ());
    let limits = remotewrite::Limits::default();
    let configs = crate::configs(&yaml);
    let writes =
        remotewrite::RemoteWrites::open(folder.path(), &external, &configs, limits, report);
    let writes = writes.unwrap();
    writes.append("a", time(0), &[gauge(&names(4), 0.0)]);
    assert!(writes.drain(DRAIN));
    let mut series: Vec<_> =
        receiver.requests().iter().flat_map(|request| request.series.clone()).collect();
    series.sort_by_key(|series| series.label("series").to_owned());
    let labels: Vec<_> = series.into_iter().map(|series| series.labels).collect();
    let expected = ["0", "2"].map(|name| {
        let both = format!("h;{name}");
        pairs(&[("__name__", "probe"), ("both", &both), ("series", name)])
    });
    assert_eq!(labels, expected);
    assert_eq!(writes.status()[0].dropped, [("dropped_series", 2)]);
}

#[test]
fn metadata_is_sent_by_itself_under_version_1() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(|_, _| reply(204, ""));
    let yaml = format!("- {{url: '{}', metadata_config: {{send_interval: 300ms}}}}", receiver.url);
    let (writes, _) = open(folder.path(), &yaml);
    writes.append("a", time(0), &[counter(), gauge(&names(1), 1.0)]);
    let found = loop {
        let requests = receiver.requests();
        if let Some(request) = requests.iter().find(|request| !request.metadata.is_empty()) {
            break request.metadata.clone();
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let entry = |kind, name: &str, help: &str| (kind, name.to_owned(), help.to_owned());
    assert_eq!(found, [entry(1, "hits", "Hits\nof it."), entry(2, "probe", "A probe.")]);
}
