//! The allocator's figures: runtime/mstats.go (`heapStatsDelta`, `mstats`).

use model::go::CLASS_SIZES;

use crate::bytes::Bytes;
use crate::goruntime::layout::Layout;

/// heapStatsDelta, summed over the three parts of its ring: their sum is the total.
#[derive(Clone, Copy, Debug)]
pub(in crate::goruntime) struct HeapStats {
    pub(in crate::goruntime) committed: u64,
    pub(in crate::goruntime) released: u64,
    pub(in crate::goruntime) in_heap: u64,
    pub(in crate::goruntime) in_stacks: u64,
    /// Work buffers, and to Go 1.24 the bits that say where pointers are.
    pub(in crate::goruntime) in_metadata: u64,
    pub(in crate::goruntime) tiny_allocs: u64,
    pub(in crate::goruntime) allocated: Sized,
    pub(in crate::goruntime) freed: Sized,
}

/// Objects by size: large ones, and by size class.
#[derive(Clone, Copy, Debug)]
pub(in crate::goruntime) struct Sized {
    large_bytes: u64,
    pub(in crate::goruntime) large_count: u64,
    pub(in crate::goruntime) class_counts: [u64; CLASS_SIZES.len()],
}

impl Sized {
    const BYTES: usize = 16 + CLASS_SIZES.len() * 8;

    fn add(&mut self, bytes: Bytes<'_>, at: usize) {
        let word = |offset: usize| bytes.u64(at + offset).unwrap_or(0);
        self.large_bytes = self.large_bytes.wrapping_add(word(0));
        self.large_count = self.large_count.wrapping_add(word(8));
        for (class, count) in self.class_counts.iter_mut().enumerate() {
            *count = count.wrapping_add(word(16 + class * 8));
        }
    }

    /// How many, with large ones.
    pub(in crate::goruntime) fn objects(&self) -> u64 {
        self.class_counts.iter().fold(self.large_count, |sum, count| sum.wrapping_add(*count))
    }

    /// Their slots' bytes.
    pub(in crate::goruntime) fn bytes(&self) -> u64 {
        let sizes = self.class_counts.iter().zip(CLASS_SIZES);
        sizes
            .fold(self.large_bytes, |sum, (count, size)| sum.wrapping_add(count.wrapping_mul(size)))
    }
}

impl HeapStats {
    /// Reads the ring from the beginning of `runtime.memstats`.
    pub(in crate::goruntime) fn parse(memstats: &[u8], layout: &Layout) -> HeapStats {
        const NONE: Sized =
            Sized { large_bytes: 0, large_count: 0, class_counts: [0; CLASS_SIZES.len()] };
        let mut stats = HeapStats {
            committed: 0,
            released: 0,
            in_heap: 0,
            in_stacks: 0,
            in_metadata: 0,
            tiny_allocs: 0,
            allocated: NONE,
            freed: NONE,
        };
        let large_alloc = layout.large_alloc as usize;
        // tinyAllocCount is the word before largeAlloc, work buffers and what else is metadata
        // are between the stacks and it.
        let tiny_allocs = large_alloc - 8;
        for part in memstats.chunks_exact(layout.delta_size as usize).take(3) {
            let part = Bytes(part);
            let add = |sum: &mut u64, offset: usize| {
                *sum = sum.wrapping_add(part.u64(offset).unwrap_or(0));
            };
            add(&mut stats.committed, 0);
            add(&mut stats.released, 8);
            add(&mut stats.in_heap, 16);
            add(&mut stats.in_stacks, 24);
            for offset in (32..tiny_allocs).step_by(8) {
                add(&mut stats.in_metadata, offset);
            }
            add(&mut stats.tiny_allocs, tiny_allocs);
            stats.allocated.add(part, large_alloc);
            stats.freed.add(part, large_alloc + Sized::BYTES);
        }
        stats
    }

    /// Free spans that were not given back.
    pub(in crate::goruntime) fn free(&self) -> u64 {
        let used = self.in_heap.wrapping_add(self.in_stacks).wrapping_add(self.in_metadata);
        self.committed.wrapping_sub(used)
    }
}
