//! Makes heap-like graphs of any size and measures dominators and retained sizes on them:
//! `graph KIND OBJECTS [scattered] [verify] [questions]`, with KIND one of users, list,
//! shared, random; `questions` also measures what is asked of the result.
//!
//! The graph is in memory in the columns of a snapshot. Columns that the algorithm does
//! not look at are never touched, as those of a mapped file are not, so that the peak of
//! resident memory is that of the pointers and of the work on them.

use std::time::Instant;

use analyze::heap::histogram::{Grouping, histogram};
use analyze::heap::leaks::{LeakOptions, leaks};
use analyze::heap::paths::Paths;
use analyze::heap::query::{QueryOptions, query};
use analyze::heap::roots::roots;
use analyze::heap::verify::verify;
use analyze::heap::waste::waste;
use analyze::heap::{Dominators, Node};
use model::heap::{
    Edges, HeapGraph, HeapType, Holder, HolderId, HolderKind, ObjectId, Objects, RootPointer, Spans,
};
use model::strings::StrId;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let kind = arguments.first().map_or("users", String::as_str);
    let objects = arguments.get(1).and_then(|text| text.parse().ok()).unwrap_or(10_000_000);
    let is_scattered = arguments.iter().any(|argument| argument == "scattered");
    let graph = build(kind, objects, is_scattered);
    assert_eq!(graph.check(), Ok(()));
    let pointers = graph.edges.len();
    println!("{kind}: {objects} objects, {pointers} pointers, resident {} MB", resident("VmRSS:"));
    // Writing 5 resets the high-water mark, so that it is not that of the generator.
    if std::fs::write("/proc/self/clear_refs", "5").is_err() {
        println!("the high-water mark includes the generator's");
    }
    let (cpu, wall) = (cpu_seconds(), Instant::now());
    let dominators = Dominators::of(&graph);
    let (cpu, wall) = (cpu_seconds() - cpu, wall.elapsed().as_secs_f64());
    let peak = resident("VmHWM:");
    println!(
        "dominators and retained sizes: {cpu:.2} CPU s, {wall:.2} s, {:.2} M objects/s",
        objects as f64 / cpu / 1e6
    );
    println!("peak {peak} MB, {:.1} bytes an object", peak as f64 * 1e6 / objects as f64);
    println!(
        "root retains {:?}, out of reach {:?}",
        dominators.reachable(),
        dominators.unreachable()
    );
    let first = Node::Holder(HolderId(0));
    println!("first holder retains {:?}", dominators.retained(first));
    if arguments.iter().any(|argument| argument == "verify") {
        let cpu = cpu_seconds();
        assert_eq!(verify(&graph, &dominators), Ok(()));
        println!("verified in {:.2} CPU s", cpu_seconds() - cpu);
    }
    if arguments.iter().any(|argument| argument == "questions") {
        ask(&graph, &dominators);
    }
}

fn ask(graph: &HeapGraph<'_>, dominators: &Dominators) {
    timed("histogram by type", || histogram(graph, dominators, Grouping::Type).len());
    timed("histogram by size", || histogram(graph, dominators, Grouping::Size).len());
    timed("roots", || roots(graph, dominators).rows.len());
    let mut paths = None;
    timed("paths", || paths.insert(Paths::of(graph)).depth(ObjectId(0)).unwrap_or(0) as usize);
    if let Some(paths) = &paths {
        let all = || (0..graph.len() as u32).map(ObjectId);
        timed("merged paths of all objects", || paths.merged(all(), 10).paths.len());
        let options = LeakOptions::default();
        timed("leaks", || leaks(graph, dominators, paths, &options).len());
    }
    timed("waste", || waste(graph, dominators, 10).len());
    let text = "select bytes, count(*), retained(*) from objects where type !~ 'x' group by bytes";
    timed("query", || {
        let answer = query(graph, dominators, text, &QueryOptions::default());
        answer.map_or(0, |answer| answer.rows.len())
    });
    println!("peak {} MB", resident("VmHWM:"));
}

fn timed(what: &str, work: impl FnOnce() -> usize) {
    let cpu = cpu_seconds();
    let rows = work();
    println!("{what}: {:.2} CPU s, {rows} rows", cpu_seconds() - cpu);
}

fn build(kind: &str, objects: usize, is_scattered: bool) -> HeapGraph<'static> {
    let place = |index: usize| -> u32 {
        // A prime factor larger than any graph: a permutation.
        let scattered = (index as u64).wrapping_mul(2_654_435_761) % objects as u64;
        if is_scattered { scattered as u32 } else { index as u32 }
    };
    let mut roots = Vec::new();
    let mut count = vec![0_u32; objects + 1];
    generate(kind, objects, |from, to| match from {
        Some(from) => count[place(from) as usize + 1] += 1,
        None => roots.push(place(to)),
    });
    let mut sum = 0;
    for start in &mut count {
        sum += *start;
        *start = sum;
    }
    let mut next = count.clone();
    let mut target = vec![0_u32; sum as usize];
    generate(kind, objects, |from, to| {
        if let Some(from) = from {
            let at = &mut next[place(from) as usize];
            target[*at as usize] = place(to);
            *at += 1;
        }
    });
    let block: Vec<u64> = count.iter().step_by(1 << 16).map(|start| u64::from(*start)).collect();
    for (index, start) in count.iter_mut().enumerate() {
        *start -= block[index >> 16] as u32;
    }
    let edges = Edges {
        first: count.into(),
        block: block.into(),
        slot: vec![0; target.len()].into(),
        target: target.into(),
    };
    finish(objects, edges, &roots)
}

