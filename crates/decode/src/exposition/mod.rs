//! Pages for Prometheus, whole: its text format 0.0.4, OpenMetrics 1.0 and protocol buffers, to
//! families.
//!
//! Damage costs the line it is in; warnings say which. Names beyond the old alphabet come in
//! quotes, as Prometheus 3 reads them. A page of a hundred thousand lines takes a tenth of a
//! second of CPU; one that is much like the page before takes a fifth of that ([`Pages`]).

mod known;
mod line;
mod protobuf;

use std::borrow::Cow;
use std::collections::HashMap;

use model::series::{Exemplar, Exposition, NAME, Value};
use model::{Family, FamilyKind, Labels, Point, Timestamp};

use known::{Known, Series};
use line::{Fault, Pairs, braces, number, token, unescaped, value};

pub(crate) use line::Line;
pub use protobuf::Classic;

/// Samples of a page that are read.
const SAMPLES_MAX: usize = 2_000_000;
/// Warnings of a page that are kept.
const WARNINGS_MAX: usize = 20;

/// A page.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// What is on it, in its order.
    pub families: Vec<Family>,
    /// What could not be read, with line numbers; the first twenty.
    pub warnings: Vec<String>,
    /// Lines that could not be read. Prometheus refuses a page that has any.
    pub faults: usize,
    /// Samples, those that nobody wants among them.
    pub samples: usize,
    /// Series that the page before did not have, of those that are wanted.
    pub added: usize,
}

/// Reads a page.
pub fn read(page: &[u8], format: Exposition) -> Page {
    Pages::default().read(page.to_vec(), format, &mut Some)
}

/// Reads the pages of one source, one after the other.
#[derive(Debug, Default)]
pub struct Pages {
    known: Known,
    format: Exposition,
    named: protobuf::Named,
}

impl Pages {
    /// Reads a page. `change` gets the labels of each series that the page before did not have
    /// and answers those that it is to go by, or nothing if it is not wanted; that holds as long
    /// as pages have the series. A page with faults is the last that is known.
    pub fn read(
        &mut self,
        page: Vec<u8>,
        format: Exposition,
        change: &mut dyn FnMut(Labels) -> Option<Labels>,
    ) -> Page {
        if format != self.format {
            (self.format, self.known) = (format, Known::default());
        }
        self.named = protobuf::Named::default();
        self.known.begin();
        let mut reader = Reader::new(&page, format, &mut self.known, change);
        match std::str::from_utf8(&page) {
            Ok(text) => reader.lines(text.split('\n').map(|line| (line.len(), Some(line)))),
            Err(_) => reader.lines(
                page.split(|byte| *byte == b'\n')
                    .map(|bytes| (bytes.len(), std::str::from_utf8(bytes).ok())),
            ),
        }
        let read = reader.finish();
        match read.faults {
            0 => self.known.end(page),
            _ => self.known = Known::default(),
        }
        read
    }

    /// Reads a page of protocol buffers ([`is_protobuf`]), otherwise like [`Pages::read`].
    pub fn read_protobuf(
        &mut self,
        page: &[u8],
        classic: Classic,
        change: &mut dyn FnMut(Labels) -> Option<Labels>,
    ) -> Page {
        self.known = Known::default();
        self.named.read(page, classic, change)
    }
}

/// Whether a page with this Content-Type is of protocol buffers.
pub fn is_protobuf(content_type: &str) -> bool {
    let mut parts = content_type.split(';').map(|part| part.trim().to_ascii_lowercase());
    let is_media = parts.next().is_some_and(|media| media == "application/vnd.google.protobuf");
    let parts: Vec<String> = parts.collect();
    let has = |wanted: &str| parts.iter().any(|part| part.replace(['"', ' '], "") == wanted);
    is_media && has("encoding=delimited") && has("proto=io.prometheus.client.metricfamily")
}

