//! What waits to be sent.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use model::series::{Exemplar, Value};
use model::{FamilyKind, Labels};

/// A place in the log: segment, byte of the record in it, entry of the record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) segment: u32,
    pub(crate) offset: u32,
    pub(crate) index: u32,
}

/// What is known about a metric family.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Meta {
    pub(crate) name: String,
    pub(crate) kind: FamilyKind,
    pub(crate) help: String,
    pub(crate) unit: String,
}

/// A series as a destination gets it.
#[derive(Debug)]
pub(crate) struct Series {
    /// Made of its labels: equal for a series however often it was numbered anew, also by another
    /// process. The shard follows from it.
    pub(crate) key: u32,
    pub(crate) labels: Labels,
    pub(crate) meta: Option<Arc<Meta>>,
    /// Until then (milliseconds since the epoch) the receiver is not asked again to take it.
    pub(crate) held_until: AtomicI64,
}

impl Series {
    pub(crate) fn new(labels: Labels, meta: Option<Arc<Meta>>) -> Series {
        let mut hasher = crc32fast::Hasher::new();
        for text in labels.iter().flat_map(|(name, value)| [name, value]) {
            hasher.update(text.as_bytes());
            // In no text.
            hasher.update(&[0xff]);
        }
        Series { key: hasher.finalize(), labels, meta, held_until: AtomicI64::new(0) }
    }

    fn is_same(self: &Arc<Self>, other: &Arc<Series>) -> bool {
        Arc::ptr_eq(self, other) || self.key == other.key && self.labels == other.labels
    }
}

/// A value of a series.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) series: Arc<Series>,
    /// Milliseconds since the epoch.
    pub(crate) time: i64,
    /// Since when it counts; 0 is unknown.
    pub(crate) start: i64,
    pub(crate) value: Value,
    pub(crate) exemplars: Option<Box<[Exemplar]>>,
    pub(crate) position: Position,
}

/// Numbers of things of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) samples: u64,
    pub(crate) histograms: u64,
    pub(crate) exemplars: u64,
}

impl Counts {
    pub(crate) fn of(items: &[Item]) -> Counts {
        let mut counts = Counts::default();
        for item in items {
            match item.value {
                Value::Float(_) => counts.samples += 1,
                Value::Histogram(_) => counts.histograms += 1,
            }
            counts.exemplars += item.exemplars.as_ref().map_or(0, |list| list.len() as u64);
        }
        counts
    }

    pub(crate) fn is_nothing(self) -> bool {
        self == Counts::default()
    }
}

/// Puts the values of a series beside each other, in their order.
pub(crate) fn group(items: &mut [Item]) {
    items.sort_by_key(|item| item.series.key);
}

/// The runs of [`group`]ed items that are of one series and kind.
pub(crate) fn runs(items: &[Item]) -> impl Iterator<Item = &[Item]> {
    items.chunk_by(|one, other| {
        one.series.is_same(&other.series)
            && one.value.float().is_some() == other.value.float().is_some()
    })
}
