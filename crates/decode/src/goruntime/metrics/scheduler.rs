//! The scheduler's figures: runtime/metrics.go (`schedStatsAggregate`), proc.go, debug.go.

use model::Addr;

use super::layout::{G_M, Layout, P_STATUS};
use crate::bytes::Bytes;
use crate::goruntime::goroutines::status;
use crate::goruntime::memory::{Memory, MemoryError};
use crate::goruntime::{Process, RuntimeError};

/// Lists beyond these are damage: a machine has no more processors, and a program ends at
/// 10,000 threads unless it asks for more.
const PROCESSORS_MAX: u64 = 1 << 12;
const THREADS_MAX: usize = 1 << 15;

/// p.status: it is at work; it is left over from a larger GOMAXPROCS.
const P_RUNNING: u32 = 1;
const P_DEAD: u32 = 4;

/// Sums over all threads that the runtime has made (runtime.allm).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Threads {
    pub(super) count: u64,
    pub(super) cgo_calls: u64,
    pub(super) lock_wait_nanos: u64,
}

/// Sums over all processors (runtime.allp).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Processors {
    /// Goroutines that ended, kept for the next ones.
    pub(super) free_goroutines: u64,
    pub(super) goroutines_created: u64,
    pub(super) cleanups_queued: u64,
    pub(super) running: u64,
    pub(super) in_syscall: u64,
    pub(super) runnable: u64,
}

/// What is read of `runtime.sched`.
pub(super) struct Sched {
    bytes: Vec<u8>,
    layout: Layout,
}

impl Sched {
    pub(super) fn bytes(&self) -> Bytes<'_> {
        Bytes(&self.bytes)
    }

    pub(super) fn word(&self, offset: usize) -> u64 {
        self.bytes().u64(offset).unwrap_or(0)
    }

    fn half(&self, offset: usize) -> u64 {
        u64::from(self.bytes().u32(offset).unwrap_or(0))
    }

    /// mcount: made and not freed.
    pub(super) fn threads(&self) -> u64 {
        self.word(self.layout.threads_made).wrapping_sub(self.word(self.layout.threads_freed))
    }

    /// Goroutines of the runtime itself.
    pub(super) fn system_goroutines(&self) -> u64 {
        self.half(self.layout.system_goroutines)
    }

    /// gcount(true): those that were ever made, less those that wait to be used again. A sum
    /// of figures that change meanwhile can be too small; the runtime puts it right likewise.
    pub(super) fn goroutines(&self, made: u64, processors: &Processors) -> u64 {
        let lists = self.layout.free_lists.iter().filter(|offset| **offset != 0);
        let free = lists.fold(processors.free_goroutines, |sum, offset| sum + self.half(*offset));
        made.saturating_sub(free).max(1)
    }

    /// Those in the queue that all processors share.
    pub(super) fn queued(&self) -> u64 {
        self.half(self.layout.run_queue)
    }

    /// Those in system calls whose processor went on without them.
    pub(super) fn in_syscall(&self) -> u64 {
        let count = self.bytes().i32(self.layout.in_syscall).unwrap_or(0);
        u64::from(count.max(0).unsigned_abs())
    }
}

