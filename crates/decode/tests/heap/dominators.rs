//! Dominators by the textbook, to compare retained sizes with those of other programs.

/// A graph with one root, which is the last node.
pub(crate) struct Graph {
    /// What each node points to.
    pub(crate) targets: Vec<Vec<u32>>,
    /// Sizes.
    pub(crate) bytes: Vec<u64>,
}

const NONE: u32 = u32::MAX;

/// The immediate dominator of each node, `u32::MAX` for those nothing reaches and the root
/// itself: Cooper, Harvey and Kennedy, "A Simple, Fast Dominance Algorithm".
pub(crate) fn immediate(graph: &Graph) -> Vec<u32> {
    let nodes = graph.targets.len();
    let root = nodes as u32 - 1;
    let order = postorder(&graph.targets, root);
    let mut number = vec![NONE; nodes];
    for (at, node) in order.iter().enumerate() {
        number[*node as usize] = at as u32;
    }
    let mut sources = vec![Vec::new(); nodes];
    for node in &order {
        for target in &graph.targets[*node as usize] {
            sources[*target as usize].push(*node);
        }
    }
    let mut idom = vec![NONE; nodes];
    idom[root as usize] = root;
    let mut changed = true;
    while changed {
        changed = false;
        for node in order.iter().rev().skip(1) {
            let mut found = NONE;
            for source in sources[*node as usize].iter().filter(|s| idom[**s as usize] != NONE) {
                found = if found == NONE { *source } else { meet(*source, found, &idom, &number) };
            }
            if idom[*node as usize] != found {
                idom[*node as usize] = found;
                changed = true;
            }
        }
    }
    idom[root as usize] = NONE;
    idom
}

fn meet(mut a: u32, mut b: u32, idom: &[u32], number: &[u32]) -> u32 {
    while a != b {
        while number[a as usize] < number[b as usize] {
            a = idom[a as usize];
        }
        while number[b as usize] < number[a as usize] {
            b = idom[b as usize];
        }
    }
    a
}

fn postorder(targets: &[Vec<u32>], root: u32) -> Vec<u32> {
    let mut seen = vec![false; targets.len()];
    let mut order = Vec::new();
    let mut stack = vec![(root, 0)];
    seen[root as usize] = true;
    while let Some((node, next)) = stack.last_mut() {
        match targets[*node as usize].get(*next) {
            Some(target) => {
                *next += 1;
                if !seen[*target as usize] {
                    seen[*target as usize] = true;
                    stack.push((*target, 0));
                }
            }
            None => {
                order.push(*node);
                stack.pop();
            }
        }
    }
    order
}

/// Which nodes the last one reaches.
pub(crate) fn reachable(targets: &[Vec<u32>]) -> Vec<bool> {
    let mut reachable = vec![false; targets.len()];
    for node in postorder(targets, targets.len() as u32 - 1) {
        reachable[node as usize] = true;
    }
    reachable
}

/// The bytes that each node retains; 0 for those nothing reaches.
pub(crate) fn retained(graph: &Graph, idom: &[u32]) -> Vec<u64> {
    let root = graph.targets.len() as u32 - 1;
    let order = postorder(&graph.targets, root);
    let mut number = vec![NONE; graph.targets.len()];
    for (at, node) in order.iter().enumerate() {
        number[*node as usize] = at as u32;
    }
    let mut retained = vec![0; graph.targets.len()];
    // A dominator comes later in postorder than all it dominates.
    for node in &order {
        retained[*node as usize] += graph.bytes[*node as usize];
        if idom[*node as usize] != NONE {
            let size = retained[*node as usize];
            retained[idom[*node as usize] as usize] += size;
        }
    }
    retained
}

/// What objects point to, and after them what holders do.
pub(crate) fn targets(graph: &model::HeapGraph<'_>) -> Vec<Vec<u32>> {
    let objects = (0..graph.len() as u32).map(model::heap::ObjectId);
    let mut targets: Vec<Vec<u32>> = objects.map(|o| graph.edges.targets(o).to_vec()).collect();
    targets.push(graph.root_pointers.iter().map(|pointer| pointer.target.0).collect());
    targets
}
