//! Records of the log, written and read.
//!
//! A record is its length, checksum, kind, whether it is compressed, and how many entries it
//! has; then the entries. Reading takes damaged and hostile bytes: every count is bounded by the
//! bytes that are left.

use std::sync::Arc;

use model::series::{Exemplar, NativeHistogram};
use model::{FamilyKind, Labels, Timestamp};

use crate::item::Meta;
use crate::proto::{Writer, unzigzag, zigzag};

/// First bytes of a segment; the last is the version of the format.
pub(crate) const MAGIC: &[u8; 8] = b"msrwlog\x01";
pub(crate) const HEADER_BYTES: usize = 14;
/// Larger records are not written, and taken for damage.
pub(crate) const RECORD_BYTES_MAX: usize = 16 << 20;
/// A record is closed above this, so that reading takes little memory.
pub(crate) const RECORD_BYTES_WANTED: usize = 64 << 10;
/// Compressing less gains nothing.
const COMPRESS_BYTES_MIN: usize = 256;

/// What a record's entries are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Families = 1,
    Series = 2,
    /// Since when series count.
    Starts = 3,
    /// Exemplars of the next values of series.
    Exemplars = 4,
    Samples = 5,
    Histograms = 6,
}

impl Kind {
    /// Whether its entries are sent.
    pub(crate) fn has_values(self) -> bool {
        matches!(self, Kind::Samples | Kind::Histograms)
    }
}

const KINDS: [Kind; 6] =
    [Kind::Families, Kind::Series, Kind::Starts, Kind::Exemplars, Kind::Samples, Kind::Histograms];

/// The head of a record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub(crate) length: usize,
    pub(crate) kind: Kind,
    pub(crate) count: u32,
    is_compressed: bool,
    checksum: u32,
}

impl Head {
    /// Nothing when it makes no sense.
    pub(crate) fn parse(bytes: &[u8; HEADER_BYTES]) -> Option<Head> {
        let [a, b, c, d, e, f, g, h, kind, flags, i, j, k, l] = *bytes;
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        let kind = KINDS.into_iter().find(|known| *known as u8 == kind)?;
        (length <= RECORD_BYTES_MAX && flags <= 1).then_some(Head {
            length,
            kind,
            count: u32::from_le_bytes([i, j, k, l]),
            is_compressed: flags == 1,
            checksum: u32::from_le_bytes([e, f, g, h]),
        })
    }

    /// The entries' bytes; nothing when they are not what was written.
    pub(crate) fn open(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        if checksum(self.kind, self.is_compressed, self.count, bytes) != self.checksum {
            return None;
        }
        if !self.is_compressed {
            return Some(bytes.to_vec());
        }
        let length = snap::raw::decompress_len(bytes).ok()?;
        if length > RECORD_BYTES_MAX {
            return None;
        }
        snap::raw::Decoder::new().decompress_vec(bytes).ok()
    }

    /// How many values it has.
    pub(crate) fn values(&self) -> u64 {
        if self.kind.has_values() { u64::from(self.count) } else { 0 }
    }
}

