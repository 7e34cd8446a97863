//! The heap profile of a running Go program, read from outside.
//!
//! The runtime keeps one bucket per (stack, size) in the list `mbuckets`. Links,
//! sizes and stacks never change and buckets are never freed, so the list can be
//! walked while the program runs. The published counters (`active`) change only
//! when a GC cycle flushes its slot of `future` into them; the sum of both is the
//! same before and after, and is what the program itself would report. A walk is
//! consistent when `mProfCycle` reads the same before and after and no flush was
//! under way: `mProf_Flush` sets the flag first and empties the slots afterwards,
//! so a set flag with a slot still full means a flush in the middle. What waits
//! in the other slots is reported apart: it matters just before an out-of-memory
//! kill. Source: runtime/mprof.go; Go 1.27 dropped the byte counters.

use ahash::{AHashMap, AHashSet};
use model::{
    Addr, Function, FunctionId, GoVersion, Label, LabelValue, Line, LocationId, Profile, StrId,
};

use super::memory::{BlockCache, Memory, MemoryError};
use super::{Process, RuntimeError};
use crate::bytes::Bytes;

/// Counters of a bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Sampled allocations.
    pub allocs: u64,
    /// Sampled frees.
    pub frees: u64,
    /// Bytes of the sampled allocations.
    pub alloc_bytes: u64,
    /// Bytes of the sampled frees.
    pub free_bytes: u64,
}

impl Counts {
    fn add(&mut self, other: Counts) {
        self.allocs = self.allocs.saturating_add(other.allocs);
        self.frees = self.frees.saturating_add(other.frees);
        self.alloc_bytes = self.alloc_bytes.saturating_add(other.alloc_bytes);
        self.free_bytes = self.free_bytes.saturating_add(other.free_bytes);
    }

    /// Reads a `runtime.memRecordCycle`. Since Go 1.27 it has counts only; every
    /// object of a bucket has the bucket's size.
    fn read(bytes: Bytes<'_>, offset: usize, record: Record, size: u64) -> Option<Counts> {
        let (allocs, frees) = (bytes.u64(offset)?, bytes.u64(offset + 8)?);
        let (alloc_bytes, free_bytes) = match record {
            Record::WithBytes => (bytes.u64(offset + 16)?, bytes.u64(offset + 24)?),
            Record::CountsOnly => (allocs.wrapping_mul(size), frees.wrapping_mul(size)),
        };
        Some(Counts { allocs, frees, alloc_bytes, free_bytes })
    }
}

/// One (stack, size) bucket; counters are raw samples, not scaled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Size class of the objects.
    pub size: u64,
    /// Return addresses, one per logical frame, innermost first.
    pub stack: Vec<Addr>,
    /// What the program itself would report now.
    pub published: Counts,
    /// What the running cycles have added since.
    pub unpublished: Counts,
}

/// A walk over all buckets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeapBuckets {
    /// `runtime.MemProfileRate` of the target.
    pub rate: i64,
    /// `mProfCycle` did not change while the walk ran.
    pub is_consistent: bool,
    /// How often the walk was repeated to become so.
    pub attempts: u32,
    /// The walk stopped at a limit or at a damaged bucket.
    pub is_partial: bool,
    /// The buckets.
    pub buckets: Vec<Bucket>,
}

/// Shape of `runtime.memRecordCycle`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Record {
    /// allocs, frees, alloc_bytes, free_bytes: Go 1.21 to 1.26.
    WithBytes,
    /// allocs, frees: since Go 1.27.
    CountsOnly,
}

impl Record {
    fn of(version: GoVersion) -> Record {
        if version.minor >= 27 { Record::CountsOnly } else { Record::WithBytes }
    }

    fn len(self) -> usize {
        match self {
            Record::WithBytes => 32,
            Record::CountsOnly => 16,
        }
    }
}

/// Real programs have thousands; parca's collector stops at 60,000.
const BUCKETS_MAX: usize = 1 << 20;
/// GODEBUG=profstackdepth is capped at 1024 by the runtime.
const DEPTH_MAX: u64 = 1024;
const ATTEMPTS_MAX: u32 = 8;
const MEM_PROFILE: u64 = 1;
const HEADER: usize = 48;

