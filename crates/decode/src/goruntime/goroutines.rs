//! Goroutines of a running Go program, read from outside.
//!
//! `allgs` lists every g ever made. A waiting goroutine's registers are saved in
//! it, so its stack can be unwound with the function table's frame sizes; a
//! running one's are in the CPU, so only its creator is known (reading them would
//! mean stopping its thread). The program runs on meanwhile: a goroutine that
//! moves while it is read gives a partial stack, never a wrong frame count.
//! Source: runtime/runtime2.go, runtime/traceback.go.

use std::collections::HashMap;

use model::{Addr, Frame, Goroutine, GoroutineGroup, GoroutineSnapshot};

use super::layout::{Layout, wait_reason};
use super::memory::{BlockCache, Memory, MemoryError};
use super::{Process, RuntimeError};
use crate::bytes::Bytes;

/// A million goroutines are some programs' normal life; ten million are damage.
/// runtime.maxstacksize on 64 bits; more is a damaged `g`.
const STACK_BYTES_MAX: u64 = 1 << 30;

/// Their stacks alone are 8 GiB; a longer list is damage.
const GOROUTINES_MAX: usize = 4_000_000;
/// So many unreadable entries are no accident.
const SKIPPED_MAX: u64 = 1000;
const FRAMES_MAX: usize = 256;
/// Distinct stacks kept; further ones are counted under one empty stack.
const STACKS_MAX: usize = 100_000;
/// Unwinding reads this much of a stack in one go, and goes on where it ended.
const STACK_WINDOW: u64 = 16 << 10;
/// Most stack read for one goroutine; deeper ones end partial.
const STACK_READ_MAX: u64 = 1 << 20;

pub(super) mod status {
    pub(super) const RUNNABLE: u32 = 1;
    pub(super) const RUNNING: u32 = 2;
    pub(in crate::goruntime) const SYSCALL: u32 = 3;
    pub(super) const WAITING: u32 = 4;
    pub(super) const DEAD: u32 = 6;
    pub(super) const COPYSTACK: u32 = 8;
    pub(super) const PREEMPTED: u32 = 9;
    pub(super) const LEAKED: u32 = 10;
    pub(in crate::goruntime) const DEAD_EXTRA: u32 = 11;
    /// The GC scans the stack meanwhile.
    pub(in crate::goruntime) const SCAN: u32 = 0x1000;
}

/// The fields of a `runtime.g` that are read.
struct G {
    addr: Addr,
    stack_lo: u64,
    stack_hi: u64,
    sp: u64,
    pc: u64,
    status: u32,
    goid: u64,
    wait_since: i64,
    wait_reason: u8,
    gopc: Addr,
    startpc: Addr,
}

impl G {
    fn parse(addr: Addr, bytes: &[u8], layout: &Layout) -> Option<G> {
        let bytes = Bytes(bytes);
        let status = bytes.u32(layout.status)? & !status::SCAN;
        let syscall_sp = bytes.u64(layout.syscall_sp)?;
        let (sp, pc) = if status == status::SYSCALL && syscall_sp != 0 {
            (syscall_sp, bytes.u64(layout.syscall_sp + 8)?)
        } else {
            (bytes.u64(56)?, bytes.u64(64)?)
        };
        Some(G {
            addr,
            stack_lo: bytes.u64(0)?,
            stack_hi: bytes.u64(8)?,
            sp,
            pc,
            status,
            goid: bytes.u64(layout.goid)?,
            wait_since: bytes.u64(layout.goid + 16)?.cast_signed(),
            wait_reason: bytes.u8(layout.goid + 24)?,
            gopc: Addr(bytes.u64(layout.gopc)?),
            startpc: Addr(bytes.u64(layout.startpc)?),
        })
    }

    fn is_dead(&self) -> bool {
        !is_alive(self.status)
    }

    /// The program changes while it is read; what is no `g` at all is left out.
    fn is_plausible(&self) -> bool {
        self.is_dead() || (self.state() != "unknown" && self.stack_lo <= self.stack_hi)
    }

    fn state(&self) -> &'static str {
        state(self.status)
    }
}

