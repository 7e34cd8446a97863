//! What goroutines hold: the live words of their frames, as the collector finds them.
//!
//! Frames that wait at a call have maps of their live words (PCDATA, FUNCDATA). The
//! frame in which a running goroutine was frozen is at no safe point; it is scanned
//! conservatively, as the runtime scans a goroutine it preempted by a signal. Variables
//! that live on the stack but have their address taken are stack objects, which count
//! only when something points to them. Source: runtime/mgcmark.go (scanstack),
//! stkframe.go, mgcstack.go.

use std::cell::RefCell;

use ahash::AHashMap;
use model::Addr;

use super::bounds::{Circle, Room};
use super::layout::Layout;
use super::modules::Module;
use super::pointers::each_masked;
use crate::bytes::Bytes;
use crate::goruntime::{Memory, MemoryImage, ThreadRegisters};
use crate::pclntab::Func;

const PCDATA_STACK_MAP: u32 = 1;
const FUNCDATA_ARGS: u8 = 0;
const FUNCDATA_LOCALS: u8 = 1;
const FUNCDATA_OBJECTS: u8 = 2;
/// A gigabyte of stack with the smallest frames.
const FRAMES_MAX: usize = 1 << 22;
const STACK_MAX: u64 = 1 << 30;
const OBJECTS_MAX: usize = 1 << 12;
/// Live words that a stack may have for each of its words: arguments belong to two frames.
/// The frames of a damaged table overlap without end.
const WORDS_PER_WORD: u64 = 4;
const WORDS_FREE: u64 = 1 << 10;

/// A goroutine as its `g` describes it.
#[derive(Clone, Debug, Default)]
pub(super) struct Routine {
    pub(super) id: u64,
    pub(super) status: u32,
    pub(super) wait_reason: u8,
    pub(super) stack_lo: u64,
    pub(super) stack_hi: u64,
    g: u64,
}

/// A live word of a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LiveWord {
    pub(super) addr: u64,
    pub(super) value: u64,
    /// It may be no pointer.
    pub(super) is_conservative: bool,
}

/// One frame.
#[derive(Clone, Debug, Default)]
pub(super) struct ScannedFrame {
    /// Inside the call that the frame waits in; the interrupted instruction of a running
    /// one.
    pub(super) pc: u64,
    /// It waits in a call.
    pub(super) is_call: bool,
    /// The stack pointer of the caller after the return: DWARF's frame base.
    pub(super) cfa: u64,
    pub(super) words: Vec<LiveWord>,
}

/// All that a goroutine holds.
#[derive(Clone, Debug, Default)]
pub(super) struct Scan {
    pub(super) frames: Vec<ScannedFrame>,
    /// Registers of the thread that ran it, or those saved when it was preempted.
    pub(super) registers: Vec<u64>,
    /// The closure it is about to enter, deferred calls.
    pub(super) saved: Vec<u64>,
    /// Frames were guessed: no function table knew the code.
    pub(super) is_partial: bool,
}

/// What is known of a code address; the same for all goroutines that wait there.
struct Site<'a> {
    frame_size: u64,
    name: Option<&'a str>,
    args: Words<'a>,
    locals: Words<'a>,
    /// Its `runtime.stackObjectRecord`s.
    objects: &'a [u8],
    rodata: u64,
    is_top: bool,
    is_reflect: bool,
    entry: u64,
    deferreturn: u32,
}

/// Live words of an area.
enum Words<'a> {
    None,
    /// No map: everything counts.
    All(u64),
    Mask(u64, &'a [u8]),
}

/// A variable that lies on the stack and has its address taken.
struct StackObject<'a> {
    /// From the frame's base.
    offset: i32,
    size: u32,
    ptr_bytes: u64,
    mask: Option<&'a [u8]>,
}

/// Scans stacks.
pub(super) struct Stacks<'a, 'm> {
    pub(super) memory: &'m MemoryImage<'a>,
    pub(super) modules: &'m [Module<'a>],
    pub(super) layout: &'m Layout,
    pub(super) threads: &'m [ThreadRegisters],
    /// `runtime.m.vdsoSP`.
    vdso_sp: u64,
    sites: AHashMap<u64, Option<std::rc::Rc<Site<'a>>>>,
}

mod status {
    pub(super) const RUNNING: u32 = 2;
    pub(super) const SYSCALL: u32 = 3;
    pub(super) const COPYSTACK: u32 = 8;
    pub(super) const SCAN: u32 = 0x1000;
}