impl<M: Memory> Process<'_, M> {
    /// Walks the profiling buckets; repeats the walk while a GC publishes.
    ///
    /// # Errors
    /// When profiling is off in the target, a variable was not found, or the
    /// memory cannot be read.
    pub fn heap_buckets(&self) -> Result<HeapBuckets, RuntimeError> {
        let head = self.variable(self.variables.mbuckets, "runtime.mbuckets")?;
        let cycle_at = self.variable(self.variables.prof_cycle, "runtime.mProfCycle")?;
        let rate = self.profile_rate()?;
        let mut found = read_buckets(self.memory, head, cycle_at, Record::of(self.binary.version))?;
        found.rate = rate;
        if rate <= 0 {
            // Early start-up leaves a stray bucket even where the linker switched
            // sampling off; counts that a program gathered before it set the rate
            // to 0 are worth showing, unscaled, as the program itself does.
            match self.profiling_disabled() {
                Some(false) if found.buckets.is_empty() => return Err(RuntimeError::SamplingOff),
                Some(false) => {}
                Some(true) | None => return Err(RuntimeError::ProfilingDisabled),
            }
        }
        Ok(found)
    }

    /// `runtime.MemProfileRate`, the mean number of bytes between samples.
    ///
    /// # Errors
    /// When the variable was not found or cannot be read.
    pub fn profile_rate(&self) -> Result<i64, RuntimeError> {
        Ok(self.memory.read_u64(self.profile_rate_address()?)?.cast_signed())
    }

    /// Where `runtime.MemProfileRate` lies in the process.
    ///
    /// # Errors
    /// When the variable was not found.
    pub fn profile_rate_address(&self) -> Result<Addr, RuntimeError> {
        self.variable(self.variables.profile_rate, "runtime.MemProfileRate")
    }

    /// The linker found no use of the heap profile and switched sampling off;
    /// `None` when the flag was not found (stripped) or cannot be read.
    pub fn profiling_disabled(&self) -> Option<bool> {
        let addr = self.bias.apply(self.variables.profiling_disabled?)?;
        let mut flag = [0];
        self.memory.read(addr, &mut flag).ok().map(|()| flag != [0])
    }

    /// Takes the heap profile as the program's own `/debug/pprof/heap` would give
    /// it, with two columns more for what is not yet published.
    ///
    /// # Errors
    /// As [`Process::heap_buckets`].
    pub fn heap_profile(&self) -> Result<(HeapBuckets, Profile), RuntimeError> {
        let buckets = self.heap_buckets()?;
        let profile = Symboliser::new(self, &buckets, View::Published).profile();
        Ok((buckets, profile))
    }

    /// Takes the profile of everything allocated up to this moment. What the program itself
    /// reports is up to two collections old, and may show nothing of a heap that was filled
    /// since: here the cycles that wait to be published count too. Frees are known as far as
    /// sweeping has come, so that what is garbage already counts as in use. After two
    /// collections with nothing allocated since, both are equal.
    ///
    /// The profile says so in a comment; it has the four columns of every heap profile.
    ///
    /// # Errors
    /// As [`Process::heap_buckets`].
    pub fn heap_profile_now(&self) -> Result<(HeapBuckets, Profile), RuntimeError> {
        let buckets = self.heap_buckets()?;
        let mut profile = Symboliser::new(self, &buckets, View::Now).profile();
        let comment = profile.strings.intern(NOW_COMMENT);
        profile.comments.push(comment);
        Ok((buckets, profile))
    }
}

/// Where the profile of a process lies, for who copies it before its memory is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProfilePlace {
    /// `runtime.mbuckets`.
    pub buckets: Addr,
    /// `runtime.mProfCycle`, 4 bytes.
    pub cycle: Addr,
    /// `runtime.MemProfileRate`.
    pub rate: Addr,
    /// Length of `runtime.memRecordCycle`, of which a bucket ends with four.
    pub record_bytes: usize,
}

