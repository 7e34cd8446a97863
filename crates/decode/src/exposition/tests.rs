//! Pages as exporters write them, odd ones, and damaged ones.

use model::series::{Exposition, Value};
use model::{Family, FamilyKind, Timestamp};

use super::{Page, Pages, read};

const OPEN: &str = r##"# HELP a_bytes says \"a\\b\"\n
# UNIT a_bytes bytes
# TYPE a_bytes counter
a_bytes_total{l="x\n\"\\",m="ü"} 1e+21 1500000000.123 # {trace_id="é"} 0.5 -0.001
a_bytes_created{m="ü",l="x\n\"\\"} 1400000000.5
# TYPE "my.metric" gauge
{"my.metric","my label"="1", other="}# {"} NaN
# TYPE h histogram
h_bucket{le="0.5"} 2 # {} 0.25
h_bucket{le="+Inf"} 3
h_sum 9
h_count 3
h_created 5
# TYPE build info
build_info{version="1"} 1
# TYPE state stateset
state{state="a"} 1
# TYPE gh gaugehistogram
gh_bucket{le="+Inf"} 3
gh_gsum 9
gh_gcount 3
# TYPE s summary
s{quantile="0.5"} -Inf
s_sum 1
s_count 2
lonely +Inf
# EOF
"##;

fn family<'p>(page: &'p Page, name: &str) -> &'p Family {
    let found = page.families.iter().find(|family| family.name == name);
    found.unwrap_or_else(|| panic!("no {name} in {page:?}"))
}

fn shown(family: &Family) -> Vec<String> {
    let value = |value: &Value| value.float().unwrap().to_string();
    family.points.iter().map(|p| format!("{} {}", p.labels, value(&p.value))).collect()
}

