//! The messages of remote write 1.0 and 2.0.

use ahash::AHashMap;
use model::series::{Exemplar, NativeHistogram, Value};
use model::{FamilyKind, Labels};

use crate::item::{Item, Meta, runs};
use crate::proto::Writer;

/// The schema of histograms whose bounds are custom; 1.0 has none of them.
pub(crate) const CUSTOM_BOUNDS: i8 = -53;

/// `prometheus.WriteRequest` of grouped items.
pub(crate) fn v1(items: &[Item], has_exemplars: bool) -> Vec<u8> {
    let mut request = Writer { bytes: Vec::with_capacity(items.len() * 256) };
    for run in runs(items) {
        let Some(first) = run.first() else { continue };
        // Receivers take examples before histograms, and refuse those of a series that they do
        // not know yet: a histogram's come behind it.
        let is_late = first.value.float().is_none();
        let labels = &first.series.labels;
        request.nested(1, |series| {
            v1_labels(series, 1, labels);
            for item in run {
                if let Value::Float(value) = item.value {
                    series.nested(2, |sample| {
                        sample.double(1, value);
                        sample.int(2, item.time);
                    });
                }
            }
            v1_exemplars(series, run, has_exemplars && !is_late);
            for item in run {
                if let Value::Histogram(value) = &item.value {
                    series.nested(4, |written| histogram(written, value, item.time));
                }
            }
        });
        let has_late = is_late && exemplars(run, has_exemplars).next().is_some();
        if has_late {
            request.nested(1, |series| {
                v1_labels(series, 1, labels);
                v1_exemplars(series, run, true);
            });
        }
    }
    request.bytes
}

/// `prometheus.WriteRequest` with types and help texts alone.
pub(crate) fn v1_metadata(families: &[&Meta]) -> Vec<u8> {
    let mut request = Writer::default();
    for family in families {
        request.nested(3, |metadata| {
            metadata.uint(1, kind(family.kind));
            metadata.text(2, &family.name);
            metadata.text(4, &family.help);
            metadata.text(5, &family.unit);
        });
    }
    request.bytes
}

/// `io.prometheus.write.v2.Request` of grouped items.
pub(crate) fn v2(items: &[Item], has_exemplars: bool) -> Vec<u8> {
    let mut symbols = Symbols::default();
    symbols.number("");
    let mut body = Writer { bytes: Vec::with_capacity(items.len() * 96) };
    for run in runs(items) {
        let Some(first) = run.first() else { continue };
        body.nested(5, |series| {
            v2_labels(series, 1, &first.series.labels, &mut symbols);
            for item in run {
                match &item.value {
                    Value::Float(value) => series.nested(2, |sample| {
                        sample.double(1, *value);
                        sample.int(2, item.time);
                        sample.int(3, item.start);
                    }),
                    Value::Histogram(value) => series.nested(3, |written| {
                        histogram(written, value, item.time);
                        written.int(17, item.start);
                    }),
                }
            }
            for (item, exemplar) in exemplars(run, has_exemplars) {
                series.nested(4, |written| {
                    v2_labels(written, 1, &exemplar.labels, &mut symbols);
                    written.double(2, exemplar.value);
                    written.int(3, exemplar.time.map_or(item.time, |time| time.0));
                });
            }
            if let Some(meta) = &first.series.meta {
                series.nested(5, |metadata| {
                    metadata.uint(1, kind(meta.kind));
                    metadata.uint(3, symbols.number(&meta.help));
                    metadata.uint(4, symbols.number(&meta.unit));
                });
            }
        });
    }
    let mut request = Writer::default();
    for symbol in &symbols.list {
        request.message(4, symbol.as_bytes());
    }
    request.bytes.extend(body.bytes);
    request.bytes
}

/// Texts of a request, each once.
#[derive(Default)]
struct Symbols<'a> {
    numbers: AHashMap<&'a str, u64>,
    list: Vec<&'a str>,
}