impl<M: Memory> Process<'_, M> {
    /// Where its heap profile lies.
    ///
    /// # Errors
    /// When a variable was not found.
    pub fn profile_place(&self) -> Result<ProfilePlace, RuntimeError> {
        Ok(ProfilePlace {
            buckets: self.variable(self.variables.mbuckets, "runtime.mbuckets")?,
            cycle: self.variable(self.variables.prof_cycle, "runtime.mProfCycle")?,
            rate: self.profile_rate_address()?,
            record_bytes: Record::of(self.binary.version).len(),
        })
    }

    /// The profile of samples that were not read from the program but seen as they were taken:
    /// their stacks are the return addresses that lie on the stack, an inlined call has none.
    pub fn profile_of_samples(&self, samples: &HeapBuckets) -> Profile {
        let mut symboliser = Symboliser::new(self, samples, View::Now);
        symboliser.is_physical = true;
        symboliser.profile()
    }
}

/// What a profile of [`Process::heap_profile_now`] says of itself.
pub const NOW_COMMENT: &str = "as of this moment: collection cycles that are not published yet \
    are counted; garbage that is not swept yet counts as in use";

/// Which cycles a profile counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum View {
    /// The published ones, and the others in columns of their own.
    Published,
    /// All of them.
    Now,
}

/// Walks the list until a walk is consistent, at most [`ATTEMPTS_MAX`] times.
fn read_buckets<M: Memory>(
    memory: &M,
    head: Addr,
    cycle_at: Addr,
    record: Record,
) -> Result<HeapBuckets, MemoryError> {
    let mut found = HeapBuckets::default();
    for attempt in 1..=ATTEMPTS_MAX {
        let before = memory.read_u32(cycle_at)?;
        let walk = walk(memory, head, before, record)?;
        let after = memory.read_u32(cycle_at)?;
        found = HeapBuckets {
            rate: 0,
            is_consistent: before == after && !walk.is_flushing,
            attempts: attempt,
            is_partial: walk.is_partial,
            buckets: walk.buckets,
        };
        if found.is_consistent {
            break;
        }
    }
    publish_all_before_first_gc(&mut found.buckets);
    Ok(found)
}

/// Before the first cycles are published the program reports everything it has
/// (memProfileInternal: "absolutely no data"); so do we.
fn publish_all_before_first_gc(buckets: &mut [Bucket]) {
    if buckets.iter().all(|bucket| bucket.published.allocs == 0 && bucket.published.frees == 0) {
        for bucket in buckets {
            bucket.published = std::mem::take(&mut bucket.unpublished);
        }
    }
}

#[derive(Debug, Default)]
struct Walk {
    buckets: Vec<Bucket>,
    /// Ended at a limit or at a damaged bucket.
    is_partial: bool,
    /// A flush was under way: some buckets had theirs, some not.
    is_flushing: bool,
}

fn walk<M: Memory>(
    memory: &M,
    head: Addr,
    cycle: u32,
    record: Record,
) -> Result<Walk, MemoryError> {
    let cache = BlockCache::new(memory);
    let is_flushed = cycle & 1 == 1;
    let slot_to_publish = (cycle >> 1) as usize % 3;
    let mut walk = Walk::default();
    let mut seen = AHashSet::new();
    let mut buffer = Vec::new();
    let mut at = Addr(memory.read_u64(head)?);
    while !at.is_nil() {
        if walk.buckets.len() >= BUCKETS_MAX || !seen.insert(at) {
            walk.is_partial = true;
            break;
        }
        let mut header = [0; HEADER];
        cache.read(at, &mut header)?;
        let header = Bytes(&header);
        let word = |index: usize| header.u64(index * 8).unwrap_or(0);
        let (all_next, kind, size, depth) = (word(1), word(2), word(4), word(5));
        if kind != MEM_PROFILE || depth > DEPTH_MAX {
            walk.is_partial = true;
            break;
        }
        let stack_len = depth as usize * 8;
        let body_at = at.checked_add(HEADER as u64).ok_or(MemoryError::Unmapped(at))?;
        buffer.resize(stack_len + 4 * record.len(), 0);
        cache.read(body_at, &mut buffer)?;
        let body = Bytes(&buffer);
        let stack = (0..depth as usize).filter_map(|i| body.u64(i * 8).map(Addr)).collect();
        let counts = |index: usize| {
            let offset = stack_len + index * record.len();
            Counts::read(body, offset, record, size).unwrap_or_default()
        };
        let waiting = counts(1 + slot_to_publish);
        walk.is_flushing |= is_flushed && waiting != Counts::default();
        let mut published = counts(0);
        published.add(waiting);
        let mut unpublished = counts(1 + (slot_to_publish + 1) % 3);
        unpublished.add(counts(1 + (slot_to_publish + 2) % 3));
        walk.buckets.push(Bucket { size, stack, published, unpublished });
        at = Addr(all_next);
    }
    Ok(walk)
}

