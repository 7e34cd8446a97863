//! What a process has from an allocator of C and has not freed, by stack, from a sample.
//!
//! A block of `size` bytes is in the sample with probability `1 - exp(-size / every)`; each stands
//! for the inverse of it, and carries the error that this brings. Where the process took the sample
//! itself, it says what each block stands for. One pass over the blocks.

mod look;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use model::StackId;
use model::probe::{CallStackId, MonotonicNanos, NativeHeap, StackEnd};

use crate::samples::{self, Estimate};

pub use look::{NativeLook, NativeSite, older_comment};

/// What a stack asked for and nobody has freed.
#[derive(Clone, Debug, PartialEq)]
pub struct Outstanding {
    /// The stack, by name; `None` when it could not be kept.
    pub stack: Option<StackId>,
    /// How much it is.
    pub live: Estimate,
    /// By size of the blocks, how many of them it is.
    pub sizes: Vec<(u64, f64)>,
    /// Age of the oldest block.
    pub oldest_seconds: f64,
}

/// What a process has not freed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OutstandingBlocks {
    /// By stack, those with the most bytes first.
    pub stacks: Vec<Outstanding>,
    /// All of it.
    pub total: Estimate,
    /// What is left out, because it is young.
    pub young: Estimate,
    /// What of the total has a stack of which the outer calls are missing.
    pub cut: Estimate,
}

/// Adds the blocks up that are at least so old. `names` has the stack by name for each stack; several
/// may have the same.
pub fn outstanding(
    heap: &NativeHeap,
    names: &HashMap<CallStackId, StackId>,
    older: Duration,
) -> OutstandingBlocks {
    let mut counted: BTreeMap<(Option<StackId>, bool, u64, Option<u64>), u64> = BTreeMap::new();
    let mut oldest: HashMap<Option<StackId>, MonotonicNanos> = HashMap::new();
    let mut found = OutstandingBlocks::default();
    let weight = |size: u64, bytes: Option<u64>| match bytes {
        // Samplers tell of nothing that they let stand for less than itself.
        Some(bytes) if size > 0 => (bytes as f64 / size as f64).max(1.0),
        Some(_) => 1.0,
        None => samples::weight(size as f64, heap.every.unwrap_or(1).cast_signed()),
    };
    for block in &heap.blocks {
        let bytes = block.weight.map(|bytes| bytes.0);
        if heap.time.seconds_since(block.born) < older.as_secs_f64() {
            found.young.add_weighted(1, block.size.0, weight(block.size.0, bytes));
            continue;
        }
        let stack = names.get(&block.stack).copied();
        let is_cut = heap.stacks.get(&block.stack).is_none_or(|of| of.end == StackEnd::Lost);
        *counted.entry((stack, is_cut, block.size.0, bytes)).or_default() += 1;
        let oldest = oldest.entry(stack).or_insert(block.born);
        *oldest = block.born.min(*oldest);
    }
    let mut stacks: BTreeMap<Option<StackId>, (Estimate, BTreeMap<u64, f64>)> = BTreeMap::new();
    for ((stack, is_cut, size, bytes), samples) in counted {
        let weight = weight(size, bytes);
        let (live, sizes) = stacks.entry(stack).or_default();
        live.add_weighted(samples, size, weight);
        *sizes.entry(size).or_default() += samples as f64 * weight;
        found.total.add_weighted(samples, size, weight);
        if is_cut {
            found.cut.add_weighted(samples, size, weight);
        }
    }
    let age = |stack| oldest.get(&stack).map_or(0.0, |born| heap.time.seconds_since(*born));
    let of = |(stack, (live, sizes)): (_, (_, BTreeMap<_, _>))| {
        let (sizes, oldest_seconds) = (sizes.into_iter().collect(), age(stack));
        Outstanding { stack, live, sizes, oldest_seconds }
    };
    found.stacks = stacks.into_iter().map(of).collect();
    found.stacks.sort_by(|a, b| b.live.bytes.total_cmp(&a.live.bytes).then(a.stack.cmp(&b.stack)));
    found
}

/// A call of a program in any language, and the file its code is in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NativeFrame {
    /// The function, readable.
    pub function: String,
    /// Its source file, if that is known.
    pub file: String,
    /// The line; 0 when unknown.
    pub line: u32,
    /// Path of the executable or library.
    pub object: String,
}

/// Which call of a stack, the innermost first, is responsible: the innermost in the executable or in
/// a library that is not the system's, and not of its language's library; else the innermost that
/// is not that; else the innermost.
pub fn responsible<'a>(stack: &'a [NativeFrame], executable: &str) -> Option<&'a NativeFrame> {
    let is_own = |frame: &&NativeFrame| {
        let is_system = SYSTEM.iter().any(|folder| frame.object.starts_with(folder));
        frame.object == executable || !is_system && frame.object.starts_with('/')
    };
    let mut told = stack.iter().filter(|frame| !is_library(&frame.function));
    told.clone().find(is_own).or_else(|| told.next()).or(stack.first())
}

/// Where systems keep libraries.
const SYSTEM: [&str; 4] = ["/lib/", "/lib64/", "/usr/lib/", "/usr/lib64/"];

