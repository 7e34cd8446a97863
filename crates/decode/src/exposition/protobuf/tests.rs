//! Pages built field by field, and damaged ones.

use model::series::{NativeHistogram, Value};
use model::{FamilyKind, Timestamp};

use super::Classic;
use crate::exposition::{Page, Pages, is_protobuf};

/// A varint field.
fn number(field: u8, value: u64) -> Vec<u8> {
    let mut bytes = vec![field << 3];
    if field > 15 {
        bytes = vec![(field << 3) | 0x80, field >> 4];
    }
    let mut value = value;
    while value > 0x7f {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn signed(field: u8, value: i64) -> Vec<u8> {
    number(field, ((value << 1) ^ (value >> 63)) as u64)
}

fn double(field: u8, value: f64) -> Vec<u8> {
    [&[field << 3 | 1][..], &value.to_le_bytes()].concat()
}

fn message(field: u8, parts: &[Vec<u8>]) -> Vec<u8> {
    let body = parts.concat();
    let mut bytes = number(field, body.len() as u64);
    bytes[0] |= 2;
    [bytes, body].concat()
}

fn text(field: u8, text: &str) -> Vec<u8> {
    message(field, &[text.as_bytes().to_vec()])
}

fn label(field: u8, name: &str, value: &str) -> Vec<u8> {
    message(field, &[text(1, name), text(2, value)])
}

/// A family with its length in front.
fn family(name: &str, kind: u64, metrics: &[Vec<u8>]) -> Vec<u8> {
    let parts = [vec![text(1, name), text(2, "help"), number(3, kind)], metrics.to_vec()];
    let bytes = message(0, &parts.concat());
    bytes[1..].to_vec()
}

fn exemplar(field: u8, id: &str, seconds: u64) -> Vec<u8> {
    let time = message(3, &[number(1, seconds), number(2, 500_000_000)]);
    let time = if seconds == 0 { Vec::new() } else { time };
    message(field, &[label(1, "id", id), double(2, 0.5), time])
}

/// Four observations: two around zero, one up to 2 and one up to 16; and what is classic.
fn histogram() -> Vec<u8> {
    let bucket = |bound: f64, count: u64, exemplar: Vec<u8>| {
        message(3, &[number(1, count), double(2, bound), exemplar])
    };
    let spans =
        [message(12, &[signed(1, 1), number(2, 1)]), message(12, &[signed(1, 2), number(2, 2)])];
    // The second is packed, the last is empty.
    let deltas = [signed(13, 1), message(13, &[vec![0, 1]])];
    message(
        7,
        &[
            number(1, 4),
            double(2, 12.5),
            bucket(0.5, 2, exemplar(3, "a", 7)),
            bucket(1e6, 4, exemplar(3, "b", 0)),
            signed(5, 0),
            double(6, 0.25),
            number(7, 2),
            spans.concat(),
            deltas.concat(),
            message(15, &[number(1, 3)]),
        ],
    )
}

fn page() -> Vec<u8> {
    let created = message(3, &[number(1, 2)]);
    let counter = message(3, &[double(1, 3.0), exemplar(2, "x", 9), created]);
    let quantile = message(3, &[double(1, 0.5), double(2, f64::NAN)]);
    let summary = message(4, &[number(1, 5), double(2, 6.0), quantile]);
    [
        family("c_total", 0, &[message(4, &[label(1, "l", "ü"), counter])]),
        family("g", 1, &[message(4, &[message(2, &[double(1, -1.0)]), number(6, 1500)])]),
        family("s", 2, &[message(4, &[summary])]),
        family("u", 3, &[message(4, &[])]),
        family("h", 4, &[message(4, &[label(1, "l", "1"), histogram()])]),
    ]
    .concat()
}

fn read(page: &[u8], classic: Classic) -> Page {
    Pages::default().read_protobuf(page, classic, &mut Some)
}

/// Every series, and its number.
fn shown(page: &Page) -> Vec<String> {
    let points = page.families.iter().flat_map(|family| &family.points);
    let value = |value: &Value| value.float().map_or("native".to_owned(), |v| v.to_string());
    points.map(|point| format!("{} {}", point.labels, value(&point.value))).collect()
}

#[test]
fn a_page_is_read_whole() {
    let read = read(&page(), Classic::Too);
    assert_eq!((read.faults, &read.warnings[..]), (0, &[][..]));
    let expected = [
        "c_total{l=\"ü\"} 3",
        "g -1",
        "s_count 5",
        "s_sum 6",
        "s{quantile=\"0.5\"} NaN",
        "u 0",
        "h{l=\"1\"} native",
        "h_count{l=\"1\"} 4",
        "h_sum{l=\"1\"} 12.5",
        "h_bucket{l=\"1\", le=\"0.5\"} 2",
        "h_bucket{l=\"1\", le=\"1e+06\"} 4",
        "h_bucket{l=\"1\", le=\"+Inf\"} 4",
    ];
    assert_eq!(shown(&read), expected);
    assert_eq!((read.samples, read.added), (12, 12));
    let [counter, gauge, _, unknown, histogram] = &read.families[..] else { panic!("{read:?}") };
    assert_eq!((counter.name.as_str(), counter.help.as_str()), ("c", "help"));
    let point = &counter.points[0];
    assert_eq!(point.start, Some(Timestamp(2000)));
    assert_eq!(point.exemplars[0].time, Some(Timestamp(9500)));
    assert_eq!(point.exemplars[0].labels.to_string(), "{id=\"x\"}");
    assert_eq!(gauge.points[0].time, Some(Timestamp(1500)));
    assert_eq!(unknown.kind, FamilyKind::Unknown);
    let Value::Histogram(native) = &histogram.points[0].value else { panic!("{histogram:?}") };
    let expected = NativeHistogram {
        zero_threshold: 0.25,
        zero_count: 2.0,
        count: 4.0,
        sum: 12.5,
        positive: vec![(1, 1.0), (4, 1.0)],
        ..NativeHistogram::default()
    };
    assert_eq!(**native, expected);
    let ids = |at: usize| -> Vec<&str> {
        let exemplars = histogram.points[at].exemplars.iter();
        exemplars.filter_map(|exemplar| exemplar.labels.get("id")).collect()
    };
    assert_eq!((ids(0), ids(3), ids(4)), (vec!["a"], vec!["a"], vec!["b"]));
    assert_eq!(histogram.points[3].start, Some(Timestamp(3000)));
}

/// Found by fuzzing: samples were counted of a family that was thrown away.
#[test]
fn samples_before_a_fault_are_those_that_count() {
    let good = message(4, &[message(3, &[double(1, 7.0)])]);
    // A label that is cut off.
    let bad = message(4, &[vec![0x0a, 0x7f]]);
    let page = read(&family("depth", 1, &[good, bad]), Classic::Too);
    let points: usize = page.families.iter().map(|family| family.points.len()).sum();
    assert_eq!((page.faults, page.samples, points), (1, 1, 1));
}

#[test]
fn what_client_golang_writes_is_read_whole() {
    let page = include_bytes!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../fixtures/metricpage/client_golang.pb"
    ));
    let read = read(page, Classic::Too);
    assert_eq!((read.faults, read.families.len()), (0, 8));
    let all = shown(&read);
    let has =
        |series: &str| assert!(all.iter().any(|one| one == series), "no {series} in {all:#?}");
    has("native_seconds{code=\"200\", path=\"/ü \\\"x\\\"\\\\\"} native");
    has("native_seconds{code=\"500\", path=\"/\"} native");
    has("both_seconds{code=\"200\", path=\"/\"} native");
    has("both_seconds_bucket{code=\"200\", le=\"1e+06\", path=\"/\"} 202");
    has("classic_seconds_count{code=\"200\", path=\"/\"} 202");
    has("requests_total{code=\"500\"} 0.5");
    has("summary_seconds_count 202");
    has("empty_summary{quantile=\"0.5\"} NaN");
    has("untyped 1000000000000000000000");
}

