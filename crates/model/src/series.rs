//! Labelled series, as Prometheus has them: labels, samples, native histograms, and the
//! families of an exposition.
//!
//! What flows from a scrape to the store, to remote write and to rule evaluation. Labels are
//! cheap to clone, to hash and to compare with themselves, so that every map that has series for
//! keys is as fast as a list; a hundred thousand of them take three allocations each.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};

use crate::units::Timestamp;

/// The label that holds a metric's name.
pub const NAME: &str = "__name__";

/// Label names with their values: sorted by name, each name once, no empty values.
#[derive(Clone)]
pub struct Labels(Arc<Packed>);

/// Names and values one after the other in `text`; `ends` says where each ends. `digest` is of both.
struct Packed {
    text: Box<str>,
    ends: Box<[u32]>,
    digest: u64,
}

/// Its keys are of this process alone: who writes pages cannot choose labels that collide.
static DIGESTS: LazyLock<ahash::RandomState> = LazyLock::new(ahash::RandomState::new);

impl Labels {
    /// Sorts the pairs. A later pair of the same name replaces an earlier one; an empty value
    /// is the same as no label.
    pub fn new<N: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (N, V)>) -> Labels {
        let mut pairs: Vec<(N, V)> = pairs.into_iter().collect();
        pairs.sort_by(|a, b| a.0.as_ref().cmp(b.0.as_ref()));
        let last_of_name = |index: &usize| {
            let own = pairs.get(*index).map(|pair| pair.0.as_ref());
            own != pairs.get(index + 1).map(|pair| pair.0.as_ref())
        };
        let kept = (0..pairs.len()).filter(last_of_name);
        let kept = kept.filter_map(|index| pairs.get(index));
        Labels::packed(kept.map(|(name, value)| (name.as_ref(), value.as_ref())))
    }

    /// From pairs that are in order.
    fn packed<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)> + Clone) -> Labels {
        let pairs = pairs.filter(|(_, value)| !value.is_empty());
        // To the byte: thousands are made each second.
        let sizes = pairs.clone().map(|(name, value)| (name.len() + value.len(), 2));
        let (bytes, parts) = sizes.fold((0, 0), |sum, size| (sum.0 + size.0, sum.1 + size.1));
        let (mut text, mut ends) = (String::with_capacity(bytes), Vec::with_capacity(parts));
        for (name, value) in pairs {
            for part in [name, value] {
                text.push_str(part);
                ends.push(u32::try_from(text.len()).unwrap_or(u32::MAX));
            }
        }
        let digest = DIGESTS.hash_one((&text, &ends));
        Labels(Arc::new(Packed { text: text.into(), ends: ends.into(), digest }))
    }

    /// No labels.
    pub fn empty() -> Labels {
        Labels::packed(std::iter::empty())
    }

    /// Pairs by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> + Clone {
        let mut start = 0;
        self.0.ends.chunks_exact(2).map(move |ends| {
            let [name_end, value_end] = [ends[0] as usize, ends[1] as usize];
            let pair = (&self.0.text[start..name_end], &self.0.text[name_end..value_end]);
            start = value_end;
            pair
        })
    }

    /// The value of a label.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// The metric's name; empty without one.
    pub fn name(&self) -> &str {
        self.get(NAME).unwrap_or_default()
    }

    /// With these pairs added, in place of what has the same names. An empty value removes.
    pub fn with<'a>(&'a self, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Labels {
        Labels::new(self.iter().chain(pairs))
    }

    /// Only the labels that pass.
    pub fn filtered(&self, keep: impl Fn(&str) -> bool) -> Labels {
        Labels::packed(self.iter().filter(|(name, _)| keep(name)))
    }

    /// A number that tells labels apart within the process.
    pub fn digest(&self) -> u64 {
        self.0.digest
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.ends.len() / 2
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.0.ends.is_empty()
    }
}

impl PartialEq for Labels {
    fn eq(&self, other: &Labels) -> bool {
        let (one, another) = (&self.0, &other.0);
        Arc::ptr_eq(one, another)
            || (one.digest == another.digest
                && one.ends == another.ends
                && one.text == another.text)
    }
}

impl Eq for Labels {}

impl Hash for Labels {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.digest());
    }
}