struct Reader<'p> {
    bytes: &'p [u8],
    format: Exposition,
    known: &'p mut Known,
    change: &'p mut dyn FnMut(Labels) -> Option<Labels>,
    page: Page,
    /// Families by the names that the page gives them.
    by_name: HashMap<String, usize>,
    /// The names that the page gives them.
    names: Vec<String>,
    current: Option<usize>,
    /// Since when series count, by family and identity.
    created: HashMap<(usize, u64), Timestamp>,
    /// Points that may have such a time: their family, their place in it and their identity.
    countable: Vec<(usize, usize, u64)>,
    is_over: bool,
}

/// A line that is a sample.
struct Sample<'t> {
    name: Cow<'t, str>,
    series: Series,
    value: f64,
    tail: &'t str,
    is_new: bool,
}

impl<'p> Reader<'p> {
    fn new(
        bytes: &'p [u8],
        format: Exposition,
        known: &'p mut Known,
        change: &'p mut dyn FnMut(Labels) -> Option<Labels>,
    ) -> Reader<'p> {
        Reader {
            bytes,
            format,
            known,
            change,
            page: Page::default(),
            by_name: HashMap::new(),
            names: Vec::new(),
            current: None,
            created: HashMap::new(),
            countable: Vec::new(),
            is_over: false,
        }
    }

    /// Reads lines: their bytes, and their text where they are text.
    fn lines<'l>(&mut self, lines: impl Iterator<Item = (usize, Option<&'l str>)>) {
        let mut start = 0;
        for (index, (length, line)) in lines.enumerate() {
            if self.is_over {
                if length > 0 {
                    self.fault(index, "something after # EOF");
                }
                break;
            }
            let result = match line {
                Some(line) => self.line(start, line.strip_suffix('\r').unwrap_or(line)),
                None => Err("a line that is no UTF-8"),
            };
            if let Err(what) = result {
                self.fault(index, what);
            }
            if self.page.samples == SAMPLES_MAX {
                self.fault(index, "more samples than are read of a page");
                break;
            }
            start += length + 1;
        }
        if self.format == Exposition::OpenMetrics && !self.is_over {
            self.page.faults += 1;
            self.page.warnings.push("the page ends without # EOF: it was cut off".to_owned());
        }
    }

    fn fault(&mut self, index: usize, what: Fault) {
        self.page.faults += 1;
        if self.page.warnings.len() < WARNINGS_MAX {
            self.page.warnings.push(format!("line {}: {what}", index + 1));
        }
    }

    fn line(&mut self, start: usize, line: &str) -> Result<(), Fault> {
        let is_open = self.format == Exposition::OpenMetrics;
        let length = line.len();
        let line = if is_open { line } else { line.trim_start_matches([' ', '\t']) };
        let start = start + length - line.len();
        match line.strip_prefix('#') {
            Some(comment) => self.comment(comment),
            None if line.is_empty() => Ok(()),
            None => self.sample(start, line),
        }
    }

    fn comment(&mut self, text: &str) -> Result<(), Fault> {
        let is_open = self.format == Exposition::OpenMetrics;
        if is_open && text == " EOF" {
            self.is_over = true;
            return Ok(());
        }
        let (word, rest) = token(text);
        if !matches!(word, "HELP" | "TYPE" | "UNIT") || (word == "UNIT" && !is_open) {
            return if is_open { Err("a comment that is none of OpenMetrics's") } else { Ok(()) };
        }
        let (name, rest) = named(rest)?;
        let index = self.family(&name);
        self.current = Some(index);
        let Some(family) = self.page.families.get_mut(index) else { return Ok(()) };
        match word {
            "HELP" => family.help = unescaped(rest).into_owned(),
            "UNIT" => family.unit = rest.trim().to_owned(),
            _ if !family.points.is_empty() => return Err("a kind after the series it is of"),
            _ => family.kind = kind(rest.trim(), self.format)?,
        }
        Ok(())
    }

    fn sample(&mut self, start: usize, text: &str) -> Result<(), Fault> {
        let Sample { name, series, value, tail, is_new } = self.series(start, text)?;
        let (time, exemplar) = self.tail(tail)?;
        let index = self.family_of(&name);
        let Some(family) = self.page.families.get_mut(index) else { return Ok(()) };
        if self.format == Exposition::OpenMetrics && may_be_created(family.kind) {
            let known = self.names.get(index).map_or("", String::as_str);
            if name.strip_prefix(known) == Some("_created") {
                let since = Timestamp((value * 1e3).round() as i64);
                self.created.insert((index, series.identity), since);
                return Ok(());
            }
            if series.labels.is_some() {
                self.countable.push((index, family.points.len(), series.identity));
            }
        }
        self.page.samples += 1;
        let Some(labels) = series.labels else { return Ok(()) };
        self.page.added += usize::from(is_new);
        let exemplars = exemplar.into_iter().collect();
        let value = Value::Float(value);
        family.points.push(Point { labels, value, time, start: None, exemplars });
        Ok(())
    }

    /// The series of a line, known or new.
    fn series<'t>(&mut self, start: usize, text: &'t str) -> Result<Sample<'t>, Fault> {
        if let Some((series, length)) = self.known.find(self.bytes, start, text) {
            let series = series.clone();
            let (value, tail) = value(text.get(length..).unwrap_or_default())?;
            let name = text.split(['{', ' ', '\t']).next().unwrap_or_default();
            return Ok(Sample { name: name.into(), series, value, tail, is_new: false });
        }
        let line = Line::parse(text)?;
        let identity = match self.format {
            Exposition::Text => 0,
            Exposition::OpenMetrics => identity(&line.labels),
        };
        let labels = (self.change)(labels(&line.labels, Some(&line.name)));
        let series = Series { labels, identity };
        // One whose name is in quotes is parsed each time.
        if !line.series.starts_with('{') {
            self.known.enter(start, line.series, series.clone());
        }
        let Line { name, value, tail, .. } = line;
        Ok(Sample { name, series, value, tail, is_new: true })
    }

    /// A time and an exemplar.
    fn tail(&self, tail: &str) -> Result<(Option<Timestamp>, Option<Exemplar>), Fault> {
        if tail.is_empty() {
            return Ok((None, None));
        }
        if self.format == Exposition::Text {
            let (time, rest) = token(tail);
            if !rest.is_empty() {
                return Err("something after the time");
            }
            let time = time.parse().map_err(|_| "a time that is no number")?;
            return Ok((Some(Timestamp(time)), None));
        }
        let (time, exemplar) = match tail.strip_prefix('#') {
            Some(exemplar) => ("", exemplar),
            None => tail.split_once(" #").unwrap_or((tail, "")),
        };
        Ok((seconds(time)?, exemplar_of(exemplar)?))
    }

    /// The family that the page gives this name.
    fn family(&mut self, name: &str) -> usize {
        if let Some(index) = self.by_name.get(name) {
            return *index;
        }
        let index = self.page.families.len();
        self.by_name.insert(name.to_owned(), index);
        self.names.push(name.to_owned());
        self.page.families.push(Family { name: name.to_owned(), ..Family::default() });
        index
    }

    /// The family that a series belongs to; it may be one of its own.
    fn family_of(&mut self, name: &str) -> usize {
        let belongs = |index: usize| {
            let (family, known) = (self.page.families.get(index)?, self.names.get(index)?);
            let suffix = name.strip_prefix(known.as_str())?;
            has_suffix(family.kind, suffix, self.format).then_some(index)
        };
        let found = self.current.and_then(belongs).or_else(|| {
            let shorter = SUFFIXES.iter().filter_map(|suffix| name.strip_suffix(suffix));
            let mut names = [name].into_iter().chain(shorter);
            names.find_map(|name| belongs(*self.by_name.get(name)?))
        });
        let index = found.unwrap_or_else(|| self.family(name));
        self.current = Some(index);
        index
    }

    fn finish(mut self) -> Page {
        for (family, point, identity) in self.countable {
            let Some(since) = self.created.get(&(family, identity)) else { continue };
            let family = self.page.families.get_mut(family);
            if let Some(point) = family.and_then(|family| family.points.get_mut(point)) {
                point.start = Some(*since);
            }
        }
        // In the text format a counter's name has its suffix; without, it must not be the
        // namesake of another family.
        for (index, name) in self.names.iter().enumerate() {
            if let Some(family) = self.page.families.get_mut(index)
                && family.kind == FamilyKind::Counter
                && let Some(short) = name.strip_suffix("_total")
                && !self.by_name.contains_key(short)
                && self.format == Exposition::Text
            {
                short.clone_into(&mut family.name);
            }
        }
        self.page.families.retain(|family| !family.points.is_empty());
        self.page
    }
}

