//! Page faults by what the memory is used for and by who caused them.
//!
//! A fault is no number of bytes: it makes a page resident or a huge page, several pages that a file
//! has in memory already, or none where a page is copied that was shared.

use std::collections::BTreeMap;

use model::Addr;
use model::probe::{FaultAccess, FaultCount, MappingKind, MemoryUse, ResidentSample};

/// Memory that faulted: what it is used for, and the file that it is of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FaultedMemory {
    /// What it is used for.
    pub used: MemoryUse,
    /// Name of its file, without folder; empty when it has none.
    pub file: String,
    /// The program asked for huge pages there.
    pub is_huge: bool,
}

impl FaultedMemory {
    /// What the memory of some faults is used for. The kernel knows the mapping as it was then;
    /// `areas` says what lies at an address now, or when it was looked at last.
    pub fn of(count: &FaultCount, areas: impl Fn(Addr) -> Option<MemoryUse>) -> FaultedMemory {
        let (first, last) = (count.pages.start, Addr(count.pages.end.0.saturating_sub(1)));
        let found = areas(first);
        let used = match count.region.kind {
            MappingKind::Brk => MemoryUse::Malloc,
            MappingKind::Stack => MemoryUse::ThreadStack,
            MappingKind::Shared => MemoryUse::Shared,
            // While mappings change, it was there most likely.
            MappingKind::Unknown => found.unwrap_or(MemoryUse::Unknown),
            MappingKind::File => match found {
                Some(MemoryUse::Code) => MemoryUse::Code,
                _ => MemoryUse::File,
            },
            // Without a file it is nothing that has one, whatever lies there now.
            MappingKind::Anonymous => match found {
                Some(MemoryUse::File | MemoryUse::Shared) | None => MemoryUse::Anonymous,
                Some(used) if areas(last) == Some(used) => used,
                Some(_) => MemoryUse::Anonymous,
            },
        };
        FaultedMemory { used, file: count.region.file.clone(), is_huge: count.region.is_huge }
    }

    /// What it is called: its use, and its file.
    pub fn name(&self) -> String {
        let mut name = self.used.as_str().to_owned();
        if !self.file.is_empty() {
            let printable = self.file.chars().map(|c| if c.is_control() { '?' } else { c });
            name.extend(": ".chars().chain(printable));
        }
        if self.is_huge {
            name += " (huge pages)";
        }
        name
    }
}

/// Faults that have the memory, or the stack, in common.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FaultSum {
    /// How many.
    pub faults: u64,
    /// Of these, by what was done.
    pub by_access: BTreeMap<FaultAccess, u64>,
}

impl FaultSum {
    /// Adds some.
    pub fn add(&mut self, access: FaultAccess, faults: u64) {
        self.faults += faults;
        *self.by_access.entry(access).or_default() += faults;
    }
}

/// Sums by a key, those of most faults first.
pub fn sums<K: Ord>(faults: impl IntoIterator<Item = (K, FaultAccess, u64)>) -> Vec<(K, FaultSum)> {
    let mut sums: BTreeMap<K, FaultSum> = BTreeMap::new();
    for (key, access, faults) in faults {
        sums.entry(key).or_default().add(access, faults);
    }
    let mut sums: Vec<(K, FaultSum)> = sums.into_iter().collect();
    // Stable: those of equally many stay in the order of their keys.
    sums.sort_by_key(|(_, sum)| std::cmp::Reverse(sum.faults));
    sums
}

/// How resident memory changed, without more points than somebody can look at: where there would
/// be, every second one is left out, but for the highest.
#[derive(Clone, Debug, Default)]
pub struct ResidentCurve {
    points: Vec<ResidentSample>,
    /// Of so many samples one is kept.
    every: u64,
    seen: u64,
    highest: Option<ResidentSample>,
}

/// Points that are kept at most: 100 seconds of the densest samples.
const POINTS_MAX: usize = 10_000;

impl ResidentCurve {
    /// Takes a sample in.
    pub fn push(&mut self, sample: ResidentSample) {
        self.every = self.every.max(1);
        if self.highest.is_none_or(|highest| sample.resident() > highest.resident()) {
            self.highest = Some(sample);
        }
        if self.seen.is_multiple_of(self.every) {
            self.points.push(sample);
        }
        self.seen += 1;
        if self.points.len() > POINTS_MAX {
            let mut index = 0;
            self.points.retain(|_| {
                index += 1;
                index % 2 == 1
            });
            self.every *= 2;
        }
    }