impl<'a> Symbols<'a> {
    fn number(&mut self, text: &'a str) -> u64 {
        *self.numbers.entry(text).or_insert_with(|| {
            self.list.push(text);
            self.list.len() as u64 - 1
        })
    }
}

fn exemplars(run: &[Item], is_wanted: bool) -> impl Iterator<Item = (&Item, &Exemplar)> {
    let items = run.iter().filter(move |_| is_wanted);
    items.flat_map(|item| item.exemplars.iter().flatten().map(move |exemplar| (item, exemplar)))
}

fn v1_exemplars(series: &mut Writer, run: &[Item], is_wanted: bool) {
    for (item, exemplar) in exemplars(run, is_wanted) {
        series.nested(3, |written| {
            v1_labels(written, 1, &exemplar.labels);
            written.double(2, exemplar.value);
            written.int(3, exemplar.time.map_or(item.time, |time| time.0));
        });
    }
}

fn v1_labels(writer: &mut Writer, field: u32, labels: &Labels) {
    for (name, value) in labels.iter() {
        writer.nested(field, |label| {
            label.text(1, name);
            label.text(2, value);
        });
    }
}

fn v2_labels<'a>(writer: &mut Writer, field: u32, labels: &'a Labels, symbols: &mut Symbols<'a>) {
    let numbers = labels.iter().flat_map(|(name, value)| [name, value]);
    let numbers = numbers.map(|text| symbols.number(text));
    writer.packed_uints(field, numbers);
}

/// The number of a kind, the same in both messages.
fn kind(kind: FamilyKind) -> u64 {
    FamilyKind::ALL.iter().position(|known| *known == kind).unwrap_or_default() as u64
}

/// `Histogram`, the same in both messages but for the start.
fn histogram(writer: &mut Writer, value: &NativeHistogram, time: i64) {
    let counts = [value.count, value.zero_count].into_iter();
    let buckets = value.positive.iter().chain(&value.negative).map(|(_, count)| *count);
    let is_whole = counts.chain(buckets).all(is_whole);
    if is_whole {
        writer.uint_always(1, value.count as u64);
    } else {
        writer.double_always(2, value.count);
    }
    writer.double(3, value.sum);
    writer.sint(4, i32::from(value.schema));
    writer.double(5, value.zero_threshold);
    if is_whole {
        writer.uint_always(6, value.zero_count as u64);
    } else {
        writer.double_always(7, value.zero_count);
    }
    buckets_of(writer, &value.negative, [8, 9, 10], is_whole);
    buckets_of(writer, &value.positive, [11, 12, 13], is_whole);
    // A gauge has no resets; elsewhere the receiver looks for itself.
    writer.uint(14, if value.is_gauge { 3 } else { 0 });
    writer.int(15, time);
    if value.schema == CUSTOM_BOUNDS {
        writer.packed_doubles(16, value.bounds.iter().copied());
    }
}

fn is_whole(count: f64) -> bool {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    (0.0..=EXACT_MAX).contains(&count) && count.fract() == 0.0
}

/// Spans, and differences of whole counts or the counts themselves.
fn buckets_of(
    writer: &mut Writer,
    buckets: &[(i32, f64)],
    [spans, deltas, counts]: [u32; 3],
    is_whole: bool,
) {
    let mut next = 0;
    for span in buckets.chunk_by(|one, other| one.0.checked_add(1) == Some(other.0)) {
        let Some((first, _)) = span.first() else { continue };
        writer.nested(spans, |written| {
            written.sint(1, first.wrapping_sub(next));
            written.uint(2, span.len() as u64);
        });
        next = first.wrapping_add(i32::try_from(span.len()).unwrap_or(i32::MAX));
    }
    if !is_whole {
        writer.packed_doubles(counts, buckets.iter().map(|(_, count)| *count));
        return;
    }
    let mut before = 0;
    let differences = buckets.iter().map(|(_, count)| {
        let count = *count as i64;
        let difference = count - before;
        before = count;
        difference
    });
    writer.packed_sints(deltas, differences);
}
