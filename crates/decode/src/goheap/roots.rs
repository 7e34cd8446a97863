//! Collects what holds objects from outside the heap.

use model::StrId;
use model::heap::{Holder, HolderId, HolderKind, RootPointer};

use super::spans::SpanTable;

/// Holders of a program with little memory.
const HOLDERS_FREE: usize = 1 << 10;

/// Holders and their pointers, as they are found.
pub(super) struct Roots<'a, 't> {
    pub(super) table: &'t SpanTable<'a>,
    pub(super) holders: Vec<Holder>,
    pub(super) pointers: Vec<RootPointer>,
    /// As many pointers as there are words of memory, a quarter as many holders.
    holders_max: usize,
    pointers_max: usize,
}

impl<'a, 't> Roots<'a, 't> {
    /// No roots yet, of a program with so many bytes of memory.
    pub(super) fn new(table: &'t SpanTable<'a>, bytes: u64) -> Roots<'a, 't> {
        let pointers_max = usize::try_from(bytes / 8).unwrap_or(usize::MAX);
        let holders_max = HOLDERS_FREE + pointers_max / 4;
        Roots { table, holders: Vec::new(), pointers: Vec::new(), holders_max, pointers_max }
    }

    /// More was found than memory can hold: lists share their entries, or frames overlap.
    pub(super) fn is_full(&self) -> bool {
        self.pointers.len() >= self.pointers_max || self.holders.len() >= self.holders_max
    }

    /// A new holder without a parent.
    pub(super) fn holder(&mut self, kind: HolderKind, name: StrId) -> HolderId {
        self.add(Holder {
            kind,
            name,
            place: StrId::default(),
            parent: None,
            goroutine: None,
            of: None,
            is_conservative: false,
        })
    }

    pub(super) fn add(&mut self, holder: Holder) -> HolderId {
        // When there is no room, the last one has to do.
        if self.holders.len() < self.holders_max {
            self.holders.push(holder);
        }
        HolderId(self.holders.len().saturating_sub(1) as u32)
    }

    /// Notes a pointer of a holder; what points to no object is left out.
    pub(super) fn point(&mut self, holder: HolderId, offset: u64, value: u64) {
        if let Some(found) = self.table.find(value)
            && self.pointers.len() < self.pointers_max
        {
            let slot = u32::try_from(offset / 8).unwrap_or(u32::MAX);
            self.pointers.push(RootPointer { holder, slot, target: found.object });
        }
    }

    /// Reports whether an address is one of an object.
    pub(super) fn is_object(&self, value: u64) -> bool {
        self.table.find(value).is_some()
    }
}
