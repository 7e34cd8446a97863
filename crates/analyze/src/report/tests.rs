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

#[test]
fn widths_add_up_whatever_the_signs() {
    type Side = &'static [(&'static str, i64)];
    let cases: [(Side, Side); 5] = [
        // What comes and what goes cancel in main, not in its width.
        (&[("main;a", 10)], &[("main;b", 10)]),
        // A base that is negative, a value that is, and both.
        (&[("main;a", 7), ("main;b", 3)], &[("main;a", -5), ("main;b", 9)]),
        (&[("main;a;x", -8), ("main;a;y", 8), ("main;a", 1)], &[]),
        (&[("main;a", -4), ("main;b;c", -6)], &[("main;a", -9), ("main", 2)]),
        (&[("main;a", i64::MAX), ("main;b", i64::MIN)], &[("main;b", i64::MAX)]),
    ];
    for (new, old) in cases {
        let (new, old) = (profile(new), profile(old));
        let mut stacks = Stacks::diff(&new, &old, &Select::default()).unwrap();
        for direction in [Direction::Callees, Direction::Callers] {
            let tree = CallTree::directed(&mut stacks, direction, 100);
            let mut inside = vec![0_u64; tree.nodes.len()];
            for node in tree.nodes.iter().skip(1) {
                let sum = &mut inside[node.parent.unwrap() as usize];
                *sum = sum.saturating_add(node.width);
            }
            for (node, inside) in tree.nodes.iter().zip(inside) {
                let own = node.own.value.unsigned_abs().max(node.own.base.unsigned_abs());
                assert_eq!(node.width, own.saturating_add(inside), "{node:?}");
            }
        }
    }
    let stacks = &[("main;a", 10), ("main;b", 5)];
    let mut stacks = Stacks::of(&profile(stacks), &Select::default()).unwrap();
    let tree = CallTree::build(&mut stacks, 100);
    assert!(tree.nodes.iter().all(|node| node.width == node.total.value as u64));
}

#[test]
fn wide_nodes_whose_values_cancel_survive_merging() {
    let names: Vec<String> = (0..50).map(|index| format!("main;f{index}")).collect();
    let mut stacks: Vec<(&str, i64)> = names.iter().map(|name| (name.as_str(), 1)).collect();
    stacks.extend([("main;both;up", 1000), ("main;both;down", -1000)]);
    let mut stacks = Stacks::of(&profile(&stacks), &Select::default()).unwrap();
    let text = |tree: &CallTree, stacks: &Stacks| tree_text(stacks, tree);
    let tree = CallTree::build(&mut stacks, 6);
    assert!(text(&tree, &stacks).contains("both"), "{}", text(&tree, &stacks));
    assert_eq!(tree.nodes[0].width, 2050);
}

#[test]
fn callers_trees_join_equal_leaves() {
    let profile = profile(&[("main;a;alloc", 3), ("main;b;alloc", 4)]);
    let mut stacks = Stacks::of(&profile, &Select::default()).unwrap();
    let tree = CallTree::directed(&mut stacks, Direction::Callers, 100);
    let expected = "root 0/7\n alloc 0/7\n  b 0/4\n   main 4/4\n  a 0/3\n   main 3/3\n";
    assert_eq!(tree_text(&stacks, &tree), expected);
}

/// Paths after reading, root first, with their values, sorted.
fn read(stacks: &[(String, i64)], reading: &Reading) -> (Vec<(String, i64)>, Notes) {
    let stacks: Vec<(&str, i64)> = stacks.iter().map(|(path, v)| (path.as_str(), *v)).collect();
    let mut stacks = Stacks::of(&profile(&stacks), &Select::default()).unwrap();
    stacks.read(reading);
    let path = |row: &Row| -> Vec<&str> {
        stacks.path(row).iter().map(|id| stacks.function(*id)).collect()
    };
    let rows = stacks.rows.iter().map(|row| (path(row).join(";"), row.cell.value));
    let mut rows: Vec<(String, i64)> = rows.collect();
    rows.sort();
    (rows, stacks.notes)
}

/// `f3;f4;...;f9`.
fn chain(range: std::ops::Range<usize>) -> String {
    let names: Vec<String> = range.map(|index| format!("f{index}")).collect();
    names.join(";")
}