fn checksum(kind: Kind, is_compressed: bool, count: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[kind as u8, u8::from(is_compressed)]);
    hasher.update(&count.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

/// Entries of one kind, on their way into records.
pub(crate) struct Batch {
    kind: Kind,
    writer: Writer,
    count: u32,
    last_number: u32,
    last_time: i64,
    /// Records that are whole.
    closed: Vec<u8>,
}

impl Batch {
    pub(crate) fn new(kind: Kind) -> Batch {
        let (writer, closed) = (Writer::default(), Vec::new());
        Batch { kind, writer, count: 0, last_number: 0, last_time: 0, closed }
    }

    /// Closes the record when it is large enough.
    fn end_entry(&mut self) {
        self.count += 1;
        if self.writer.bytes.len() >= RECORD_BYTES_WANTED {
            self.close();
        }
    }

    fn close(&mut self) {
        if self.count == 0 {
            return;
        }
        let plain = &self.writer.bytes;
        let packed = (plain.len() >= COMPRESS_BYTES_MIN)
            .then(|| snap::raw::Encoder::new().compress_vec(plain).ok())
            .flatten()
            .filter(|packed| packed.len() < plain.len());
        let bytes = packed.as_ref().unwrap_or(plain);
        let out = &mut self.closed;
        out.extend((bytes.len() as u32).to_le_bytes());
        out.extend(checksum(self.kind, packed.is_some(), self.count, bytes).to_le_bytes());
        out.extend([self.kind as u8, u8::from(packed.is_some())]);
        out.extend(self.count.to_le_bytes());
        out.extend_from_slice(bytes);
        self.writer.bytes.clear();
        (self.count, self.last_number, self.last_time) = (0, 0, 0);
    }

    /// Appends all records.
    pub(crate) fn finish(mut self, out: &mut Vec<u8>) {
        self.close();
        out.append(&mut self.closed);
    }

    /// A series and a time, which are mostly those before, or the next.
    fn place(&mut self, number: u32, time: i64) {
        let step = i64::from(number) - i64::from(self.last_number);
        self.writer.varint(zigzag(step));
        self.writer.varint(zigzag(time.wrapping_sub(self.last_time)));
        (self.last_number, self.last_time) = (number, time);
    }

    fn text(&mut self, text: &str) {
        self.writer.varint(text.len() as u64);
        self.writer.bytes.extend_from_slice(text.as_bytes());
    }

    fn double(&mut self, value: f64) {
        self.writer.bytes.extend(value.to_bits().to_le_bytes());
    }

    fn labels(&mut self, labels: &Labels) {
        self.writer.varint(labels.len() as u64);
        for (name, value) in labels.iter() {
            self.text(name);
            self.text(value);
        }
    }

    pub(crate) fn family(&mut self, number: u32, meta: &Meta) {
        self.place(number, 0);
        let kind = FamilyKind::ALL.iter().position(|known| *known == meta.kind);
        self.writer.varint(kind.unwrap_or_default() as u64);
        self.text(&meta.name);
        self.text(&meta.help);
        self.text(&meta.unit);
        self.end_entry();
    }

    pub(crate) fn series(&mut self, number: u32, family: u32, labels: &Labels) {
        self.place(number, 0);
        self.writer.varint(u64::from(family));
        self.labels(labels);
        self.end_entry();
    }

    pub(crate) fn start(&mut self, number: u32, start: i64) {
        self.place(number, start);
        self.end_entry();
    }

    pub(crate) fn exemplar(&mut self, number: u32, time: i64, exemplar: &Exemplar) {
        self.place(number, exemplar.time.map_or(time, |time| time.0));
        self.double(exemplar.value);
        self.labels(&exemplar.labels);
        self.end_entry();
    }

    pub(crate) fn sample(&mut self, number: u32, time: i64, value: f64) {
        self.place(number, time);
        self.double(value);
        self.end_entry();
    }

    pub(crate) fn histogram(&mut self, number: u32, time: i64, value: &NativeHistogram) {
        self.place(number, time);
        self.writer.varint(zigzag(i64::from(value.schema)));
        self.writer.varint(u64::from(value.is_gauge));
        for number in [value.zero_threshold, value.zero_count, value.count, value.sum] {
            self.double(number);
        }
        for buckets in [&value.positive, &value.negative] {
            self.writer.varint(buckets.len() as u64);
            for (index, count) in buckets {
                self.writer.varint(zigzag(i64::from(*index)));
                self.double(*count);
            }
        }
        self.writer.varint(value.bounds.len() as u64);
        value.bounds.iter().for_each(|bound| self.double(*bound));
        self.end_entry();
    }
}

/// An entry that was read.
#[derive(Debug)]
pub(crate) enum Entry {
    Family(u32, Meta),
    Series { number: u32, family: u32, labels: Labels },
    Start(u32, i64),
    Exemplar(u32, Exemplar),
    Sample { number: u32, time: i64, value: f64 },
    Histogram { number: u32, time: i64, value: Arc<NativeHistogram> },
}

/// Reads the entries of a record.
pub(crate) struct Entries<'a> {
    kind: Kind,
    left: &'a [u8],
    last_number: u32,
    last_time: i64,
}