impl<'a, 'm> Stacks<'a, 'm> {
    pub(super) fn new(
        memory: &'m MemoryImage<'a>,
        modules: &'m [Module<'a>],
        layout: &'m Layout,
        threads: &'m [ThreadRegisters],
    ) -> Stacks<'a, 'm> {
        let vdso_sp = match layout.minor {
            21 => 808,
            22 => 1120,
            23 => 856,
            24 => 904,
            _ => 896,
        };
        Stacks { memory, modules, layout, threads, vdso_sp, sites: AHashMap::new() }
    }

    fn word(&self, addr: u64) -> Option<u64> {
        self.memory.read_u64(Addr(addr)).ok()
    }

    fn field(&self, base: u64, offset: u64) -> Option<u64> {
        self.word(base.checked_add(offset)?)
    }

    /// Reads a `g`; `None` for dead ones.
    pub(super) fn routine(&self, g: u64) -> Option<Routine> {
        let layout = self.layout;
        let status = self.field(g, layout.status)? as u32 & !status::SCAN;
        // Idle, dead, and dead with an M of their own.
        if matches!(status, 0 | 6 | 11) {
            return None;
        }
        Some(Routine {
            id: self.field(g, layout.goid)?,
            status,
            wait_reason: self.field(g, layout.goid + 24)? as u8,
            stack_lo: self.word(g)?,
            stack_hi: self.field(g, 8)?,
            g,
        })
    }

    /// Everything a goroutine holds.
    pub(super) fn scan(&mut self, routine: &Routine) -> Scan {
        let mut scan = Scan::default();
        let size = routine.stack_hi.saturating_sub(routine.stack_lo);
        let bytes = self.memory.slice(Addr(routine.stack_lo), size);
        let Some(bytes) = bytes.filter(|_| size <= STACK_MAX) else {
            scan.is_partial = true;
            return scan;
        };
        let room = RefCell::new(Room::of(WORDS_FREE + WORDS_PER_WORD * size / 8));
        let stack = Stack { lo: routine.stack_lo, hi: routine.stack_hi, bytes, room };
        self.saved(routine, &stack, &mut scan);
        scan.registers = self.vector_registers(routine);
        match self.start(routine, &stack, &mut scan) {
            Some(start) => self.walk(&start, &stack, &mut scan),
            None => {
                // Its registers are unknown: every word of the stack may be live.
                let mut frame = ScannedFrame { cfa: stack.hi, ..ScannedFrame::default() };
                stack.guess(stack.lo, stack.hi, &mut frame.words);
                scan.frames.push(frame);
                scan.is_partial = true;
            }
        }
        scan.is_partial |= !stack.room.borrow_mut().take(1);
        scan
    }

    /// Where the walk begins.
    fn start(&self, routine: &Routine, stack: &Stack<'_>, scan: &mut Scan) -> Option<Start> {
        let g = routine.g;
        let saved = || {
            let (sp, pc) = (self.field(g, 56)?, self.field(g, 64)?);
            Some(Start { pc, sp, is_running: false }).filter(|start| stack.contains(start.sp))
        };
        let syscall = || {
            let sp = self.field(g, self.layout.syscall_sp)?;
            let pc = self.field(g, self.layout.syscall_sp + 8)?;
            Some(Start { pc, sp, is_running: false }).filter(|start| stack.contains(start.sp))
        };
        if routine.status == status::SYSCALL {
            return syscall().or_else(saved);
        }
        if !matches!(routine.status, status::RUNNING | status::COPYSTACK) {
            return syscall().or_else(saved);
        }
        let m = self.field(g, self.layout.g_m).filter(|m| *m != 0)?;
        let thread = self.field(m, self.layout.procid)?;
        let registers = self.threads.iter().find(|found| u64::from(found.thread) == thread)?;
        if stack.contains(registers.sp.0) {
            scan.registers.extend(&registers.general);
            let start = Start { pc: registers.pc.0, sp: registers.sp.0, is_running: true };
            return Some(start);
        }
        // The thread is on its own stack: in the vDSO, or the runtime works for it.
        let vdso = self.field(m, self.vdso_sp).filter(|sp| stack.contains(*sp));
        if let Some(sp) = vdso {
            let pc = self.field(m, self.vdso_sp + 8)?;
            return Some(Start { pc, sp, is_running: false });
        }
        let is_in_signal = self.modules.iter().all(|module| !module.has_code(registers.pc.0));
        if is_in_signal { None } else { saved() }
    }

    /// Vector registers of a goroutine that a signal preempted: some of them may be pointers
    /// on their way from one place to another.
    fn vector_registers(&self, routine: &Routine) -> Vec<u64> {
        let (at, bytes) = (self.layout.x_regs, self.layout.x_regs_bytes);
        let state = self.field(routine.g, at).filter(|state| at != 0 && *state != 0);
        let saved = state.and_then(|state| self.memory.slice(Addr(state), bytes)).unwrap_or(&[]);
        let words = (0..saved.len() / 8).filter_map(|index| Bytes(saved).u64(index * 8));
        words.filter(|word| *word > 4096).collect()
    }

    /// The closure register, deferred calls and what they carry.
    fn saved(&self, routine: &Routine, stack: &Stack<'_>, scan: &mut Scan) {
        scan.saved.extend(self.field(routine.g, self.layout.sched_ctxt).filter(|ctxt| *ctxt != 0));
        // A panic's record lies on the stack, where it counts as a stack object.
        scan.saved.extend(self.field(routine.g, 32).filter(|panic| *panic != 0));
        let mut next = self.field(routine.g, 40).unwrap_or(0);
        let mut circle = Circle::default();
        while next != 0 && !circle.is_closed_by(next) && stack.take_word() {
            let defer = next;
            scan.saved.extend(self.field(defer, 24).filter(|fn_value| *fn_value != 0));
            if !stack.contains(defer) {
                scan.saved.push(defer);
            }
            next = self.field(defer, self.layout.defer_link).unwrap_or(0);
        }
    }

    fn walk(&mut self, start: &Start, stack: &Stack<'_>, scan: &mut Scan) {
        let (mut pc, mut sp) = (start.pc, start.sp);
        // The first frame of a running goroutine is at no safe point.
        let mut is_guess = start.is_running;
        let mut is_first = true;
        let mut after_sigpanic = false;
        let mut objects = Vec::new();
        while scan.frames.len() < FRAMES_MAX {
            let is_call = !is_first && !is_guess || is_first && !start.is_running;
            let Some(site) = self.site(pc, is_call) else {
                scan.is_partial = true;
                let mut frame = ScannedFrame { pc, cfa: stack.hi, ..ScannedFrame::default() };
                stack.guess(sp, stack.hi, &mut frame.words);
                scan.frames.push(frame);
                break;
            };
            let cfa = sp.saturating_add(site.frame_size + 8);
            let mut frame = ScannedFrame { pc: site.inside(pc), is_call, cfa, words: Vec::new() };
            let name = site.name.unwrap_or("");
            let is_injected = matches!(name, "runtime.asyncPreempt" | "runtime.debugCallV2");
            if is_guess || is_injected {
                stack.guess(sp, cfa.saturating_sub(8), &mut frame.words);
                let args = site.args.size();
                stack.guess(cfa, cfa.saturating_add(args), &mut frame.words);
            } else {
                // A frame that panicked lives on only in what its defers see.
                let site =
                    if after_sigpanic { self.after_panic(&site) } else { Some(site.clone()) };
                if let Some(site) = site {
                    stack.exact(&site, sp, cfa, &mut frame.words);
                }
            }
            let index = scan.frames.len();
            for object in self.objects(&site).take_while(|_| stack.take_word()) {
                let base = if object.offset >= 0 { cfa } else { site.varp(sp, cfa) };
                let addr = base.wrapping_add_signed(object.offset.into());
                if addr >= sp && addr < stack.hi {
                    objects.push((addr, index, object));
                }
            }
            scan.frames.push(frame);
            if site.is_top || name == "runtime.goexit" {
                break;
            }
            let Some(caller) = stack.word(cfa.wrapping_sub(8)) else { break };
            is_guess = is_injected;
            after_sigpanic = name == "runtime.sigpanic";
            is_first = false;
            (pc, sp) = (caller, cfa);
            if caller == 0 || !stack.contains(sp) {
                break;
            }
        }
        follow(stack, &mut objects, scan);
    }

    /// Where a frame goes on after a panic: its deferreturn, if it has one.
    fn after_panic(&mut self, site: &Site<'a>) -> Option<std::rc::Rc<Site<'a>>> {
        let pc = site.entry.checked_add(u64::from(site.deferreturn) + 1)?;
        (site.deferreturn != 0).then(|| self.site(pc, true))?
    }

    fn site(&mut self, pc: u64, is_call: bool) -> Option<std::rc::Rc<Site<'a>>> {
        // Both readings of one address are rare; bit 63 tells them apart.
        let key = pc | u64::from(is_call) << 63;
        if let Some(found) = self.sites.get(&key) {
            return found.clone();
        }
        let site = self.read_site(pc, is_call).map(std::rc::Rc::new);
        self.sites.insert(key, site.clone());
        site
    }

    fn read_site(&self, pc: u64, is_call: bool) -> Option<Site<'a>> {
        let module = self.modules.iter().find(|module| module.has_code(pc))?;
        let table = module.table.as_ref()?;
        let is_entry = table.func_at(Addr(pc)).is_some_and(|func| func.entry.0 == pc);
        let at = Addr(if is_call && !is_entry { pc.saturating_sub(1) } else { pc });
        let func = table.func_at(at)?;
        let mut map = if is_entry { -1 } else { func.pcdata(PCDATA_STACK_MAP, at) };
        if map == -1 {
            map = 0;
        }
        let args = match func.args_size() {
            Some(0) => Words::None,
            Some(size) => stack_map(&func, FUNCDATA_ARGS, map)
                .map_or(Words::All(size.into()), |(bits, mask)| Words::Mask(bits, mask)),
            None => Words::All(0),
        };
        let locals = stack_map(&func, FUNCDATA_LOCALS, map)
            .map_or(Words::None, |(bits, mask)| Words::Mask(bits, mask));
        Some(Site {
            frame_size: func.frame_size(at)?.into(),
            name: func.raw_name(),
            args,
            locals,
            objects: object_records(&func),
            rodata: module.rodata,
            is_top: func.is_top_frame(),
            is_reflect: func.args_size().is_none(),
            entry: func.entry.0,
            deferreturn: func.deferreturn(),
        })
    }

    /// The stack objects of a frame.
    fn objects(&self, site: &Site<'a>) -> impl Iterator<Item = StackObject<'a>> + use<'a, 'm> {
        let (memory, rodata) = (self.memory, site.rodata);
        site.objects.chunks_exact(16).map_while(move |record| {
            let record = Bytes(record);
            // Negative means a GC program, to 1.23: scanned without a mask.
            let ptr_bytes = record.i32(8)?;
            let size = record.u32(4)?;
            let bytes = u64::from(ptr_bytes.unsigned_abs());
            let data = rodata.checked_add(record.u32(12)?.into())?;
            let mask = (ptr_bytes > 0)
                .then(|| memory.slice(Addr(data), (bytes / 8).div_ceil(8)))
                .flatten();
            Some(StackObject { offset: record.i32(0)?, size, ptr_bytes: bytes, mask })
        })
    }
}