#[test]
fn the_allocator_is_not_who_allocates() {
    let stacks = [
        ("main;a.F[go.shape.int];runtime.growslice;runtime.mallocgc".to_owned(), 1),
        ("main;a.F[go.shape.string];internal/runtime/maps.New".to_owned(), 2),
        ("runtime.main;runtime.doInit1;runtime.newobject".to_owned(), 4),
        ("main;runtime.Callers;main.cb".to_owned(), 8),
    ];
    let (rows, _) = read(&stacks, &Reading::default());
    let expected = [
        ("main;a.F[...]", 1),
        ("main;a.F[...]", 2),
        ("main;runtime.Callers;main.cb", 8),
        ("runtime.main;runtime.doInit1;runtime.newobject", 4),
    ];
    assert_eq!(rows, expected.map(|(path, value)| (path.to_owned(), value)));
    let all = Reading { full_names: true, runtime_frames: true, depth: None };
    let mut stacks = stacks.to_vec();
    stacks.sort();
    assert_eq!(read(&stacks, &all).0, stacks);
}

#[test]
fn cut_stacks_are_marked_and_continued_where_that_is_safe() {
    // f22..f149 is what is left of 150 frames; one whole stack passes there.
    let whole = format!("main;{}", chain(0..60));
    let cut = chain(22..150);
    let (rows, notes) = read(&[(whole.clone(), 1), (cut.clone(), 2)], &Reading::default());
    let expected = [(whole.clone(), 1), (format!("main;{};{cut}", chain(0..22)), 2)];
    assert_eq!(rows, expected);
    assert_eq!(notes, Notes { depth: 128, truncated: 1, rerooted: 1 });

    let marked = |others: &[String], cut: &str| {
        let mut stacks: Vec<(String, i64)> = others.iter().map(|path| (path.clone(), 1)).collect();
        stacks.push((cut.to_owned(), 2));
        let (rows, notes) = read(&stacks, &Reading::default());
        assert_eq!((notes.truncated, notes.rerooted), (1, 0), "{cut}");
        assert!(rows.contains(&(format!("(truncated);{cut}"), 2)), "{cut}");
    };
    // Two ways lead there.
    marked(&[whole.clone(), format!("main;other;{}", chain(22..60))], &cut);
    // Fewer frames agree than wanted.
    marked(&[format!("main;{}", chain(0..29))], &cut);
    // A recursion that is cut: the number of rounds is unknown.
    let rounds = |count: usize| vec!["walk"; count].join(";");
    marked(&[format!("main;{}", rounds(8))], &rounds(128));
    // One of its allocations started a collection: eight frames more are hidden at the leaf.
    let stacks = [(rounds(120), 1), (rounds(128), 2), (format!("main;{}", rounds(8)), 1)];
    assert_eq!(read(&stacks, &Reading::default()).1.truncated, 1);
    // The run occurs again in the cut stack, or its functions among the callers.
    marked(std::slice::from_ref(&whole), &format!("{};f25", chain(22..149)));
    marked(&[format!("main;f23;{}", chain(22..60))], &cut);
    // Nothing whole passes there.
    marked(&["main;a".to_owned()], &cut);
}

#[test]
fn deep_stacks_that_are_whole_stay() {
    let untouched = |stacks: &[String], reading: Reading| {
        let mut stacks: Vec<(String, i64)> = stacks.iter().map(|path| (path.clone(), 1)).collect();
        stacks.sort();
        assert_eq!(
            read(&stacks, &reading),
            (stacks, Notes { depth: 0, truncated: 0, rerooted: 0 })
        );
    };
    // No limit is near.
    untouched(&[chain(0..100), "main;a".to_owned()], Reading::default());
    let whole = |stacks: &[String]| {
        let stacks: Vec<(String, i64)> = stacks.iter().map(|path| (path.clone(), 1)).collect();
        assert_eq!(read(&stacks, &Reading::default()).1.truncated, 0);
    };
    // Shorter stacks begin with the same function, or the runtime is at the bottom.
    whole(&[format!("worker;{}", chain(0..127)), "worker;a".to_owned()]);
    whole(&[format!("runtime.main;{}", chain(0..127))]);
    // 31 frames are nothing special: nothing is seen to call f0.
    whole(&[chain(0..31), "main;a".to_owned()]);
    let called = [chain(3..34), format!("main;{}", chain(0..5))].map(|path| (path, 1));
    assert_eq!(read(&called, &Reading::default()).1.truncated, 1);
    let said = Reading { depth: Some(50), ..Reading::default() };
    let (rows, notes) = read(&[(chain(0..50), 1), ("main;a".to_owned(), 1)], &said);
    assert_eq!((notes.depth, notes.truncated), (50, 1));
    assert!(rows[0].0.starts_with("(truncated);f0;"));
}

