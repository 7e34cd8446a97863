//! Roots that hang from objects and from the runtime's queues: finalizers, cleanups, weak
//! handles; and the allocation stacks of sampled objects.
//!
//! A finalizer keeps alive what its object points to, not the object. Source:
//! runtime/mheap.go (special), mgcmark.go (markrootSpans), mfinal.go, mcleanup.go.

use ahash::AHashMap;
use model::Addr;
use model::heap::{HolderId, HolderKind, ObjectId};

use super::bounds::{Circle, Room, Strings};
use super::layout::Layout;
use super::pointers::Pointers;
use super::roots::Roots;
use super::spans::Span;
use crate::bytes::Bytes;
use crate::goruntime::{Memory, MemoryImage};

/// Frames of a sampled allocation (`runtime.maxProfStackDepth`).
const STACK_MAX: u64 = 1024;

/// The runtime's queues, at run-time addresses.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Queues {
    pub(super) allfin: Option<Addr>,
    pub(super) cleanups: Option<Addr>,
}

/// Reads specials.
pub(super) struct Specials<'a, 'm> {
    pub(super) memory: &'m MemoryImage<'a>,
    pub(super) layout: &'m Layout,
    pub(super) pointers: &'m Pointers<'a, 'm>,
    holders: AHashMap<HolderKind, HolderId>,
    /// Bytes of lists that may still be read: lists can share their tails.
    room: Room,
    /// Sampled objects and the addresses of their profiling buckets.
    pub(super) sampled: Vec<(ObjectId, u64)>,
}

impl<'a, 'm> Specials<'a, 'm> {
    pub(super) fn new(
        memory: &'m MemoryImage<'a>,
        layout: &'m Layout,
        pointers: &'m Pointers<'a, 'm>,
    ) -> Self {
        let (holders, sampled) = (AHashMap::new(), Vec::new());
        let room = Room::of(memory.bytes());
        Specials { memory, layout, pointers, holders, room, sampled }
    }

    fn holder(
        &mut self,
        kind: HolderKind,
        roots: &mut Roots<'_, '_>,
        strings: &mut Strings,
    ) -> HolderId {
        *self.holders.entry(kind).or_insert_with(|| {
            let name = match kind {
                HolderKind::Finalizer => "finalizers",
                HolderKind::Cleanup => "cleanups",
                _ => "weak pointers",
            };
            roots.holder(kind, strings.intern(name))
        })
    }

    /// The specials of one span.
    pub(super) fn span(
        &mut self,
        index: usize,
        span: &Span<'a>,
        roots: &mut Roots<'a, '_>,
        strings: &mut Strings,
    ) {
        let layout = self.layout;
        let mut next = span.specials;
        let mut circle = Circle::default();
        // At most one of each object.
        let mut finalized = 0;
        while next != 0 && !circle.is_closed_by(next) && self.room.take(layout.special_end) {
            let Some(bytes) = self.memory.slice(Addr(next), layout.special_end + 24) else { break };
            let bytes = Bytes(bytes);
            let end = layout.special_end as usize;
            let offset = match layout.minor {
                24.. => bytes.u64(8).unwrap_or(0),
                _ => bytes.u16(8).unwrap_or(0).into(),
            };
            let kind = bytes.u8(layout.special_kind as usize).unwrap_or(0);
            let slot = if span.is_large { 0 } else { offset / span.elem };
            let word = |at: usize| bytes.u64(end + at).unwrap_or(0);
            match kind {
                0 => {}
                _ if kind == layout.kind_finalizer => {
                    let holder = self.holder(HolderKind::Finalizer, roots, strings);
                    roots.point(holder, 0, word(0));
                    // They lie in the order of their objects.
                    if slot >= finalized {
                        finalized = slot + 1;
                        self.pointers.each(span, slot, |_, value| {
                            roots.point(holder, 0, value);
                        });
                    }
                }
                _ if kind == layout.kind_weak_handle => {
                    let holder = self.holder(HolderKind::WeakHandle, roots, strings);
                    roots.point(holder, 0, word(0));
                }
                _ if kind == layout.kind_cleanup => {
                    let holder = self.holder(HolderKind::Cleanup, roots, strings);
                    // Since 1.26 a call, a function and its argument.
                    let words = if layout.minor >= 26 { 3 } else { 1 };
                    (0..words).for_each(|at| {
                        roots.point(holder, 0, word(at * 8));
                    });
                }
                _ if kind == layout.kind_profile => {
                    if let Some(object) = roots.table.columns.object_at(index, slot) {
                        self.sampled.push((object, word(0)));
                    }
                }
                _ => {}
            }
            next = bytes.u64(0).unwrap_or(0);
        }
    }

    /// Finalizers and cleanups that wait for their turn.
    pub(super) fn queues(
        &mut self,
        queues: Queues,
        roots: &mut Roots<'a, '_>,
        strings: &mut Strings,
    ) {
        let read = |addr: Option<Addr>, offset| {
            addr.and_then(|at| at.checked_add(offset)).and_then(|at| self.memory.read_u64(at).ok())
        };
        let (finalizers, cleanups) = (read(queues.allfin, 0), read(queues.cleanups, 128));
        // alllink, next, cnt, fin: each 40 bytes of which fn, arg and two types are pointers.
        self.blocks(finalizers, [0, 16, 24, 40, 101], HolderKind::Finalizer, roots, strings);
        if self.layout.minor >= 25 {
            let step = if self.layout.minor >= 26 { 24 } else { 8 };
            self.blocks(cleanups, [16, 24, 32, step, 8192], HolderKind::Cleanup, roots, strings);
        }
    }

    /// A list of blocks: offsets of link, count and entries; size and largest number of
    /// entries.
    fn blocks(
        &mut self,
        first: Option<u64>,
        [link, count, entries, step, most]: [u64; 5],
        kind: HolderKind,
        roots: &mut Roots<'a, '_>,
        strings: &mut Strings,
    ) {
        let mut next = first.unwrap_or(0);
        let mut circle = Circle::default();
        while next != 0 && !circle.is_closed_by(next) && !roots.is_full() {
            let word = |offset: u64| self.memory.read_u64(Addr(next.wrapping_add(offset))).ok();
            let used = word(count).map_or(0, |count| u64::from(count as u32)).min(most);
            if !self.room.take(entries + used * step) {
                break;
            }
            let bytes = self.memory.slice(Addr(next.wrapping_add(entries)), used * step);
            let bytes = Bytes(bytes.unwrap_or(&[]));
            let following = word(link).unwrap_or(0);
            for at in (0..bytes.0.len()).step_by(8) {
                let value = bytes.u64(at).unwrap_or(0);
                if roots.is_object(value) {
                    let holder = self.holder(kind, roots, strings);
                    roots.point(holder, 0, value);
                }
            }
            next = following;
        }
    }
}

/// The stack of a profiling bucket, as return addresses (`runtime.bucket`).
pub(super) fn bucket_stack(memory: &MemoryImage<'_>, bucket: u64) -> Vec<u64> {
    let count = memory.read_u64(Addr(bucket.wrapping_add(40))).unwrap_or(0).min(STACK_MAX);
    let bytes = memory.slice(Addr(bucket.wrapping_add(48)), count * 8).unwrap_or(&[]);
    (0..bytes.len() / 8).filter_map(|index| Bytes(bytes).u64(index * 8)).collect()
}