/// The `runtime.stackObjectRecord`s of a function: a count and 16 bytes each.
fn object_records<'a>(func: &Func<'a>) -> &'a [u8] {
    let records = || {
        let bytes = Bytes(func.funcdata_bytes(FUNCDATA_OBJECTS)?);
        let count = bytes.index(0)?.min(OBJECTS_MAX);
        let records = bytes.from(8)?.0;
        Some(records.get(..count * 16).unwrap_or(records))
    };
    records().unwrap_or(&[])
}

/// `stackmapdata`: a bitmap of those of a function.
fn stack_map<'a>(func: &Func<'a>, index: u8, map: i32) -> Option<(u64, &'a [u8])> {
    let table = Bytes(func.funcdata_bytes(index)?);
    let (count, bits) = (table.i32(0)?, table.i32(4)?);
    let (map, bits) = (u32::try_from(map).ok()?, u32::try_from(bits).ok()?);
    if map >= u32::try_from(count).ok()? {
        return None;
    }
    let bytes = bits.div_ceil(8) as usize;
    let mask = table.slice(8 + (map as usize).checked_mul(bytes)?, bytes)?;
    Some((bits.into(), mask.0))
}

struct Start {
    pc: u64,
    sp: u64,
    is_running: bool,
}

impl Words<'_> {
    fn size(&self) -> u64 {
        match self {
            Words::None => 0,
            Words::All(bytes) => *bytes,
            Words::Mask(bits, _) => bits * 8,
        }
    }
}

