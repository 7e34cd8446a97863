//! Families as pages that Prometheus scrapes: OpenMetrics 1.0 and the text format 0.0.4.
//!
//! Neither has native histograms; those are written with the buckets they have.

use std::fmt::Write;

use analyze::families::float;
use model::series::{Exemplar, Exposition, NAME, NativeHistogram, Value};
use model::{Family, FamilyKind, Labels, Point, Timestamp};

/// How a page is written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style {
    /// The format.
    pub format: Exposition,
    /// Says since when series count, in series of their own (`_created`); only OpenMetrics can.
    /// Most receivers store them as series, so they cost as much as what they describe.
    pub with_created: bool,
}

/// Writes a page.
pub fn page(families: &[Family], style: Style) -> String {
    let points: usize = families.iter().map(|family| family.points.len()).sum();
    let mut out = String::with_capacity(points * 96);
    for family in families.iter().filter(|family| !family.points.is_empty()) {
        match style.format {
            Exposition::OpenMetrics => open_head(&mut out, family),
            Exposition::Text => text_head(&mut out, family),
        }
        for point in &family.points {
            match &point.value {
                Value::Float(value) => line(&mut out, point, &point.labels, *value, style.format),
                Value::Histogram(histogram) => classic(&mut out, point, histogram, style.format),
            }
        }
        if style.with_created && style.format == Exposition::OpenMetrics {
            created(&mut out, family);
        }
    }
    if style.format == Exposition::OpenMetrics {
        out.push_str("# EOF\n");
    }
    out
}

/// All samples have the family's name with this suffix.
fn has_suffix(family: &Family, suffix: &str) -> bool {
    family.points.iter().all(|point| {
        point.labels.name().strip_prefix(family.name.as_str()).is_some_and(|rest| rest == suffix)
    })
}

fn open_head(out: &mut String, family: &Family) {
    // There, each counter ends in _total; one that does not is told without its kind.
    let kind = match family.kind {
        FamilyKind::Counter if !has_suffix(family, "_total") => FamilyKind::Unknown,
        FamilyKind::Info if !has_suffix(family, "_info") => FamilyKind::Unknown,
        kind => kind,
    };
    let name = metric_name(&family.name);
    if !family.help.is_empty() {
        let _ = writeln!(out, "# HELP {name} {}", escaped(&family.help, true));
    }
    if !family.unit.is_empty() && family.name.ends_with(&format!("_{}", family.unit)) {
        let _ = writeln!(out, "# UNIT {name} {}", family.unit);
    }
    let _ = writeln!(out, "# TYPE {name} {}", kind.as_str());
}

fn text_head(out: &mut String, family: &Family) {
    let (kind, suffix) = match family.kind {
        FamilyKind::Counter if has_suffix(family, "_total") => ("counter", "_total"),
        FamilyKind::Info if has_suffix(family, "_info") => ("gauge", "_info"),
        FamilyKind::Counter => ("counter", ""),
        FamilyKind::Gauge | FamilyKind::StateSet => ("gauge", ""),
        FamilyKind::Histogram => ("histogram", ""),
        FamilyKind::Summary => ("summary", ""),
        FamilyKind::Unknown | FamilyKind::Info => ("untyped", ""),
        // Its series have names that the text format has no kind for.
        FamilyKind::GaugeHistogram => return,
    };
    let name = format!("{}{suffix}", family.name);
    let name = metric_name(&name);
    if !family.help.is_empty() {
        let _ = writeln!(out, "# HELP {name} {}", escaped(&family.help, false));
    }
    let _ = writeln!(out, "# TYPE {name} {kind}");
}

fn line(out: &mut String, point: &Point, labels: &Labels, value: f64, format: Exposition) {
    series(out, labels);
    let _ = write!(out, " {}", float(value));
    if let Some(time) = point.time {
        push_time(out, time, format);
    }
    if format == Exposition::OpenMetrics
        && labels.name().ends_with("_total") | labels.get("le").is_some()
        && let Some(exemplar) = point.exemplars.first()
    {
        push_exemplar(out, exemplar);
    }
    out.push('\n');
}

fn push_time(out: &mut String, Timestamp(millis): Timestamp, format: Exposition) {
    let _ = match format {
        Exposition::Text => write!(out, " {millis}"),
        Exposition::OpenMetrics => write!(out, " {}", seconds(millis)),
    };
}

