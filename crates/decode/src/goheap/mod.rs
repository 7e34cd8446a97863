//! The object graph of a Go process, from a frozen picture of its memory.
//!
//! What the collector would find is found the way it finds it: spans and their bitmaps,
//! pointer masks, stack maps. Types come from headers, interfaces and the descriptors
//! every binary carries, and from DWARF where there is some. Cost: one pass over the
//! memory of objects that hold pointers, and one over the reachable ones for their types.

mod bounds;
mod cells;
mod files;
mod globals;
mod gotype;
mod hidden;
pub(crate) mod layout;
mod modules;
mod names;
mod pointers;
mod roots;
mod routines;
mod spans;
mod specials;
mod stacks;
#[cfg(test)]
mod tests;
mod typetable;
mod typing;

use std::borrow::Cow;
use std::hash::{BuildHasher, Hasher};

use model::Addr;
use model::heap::{
    AllocatedAt, Column, Contents, Edges, Extents, Field, Fill, HeapGraph, HeapSource, Holder,
    ObjectId, Objects, Texts, TypeId, TypeKind,
};

use crate::elf::Elf;
use crate::goruntime::{Attached, Binary, Memory, MemoryImage, RuntimeError, ThreadRegisters};
pub use cells::Lender;
use cells::{Cells, Lent};
pub use files::Library;
use files::ModuleFile;
use gotype::Types;
use layout::Layout;
use modules::Module;
use names::Names;
use pointers::Pointers;
use roots::Roots;
use routines::StackNames;
use spans::SpanTable;
use specials::{Queues, Specials};
use typetable::{Source, TypeTable};
use typing::Typing;

/// What the reader works on.
pub struct Input<'a, 'm> {
    /// What the executable tells.
    pub binary: &'m Binary,
    /// Where it was loaded.
    pub attached: &'m Attached,
    /// The executable.
    pub file: &'m [u8],
    /// Where its debug information lies when the executable has none.
    pub debug_file: Option<&'m [u8]>,
    /// Shared objects that were mapped: plugins among them have variables, too.
    pub libraries: &'a [Library<'m>],
    /// The process's memory.
    pub image: &'m MemoryImage<'a>,
    /// Registers of its threads; without them running goroutines are guessed.
    pub threads: &'m [ThreadRegisters],
    /// Which bytes the graph keeps.
    pub contents: Keep,
}

/// Which bytes of objects a graph keeps. Memory holds secrets: none unless asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// None.
    #[default]
    Nothing,
    /// Those of strings.
    Strings,
    /// Those of all objects up to 64 KiB.
    All,
}

/// Larger objects' bytes are not kept.
const CONTENTS_MAX: u64 = 64 << 10;

/// Reads the object graph.
///
/// # Errors
/// When the heap's own tables were not found or cannot be read. Single spans,
/// goroutines or modules that cannot be read become warnings of the graph.
pub fn read(input: &Input<'_, '_>) -> Result<HeapGraph<'static>, RuntimeError> {
    read_with(input, None)
}

/// Reads the object graph into memory that somebody lends, as far as it is lent.
///
/// # Errors
/// As [`read`].
pub fn read_into<'s>(
    input: &Input<'_, '_>,
    lender: &dyn Lender<'s>,
) -> Result<HeapGraph<'s>, RuntimeError> {
    read_with(input, Some(lender))
}

fn read_with<'s>(
    input: &Input<'_, '_>,
    lender: Lent<'_, 's>,
) -> Result<HeapGraph<'s>, RuntimeError> {
    let elf = Elf::parse(input.file)?;
    let layout = Layout::of(input.binary.version, elf.machine);
    let mheap = input.attached.variable(input.attached.variables.mheap, "runtime.mheap_")?;
    let table = SpanTable::read(input.image, mheap, &layout, elf.machine)?;
    let mut warnings = Vec::new();
    if table.unreadable > 0 {
        warnings.push(format!("{} spans of the heap could not be read", table.unreadable));
    }
    let modules = modules::read(input.image, input.attached.module_data, &layout, &mut warnings);
    let files = files::open(input, &elf, &modules, &mut warnings);
    let (elf, layout, table, modules) = (&elf, &layout, &table, &modules);
    let reader = Reader { input, elf, layout, table, modules, files: &files, lender };
    reader.graph(warnings)
}

