//! The allocator's figures: runtime/mstats.go (`heapStatsDelta`, `mstats`).
//!
//! `memstats.heapStats` is a ring of three parts whose sum is the total. `metrics.Read` in the
//! program moves it on: new figures go to the next part, then the two older parts become one
//! and the free one is cleared. Meanwhile a sum of all three counts some twice, or, when it
//! takes longer than that, not at all.

use model::go::CLASS_SIZES;

use crate::bytes::Bytes;
use crate::goruntime::layout::Layout;
use crate::goruntime::memory::Memory;
use crate::goruntime::{Process, RuntimeError};

/// Tries to find the ring at rest. In most programs the first succeeds; in one that does nothing
/// but read its own statistics, one reading in seventy found it in none of them.
const TRIES: usize = 2000;

/// Readings that must fit together. Of a ring that goes round all the time each may be torn in the
/// same way; that more than half of them are has not been seen.
const READINGS: usize = 5;

const PARTS: u32 = 3;

/// The beginning of runtime.memstats, up to the counts of cycles.
pub(in crate::goruntime) struct MemStats {
    pub(in crate::goruntime) heap: HeapStats,
    /// The ring was at rest, so that the heap's figures belong together.
    pub(in crate::goruntime) is_settled: bool,
    pub(in crate::goruntime) bytes: Vec<u8>,
}

impl<M: Memory> Process<'_, M> {
    pub(in crate::goruntime) fn memstats(&self, layout: &Layout) -> Result<MemStats, RuntimeError> {
        let at = self.variable(self.variables.memstats, "runtime.memstats")?;
        let bytes = self.memory.read_vec(at, layout.numgc as usize + 16)?;
        let ring_bytes = layout.delta_size as usize * 3 + 4;
        let mut rings: [Vec<u8>; READINGS] = [(); READINGS].map(|()| vec![0; ring_bytes]);
        for _ in 0..TRIES {
            for ring in &mut rings {
                self.memory.read(at, ring)?;
            }
            if let Some(heap) = settled(&rings, layout) {
                return Ok(MemStats { heap, is_settled: true, bytes });
            }
            if Bytes(&rings[READINGS - 1]).u32(ring_bytes - 4).is_none_or(|part| part >= PARTS) {
                // Not a ring: damaged, or another layout.
                break;
            }
        }
        Ok(MemStats {
            heap: HeapStats::parse(&rings[READINGS - 1], layout),
            is_settled: false,
            bytes,
        })
    }
}

/// The reading in the middle, if it is whole: the ring did not move on, its free part was
/// cleared, and nothing that only grows is less than before it or more than after it. The
/// last is for rings that went round between two readings and look the same. All may have
/// met the ring while its total was between two parts: then what is left adds up to no heap.
fn settled(rings: &[impl AsRef<[u8]>], layout: &Layout) -> Option<HeapStats> {
    let size = layout.delta_size as usize;
    let part_of = |ring: &[u8]| Bytes(ring).u32(size * 3).filter(|part| *part < PARTS);
    let part = part_of(rings.first()?.as_ref())?;
    let free = (part as usize + 1) % 3 * size;
    let is_clear = |ring: &[u8]| ring.get(free..free + size).is_some_and(is_zero);
    let rests = |ring: &[u8]| part_of(ring) == Some(part) && is_clear(ring);
    if !rings.iter().all(|ring| rests(ring.as_ref())) {
        return None;
    }
    let readings: Vec<HeapStats> =
        rings.iter().map(|ring| HeapStats::parse(ring.as_ref(), layout)).collect();
    let middle = *readings.get(readings.len() / 2)?;
    let is_whole = readings.is_sorted_by(HeapStats::is_before) && middle.is_a_heap();
    is_whole.then_some(middle)
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

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

    /// Nothing of it is less later.
    fn is_before(&self, later: &Sized) -> bool {
        let mut classes = self.class_counts.iter().zip(&later.class_counts);
        self.large_bytes <= later.large_bytes
            && self.large_count <= later.large_count
            && classes.all(|(count, later)| count <= later)
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

    fn is_before(&self, later: &HeapStats) -> bool {
        self.tiny_allocs <= later.tiny_allocs
            && self.allocated.is_before(&later.allocated)
            && self.freed.is_before(&later.freed)
    }

    /// Something was allocated, no more was freed, and what is used is committed.
    fn is_a_heap(&self) -> bool {
        let used = [self.in_heap, self.in_stacks, self.in_metadata];
        let used = used.iter().try_fold(0_u64, |sum, part| sum.checked_add(*part));
        self.allocated.objects() > 0
            && self.freed.is_before(&self.allocated)
            && used.is_some_and(|used| used <= self.committed)
    }

    /// Free spans that were not given back.
    pub(in crate::goruntime) fn free(&self) -> u64 {
        let used = self.in_heap.wrapping_add(self.in_stacks).wrapping_add(self.in_metadata);
        self.committed.wrapping_sub(used)
    }
}

#[cfg(test)]
mod tests {
    use super::settled;
    use crate::goruntime::layout::Layout;
    use model::GoVersion;

    #[test]
    fn a_ring_that_moves_is_not_taken() {
        let layout = Layout::of(GoVersion { major: 1, minor: 26, patch: 0 });
        // Large objects allocated, by part.
        let ring = |part: u32, counts: [u64; 3]| {
            let mut bytes = Vec::new();
            for count in counts {
                let mut words = vec![0; layout.delta_size as usize / 8];
                words[layout.large_alloc as usize / 8 + 1] = count;
                bytes.extend(words.into_iter().flat_map(u64::to_le_bytes));
            }
            bytes.extend_from_slice(&part.to_le_bytes());
            bytes
        };
        let check =
            |rings: [&[u8]; 3]| settled(&rings, &layout).map(|heap| heap.allocated.large_count);
        let rests = ring(1, [7, 1, 0]);
        let grows = ring(1, [7, 2, 0]);
        assert_eq!(check([&rests; 3]), Some(8));
        assert_eq!(check([&rests, &grows, &grows]), Some(9));
        // It moved on; the free part is not free yet; it went round and was read halfway.
        assert_eq!(check([&rests, &rests, &ring(2, [7, 1, 0])]), None);
        assert_eq!(check([&ring(2, [7, 1, 0]), &ring(2, [0, 8, 0]), &ring(2, [0, 8, 0])]), None);
        assert_eq!(check([&rests, &ring(1, [0, 1, 0]), &rests]), None);
        assert_eq!(check([&rests, &ring(1, [8, 8, 0]), &grows]), None);
        // Two that were torn alike are found by what comes after them.
        let torn = ring(1, [7, 4, 0]);
        assert_eq!(settled(&[&rests, &torn, &torn, &rests, &rests], &layout).map(drop), None);
        let ends = [&rests, &rests, &rests, &torn, &torn].map(Vec::as_slice);
        assert_eq!(settled(&ends, &layout).map(|heap| heap.allocated.large_count), Some(8));
        // Its total was nowhere, each time; more was freed than allocated.
        assert_eq!(check([&ring(1, [0; 3]); 3]), None);
        let mut odd = ring(1, [7, 1, 0]);
        let freed = layout.large_alloc as usize + super::Sized::BYTES + 8;
        odd[freed..freed + 8].copy_from_slice(&9_u64.to_le_bytes());
        assert_eq!(check([&odd; 3]), None);
        // Damage.
        assert_eq!(check([&ring(3, [0; 3]); 3]), None);
        assert_eq!(check([&[]; 3]), None);
    }
}
