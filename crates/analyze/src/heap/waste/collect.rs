//! Sums of waste by type and field, and the worst objects.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use model::heap::{HeapGraph, ObjectId};

use super::{Offender, Waste, WasteKind, WasteRow, type_name};
use crate::heap::Retained;
use crate::heap::names::holders_part_name;
use crate::heap::paths::{Style, field_of_object};
use crate::heap::retained::Bits;

/// Bytes wasted, the object (lower ones first), used, of how many.
type Rank = (u64, Reverse<u32>, u64, u64);

/// Collects what one kind of waste comes to.
pub(super) struct Collector<'g> {
    graph: &'g HeapGraph<'g>,
    limit: usize,
    total: Retained,
    of_type: Vec<Retained>,
    /// The worst so far, the least of them on top.
    worst: BinaryHeap<Reverse<Rank>>,
    /// Each object with what it wastes, where fields are to be told.
    objects: Option<Vec<(u32, u64)>>,
}

impl<'g> Collector<'g> {
    pub(super) fn new(graph: &'g HeapGraph<'_>, limit: usize, with_fields: bool) -> Collector<'g> {
        Collector {
            graph,
            limit,
            total: Retained::default(),
            of_type: vec![Retained::default(); graph.types.len()],
            worst: BinaryHeap::new(),
            objects: with_fields.then(Vec::new),
        }
    }

    /// Counts an object.
    pub(super) fn add(&mut self, object: u32, bytes: u64) {
        let wasted = Retained { bytes, objects: 1 };
        self.total += wasted;
        let of = self.graph.type_of(ObjectId(object));
        if let Some(sum) = self.of_type.get_mut(of.0 as usize) {
            *sum += wasted;
        }
        if let Some(objects) = &mut self.objects {
            objects.push((object, bytes));
        }
    }

    /// Tells of an object if it is among the worst.
    pub(super) fn tell(&mut self, offender: Offender) {
        let Offender { object, wasted_bytes, used, of } = offender;
        self.worst.push(Reverse((wasted_bytes, Reverse(object.0), used, of)));
        if self.worst.len() > self.limit {
            self.worst.pop();
        }
    }

    pub(super) fn finish(mut self, kind: WasteKind) -> Waste {
        let mut types: BTreeMap<&str, Retained> = BTreeMap::new();
        for (id, wasted) in self.of_type.iter().enumerate().filter(|(_, sum)| sum.objects > 0) {
            *types.entry(type_name(self.graph, id)).or_default() += *wasted;
        }
        let types = types.into_iter().map(|(name, wasted)| (name.to_owned(), wasted));
        let types = worst_rows(types.collect(), self.limit);
        let fields = self.fields();
        let worst = std::mem::take(&mut self.worst).into_sorted_vec();
        let offenders = worst
            .into_iter()
            .map(|Reverse((wasted_bytes, Reverse(object), used, of))| Offender {
                object: ObjectId(object),
                wasted_bytes,
                used,
                of,
            })
            .collect();
        Waste { kind, total: self.total, offenders, fields, types }
    }

    /// One pass over all pointers: each object counts where it is first pointed to.
    fn fields(&mut self) -> Vec<WasteRow> {
        let Some(mut objects) = self.objects.take().filter(|objects| !objects.is_empty()) else {
            return Vec::new();
        };
        objects.sort_unstable();
        let graph = self.graph;
        let mut is_wasteful = Bits::new(graph.len() as u32);
        for (object, _) in &objects {
            is_wasteful.insert(*object);
        }
        let mut is_counted = Bits::new(graph.len() as u32);
        let mut fields: BTreeMap<String, Retained> = BTreeMap::new();
        let mut count = |target: u32, name: &dyn Fn() -> String| {
            if !is_wasteful.contains(target) || !is_counted.insert(target) {
                return;
            }
            let from = objects.partition_point(|(object, _)| *object < target);
            let own = objects.iter().skip(from).take_while(|(object, _)| *object == target);
            let bytes = own.fold(0, |sum: u64, (_, bytes)| sum.saturating_add(*bytes));
            *fields.entry(name()).or_default() += Retained { bytes, objects: 1 };
        };
        for from in (0..graph.len() as u32).map(ObjectId) {
            for (slot, target) in graph.edges.of(from) {
                count(target.0, &|| {
                    let field = field_of_object(graph, from, slot, Style::Merged);
                    format!("{}{field}", graph.type_name(graph.type_of(from)))
                });
            }
        }
        for pointer in &graph.root_pointers {
            count(pointer.target.0, &|| holders_part_name(graph, pointer.holder, "", 1));
        }
        worst_rows(fields.into_iter().collect(), self.limit)
    }
}

pub(super) fn worst_rows(rows: Vec<(String, Retained)>, limit: usize) -> Vec<WasteRow> {
    let mut rows: Vec<WasteRow> =
        rows.into_iter().map(|(name, wasted)| WasteRow { name, wasted }).collect();
    rows.sort_by(|a, b| b.wasted.cmp(&a.wasted).then_with(|| a.name.cmp(&b.name)));
    rows.truncate(limit);
    rows
}
