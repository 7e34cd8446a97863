//! What a query can ask of an object.

use std::cell::RefCell;

use model::heap::{HeapGraph, HolderId, ObjectId, TypeId, TypeKind};

use super::syntax::{Column, Syntax};
use super::value::Value;
use crate::heap::dominators::NONE;
use crate::heap::names::{Label, holder_name, node_name};
use crate::heap::paths::Paths;
use crate::heap::{Dominators, Node};

/// Texts are shown up to this length.
const TEXT_MAX: usize = 256;

/// A graph, and what is worked out of it only where the query needs it.
pub(super) struct Source<'g> {
    pub(super) graph: &'g HeapGraph<'g>,
    pub(super) dominators: &'g Dominators,
    /// How deep each object is, and the holder above it; empty where not asked for.
    depths: Vec<u32>,
    roots: Vec<u32>,
    referrers: Vec<u32>,
    fields: &'g [Vec<String>],
    /// Where each field lies in each type that was asked for.
    places: RefCell<Vec<ahash::AHashMap<u32, Option<Place>>>>,
}

/// A field within an object.
#[derive(Clone, Copy)]
struct Place {
    offset: u64,
    /// Bytes up to the next field.
    bytes: u64,
}

impl<'g> Source<'g> {
    pub(super) fn new(
        graph: &'g HeapGraph<'g>,
        dominators: &'g Dominators,
        query: &'g Syntax,
    ) -> Source<'g> {
        let needs_paths = query.uses(Column::Depth) || query.uses(Column::Root);
        let tables = needs_paths.then(|| Paths::of(graph).depths_and_roots());
        let (depths, roots) = tables.unwrap_or_default();
        Source {
            graph,
            dominators,
            depths,
            roots,
            referrers: if query.uses(Column::Referrers) { referrers(graph) } else { Vec::new() },
            fields: &query.fields,
            places: RefCell::new(vec![ahash::AHashMap::new(); query.fields.len()]),
        }
    }

    pub(super) fn column(&self, column: Column, object: ObjectId) -> Value {
        let graph = self.graph;
        let node = Node::Object(object);
        let of = graph.type_of(object);
        let int = |value: u64| Value::Int(i128::from(value));
        let text = |text: &str| Value::Text(text.to_owned());
        match column {
            Column::Address => {
                graph.objects.address(object).map_or(Value::Null, |at| Value::Address(at.0))
            }
            Column::Type => text(graph.type_name(of)),
            Column::Package => {
                text(graph.heap_type(of).map_or("", |of| graph.strings.get(of.package)))
            }
            Column::Kind => text(kind_name(graph, of)),
            Column::Bytes => int(graph.objects.bytes(object)),
            Column::Retained => int(self.dominators.retained(node).bytes),
            Column::RetainedObjects => int(self.dominators.retained(node).objects),
            Column::Reachable => Value::Bool(self.dominators.is_reachable(node)),
            Column::Depth => {
                let depth = self.depths.get(object.index()).filter(|depth| **depth > 0);
                depth.map_or(Value::Null, |depth| int(u64::from(*depth)))
            }
            Column::Dominator => {
                let above = self.dominators.immediate(node);
                above.map_or(Value::Null, |above| Value::Text(node_name(graph, above)))
            }
            Column::DominatorType => {
                let above = self.dominators.immediate(node);
                above.map_or(Value::Null, |above| text(Label::of(graph, above).name(graph)))
            }
            Column::Refs => int(graph.edges.targets(object).len() as u64),
            Column::Referrers => {
                int(u64::from(self.referrers.get(object.index()).copied().unwrap_or(0)))
            }
            Column::Root => {
                let root = self.roots.get(object.index()).filter(|root| **root != NONE);
                root.map_or(Value::Null, |root| Value::Text(holder_name(graph, HolderId(*root))))
            }
        }
    }

    /// A field's value: the address it points to, the text it holds, or a number of up to
    /// eight bytes without sign. Unknown where the contents were not kept.
    pub(super) fn field(&self, field: usize, object: ObjectId) -> Value {
        let Some(place) = self.place(field, self.graph.type_of(object)) else {
            return Value::Null;
        };
        let slot_bytes = u64::from(self.graph.slot_bytes).max(1);
        let pointer = self.graph.edges.of(object);
        let mut pointer = pointer.filter(|(slot, _)| u64::from(*slot) * slot_bytes == place.offset);
        if let Some((_, target)) = pointer.next() {
            let address = self.graph.objects.address(target);
            let text = self.text(object, place, target);
            return text.or(address.map(|at| Value::Address(at.0))).unwrap_or(Value::Null);
        }
        let width = place.bytes.min(8);
        let number = self.number(object, place.offset, width);
        number.map_or(Value::Null, |number| Value::Int(i128::from(number)))
    }

    /// A string: a pointer to text, and its length in the next word.
    fn text(&self, object: ObjectId, place: Place, target: ObjectId) -> Option<Value> {
        let is_text =
            |of: TypeId| self.graph.heap_type(of).is_some_and(|of| of.kind == TypeKind::Text);
        if place.bytes < 16 || !is_text(self.graph.type_of(target)) {
            return None;
        }
        let length = usize::try_from(self.number(object, place.offset + 8, 8)?).ok()?;
        let bytes = self.graph.contents.of(target)?;
        let bytes = bytes.get(..length.min(TEXT_MAX).min(bytes.len()))?;
        Some(Value::Text(String::from_utf8_lossy(bytes).into_owned()))
    }

    fn number(&self, object: ObjectId, offset: u64, width: u64) -> Option<u64> {
        let bytes = self.graph.contents.of(object)?;
        let start = usize::try_from(offset).ok()?;
        let bytes = bytes.get(start..start.checked_add(width as usize)?)?;
        Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn place(&self, field: usize, of: TypeId) -> Option<Place> {
        let mut places = self.places.borrow_mut();
        let of_type = places.get_mut(field)?;
        *of_type.entry(of.0).or_insert_with(|| self.find(self.fields.get(field)?, of))
    }

    fn find(&self, path: &[String], of: TypeId) -> Option<Place> {
        let mut next = Some(of);
        let mut offset = 0_u64;
        let mut bytes = 0;
        for name in path {
            let found = self.graph.heap_type(next?)?;
            let fields = self.graph.fields_of(found);
            let index =
                fields.iter().position(|field| self.graph.strings.get(field.name) == name)?;
            let field = fields.get(index)?;
            let end = fields.get(index + 1).map_or(found.bytes, |after| after.offset);
            bytes = end.saturating_sub(field.offset);
            offset = offset.checked_add(field.offset)?;
            next = field.of;
        }
        Some(Place { offset, bytes })
    }
}

fn kind_name(graph: &HeapGraph<'_>, of: TypeId) -> &'static str {
    match graph.heap_type(of).map(|of| of.kind) {
        Some(TypeKind::Scalar) => "scalar",
        Some(TypeKind::Struct) => "struct",
        Some(TypeKind::Array) => "array",
        Some(TypeKind::Text) => "text",
        Some(TypeKind::Closure) => "closure",
        Some(TypeKind::Map) => "map",
        Some(TypeKind::Channel) => "channel",
        _ => "unknown",
    }
}

/// How many pointers lead to each object, those of roots included.
fn referrers(graph: &HeapGraph<'_>) -> Vec<u32> {
    let mut counts = vec![0_u32; graph.len()];
    let roots = graph.root_pointers.iter().map(|pointer| &pointer.target.0);
    for target in graph.edges.target.iter().chain(roots) {
        if let Some(count) = counts.get_mut(*target as usize) {
            *count = count.saturating_add(1);
        }
    }
    counts
}