/// Whether a status, with or without its scan bit, is that of a goroutine there is.
pub(crate) fn is_alive(status: u32) -> bool {
    !matches!(status & !status::SCAN, 0 | status::DEAD | status::DEAD_EXTRA)
}

/// The word for a status without its scan bit.
pub(crate) fn state(status: u32) -> &'static str {
    match status {
        status::RUNNABLE => "runnable",
        status::RUNNING => "running",
        status::SYSCALL => "syscall",
        status::WAITING | status::LEAKED => "waiting",
        status::COPYSTACK => "copystack",
        status::PREEMPTED => "preempted",
        _ => "unknown",
    }
}

impl<M: Memory> Process<'_, M> {
    /// How many goroutines there are, the runtime's own included.
    ///
    /// # Errors
    /// When `runtime.allgs` was not found or cannot be read.
    pub fn goroutine_count(&self) -> Result<u64, RuntimeError> {
        let mut count = 0;
        self.each_g(|g| count += u64::from(!g.is_dead()))?;
        Ok(count)
    }

    /// Every goroutine with its stack, grouped. `now_nanos` is the target's
    /// monotonic clock (CLOCK_MONOTONIC), from which waits are counted.
    ///
    /// # Errors
    /// When `runtime.allgs` was not found or cannot be read.
    pub fn goroutines(&self, now_nanos: i64) -> Result<GoroutineSnapshot, RuntimeError> {
        let mut collector = Collector {
            process: self,
            now_nanos,
            frames: HashMap::new(),
            stacks: HashMap::new(),
            creators: Vec::new(),
            overflow: None,
            snapshot: GoroutineSnapshot::default(),
        };
        let skipped = self.each_g(|g| collector.add(&g))?;
        if skipped > 0 {
            collector.snapshot.warnings.push(format!("{skipped} goroutines could not be read"));
        }
        Ok(collector.finish())
    }

    /// Calls `visit` with every g; returns how many could not be read.
    fn each_g(&self, mut visit: impl FnMut(G)) -> Result<u64, RuntimeError> {
        let allgs = self.variable(self.variables.allgs, "runtime.allgs")?;
        let layout = Layout::of(self.binary.version);
        let mut header = [0; 16];
        self.memory.read(allgs, &mut header)?;
        let header = Bytes(&header);
        let list = Addr(header.u64(0).unwrap_or(0));
        let listed = header.index(8).unwrap_or(0);
        let count = listed.min(GOROUTINES_MAX);
        let cache = BlockCache::for_about(self.memory, count as u64 * layout.g_size as u64);
        let mut skipped = (listed - count) as u64;
        let mut bytes = vec![0; layout.g_size];
        for index in 0..count as u64 {
            let slot = list.checked_add(index * 8).ok_or(MemoryError::Unmapped(list))?;
            let addr = Addr(cache.read_u64(slot)?);
            let g =
                cache.read(addr, &mut bytes).ok().and_then(|()| G::parse(addr, &bytes, &layout));
            match g.filter(G::is_plausible) {
                Some(g) => visit(g),
                None => skipped += 1,
            }
            if skipped > SKIPPED_MAX {
                return Ok(skipped.saturating_add(count as u64 - index));
            }
        }
        Ok(skipped)
    }
}

/// The part of a stack that was read last.
struct StackWindow<'a, M: Memory> {
    memory: &'a M,
    stack_hi: u64,
    start: u64,
    end_max: u64,
    bytes: Vec<u8>,
}

impl<'a, M: Memory> StackWindow<'a, M> {
    fn new(memory: &'a M, g: &G) -> Self {
        let end_max = g.sp.saturating_add(STACK_READ_MAX).min(g.stack_hi);
        StackWindow { memory, stack_hi: g.stack_hi, start: g.sp, end_max, bytes: Vec::new() }
    }

    /// The word at `at`; reads on when it lies past what was read.
    fn word(&mut self, at: u64) -> Option<u64> {
        let end = self.start + self.bytes.len() as u64;
        if at < self.start || at.checked_add(8)? > end {
            let len = self.stack_hi.checked_sub(at)?.min(STACK_WINDOW);
            if at >= self.end_max || len < 8 {
                return None;
            }
            self.bytes = self.memory.read_vec(Addr(at), len as usize).ok()?;
            self.start = at;
        }
        Bytes(&self.bytes).u64((at - self.start) as usize)
    }
}