/// Scales a bucket's counts as runtime/pprof does (scaleHeapSample): each object
/// of this size was sampled with probability 1-exp(-size/rate).
pub fn scale_heap_sample(count: i64, bytes: i64, rate: i64) -> (i64, i64) {
    if count == 0 || bytes == 0 {
        return (0, 0);
    }
    if rate <= 1 {
        return (count, bytes);
    }
    let mean = bytes as f64 / count as f64;
    let scale = 1.0 / (1.0 - (-mean / rate as f64).exp());
    ((count as f64 * scale) as i64, (bytes as f64 * scale) as i64)
}

/// Leading functions of the runtime are left out of heap profiles.
fn is_hidden(function: &str) -> bool {
    function.starts_with("runtime.") || function.starts_with("internal/runtime/")
}

/// Turns buckets into a symbolised profile. Each address is resolved once.
struct Symboliser<'a, M: Memory> {
    process: &'a Process<'a, M>,
    buckets: &'a HeapBuckets,
    view: View,
    /// Stacks have return addresses only, so that each stands for all calls inlined there.
    is_physical: bool,
    profile: Profile,
    functions: AHashMap<(StrId, StrId), FunctionId>,
    locations: AHashMap<Vec<Addr>, LocationId>,
    addresses: AHashMap<Addr, Vec<Resolved>>,
    /// Reused for lookups.
    key: Vec<Addr>,
}

#[derive(Clone, Copy, Debug)]
struct Resolved {
    line: Line,
    /// The innermost function at the return address itself; the runtime decides
    /// by it which leading frames to hide.
    is_runtime: bool,
    is_goexit: bool,
    is_inlined: bool,
    /// Entry of the physical function.
    entry: Addr,
}

impl<'a, M: Memory> Symboliser<'a, M> {
    fn new(process: &'a Process<'a, M>, buckets: &'a HeapBuckets, view: View) -> Self {
        let columns = [
            ("alloc_objects", "count"),
            ("alloc_space", "bytes"),
            ("inuse_objects", "count"),
            ("inuse_space", "bytes"),
            ("unpublished_objects", "count"),
            ("unpublished_space", "bytes"),
        ];
        let mut profile = Profile::new(match view {
            View::Published => &columns,
            View::Now => &columns[..4],
        });
        profile.period_type = Some(profile.value_type("space", "bytes"));
        profile.period = buckets.rate;
        profile.default_sample_type = profile.strings.lookup("inuse_space");
        Symboliser {
            process,
            buckets,
            view,
            is_physical: false,
            profile,
            functions: AHashMap::new(),
            locations: AHashMap::new(),
            addresses: AHashMap::new(),
            key: Vec::new(),
        }
    }

    fn profile(mut self) -> Profile {
        let key = self.profile.strings.intern("bytes");
        let unit = self.profile.strings.intern("bytes");
        let mut frames = Vec::new();
        for bucket in &self.buckets.buckets {
            let stack = self.stack(&bucket.stack, &mut frames);
            let values = self.values(bucket);
            let values = match self.view {
                View::Published => &values[..],
                View::Now => &values[..4],
            };
            if values.iter().all(|value| *value == 0) {
                continue;
            }
            let size = bucket.size.cast_signed();
            let label = Label { key, value: LabelValue::Num(size, unit) };
            self.profile.push_sample(&stack, values, &[label]);
        }
        self.profile
    }