    /// The points in order, the highest among them.
    pub fn points(&self) -> Vec<ResidentSample> {
        let mut points = self.points.clone();
        if let Some(highest) = self.highest
            && !points.contains(&highest)
        {
            points.push(highest);
            points.sort_by_key(|point| point.time);
        }
        points
    }

    /// The point where most was resident.
    pub fn highest(&self) -> Option<ResidentSample> {
        self.highest
    }

    /// How many samples there were.
    pub fn seen(&self) -> u64 {
        self.seen
    }
}

#[cfg(test)]
mod tests {
    use model::probe::{
        FaultAccess, FaultCount, FaultRegion, MappingKind, MemoryUse, MonotonicNanos,
        ResidentSample,
    };
    use model::{Addr, Bytes};

    use super::{FaultedMemory, POINTS_MAX, ResidentCurve, sums};

    fn used(kind: MappingKind, pages: std::ops::Range<u64>) -> MemoryUse {
        let mapping = Addr(0)..Addr(1 << 20);
        let region = FaultRegion { kind, mapping, file: String::new(), is_huge: false };
        let count = FaultCount {
            stack: Vec::new(),
            region,
            access: FaultAccess::Write,
            faults: 1,
            pages: Addr(pages.start)..Addr(pages.end),
        };
        // The Go heap, then a stack, then a library.
        let areas = |at: Addr| match at.0 {
            0..0x2000 => Some(MemoryUse::GoHeap),
            0x2000..0x4000 => Some(MemoryUse::ThreadStack),
            0x4000..0x5000 => Some(MemoryUse::Code),
            0x5000..0x6000 => Some(MemoryUse::File),
            _ => None,
        };
        FaultedMemory::of(&count, areas).used
    }

    #[test]
    fn what_the_kernel_knew_then_counts_more_than_what_is_there_now() {
        use MappingKind::{Anonymous, Brk, File, Stack, Unknown};
        assert_eq!(used(Anonymous, 0..0x1000), MemoryUse::GoHeap);
        assert_eq!(used(Anonymous, 0x2000..0x4000), MemoryUse::ThreadStack);
        // Over the border: it is both.
        assert_eq!(used(Anonymous, 0x1000..0x3000), MemoryUse::Anonymous);
        // The variables of a program that no file has.
        assert_eq!(used(Anonymous, 0x4000..0x5000), MemoryUse::Code);
        // Since then a file was mapped there, or nothing.
        assert_eq!(used(Anonymous, 0x5000..0x6000), MemoryUse::Anonymous);
        assert_eq!(used(Anonymous, 0x9000..0xa000), MemoryUse::Anonymous);
        assert_eq!(used(File, 0x4000..0x5000), MemoryUse::Code);
        assert_eq!(used(File, 0..0x1000), MemoryUse::File);
        assert_eq!(used(Brk, 0..0x1000), MemoryUse::Malloc);
        assert_eq!(used(Stack, 0..0x1000), MemoryUse::ThreadStack);
        assert_eq!(used(Unknown, 0..0x1000), MemoryUse::GoHeap);
        assert_eq!(used(Unknown, 0x9000..0xa000), MemoryUse::Unknown);
    }

    #[test]
    fn sums_are_in_the_order_of_their_faults() {
        let faults = [
            ("b", FaultAccess::Write, 2),
            ("a", FaultAccess::Read, 2),
            ("b", FaultAccess::Copy, 3),
        ];
        let sums = sums(faults);
        assert_eq!(sums[0].0, "b");
        assert_eq!(sums[0].1.faults, 5);
        assert_eq!(sums[0].1.by_access.get(&FaultAccess::Copy), Some(&3));
        assert_eq!((sums[1].0, sums[1].1.faults), ("a", 2));
    }

    #[test]
    fn a_long_curve_keeps_its_highest_point() {
        let mut curve = ResidentCurve::default();
        let highest = 33_333;
        for index in 0..50_000_u64 {
            let pages = if index == highest { 1_000_000 } else { index };
            curve.push(ResidentSample {
                time: MonotonicNanos(index),
                pid: 1,
                file: Bytes(0),
                anonymous: Bytes(pages),
                swap: Bytes(0),
                shared: Bytes(0),
            });
        }
        let points = curve.points();
        assert!(points.len() <= POINTS_MAX + 1 && points.len() > POINTS_MAX / 2);
        assert!(points.is_sorted_by_key(|point| point.time));
        assert!(points.iter().any(|point| point.time == MonotonicNanos(highest)));
        assert_eq!(curve.highest().map(|point| point.anonymous), Some(Bytes(1_000_000)));
        assert_eq!(curve.seen(), 50_000);
    }
}