struct Collector<'a, M: Memory> {
    process: &'a Process<'a, M>,
    now_nanos: i64,
    /// Resolved frames of each code address, with their `abi.FuncID`.
    frames: HashMap<Addr, Vec<(Frame, u8)>>,
    /// Stacks by their addresses (creator last).
    stacks: HashMap<(Vec<Addr>, Addr), usize>,
    creators: Vec<Option<Frame>>,
    overflow: Option<usize>,
    snapshot: GoroutineSnapshot,
}

impl<M: Memory> Collector<'_, M> {
    fn add(&mut self, g: &G) {
        if g.is_dead() {
            return;
        }
        let (addresses, is_partial) = self.unwind(g);
        let stack = self.stack(addresses, g.gopc);
        let is_waiting = g.state() == "waiting";
        let reason = is_waiting.then(|| wait_reason(self.process.binary.version, g.wait_reason));
        // The runtime notes the time only when a GC meets a goroutine that already waits.
        let wait_seconds = (is_waiting && g.wait_since > 0)
            .then(|| (self.now_nanos.saturating_sub(g.wait_since)).max(0) as f64 / 1e9);
        self.snapshot.goroutines.push(Goroutine {
            id: g.goid,
            state: g.state(),
            wait_reason: reason.flatten().unwrap_or("").to_owned(),
            wait_seconds,
            stack_bytes: g.stack_hi.saturating_sub(g.stack_lo).min(STACK_BYTES_MAX),
            stack,
            is_system: self.is_system(g.startpc),
            is_partial,
            address: g.addr,
        });
    }

    /// Return addresses of the stack, innermost first, each less one so that it
    /// lies in the call; and whether the walk ended before the stack did.
    fn unwind(&self, g: &G) -> (Vec<Addr>, bool) {
        if matches!(g.status, status::RUNNING | status::COPYSTACK) {
            return (Vec::new(), true);
        }
        let in_stack = |sp: u64| sp >= g.stack_lo && sp < g.stack_hi;
        if !in_stack(g.sp) {
            return (Vec::new(), true);
        }
        let mut window = StackWindow::new(self.process.memory, g);
        let mut addresses = Vec::new();
        let mut sp = g.sp;
        // The saved pc is where the goroutine goes on, right after its call; one
        // that has not started yet goes on at its function's first instruction.
        let first = self.process.bias.remove(Addr(g.pc));
        let is_call = first.is_some_and(|pc| self.func_entry(pc) != Some(pc));
        let mut next = self.code_at(Addr(g.pc), is_call);
        while let Some(call) = next {
            let Some(func) = self.process.table.func_at(call) else { break };
            let name = func.raw_name();
            if name == Some("runtime.goexit") {
                return (addresses, false);
            }
            if addresses.len() >= FRAMES_MAX {
                break;
            }
            addresses.push(call);
            let Some(size) = func.frame_size(call) else { break };
            let at = sp.saturating_add(size.into());
            let Some(caller) = window.word(at) else { break };
            // These two were injected by a signal: their caller did not call.
            let is_call = !matches!(name, Some("runtime.asyncPreempt" | "runtime.sigpanic"));
            next = self.code_at(Addr(caller), is_call);
            sp = at.saturating_add(8);
            if !in_stack(sp) {
                // Past the top: goexit's frame is the last word of the stack.
                return (addresses, false);
            }
        }
        (addresses, true)
    }

    /// Link-time address to look a frame up with: inside the call instruction
    /// where `pc` is a return address, `pc` itself where it is not.
    fn code_at(&self, pc: Addr, is_return: bool) -> Option<Addr> {
        let pc = self.process.bias.remove(pc)?;
        pc.0.checked_sub(u64::from(is_return)).map(Addr)
    }

    fn func_entry(&self, pc: Addr) -> Option<Addr> {
        self.process.table.func_at(pc).map(|func| func.entry)
    }

    fn stack(&mut self, addresses: Vec<Addr>, gopc: Addr) -> usize {
        let key = (addresses, gopc);
        if let Some(&index) = self.stacks.get(&key) {
            return index;
        }
        if self.stacks.len() >= STACKS_MAX {
            return self.overflow_stack();
        }
        let wrapper_id = Layout::of(self.process.binary.version).wrapper_id;
        let mut frames: Vec<Frame> = Vec::new();
        // Compiler-made wrappers are left out as Go's own traces leave them out,
        // but for those that a panic passed through.
        let mut keeps_wrapper = false;
        for &addr in &key.0 {
            for (frame, id) in self.frames_at(addr) {
                if *id != wrapper_id || keeps_wrapper {
                    frames.push(frame.clone());
                }
                keeps_wrapper = matches!(
                    frame.function.as_str(),
                    "runtime.gopanic" | "runtime.sigpanic" | "runtime.panicwrap"
                );
            }
        }
        let creator = self
            .process
            .bias
            .remove(gopc)
            .and_then(|pc| pc.0.checked_sub(1))
            .and_then(|pc| self.frames_at(Addr(pc)).first().map(|(frame, _)| frame.clone()));
        let index = self.snapshot.stacks.len();
        self.snapshot.stacks.push(frames);
        self.creators.push(creator);
        self.stacks.insert(key, index);
        index
    }

    /// The one empty stack that stands for all beyond [`STACKS_MAX`].
    fn overflow_stack(&mut self) -> usize {
        if let Some(index) = self.overflow {
            return index;
        }
        let index = self.snapshot.stacks.len();
        self.snapshot.stacks.push(Vec::new());
        self.creators.push(None);
        self.overflow = Some(index);
        let warning = format!("more than {STACKS_MAX} different stacks; the rest have none");
        self.snapshot.warnings.push(warning);
        index
    }

    fn frames_at(&mut self, addr: Addr) -> &[(Frame, u8)] {
        let table = &self.process.table;
        self.frames.entry(addr).or_insert_with(|| {
            table.frames(addr).into_iter().map(|logical| (logical.frame, logical.id)).collect()
        })
    }

    /// runtime.isSystemGoroutine: started by a function of the runtime, but for a
    /// few. Finalizers and cleanups count as the runtime's also while they run the
    /// program's code.
    fn is_system(&self, startpc: Addr) -> bool {
        let func = self.process.bias.remove(startpc).and_then(|pc| self.process.table.func_at(pc));
        let Some(name) = func.and_then(|func| func.raw_name()) else { return false };
        name.starts_with("runtime.")
            && !matches!(name, "runtime.main" | "runtime.corostart" | "runtime.handleAsyncEvent")
    }

    fn finish(self) -> GoroutineSnapshot {
        let mut snapshot = self.snapshot;
        let mut groups: HashMap<(usize, &'static str, String, bool), GoroutineGroup> =
            HashMap::new();
        for goroutine in &snapshot.goroutines {
            let reason = goroutine.wait_reason.clone();
            let key = (goroutine.stack, goroutine.state, reason, goroutine.is_system);
            let group = groups.entry(key).or_insert_with(|| GoroutineGroup {
                state: goroutine.state,
                wait_reason: goroutine.wait_reason.clone(),
                stack: goroutine.stack,
                created_by: self.creators.get(goroutine.stack).cloned().flatten(),
                is_system: goroutine.is_system,
                ..GoroutineGroup::default()
            });
            group.count += 1;
            group.stack_bytes = group.stack_bytes.saturating_add(goroutine.stack_bytes);
            group.wait_seconds_max = match (group.wait_seconds_max, goroutine.wait_seconds) {
                (Some(longest), Some(wait)) => Some(longest.max(wait)),
                (longest, wait) => longest.or(wait),
            };
        }
        snapshot.groups = groups.into_values().collect();
        snapshot.groups.sort_by(|a, b| {
            (b.count, a.stack, a.state, &a.wait_reason).cmp(&(
                a.count,
                b.stack,
                b.state,
                &b.wait_reason,
            ))
        });
        snapshot
    }
}