    fn values(&self, bucket: &Bucket) -> [i64; 6] {
        let rate = self.buckets.rate;
        let signed = |value: u64| value.cast_signed();
        let scaled = |count, bytes| scale_heap_sample(count, bytes, rate);
        let (mut published, unpublished) = (bucket.published, bucket.unpublished);
        if self.view == View::Now {
            published.add(unpublished);
        }
        let alloc = scaled(signed(published.allocs), signed(published.alloc_bytes));
        let in_use = scaled(
            signed(published.allocs.wrapping_sub(published.frees)),
            signed(published.alloc_bytes.wrapping_sub(published.free_bytes)),
        );
        let pending = scaled(
            signed(unpublished.allocs.wrapping_sub(unpublished.frees)),
            signed(unpublished.alloc_bytes.wrapping_sub(unpublished.free_bytes)),
        );
        [alloc.0, alloc.1, in_use.0, in_use.1, pending.0, pending.1]
    }

    /// Locations of a stack: leading runtime frames hidden as runtime/pprof does
    /// (unless nothing would be left), calls inlined into one function joined.
    fn stack(&mut self, addresses: &[Addr], frames: &mut Vec<(Addr, Resolved)>) -> Vec<LocationId> {
        frames.clear();
        for &addr in addresses {
            self.resolve(addr);
            let resolved = self.addresses.get(&addr).into_iter().flatten();
            frames.extend(resolved.map(|resolved| (addr, *resolved)));
        }
        if !self.is_physical {
            self.complete_last(frames);
        }
        let hidden = frames.iter().take_while(|(_, frame)| frame.is_runtime).count();
        let is_shown = |(_, frame): &(Addr, Resolved)| !frame.is_goexit;
        if frames.iter().skip(hidden).any(is_shown) {
            frames.drain(..hidden);
        }
        frames.retain(is_shown);
        frames
            .chunk_by(|(_, inner), (_, outer)| inner.is_inlined && inner.entry == outer.entry)
            .map(|chunk| self.location(chunk))
            .collect()
    }

    /// A stack cut at the depth limit may end inside inlined calls; adds the
    /// callers they were inlined into (runtime_expandFinalInlineFrame).
    fn complete_last(&mut self, frames: &mut Vec<(Addr, Resolved)>) {
        let Some((addr, last)) = frames.last().filter(|(_, frame)| frame.is_inlined) else {
            return;
        };
        let (addr, entry) = (*addr, last.entry);
        let call = self.process.bias.remove(addr).and_then(|pc| pc.0.checked_sub(1));
        let Some(call) = call else { return };
        for frame in self.process.table.frames(Addr(call)).iter().skip(1) {
            let line =
                Line { function: self.function(frame), line: frame.frame.line.into(), column: 0 };
            let resolved = Resolved {
                line,
                is_runtime: is_hidden(&frame.frame.function),
                is_goexit: false,
                is_inlined: frame.is_inlined,
                entry,
            };
            frames.push((addr, resolved));
        }
    }

    fn location(&mut self, frames: &[(Addr, Resolved)]) -> LocationId {
        let mut key = std::mem::take(&mut self.key);
        key.clear();
        key.extend(frames.iter().map(|(addr, _)| *addr));
        let known = self.locations.get(key.as_slice()).copied();
        self.key = key;
        known.unwrap_or_else(|| self.new_location(frames))
    }

    fn new_location(&mut self, frames: &[(Addr, Resolved)]) -> LocationId {
        let key = self.key.clone();
        let id = LocationId(self.profile.locations.len() as u32);
        self.profile.locations.push(model::profile::Location {
            // The record has return addresses, a profile the calls before them.
            address: Addr(key.first().map_or(0, |addr| addr.0.saturating_sub(1))),
            lines: frames.iter().map(|(_, frame)| frame.line).collect(),
            ..Default::default()
        });
        self.locations.insert(key, id);
        id
    }

    /// Looks an address up once.
    fn resolve(&mut self, addr: Addr) {
        if !self.addresses.contains_key(&addr) {
            let resolved = self.frames_at(addr).unwrap_or_default();
            self.addresses.insert(addr, resolved);
        }
    }

