//! From records to the graph.

use std::collections::BTreeMap;

use ahash::{AHashMap, AHashSet};
use model::heap::{
    AllocatedAt, Edges, HeapGoroutine, HeapGraph, HeapSource, HeapType, Holder, HolderId,
    HolderKind, Listed, ObjectId, Objects, RootPointer, TypeKind,
};
use model::{Frame, GoVersion};

use super::wire::{Cursor, MAGIC, Pointers, skip, tag};
use super::{Figures, HeapDump, HeapDumpError};
use crate::places::{Index, Place};

/// Reads a dump; one that ends early gives what it holds, with a warning.
///
/// # Errors
/// When the bytes are no dump, or hold no objects.
pub fn read(bytes: &[u8]) -> Result<HeapDump, HeapDumpError> {
    if !bytes.starts_with(MAGIC) {
        return Err(HeapDumpError::NotHeapDump);
    }
    let mut scan = Scan::run(bytes)?;
    if scan.places.is_empty() {
        return Err(HeapDumpError::NoObjects);
    }
    let count = scan.places.len() as u64;
    // Holders are numbered after objects.
    if count >= u64::from(u32::MAX - (1 << 24)) {
        return Err(HeapDumpError::TooManyObjects(count));
    }
    let mut places = std::mem::take(&mut scan.places);
    places.sort_unstable();
    let mut graph = HeapGraph {
        source: HeapSource {
            runtime: scan.version.clone(),
            method: "heapdump".to_owned(),
            heap_in_use_bytes: scan.figures.map(|figures| figures.heap_in_use_bytes),
            gc_count: scan.figures.map(|figures| figures.gc_count),
            ..HeapSource::default()
        },
        slot_bytes: scan.pointers.bytes as u32,
        warnings: std::mem::take(&mut scan.warnings),
        ..HeapGraph::default()
    };
    drop_phantoms(bytes, &mut places, &scan.version);
    let index = Index::new(places);
    let mut builder = Builder {
        bytes,
        index,
        sizes: Vec::new(),
        graph,
        pointers: scan.pointers,
        finalized: AHashSet::new(),
    };
    builder.objects();
    builder.roots(&scan.others);
    graph = builder.graph;
    graph.objects = Objects::Listed(Listed {
        address: builder.index.places.iter().map(|place| place.id).collect::<Vec<u64>>().into(),
        bytes: builder.sizes.into(),
    });
    Ok(HeapDump { graph, figures: scan.figures.unwrap_or_default() })
}

/// The first pass.
struct Scan {
    pointers: Pointers,
    version: String,
    places: Vec<Place>,
    /// Where records lie that hold objects or tell of them: kind and position.
    others: Vec<(u64, usize)>,
    figures: Option<Figures>,
    warnings: Vec<String>,
}

impl Scan {
    fn run(bytes: &[u8]) -> Result<Scan, HeapDumpError> {
        let mut scan = Scan {
            pointers: Pointers { bytes: 8, is_big_endian: false },
            version: String::new(),
            places: Vec::new(),
            others: Vec::new(),
            figures: None,
            warnings: Vec::new(),
        };
        let mut cursor = Cursor::new(bytes, MAGIC.len());
        loop {
            let start = cursor.at;
            let kind = cursor.number();
            if kind == Some(tag::END) {
                return Ok(scan);
            }
            let at = cursor.at;
            let Some(kind) = kind.filter(|kind| skip(&mut cursor, *kind).is_some()) else {
                let left = bytes.len() - start;
                scan.warnings.push(format!(
                    "the dump is damaged or ends early at byte {start}; {left} bytes are left out"
                ));
                return Ok(scan);
            };
            scan.take(kind, Cursor::new(bytes, at))?;
        }
    }

    fn take(&mut self, kind: u64, mut body: Cursor<'_>) -> Result<(), HeapDumpError> {
        let at = body.at;
        match kind {
            tag::OBJECT => {
                let id = body.number().unwrap_or(0);
                let is_empty = body.memory().is_none_or(<[u8]>::is_empty);
                if id != 0 && !is_empty {
                    self.places.push(Place { id, at: at as u64 });
                }
            }
            tag::PARAMETERS => {
                self.pointers.is_big_endian = body.number().unwrap_or(0) != 0;
                self.pointers.bytes = body.number().unwrap_or(0);
                if ![4, 8].contains(&self.pointers.bytes) {
                    return Err(HeapDumpError::PointerSize(self.pointers.bytes));
                }
                body.numbers(2);
                body.memory();
                self.version = body.text().unwrap_or_default();
            }
            tag::MEM_STATS => self.figures = figures(body),
            tag::TYPE | tag::ITAB | tag::THREAD => {}
            _ => self.others.push((kind, at)),
        }
        Ok(())
    }
}

