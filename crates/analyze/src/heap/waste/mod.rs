//! Memory that holds nothing the program needs: equal strings, arrays of which only a part
//! is used, room that is never filled, and what rounding up to size classes costs.
//!
//! Only live objects count. The figures are what could be saved at most: an array may have
//! users the snapshot did not see, and room may be filled later.

mod collect;
mod find;
mod pools;
pub mod spans;

use model::heap::{HeapGraph, ObjectId, TypeId};

use super::{Dominators, Retained};
use collect::Collector;

/// Why memory is wasted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum WasteKind {
    /// Texts that are there already.
    DuplicateStrings,
    /// Parts of arrays that no slice or string that points into them covers, not even by
    /// its capacity: a small part pins the whole.
    PinnedArrays,
    /// Room between length and capacity.
    SpareCapacity,
    /// Maps of which less than a third is used.
    SparseMaps,
    /// Channels whose buffer is less than half full.
    EmptyChannels,
    /// Lists of which less than half is used.
    SparseLists,
    /// Objects that wait in a sync.Pool. The collector takes those that were not used
    /// between two collections; large ones that are used now and then stay for ever.
    Pools,
    /// What is left of a slot after the values in it.
    Rounding,
}

impl WasteKind {
    /// All kinds.
    pub const ALL: [WasteKind; 8] = [
        WasteKind::DuplicateStrings,
        WasteKind::PinnedArrays,
        WasteKind::SpareCapacity,
        WasteKind::SparseMaps,
        WasteKind::EmptyChannels,
        WasteKind::SparseLists,
        WasteKind::Pools,
        WasteKind::Rounding,
    ];

    /// The words for it.
    pub fn as_str(self) -> &'static str {
        match self {
            WasteKind::DuplicateStrings => "duplicate-strings",
            WasteKind::PinnedArrays => "pinned-arrays",
            WasteKind::SpareCapacity => "spare-capacity",
            WasteKind::SparseMaps => "sparse-maps",
            WasteKind::EmptyChannels => "empty-channels",
            WasteKind::SparseLists => "sparse-lists",
            WasteKind::Pools => "sync-pools",
            WasteKind::Rounding => "size-class-rounding",
        }
    }
}

/// An object that wastes memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offender {
    /// The object; of equal texts the first.
    pub object: ObjectId,
    /// Bytes wasted.
    pub wasted_bytes: u64,
    /// Bytes, elements or equal texts that are used ...; in a pool, what the middle one of
    /// its objects retains.
    pub used: u64,
    /// ... of this many; in a pool, of how many objects.
    pub of: u64,
}

/// Waste below one field or type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WasteRow {
    /// `main.Order.Items`, or a type's name.
    pub name: String,
    /// Bytes wasted, and by how many objects.
    pub wasted: Retained,
}

/// One kind of waste.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waste {
    /// Which.
    pub kind: WasteKind,
    /// Bytes wasted, and by how many objects.
    pub total: Retained,
    /// The worst objects, worst first.
    pub offenders: Vec<Offender>,
    /// Waste by the field that points to the object, worst first; each object counts for
    /// the first field that does. Of pools, by the variable or field that is the pool. Not
    /// told for rounding.
    pub fields: Vec<WasteRow>,
    /// Waste by the object's type, worst first.
    pub types: Vec<WasteRow>,
}

/// Looks for every kind of waste; at most `limit` rows of each table. Kinds without any
/// are left out.
///
/// Costs 12 bytes for each object that wastes memory other than by rounding, and sorts the
/// fingerprints of texts, 16 bytes each.
pub fn waste(graph: &HeapGraph<'_>, dominators: &Dominators, limit: usize) -> Vec<Waste> {
    let mut found = Vec::new();
    for kind in WasteKind::ALL {
        let with_fields = !matches!(kind, WasteKind::Rounding | WasteKind::Pools);
        let mut collector = Collector::new(graph, limit, with_fields);
        let waste = if kind == WasteKind::Pools {
            let fields = pools::find(graph, dominators, &mut collector);
            Waste { fields: collect::worst_rows(fields, limit), ..collector.finish(kind) }
        } else {
            find::find(graph, dominators, kind, &mut collector);
            collector.finish(kind)
        };
        if waste.total.bytes > 0 {
            found.push(waste);
        }
    }
    found
}

/// The type of an object, as a name.
fn type_name<'g>(graph: &'g HeapGraph<'_>, id: usize) -> &'g str {
    graph.type_name(TypeId(id as u32))
}
