//! Addresses and sizes of objects.

use super::{Column, ObjectId};
use crate::units::Addr;

/// Where objects lie and how large they are, in address order.
#[derive(Clone, Debug)]
pub enum Objects<'a> {
    /// Slots of equal size in spans, as Go allocates.
    Spans(Spans<'a>),
    /// One by one.
    Listed(Listed<'a>),
}

impl Default for Objects<'_> {
    fn default() -> Self {
        Objects::Listed(Listed::default())
    }
}

/// Objects that are slots of spans. No address and no size is stored for an object: both
/// follow from its span and its rank among the span's allocated slots.
#[derive(Clone, Debug, Default)]
pub struct Spans<'a> {
    /// First address of each span, ascending.
    pub base: Column<'a, u64>,
    /// Bytes of a slot.
    pub slot_bytes: Column<'a, u64>,
    /// 1 where slots hold no pointers.
    pub is_noscan: Column<'a, u8>,
    /// Id of the first object of each span, and the number of objects at the end.
    pub first: Column<'a, u32>,
    /// First word of each span in `allocated`, and their number at the end.
    pub word: Column<'a, u32>,
    /// A bit a slot: it holds an object.
    pub allocated: Column<'a, u64>,
    /// How large spans are; files of earlier versions do not tell.
    pub sizes: SpanSizes<'a>,
}

/// How large each span is: a column is either empty, and nothing is known, or as long as
/// the list of spans.
#[derive(Clone, Debug, Default)]
pub struct SpanSizes<'a> {
    /// Bytes of memory of each span.
    pub span_bytes: Column<'a, u64>,
    /// Slots of each span; what is behind the last is too small for another, or holds the
    /// runtime's own bits.
    pub slots: Column<'a, u32>,
    /// 1 where a processor was taking slots at the moment of the snapshot.
    pub is_cached: Column<'a, u8>,
}

impl SpanSizes<'_> {
    /// Whether sizes are known.
    pub fn is_known(&self) -> bool {
        !self.slots.is_empty()
    }

    fn check(&self, spans: &Spans<'_>) -> bool {
        let count = spans.base.len();
        if self.slots.is_empty() && self.span_bytes.is_empty() && self.is_cached.is_empty() {
            return true;
        }
        let is_large_enough = |span: usize| -> bool {
            let slots = self.slots.get(span).copied().map_or(0, u64::from);
            let slot_bytes = spans.slot_bytes.get(span).copied().unwrap_or(0);
            let bytes = self.span_bytes.get(span).copied().unwrap_or(0);
            let base = spans.base.get(span).copied().unwrap_or(0);
            let words = spans.words(span);
            let last = words.iter().rposition(|word| *word != 0);
            let used = last
                .and_then(|last| Some((last, words.get(last)?)))
                .map_or(0, |found| found.0 as u64 * 64 + 64 - u64::from(found.1.leading_zeros()));
            used <= slots
                && slots.checked_mul(slot_bytes).is_some_and(|all| all <= bytes)
                && base.checked_add(bytes).is_some()
        };
        self.slots.len() == count
            && self.span_bytes.len() == count
            && self.is_cached.len() == count
            && (0..count).all(is_large_enough)
    }
}

/// Objects with an address and a size of their own.
#[derive(Clone, Debug, Default)]
pub struct Listed<'a> {
    /// Addresses, ascending.
    pub address: Column<'a, u64>,
    /// Sizes in bytes.
    pub bytes: Column<'a, u64>,
}