const SUFFIXES: [&str; 8] =
    ["_total", "_created", "_bucket", "_sum", "_count", "_info", "_gsum", "_gcount"];

/// Series of such a family may have this after its name.
fn has_suffix(kind: FamilyKind, suffix: &str, format: Exposition) -> bool {
    let is_open = format == Exposition::OpenMetrics;
    match suffix {
        "" => match kind {
            FamilyKind::Counter | FamilyKind::Info => !is_open,
            FamilyKind::Histogram | FamilyKind::GaugeHistogram => false,
            _ => true,
        },
        "_total" => is_open && kind == FamilyKind::Counter,
        "_created" => is_open && may_be_created(kind),
        "_bucket" => matches!(kind, FamilyKind::Histogram | FamilyKind::GaugeHistogram),
        "_sum" | "_count" => matches!(kind, FamilyKind::Histogram | FamilyKind::Summary),
        "_gsum" | "_gcount" => kind == FamilyKind::GaugeHistogram,
        "_info" => is_open && kind == FamilyKind::Info,
        _ => false,
    }
}

fn may_be_created(kind: FamilyKind) -> bool {
    matches!(kind, FamilyKind::Counter | FamilyKind::Histogram | FamilyKind::Summary)
}

fn kind(word: &str, format: Exposition) -> Result<FamilyKind, Fault> {
    if format == Exposition::Text && word == "untyped" {
        return Ok(FamilyKind::Unknown);
    }
    let found = FamilyKind::ALL.into_iter().find(|kind| kind.as_str() == word);
    found.ok_or("a kind that is none")
}

