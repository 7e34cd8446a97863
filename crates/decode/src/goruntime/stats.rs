//! The runtime's memory figures, read from outside: what MemStats and
//! runtime/metrics would tell, without stopping the world.
//!
//! Sources: runtime/mstats.go (heapStatsDelta is a ring of three parts whose sum
//! is the total) and runtime/mgcpacer.go. The parts are read at slightly different
//! times, so figures may be off by what the program allocates in microseconds.

use model::go::CLASS_SIZES;
use model::{Addr, RuntimeMemory, Timestamp};

use super::layout::Layout;
use super::memory::Memory;
use super::{Process, RuntimeError};
use crate::bytes::Bytes;

/// heapStatsDelta, summed over its three parts.
#[derive(Clone, Copy, Debug, Default)]
struct HeapStats {
    committed: u64,
    released: u64,
    in_heap: u64,
    in_stacks: u64,
    in_work_bufs: u64,
    alloc_bytes: u64,
    free_bytes: u64,
    alloc_count: u64,
    free_count: u64,
}

/// Offsets in gcControllerState, alike in Go 1.21 to 1.27.
mod controller {
    pub(super) const GC_PERCENT: u64 = 0;
    pub(super) const MEMORY_LIMIT: u64 = 8;
    pub(super) const HEAP_GOAL: u64 = 72;
    pub(super) const HEAP_MARKED: u64 = 152;
}

/// Length of mstats.pause_end.
const PAUSES: u64 = 256;

impl<M: Memory> Process<'_, M> {
    /// The runtime's memory figures; what cannot be read is `None`.
    pub fn runtime_memory(&self) -> RuntimeMemory {
        let mut memory = RuntimeMemory::default();
        let _ = self.read_memstats(&mut memory);
        let _ = self.read_controller(&mut memory);
        memory.mem_profile_rate = self.profile_rate().ok();
        memory.goroutines = self.goroutine_count().ok();
        memory
    }

    fn read_memstats(&self, memory: &mut RuntimeMemory) -> Result<(), RuntimeError> {
        let at = self.variable(self.variables.memstats, "runtime.memstats")?;
        let layout = Layout::of(self.binary.version);
        let stats = self.heap_stats(at, &layout)?;
        let word = |offset: u64| -> Result<u64, RuntimeError> {
            Ok(self.memory.read_u64(Addr(at.0.wrapping_add(offset)))?)
        };
        // stacks_sys, mspan_sys, mcache_sys, buckhash_sys, gcMiscSys, other_sys.
        let mut system = [0; 6];
        for (index, slot) in system.iter_mut().enumerate() {
            *slot = word(layout.stacks_sys + index as u64 * 8)?;
        }
        let [os_stacks, metadata @ ..] = system;
        let heap_free = stats
            .committed
            .wrapping_sub(stats.in_heap)
            .wrapping_sub(stats.in_stacks)
            .wrapping_sub(stats.in_work_bufs);
        let metadata =
            metadata.iter().fold(stats.in_work_bufs, |sum, part| sum.wrapping_add(*part));
        memory.heap_in_use_bytes = Some(stats.in_heap);
        memory.heap_released_bytes = Some(stats.released);
        memory.heap_idle_bytes = Some(heap_free.wrapping_add(stats.released));
        memory.heap_alloc_bytes = Some(stats.alloc_bytes.wrapping_sub(stats.free_bytes));
        memory.heap_objects = Some(stats.alloc_count.wrapping_sub(stats.free_count));
        memory.total_alloc_bytes = Some(stats.alloc_bytes);
        memory.stacks_bytes = Some(stats.in_stacks);
        memory.metadata_bytes = Some(metadata);
        let mapped = stats.committed.wrapping_add(stats.released).wrapping_add(os_stacks);
        memory.sys_bytes = Some(mapped.wrapping_add(metadata).wrapping_sub(stats.in_work_bufs));
        let cycles = word(layout.numgc)?;
        memory.gc_cycles = Some(cycles & 0xffff_ffff);
        if let Some(before_last) = (cycles & 0xffff_ffff).checked_sub(2) {
            // pause_end, a ring of Unix nanoseconds, ends where numgc begins.
            let nanos = word(layout.numgc - (PAUSES - before_last % PAUSES) * 8)?;
            memory.heap_profile_time = Some(Timestamp((nanos / 1_000_000).cast_signed()));
        }
        memory.gc_forced_cycles = Some(cycles >> 32);
        memory.gc_cpu_fraction = Some(f64::from_bits(word(layout.numgc + 8)?));
        Ok(())
    }

    fn heap_stats(&self, at: Addr, layout: &Layout) -> Result<HeapStats, RuntimeError> {
        let size = layout.delta_size as usize;
        let bytes = self.memory.read_vec(at, size * 3)?;
        let mut stats = HeapStats::default();
        for part in bytes.chunks_exact(size) {
            let part = Bytes(part);
            let word = |offset: u64| part.u64(offset as usize).unwrap_or(0);
            let add = |sum: &mut u64, value: u64| *sum = sum.wrapping_add(value);
            add(&mut stats.committed, word(0));
            add(&mut stats.released, word(8));
            add(&mut stats.in_heap, word(16));
            add(&mut stats.in_stacks, word(24));
            add(&mut stats.in_work_bufs, word(32));
            // largeAlloc, largeAllocCount, smallAllocCount[68], then the same for frees.
            let frees = layout.large_alloc + 16 + CLASS_SIZES.len() as u64 * 8;
            add(&mut stats.alloc_bytes, word(layout.large_alloc));
            add(&mut stats.alloc_count, word(layout.large_alloc + 8));
            add(&mut stats.free_bytes, word(frees));
            add(&mut stats.free_count, word(frees + 8));
            for (class, class_size) in CLASS_SIZES.iter().enumerate() {
                let allocs = word(layout.large_alloc + 16 + class as u64 * 8);
                let freed = word(frees + 16 + class as u64 * 8);
                add(&mut stats.alloc_bytes, allocs.wrapping_mul(*class_size));
                add(&mut stats.alloc_count, allocs);
                add(&mut stats.free_bytes, freed.wrapping_mul(*class_size));
                add(&mut stats.free_count, freed);
            }
        }
        Ok(stats)
    }

    fn read_controller(&self, memory: &mut RuntimeMemory) -> Result<(), RuntimeError> {
        let at = self.variable(self.variables.gc_controller, "runtime.gcController")?;
        let word = |offset: u64| self.memory.read_u64(Addr(at.0.wrapping_add(offset)));
        let gogc = (word(controller::GC_PERCENT)? as u32).cast_signed();
        memory.gogc_percent = Some(gogc);
        memory.gomemlimit_bytes = Some(word(controller::MEMORY_LIMIT)?.cast_signed());
        memory.heap_live_bytes = Some(word(controller::HEAP_MARKED)?);
        // With GOGC=off the goal is set by GOMEMLIMIT alone, which is not stored.
        memory.heap_goal_bytes = if gogc >= 0 { Some(word(controller::HEAP_GOAL)?) } else { None };
        Ok(())
    }
}
