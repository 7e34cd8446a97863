//! Checks a dominator tree in linear time, without trusting how it was made.
//!
//! A second depth-first search and a second pass for semidominators bring witnesses: a
//! spanning tree numbered in preorder, and for each node v a path from some s(v) to v
//! whose inner nodes all have higher numbers than v. How they were found does not matter;
//! what follows is checked pointer by pointer:
//!
//! 1. The spanning tree is made of pointers and numbered in preorder, and no pointer leads
//!    out of it: it holds exactly what is reachable.
//! 2. Each witness path exists: a pointer from s(v), or a pointer from below a node x > v
//!    in the spanning tree with s(x) = s(v).
//! 3. For every pointer from u to w, the immediate dominator of w dominates u. Then all
//!    ancestors in the dominator tree do dominate.
//! 4. The immediate dominator of v is the nearest common dominator of v's parent in the
//!    spanning tree and s(v). Then nothing else dominates.
//!
//! Why 4 suffices: let w dominate v. It dominates or is v's tree parent, since that points
//! to v. It lies on the tree path to v, so its number is below v's, so the witness path
//! avoids it, and it dominates or is s(v). Both have lower numbers than v, for which the
//! tree is right by induction, so w is an ancestor of their nearest common dominator. A
//! right tree always passes, because SEMI-NCA finds it from just these witnesses.
//!
//! Costs about 40 bytes a node beside the tree.
#![expect(clippy::indexing_slicing, reason = "every number is checked before it is used as one")]

use model::heap::HeapGraph;

use super::dominators::{Dominators, NONE, Search, search};
use super::{Links, Node};

/// Why a dominator tree is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// The tree is none, or not numbered in preorder.
    NotATree,
    /// The tree and the reachable nodes are not the same set.
    Reachability(Node),
    /// A pointer goes round what is said to dominate this node.
    NotDominated(Node),
    /// Something nearer dominates this node than the tree says.
    NotImmediate(Node),
    /// A node's own size is not that of the object.
    Size(Node),
    /// No witness could be found for this node: a fault of the check itself.
    NoWitness(Node),
}

/// Checks that `dominators` is the dominator tree of `graph`.
///
/// # Errors
/// Says what is wrong with the tree.
pub fn verify(graph: &HeapGraph<'_>, dominators: &Dominators) -> Result<(), Violation> {
    let links = Links::new(graph);
    let Search { number, parent, arcs } = search(&links);
    let witnesses = Witnesses::find(parent.clone(), arcs);
    let check = Check {
        links: &links,
        dominators,
        node: inverse(&number, parent.len()).ok_or(Violation::NotATree)?,
        end: preorder_ends(&parent).ok_or(Violation::NotATree)?,
        number,
        parent,
        witnesses,
    };
    check.dominator_tree()?;
    check.sizes(graph)?;
    check.pointers()?;
    check.witness_paths()?;
    check.nearest()
}

/// For each search number the least number from which a path with higher inner numbers
/// leads to it, and what shows that.
struct Witnesses {
    /// Where the path begins.
    start: Vec<u32>,
    /// Its last pointer's source.
    source: Vec<u32>,
    /// The node above the source whose own path it continues; `NONE` for a single pointer.
    through: Vec<u32>,
}

impl Witnesses {
    fn find(parent: Vec<u32>, mut arcs: Vec<u64>) -> Witnesses {
        arcs.sort_unstable();
        let (start, source) = (parent.clone(), parent.clone());
        let through = vec![NONE; parent.len()];
        let mut found = Witnesses { start, source, through };
        let mut label: Vec<u32> = (0..parent.len() as u32).collect();
        let mut ancestor = parent;
        let mut path = Vec::new();
        for node in (1..ancestor.len() as u32).rev() {
            while let Some(arc) = arcs.pop_if(|arc| (*arc >> 32) as u32 == node) {
                let source = arc as u32;
                let through = (source > node)
                    .then(|| found.least(source, node, &mut ancestor, &mut label, &mut path));
                let start = through.map_or(source, |through| found.start[through as usize]);
                if start < found.start[node as usize] {
                    found.start[node as usize] = start;
                    found.source[node as usize] = source;
                    found.through[node as usize] = through.unwrap_or(NONE);
                }
            }
        }
        found
    }

    /// The node with the least start on the tree path down to `source`, among numbers
    /// above `node`; compresses the path.
    fn least(
        &self,
        source: u32,
        node: u32,
        ancestor: &mut [u32],
        label: &mut [u32],
        path: &mut Vec<u32>,
    ) -> u32 {
        let mut at = source;
        while ancestor[at as usize] > node {
            path.push(at);
            at = ancestor[at as usize];
        }
        let top = ancestor[at as usize];
        let mut best = label[at as usize];
        while let Some(below) = path.pop() {
            ancestor[below as usize] = top;
            let own = label[below as usize];
            if self.start[own as usize] <= self.start[best as usize] {
                best = own;
            }
            label[below as usize] = best;
        }
        best
    }
}

struct Check<'c> {
    links: &'c Links<'c>,
    dominators: &'c Dominators,
    /// Search number of each node, and its inverse.
    number: Vec<u32>,
    node: Vec<u32>,
    /// The spanning tree, by search number.
    parent: Vec<u32>,
    /// Where each subtree of the spanning tree ends.
    end: Vec<u32>,
    witnesses: Witnesses,
}

