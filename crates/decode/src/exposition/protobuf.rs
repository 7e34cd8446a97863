//! Pages for Prometheus as protocol buffers: `io.prometheus.client.MetricFamily`, each with its
//! length in front. The only form of pages that has native histograms.
//!
//! Series are those that Prometheus makes of such a page: their names, their `le` and `quantile`,
//! their order. As there, damage costs the whole page.

mod histogram;
mod wire;

use std::collections::HashMap;
use std::sync::Arc;

use model::series::{Exemplar, NAME, Value};
use model::{Family, FamilyKind, Labels, Point, Timestamp};

use super::line::Fault;
use super::{Page, SAMPLES_MAX};
use histogram::Histogram;
use wire::{delimited, fields};

/// Histograms of a page that have both native and classic buckets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Classic {
    /// Only the native ones are wanted.
    #[default]
    Instead,
    /// Both are wanted.
    Too,
}

/// Series of the page before, by their labels there.
#[derive(Debug, Default)]
pub(super) struct Named {
    labels: HashMap<Labels, (Option<Labels>, u32), ahash::RandomState>,
    round: u32,
}

impl Named {
    /// Reads a page; what it does not have is forgotten.
    pub(super) fn read(
        &mut self,
        bytes: &[u8],
        classic: Classic,
        change: &mut dyn FnMut(Labels) -> Option<Labels>,
    ) -> Page {
        self.round = self.round.wrapping_add(1);
        let mut reader = Reader { named: self, classic, change, page: Page::default() };
        let (mut left, mut number) = (bytes, 0);
        while !left.is_empty() {
            number += 1;
            if let Err(what) = delimited(&mut left).and_then(|family| reader.family(family)) {
                reader.page.faults = 1;
                reader.page.warnings.push(format!("family {number}: {what}"));
                break;
            }
        }
        let page = reader.page;
        if page.faults == 0 {
            self.labels.retain(|_, (_, round)| *round == self.round);
            self.labels.shrink_to(2 * self.labels.len());
        } else {
            self.labels.clear();
        }
        page
    }
}

struct Reader<'n> {
    named: &'n mut Named,
    classic: Classic,
    change: &'n mut dyn FnMut(Labels) -> Option<Labels>,
    page: Page,
}

/// What the series of a metric have in common.
struct Metric<'a> {
    /// The family's name as the page has it.
    name: &'a str,
    labels: Vec<(&'a str, &'a str)>,
    time: Option<Timestamp>,
    start: Option<Timestamp>,
}

/// A quantile or a bound, as a label.
type Magic<'a> = Option<(&'a str, String)>;

