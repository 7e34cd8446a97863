//! The object graph of a Go process, from a frozen picture of its memory.
//!
//! What the collector would find is found the way it finds it: spans and their bitmaps,
//! pointer masks, stack maps. Types come from headers, interfaces and the descriptors
//! every binary carries, and from DWARF where there is some. Cost: one pass over the
//! memory of objects that hold pointers, and one over the reachable ones for their types.

mod bounds;
mod files;
mod globals;
mod gotype;
mod hidden;
mod layout;
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
    AllocatedAt, Contents, Edges, Extents, HeapGraph, HeapSource, ObjectId, Objects, Texts, TypeId,
    TypeKind,
};

use crate::elf::Elf;
use crate::goruntime::{Attached, Binary, Memory, MemoryImage, RuntimeError, ThreadRegisters};
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
    let reader = Reader {
        input,
        elf: &elf,
        layout: &layout,
        table: &table,
        modules: &modules,
        files: &files,
    };
    reader.graph(warnings)
}

/// What the parts of the reader share.
struct Reader<'a, 'm> {
    input: &'m Input<'a, 'm>,
    elf: &'m Elf<'m>,
    layout: &'m Layout,
    table: &'m SpanTable<'a>,
    modules: &'m [Module<'a>],
    files: &'m [ModuleFile<'m>],
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

impl<'a, 'm> Reader<'a, 'm> {
    fn graph(&self, mut warnings: Vec<String>) -> Result<HeapGraph<'static>, RuntimeError> {
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
        let mut typing =
            Typing::new(self.table, &pointers, &mut types, chan_elem, edges.first.len() - 1);
        typing.mark(&edges, &root_pointers);
        self.spread(&mut typing, &pointers, &seeds);
        let (type_of, extents, fills) = self.result(typing);
        types.link_arrays();
        let variables = holders.iter().filter_map(|holder| holder.of);
        let used: Vec<TypeId> = type_of.iter().map(|id| TypeId(*id)).chain(variables).collect();
        let fields = types.finish(used.into_iter());
        let mut graph = HeapGraph {
            source: self.source(),
            strings: types.strings.into_table(),
            types: types.types,
            fields,
            objects: Objects::Spans(self.table.columns.clone()),
            type_of: type_of.into(),
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
        self.texts(&mut graph);
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

    /// The pointers of every allocated object, reachable or not.
    fn edges(&self, pointers: &Pointers<'a, '_>) -> Edges<'static> {
        let mut edges = Edges::empty();
        for (index, span) in self.table.spans.iter().enumerate() {
            let start = pointers.start(span);
            for slot in self.table.slots(index) {
                pointers.each(span, slot, |offset, value| {
                    if let Some(found) = self.table.find(value) {
                        let slot = u32::try_from((offset - start) / 8).unwrap_or(u32::MAX);
                        edges.push(slot, found.object);
                    }
                });
                edges.end_object();
            }
        }
        edges
    }

    fn spread(
        &self,
        typing: &mut Typing<'a, '_, '_, '_>,
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
    fn result(
        &self,
        typing: Typing<'a, '_, '_, '_>,
    ) -> (Vec<u32>, Extents<'static>, Vec<model::heap::Fill>) {
        let Typing { types, mut type_of, extents, mut fills, .. } = typing;
        let mut next = type_of.iter_mut();
        for (index, span) in self.table.spans.iter().enumerate() {
            let unknown = types.id(Source::Unknown(span.elem, span.is_noscan)).0;
            let count = self.table.slots(index).count();
            next.by_ref().take(count).filter(|id| **id == 0).for_each(|id| *id = unknown);
        }
        let mut sorted: Vec<(u32, [u32; 3])> = extents.into_iter().collect();
        sorted.sort_unstable();
        let mut columns = Extents::default();
        for (object, [low, used, capacity]) in sorted {
            columns.object.to_mut().push(object);
            columns.low.to_mut().push(low);
            columns.used.to_mut().push(used);
            columns.capacity.to_mut().push(capacity);
        }
        fills.sort_by_key(|fill| fill.object);
        (type_of, columns, fills)
    }

    /// Fingerprints of strings, and the contents that were asked for.
    fn texts(&self, graph: &mut HeapGraph<'static>) {
        let seed = ahash::RandomState::new();
        let (mut texts, mut contents) = (Texts::default(), Contents::default());
        let keep = self.input.contents;
        let mut id = 0_u32;
        for (index, span) in self.table.spans.iter().enumerate() {
            for slot in self.table.slots(index) {
                let object = ObjectId(id);
                id += 1;
                let kind = graph.heap_type(graph.type_of(object)).map(|found| found.kind);
                let is_text = kind == Some(TypeKind::Text);
                let from = (slot * span.elem) as usize;
                let bytes = span.bytes.get(from..from + span.elem as usize).unwrap_or(&[]);
                if is_text && let Ok(at) = graph.extents.object.binary_search(&object.0) {
                    let end = |column: &[u32]| column.get(at).copied().unwrap_or(0) as usize;
                    let (low, used) = (end(&graph.extents.low), end(&graph.extents.used));
                    let text = bytes.get(low..used).unwrap_or(&[]);
                    let mut hasher = seed.build_hasher();
                    hasher.write(text);
                    texts.object.to_mut().push(object.0);
                    texts.bytes.to_mut().push(text.len() as u32);
                    texts.hash.to_mut().push(hasher.finish());
                }
                let is_kept = match keep {
                    Keep::Nothing => false,
                    Keep::Strings => is_text,
                    Keep::All => true,
                };
                if is_kept && span.elem <= CONTENTS_MAX {
                    contents.object.to_mut().push(object.0);
                    contents.start.to_mut().push(contents.bytes.len() as u64);
                    contents.bytes.to_mut().extend_from_slice(bytes);
                }
            }
        }
        if !contents.object.is_empty() {
            contents.start.to_mut().push(contents.bytes.len() as u64);
        }
        (graph.texts, graph.contents) = (texts, contents);
    }
}
