//! What a process has from an allocator of C and has not freed, by stack, from a sample; and what it
//! asked for in all, and how long that lived.
//!
//! A block of `size` bytes is in the sample with probability `1 - exp(-size / every)`; each stands
//! for the inverse of it, and carries the error that this brings. Where the process took the sample
//! itself, it says what each block stands for. One pass over the blocks, one over the sums of those
//! that were asked for and freed. Of these the sizes are known to an eighth, which changes nothing of
//! the bytes and less than 1 % of how many blocks they stand for.

mod look;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use model::StackId;
use model::probe::{CallStackId, NativeHeap, StackEnd};

use crate::samples::{self, Estimate, bucket, median_lifetime};

pub use look::{NativeLook, NativeSite, older_comment};

/// What a stack asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Outstanding {
    /// The stack, by name; `None` when it could not be kept.
    pub stack: Option<StackId>,
    /// What nobody has freed, and is old enough.
    pub live: Estimate,
    /// By size of its blocks, how many of them it is.
    pub sizes: Vec<(u64, f64)>,
    /// Age of the oldest block.
    pub oldest_seconds: Option<f64>,
    /// All that was asked for.
    pub allocated: Estimate,
    /// What of it was freed.
    pub freed: Estimate,
    /// How long half of the blocks live, those that still do counted; `None` when more than half of
    /// them outlived what was seen.
    pub lifetime_seconds: Option<f64>,
}

impl Outstanding {
    /// Which part of the sampled blocks was freed.
    pub fn freed_share(&self) -> f64 {
        self.freed.samples as f64 / self.allocated.samples.max(1) as f64
    }
}

/// What a process has not freed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OutstandingBlocks {
    /// By stack, those first of which most is not freed.
    pub stacks: Vec<Outstanding>,
    /// All that was asked for.
    pub allocated: Estimate,
    /// What of that was freed.
    pub freed: Estimate,
    /// All of it.
    pub total: Estimate,
    /// What is left out, because it is young.
    pub young: Estimate,
    /// What of the total has a stack of which the outer calls are missing.
    pub cut: Estimate,
}

/// What is known of a stack while all is added up.
#[derive(Default)]
struct Account {
    live: Estimate,
    sizes: BTreeMap<u64, f64>,
    /// Of every block that lives, young ones too: its age, and how many it stands for.
    ages: Vec<(f64, f64)>,
    oldest_seconds: Option<f64>,
    allocated: Estimate,
    freed: Estimate,
    /// Blocks that were freed, by how long they lived ([`bucket`]).
    lifetimes: BTreeMap<u16, f64>,
}

impl Account {
    fn closed(self, stack: Option<StackId>) -> Outstanding {
        Outstanding {
            stack,
            live: self.live,
            sizes: self.sizes.into_iter().collect(),
            oldest_seconds: self.oldest_seconds,
            allocated: self.allocated,
            freed: self.freed,
            lifetime_seconds: median_lifetime(&self.lifetimes, &self.ages),
        }
    }
}

/// Adds up what was asked for, and of what was not freed the blocks that are at least so old. `names`
/// has the stack by name for each stack; several may have the same.
pub fn outstanding(
    heap: &NativeHeap,
    names: &HashMap<CallStackId, StackId>,
    older: Duration,
) -> OutstandingBlocks {
    let mut found = OutstandingBlocks::default();
    let mut accounts: BTreeMap<Option<StackId>, Account> = BTreeMap::new();
    for block in &heap.blocks {
        let size = block.size.0 as f64;
        let weight = weight(heap, size, block.weight.map(|bytes| bytes.0 as f64));
        let age = heap.time.seconds_since(block.born);
        let account = accounts.entry(names.get(&block.stack).copied()).or_default();
        account.ages.push((age, weight));
        if age < older.as_secs_f64() {
            found.young.add_weighted(1, size, weight);
            continue;
        }
        account.live.add_weighted(1, size, weight);
        account.oldest_seconds = Some(account.oldest_seconds.map_or(age, |oldest| oldest.max(age)));
        *account.sizes.entry(block.size.0).or_default() += weight;
        found.total.add_weighted(1, size, weight);
        if heap.stacks.get(&block.stack).is_none_or(|of| of.end == StackEnd::Lost) {
            found.cut.add_weighted(1, size, weight);
        }
    }
    for sum in heap.turnover.iter().filter(|sum| sum.blocks > 0) {
        let mean = |bytes: u64| bytes as f64 / sum.blocks as f64;
        let size = mean(sum.size.0);
        let weight = weight(heap, size, sum.weight.map(|bytes| mean(bytes.0)));
        let account = accounts.entry(names.get(&sum.stack).copied()).or_default();
        let Some(lived) = sum.lived else {
            account.allocated.add_weighted(sum.blocks, size, weight);
            found.allocated.add_weighted(sum.blocks, size, weight);
            continue;
        };
        account.freed.add_weighted(sum.blocks, size, weight);
        found.freed.add_weighted(sum.blocks, size, weight);
        let lifetimes = account.lifetimes.entry(bucket(lived.as_secs_f64())).or_default();
        *lifetimes += sum.blocks as f64 * weight;
    }
    let closed = accounts.into_iter().map(|(stack, account)| account.closed(stack));
    found.stacks = closed.collect();
    found.stacks.sort_by(|a, b| {
        let by_live = b.live.bytes.total_cmp(&a.live.bytes);
        let by_all = b.allocated.bytes.total_cmp(&a.allocated.bytes);
        by_live.then(by_all).then(a.stack.cmp(&b.stack))
    });
    found
}