/// Milliseconds as seconds, to the last digit.
fn seconds(millis: i64) -> String {
    let sign = if millis < 0 { "-" } else { "" };
    let millis = millis.unsigned_abs();
    format!("{sign}{}.{:03}", millis / 1000, millis % 1000)
}

fn push_exemplar(out: &mut String, exemplar: &Exemplar) {
    out.push_str(" # {");
    push_pairs(out, &exemplar.labels, true);
    let _ = write!(out, "}} {}", float(exemplar.value));
    if let Some(time) = exemplar.time {
        push_time(out, time, Exposition::OpenMetrics);
    }
}

/// `name{a="b"}`; names beyond the old alphabet go inside the braces, quoted.
fn series(out: &mut String, labels: &Labels) {
    let name = labels.name();
    let is_plain = is_plain(name, true);
    if is_plain {
        out.push_str(name);
    }
    if is_plain && labels.len() == 1 {
        return;
    }
    out.push('{');
    if !is_plain && !name.is_empty() {
        out.push_str(&quoted(name));
    }
    push_pairs(out, labels, is_plain || name.is_empty());
    out.push('}');
}

fn push_pairs(out: &mut String, labels: &Labels, mut is_first: bool) {
    for (name, value) in labels.iter().filter(|(name, _)| *name != NAME) {
        if !is_first {
            out.push(',');
        }
        is_first = false;
        match is_plain(name, false) {
            true => out.push_str(name),
            false => out.push_str(&quoted(name)),
        }
        out.push_str("=\"");
        push_escaped(out, value, true);
        out.push('"');
    }
}

fn is_plain(name: &str, is_metric: bool) -> bool {
    let is_letter = |b: u8| b.is_ascii_alphabetic() || b == b'_' || (is_metric && b == b':');
    let mut bytes = name.bytes();
    bytes.next().is_some_and(is_letter) && bytes.all(|b| is_letter(b) || b.is_ascii_digit())
}

fn metric_name(name: &str) -> String {
    if is_plain(name, true) { name.to_owned() } else { quoted(name) }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", escaped(name, true))
}

fn escaped(text: &str, with_quotes: bool) -> String {
    let mut out = String::with_capacity(text.len());
    push_escaped(&mut out, text, with_quotes);
    out
}

fn push_escaped(out: &mut String, text: &str, with_quotes: bool) {
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if with_quotes => out.push_str("\\\""),
            character => out.push(character),
        }
    }
}

/// A native histogram as series of cumulative buckets.
fn classic(out: &mut String, point: &Point, histogram: &NativeHistogram, format: Exposition) {
    let name = point.labels.name();
    let mut push = |suffix: &str, bound: &str, value: f64| {
        let name = format!("{name}{suffix}");
        let labels = point.labels.with([(NAME, name.as_str()), ("le", bound)]);
        line(out, point, &labels, value, format);
    };
    let mut total = 0.0;
    for (bound, count) in ascending(histogram) {
        total += count;
        if bound.is_finite() {
            push("_bucket", &float(bound), total);
        }
    }
    push("_bucket", "+Inf", histogram.count);
    push("_sum", "", histogram.sum);
    push("_count", "", histogram.count);
}

/// Upper bounds and counts, the least first.
fn ascending(histogram: &NativeHistogram) -> Vec<(f64, f64)> {
    if histogram.schema == -53 {
        let count = |index: usize| {
            let found = histogram.positive.iter().find(|(at, _)| usize::try_from(*at) == Ok(index));
            found.map_or(0.0, |(_, count)| *count)
        };
        let bounds = histogram.bounds.iter().enumerate();
        return bounds.map(|(index, bound)| (*bound, count(index))).collect();
    }
    let bound = |index: i32| (f64::from(index) * (-f64::from(histogram.schema)).exp2()).exp2();
    let below = histogram.negative.iter().rev();
    // A bucket below zero ends where the next one, nearer to zero, begins.
    let below = below.map(|(index, count)| (-bound(index.saturating_sub(1)), *count));
    let zero = (histogram.zero_threshold, histogram.zero_count);
    let above = histogram.positive.iter().map(|(index, count)| (bound(*index), *count));
    below.chain([zero]).chain(above).collect()
}