#[test]
fn classic_buckets_are_left_out_where_native_ones_are() {
    let classic = message(7, &[number(1, 2), message(3, &[number(1, 2), double(2, 1.0)])]);
    let page = [page(), family("old", 4, &[message(4, &[classic])])].concat();
    let read = read(&page, Classic::Instead);
    let all = shown(&read);
    assert_eq!(all.iter().filter(|series| series.starts_with('h')).count(), 1);
    assert_eq!(
        all[7..],
        ["old_count 2", "old_sum 0", "old_bucket{le=\"1.0\"} 2", "old_bucket{le=\"+Inf\"} 2"]
    );
}

#[test]
fn counts_may_be_fractions() {
    let parts = [
        double(4, 2.5),
        double(8, 0.5),
        message(9, &[signed(1, -1), number(2, 2)]),
        message(11, &[0.5_f64.to_le_bytes().to_vec()]),
        double(11, 1.5),
    ];
    let read = read(&family("f", 5, &[message(4, &[message(7, &parts)])]), Classic::Instead);
    let Value::Histogram(native) = &read.families[0].points[0].value else { panic!("{read:?}") };
    let expected = NativeHistogram {
        zero_count: 0.5,
        count: 2.5,
        negative: vec![(-1, 0.5), (0, 1.5)],
        is_gauge: true,
        ..NativeHistogram::default()
    };
    assert_eq!(**native, expected);
}