impl Spans<'_> {
    /// How many spans there are.
    pub fn len(&self) -> usize {
        self.base.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.base.is_empty()
    }

    /// Ids of the objects of a span.
    pub fn objects_of(&self, span: usize) -> std::ops::Range<u32> {
        let first = |index: usize| self.first.get(index).copied().unwrap_or(0);
        first(span)..first(span + 1)
    }

    fn span_of(&self, object: ObjectId) -> usize {
        self.first.partition_point(|first| *first <= object.0).saturating_sub(1)
    }

    fn words(&self, span: usize) -> &[u64] {
        let word = |index: usize| self.word.get(index).copied().unwrap_or(0) as usize;
        self.allocated.get(word(span)..word(span + 1)).unwrap_or(&[])
    }

    /// The object at a slot of a span, if the slot is in use.
    #[inline]
    pub fn object_at(&self, span: usize, slot: u64) -> Option<ObjectId> {
        let words = self.words(span);
        let index = usize::try_from(slot / 64).ok()?;
        let word = words.get(index)?;
        let bit = 1_u64 << (slot % 64);
        if word & bit == 0 {
            return None;
        }
        let before: u32 = words.iter().take(index).map(|word| word.count_ones()).sum();
        let first = self.first.get(span)?;
        Some(ObjectId(first + before + (word & (bit - 1)).count_ones()))
    }

    fn find(&self, address: Addr) -> Option<(ObjectId, u64)> {
        let span = self.base.partition_point(|base| *base <= address.0).checked_sub(1)?;
        let offset = address.0 - self.base.get(span)?;
        let bytes = *self.slot_bytes.get(span)?;
        let object = self.object_at(span, offset.checked_div(bytes)?)?;
        Some((object, offset % bytes))
    }

    fn address(&self, object: ObjectId) -> Option<Addr> {
        let span = self.span_of(object);
        let mut rank = object.0.checked_sub(*self.first.get(span)?)?;
        for (index, word) in self.words(span).iter().enumerate() {
            let count = word.count_ones();
            if rank >= count {
                rank -= count;
                continue;
            }
            let mut left = *word;
            for _ in 0..rank {
                left &= left - 1;
            }
            let slot = index as u64 * 64 + u64::from(left.trailing_zeros());
            return Some(Addr(self.base.get(span)? + slot * self.slot_bytes.get(span)?));
        }
        None
    }

    fn check(&self, objects: usize) -> bool {
        let spans = self.base.len();
        let counts_fit = |span: usize| {
            let (from, to) = (self.first.get(span), self.first.get(span + 1));
            let (start, end) = (self.word.get(span), self.word.get(span + 1));
            let (Some(from), Some(to), Some(start), Some(end)) = (from, to, start, end) else {
                return false;
            };
            let words = self.allocated.get(*start as usize..*end as usize);
            let ones = words.map(|words| words.iter().map(|w| u64::from(w.count_ones())).sum());
            to.checked_sub(*from).map(u64::from) == ones
        };
        let lies_below = |span: usize| -> bool {
            let slots = self.words(span).len() as u64 * 64;
            let bytes = self.slot_bytes.get(span).copied().unwrap_or(0);
            let base = self.base.get(span).copied().unwrap_or(0);
            bytes > 0 && slots.checked_mul(bytes).and_then(|all| base.checked_add(all)).is_some()
        };
        self.slot_bytes.len() == spans
            && self.is_noscan.len() == spans
            && self.first.len() == spans + 1
            && self.word.len() == spans + 1
            && self.first.first() == Some(&0)
            && self.first.last().map(|count| *count as usize) == Some(objects)
            && self.base.is_sorted_by(|a, b| a < b)
            && (0..spans).all(|span| counts_fit(span) && lies_below(span))
            && self.sizes.check(self)
    }
}

