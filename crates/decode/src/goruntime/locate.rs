//! Where the runtime's variables lie: by symbol table, else, in a stripped
//! binary, by the instructions of functions that are known to use them.
//!
//! The function table still names functions after `-ldflags="-s -w"`. On amd64 a
//! global is loaded relative to the instruction pointer, so its address stands in
//! the instruction. Verified for Go 1.21 to 1.27, plain and PIE.

use model::{Addr, GoVersion};

use super::metrics::MetricsLayout;
use crate::bytes::Bytes;
use crate::elf::Elf;
use crate::pclntab::{Func, Pclntab};

/// Link-time addresses of the variables that memsight reads; `None` = not found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Variables {
    /// `runtime.mbuckets`: the list of heap profile buckets.
    pub mbuckets: Option<Addr>,
    /// `runtime.mProfCycle`.
    pub prof_cycle: Option<Addr>,
    /// `runtime.MemProfileRate`.
    pub profile_rate: Option<Addr>,
    /// `runtime.disableMemoryProfiling`.
    pub profiling_disabled: Option<Addr>,
    /// `runtime.allgs`.
    pub allgs: Option<Addr>,
    /// `runtime.memstats`.
    pub memstats: Option<Addr>,
    /// `runtime.gcController`.
    pub gc_controller: Option<Addr>,
    /// `runtime.mheap_`.
    pub mheap: Option<Addr>,
    /// `runtime.work`.
    pub work: Option<Addr>,
    /// `runtime.allfin`: the blocks of the finalizers that wait for their turn.
    pub all_finalizers: Option<Addr>,
    /// `runtime.gcCleanups`: the queue of cleanups, since Go 1.25.
    pub cleanups: Option<Addr>,
    /// `runtime.sched`.
    pub sched: Option<Addr>,
    /// `runtime.allm`: the list of threads.
    pub allm: Option<Addr>,
    /// `runtime.allp`: the processors.
    pub allp: Option<Addr>,
    /// `runtime.gomaxprocs`.
    pub gomaxprocs: Option<Addr>,
    /// `runtime.gcCPULimiter`.
    pub gc_limiter: Option<Addr>,
    /// `runtime.ncgocall`: calls of C by threads that ended.
    pub cgo_calls: Option<Addr>,
    /// `runtime.startingStackSize`.
    pub stack_size: Option<Addr>,
    /// `runtime.extraMInUse`: threads of C that run Go now.
    pub extra_in_use: Option<Addr>,
    /// `runtime.extraMLength`: structures kept for threads of C.
    pub extra_length: Option<Addr>,
    /// `runtime.finqueued`, since Go 1.25.
    pub finalizers_queued: Option<Addr>,
    /// `runtime.finexecuted`, since Go 1.25.
    pub finalizers_executed: Option<Addr>,
    /// `runtime.persistentChunks`: the list of the runtime's permanent memory.
    pub persistent_chunks: Option<Addr>,
    /// `runtime.gcBitsArenas`: the lists of mark and allocation bits.
    pub gc_bits_arenas: Option<Addr>,
    /// `runtime.buckhash`: the hash table of profiling buckets.
    pub bucket_table: Option<Addr>,
    /// `runtime.work.cpuStats`; only code tells it, as patch releases moved it within `work`.
    pub cpu_stats: Option<Addr>,
    /// Where `alllink` is in a `runtime.m`; only code tells it, as patch releases moved it.
    pub m_next: Option<u64>,
}

pub(super) const X86_64: u16 = 62;

