//! What roots reach, by the textbook.

use model::HeapGraph;
use model::heap::ObjectId;

/// Which objects roots reach.
pub(crate) fn reachable(graph: &HeapGraph<'_>) -> Vec<bool> {
    let mut reachable = vec![false; graph.len()];
    let mut open: Vec<u32> = graph.root_pointers.iter().map(|pointer| pointer.target.0).collect();
    while let Some(object) = open.pop() {
        if !std::mem::replace(&mut reachable[object as usize], true) {
            open.extend(graph.edges.targets(ObjectId(object)));
        }
    }
    reachable
}