impl Objects<'_> {
    /// The first address of an object.
    pub fn address(&self, object: ObjectId) -> Option<Addr> {
        match self {
            Objects::Spans(spans) => spans.address(object),
            Objects::Listed(listed) => listed.address.get(object.index()).copied().map(Addr),
        }
    }

    /// The bytes an object occupies.
    pub fn bytes(&self, object: ObjectId) -> u64 {
        let bytes = match self {
            Objects::Spans(spans) => spans.slot_bytes.get(spans.span_of(object)),
            Objects::Listed(listed) => listed.bytes.get(object.index()),
        };
        bytes.copied().unwrap_or(0)
    }

    /// Whether an object can hold pointers; unknown counts as yes.
    pub fn may_point(&self, object: ObjectId) -> bool {
        match self {
            Objects::Spans(spans) => spans.is_noscan.get(spans.span_of(object)) != Some(&1),
            Objects::Listed(_) => true,
        }
    }

    /// The object that contains an address, and how far into it that is.
    pub fn find(&self, address: Addr) -> Option<(ObjectId, u64)> {
        match self {
            Objects::Spans(spans) => spans.find(address),
            Objects::Listed(listed) => {
                let index =
                    listed.address.partition_point(|start| *start <= address.0).checked_sub(1)?;
                let offset = address.0 - listed.address.get(index)?;
                (offset < *listed.bytes.get(index)?).then_some((ObjectId(index as u32), offset))
            }
        }
    }

    /// Calls `visit` with the size of every object in id order; much cheaper than asking
    /// for one after the other.
    pub fn each_size(&self, mut visit: impl FnMut(ObjectId, u64)) {
        match self {
            Objects::Spans(spans) => {
                for (span, bytes) in spans.slot_bytes.iter().enumerate() {
                    let first = spans.first.get(span).copied().unwrap_or(0);
                    let end = spans.first.get(span + 1).copied().unwrap_or(first);
                    (first..end).for_each(|id| visit(ObjectId(id), *bytes));
                }
            }
            Objects::Listed(listed) => {
                for (index, bytes) in listed.bytes.iter().enumerate() {
                    visit(ObjectId(index as u32), *bytes);
                }
            }
        }
    }

    pub(super) fn check(&self, objects: usize) -> bool {
        match self {
            Objects::Spans(spans) => spans.check(objects),
            Objects::Listed(listed) => {
                listed.address.len() == objects
                    && listed.bytes.len() == objects
                    && listed.address.is_sorted()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Objects, SpanSizes, Spans};
    use crate::heap::ObjectId;
    use crate::units::Addr;

    /// A span of 48-byte slots, 70 of which two thirds are in use, and a large object.
    fn spans() -> Objects<'static> {
        let bits = |from: u64, to: u64| (from..to).filter(|slot| slot % 3 != 0);
        let word = |from: u64| bits(from, (from + 64).min(70)).fold(0, |w, s| w | 1 << (s - from));
        Objects::Spans(Spans {
            base: vec![0x10000, 0x20000].into(),
            slot_bytes: vec![48, 100_000].into(),
            is_noscan: vec![0, 1].into(),
            first: vec![0, 46, 47].into(),
            word: vec![0, 2, 3].into(),
            allocated: vec![word(0), word(64), 1].into(),
            sizes: SpanSizes::default(),
        })
    }

    #[test]
    fn spans_hold_their_slots() {
        let check = |slots: [u32; 2], span_bytes: [u64; 2], expected| {
            let Objects::Spans(mut spans) = spans() else { unreachable!("these are spans") };
            spans.sizes = SpanSizes {
                slots: slots.to_vec().into(),
                span_bytes: span_bytes.to_vec().into(),
                is_cached: vec![0, 1].into(),
            };
            assert_eq!(Objects::Spans(spans).check(47), expected, "{slots:?} {span_bytes:?}");
        };
        check([70, 1], [8192, 106_496], true);
        // The last object lies at slot 68.
        check([69, 1], [8192, 106_496], true);
        check([68, 1], [8192, 106_496], false);
        check([171, 1], [8192, 106_496], false);
        check([170, 1], [8192, 99_999], false);
        check([170, 1], [8192, u64::MAX], false);
        let Objects::Spans(mut spans) = spans() else { unreachable!("these are spans") };
        assert!(!spans.sizes.is_known());
        spans.sizes.slots = vec![170, 1].into();
        assert!(!Objects::Spans(spans).check(47), "columns belong together");
    }

    #[test]
    fn ids_and_addresses_are_inverse() {
        let objects = spans();
        assert!(objects.check(47));
        assert!(!objects.check(48));
        let mut count = 0;
        for slot in 0..70_u64 {
            let found = objects.find(Addr(0x10000 + slot * 48 + 17));
            if slot % 3 == 0 {
                assert_eq!(found, None);
                continue;
            }
            assert_eq!(found, Some((ObjectId(count), 17)));
            assert_eq!(objects.address(ObjectId(count)), Some(Addr(0x10000 + slot * 48)));
            assert_eq!(objects.bytes(ObjectId(count)), 48);
            count += 1;
        }
        assert_eq!(objects.find(Addr(0x20000 + 99_999)), Some((ObjectId(46), 99_999)));
        assert_eq!(objects.find(Addr(0x20000 + 100_000)), None);
        assert!(!objects.may_point(ObjectId(46)) && objects.may_point(ObjectId(45)));
        let mut sizes = Vec::new();
        objects.each_size(|_, bytes| sizes.push(bytes));
        assert_eq!(sizes.len(), 47);
        assert_eq!(sizes.iter().sum::<u64>(), 46 * 48 + 100_000);
    }
}