impl Variables {
    /// Looks the variables up in the symbol table.
    pub fn by_symbols(elf: &Elf<'_>) -> Variables {
        const NAMES: [&str; 25] = [
            "runtime.mbuckets",
            "runtime.mProfCycle",
            "runtime.MemProfileRate",
            "runtime.disableMemoryProfiling",
            "runtime.allgs",
            "runtime.memstats",
            "runtime.gcController",
            "runtime.mheap_",
            "runtime.work",
            "runtime.allfin",
            "runtime.gcCleanups",
            "runtime.sched",
            "runtime.allm",
            "runtime.allp",
            "runtime.gomaxprocs",
            "runtime.gcCPULimiter",
            "runtime.ncgocall",
            "runtime.startingStackSize",
            "runtime.extraMInUse",
            "runtime.extraMLength",
            "runtime.finqueued",
            "runtime.finexecuted",
            "runtime.persistentChunks",
            "runtime.gcBitsArenas",
            "runtime.buckhash",
        ];
        let found = elf.symbols(&NAMES);
        let at = |index: usize| found.get(index).copied().flatten();
        Variables {
            mbuckets: at(0),
            prof_cycle: at(1),
            profile_rate: at(2),
            profiling_disabled: at(3),
            allgs: at(4),
            memstats: at(5),
            gc_controller: at(6),
            mheap: at(7),
            work: at(8),
            all_finalizers: at(9),
            cleanups: at(10),
            sched: at(11),
            allm: at(12),
            allp: at(13),
            gomaxprocs: at(14),
            gc_limiter: at(15),
            cgo_calls: at(16),
            stack_size: at(17),
            extra_in_use: at(18),
            extra_length: at(19),
            finalizers_queued: at(20),
            finalizers_executed: at(21),
            persistent_chunks: at(22),
            gc_bits_arenas: at(23),
            bucket_table: at(24),
            ..Variables::default()
        }
    }

    /// Finds them by instruction patterns; fills only what is missing. Where symbols told the
    /// rest, what only code tells is looked for.
    pub fn or_by_code(
        mut self,
        elf: &Elf<'_>,
        table: &Pclntab<'_>,
        version: GoVersion,
    ) -> Variables {
        if elf.machine != X86_64 {
            return self;
        }
        self.fields_by_code(elf, table);
        if self.mbuckets.is_some() && self.allgs.is_some() {
            return self;
        }
        let [flush_locked, flush, profile_alloc, allg_add, queue_finalizer, mark_root] = functions(
            table,
            [
                "runtime.mProf_FlushLocked",
                "runtime.mProf_Flush",
                "runtime.profilealloc",
                "runtime.allgadd",
                "runtime.queuefinalizer",
                "runtime.markroot",
            ],
        );
        let loads = |func: Option<Func<'_>>| func.map(|f| rip_loads(elf, &f)).unwrap_or_default();
        // for b := mbuckets; b != nil; b = b.allnext
        self.mbuckets = self.mbuckets.or_else(|| first(&loads(flush_locked), Width::W64));
        // cycle := mProfCycle.read()
        self.prof_cycle = self.prof_cycle.or_else(|| first(&loads(flush), Width::W32));
        // MemProfileRate is compared, then used to draw the next sample; before Go
        // 1.24 both uses shared one load, the last of the function.
        let loads_of_alloc = loads(profile_alloc);
        self.profile_rate = self
            .profile_rate
            .or_else(|| repeated(&loads_of_alloc))
            .or_else(|| loads_of_alloc.iter().rfind(|(w, _)| *w == Width::W64).map(|(_, at)| *at));
        self.allgs = self.allgs.or_else(|| slice_header(&loads(allg_add)));
        // Of what queuefinalizer loads (finc, finq, allfin) the collector loads only one.
        let of_collector = loads(mark_root);
        let queued = loads(queue_finalizer).into_iter();
        let mut shared = queued.filter(|load| load.0 == Width::W64 && of_collector.contains(load));
        self.all_finalizers = self.all_finalizers.or_else(|| shared.next().map(|load| load.1));
        self.tables_by_code(elf, table);
        self.receivers_by_code(elf, table);
        self.scheduler_by_code(elf, table, &MetricsLayout::of(version, elf.machine));
        self
    }

    /// What is where within a structure that patch releases changed. Walks the function table
    /// once: this is done for each program, also with symbols.
    fn fields_by_code(&mut self, elf: &Elf<'_>, table: &Pclntab<'_>) {
        let [terminate, accumulate, init, write_barrier] = functions(
            table,
            [
                "runtime.gcMarkTermination",
                "runtime.(*cpuStats).accumulate",
                "runtime.mcommoninit",
                "runtime.atomicwb",
            ],
        );
        let passed = |caller: Option<Func<'_>>, callee: Option<Func<'_>>| {
            lea_before_call(elf, &caller?, callee?.entry)
        };
        self.cpu_stats = passed(terminate, accumulate);
        self.allm = self.allm.or_else(|| passed(init, write_barrier));
        // mp.alllink = allm
        self.m_next = init.zip(self.allm).and_then(|(init, allm)| field_set_to(elf, &init, allm));
    }

