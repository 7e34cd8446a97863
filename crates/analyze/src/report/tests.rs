//! Hand-made profiles with known answers.

use model::profile::Location;
use model::{Function, FunctionId, Line, LocationId, Profile};

use super::*;

/// A profile of stacks written root first: `("main;a;b", value)`.
fn profile(stacks: &[(&str, i64)]) -> Profile {
    let mut profile = Profile::new(&[("inuse_space", "bytes")]);
    let mut names: Vec<String> = Vec::new();
    for (stack, value) in stacks {
        let mut path: Vec<LocationId> = Vec::new();
        for name in stack.split(';').rev() {
            let at = names.iter().position(|known| known == name).unwrap_or_else(|| {
                let id = profile.strings.intern(name);
                profile.functions.push(Function { name: id, ..Function::default() });
                let function = FunctionId(names.len() as u32);
                let lines = vec![Line { function, line: 1, column: 0 }];
                profile.locations.push(Location { lines, ..Location::default() });
                names.push(name.to_owned());
                names.len() - 1
            });
            path.push(LocationId(at as u32));
        }
        profile.push_sample(&path, &[*value], &[]);
    }
    profile
}

fn table(stacks: &Stacks) -> Vec<(String, i64, i64)> {
    let row = |row: &FunctionRow| {
        (stacks.strings.get(row.function).to_owned(), row.flat.delta(), row.cum.delta())
    };
    functions(stacks).iter().map(row).collect()
}

fn tree_text(stacks: &Stacks, tree: &CallTree) -> String {
    let line = |node: &Node| {
        let name = stacks.strings.get(node.frame.function);
        format!(
            "{}{name} {}/{}\n",
            " ".repeat(node.depth as usize),
            node.own.value,
            node.total.value
        )
    };
    tree.nodes.iter().map(line).collect()
}

#[test]
fn flat_and_cumulative_count_recursion_once() {
    let profile = profile(&[("main;a;a;b", 5), ("main;a", 2), ("main;c", 4)]);
    let stacks = Stacks::of(&profile, &Select::default()).unwrap();
    let expected = [("b", 5, 5), ("c", 4, 4), ("a", 2, 7), ("main", 0, 11)];
    let expected: Vec<_> = expected.iter().map(|(n, f, c)| ((*n).to_owned(), *f, *c)).collect();
    assert_eq!(table(&stacks), expected);
    let edges = neighbours(&stacks);
    let a = stacks.strings.lookup("a").unwrap();
    let (callers, callees) = &edges[&a];
    let sum = |edges: &[Edge]| edges.iter().map(|edge| edge.cell.value).sum::<i64>();
    // a calls itself: the call counts among both its callers and its callees.
    assert_eq!((sum(callers), sum(callees)), (7 + 5, 5 + 5));
}

#[test]
fn trees_are_preorder_and_sorted() {
    let profile = profile(&[("main;a;b", 1), ("main;c", 7), ("main;a", 2)]);
    let mut stacks = Stacks::of(&profile, &Select::default()).unwrap();
    let tree = CallTree::build(&mut stacks, 100);
    assert_eq!(tree_text(&stacks, &tree), "root 0/10\n main 0/10\n  c 7/7\n  a 2/3\n   b 1/1\n");
}

#[test]
fn large_trees_keep_their_heaviest_nodes_and_the_total() {
    let names: Vec<String> = (0..100).map(|index| format!("main;f{index};g")).collect();
    let stacks: Vec<(&str, i64)> =
        names.iter().enumerate().map(|(index, name)| (name.as_str(), index as i64 + 1)).collect();
    let profile = profile(&stacks);
    let mut stacks = Stacks::of(&profile, &Select::default()).unwrap();
    let tree = CallTree::build(&mut stacks, 22);
    assert!(tree.nodes.len() <= 24, "{} nodes", tree.nodes.len());
    assert_eq!(tree.nodes.iter().map(|node| node.own.value).sum::<i64>(), 5050);
    assert!(tree_text(&stacks, &tree).contains("(other)"));
}

#[test]
fn differences_keep_both_sides() {
    let new = profile(&[("main;a", 10), ("main;b", 5)]);
    let old = profile(&[("main;a", 4), ("main;gone", 8)]);
    let stacks = Stacks::diff(&new, &old, &Select::default()).unwrap();
    let expected = [("gone", -8, -8), ("a", 6, 6), ("b", 5, 5), ("main", 0, 3)];
    let expected: Vec<_> = expected.iter().map(|(n, f, c)| ((*n).to_owned(), *f, *c)).collect();
    assert_eq!(table(&stacks), expected);
}

#[test]
fn focus_ignore_and_unknown_columns() {
    let profile = profile(&[("main;a", 10), ("main;b", 5)]);
    let is_a = |function: &str, _: &str| function == "a";
    let select = Select { focus: Some(&is_a), ..Select::default() };
    assert_eq!(Stacks::of(&profile, &select).unwrap().total.value, 10);
    let select = Select { ignore: Some(&is_a), ..Select::default() };
    assert_eq!(Stacks::of(&profile, &select).unwrap().total.value, 5);
    let select = Select { column: Some("cpu"), ..Select::default() };
    assert_eq!(Stacks::of(&profile, &select).unwrap_err().known, ["inuse_space"]);
}

#[test]
fn sandwiches_cut_at_the_outermost_frame() {
    let profile = profile(&[("main;x;f;g;f;h", 3), ("main;y;f", 2), ("main;z", 9)]);
    let mut stacks = Stacks::of(&profile, &Select::default()).unwrap();
    let both = sandwich(&mut stacks, "f", 100).unwrap();
    let callers = "f 0/5\n x 0/3\n  main 3/3\n y 0/2\n  main 2/2\n";
    assert_eq!(tree_text(&stacks, &both.callers), callers);
    let callees = "f 2/5\n g 0/3\n  f 0/3\n   h 3/3\n";
    assert_eq!(tree_text(&stacks, &both.callees), callees);
    assert!(sandwich(&mut stacks, "nothing", 100).is_none());
}