impl Ord for Labels {
    fn cmp(&self, other: &Labels) -> std::cmp::Ordering {
        self.iter().cmp(other.iter())
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Labels) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Default for Labels {
    fn default() -> Labels {
        Labels::empty()
    }
}

impl fmt::Display for Labels {
    /// `name{a="b", c="d"}`, as Prometheus prints series.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name();
        f.write_str(name)?;
        let mut others = self.iter().filter(|(name, _)| *name != NAME).peekable();
        if others.peek().is_none() && !name.is_empty() {
            return Ok(());
        }
        f.write_str("{")?;
        for (index, (name, value)) in others.enumerate() {
            write!(f, "{}{name}={value:?}", if index > 0 { ", " } else { "" })?;
        }
        f.write_str("}")
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The value that ends a series: it is no longer exposed (Prometheus's staleness marker).
pub const STALE: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

/// Reports whether the value ends a series. Other NaNs do not.
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE.to_bits()
}

/// A value of a series.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A number.
    Float(f64),
    /// A native histogram.
    Histogram(Arc<NativeHistogram>),
}

impl Value {
    /// The number; histograms are none.
    pub fn float(&self) -> Option<f64> {
        match self {
            Value::Float(value) => Some(*value),
            Value::Histogram(_) => None,
        }
    }
}

/// A value at a time.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// When.
    pub time: Timestamp,
    /// What.
    pub value: Value,
}

/// A native histogram: buckets whose bounds grow by `2^(2^-schema)`, or custom ones.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NativeHistogram {
    /// -4 to 8; -53 is custom bounds.
    pub schema: i8,
    /// Width of the bucket around zero.
    pub zero_threshold: f64,
    /// Observations in it.
    pub zero_count: f64,
    /// Observations in all.
    pub count: f64,
    /// Their sum; NaN when unknown.
    pub sum: f64,
    /// Buckets above zero, ascending, empty ones left out. Index `i` holds values up to
    /// `2^(i * 2^-schema)`, or up to `bounds[i]` where bounds are custom.
    pub positive: Vec<(i32, f64)>,
    /// Buckets below zero, by their absolute values.
    pub negative: Vec<(i32, f64)>,
    /// Upper bounds of custom buckets; those of hundreds of series are the same.
    pub bounds: Arc<[f64]>,
    /// It is no counter: buckets may also fall.
    pub is_gauge: bool,
}

/// A value that stands for others, with where it came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Exemplar {
    /// Such as `trace_id`.
    pub labels: Labels,
    /// The value.
    pub value: f64,
    /// When; `None` when the exposition does not say.
    pub time: Option<Timestamp>,
}

/// What kind of series a family has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum FamilyKind {
    /// Not said.
    #[default]
    Unknown,
    /// Only grows, but for restarts.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Cumulative buckets, count and sum.
    Histogram,
    /// Buckets that may fall.
    GaugeHistogram,
    /// Quantiles, count and sum.
    Summary,
    /// Text in labels; always 1.
    Info,
    /// One of several states.
    StateSet,
}

impl FamilyKind {
    /// All kinds.
    pub const ALL: [FamilyKind; 8] = [
        FamilyKind::Unknown,
        FamilyKind::Counter,
        FamilyKind::Gauge,
        FamilyKind::Histogram,
        FamilyKind::GaugeHistogram,
        FamilyKind::Summary,
        FamilyKind::Info,
        FamilyKind::StateSet,
    ];

    /// The word in OpenMetrics.
    pub fn as_str(self) -> &'static str {
        match self {
            FamilyKind::Unknown => "unknown",
            FamilyKind::Counter => "counter",
            FamilyKind::Gauge => "gauge",
            FamilyKind::Histogram => "histogram",
            FamilyKind::GaugeHistogram => "gaugehistogram",
            FamilyKind::Summary => "summary",
            FamilyKind::Info => "info",
            FamilyKind::StateSet => "stateset",
        }
    }
}

/// A metric family: what an exposition says under one `# TYPE`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Family {
    /// Name, without `_total`, `_bucket` and the like.
    pub name: String,
    /// Kind.
    pub kind: FamilyKind,
    /// One line for people.
    pub help: String,
    /// `bytes`, `seconds` ...; empty when not said.
    pub unit: String,
    /// Its series.
    pub points: Vec<Point>,
}

/// One series of a family, now.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Labels, the name with its suffix among them.
    pub labels: Labels,
    /// Value.
    pub value: Value,
    /// When, if the exposition says.
    pub time: Option<Timestamp>,
    /// Since when it counts (`_created`), if the exposition says.
    pub start: Option<Timestamp>,
    /// Examples.
    pub exemplars: Vec<Exemplar>,
}