impl Reader<'_> {
    fn family(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let (mut family, mut name, mut kind) = (Family::default(), "", 0);
        fields(bytes, |number, field| {
            match number {
                1 => name = field.text()?,
                2 => field.text()?.clone_into(&mut family.help),
                3 => kind = field.number()?,
                5 => field.text()?.clone_into(&mut family.unit),
                _ => {}
            }
            Ok(())
        })?;
        if name.is_empty() {
            return Err("a family without a name");
        }
        family.kind = match kind {
            0 => FamilyKind::Counter,
            1 => FamilyKind::Gauge,
            2 => FamilyKind::Summary,
            3 => FamilyKind::Unknown,
            4 => FamilyKind::Histogram,
            5 => FamilyKind::GaugeHistogram,
            _ => return Err("a kind that is none"),
        };
        let short = name.strip_suffix("_total").filter(|_| family.kind == FamilyKind::Counter);
        short.unwrap_or(name).clone_into(&mut family.name);
        let read = fields(bytes, |number, field| match number {
            4 => self.metric(&mut family, name, field.bytes()?),
            _ => Ok(()),
        });
        // What came before a fault counts as a sample, and is one.
        if !family.points.is_empty() {
            self.page.families.push(family);
        }
        read
    }

    fn metric(&mut self, family: &mut Family, name: &str, bytes: &[u8]) -> Result<(), Fault> {
        let wanted = match family.kind {
            FamilyKind::Gauge => 2,
            FamilyKind::Counter => 3,
            FamilyKind::Summary => 4,
            FamilyKind::Unknown => 5,
            _ => 7,
        };
        let (mut labels, mut time, mut body) = (Vec::new(), 0, &[][..]);
        fields(bytes, |number, field| {
            match number {
                1 => labels.push(pair(field.bytes()?)?),
                6 => time = field.number()?.cast_signed(),
                _ if number == wanted => body = field.bytes()?,
                _ => {}
            }
            Ok(())
        })?;
        labels.sort_unstable();
        if labels.windows(2).any(|two| matches!(two, [a, b] if a.0 == b.0)) {
            return Err("a label that is there twice");
        }
        let time = (time != 0).then_some(Timestamp(time));
        let mut metric = Metric { name, labels, time, start: None };
        match family.kind {
            FamilyKind::Summary => self.summary(family, &mut metric, body),
            FamilyKind::Histogram | FamilyKind::GaugeHistogram => {
                self.histogram(family, &mut metric, body)
            }
            _ => self.number(family, &mut metric, body),
        }
    }

    /// A counter, a gauge, or what is not said.
    fn number<'a>(
        &mut self,
        family: &mut Family,
        metric: &mut Metric<'a>,
        bytes: &'a [u8],
    ) -> Result<(), Fault> {
        let is_counter = family.kind == FamilyKind::Counter;
        let (mut value, mut exemplars) = (0.0, Vec::new());
        fields(bytes, |number, field| {
            match number {
                1 => value = field.double()?,
                2 if is_counter => exemplars = vec![exemplar(field.bytes()?)?],
                3 if is_counter => metric.start = timestamp(field.bytes()?)?,
                _ => {}
            }
            Ok(())
        })?;
        self.push(family, metric, ("", None), Value::Float(value), exemplars)
    }

    fn summary(
        &mut self,
        family: &mut Family,
        metric: &mut Metric<'_>,
        bytes: &[u8],
    ) -> Result<(), Fault> {
        let (mut count, mut sum) = (0, 0.0);
        fields(bytes, |number, field| {
            match number {
                1 => count = field.number()?,
                2 => sum = field.double()?,
                4 => metric.start = timestamp(field.bytes()?)?,
                _ => {}
            }
            Ok(())
        })?;
        self.push(family, metric, ("_count", None), Value::Float(count as f64), Vec::new())?;
        self.push(family, metric, ("_sum", None), Value::Float(sum), Vec::new())?;
        fields(bytes, |number, field| {
            if number != 3 {
                return Ok(());
            }
            let (mut quantile, mut value) = (0.0, 0.0);
            fields(field.bytes()?, |number, field| {
                match number {
                    1 => quantile = field.double()?,
                    2 => value = field.double()?,
                    _ => {}
                }
                Ok(())
            })?;
            let label = Some(("quantile", shown(quantile)));
            self.push(family, metric, ("", label), Value::Float(value), Vec::new())
        })
    }

    fn histogram(
        &mut self,
        family: &mut Family,
        metric: &mut Metric<'_>,
        bytes: &[u8],
    ) -> Result<(), Fault> {
        let read = Histogram::read(bytes)?;
        metric.start = read.start;
        let mut has_native = false;
        if let Some(native) = read.native(family.kind == FamilyKind::GaugeHistogram)? {
            has_native = true;
            let exemplars = read.timed_exemplars();
            self.push(family, metric, ("", None), Value::Histogram(Arc::new(native)), exemplars)?;
        }
        if has_native && (self.classic == Classic::Instead || read.buckets.is_empty()) {
            return Ok(());
        }
        let count = read.count();
        self.push(family, metric, ("_count", None), Value::Float(count), Vec::new())?;
        self.push(family, metric, ("_sum", None), Value::Float(read.sum), Vec::new())?;
        let has_last = read.buckets.last().is_some_and(|bucket| bucket.bound == f64::INFINITY);
        for bucket in read.buckets {
            let label = Some(("le", shown(bucket.bound)));
            let exemplars = bucket.exemplar.into_iter().collect();
            self.push(family, metric, ("_bucket", label), Value::Float(bucket.count), exemplars)?;
        }
        if !has_last {
            let label = Some(("le", shown(f64::INFINITY)));
            self.push(family, metric, ("_bucket", label), Value::Float(count), Vec::new())?;
        }
        Ok(())
    }

    fn push(
        &mut self,
        family: &mut Family,
        metric: &Metric<'_>,
        (suffix, magic): (&str, Magic<'_>),
        value: Value,
        exemplars: Vec<Exemplar>,
    ) -> Result<(), Fault> {
        if self.page.samples == SAMPLES_MAX {
            return Err("more samples than are read of a page");
        }
        self.page.samples += 1;
        let name = format!("{}{suffix}", metric.name);
        let magic = magic.as_ref().map(|(name, value)| (*name, value.as_str()));
        let pairs = metric.labels.iter().copied().chain(magic).chain([(NAME, name.as_str())]);
        let round = self.named.round;
        let labels = Labels::new(pairs);
        let labels = match self.named.labels.get_mut(&labels) {
            Some((labels, last)) => {
                *last = round;
                labels.clone()
            }
            None => {
                let changed = (self.change)(labels.clone());
                self.page.added += usize::from(changed.is_some());
                self.named.labels.insert(labels, (changed.clone(), round));
                changed
            }
        };
        let Metric { time, start, .. } = *metric;
        let point = labels.map(|labels| Point { labels, value, time, start, exemplars });
        family.points.extend(point);
        Ok(())
    }
}