/// A name, in quotes or not, and what follows it.
fn named(text: &str) -> Result<(Cow<'_, str>, &str), Fault> {
    if !text.starts_with('"') {
        let (name, rest) = token(text);
        return match name {
            "" => Err("a comment without a name"),
            name => Ok((Cow::Borrowed(name), rest)),
        };
    }
    let (name, rest) = line::quoted(text)?;
    Ok((name, rest.trim_start_matches([' ', '\t'])))
}

/// A number for the labels that a series shares with the one that says since when it counts.
fn identity(pairs: &Pairs<'_>) -> u64 {
    let pairs = pairs.iter().map(|(name, value)| (name.as_ref(), value.as_ref()));
    Labels::new(pairs.filter(|(name, _)| !matches!(*name, NAME | "le" | "quantile"))).digest()
}

fn labels(pairs: &Pairs<'_>, name: Option<&str>) -> Labels {
    let pairs = pairs.iter().map(|(name, value)| (name.as_ref(), value.as_ref()));
    Labels::new(pairs.chain(name.map(|name| (NAME, name))))
}

/// A time in seconds; `None` of nothing.
fn seconds(text: &str) -> Result<Option<Timestamp>, Fault> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let value = number(text).filter(|value| value.is_finite()).ok_or("a time that is no number")?;
    Ok(Some(Timestamp((value * 1e3).round() as i64)))
}

/// `{labels} value time`.
fn exemplar_of(text: &str) -> Result<Option<Exemplar>, Fault> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let inside = text.strip_prefix('{').ok_or("an exemplar without labels")?;
    let (name, pairs, rest) = braces(inside)?;
    let (value, time) = token(rest);
    let value = number(value).ok_or("an exemplar's value that is no number")?;
    if name.is_some() {
        return Err("an exemplar with a name");
    }
    Ok(Some(Exemplar { labels: labels(&pairs, None), value, time: seconds(time)? }))
}

#[cfg(test)]
mod tests;
