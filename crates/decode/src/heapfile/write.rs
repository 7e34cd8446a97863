//! A heap graph as columns. Large columns go out as they lie in memory; lists of structures
//! are taken apart field by field.

use std::io;

use model::heap::{Edges, FillKind, HolderKind, Objects, TypeKind};
use model::{Frame, HeapGraph, StringTable};

use super::container::Writer;

/// Stands for `None` in columns of indices.
pub(super) const NONE: u32 = u32::MAX;

/// Kinds of types by their number in files. Only ever append.
pub(super) const TYPE_KINDS: [TypeKind; 8] = [
    TypeKind::Unknown,
    TypeKind::Scalar,
    TypeKind::Struct,
    TypeKind::Array,
    TypeKind::Text,
    TypeKind::Closure,
    TypeKind::Map,
    TypeKind::Channel,
];

/// What can be full, by its number in files. Only ever append.
pub(super) const FILL_KINDS: [FillKind; 3] = [FillKind::Map, FillKind::Channel, FillKind::List];

/// What holds objects, by its number in files. Only ever append.
pub(super) const HOLDER_KINDS: [HolderKind; 9] = HolderKind::ALL;

pub(super) fn graph(graph: &HeapGraph<'_>, out: &mut impl io::Write) -> io::Result<u64> {
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
    graph.check().map_err(|what| invalid(format!("the {} of the graph do not fit", what.0)))?;
    let mut to = Writer::start(out)?;
    source(graph, &mut to)?;
    texts(&mut to, ["strings.text", "strings.end"], || graph.strings.iter())?;
    types(graph, &mut to)?;
    objects(&graph.objects, &mut to)?;
    to.column("objects.type", &graph.type_of)?;
    edges(&graph.edges, &mut to)?;
    to.numbers("weak.from", graph.weak.iter().map(|weak| weak.0.0))?;
    to.numbers("weak.slot", graph.weak.iter().map(|weak| weak.1))?;
    to.numbers("weak.to", graph.weak.iter().map(|weak| weak.2.0))?;
    to.column("slot_bytes", &[graph.slot_bytes])?;
    holders(graph, &mut to)?;
    stacks(graph, &mut to)?;
    facts(graph, &mut to)?;
    texts(&mut to, ["warnings.text", "warnings.end"], || {
        graph.warnings.iter().map(String::as_str)
    })?;
    to.end()
}

fn source(graph: &HeapGraph<'_>, to: &mut Writer<'_, impl io::Write>) -> io::Result<()> {
    let source = &graph.source;
    let texts = [
        ("source.runtime", &source.runtime),
        ("source.target", &source.target),
        ("source.executable", &source.executable),
        ("source.method", &source.method),
    ];
    for (name, text) in texts {
        to.text(name, std::iter::once(text.as_str()))?;
    }
    let time = source.time.map(|time| time.0.cast_unsigned());
    let numbers = [
        ("source.time", time),
        ("source.pause_nanos", source.pause_nanos),
        ("source.gc_count", source.gc_count),
        ("source.heap_in_use_bytes", source.heap_in_use_bytes),
    ];
    for (name, number) in numbers {
        // What is not known has no column.
        if let Some(number) = number {
            to.column(name, &[number])?;
        }
    }
    to.column("source.is_marking", &[u8::from(source.is_marking)])
}

/// Texts end to end, and where each ends.
fn texts<'t, I: Iterator<Item = &'t str>>(
    to: &mut Writer<'_, impl io::Write>,
    [text, end]: [&str; 2],
    all: impl Fn() -> I,
) -> io::Result<()> {
    to.text(text, all())?;
    let mut at = 0_u64;
    let ends = all().map(|text| {
        at += text.len() as u64;
        at
    });
    to.numbers(end, ends)
}

fn types(graph: &HeapGraph<'_>, to: &mut Writer<'_, impl io::Write>) -> io::Result<()> {
    let types = &graph.types;
    to.numbers("types.name", types.iter().map(|t| t.name.0))?;
    to.numbers("types.package", types.iter().map(|t| t.package.0))?;
    to.numbers("types.kind", types.iter().map(|t| code(&TYPE_KINDS, t.kind)))?;
    to.numbers("types.bytes", types.iter().map(|t| t.bytes))?;
    to.numbers("types.fields_start", types.iter().map(|t| t.fields.start))?;
    to.numbers("types.fields_end", types.iter().map(|t| t.fields.end))?;
    to.numbers("types.element", types.iter().map(|t| t.element.map_or(NONE, |id| id.0)))?;
    to.numbers("fields.offset", graph.fields.iter().map(|field| field.offset))?;
    to.numbers("fields.name", graph.fields.iter().map(|field| field.name.0))?;
    to.numbers("fields.of", graph.fields.iter().map(|field| field.of.map_or(NONE, |id| id.0)))
}

/// A kind's number; kinds are few.
fn code<T: Copy + PartialEq>(kinds: &[T], kind: T) -> u8 {
    kinds.iter().position(|known| *known == kind).unwrap_or(0) as u8
}