fn created(out: &mut String, family: &Family) {
    let mut seen: Vec<Labels> = Vec::new();
    for point in &family.points {
        let Some(start) = point.start else { continue };
        let labels = point.labels.filtered(|name| !matches!(name, "le" | "quantile"));
        let name = format!("{}_created", family.name);
        let labels = labels.with([(NAME, name.as_str())]);
        // The series of a histogram follow each other.
        if seen.last() != Some(&labels) {
            series(out, &labels);
            let _ = writeln!(out, " {}", seconds(start.0));
            seen.push(labels);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::series::{Exemplar, Exposition, NAME, NativeHistogram, Value};
    use model::{Family, FamilyKind, Labels, Point, Timestamp};

    use super::{Style, page};

    fn family(name: &str, kind: FamilyKind, points: Vec<Point>) -> Family {
        let (name, help) = (name.to_owned(), "say \"a\\b\"".to_owned());
        let unit = if name.ends_with("_bytes") { "bytes" } else { "" }.to_owned();
        Family { name, kind, help, unit, points }
    }

    fn families() -> Vec<Family> {
        let labels = Labels::new([(NAME, "a_bytes_total"), ("l", "x\n\"\\")]);
        let mut counter = Point::new(labels, 1e21);
        counter.time = Some(Timestamp(1_500_000_000_123));
        counter.start = Some(Timestamp(1_400_000_000_000));
        let labels = Labels::new([("trace_id", "é")]);
        counter.exemplars.push(Exemplar { labels, value: 0.5, time: Some(Timestamp(-1)) });
        let odd = Point::new(
            Labels::new([(NAME, "my.metric"), ("a:b", "2"), ("my label", "1")]),
            f64::NAN,
        );
        let native = NativeHistogram {
            count: 6.0,
            sum: 9.0,
            zero_count: 1.0,
            zero_threshold: 0.001,
            negative: vec![(1, 2.0)],
            positive: vec![(1, 3.0)],
            ..NativeHistogram::default()
        };
        let native = Value::Histogram(Arc::new(native));
        let native = Point { value: native, ..Point::new(Labels::new([(NAME, "h")]), 0.0) };
        vec![
            family("a_bytes", FamilyKind::Counter, vec![counter]),
            family(
                "failcnt",
                FamilyKind::Counter,
                vec![Point::new(Labels::new([(NAME, "failcnt")]), 2.0)],
            ),
            family("my.metric", FamilyKind::Gauge, vec![odd]),
            family("h", FamilyKind::Histogram, vec![native]),
            family("empty", FamilyKind::Gauge, Vec::new()),
        ]
    }

    #[test]
    fn openmetrics_has_all() {
        let style = Style { format: Exposition::OpenMetrics, with_created: true };
        let expected = r##"# HELP a_bytes say \"a\\b\"
# UNIT a_bytes bytes
# TYPE a_bytes counter
a_bytes_total{l="x\n\"\\"} 1e+21 1500000000.123 # {trace_id="é"} 0.5 -0.001
a_bytes_created{l="x\n\"\\"} 1400000000.000
# HELP failcnt say \"a\\b\"
# TYPE failcnt unknown
failcnt 2
# HELP "my.metric" say \"a\\b\"
# TYPE "my.metric" gauge
{"my.metric","a:b"="2","my label"="1"} NaN
# HELP h say \"a\\b\"
# TYPE h histogram
h_bucket{le="-1"} 2
h_bucket{le="0.001"} 3
h_bucket{le="2"} 6
h_bucket{le="+Inf"} 6
h_sum 9
h_count 6
# EOF
"##;
        assert_eq!(page(&families(), style), expected);
    }

    #[test]
    fn text_has_what_it_can() {
        let style = Style { format: Exposition::Text, with_created: true };
        let text = page(&families()[..2], style);
        let expected = r#"# HELP a_bytes_total say "a\\b"
# TYPE a_bytes_total counter
a_bytes_total{l="x\n\"\\"} 1e+21 1500000000123
# HELP failcnt say "a\\b"
# TYPE failcnt counter
failcnt 2
"#;
        assert_eq!(text, expected);
    }
}