#[test]
fn sampled_values_know_their_error() {
    let mut heap = Profile::new(&[("inuse_objects", "count"), ("inuse_space", "bytes")]);
    let period_type = heap.value_type("space", "bytes");
    (heap.period_type, heap.period) = (Some(period_type), 1 << 19);
    let name = heap.strings.intern("main.alloc");
    heap.functions.push(Function { name, ..Function::default() });
    let lines = vec![Line { function: FunctionId(0), line: 1, column: 0 }];
    heap.locations.push(Location { lines, ..Location::default() });
    // 25 sampled objects of 64 bytes, as Go scales them: 25 / (1 - exp(-64 / 2^19)).
    let objects = (25.0 / -(-64.0_f64 / f64::from(1 << 19)).exp_m1()).round() as i64;
    heap.push_sample(&[LocationId(0)], &[objects, objects * 64], &[]);
    for column in ["inuse_space", "inuse_objects"] {
        let select = Select { column: Some(column), ..Select::default() };
        let stacks = Stacks::of(&heap, &select).unwrap();
        let row = functions(&stacks)[0];
        assert_eq!(stacks.sampled_every, Some(1 << 19));
        assert!((row.flat_noise.sampled - 25.0).abs() < 1e-3);
        let error = row.flat_noise.relative_error(row.flat.value).unwrap();
        assert!((error - 0.2).abs() < 1e-4, "1/sqrt(25), not {error}");
    }
    // An object far larger than the period is always sampled.
    heap.samples.values = vec![vec![1], vec![1 << 30]];
    let stacks = Stacks::of(&heap, &Select::default()).unwrap();
    assert!(stacks.noise.relative_error(stacks.total.value).unwrap() < 1e-6);
    assert!(stacks.has_errors);
    // A negative value is a difference already.
    heap.samples.values = vec![vec![-1], vec![-64]];
    assert!(!Stacks::of(&heap, &Select::default()).unwrap().has_errors);
    heap.period = 1;
    assert_eq!(Stacks::of(&heap, &Select::default()).unwrap().sampled_every, None);
}

/// Pseudo-random stacks over a few functions: shared prefixes, recursion, repeats.
fn random_stacks(count: u64, negative: bool) -> Vec<(String, i64)> {
    let mut state = 7_u64;
    let mut random = move |below: u64| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let stack = |_| {
        let depth = 1 + random(8);
        let names: Vec<String> = (0..depth).map(|_| format!("f{}", random(4))).collect();
        let value = 1 + random(50) as i64;
        (names.join(";"), if negative && random(3) == 0 { -value } else { value })
    };
    (0..count).map(stack).collect()
}

/// Sums of every path, by brute force.
fn sums(stacks: &[(String, i64)]) -> std::collections::BTreeMap<String, (i64, i64)> {
    let mut sums = std::collections::BTreeMap::new();
    for (stack, value) in stacks {
        let names: Vec<&str> = stack.split(';').collect();
        for depth in 0..=names.len() {
            let path = names[..depth].iter().map(|name| format!("/{name}")).collect::<String>();
            let sum: &mut (i64, i64) = sums.entry(path).or_default();
            sum.1 += value;
            sum.0 += if depth == names.len() { *value } else { 0 };
        }
    }
    sums
}

/// Path, own and total of every node; the path of `(other)` ends in its name.
fn node_paths(stacks: &Stacks, tree: &CallTree) -> Vec<(String, i64, i64)> {
    let mut paths: Vec<String> = Vec::new();
    for node in &tree.nodes {
        let path = node.parent.map_or(String::new(), |parent| {
            format!("{}/{}", paths[parent as usize], stacks.strings.get(node.frame.function))
        });
        paths.push(path);
    }
    let numbers = tree.nodes.iter().map(|node| (node.own.value, node.total.value));
    paths.into_iter().zip(numbers).map(|(path, (own, total))| (path, own, total)).collect()
}

