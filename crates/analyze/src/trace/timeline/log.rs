//! What goroutines do from when on, packed: about four bytes for each change.
//!
//! The log is cut into blocks. Each begins with what runs where, so that it can be read by itself.

use model::trace::Time;

use super::Activity;

/// Bytes of a block, about 4,000 records.
const BLOCK_BYTES: usize = 16 << 10;

/// A goroutine begins to do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) time: Time,
    /// Its place among the goroutines.
    pub(super) slot: u32,
    /// What it did until now.
    pub(super) before: Activity,
    pub(super) activity: Activity,
    /// The P, of what needs one; the reason, of what waits.
    pub(super) detail: u32,
}

/// What a P does when a block begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Occupant {
    pub(super) slot: u32,
    pub(super) activity: Activity,
    pub(super) since: Time,
}

/// Everything that is known when a block begins.
#[derive(Clone, Debug, Default)]
pub(super) struct Moment {
    /// By P.
    pub(super) occupants: Box<[Option<Occupant>]>,
    /// Goroutines that run, are ready, and are blocked.
    pub(super) counts: [u32; 3],
}

#[derive(Debug)]
pub(super) struct Block {
    /// When it begins; the first record counts from here.
    pub(super) time: Time,
    pub(super) moment: Moment,
    bytes: Box<[u8]>,
}

/// The blocks, in the order of time.
#[derive(Debug, Default)]
pub(super) struct Log {
    blocks: Vec<Block>,
    open: Vec<u8>,
    open_time: Time,
    open_moment: Moment,
    /// Of the last record.
    time: Time,
    records: u64,
}

impl Log {
    /// Adds a record. `now` is asked for when a block begins, and says what held before it.
    pub(super) fn push(&mut self, record: &Record, procs: usize, now: impl FnOnce() -> Moment) {
        // With very many Ps the moments must not outgrow the records.
        if self.open.len() >= BLOCK_BYTES.max(procs.saturating_mul(64)) {
            self.close();
        }
        if self.open.is_empty() {
            self.open_time = record.time;
            self.open_moment = now();
            self.time = record.time;
        }
        let activities = (record.before as u64) << 3 | record.activity as u64;
        let head = u64::from(record.slot) << 6 | activities;
        put(&mut self.open, head);
        put(&mut self.open, record.time.nanos_since(self.time));
        if record.activity.has_detail() {
            put(&mut self.open, u64::from(record.detail));
        }
        self.time = record.time;
        self.records += 1;
    }

    fn close(&mut self) {
        let (time, moment) = (self.open_time, std::mem::take(&mut self.open_moment));
        let bytes = self.open.as_slice().into();
        self.blocks.push(Block { time, moment, bytes });
        self.open.clear();
    }

    /// Nothing comes any more.
    pub(super) fn finish(&mut self) {
        if !self.open.is_empty() {
            self.close();
        }
        self.open = Vec::new();
        self.blocks.shrink_to_fit();
    }

    pub(super) fn records(&self) -> u64 {
        self.records
    }

    /// Bytes that it takes.
    pub(super) fn size(&self) -> usize {
        let block = |block: &Block| {
            block.bytes.len() + size_of_val(&*block.moment.occupants) + size_of::<Block>()
        };
        self.blocks.iter().map(block).sum()
    }

    /// The blocks from the one in which a time falls.
    pub(super) fn blocks_from(&self, time: Time) -> &[Block] {
        let after = self.blocks.partition_point(|block| block.time <= time);
        self.blocks.get(after.saturating_sub(1)..).unwrap_or_default()
    }

    /// The blocks before the one in which a time falls.
    pub(super) fn blocks_before(&self, time: Time) -> &[Block] {
        let after = self.blocks.partition_point(|block| block.time <= time);
        self.blocks.get(..after.saturating_sub(1)).unwrap_or_default()
    }
}

impl Block {
    pub(super) fn records(&self) -> Records<'_> {
        Records { bytes: &self.bytes, time: self.time }
    }
}

/// Reads a block.
#[derive(Clone, Debug)]
pub(super) struct Records<'a> {
    bytes: &'a [u8],
    time: Time,
}

impl Iterator for Records<'_> {
    type Item = Record;

    #[inline]
    fn next(&mut self) -> Option<Record> {
        let head = take(&mut self.bytes)?;
        let (before, activity) =
            (Activity::from_bits(head >> 3 & 7), Activity::from_bits(head & 7));
        self.time = Time(self.time.0.saturating_add_unsigned(take(&mut self.bytes)?));
        let detail = if activity.has_detail() { take(&mut self.bytes)? as u32 } else { 0 };
        Some(Record { time: self.time, slot: (head >> 6) as u32, before, activity, detail })
    }
}

/// Seven bits a byte, the lowest first.
pub(super) fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

#[inline]
pub(super) fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    let mut shift = 0;
    loop {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(number);
        }
        shift = (shift + 7).min(63);
    }
}