impl Site<'_> {
    /// Where locals end: below the saved frame pointer, if there is a frame.
    fn varp(&self, sp: u64, cfa: u64) -> u64 {
        let below_return = cfa.saturating_sub(8);
        if below_return > sp { below_return.saturating_sub(8) } else { below_return }
    }

    /// An address inside the instruction that the frame is at.
    fn inside(&self, pc: u64) -> u64 {
        if pc > self.entry { pc - 1 } else { pc }
    }
}

struct Stack<'a> {
    lo: u64,
    hi: u64,
    bytes: &'a [u8],
    /// What may still be found on it.
    room: RefCell<Room>,
}

impl<'a> Stack<'a> {
    fn contains(&self, addr: u64) -> bool {
        (self.lo..self.hi).contains(&addr)
    }

    /// Takes a word of the room.
    fn take_word(&self) -> bool {
        self.room.borrow_mut().take(1)
    }

    fn range(&self, from: u64, to: u64) -> Option<&'a [u8]> {
        let (from, to) = (from.max(self.lo), to.min(self.hi));
        self.bytes.get((from - self.lo) as usize..to.checked_sub(self.lo)? as usize)
    }

    fn word(&self, addr: u64) -> Option<u64> {
        Bytes(self.bytes).u64(usize::try_from(addr.checked_sub(self.lo)?).ok()?)
    }

    /// Every word of a range, where only some are pointers.
    fn guess(&self, from: u64, to: u64, words: &mut Vec<LiveWord>) {
        let from = from.max(self.lo).checked_next_multiple_of(8).unwrap_or(u64::MAX);
        let Some(bytes) = self.range(from, to) else { return };
        for (index, _) in bytes.chunks_exact(8).enumerate() {
            let value = Bytes(bytes).u64(index * 8).unwrap_or(0);
            if value > 4096 {
                if !self.take_word() {
                    return;
                }
                let addr = from + index as u64 * 8;
                words.push(LiveWord { addr, value, is_conservative: true });
            }
        }
    }

    /// The words that a site's maps name.
    fn exact(&self, site: &Site<'_>, sp: u64, cfa: u64, words: &mut Vec<LiveWord>) {
        let varp = site.varp(sp, cfa);
        if varp > sp
            && let Words::Mask(bits, mask) = &site.locals
        {
            self.masked(varp.saturating_sub(bits * 8), bits * 8, mask, words);
        }
        match &site.args {
            Words::Mask(bits, mask) => self.masked(cfa, bits * 8, mask, words),
            Words::All(size) => self.guess(cfa, cfa.saturating_add(*size), words),
            Words::None => {}
        }
        if site.is_reflect {
            // reflect keeps the call's arguments in this frame, at no fixed place.
            self.guess(sp, varp, words);
        }
    }

    fn masked(&self, from: u64, size: u64, mask: &[u8], words: &mut Vec<LiveWord>) {
        // A map is of all of the area: one that begins below the stack is damaged.
        let bytes = self.range(from, from.saturating_add(size)).filter(|_| from >= self.lo);
        let Some(bytes) = bytes else { return };
        each_masked(bytes, mask, |offset, value| {
            if self.take_word() {
                words.push(LiveWord { addr: from + offset, value, is_conservative: false });
            }
        });
    }
}