#[test]
fn openmetrics_is_read_whole() {
    let page = read(OPEN.as_bytes(), Exposition::OpenMetrics);
    assert_eq!((&page.warnings[..], page.faults, page.samples), (&[][..], 0, 15));
    let counter = family(&page, "a_bytes");
    assert_eq!((counter.kind, counter.unit.as_str()), (FamilyKind::Counter, "bytes"));
    assert_eq!(counter.help, "says \"a\\b\"\n");
    let [point] = &counter.points[..] else { panic!("{counter:?}") };
    assert_eq!((point.labels.get("l"), point.labels.get("m")), (Some("x\n\"\\"), Some("ü")));
    assert_eq!(point.time, Some(Timestamp(1_500_000_000_123)));
    assert_eq!(point.start, Some(Timestamp(1_400_000_000_500)));
    let exemplar = &point.exemplars[0];
    assert_eq!((exemplar.value, exemplar.time), (0.5, Some(Timestamp(-1))));
    assert_eq!(exemplar.labels.to_string(), r#"{trace_id="é"}"#);
    let odd = &family(&page, "my.metric").points[0];
    assert_eq!((odd.labels.name(), odd.labels.get("my label")), ("my.metric", Some("1")));
    assert!(odd.labels.get("other") == Some("}# {") && odd.value.float().unwrap().is_nan());
    let histogram = family(&page, "h");
    assert_eq!(
        shown(histogram),
        ["h_bucket{le=\"0.5\"} 2", "h_bucket{le=\"+Inf\"} 3", "h_sum 9", "h_count 3"]
    );
    assert!(histogram.points.iter().all(|point| point.start == Some(Timestamp(5000))));
    assert_eq!(histogram.points[0].exemplars[0].time, None);
    assert_eq!(shown(family(&page, "build")), ["build_info{version=\"1\"} 1"]);
    assert_eq!(family(&page, "gh").points.len(), 3);
    assert_eq!(shown(family(&page, "s"))[0], "s{quantile=\"0.5\"} -inf");
    assert_eq!(family(&page, "lonely").kind, FamilyKind::Unknown);
}

#[test]
fn the_text_format_has_its_own_rules() {
    let text = "# a comment\n\n#TYPE x gauge\n# TYPE a_total counter\na_total {x = \"1\" , } 5 1500\r\n\
                # TYPE b gauge\nb 1\n# TYPE b_total counter\nb_total 2\n# TYPE u untyped\nu 1e-3\n\
                \t c_created 7\n# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_sum 0x1\nh_count 1";
    let page = read(text.as_bytes(), Exposition::Text);
    assert_eq!(page.warnings, ["line 15: a value that is no number"]);
    let counter = family(&page, "a");
    assert_eq!(
        (counter.kind, counter.points[0].time),
        (FamilyKind::Counter, Some(Timestamp(1500)))
    );
    assert_eq!(shown(counter), ["a_total{x=\"1\"} 5"]);
    // Two families of one name would not be told apart.
    assert_eq!(
        (family(&page, "b").kind, family(&page, "b_total").kind),
        (FamilyKind::Gauge, FamilyKind::Counter)
    );
    assert_eq!(family(&page, "c_created").points[0].start, None);
    assert_eq!(family(&page, "h").points.len(), 2);
}

#[test]
fn damage_costs_its_line() {
    let check = |line: &str, format: Exposition, expected: &str| {
        let text = format!("ok 1\n{line}\nfine 2\n# EOF\n");
        let page = read(text.as_bytes(), format);
        assert_eq!(page.warnings, [format!("line 2: {expected}")], "{line}");
        assert_eq!((page.faults, page.samples), (1, 2), "{line}");
    };
    let (text, open) = (Exposition::Text, Exposition::OpenMetrics);
    check("x", text, "a series without a value");
    check("x{a=\"1\" 1", text, "labels without an end");
    check("x{a=\"1} 1", text, "a value without closing quotes");
    check("x{a=1} 1", text, "a value without quotes");
    check("x{a=\"1\",a=\"2\"} 1", text, "a label that is there twice");
    check("x{\"y\"} 1", text, "a series with two names");
    check("{a=\"1\"} 1", text, "a series without a name");
    check("ü 1", text, "a name with characters that need quotes");
    let many = (0..=1024).map(|label| format!("l{label}=\"\","));
    let many = format!("x{{{}}} 1", many.collect::<String>());
    check(&many, text, "more labels than are read of a series");
    check("x one", text, "a value that is no number");
    check("x 1 1.5", text, "a time that is no number");
    check("x 1 1 1", text, "something after the time");
    check("# TYPE x bogus", text, "a kind that is none");
    check("# TYPE ok gauge", text, "a kind after the series it is of");
    check("# hello", open, "a comment that is none of OpenMetrics's");
    check("x 1 # 5", open, "an exemplar without labels");
    check("x 1 NaN", open, "a time that is no number");
    let page = read(b"a 1\n# EOF\nb 2\n", open);
    assert_eq!((page.samples, page.faults), (1, 1));
    let page = read(b"a 1\n", open);
    assert_eq!((page.samples, page.faults), (1, 1));
    let page = read(b"a 1\n\xff 2\nb 3", text);
    assert_eq!((page.samples, page.faults), (2, 1));
}

#[test]
fn every_beginning_of_a_page_is_read() {
    for format in [Exposition::Text, Exposition::OpenMetrics] {
        for end in 0..OPEN.len() {
            let _ = read(&OPEN.as_bytes()[..end], format);
        }
    }
}

/// Lines that are easily taken for each other, and what families need.
const LINES: [&str; 16] = [
    "a 1",
    "a{} 2",
    "a {x=\"1\"} 3",
    "a{x=\"1\"}4",
    "a{x=\"1\" } 5 1500",
    "a{x=\"}\\\"\"} 6",
    "ab 7",
    "ab\t8",
    "a{x=\"1\",y=\"a 1\"} 9",
    "{\"a b\",x=\"1\"} 10",
    "# TYPE a gauge",
    "# TYPE c counter",
    "c_total{x=\"1\"} 11 # {t=\"1\"} 1",
    "c_created{x=\"1\"} 12",
    "c_total{x=\"2\"} 13",
    "# EOF",
];

#[test]
fn pages_in_a_row_are_read_as_each_alone() {
    let mut chance = 88_172_645_463_325_252_u64;
    let mut next = move |below: usize| {
        chance ^= chance << 13;
        chance ^= chance >> 7;
        chance ^= chance << 17;
        (chance % below as u64) as usize
    };
    let (mut pages, mut lines, mut clean) = (Pages::default(), Vec::new(), 0);
    for round in 0..4000 {
        let format = [Exposition::Text, Exposition::OpenMetrics][round / 50 % 2];
        for _ in 0..next(4) {
            let at = next(lines.len() + 1);
            match next(3) {
                0 if at < lines.len() => _ = lines.remove(at),
                1 if at < lines.len() => lines.swap(0, at),
                _ => lines.insert(at, LINES[next(LINES.len() - 1)]),
            }
        }
        lines.truncate(12);
        let page = format!("{}\n# EOF", lines.join("\n"));
        let alone = read(page.as_bytes(), format);
        let in_row = pages.read(page.clone().into_bytes(), format, &mut Some);
        assert_eq!(in_row, Page { added: in_row.added, ..alone }, "{page}");
        clean += usize::from(in_row.faults == 0);
    }
    assert!(clean > 200, "{clean}");
}

#[test]
fn only_what_is_new_is_asked_for() {
    let mut pages = Pages::default();
    let mut step = |page: &str, expected: &[&str], counts: [usize; 3]| {
        let mut asked = Vec::new();
        let page = pages.read(page.into(), Exposition::Text, &mut |labels| {
            asked.push(labels.to_string());
            labels.get("no").is_none().then_some(labels)
        });
        assert_eq!(asked, expected);
        let points = page.families.iter().map(|family| family.points.len()).sum();
        assert_eq!([page.samples, points, page.added], counts);
    };
    step("a 1\nb{no=\"1\"} 2\n", &["a", "b{no=\"1\"}"], [2, 1, 1]);
    step("b{no=\"1\"} 3\na 1\na 2\n", &[], [3, 2, 0]);
    step("c 1\na 1\n", &["c"], [2, 2, 1]);
    step("b{no=\"1\"} 3\nc 1", &["b{no=\"1\"}"], [2, 1, 0]);
    step("a 1", &["a"], [1, 1, 1]);
    // What a fault leaves is not built on.
    step("a one\nd 1", &["d"], [1, 1, 1]);
    step("a 1", &["a"], [1, 1, 1]);
}

#[test]
fn pages_that_are_all_new_leave_nothing_behind() {
    let mut pages = Pages::default();
    for round in 0..50 {
        let lines = (0..5000).map(|line| format!("a{{round=\"{round}\",line=\"{line}\"}} 1\n"));
        let page = pages.read(lines.collect::<String>().into(), Exposition::Text, &mut Some);
        assert_eq!((page.samples, page.added), (5000, 5000));
        assert!(pages.known.places() <= 10_000);
    }
    pages.read(b"a 1".to_vec(), Exposition::Text, &mut Some);
    assert_eq!(pages.known.places(), 0);
}