#[test]
fn trees_are_what_brute_force_finds() {
    for negative in [false, true] {
        let input = random_stacks(400, negative);
        let input_refs: Vec<(&str, i64)> = input.iter().map(|(s, v)| (s.as_str(), *v)).collect();
        let mut stacks = Stacks::of(&profile(&input_refs), &Select::default()).unwrap();
        let tree = CallTree::build(&mut stacks, usize::MAX);
        let mut found = node_paths(&stacks, &tree);
        found.sort();
        let expected: Vec<_> =
            sums(&input).into_iter().map(|(p, (own, sum))| (p, own, sum)).collect();
        let missing: Vec<_> = expected.iter().filter(|node| !found.contains(node)).collect();
        // Paths whose samples cancel out need not be there.
        assert!(missing.iter().all(|(_, own, total)| (*own, *total) == (0, 0)), "{missing:?}");
        assert!(found.iter().all(|node| expected.contains(node)));
        assert_eq!(tree.merged, 0);
    }
}

#[test]
fn cut_trees_are_whole_trees_with_pages_below_other() {
    let input = random_stacks(600, false);
    let input: Vec<(&str, i64)> = input.iter().map(|(s, v)| (s.as_str(), *v)).collect();
    let mut stacks = Stacks::of(&profile(&input), &Select::default()).unwrap();
    let whole = CallTree::build(&mut stacks, usize::MAX).nodes.len();
    let tree = CallTree::build(&mut stacks, 60);
    let hashes = path_id::frame_hashes(&stacks);
    let mut ids: Vec<PathId> = Vec::new();
    let mut others = 0;
    for node in &tree.nodes {
        let parent = node.parent.map(|parent| parent as usize);
        let frame = stacks.frames.iter().position(|frame| *frame == node.frame);
        let id = match (parent, frame) {
            (Some(parent), Some(frame)) => ids[parent].child(hashes[frame]),
            _ => PathId::ROOT,
        };
        ids.push(id);
        let (Some(parent), None) = (parent, frame) else { continue };
        others += 1;
        let other = node.frame;
        let kept =
            tree.nodes.iter().filter(|n| n.parent == Some(parent as u32) && n.frame != other);
        // Pages of ten nodes until nothing is left: they hold what (other) held.
        let (mut skip, mut sum) = (kept.count(), 0);
        loop {
            let page = CallTree::below(&mut stacks, ids[parent], skip, 10).unwrap();
            let children = page.nodes.iter().filter(|node| node.parent == Some(0));
            let (rest, shown): (Vec<&Node>, Vec<&Node>) =
                children.partition(|node| node.frame == other);
            sum += shown.iter().map(|node| node.total.value).sum::<i64>();
            skip += shown.len();
            if rest.is_empty() {
                break;
            }
            assert!(!shown.is_empty(), "a page shows nothing new");
        }
        assert_eq!(sum, node.total.value);
    }
    assert!(others > 5, "{others}");
    assert_eq!(whole, tree.nodes.len() - others + tree.merged);
    let nowhere = PathId::parse("0123456789abcdef").unwrap();
    assert!(CallTree::below(&mut stacks, nowhere, 0, 10).is_none());
}

#[test]
fn path_ids_are_those_of_the_documentation() {
    let mut stacks = Stacks::of(&profile(&[("main;größe", 1)]), &Select::default()).unwrap();
    let hashes = path_id::frame_hashes(&stacks);
    // The frames of the profile are leaf first.
    let id = hashes.iter().rev().fold(PathId::ROOT, |id, hash| id.child(*hash));
    // Computed by another program from docs/api.md; links contain such ids.
    assert_eq!(id.to_string(), "e347aa1184784a9b");
    assert_eq!(PathId::parse(&id.to_string()), Some(id));
    assert_eq!(CallTree::below(&mut stacks, id, 0, 10).unwrap().nodes.len(), 1);
    for text in ["", "0", "+123456789abcdef", "0123456789abcdefg", "ééééé123456"] {
        assert_eq!(PathId::parse(text), None, "{text}");
    }
}

#[test]
fn reversed_stacks_start_at_the_leaf() {
    let mut stacks =
        Stacks::of(&profile(&[("main;a;b", 1), ("main;b", 4)]), &Select::default()).unwrap();
    stacks.reverse();
    let tree = CallTree::build(&mut stacks, 10);
    assert_eq!(tree_text(&stacks, &tree), "root 0/5\n b 0/5\n  main 4/4\n  a 0/1\n   main 1/1\n");
}
