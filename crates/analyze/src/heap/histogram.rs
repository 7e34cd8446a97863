//! Objects and bytes by type, package or size, with what each group retains.
//!
//! A group retains what its top ancestors retain: those of its objects that no other of
//! its objects dominates. In the preorder of the dominator tree these are found in one
//! pass without looking back.

use ahash::AHashMap;
use model::heap::{HeapGraph, ObjectId, TypeId};

use super::{Dominators, Node, Retained};

/// What objects are grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Grouping {
    /// Their type.
    Type,
    /// The package that declares their type.
    Package,
    /// The bytes they occupy.
    Size,
}

/// A group of objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The name of the type or package, or the size in bytes.
    pub name: String,
    /// The type, where types are the groups.
    pub of: Option<TypeId>,
    /// The size, where sizes are the groups.
    pub size_bytes: Option<u64>,
    /// Reachable objects.
    pub live: Retained,
    /// What the group retains, itself included.
    pub retained: Retained,
    /// Objects that nothing reaches.
    pub unreachable: Retained,
}

/// Groups all objects; largest retained size first.
pub fn histogram(graph: &HeapGraph<'_>, dominators: &Dominators, by: Grouping) -> Vec<Row> {
    let mut groups = Groups::new(graph, by);
    // Where the retained set ends that the group's last top ancestor opened.
    let mut until: Vec<u32> = Vec::new();
    for number in 0..dominators.len() {
        let Some(object) = dominators.object_at(number) else { continue };
        let bytes = dominators.bytes_at(number);
        let index = groups.index(graph, object, bytes);
        until.resize(groups.rows.len().max(until.len()), 0);
        let (Some(row), Some(until)) = (groups.rows.get_mut(index), until.get_mut(index)) else {
            continue;
        };
        row.live += Retained { bytes, objects: 1 };
        if number >= *until {
            row.retained += dominators.retained_at(number);
            *until = dominators.range(number).end;
        }
    }
    graph.objects.each_size(|object, bytes| {
        if !dominators.is_reachable(Node::Object(object)) {
            let index = groups.index(graph, object, bytes);
            if let Some(row) = groups.rows.get_mut(index) {
                row.unreachable += Retained { bytes, objects: 1 };
            }
        }
    });
    let mut rows = groups.rows;
    rows.retain(|row| row.live.objects + row.unreachable.objects > 0);
    rows.sort_by(|a, b| {
        let size = |row: &Row| (row.retained.bytes, row.live.bytes, row.unreachable.bytes);
        size(b).cmp(&size(a)).then_with(|| a.name.cmp(&b.name)).then(a.of.cmp(&b.of))
    });
    rows
}

struct Groups {
    rows: Vec<Row>,
    /// The row of each type, where types decide.
    of_type: Vec<usize>,
    /// The row of each size, where sizes decide.
    of_size: AHashMap<u64, usize>,
    /// The last size asked for: neighbours tend to be of one size.
    last: (u64, usize),
    by: Grouping,
}

impl Groups {
    fn new(graph: &HeapGraph<'_>, by: Grouping) -> Groups {
        let mut groups = Groups {
            rows: Vec::new(),
            of_type: Vec::new(),
            of_size: AHashMap::new(),
            last: (u64::MAX, 0),
            by,
        };
        let mut of_package = AHashMap::new();
        for (index, found) in graph.types.iter().enumerate() {
            let row = match by {
                Grouping::Type => {
                    groups.add(graph.strings.get(found.name), Some(TypeId(index as u32)), None)
                }
                Grouping::Package => *of_package
                    .entry(found.package)
                    .or_insert_with(|| groups.add(graph.strings.get(found.package), None, None)),
                Grouping::Size => continue,
            };
            groups.of_type.push(row);
        }
        groups
    }

    fn add(&mut self, name: &str, of: Option<TypeId>, size_bytes: Option<u64>) -> usize {
        let none = Retained::default();
        let (live, retained, unreachable) = (none, none, none);
        let name = name.to_owned();
        self.rows.push(Row { name, of, size_bytes, live, retained, unreachable });
        self.rows.len() - 1
    }

    fn index(&mut self, graph: &HeapGraph<'_>, object: ObjectId, bytes: u64) -> usize {
        if self.by != Grouping::Size {
            let of = graph.type_of(object).0 as usize;
            return self.of_type.get(of).copied().unwrap_or(usize::MAX);
        }
        if self.last.0 != bytes {
            let known = self.of_size.get(&bytes).copied();
            let index = known.unwrap_or_else(|| self.add(&bytes.to_string(), None, Some(bytes)));
            self.of_size.insert(bytes, index);
            self.last = (bytes, index);
        }
        self.last.1
    }
}