impl<'a> Entries<'a> {
    pub(crate) fn new(kind: Kind, bytes: &'a [u8]) -> Entries<'a> {
        Entries { kind, left: bytes, last_number: 0, last_time: 0 }
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, left) = self.left.split_first()?;
            self.left = left;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// A count of things that take at least `each` bytes.
    fn count(&mut self, each: usize) -> Option<usize> {
        let count = usize::try_from(self.varint()?).ok()?;
        (count <= self.left.len() / each).then_some(count)
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = self.count(1)?;
        let (text, left) = self.left.split_at_checked(length)?;
        self.left = left;
        std::str::from_utf8(text).ok()
    }

    fn double(&mut self) -> Option<f64> {
        let (bytes, left) = self.left.split_first_chunk()?;
        self.left = left;
        Some(f64::from_bits(u64::from_le_bytes(*bytes)))
    }

    fn labels(&mut self) -> Option<Labels> {
        let count = self.count(2)?;
        let pairs: Option<Vec<(&str, &str)>> =
            (0..count).map(|_| Some((self.text()?, self.text()?))).collect();
        Some(Labels::new(pairs?))
    }

    fn place(&mut self) -> Option<(u32, i64)> {
        let step = unzigzag(self.varint()?);
        let number = i64::from(self.last_number).checked_add(step)?;
        self.last_number = u32::try_from(number).ok()?;
        self.last_time = self.last_time.wrapping_add(unzigzag(self.varint()?));
        Some((self.last_number, self.last_time))
    }

    fn buckets(&mut self) -> Option<Vec<(i32, f64)>> {
        let count = self.count(9)?;
        let bucket = |_| {
            let index = i32::try_from(unzigzag(self.varint()?)).ok()?;
            Some((index, self.double()?))
        };
        (0..count).map(bucket).collect()
    }

    fn histogram(&mut self) -> Option<NativeHistogram> {
        let schema = i8::try_from(unzigzag(self.varint()?)).ok()?;
        let is_gauge = self.varint()? == 1;
        let [zero_threshold, zero_count] = [self.double()?, self.double()?];
        let [count, sum] = [self.double()?, self.double()?];
        let [positive, negative] = [self.buckets()?, self.buckets()?];
        let bounds = self.count(8)?;
        let bounds = (0..bounds).map(|_| self.double()).collect::<Option<_>>()?;
        Some(NativeHistogram {
            schema,
            zero_threshold,
            zero_count,
            count,
            sum,
            positive,
            negative,
            bounds,
            is_gauge,
        })
    }

    fn entry(&mut self) -> Option<Entry> {
        let (number, time) = self.place()?;
        Some(match self.kind {
            Kind::Families => {
                let kind = usize::try_from(self.varint()?).ok()?;
                let kind = FamilyKind::ALL.get(kind).copied().unwrap_or_default();
                let [name, help, unit] = [self.text()?, self.text()?, self.text()?];
                let [name, help, unit] = [name, help, unit].map(str::to_owned);
                Entry::Family(number, Meta { name, kind, help, unit })
            }
            Kind::Series => {
                let family = u32::try_from(self.varint()?).ok()?;
                Entry::Series { number, family, labels: self.labels()? }
            }
            Kind::Starts => Entry::Start(number, time),
            Kind::Exemplars => {
                let value = self.double()?;
                let labels = self.labels()?;
                Entry::Exemplar(number, Exemplar { labels, value, time: Some(Timestamp(time)) })
            }
            Kind::Samples => Entry::Sample { number, time, value: self.double()? },
            Kind::Histograms => {
                Entry::Histogram { number, time, value: Arc::new(self.histogram()?) }
            }
        })
    }
}

impl Iterator for Entries<'_> {
    type Item = Entry;

    /// Ends at the first entry that makes no sense: what a checksum passed was written so.
    fn next(&mut self) -> Option<Entry> {
        if self.left.is_empty() {
            return None;
        }
        let entry = self.entry();
        if entry.is_none() {
            self.left = &[];
        }
        entry
    }
}

/// What a segment holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Whole records.
    pub records: u64,
    /// Definitions of series.
    pub series: u64,
    /// Samples and histograms.
    pub values: u64,
    /// Bytes of whole records and the head; what follows is torn or damaged.
    pub bytes: u64,
}

/// Reads a whole segment; damage ends it.
pub fn segment_contents(bytes: &[u8]) -> Contents {
    let mut contents = Contents::default();
    let Some(mut left) = bytes.strip_prefix(MAGIC) else { return contents };
    contents.bytes = MAGIC.len() as u64;
    while let Some((head, after)) = left.split_first_chunk() {
        let Some(head) = Head::parse(head) else { break };
        let Some((body, after)) = after.split_at_checked(head.length) else { break };
        let Some(body) = head.open(body) else { break };
        contents.records += 1;
        contents.bytes += (HEADER_BYTES + head.length) as u64;
        for entry in Entries::new(head.kind, &body) {
            match entry {
                Entry::Series { .. } => contents.series += 1,
                Entry::Sample { .. } | Entry::Histogram { .. } => contents.values += 1,
                Entry::Family(..) | Entry::Start(..) | Entry::Exemplar(..) => {}
            }
        }
        left = after;
    }
    contents
}