impl Point {
    /// A number without time, start or examples.
    pub fn new(labels: Labels, value: f64) -> Point {
        let value = Value::Float(value);
        Point { labels, value, time: None, start: None, exemplars: Vec::new() }
    }
}

/// The two formats of pages with metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Exposition {
    /// Prometheus's own, version 0.0.4: times in milliseconds, no exemplars.
    #[default]
    Text,
    /// OpenMetrics 1.0: times in seconds, exemplars, units, `# EOF`.
    OpenMetrics,
}

impl Exposition {
    /// The Content-Type of such a page.
    pub fn content_type(self) -> &'static str {
        match self {
            Exposition::Text => "text/plain; version=0.0.4; charset=utf-8",
            Exposition::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// The format of a page with this Content-Type; what is not OpenMetrics is taken for text,
    /// as Prometheus took it for years.
    pub fn of_content_type(content_type: &str) -> Exposition {
        let media = content_type.split(';').next().unwrap_or_default().trim();
        match media.eq_ignore_ascii_case("application/openmetrics-text") {
            true => Exposition::OpenMetrics,
            false => Exposition::Text,
        }
    }

    /// The format that a client's Accept header prefers.
    pub fn negotiated(accept: &str) -> Exposition {
        let mut best = (0.0, Exposition::Text);
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default().to_ascii_lowercase();
            let mut quality = 1.0;
            let mut is_known = true;
            for part in parts {
                match part.split_once('=') {
                    Some(("q", value)) => quality = value.trim().parse().unwrap_or(0.0),
                    Some(("version", version)) if media.ends_with("openmetrics-text") => {
                        is_known = matches!(version.trim(), "1.0.0" | "0.0.1");
                    }
                    _ => {}
                }
            }
            let format = match media.as_str() {
                "application/openmetrics-text" if is_known => Exposition::OpenMetrics,
                "text/plain" | "text/*" | "*/*" => Exposition::Text,
                _ => continue,
            };
            if quality > best.0 {
                best = (quality, format);
            }
        }
        best.1
    }
}

#[cfg(test)]
mod tests {
    use super::{Exposition, Labels, NAME, STALE, is_stale};

    #[test]
    fn labels_are_sorted_and_unique_and_never_empty() {
        let labels = Labels::new([("b", "1"), (NAME, "up"), ("a", "x"), ("b", "2"), ("c", "")]);
        assert_eq!(labels.to_string(), r#"up{a="x", b="2"}"#);
        assert_eq!(labels, Labels::new([("a", "x"), ("b", "2"), (NAME, "up")]));
        assert_eq!((labels.get("b"), labels.get("c"), labels.len()), (Some("2"), None, 3));
        assert_eq!(labels.with([("b", ""), ("d", "é")]).to_string(), r#"up{a="x", d="é"}"#);
        assert_eq!(labels.filtered(|name| name == "a").to_string(), r#"{a="x"}"#);
        assert_eq!(Labels::empty().to_string(), "{}");
        assert_ne!(Labels::new([("a", "bc")]), Labels::new([("ab", "c")]));
    }

    #[test]
    fn only_one_nan_is_stale() {
        assert!(is_stale(STALE) && STALE.is_nan());
        assert!(!is_stale(f64::NAN) && !is_stale(0.0));
    }

    #[test]
    fn the_preferred_format_is_chosen() {
        let check = |accept: &str, expected: Exposition| {
            assert_eq!(Exposition::negotiated(accept), expected, "{accept}");
        };
        let prometheus = "application/vnd.google.protobuf;q=0.6,\
                          application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                          text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        check(prometheus, Exposition::OpenMetrics);
        check("", Exposition::Text);
        check("*/*", Exposition::Text);
        check("text/html, text/plain;q=0.9, application/openmetrics-text;q=0.1", Exposition::Text);
        check("application/openmetrics-text; version=2.0.0, text/plain;q=0.1", Exposition::Text);
        check("application/openmetrics-text;q=0", Exposition::Text);
        check("application/openmetrics-text; version=0.0.1", Exposition::OpenMetrics);
        for format in [Exposition::Text, Exposition::OpenMetrics] {
            assert_eq!(Exposition::of_content_type(format.content_type()), format);
        }
    }
}