    fn frames_at(&mut self, addr: Addr) -> Option<Vec<Resolved>> {
        let link_addr = self.process.bias.remove(addr)?;
        let call = Addr(link_addr.0.checked_sub(1)?);
        let table = &self.process.table;
        let entry = table.func_at(call)?.entry;
        let mut frames = table.frames(call);
        let at_return = table.frames(link_addr).into_iter().next();
        if !self.is_physical {
            // Every entry of a bucket is one logical frame: the innermost at its address.
            frames.truncate(1);
        }
        let mut resolved = Vec::with_capacity(frames.len());
        for (depth, frame) in frames.iter().enumerate() {
            let innermost = at_return.as_ref().filter(|_| depth == 0).unwrap_or(frame);
            resolved.push(Resolved {
                is_runtime: is_hidden(&innermost.frame.function),
                is_goexit: frame.frame.function == "runtime.goexit",
                is_inlined: frame.is_inlined,
                entry,
                line: Line {
                    function: self.function(frame),
                    line: frame.frame.line.into(),
                    column: 0,
                },
            });
        }
        Some(resolved)
    }

    fn function(&mut self, frame: &crate::pclntab::LogicalFrame) -> FunctionId {
        let name = self.profile.strings.intern(&frame.frame.function);
        let filename = self.profile.strings.intern(&frame.frame.file);
        if let Some(&id) = self.functions.get(&(name, filename)) {
            return id;
        }
        let id = FunctionId(self.profile.functions.len() as u32);
        self.profile.functions.push(Function {
            id: 0,
            name,
            system_name: name,
            filename,
            start_line: frame.start_line.into(),
        });
        self.functions.insert((name, filename), id);
        id
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use model::Addr;

    use super::{Memory, MemoryError, Record, read_buckets, scale_heap_sample};

    #[test]
    fn scaling_matches_runtime_pprof() {
        // Values of the formula in runtime/pprof/protomem.go.
        assert_eq!(scale_heap_sample(1, 512 << 10, 512 << 10), (1, 829_411));
        assert_eq!(scale_heap_sample(1, 112, 512 << 10), (4681, 524_344));
        assert_eq!(scale_heap_sample(3, 48, 1), (3, 48));
        assert_eq!(scale_heap_sample(0, 48, 512), (0, 0));
    }

    const BASE: u64 = 0x1_0000;
    const HEAD: Addr = Addr(BASE);
    const CYCLE: Addr = Addr(BASE + 8);
    const FIRST: u64 = BASE + 64;

    /// Memory at `BASE`; `change` runs before the read with this number.
    struct Fake<'a> {
        bytes: RefCell<Vec<u8>>,
        reads: Cell<u32>,
        change: &'a dyn Fn(u32, &mut Vec<u8>),
    }