impl Check<'_> {
    /// The dominator tree is a tree in preorder over exactly the nodes of the search.
    fn dominator_tree(&self) -> Result<(), Violation> {
        let dominators = self.dominators;
        if dominators.len() as usize != self.parent.len() || dominators.nodes() != self.links.len()
        {
            return Err(Violation::NotATree);
        }
        let parents: Vec<u32> =
            (0..dominators.len()).map(|number| dominators.parent_at(number)).collect();
        let ends = preorder_ends(&parents).ok_or(Violation::NotATree)?;
        let fits = |(number, end): (usize, &u32)| dominators.range(number as u32).end == *end;
        if !ends.iter().enumerate().all(fits) {
            return Err(Violation::NotATree);
        }
        for (id, number) in self.number.iter().enumerate() {
            let known = dominators.number_of_id(id as u32);
            if known.is_some() != (*number != NONE)
                || known.is_some_and(|known| {
                    known >= dominators.len() || dominators.id_at(known) != id as u32
                })
            {
                return Err(self.reachability(id as u32));
            }
        }
        Ok(())
    }

    fn reachability(&self, id: u32) -> Violation {
        Violation::Reachability(self.dominators.node_of_id(id))
    }

    /// Sizes by number are those of the objects; sums over ranges then are retained sizes.
    fn sizes(&self, graph: &HeapGraph<'_>) -> Result<(), Violation> {
        let mut wrong = None;
        graph.objects.each_size(|object, bytes| {
            let number = self.dominators.number_of_id(object.0);
            if number.is_some_and(|number| self.dominators.bytes_at(number) != bytes) {
                wrong = wrong.or(Some(Violation::Size(Node::Object(object))));
            }
        });
        wrong.map_or(Ok(()), Err)
    }

    /// No pointer leaves the search, and none goes round an immediate dominator.
    fn pointers(&self) -> Result<(), Violation> {
        for number in 0..self.dominators.len() {
            for target in self.links.of(self.dominators.id_at(number)) {
                let Some(to) = self.dominators.number_of_id(*target) else {
                    return Err(self.reachability(*target));
                };
                if !self.dominators.range(self.dominators.parent_at(to)).contains(&number) {
                    return Err(Violation::NotDominated(self.dominators.node_at(to)));
                }
            }
        }
        Ok(())
    }

    /// Tree edges and last pointers of witness paths exist, and the paths do what they say.
    fn witness_paths(&self) -> Result<(), Violation> {
        let Witnesses { start, source, through } = &self.witnesses;
        let (mut is_tree_edge, mut is_source) =
            (vec![false; start.len()], vec![false; start.len()]);
        for (number, id) in self.node.iter().enumerate() {
            for target in self.links.of(*id) {
                let to = self.number[*target as usize] as usize;
                is_tree_edge[to] |= self.parent[to] as usize == number;
                is_source[to] |= source[to] as usize == number;
            }
        }
        for v in 1..start.len() {
            let (start_of, from, x) = (start[v], source[v], through[v]);
            let holds = if x == NONE {
                start_of == from && (from as usize) < v
            } else {
                let below = x..self.end[x as usize];
                x as usize > v && start[x as usize] == start_of && below.contains(&from)
            };
            if !(holds && is_tree_edge[v] && is_source[v]) {
                return Err(Violation::NoWitness(self.dominators.node_of_id(self.node[v])));
            }
        }
        Ok(())
    }

    /// Each immediate dominator is the nearest common one of tree parent and path start.
    fn nearest(&self) -> Result<(), Violation> {
        let dominators = self.dominators;
        let mut depth = vec![0_u32; dominators.len() as usize];
        // The dominators of the node at hand, by depth.
        let mut path: Vec<u32> = Vec::new();
        for at in 0..dominators.len() {
            if at > 0 {
                depth[at as usize] = depth[dominators.parent_at(at) as usize] + 1;
            }
            path.truncate(depth[at as usize] as usize);
            path.push(at);
            let id = dominators.id_at(at);
            let own = self.number[id as usize];
            for target in self.links.of(id) {
                let to = self.number[*target as usize];
                if self.parent[to as usize] != own {
                    continue;
                }
                let Some(v) = dominators.number_of_id(*target).filter(|v| *v > 0) else { continue };
                let start = self.witnesses.start[to as usize];
                let start = dominators.number_of_id(self.node[start as usize]).unwrap_or(NONE);
                let above = dominators.parent_at(v);
                // The sibling of v that dominates the tree parent must not dominate the start.
                let sibling = path.get(depth[above as usize] as usize + 1);
                let is_shared =
                    sibling.is_some_and(|sibling| dominators.range(*sibling).contains(&start));
                if is_shared || !dominators.range(above).contains(&start) {
                    return Err(Violation::NotImmediate(dominators.node_at(v)));
                }
            }
        }
        Ok(())
    }
}

/// The node of each number, if the numbers are 0..count, each once.
fn inverse(number: &[u32], count: usize) -> Option<Vec<u32>> {
    let mut node = vec![NONE; count];
    for (id, number) in number.iter().enumerate().filter(|(_, number)| **number != NONE) {
        let slot = node.get_mut(*number as usize).filter(|slot| **slot == NONE)?;
        *slot = id as u32;
    }
    node.iter().all(|id| *id != NONE).then_some(node)
}

/// The end of each subtree, if the tree is numbered in preorder.
fn preorder_ends(parent: &[u32]) -> Option<Vec<u32>> {
    let mut end = vec![parent.len() as u32; parent.len()];
    let mut path = vec![0_u32];
    for (node, parent) in parent.iter().enumerate().skip(1) {
        while path.last()? != parent {
            end[path.pop()? as usize] = node as u32;
        }
        path.push(node as u32);
    }
    Some(end)
}