fn finish(objects: usize, edges: Edges<'static>, roots: &[u32]) -> HeapGraph<'static> {
    let words = objects.div_ceil(64);
    let mut allocated = vec![u64::MAX; words];
    if !objects.is_multiple_of(64) {
        allocated[words - 1] = (1 << (objects % 64)) - 1;
    }
    let spans = Spans {
        base: vec![0xc0_0000_0000].into(),
        slot_bytes: vec![48].into(),
        is_noscan: vec![0].into(),
        first: vec![0, objects as u32].into(),
        word: vec![0, words as u32].into(),
        allocated: allocated.into(),
        ..Spans::default()
    };
    let holder = Holder {
        kind: HolderKind::Global,
        name: StrId(0),
        place: StrId(0),
        parent: None,
        goroutine: None,
        of: None,
        is_conservative: false,
    };
    let pointer = |(index, target): (usize, &u32)| RootPointer {
        holder: HolderId(index as u32),
        slot: 0,
        target: ObjectId(*target),
    };
    HeapGraph {
        types: vec![HeapType::default()],
        objects: Objects::Spans(spans),
        type_of: vec![0; objects].into(),
        edges,
        slot_bytes: 8,
        holders: vec![holder; roots.len()],
        root_pointers: roots.iter().enumerate().map(pointer).collect(),
        ..HeapGraph::default()
    }
}

/// Calls `edge` with every pointer, always the same ones; without a source it is a root's.
fn generate(kind: &str, objects: usize, edge: impl FnMut(Option<usize>, usize)) {
    match kind {
        "users" => users(objects, edge),
        "list" => list(objects, edge),
        "shared" => shared(objects, edge),
        _ => random(objects, edge),
    }
}

struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

const SEED: u64 = 88_172_645_463_325_252;

/// Globals with maps of users: each has a name, a slice of three tags, a record, and a
/// closure that points back; an eighth of the tags and a quarter of the users share.
fn users(objects: usize, mut edge: impl FnMut(Option<usize>, usize)) {
    const ROOTS: usize = 64;
    let mut chance = Chance(SEED);
    let mut next = ROOTS.min(objects);
    (0..next).for_each(|root| edge(None, root));
    let mut map = 0;
    while next + 9 < objects {
        let table = next;
        next += 1;
        edge(Some(map), table);
        map = (map + 1) % ROOTS;
        for _ in 0..512 {
            if next + 9 >= objects {
                break;
            }
            let user = next;
            edge(Some(table), user);
            edge(Some(user), user + 1);
            edge(Some(user), user + 2);
            for tag in user + 3..user + 6 {
                edge(Some(user + 2), tag);
                if chance.below(8) == 0 {
                    edge(Some(tag), chance.below(user));
                }
            }
            edge(Some(user), user + 6);
            edge(Some(user), user + 7);
            edge(Some(user + 7), user);
            if chance.below(4) == 0 {
                edge(Some(user), chance.below(user));
            }
            next += 8;
        }
    }
    (next..objects).for_each(|rest| edge(Some(0), rest));
}

/// One doubly linked list with a value a node, some of which point anywhere before.
fn list(objects: usize, mut edge: impl FnMut(Option<usize>, usize)) {
    let mut chance = Chance(SEED);
    edge(None, 0);
    let mut node = 0;
    while node + 1 < objects {
        if node > 0 {
            edge(Some(node - 2), node);
            edge(Some(node), node - 2);
        }
        edge(Some(node), node + 1);
        if chance.below(16) == 0 {
            edge(Some(node + 1), chance.below(node + 1));
        }
        node += 2;
    }
    (node..objects).for_each(|rest| edge(Some(0), rest));
}

/// A list whose values a table holds as well: every value's dominator is far above its
/// parent in the search tree.
fn shared(objects: usize, mut edge: impl FnMut(Option<usize>, usize)) {
    edge(None, 0);
    edge(None, objects - 1);
    let pairs = (objects - 1) / 2;
    for pair in 0..pairs {
        let node = pair * 2;
        edge(Some(node), node + 1);
        edge(Some(objects - 1), node + 1);
        if pair + 1 < pairs {
            edge(Some(node), node + 2);
        }
    }
}

/// A random tree, and as many pointers again from anywhere to anywhere.
fn random(objects: usize, mut edge: impl FnMut(Option<usize>, usize)) {
    let mut chance = Chance(SEED);
    edge(None, 0);
    (1..objects).for_each(|object| edge(Some(chance.below(object)), object));
    for _ in 0..objects {
        edge(Some(chance.below(objects)), chance.below(objects));
    }
}

fn resident(key: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
    let kib = line.split_whitespace().next().and_then(|text| text.parse().ok()).unwrap_or(0_u64);
    kib * 1024 / 1_000_000
}

fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    // User and system time, in hundredths of a second.
    after.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}