/// A label.
fn pair(bytes: &[u8]) -> Result<(&str, &str), Fault> {
    let (mut name, mut value) = ("", "");
    fields(bytes, |number, field| {
        match number {
            1 => name = field.text()?,
            2 => value = field.text()?,
            _ => {}
        }
        Ok(())
    })?;
    if name.is_empty() { Err("a label without a name") } else { Ok((name, value)) }
}

fn exemplar(bytes: &[u8]) -> Result<Exemplar, Fault> {
    let (mut labels, mut value, mut time) = (Vec::new(), 0.0, None);
    fields(bytes, |number, field| {
        match number {
            1 => labels.push(pair(field.bytes()?)?),
            2 => value = field.double()?,
            3 => time = timestamp(field.bytes()?)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(Exemplar { labels: Labels::new(labels), value, time })
}

/// `google.protobuf.Timestamp`; the epoch itself stands for none.
fn timestamp(bytes: &[u8]) -> Result<Option<Timestamp>, Fault> {
    let (mut seconds, mut nanos) = (0, 0);
    fields(bytes, |number, field| {
        match number {
            1 => seconds = field.number()?.cast_signed(),
            2 => nanos = field.number()?.cast_signed(),
            _ => {}
        }
        Ok(())
    })?;
    let millis = seconds.saturating_mul(1000).saturating_add(nanos / 1_000_000);
    Ok((millis != 0).then_some(Timestamp(millis)))
}

/// A bound or a quantile as OpenMetrics has it: never without a point or an exponent.
fn shown(value: f64) -> String {
    if value == 0.0 {
        return "0.0".to_owned();
    }
    if !value.is_finite() {
        let text = if value > 0.0 { "+Inf" } else { "-Inf" };
        return if value.is_nan() { "NaN" } else { text }.to_owned();
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let plain = value.to_string();
    match exponent {
        -4..6 if plain.contains('.') => plain,
        -4..6 => plain + ".0",
        _ => format!("{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs()),
    }
}

#[cfg(test)]
mod tests;