/// How many blocks one of the sample stands for; `told` are the bytes that it does, where the process
/// says so.
fn weight(heap: &NativeHeap, size: f64, told: Option<f64>) -> f64 {
    match told {
        // Samplers tell of nothing that they let stand for less than itself.
        Some(bytes) if size > 0.0 => (bytes / size).max(1.0),
        Some(_) => 1.0,
        None => samples::weight(size, heap.every.unwrap_or(1).cast_signed()),
    }
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
    use model::probe::{CallStack, MonotonicNanos, NativeBlock, NativeTurnover};
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
            turnover: Vec::new(),
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
            (Some(StackId(1)), 1, 1000.0, Some(70.0)),
            (Some(StackId(0)), 2, 200.0, Some(90.0)),
            (None, 1, 5.0, Some(50.0)),
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
    fn what_was_freed_tells_how_long_it_lived() {
        let mut heap = heap(1);
        let sum = |stack, lived: Option<u64>, blocks, size| NativeTurnover {
            stack: CallStackId(stack),
            lived: lived.map(Duration::from_millis),
            blocks,
            size: Bytes(size),
            weight: None,
        };
        heap.turnover = vec![
            sum(1, None, 4, 400),
            sum(1, Some(10), 2, 200),
            sum(1, Some(2000), 1, 100),
            // Asked for by another stack of the same name.
            sum(2, None, 1, 100),
            // All of it is gone.
            sum(4, None, 10, 70),
            sum(4, Some(5), 10, 70),
        ];
        let names = [(1, 0), (2, 0), (4, 2)].map(|(id, name)| (CallStackId(id), StackId(name)));
        let found = outstanding(&heap, &names.into(), Duration::from_secs(5));
        let of = |name| found.stacks.iter().find(|it| it.stack == Some(StackId(name))).unwrap();
        let own = of(0);
        assert_eq!((own.live.bytes, own.allocated.bytes, own.freed.bytes), (200.0, 500.0, 300.0));
        assert_eq!((own.allocated.objects, own.freed_share()), (5.0, 0.6));
        // Two of five are dead after 10 ms, a third after 2 s; two live.
        let lived = own.lifetime_seconds.unwrap();
        assert!((1.8..2.2).contains(&lived), "{lived}");
        let gone = of(2);
        assert_eq!((gone.live.samples, gone.oldest_seconds, gone.freed_share()), (0, None, 1.0));
        assert_eq!((found.allocated.bytes, found.freed.samples), (570.0, 13));
        assert_eq!(found.stacks.last().unwrap().stack, Some(StackId(2)));
    }

    #[test]
    fn a_mean_size_stands_for_as_much_as_the_sizes_that_it_is_of() {
        let mut heap = heap(1000);
        let sizes = [96_u64, 99, 103];
        heap.turnover = vec![NativeTurnover {
            stack: CallStackId(1),
            lived: None,
            blocks: 3,
            size: Bytes(sizes.iter().sum()),
            weight: None,
        }];
        let found = outstanding(&heap, &HashMap::new(), Duration::ZERO).allocated;
        let weights = sizes.map(|size| 1.0 / (1.0 - (-(size as f64) / 1000.0).exp()));
        let bytes: f64 = weights.iter().zip(sizes).map(|(weight, size)| weight * size as f64).sum();
        assert!((found.bytes / bytes - 1.0).abs() < 1e-5, "{} of {bytes}", found.bytes);
        assert!((found.objects / weights.iter().sum::<f64>() - 1.0).abs() < 0.002);
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