/// What the parts of the reader share.
struct Reader<'a, 'm, 's> {
    input: &'m Input<'a, 'm>,
    elf: &'m Elf<'m>,
    layout: &'m Layout,
    table: &'m SpanTable<'a>,
    modules: &'m [Module<'a>],
    files: &'m [ModuleFile<'m>],
    /// Of memory for the columns.
    lender: Lent<'m, 's>,
}

/// The bytes of a variable, which of its words are live, and its type.
struct Seed<'m> {
    bytes: Cow<'m, [u8]>,
    /// `None` when all are.
    live: Option<Vec<u64>>,
    of: TypeId,
    /// The bytes are a pointer to the variable.
    is_pointer: bool,
}

/// Fields of the types that objects and variables have; those of others are left out.
fn fields_of_used(
    types: &mut TypeTable<'_, '_>,
    type_of: &[u32],
    holders: &[Holder],
) -> Vec<Field> {
    let mut is_used = vec![false; types.types.len()];
    let variables = holders.iter().filter_map(|holder| holder.of);
    for id in type_of.iter().copied().chain(variables.map(|of| of.0)) {
        if let Some(is_used) = is_used.get_mut(id as usize) {
            *is_used = true;
        }
    }
    let used = (0..).zip(is_used).filter(|(_, is_used)| *is_used);
    types.finish(used.map(|(id, _)| TypeId(id)))
}