#[test]
fn damage_costs_the_page() {
    let check = |bytes: &[u8], expected: &str| {
        let page =
            read(&[family("ok", 1, &[message(4, &[])]), bytes.to_vec()].concat(), Classic::Too);
        assert_eq!((page.faults, &page.warnings[..]), (1, &[format!("family 2: {expected}")][..]));
    };
    let of_histogram = |parts: &[Vec<u8>]| family("h", 4, &[message(4, &[message(7, parts)])]);
    let span = |offset: i64, length: u64| message(12, &[signed(1, offset), number(2, length)]);
    check(&[5, 1], "a message that was cut off");
    check(&family("", 1, &[]), "a family without a name");
    check(&family("x", 6, &[]), "a kind that is none");
    check(&[2, 0x0b, 0], "a field of no known kind");
    check(&[2, 0x08, 1], "a field that is of another kind");
    check(&[3, 0x0a, 1, 0xff], "a text that is no UTF-8");
    let twice = [label(1, "a", "1"), label(1, "b", "1"), label(1, "a", "2")];
    check(&family("x", 1, &[message(4, &twice)]), "a label that is there twice");
    check(&family("x", 1, &[message(4, &[label(1, "", "1")])]), "a label without a name");
    let uneven = "a histogram whose spans are not those of its buckets";
    check(&of_histogram(&[span(0, 1)]), uneven);
    check(&of_histogram(&[span(0, u64::MAX)]), uneven);
    check(&of_histogram(&[number(7, 1), number(1, 1), signed(13, 1)]), uneven);
    check(&of_histogram(&[span(0, 1), signed(13, -1)]), "a bucket that counts less than nothing");
    let backwards = [span(0, 1), span(-1, 1), signed(13, 1), signed(13, 0)];
    check(&of_histogram(&backwards), "a histogram whose spans go backwards");
    let beyond = [span(1 << 40, 1), signed(13, 1), number(1, 1)];
    check(&of_histogram(&beyond), "a bucket beyond all numbers");
    let sum = "a histogram whose buckets do not add up to its count";
    check(&of_histogram(&[span(0, 1), signed(13, 2), number(1, 1)]), sum);
    check(
        &of_histogram(&[number(7, 1), signed(5, 9)]),
        "a histogram of a schema that is not known",
    );
    let page = page();
    for end in 0..page.len() {
        let _ = read(&page[..end], Classic::Too);
        let mut damaged = page.clone();
        damaged[end] ^= 0x55;
        let _ = read(&damaged, Classic::Too);
    }
}

#[test]
fn series_are_asked_for_once() {
    let mut pages = Pages::default();
    let mut step = |page: &[u8], expected: [usize; 3]| {
        let mut asked = 0;
        let read = pages.read_protobuf(page, Classic::Too, &mut |labels| {
            asked += 1;
            labels.get("quantile").is_none().then_some(labels)
        });
        assert_eq!([asked, read.samples, read.added], expected);
    };
    step(&page(), [12, 12, 11]);
    step(&page(), [0, 12, 0]);
    step(&family("x", 1, &[message(4, &[])]), [1, 1, 1]);
    step(&page(), [12, 12, 11]);
}

#[test]
fn the_content_type_tells() {
    let usual = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; \
                 encoding=delimited; escaping=underscores";
    assert!(is_protobuf(usual));
    assert!(!is_protobuf(&usual.replace("delimited", "text")));
    assert!(!is_protobuf("application/vnd.google.protobuf") && !is_protobuf("text/plain"));
}
