//! The runtime's memory figures, read from outside: what MemStats and
//! runtime/metrics would tell, without stopping the world.
//!
//! Sources: runtime/mstats.go (heapStatsDelta is a ring of three parts whose sum
//! is the total) and runtime/mgcpacer.go. The parts are read at slightly different
//! times, so figures may be off by what the program allocates in microseconds.

use model::{RuntimeMemory, Timestamp};

use super::layout::Layout;
use super::memory::Memory;
use super::metrics::{CONTROLLER_BYTES, Controller};
use super::{Process, RuntimeError};
use crate::bytes::Bytes;

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
        let layout = Layout::of(self.binary.version);
        let memstats = self.memstats(&layout)?;
        let stats = &memstats.heap;
        let word = |offset: u64| Bytes(&memstats.bytes).u64(offset as usize).unwrap_or(0);
        // stacks_sys, mspan_sys, mcache_sys, buckhash_sys, gcMiscSys, other_sys.
        let mut system = [0; 6];
        for (index, slot) in system.iter_mut().enumerate() {
            *slot = word(layout.stacks_sys + index as u64 * 8);
        }
        let [os_stacks, metadata @ ..] = system;
        let metadata = metadata.iter().fold(stats.in_metadata, |sum, part| sum.wrapping_add(*part));
        let (allocated, freed) = (&stats.allocated, &stats.freed);
        memory.heap_in_use_bytes = Some(stats.in_heap);
        memory.heap_released_bytes = Some(stats.released);
        memory.heap_idle_bytes = Some(stats.free().wrapping_add(stats.released));
        memory.heap_alloc_bytes = Some(allocated.bytes().wrapping_sub(freed.bytes()));
        memory.heap_objects = Some(allocated.objects().wrapping_sub(freed.objects()));
        memory.total_alloc_bytes = Some(allocated.bytes());
        memory.stacks_bytes = Some(stats.in_stacks);
        memory.metadata_bytes = Some(metadata);
        let mapped = stats.committed.wrapping_add(stats.released).wrapping_add(os_stacks);
        memory.sys_bytes = Some(mapped.wrapping_add(metadata).wrapping_sub(stats.in_metadata));
        let cycles = word(layout.numgc);
        memory.gc_cycles = Some(cycles & 0xffff_ffff);
        if let Some(before_last) = (cycles & 0xffff_ffff).checked_sub(2) {
            // pause_end, a ring of Unix nanoseconds, ends where numgc begins.
            let nanos = word(layout.numgc - (PAUSES - before_last % PAUSES) * 8);
            memory.heap_profile_time = Some(Timestamp((nanos / 1_000_000).cast_signed()));
        }
        memory.gc_forced_cycles = Some(cycles >> 32);
        memory.gc_cpu_fraction = Some(f64::from_bits(word(layout.numgc + 8)));
        Ok(())
    }

    fn read_controller(&self, memory: &mut RuntimeMemory) -> Result<(), RuntimeError> {
        let at = self.variable(self.variables.gc_controller, "runtime.gcController")?;
        let bytes = self.memory.read_vec(at, CONTROLLER_BYTES)?;
        let pacer = Controller::parse(&bytes).unwrap_or_default();
        memory.gogc_percent = Some(pacer.gogc_percent);
        let limit = pacer.memory_limit.cast_signed();
        memory.gomemlimit_bytes = Some(limit);
        memory.heap_live_bytes = Some(pacer.heap_marked);
        // Without GOGC and without a limit there is none.
        let has_goal = pacer.gogc_percent >= 0 || limit != i64::MAX;
        memory.heap_goal_bytes = has_goal.then(|| pacer.heap_goal());
        Ok(())
    }
}