    /// Variables of the scheduler, and counters.
    fn scheduler_by_code(&mut self, elf: &Elf<'_>, table: &Pclntab<'_>, layout: &MetricsLayout) {
        let [check_count, resize, put, exit, queue_finalizer, run_finalizers] = functions(
            table,
            [
                "runtime.checkmcount",
                "runtime.procresize",
                "runtime.gfput",
                "runtime.mexit",
                "runtime.queuefinalizer",
                "runtime.runFinalizers",
            ],
        );
        let loads = |func: Option<Func<'_>>| func.map(|f| rip_loads(elf, &f)).unwrap_or_default();
        // count := mcount() - int32(extraMInUse.Load()) - int32(extraMLength.Load()), of which
        // mcount begins with sched.mnext.
        let counts = loads(check_count);
        let made = first(&counts, Width::W64);
        let made = made.and_then(|at| at.0.checked_sub(layout.threads_made as u64).map(Addr));
        self.sched = self.sched.or(made);
        let mut extra = counts.iter().filter(|(width, _)| *width == Width::W32).map(|load| load.1);
        self.extra_in_use = self.extra_in_use.or_else(|| extra.next());
        self.extra_length = self.extra_length.or_else(|| extra.next());
        // old := gomaxprocs ... if nprocs > int32(len(allp)) ... cap(allp) ... allp[:nprocs]
        let of_resize = loads(resize);
        self.gomaxprocs = self.gomaxprocs.or_else(|| first(&of_resize, Width::W32));
        self.allp = self.allp.or_else(|| resized_slice(&of_resize));
        // if stksize != uintptr(startingStackSize)
        self.stack_size = self.stack_size.or_else(|| first(&loads(put), Width::W32));
        let in_code = |func: Option<Func<'_>>, of: fn(&Elf<'_>, &Func<'_>) -> Option<Addr>| {
            func.and_then(|func| of(elf, &func))
        };
        self.cgo_calls = self.cgo_calls.or_else(|| in_code(exit, exchanged));
        self.finalizers_queued =
            self.finalizers_queued.or_else(|| in_code(queue_finalizer, incremented));
        self.finalizers_executed =
            self.finalizers_executed.or_else(|| in_code(run_finalizers, added_to));
        let receiver = |caller: &str, callee: &str| receiver(elf, table, caller, callee);
        self.gc_limiter = self.gc_limiter.or_else(|| {
            receiver("runtime.procresize", "runtime.(*gcCPULimiterState).resetCapacity")
        });
    }

    /// Tables that are the first a function loads.
    fn tables_by_code(&mut self, elf: &Elf<'_>, table: &Pclntab<'_>) {
        let names = ["runtime.persistentalloc1", "runtime.newArenaMayUnlock", "runtime.stkbucket"];
        let [persistent, bits, buckets] = functions(table, names).map(|func| {
            let loads = func.map(|func| rip_loads(elf, &func)).unwrap_or_default();
            first(&loads, Width::W64)
        });
        self.persistent_chunks = self.persistent_chunks.or(persistent);
        // gcBitsArenas.free, behind the lock.
        let bits = bits.and_then(|free| free.0.checked_sub(8)).map(Addr);
        self.gc_bits_arenas = self.gc_bits_arenas.or(bits);
        self.bucket_table = self.bucket_table.or(buckets);
    }

    /// Variables whose address is passed as the receiver of a method.
    fn receivers_by_code(&mut self, elf: &Elf<'_>, table: &Pclntab<'_>) {
        let receiver = |caller: &str, callee: &str| receiver(elf, table, caller, callee);
        self.mheap = self.mheap.or_else(|| receiver("runtime.mallocinit", "runtime.(*mheap).init"));
        self.gc_controller = self
            .gc_controller
            .or_else(|| receiver("runtime.gcinit", "runtime.(*gcControllerState).init"));
        self.cleanups = self
            .cleanups
            .or_else(|| receiver("runtime.freeSpecial", "runtime.(*cleanupQueue).enqueue"))
            .or_else(|| receiver("runtime.findRunnable", "runtime.(*cleanupQueue).wake"));
        // memstats starts with heapStats.
        const ACQUIRE: &str = "runtime.(*consistentHeapStats).acquire";
        self.memstats = self
            .memstats
            .or_else(|| receiver("runtime.(*mcache).refill", ACQUIRE))
            .or_else(|| receiver("runtime.(*mcache).releaseAll", ACQUIRE))
            .or_else(|| receiver("runtime.(*mcache).allocLarge", ACQUIRE));
    }
}