fn figures(mut body: Cursor<'_>) -> Option<Figures> {
    let mut values = [0; 24];
    for value in &mut values {
        *value = body.number()?;
    }
    body.numbers(256)?;
    let [_, _, sys_bytes, _, mallocs, frees, heap_alloc, heap_sys, heap_idle, ..] = values;
    let [
        ..,
        heap_in_use,
        heap_released,
        heap_objects,
        stack_in_use,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        next_gc,
        _,
        _,
    ] = values;
    Some(Figures {
        mallocs,
        frees,
        heap_alloc_bytes: heap_alloc,
        heap_sys_bytes: heap_sys,
        heap_idle_bytes: heap_idle,
        heap_in_use_bytes: heap_in_use,
        heap_released_bytes: heap_released,
        heap_objects,
        stack_in_use_bytes: stack_in_use,
        sys_bytes,
        next_gc_bytes: next_gc,
        gc_count: body.number()?,
    })
}

/// An object's record.
struct Object<'a> {
    memory: &'a [u8],
    fields: Cursor<'a>,
}

fn object(bytes: &[u8], at: u64) -> Option<Object<'_>> {
    let mut cursor = Cursor::new(bytes, usize::try_from(at).ok()?);
    cursor.number()?;
    Some(Object { memory: cursor.memory()?, fields: cursor })
}

/// Spans of small objects are one page of 8 KiB.
const PAGE: u64 = 8192;

/// Larger objects have their pointers told by a header, not by the span's bitmap.
const IN_PAGE_BYTES_MAX: u64 = 512;

/// The dump goes on to the end of each span, over the bitmap of pointers (since Go 1.22)
/// and the mark bits (since Go 1.26) that follow the last slot.
fn drop_phantoms(bytes: &[u8], places: &mut Vec<Place>, version: &str) {
    let minor = GoVersion::parse(version).map_or(0, |version| version.minor);
    if minor < 22 {
        return;
    }
    let has_marks = match minor {
        22..=24 => false,
        25 => version.contains("greenteagc"),
        _ => !version.contains("nogreenteagc"),
    };
    let mut kept = 0;
    let mut start = 0;
    while start < places.len() {
        let page = places.get(start).map_or(0, |place| place.id / PAGE);
        let tail = places.get(start..).unwrap_or(&[]);
        let count = tail.partition_point(|place| place.id / PAGE == page).max(1);
        let within = tail.get(..count).unwrap_or(&[]);
        let size = within.first().and_then(|place| object(bytes, place.at));
        let size = size.map_or(0, |object| object.memory.len() as u64);
        let mut end = u64::MAX;
        if size <= IN_PAGE_BYTES_MAX {
            let has_pointers = within.iter().any(|place| {
                object(bytes, place.at).is_some_and(|o| o.fields.clone().number() != Some(0))
            });
            let bitmap = if has_pointers { PAGE / 64 } else { 0 };
            let marks = if has_marks && size >= 16 { 128 } else { 0 };
            end = page.saturating_mul(PAGE).saturating_add(PAGE - bitmap - marks);
        }
        for at in start..start + count {
            if places.get(at).is_some_and(|place| place.id.saturating_add(size) <= end) {
                places.swap(kept, at);
                kept += 1;
            }
        }
        start += count;
    }
    places.truncate(kept);
}

/// The second pass.
struct Builder<'a> {
    bytes: &'a [u8],
    index: Index,
    sizes: Vec<u64>,
    graph: HeapGraph<'static>,
    pointers: Pointers,
    /// Objects whose finalizer was read: each has one.
    finalized: AHashSet<ObjectId>,
}