/// Code of the standard libraries of C++ and Rust that is compiled into programs, the runtime of
/// Go, and where every program begins.
fn is_library(function: &str) -> bool {
    const PREFIXES: [&str; 15] = [
        "_start",
        "std::",
        "__gnu_cxx::",
        "operator new",
        "alloc::",
        "core::",
        "<alloc::",
        "<core::",
        "<std::",
        "hashbrown::",
        "__rust",
        "__rdl_",
        "runtime.",
        "_cgo_",
        "x_cgo_",
    ];
    // Where a template's function is told with what it returns.
    let function = function.strip_prefix("void* ").unwrap_or(function);
    PREFIXES.iter().any(|prefix| function.starts_with(prefix)) || is_cgo_stub(function)
}

/// What cgo makes of a C function so that Go can call it: `main._Cfunc_malloc`.
fn is_cgo_stub(function: &str) -> bool {
    function.contains("._Cfunc_")
}

#[cfg(test)]
mod tests {
    use model::probe::{CallStack, NativeBlock};
    use model::{Addr, Bytes};

    use super::*;

    fn block(size: u64, born: u64, stack: u64) -> NativeBlock {
        let (size, born) = (Bytes(size), MonotonicNanos(born * 1_000_000_000));
        let (address, stack) = (Addr(born.0 + size.0), CallStackId(stack));
        NativeBlock { address, size, born, stack, weight: None }
    }

    fn heap(every: u64) -> NativeHeap {
        let stack = |end| CallStack { calls: vec![Addr(1)], end };
        NativeHeap {
            every: Some(every),
            time: MonotonicNanos(100_000_000_000),
            blocks: vec![
                block(100, 10, 1),
                block(100, 20, 2),
                block(1000, 30, 3),
                block(7, 99, 3),
                block(5, 50, 9),
            ],
            stacks: [
                (CallStackId(1), stack(StackEnd::Outermost)),
                (CallStackId(2), stack(StackEnd::Outermost)),
                (CallStackId(3), stack(StackEnd::Lost)),
            ]
            .into(),
        }
    }

    #[test]
    fn stacks_of_one_name_are_one_and_young_blocks_are_left_out() {
        let names = [(1, 0), (2, 0), (3, 1)];
        let names = names.map(|(id, name)| (CallStackId(id), StackId(name))).into();
        let found = outstanding(&heap(1), &names, Duration::from_secs(5));
        let of: Vec<_> = found
            .stacks
            .iter()
            .map(|it| (it.stack, it.live.samples, it.live.bytes, it.oldest_seconds))
            .collect();
        let expected = [
            (Some(StackId(1)), 1, 1000.0, 70.0),
            (Some(StackId(0)), 2, 200.0, 90.0),
            (None, 1, 5.0, 50.0),
        ];
        assert_eq!(of, expected);
        assert_eq!((found.total.bytes, found.total.bytes_error), (1205.0, 0.0));
        assert_eq!((found.young.bytes, found.cut.bytes), (7.0, 1005.0));
    }

    #[test]
    fn samples_stand_for_what_was_left_out_of_them() {
        let found = outstanding(&heap(1000), &HashMap::new(), Duration::ZERO);
        // 1 / (1 - exp(-size / 1000)) of each, by hand.
        let expected = 2.0 * 1050.833 + 1581.977 + 1003.504 + 1002.502;
        assert!((found.total.bytes - expected).abs() < 0.01, "{}", found.total.bytes);
        assert_eq!(found.total.samples, 5);
    }

    #[test]
    fn samples_of_the_process_stand_for_what_it_says() {
        let mut heap = heap(1);
        heap.every = None;
        for block in &mut heap.blocks {
            block.weight = Some(Bytes(block.size.0 * 4));
        }
        let found = outstanding(&heap, &HashMap::new(), Duration::ZERO);
        let total = found.total;
        assert_eq!((total.samples, total.objects, total.bytes), (5, 20.0, 4.0 * 1212.0));
        // The variance of each: weight * (weight - 1) * size².
        let squares = 2.0 * 100_f64.powi(2) + 1000_f64.powi(2) + 7_f64.powi(2) + 5_f64.powi(2);
        assert!((total.bytes_error - (12.0 * squares).sqrt()).abs() < 1e-6, "{total:?}");
    }

    #[test]
    fn the_innermost_of_the_program_itself_is_responsible() {
        let frame = |function: &str, object: &str| NativeFrame {
            function: function.to_owned(),
            object: object.to_owned(),
            ..NativeFrame::default()
        };
        let stack = [
            frame("operator new(unsigned long)", "/lib/libstdc++.so.6"),
            frame("std::vector<int>::reserve", "/bin/shop"),
            frame("Cart::add", "/bin/shop"),
            frame("main", "/bin/shop"),
        ];
        let name = |stack, exe| responsible(stack, exe).map(|frame| frame.function.clone());
        assert_eq!(name(&stack, "/bin/shop").as_deref(), Some("Cart::add"));
        let library = [frame("strdup", "/lib/libc.so.6"), frame("parse", "/lib/libparse.so")];
        assert_eq!(name(&library, "/bin/shop").as_deref(), Some("strdup"));
        let plugin = [
            frame("deflateInit2_", "/usr/lib/libz.so.1"),
            frame("compress", "/opt/shop/plugin.so"),
            frame("main", "/bin/shop"),
        ];
        assert_eq!(name(&plugin, "/bin/shop").as_deref(), Some("compress"));
        let start = [frame("f", "/usr/lib/libpython3.so"), frame("_start", "/usr/bin/python3")];
        assert_eq!(name(&start, "/usr/bin/python3").as_deref(), Some("f"));
        assert_eq!(name(&stack[..1], "/bin/shop").as_deref(), Some("operator new(unsigned long)"));
        assert_eq!(responsible(&[], "/bin/shop"), None);
    }
}