#[cfg(test)]
mod tests {
    use model::series::{Exemplar, NativeHistogram};
    use model::{FamilyKind, Labels, Timestamp};

    use super::{Batch, Entries, HEADER_BYTES, Head, KINDS, Kind, MAGIC, segment_contents};
    use crate::item::Meta;

    /// A record of each kind.
    fn records() -> Vec<Vec<u8>> {
        let labels = Labels::new([("a", "x"), ("b", "é")]);
        let histogram = NativeHistogram {
            schema: -53,
            count: 3.5,
            sum: f64::NAN,
            positive: vec![(-2, 1.0), (7, 2.5)],
            negative: vec![(i32::MIN, 0.5)],
            bounds: [0.5, 1.0].into(),
            is_gauge: true,
            ..NativeHistogram::default()
        };
        let records = KINDS.map(|kind| {
            let (mut batch, mut out) = (Batch::new(kind), Vec::new());
            for number in [5, 0, u32::MAX] {
                let time = i64::MAX - i64::from(number);
                match kind {
                    Kind::Families => {
                        let [name, help, unit] = ["n", "h\n", "u"].map(str::to_owned);
                        let meta = Meta { name, kind: FamilyKind::Info, help, unit };
                        batch.family(number, &meta);
                    }
                    Kind::Series => batch.series(number, 3, &labels),
                    Kind::Starts => batch.start(number, -time),
                    Kind::Exemplars => {
                        let time = Some(Timestamp(time));
                        let exemplar = Exemplar { labels: labels.clone(), value: -0.0, time };
                        batch.exemplar(number, 1, &exemplar);
                    }
                    Kind::Samples => batch.sample(number, time, -1.5),
                    Kind::Histograms => batch.histogram(number, time, &histogram),
                }
            }
            batch.finish(&mut out);
            out
        });
        records.to_vec()
    }

    fn body(record: &[u8]) -> (Head, Vec<u8>) {
        let head = Head::parse(record.first_chunk().unwrap()).unwrap();
        let body = head.open(&record[HEADER_BYTES..]).unwrap();
        (head, body)
    }

    #[test]
    fn records_are_read_as_they_were_written() {
        for record in records() {
            let (head, body) = body(&record);
            let entries: Vec<_> = Entries::new(head.kind, &body).collect();
            assert_eq!(entries.len(), 3, "{entries:?}");
            // What is read and written again has the same bytes.
            let (mut batch, mut out) = (Batch::new(head.kind), Vec::new());
            for entry in &entries {
                use super::Entry;
                match entry {
                    Entry::Family(number, meta) => batch.family(*number, meta),
                    Entry::Series { number, family, labels } => {
                        batch.series(*number, *family, labels);
                    }
                    Entry::Start(number, start) => batch.start(*number, *start),
                    Entry::Exemplar(number, exemplar) => batch.exemplar(*number, 0, exemplar),
                    Entry::Sample { number, time, value } => batch.sample(*number, *time, *value),
                    Entry::Histogram { number, time, value } => {
                        batch.histogram(*number, *time, value);
                    }
                }
            }
            batch.finish(&mut out);
            assert_eq!(out, record, "{entries:?}");
        }
    }

    #[test]
    fn damage_is_no_harm() {
        let mut chance = 88_172_645_463_325_252_u64;
        let mut next = move |below: usize| {
            chance ^= chance << 13;
            chance ^= chance >> 7;
            chance ^= chance << 17;
            (chance % below as u64) as usize
        };
        let records = records();
        for _ in 0..20_000 {
            let (head, mut body) = body(&records[next(records.len())]);
            for _ in 0..=next(4) {
                let at = next(body.len());
                body[at] = next(256) as u8;
            }
            body.truncate(next(body.len()) + 1);
            assert!(Entries::new(head.kind, &body).count() <= body.len());
            let mut segment = [MAGIC.as_slice(), &records.concat()].concat();
            let at = next(segment.len());
            segment[at] ^= 1 << next(8);
            assert!(segment_contents(&segment).records < 6);
        }
    }
}