impl<M: Memory> Process<'_, M> {
    pub(super) fn sched(&self, layout: Layout) -> Result<Sched, RuntimeError> {
        let at = self.variable(self.variables.sched, "runtime.sched")?;
        Ok(Sched { bytes: self.memory.read_vec(at, layout.sched_size)?, layout })
    }

    pub(super) fn threads(&self, layout: &Layout) -> Result<Threads, RuntimeError> {
        let first = self.variable(self.variables.allm, "runtime.allm")?;
        let mut next = Addr(self.memory.read_u64(first)?);
        let mut threads = Threads::default();
        let mut bytes = vec![0; layout.m_size];
        for _ in 0..THREADS_MAX {
            if next.is_nil() {
                return Ok(threads);
            }
            self.memory.read(next, &mut bytes)?;
            let m = Bytes(&bytes);
            let add = |sum: &mut u64, offset: usize| {
                *sum = sum.wrapping_add(m.u64(offset).unwrap_or(0));
            };
            threads.count += 1;
            add(&mut threads.cgo_calls, layout.m_cgo_calls);
            if layout.m_lock_wait != 0 {
                add(&mut threads.lock_wait_nanos, layout.m_lock_wait);
            }
            next = Addr(m.u64(layout.m_next).unwrap_or(0));
        }
        Err(MemoryError::Unmapped(next).into())
    }

    pub(super) fn processors(&self, layout: &Layout) -> Result<Processors, RuntimeError> {
        let at = self.variable(self.variables.allp, "runtime.allp")?;
        let mut header = [0; 16];
        self.memory.read(at, &mut header)?;
        let header = Bytes(&header);
        let list = Addr(header.u64(0).unwrap_or(0));
        let count = header.u64(8).unwrap_or(0);
        if count > PROCESSORS_MAX {
            return Err(MemoryError::Unmapped(at).into());
        }
        let pointers = self.memory.read_vec(list, count as usize * 8)?;
        let mut processors = Processors::default();
        let mut bytes = vec![0; layout.p_size];
        let mut is_dead = false;
        for index in 0..count as usize {
            let p = Addr(Bytes(&pointers).u64(index * 8).unwrap_or(0));
            self.memory.read(p, &mut bytes)?;
            // Go stops at the first dead one where it counts by state, and only there.
            is_dead |= Bytes(&bytes).u32(P_STATUS) == Some(P_DEAD);
            self.add_processor(&mut processors, p, Bytes(&bytes), is_dead, layout)?;
        }
        Ok(processors)
    }

    fn add_processor(
        &self,
        sums: &mut Processors,
        addr: Addr,
        p: Bytes<'_>,
        is_dead: bool,
        layout: &Layout,
    ) -> Result<(), RuntimeError> {
        let half = |offset: usize| p.u32(offset).unwrap_or(0);
        let word = |offset: usize| p.u64(offset).unwrap_or(0);
        sums.free_goroutines += u64::from(half(layout.p_free_list));
        if layout.minor < 26 {
            return Ok(());
        }
        sums.cleanups_queued = sums.cleanups_queued.wrapping_add(word(layout.p_cleanups_queued));
        if is_dead {
            return Ok(());
        }
        let created = word(layout.p_goroutines_created);
        sums.goroutines_created = sums.goroutines_created.wrapping_add(created);
        if half(P_STATUS) == P_RUNNING {
            let thread = Addr(word(layout.p_m));
            match self.is_in_syscall(addr, thread, layout)? {
                true => sums.in_syscall += 1,
                false => sums.running += 1,
            }
        }
        let queue = layout.p_run_queue;
        let queued = half(queue + 4).wrapping_sub(half(queue)).cast_signed();
        let next = u64::from(word(layout.p_run_next) != 0);
        sums.runnable += u64::from(queued.max(0).unsigned_abs()) + next;
        Ok(())
    }

    /// setBlockOnExitSyscall: the processor still belongs to a thread in a system call.
    fn is_in_syscall(&self, p: Addr, m: Addr, layout: &Layout) -> Result<bool, RuntimeError> {
        if m.is_nil() {
            return Ok(false);
        }
        let thread = self.memory.read_vec(m, layout.m_size)?;
        let thread = Bytes(&thread);
        let g = Addr(thread.u64(layout.m_current).unwrap_or(0));
        if g.is_nil() || thread.u64(layout.m_p) != Some(p.0) {
            return Ok(false);
        }
        let g = self.memory.read_vec(g, layout.shared.status + 4)?;
        let g = Bytes(&g);
        let state = g.u32(layout.shared.status).unwrap_or(0) & !status::SCAN;
        let is_its_own = g.u64(G_M) == Some(m.0);
        Ok(is_its_own && matches!(state, status::SYSCALL | status::DEAD_EXTRA))
    }
}