/// Adds the stack objects that live words point to, and what those point to.
fn follow(stack: &Stack<'_>, objects: &mut [(u64, usize, StackObject<'_>)], scan: &mut Scan) {
    if objects.is_empty() {
        return;
    }
    objects.sort_by_key(|(addr, ..)| *addr);
    let mut is_seen = vec![false; objects.len()];
    let words = scan.frames.iter().flat_map(|frame| frame.words.iter().map(|word| word.value));
    let mut queue: Vec<u64> = words.filter(|value| stack.contains(*value)).collect();
    queue.extend(scan.registers.iter().chain(&scan.saved).filter(|value| stack.contains(**value)));
    while let Some(value) = queue.pop() {
        let Some(index) = objects.partition_point(|(addr, ..)| *addr <= value).checked_sub(1)
        else {
            continue;
        };
        let (Some((addr, frame, object)), Some(seen)) =
            (objects.get(index), is_seen.get_mut(index))
        else {
            continue;
        };
        if *seen || value - addr >= u64::from(object.size.max(1)) {
            continue;
        }
        *seen = true;
        let mut found = Vec::new();
        match &object.mask {
            Some(mask) => stack.masked(*addr, object.ptr_bytes, mask, &mut found),
            None => stack.guess(*addr, addr.saturating_add(object.ptr_bytes), &mut found),
        }
        queue.extend(found.iter().map(|word| word.value).filter(|value| stack.contains(*value)));
        if let Some(frame) = scan.frames.get_mut(*frame) {
            frame.words.extend(found);
        }
    }
}