fn functions<'a, const N: usize>(table: &Pclntab<'a>, names: [&str; N]) -> [Option<Func<'a>>; N] {
    let found = table.funcs_named(&names);
    let mut result = [None; N];
    for (slot, func) in result.iter_mut().zip(found) {
        *slot = func;
    }
    result
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Width {
    W32,
    W64,
}

/// The machine code of a function.
fn code_of<'a>(elf: &Elf<'a>, func: &Func<'_>) -> &'a [u8] {
    /// Far longer than the functions looked at; bounds damaged tables.
    const CODE_MAX: u64 = 64 << 10;
    let len = (func.end.0.saturating_sub(func.entry.0)).min(CODE_MAX) as usize;
    elf.bytes_at(func.entry).and_then(|code| code.get(..len)).unwrap_or(&[])
}

/// What `caller` passes to the method `callee` first.
fn receiver(elf: &Elf<'_>, table: &Pclntab<'_>, caller: &str, callee: &str) -> Option<Addr> {
    let [caller, callee] = functions(table, [caller, callee]);
    lea_before_call(elf, &caller?, callee?.entry)
}

/// The address that the last `lea disp32(%rip), %rax` before the first call of
/// `callee` loads: the receiver, in Go's register calling convention.
fn lea_before_call(elf: &Elf<'_>, func: &Func<'_>, callee: Addr) -> Option<Addr> {
    let code = code_of(elf, func);
    let bytes = Bytes(code);
    let target = |at: usize, len: usize| -> Option<u64> {
        let next = func.entry.0.checked_add((at + len) as u64)?;
        Some(next.wrapping_add_signed(bytes.i32(at + len - 4)?.into()))
    };
    let mut receiver = None;
    for at in 0..code.len() {
        if bytes.u8(at) == Some(0xe8) && target(at, 5) == Some(callee.0) {
            return receiver;
        }
        if code.get(at..).is_some_and(|code| code.starts_with(&[0x48, 0x8d, 0x05])) {
            receiver = target(at, 7).map(Addr);
        }
    }
    None
}

/// Every `mov disp32(%rip), reg` of a function, in order.
fn rip_loads(elf: &Elf<'_>, func: &Func<'_>) -> Vec<(Width, Addr)> {
    let code = code_of(elf, func);
    let mut loads = Vec::new();
    let bytes = Bytes(code);
    for at in 0..code.len() {
        let byte = |offset: usize| bytes.u8(at + offset).unwrap_or(0);
        // REX.W (48 or 4c), 8b, ModRM with mod=00 rm=101.
        let (width, start) = if matches!(byte(0), 0x48 | 0x4c) && byte(1) == 0x8b {
            (Width::W64, 2)
        } else if byte(0) == 0x8b && (at == 0 || bytes.u8(at - 1).unwrap_or(0) & 0xf0 != 0x40) {
            (Width::W32, 1)
        } else {
            continue;
        };
        if byte(start) & 0xc7 != 5 {
            continue;
        }
        let Some(displacement) = bytes.i32(at + start + 1) else { continue };
        let next = func.entry.0.wrapping_add((at + start + 5) as u64);
        loads.push((width, Addr(next.wrapping_add_signed(displacement.into()))));
    }
    loads
}

/// The address that the four bytes at `at` name, which end an instruction.
fn rip_target(func: &Func<'_>, code: Bytes<'_>, at: usize) -> Option<Addr> {
    let next = func.entry.0.checked_add(at as u64 + 4)?;
    Some(Addr(next.wrapping_add_signed(code.i32(at)?.into())))
}

/// What `lea disp32(%rip), reg` loads right before `lock xadd reg, (reg)`.
fn exchanged(elf: &Elf<'_>, func: &Func<'_>) -> Option<Addr> {
    let code = code_of(elf, func);
    let at = code.windows(12).position(|code| {
        let [rex, lea, modrm, _, _, _, _, lock, rex_w, 0x0f, 0xc1, _] = code else { return false };
        matches!(rex, 0x48 | 0x4c)
            && *lea == 0x8d
            && modrm & 0xc7 == 5
            && *lock == 0xf0
            && rex_w & 0xf8 == 0x48
    })?;
    rip_target(func, Bytes(code), at + 3)
}

/// Where in a structure the value of a variable is stored: `mov disp32(%rip), reg`, and soon
/// after it `mov reg, disp32(base)`.
fn field_set_to(elf: &Elf<'_>, func: &Func<'_>, variable: Addr) -> Option<u64> {
    /// A write barrier lies in between.
    const DISTANCE_MAX: usize = 64;
    let code = code_of(elf, func);
    let register = |rex: u8, modrm: u8| (rex & 4) << 1 | modrm >> 3 & 7;
    let is_load = |code: &[u8]| matches!(code, [0x48 | 0x4c, 0x8b, modrm, ..] if modrm & 0xc7 == 5);
    let loads = code.windows(7).enumerate().filter(|(_, window)| is_load(window));
    let mut of_variable =
        loads.filter(|(at, _)| rip_target(func, Bytes(code), at + 3) == Some(variable));
    let (at, load) = of_variable.next()?;
    let loaded = register(*load.first()?, *load.get(2)?);
    let after = code.get(at + 7..)?;
    let mut stores = after.windows(7).take(DISTANCE_MAX).filter_map(|window| match window {
        // mod=10: a base and four bytes; rm=100 would have a byte in between.
        [rex @ 0x48..=0x4f, 0x89, modrm, rest @ ..]
            if modrm & 0xc0 == 0x80 && modrm & 7 != 4 && register(*rex, *modrm) == loaded =>
        {
            Bytes(rest).u32(0).map(u64::from)
        }
        _ => None,
    });
    stores.next()
}

/// What the first `incq disp32(%rip)` counts.
fn incremented(elf: &Elf<'_>, func: &Func<'_>) -> Option<Addr> {
    let code = code_of(elf, func);
    let at = code.windows(3).position(|code| code == [0x48, 0xff, 0x05])?;
    rip_target(func, Bytes(code), at + 3)
}

/// What the first `add reg, disp32(%rip)` adds to.
fn added_to(elf: &Elf<'_>, func: &Func<'_>) -> Option<Addr> {
    let code = code_of(elf, func);
    let at = code
        .windows(3)
        .position(|code| matches!(code, [0x48 | 0x4c, 0x01, modrm] if modrm & 0xc7 == 5))?;
    rip_target(func, Bytes(code), at + 3)
}

fn first(loads: &[(Width, Addr)], width: Width) -> Option<Addr> {
    loads.iter().find(|(found, _)| *found == width).map(|(_, addr)| *addr)
}

fn repeated(loads: &[(Width, Addr)]) -> Option<Addr> {
    loads
        .iter()
        .enumerate()
        .find(|(index, (_, addr))| loads.iter().skip(index + 1).any(|(_, later)| later == addr))
        .map(|(_, (_, addr))| *addr)
}

/// The lowest of three addresses 8 bytes apart: data, length and capacity.
fn slice_header(loads: &[(Width, Addr)]) -> Option<Addr> {
    let has = |addr: Addr| loads.iter().any(|(_, found)| *found == addr);
    loads
        .iter()
        .map(|(_, addr)| *addr)
        .find(|addr| has(Addr(addr.0.wrapping_add(8))) && has(Addr(addr.0.wrapping_add(16))))
}

/// A slice whose length, capacity and data are loaded one after the other.
fn resized_slice(loads: &[(Width, Addr)]) -> Option<Addr> {
    loads.windows(3).find_map(|three| {
        let [(Width::W64, len), (Width::W64, cap), (Width::W64, data)] = three else {
            return None;
        };
        let is_slice = data.checked_add(8) == Some(*len) && len.checked_add(8) == Some(*cap);
        is_slice.then_some(*data)
    })
}