impl Builder<'_> {
    /// The object an address lies in.
    fn find(&self, address: u64) -> Option<ObjectId> {
        if address == 0 {
            return None;
        }
        let found = self.index.find_before(address)?;
        let start = self.index.places.get(found.index())?.id;
        (address - start < *self.sizes.get(found.index())?).then_some(found)
    }

    fn objects(&mut self) {
        let size =
            |place: &Place| object(self.bytes, place.at).map_or(0, |o| o.memory.len() as u64);
        self.sizes = self.index.places.iter().map(size).collect();
        let mut types = BTreeMap::new();
        for size in &self.sizes {
            types.entry(*size).or_insert(0);
        }
        for (size, number) in &mut types {
            *number = self.graph.types.len() as u32;
            let name = self.graph.strings.intern(&format!("unknown {size} B"));
            let kind = TypeKind::Unknown;
            self.graph.types.push(HeapType { name, kind, bytes: *size, ..HeapType::default() });
        }
        let type_of = |size: &u64| types.get(size).copied().unwrap_or(0);
        self.graph.type_of = self.sizes.iter().map(type_of).collect::<Vec<u32>>().into();
        let mut edges = Edges::empty();
        for place in &self.index.places {
            if let Some(mut object) = object(self.bytes, place.at) {
                object.fields.fields(|offset| {
                    let pointer = self.pointers.at(object.memory, offset);
                    if let Some(target) = pointer.and_then(|pointer| self.find(pointer)) {
                        edges.push(self.slot(offset), target);
                    }
                });
            }
            edges.end_object();
        }
        self.graph.edges = edges;
    }

    fn slot(&self, offset: u64) -> u32 {
        u32::try_from(offset / self.pointers.bytes).unwrap_or(u32::MAX)
    }

    fn push(&mut self, kind: HolderKind, name: &str, place: &str) -> HolderId {
        let name = self.graph.strings.intern(name);
        let place = self.graph.strings.intern(place);
        self.graph.holders.push(Holder {
            kind,
            name,
            place,
            parent: None,
            goroutine: None,
            of: None,
            is_conservative: false,
        });
        HolderId(self.graph.holders.len() as u32 - 1)
    }

    fn point(&mut self, holder: HolderId, slot: u32, address: u64) {
        if let Some(target) = self.find(address) {
            self.graph.root_pointers.push(RootPointer { holder, slot, target });
        }
    }

    fn roots(&mut self, others: &[(u64, usize)]) {
        let mut current = None;
        let mut stacks = Stacks::default();
        let mut buckets = AHashMap::new();
        let mut samples = Vec::new();
        for (kind, at) in others {
            let mut body = Cursor::new(self.bytes, *at);
            // The first pass has seen that all of it is there.
            let _ = match *kind {
                tag::GOROUTINE => {
                    stacks.end(current, &mut self.graph);
                    current = self.goroutine(&mut body);
                    Some(())
                }
                tag::FRAME => self.frame(&mut body, current, &mut stacks),
                tag::DEFER | tag::PANIC => self.deferred(&mut body, *kind, current),
                tag::FINALIZER | tag::QUEUED_FINALIZER => self.finalizer(&mut body, *kind),
                tag::DATA => self.globals(&mut body, "data"),
                tag::BSS => self.globals(&mut body, "bss"),
                tag::OTHER_ROOT => self.other(&mut body),
                tag::PROFILE_BUCKET => self.bucket(&mut body, &mut buckets),
                tag::SAMPLE => sample(&mut body, &mut samples),
                _ => None,
            };
        }
        stacks.end(current, &mut self.graph);
        for (address, bucket) in samples {
            let stack = buckets.get(&bucket).copied();
            if let (Some(object), Some(stack)) = (self.find(address), stack) {
                self.graph.allocated_at.push(AllocatedAt { object, stack });
            }
        }
        self.graph.allocated_at.sort_by_key(|at| (at.object, at.stack));
        // Goroutines come before their frames, but deferred calls after them.
        self.graph.root_pointers.sort_by_key(|pointer| pointer.holder);
    }

    fn goroutine(&mut self, body: &mut Cursor<'_>) -> Option<HolderId> {
        body.numbers(2)?;
        let id = body.number()?;
        body.number()?;
        let status = body.number()?;
        body.numbers(3)?;
        let wait_reason = body.text()?;
        let context = body.number()?;
        body.number()?;
        let (defers, panics) = (body.number()?, body.number()?);
        let state = match status {
            1 => "runnable",
            2 => "running",
            3 => "syscall",
            4 => "waiting",
            _ => "",
        };
        // The reason stays from the last wait.
        let wait_reason = if status == 4 { wait_reason } else { String::new() };
        self.graph.goroutines.push(HeapGoroutine {
            id,
            state: state.to_owned(),
            wait_reason,
            ..HeapGoroutine::default()
        });
        let holder = self.push(HolderKind::Goroutine, &format!("goroutine {id}"), "");
        if let Some(found) = self.graph.holders.last_mut() {
            found.goroutine = Some(self.graph.goroutines.len() as u32 - 1);
        }
        for (slot, address) in (0..).zip([context, defers, panics]) {
            self.point(holder, slot, address);
        }
        Some(holder)
    }

    fn frame(
        &mut self,
        body: &mut Cursor<'_>,
        current: Option<HolderId>,
        stacks: &mut Stacks,
    ) -> Option<()> {
        body.numbers(3)?;
        let memory = body.memory()?;
        body.numbers(3)?;
        let function = body.text()?;
        let parent = current?;
        let mut pointers = Vec::new();
        body.fields(|offset| {
            let address = self.pointers.at(memory, offset).unwrap_or(0);
            if let Some(target) = self.find(address) {
                pointers.push((self.slot(offset), target));
            }
        });
        let goroutine = self.graph.holders.get(parent.0 as usize)?.goroutine;
        let goroutine_index = goroutine? as usize;
        if let Some(found) = self.graph.goroutines.get_mut(goroutine_index) {
            found.stack_bytes = found.stack_bytes.saturating_add(memory.len() as u64);
        }
        if !pointers.is_empty() {
            let holder = self.push(HolderKind::Local, "stack", &function);
            if let Some(found) = self.graph.holders.last_mut() {
                (found.parent, found.goroutine) = (Some(parent), goroutine);
            }
            let found = pointers.into_iter();
            let found = found.map(|(slot, target)| RootPointer { holder, slot, target });
            self.graph.root_pointers.extend(found);
        }
        stacks.frames.push(Frame { function, file: String::new(), line: 0 });
        Some(())
    }

    /// The function of a deferred call, or the value of a panic.
    fn deferred(
        &mut self,
        body: &mut Cursor<'_>,
        kind: u64,
        current: Option<HolderId>,
    ) -> Option<()> {
        let holder = current?;
        body.numbers(if kind == tag::DEFER { 4 } else { 3 })?;
        let address = body.number()?;
        self.point(holder, if kind == tag::DEFER { 3 } else { 4 }, address);
        Some(())
    }

    /// A finalizer holds its function and what its object points to; once it is queued,
    /// the object, too.
    fn finalizer(&mut self, body: &mut Cursor<'_>, kind: u64) -> Option<()> {
        let (address, function) = (body.number()?, body.number()?);
        let name = format!("finalizer of {address:#x}");
        let holder = self.push(HolderKind::Finalizer, &name, "");
        self.point(holder, 0, function);
        let object = self.find(address)?;
        if kind == tag::QUEUED_FINALIZER {
            self.point(holder, 1, address);
            return Some(());
        }
        if !self.finalized.insert(object) {
            return None;
        }
        let targets = self.graph.edges.of(object);
        let pointers = targets.map(|(slot, target)| RootPointer {
            holder,
            slot: slot.saturating_add(1),
            target,
        });
        self.graph.root_pointers.extend(pointers);
        Some(())
    }

    /// A holder for each word of a segment that points to an object. Whoever has the
    /// executable's symbols can name them: the address is the holder's name.
    fn globals(&mut self, body: &mut Cursor<'_>, segment: &str) -> Option<()> {
        let base = body.number()?;
        let memory = body.memory()?;
        let mut found = Vec::new();
        let mut next = 0;
        body.fields(|offset| {
            // They come from a bitmap, in order.
            if offset < next {
                return;
            }
            next = offset.saturating_add(1);
            let address = self.pointers.at(memory, offset).unwrap_or(0);
            if let Some(target) = self.find(address) {
                found.push((base.wrapping_add(offset), target));
            }
        });
        for (address, target) in found {
            let holder = self.push(HolderKind::Global, &format!("{address:#x}"), segment);
            self.graph.root_pointers.push(RootPointer { holder, slot: 0, target });
        }
        Some(())
    }

    fn other(&mut self, body: &mut Cursor<'_>) -> Option<()> {
        let name = body.text()?;
        let address = body.number()?;
        let holder = self.push(HolderKind::Runtime, &name, "");
        self.point(holder, 0, address);
        Some(())
    }

    /// The stack of a bucket of the memory profile.
    fn bucket(&mut self, body: &mut Cursor<'_>, buckets: &mut AHashMap<u64, u32>) -> Option<()> {
        let id = body.number()?;
        body.number()?;
        let mut stack = Vec::new();
        for _ in 0..body.number()? {
            let (function, file) = (body.text()?, body.text()?);
            let line = u32::try_from(body.number()?).unwrap_or(0);
            stack.push(Frame { function, file, line });
        }
        buckets.insert(id, self.graph.stacks.len() as u32);
        self.graph.stacks.push(stack);
        Some(())
    }
}

fn sample(body: &mut Cursor<'_>, samples: &mut Vec<(u64, u64)>) -> Option<()> {
    samples.push((body.number()?, body.number()?));
    Some(())
}

/// Stacks of goroutines, each once.
#[derive(Default)]
struct Stacks {
    frames: Vec<Frame>,
    known: BTreeMap<Vec<Frame>, u32>,
}

impl Stacks {
    /// Gives the goroutine whose frames were read its stack.
    fn end(&mut self, holder: Option<HolderId>, graph: &mut HeapGraph<'static>) {
        let frames = std::mem::take(&mut self.frames);
        let holder = holder.and_then(|holder| graph.holders.get(holder.0 as usize));
        let Some(goroutine) = holder.and_then(|holder| holder.goroutine) else { return };
        if frames.is_empty() {
            return;
        }
        let stack = match self.known.get(&frames) {
            Some(stack) => *stack,
            None => {
                let stack = graph.stacks.len() as u32;
                graph.stacks.push(frames.clone());
                self.known.insert(frames, stack);
                stack
            }
        };
        if let Some(found) = graph.goroutines.get_mut(goroutine as usize) {
            found.stack = Some(stack);
        }
    }
}
