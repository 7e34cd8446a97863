//! Collects what holds objects from outside the heap.

use model::StrId;
use model::heap::{Holder, HolderId, HolderKind, RootPointer};

use super::spans::SpanTable;

/// Holders and their pointers, as they are found.
pub(super) struct Roots<'a, 't> {
    pub(super) table: &'t SpanTable<'a>,
    pub(super) holders: Vec<Holder>,
    pub(super) pointers: Vec<RootPointer>,
}

impl<'a, 't> Roots<'a, 't> {
    pub(super) fn new(table: &'t SpanTable<'a>) -> Roots<'a, 't> {
        Roots { table, holders: Vec::new(), pointers: Vec::new() }
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
        // Each stands for at least one word of memory that was read.
        let id = HolderId(self.holders.len() as u32);
        self.holders.push(holder);
        id
    }

    /// Notes a pointer of a holder; what points to no object is left out.
    pub(super) fn point(&mut self, holder: HolderId, offset: u64, value: u64) {
        if let Some(found) = self.table.find(value) {
            let slot = u32::try_from(offset / 8).unwrap_or(u32::MAX);
            self.pointers.push(RootPointer { holder, slot, target: found.object });
        }
    }

    /// Reports whether an address is one of an object.
    pub(super) fn is_object(&self, value: u64) -> bool {
        self.table.find(value).is_some()
    }
}