    impl Memory for Fake<'_> {
        fn read(&self, addr: Addr, buffer: &mut [u8]) -> Result<(), MemoryError> {
            self.reads.set(self.reads.get() + 1);
            (self.change)(self.reads.get(), &mut self.bytes.borrow_mut());
            let bytes = self.bytes.borrow();
            let start = addr.0.checked_sub(BASE).ok_or(MemoryError::Unmapped(addr))? as usize;
            let source = bytes.get(start..start + buffer.len());
            buffer.copy_from_slice(source.ok_or(MemoryError::Unmapped(addr))?);
            Ok(())
        }
    }

    /// A list of buckets of size 32 with a stack of one address; each has allocs
    /// for `active` and the three slots of `future`.
    fn memory(cycle: u32, buckets: &[[u64; 4]]) -> Vec<u8> {
        let len = 48 + 8 + 4 * 32;
        let mut bytes = vec![0; 64];
        bytes[..8].copy_from_slice(&FIRST.to_le_bytes());
        bytes[8..12].copy_from_slice(&cycle.to_le_bytes());
        for (index, records) in buckets.iter().enumerate() {
            let next = FIRST + (index as u64 + 1) * len;
            let all_next = if index + 1 < buckets.len() { next } else { 0 };
            // next, allnext, typ = memProfile, hash, size, nstk, one pc.
            for word in [0, all_next, 1, 7, 32, 1, 0x40_1000] {
                bytes.extend(word.to_le_bytes());
            }
            for &allocs in records {
                // allocs, frees, alloc_bytes, free_bytes.
                for word in [allocs, 0, allocs * 32, 0] {
                    bytes.extend(word.to_le_bytes());
                }
            }
        }
        bytes
    }

    fn check(bytes: Vec<u8>, change: &dyn Fn(u32, &mut Vec<u8>), expected: &[[u64; 2]]) -> bool {
        let fake = Fake { bytes: RefCell::new(bytes), reads: Cell::new(0), change };
        let found = read_buckets(&fake, HEAD, CYCLE, Record::WithBytes).unwrap();
        let allocs: Vec<[u64; 2]> =
            found.buckets.iter().map(|b| [b.published.allocs, b.unpublished.allocs]).collect();
        assert_eq!(allocs, expected);
        found.is_consistent
    }

    fn unchanged(_: u32, _: &mut Vec<u8>) {}

    #[test]
    fn the_slot_that_is_published_next_counts_as_published() {
        // Cycle 4, not flushed: slot 1 is what the program would publish first.
        assert!(check(memory(4 << 1, &[[10, 1, 2, 4]]), &unchanged, &[[12, 5]]));
        assert!(check(memory(4 << 1 | 1, &[[12, 1, 0, 4]]), &unchanged, &[[12, 5]]));
    }

    #[test]
    fn before_the_first_gc_everything_is_published() {
        assert!(check(memory(0, &[[0, 0, 0, 7], [0, 0, 2, 1]]), &unchanged, &[[7, 0], [3, 0]]));
    }

    #[test]
    fn a_flush_under_way_is_noticed_and_waited_for() {
        // The flag is set, the first bucket is flushed, the second not yet.
        let torn = memory(4 << 1 | 1, &[[12, 1, 0, 4], [5, 0, 3, 0]]);
        assert!(!check(torn.clone(), &unchanged, &[[12, 5], [8, 0]]));
        let done = memory(4 << 1 | 1, &[[12, 1, 0, 4], [8, 0, 0, 0]]);
        let finish = |read: u32, bytes: &mut Vec<u8>| {
            if read > 8 {
                bytes.copy_from_slice(&done);
            }
        };
        assert!(check(torn, &finish, &[[12, 5], [8, 0]]));
    }

    #[test]
    fn records_without_byte_counters_take_the_size_of_the_bucket() {
        let mut bytes = memory(1, &[]);
        for word in [0_u64, 0, 1, 7, 32, 0, 9, 4, 0, 0, 2, 1, 0, 0] {
            bytes.extend(word.to_le_bytes());
        }
        let fake = Fake { bytes: RefCell::new(bytes), reads: Cell::new(0), change: &unchanged };
        let found = read_buckets(&fake, HEAD, CYCLE, Record::CountsOnly).unwrap();
        let published = found.buckets[0].published;
        assert_eq!((published.alloc_bytes, published.free_bytes), (9 * 32, 4 * 32));
        assert_eq!(found.buckets[0].unpublished.alloc_bytes, 2 * 32);
    }

    #[test]
    fn loops_and_damage_end_the_walk() {
        let run = |bytes: Vec<u8>| {
            let fake = Fake { bytes: RefCell::new(bytes), reads: Cell::new(0), change: &unchanged };
            read_buckets(&fake, HEAD, CYCLE, Record::WithBytes)
                .map(|found| (found.buckets.len(), found.is_partial))
        };
        let mut looped = memory(1, &[[1, 0, 0, 0]]);
        looped[64 + 8..64 + 16].copy_from_slice(&FIRST.to_le_bytes());
        assert_eq!(run(looped), Ok((1, true)));
        let mut deep = memory(1, &[[1, 0, 0, 0]]);
        deep[64 + 40..64 + 48].copy_from_slice(&u64::MAX.to_le_bytes());
        assert_eq!(run(deep), Ok((0, true)));
        let mut astray = memory(1, &[[1, 0, 0, 0]]);
        astray[64 + 8..64 + 16].copy_from_slice(&8_u64.to_le_bytes());
        assert_eq!(run(astray), Err(MemoryError::Unmapped(Addr(8))));
    }
}