fn objects(objects: &Objects<'_>, to: &mut Writer<'_, impl io::Write>) -> io::Result<()> {
    match objects {
        Objects::Spans(spans) => {
            to.column("spans.base", &spans.base)?;
            to.column("spans.slot_bytes", &spans.slot_bytes)?;
            to.column("spans.is_noscan", &spans.is_noscan)?;
            to.column("spans.first", &spans.first)?;
            to.column("spans.word", &spans.word)?;
            to.column("spans.allocated", &spans.allocated)?;
            to.column("spans.bytes", &spans.sizes.span_bytes)?;
            to.column("spans.slots", &spans.sizes.slots)?;
            to.column("spans.is_cached", &spans.sizes.is_cached)
        }
        Objects::Listed(listed) => {
            to.column("listed.address", &listed.address)?;
            to.column("listed.bytes", &listed.bytes)
        }
    }
}

fn edges(edges: &Edges<'_>, to: &mut Writer<'_, impl io::Write>) -> io::Result<()> {
    to.column("edges.first", &edges.first)?;
    to.column("edges.block", &edges.block)?;
    to.column("edges.target", &edges.target)?;
    to.column("edges.slot", &edges.slot)
}

fn holders(graph: &HeapGraph<'_>, to: &mut Writer<'_, impl io::Write>) -> io::Result<()> {
    let holders = &graph.holders;
    to.numbers("holders.kind", holders.iter().map(|h| code(&HOLDER_KINDS, h.kind)))?;
    to.numbers("holders.name", holders.iter().map(|h| h.name.0))?;
    to.numbers("holders.place", holders.iter().map(|h| h.place.0))?;
    to.numbers("holders.parent", holders.iter().map(|h| h.parent.map_or(NONE, |id| id.0)))?;
    to.numbers("holders.goroutine", holders.iter().map(|h| h.goroutine.unwrap_or(NONE)))?;
    to.numbers("holders.of", holders.iter().map(|h| h.of.map_or(NONE, |id| id.0)))?;
    let guesses = holders.iter().map(|h| u8::from(h.is_conservative));
    to.numbers("holders.is_conservative", guesses)?;
    let roots = &graph.root_pointers;
    to.numbers("roots.holder", roots.iter().map(|root| root.holder.0))?;
    to.numbers("roots.slot", roots.iter().map(|root| root.slot))?;
    to.numbers("roots.target", roots.iter().map(|root| root.target.0))
}

/// Goroutines and stacks. Their texts have a table of their own, which is built here: each
/// distinct name is stored once.
fn stacks(graph: &HeapGraph<'_>, to: &mut Writer<'_, impl io::Write>) -> io::Result<()> {
    let frames = || graph.stacks.iter().flatten();
    let mut names = StringTable::default();
    for frame in frames() {
        names.intern(&frame.function);
        names.intern(&frame.file);
    }
    for goroutine in &graph.goroutines {
        names.intern(&goroutine.state);
        names.intern(&goroutine.wait_reason);
    }
    let id = |text: &str| names.lookup(text).map_or(0, |id| id.0);
    texts(to, ["names.text", "names.end"], || names.iter())?;
    let function = |frame: &Frame| id(&frame.function);
    to.numbers("frames.function", frames().map(function))?;
    to.numbers("frames.file", frames().map(|frame| id(&frame.file)))?;
    to.numbers("frames.line", frames().map(|frame| frame.line))?;
    let mut at = 0_u64;
    let ends = graph.stacks.iter().map(|stack| {
        at += stack.len() as u64;
        at
    });
    to.numbers("stacks.end", ends)?;
    let all = &graph.goroutines;
    to.numbers("goroutines.id", all.iter().map(|g| g.id))?;
    to.numbers("goroutines.state", all.iter().map(|g| id(&g.state)))?;
    to.numbers("goroutines.wait_reason", all.iter().map(|g| id(&g.wait_reason)))?;
    to.numbers("goroutines.stack_bytes", all.iter().map(|g| g.stack_bytes))?;
    to.numbers("goroutines.stack", all.iter().map(|g| g.stack.unwrap_or(NONE)))
}

fn facts(graph: &HeapGraph<'_>, to: &mut Writer<'_, impl io::Write>) -> io::Result<()> {
    to.column("extents.object", &graph.extents.object)?;
    to.column("extents.low", &graph.extents.low)?;
    to.column("extents.used", &graph.extents.used)?;
    to.column("extents.capacity", &graph.extents.capacity)?;
    let fills = &graph.fills;
    to.numbers("fills.object", fills.iter().map(|fill| fill.object.0))?;
    to.numbers("fills.kind", fills.iter().map(|fill| code(&FILL_KINDS, fill.kind)))?;
    to.numbers("fills.used", fills.iter().map(|fill| fill.used))?;
    to.numbers("fills.capacity", fills.iter().map(|fill| fill.capacity))?;
    to.numbers("fills.element_bytes", fills.iter().map(|fill| fill.element_bytes))?;
    to.column("texts.object", &graph.texts.object)?;
    to.column("texts.bytes", &graph.texts.bytes)?;
    to.column("texts.hash", &graph.texts.hash)?;
    let samples = &graph.allocated_at;
    to.numbers("allocated.object", samples.iter().map(|sample| sample.object.0))?;
    to.numbers("allocated.stack", samples.iter().map(|sample| sample.stack))?;
    to.column("contents.object", &graph.contents.object)?;
    to.column("contents.start", &graph.contents.start)?;
    to.column("contents.bytes", &graph.contents.bytes)
}
