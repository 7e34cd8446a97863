//! What each root retains.

use model::heap::{HeapGraph, HolderId, HolderKind};

use super::names::holder_name;
use super::{Dominators, Node, Retained};

/// A variable, a goroutine or another holder that no other holder is around.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootRow {
    /// The holder.
    pub holder: HolderId,
    /// What it is.
    pub kind: HolderKind,
    /// `main.cache`, `goroutine 17`.
    pub name: String,
    /// What would be free without it.
    pub retained: Retained,
}

/// What holds the heap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roots {
    /// Holders, largest retained size first.
    pub rows: Vec<RootRow>,
    /// What several of them hold, so that none retains it alone.
    pub shared: Retained,
}

/// What each top-level holder retains: goroutines with all their locals.
pub fn roots(graph: &HeapGraph<'_>, dominators: &Dominators) -> Roots {
    let mut roots = Roots::default();
    for child in dominators.children(Node::Root) {
        let retained = dominators.retained(child);
        let Node::Holder(holder) = child else {
            roots.shared += retained;
            continue;
        };
        let Some(found) = graph.holders.get(holder.0 as usize) else { continue };
        let name = graph.strings.get(found.name).to_owned();
        roots.rows.push(RootRow { holder, kind: found.kind, name, retained });
    }
    roots.rows.sort_by(|a, b| b.retained.cmp(&a.retained).then(a.holder.cmp(&b.holder)));
    roots
}

/// What the parts of a holder retain, the locals of a goroutine for one; largest first.
pub fn parts(graph: &HeapGraph<'_>, dominators: &Dominators, of: HolderId) -> Vec<RootRow> {
    let holder = |node| if let Node::Holder(holder) = node { Some(holder) } else { None };
    let mut rows: Vec<RootRow> = dominators
        .children(Node::Holder(of))
        .filter_map(holder)
        .filter_map(|holder| {
            let found = graph.holders.get(holder.0 as usize)?;
            let retained = dominators.retained(Node::Holder(holder));
            Some(RootRow { holder, kind: found.kind, name: holder_name(graph, holder), retained })
        })
        .collect();
    rows.sort_by(|a, b| b.retained.cmp(&a.retained).then(a.holder.cmp(&b.holder)));
    rows
}