impl<'a, 'm, 's> Reader<'a, 'm, 's> {
    fn graph(&self, mut warnings: Vec<String>) -> Result<HeapGraph<'s>, RuntimeError> {
        let image = self.input.image;
        let go = Types::new(image, self.modules, self.layout);
        let pointers = Pointers::new(go, self.layout, self.table.arenas);
        let mut names = Names::new(self.files);
        let mut types = TypeTable::new(go, self.files);
        let mut roots = Roots::new(self.table, image.bytes());
        let mut stacks = StackNames::for_memory(image.bytes());
        let mut seeds = self.globals(&mut roots, &mut types, &names);
        let goroutines = self.goroutines(
            &mut roots,
            &mut types,
            &mut names,
            &mut stacks,
            &mut seeds,
            &mut warnings,
        )?;
        let mut specials = Specials::new(image, self.layout, &pointers);
        for (index, span) in self.table.spans.iter().enumerate() {
            if span.specials != 0 {
                specials.span(index, span, &mut roots, &mut types.strings);
            }
        }
        let queues = self.queues();
        if queues.allfin.is_none() || queues.cleanups.is_none() && self.layout.minor >= 25 {
            let what = "the queues of finalizers and cleanups were not all found";
            warnings.push(format!("{what}: what only waits there counts as unreachable"));
        }
        specials.queues(queues, &mut roots, &mut types.strings);
        let allocated_at = self.allocated_at(&specials, &mut stacks);
        let edges = self.edges(&pointers);
        let (holders, mut root_pointers) = (roots.holders, roots.pointers);
        root_pointers.sort_by_key(|pointer| pointer.holder);
        let chan_elem = self.layout.chan_elem;
        let mut typing = Typing::new(self.table, &pointers, &mut types, chan_elem, self.lender);
        typing.mark(&edges, &root_pointers);
        self.spread(&mut typing, &pointers, &seeds);
        let Typed { type_of, extents, fills } = self.result(typing);
        types.link_arrays();
        let fields = fields_of_used(&mut types, &type_of, &holders);
        let mut graph = HeapGraph {
            source: self.source(),
            strings: types.strings.into_table(),
            types: types.types,
            fields,
            objects: Objects::Spans(self.table.columns.clone()),
            type_of,
            edges,
            slot_bytes: 8,
            holders,
            root_pointers,
            goroutines,
            extents,
            fills,
            allocated_at,
            stacks: stacks.stacks,
            warnings,
            ..HeapGraph::default()
        };
        graph.texts = self.texts(&graph);
        graph.contents = self.contents(&graph);
        Ok(graph)
    }

    fn source(&self) -> HeapSource {
        HeapSource {
            runtime: self.input.binary.info.version.clone(),
            heap_in_use_bytes: Some(self.table.in_use_bytes),
            is_marking: self.is_marking(),
            ..HeapSource::default()
        }
    }

    /// Reports whether a collection was marking; unknown in stripped programs.
    fn is_marking(&self) -> bool {
        let phase = self.elf.symbols(&["runtime.gcphase"]).first().copied().flatten();
        let phase = phase.and_then(|addr| self.input.attached.bias.apply(addr));
        phase.and_then(|addr| self.input.image.read_u32(addr).ok()).is_some_and(|phase| phase != 0)
    }

    fn queues(&self) -> Queues {
        let Attached { bias, variables, .. } = self.input.attached;
        let at = |linked: Option<Addr>| linked.and_then(|addr| bias.apply(addr));
        Queues { allfin: at(variables.all_finalizers), cleanups: at(variables.cleanups) }
    }

    fn allocated_at(
        &self,
        specials: &Specials<'a, '_>,
        stacks: &mut StackNames,
    ) -> Vec<AllocatedAt> {
        let allocated = |(object, bucket): &(ObjectId, u64)| {
            let pcs = specials::bucket_stack(self.input.image, *bucket);
            AllocatedAt { object: *object, stack: stacks.of(&pcs, true, self.modules) }
        };
        specials.sampled.iter().map(allocated).collect()
    }

    /// The pointers of every allocated object, reachable or not: counted first, so that no
    /// column has to grow, by a look at their values that is far cheaper than finding objects.
    fn edges(&self, pointers: &Pointers<'a, '_>) -> Edges<'s> {
        let (bounds, objects) = (self.table.bounds(), self.table.objects());
        let mut most = 0;
        for (index, span) in self.table.spans.iter().enumerate().filter(|(_, s)| !s.is_noscan) {
            for slot in self.table.slots(index) {
                pointers.each(span, slot, |_, value| most += usize::from(bounds.contains(&value)));
            }
        }
        let mut first = Cells::zeros(objects + 1, self.lender);
        let [mut targets, mut slots] = std::array::from_fn(|_| Cells::zeros(most, self.lender));
        let mut block = vec![0];
        let (mut ended, mut count) = (0, 0);
        for (index, span) in self.table.spans.iter().enumerate() {
            let start = pointers.start(span);
            for slot in self.table.slots(index) {
                pointers.each(span, slot, |offset, value| {
                    if let Some(found) = self.table.find(value) {
                        let slot = u32::try_from((offset - start) / 8).unwrap_or(u32::MAX);
                        targets.set(count, found.object.0);
                        slots.set(count, slot);
                        count += 1;
                    }
                });
                ended += 1;
                first.set(ended, Edges::end_row(&mut block, ended, count as u64));
            }
        }
        Edges {
            first: first.into_column(objects + 1),
            block: block.into(),
            target: targets.into_column(count),
            slot: slots.into_column(count),
        }
    }

    fn spread(
        &self,
        typing: &mut Typing<'a, '_, '_, '_, 's>,
        pointers: &Pointers<'a, '_>,
        seeds: &[Seed<'_>],
    ) {
        typing.exact();
        for seed in seeds {
            typing.seed(&seed.bytes, seed.live.as_deref(), seed.of, seed.is_pointer);
        }
        typing.spread();
        // What is still unknown may hold interfaces, which tell by themselves.
        for region in self.modules.iter().flat_map(|module| &module.regions) {
            typing.guess_all(&region.bytes, region.mask);
        }
        for (index, span) in self.table.spans.iter().enumerate() {
            for slot in self.table.slots(index) {
                let object = self.table.columns.object_at(index, slot);
                if object.is_some_and(|object| typing.is_open(object)) {
                    typing.guess_object(pointers, span, slot);
                }
            }
        }
        typing.spread();
    }

    /// Types of all objects, those of unknown ones by size class.
    fn result(&self, typing: Typing<'a, '_, '_, '_, 's>) -> Typed<'s> {
        let Typing { types, mut type_of, extents, mut fills, .. } = typing;
        let mut next = type_of.iter_mut();
        for (index, span) in self.table.spans.iter().enumerate() {
            let unknown = types.id(Source::Unknown(span.elem, span.is_noscan)).0;
            let count = self.table.slots(index).count();
            next.by_ref().take(count).filter(|id| **id == 0).for_each(|id| *id = unknown);
        }
        fills.sort_by_key(|fill| fill.object);
        let objects = type_of.len();
        let extents = extents.into_columns(self.lender);
        Typed { type_of: type_of.into_column(objects), extents, fills }
    }

    /// Calls `visit` with each object in id order, its slot's bytes, and what is used of them
    /// if it is a text.
    fn each_text(
        &self,
        graph: &HeapGraph<'_>,
        mut visit: impl FnMut(ObjectId, &[u8], Option<&[u8]>),
    ) {
        let Extents { object, low, used, .. } = &graph.extents;
        let (mut id, mut at) = (0_u32, 0);
        for (index, span) in self.table.spans.iter().enumerate() {
            for slot in self.table.slots(index) {
                let from = (slot * span.elem) as usize;
                let bytes = span.bytes.get(from..from + span.elem as usize).unwrap_or(&[]);
                let extent = (object.get(at) == Some(&id)).then(|| {
                    let end = |column: &[u32]| column.get(at).copied().unwrap_or(0) as usize;
                    bytes.get(end(low)..end(used)).unwrap_or(&[])
                });
                at += usize::from(extent.is_some());
                let kind = || graph.heap_type(graph.type_of(ObjectId(id))).map(|of| of.kind);
                let text = extent.filter(|_| kind() == Some(TypeKind::Text));
                visit(ObjectId(id), bytes, text);
                id += 1;
            }
        }
    }

    /// Fingerprints of strings.
    fn texts(&self, graph: &HeapGraph<'_>) -> Texts<'s> {
        let is_text = |object: &&u32| {
            let found = graph.heap_type(graph.type_of(ObjectId(**object)));
            found.is_some_and(|found| found.kind == TypeKind::Text)
        };
        let count = graph.extents.object.iter().filter(is_text).count();
        let [mut objects, mut lens] = std::array::from_fn(|_| Cells::zeros(count, self.lender));
        let mut hashes = Cells::zeros(count, self.lender);
        let seed = ahash::RandomState::new();
        let mut at = 0;
        self.each_text(graph, |object, _, text| {
            let Some(text) = text else { return };
            let mut hasher = seed.build_hasher();
            hasher.write(text);
            objects.set(at, object.0);
            lens.set(at, text.len() as u32);
            hashes.set(at, hasher.finish());
            at += 1;
        });
        Texts {
            object: objects.into_column(at),
            bytes: lens.into_column(at),
            hash: hashes.into_column(at),
        }
    }

    /// The contents that were asked for.
    fn contents(&self, graph: &HeapGraph<'_>) -> Contents<'s> {
        let keep = self.input.contents;
        let is_kept = |object: ObjectId, bytes: &[u8]| {
            let is_text = || {
                let found = graph.heap_type(graph.type_of(object));
                found.is_some_and(|found| found.kind == TypeKind::Text)
            };
            bytes.len() as u64 <= CONTENTS_MAX && (keep == Keep::All || is_text())
        };
        if keep == Keep::Nothing {
            return Contents::default();
        }
        let (mut count, mut size) = (0, 0);
        self.each_text(graph, |object, bytes, _| {
            if is_kept(object, bytes) {
                (count, size) = (count + 1, size + bytes.len());
            }
        });
        if count == 0 {
            return Contents::default();
        }
        let mut objects = Cells::zeros(count, self.lender);
        let mut starts = Cells::zeros(count + 1, self.lender);
        let mut all = Cells::zeros(size, self.lender);
        let (mut at, mut end) = (0, 0);
        self.each_text(graph, |object, bytes, _| {
            if is_kept(object, bytes)
                && let Some(place) = all.get_mut(end..end + bytes.len())
            {
                place.copy_from_slice(bytes);
                objects.set(at, object.0);
                starts.set(at, end as u64);
                (at, end) = (at + 1, end + bytes.len());
            }
        });
        starts.set(at, end as u64);
        Contents {
            object: objects.into_column(at),
            start: starts.into_column(at + 1),
            bytes: all.into_column(end),
        }
    }
}

/// What typing found.
struct Typed<'s> {
    type_of: Column<'s, u32>,
    extents: Extents<'s>,
    fills: Vec<Fill>,
}
