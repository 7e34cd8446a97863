//! Which call mapped what of an address space, from the calls as they happen: mmap, brk and mremap
//! map, all of these and munmap take away; mprotect says what may be used of it.
//!
//! One entry for each range that one stack mapped and that lies together; a call costs the logarithm
//! of them and what it takes away. What was mapped before is one site of its own.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use model::Addr;
use model::probe::{MappingCall, MappingChange};

/// The mappings of a process, and the calls that made them.
#[derive(Debug, Default)]
pub struct Mappings {
    /// By first address; they do not overlap, and neighbours differ.
    pieces: BTreeMap<u64, Piece>,
    /// What was there before is the first.
    sites: Vec<SiteMappings>,
    by_stack: HashMap<(MappedBy, Vec<Addr>), usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    end: u64,
    site: usize,
    is_reserved: bool,
}

/// Which call maps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MappedBy {
    /// It was there before.
    #[default]
    Before,
    /// mmap.
    Mmap,
    /// brk.
    Brk,
    /// mremap, which makes mappings larger; what it moves stays with whoever mapped it.
    Mremap,
}

impl MappedBy {
    /// The word used in every output.
    pub fn as_str(self) -> &'static str {
        match self {
            MappedBy::Before => "before",
            MappedBy::Mmap => "mmap",
            MappedBy::Brk => "brk",
            MappedBy::Mremap => "mremap",
        }
    }
}

/// A stack, and what became of what it mapped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SiteMappings {
    /// By which call.
    pub by: MappedBy,
    /// Its stack, as of [`MappingCall`].
    pub stack: Vec<Addr>,
    /// How many calls.
    pub calls: u64,
    /// All that was mapped.
    pub mapped_bytes: u64,
    /// What of it is no longer mapped, or by another call.
    pub unmapped_bytes: u64,
    /// What of the rest nothing may access (`PROT_NONE`): address space that is kept free.
    pub reserved_bytes: u64,
    /// What of it madvise gave back, each time it did; it may have been used again since.
    pub given_back_bytes: u64,
}

impl SiteMappings {
    /// What is mapped now.
    pub fn net_bytes(&self) -> u64 {
        self.mapped_bytes.saturating_sub(self.unmapped_bytes)
    }

    /// Adds the figures of a site whose stack is the same by name.
    pub fn join(&mut self, other: &SiteMappings) {
        self.by = other.by;
        self.calls += other.calls;
        self.mapped_bytes += other.mapped_bytes;
        self.unmapped_bytes += other.unmapped_bytes;
        self.reserved_bytes += other.reserved_bytes;
        self.given_back_bytes += other.given_back_bytes;
    }
}

/// The site of what was mapped before.
const BEFORE: usize = 0;

impl Mappings {
    /// Of a process that has these mappings already; the flag says that nothing may access them.
    pub fn new(mapped: impl IntoIterator<Item = (Range<Addr>, bool)>) -> Mappings {
        let sites = vec![SiteMappings::default()];
        let mut mappings = Mappings { sites, ..Mappings::default() };
        mappings.add(mapped);
        mappings
    }

    /// Adds what is mapped by none of the calls: after an exec.
    pub fn add(&mut self, mapped: impl IntoIterator<Item = (Range<Addr>, bool)>) {
        for (range, is_reserved) in mapped {
            self.map(range.start.0..range.end.0, BEFORE, is_reserved);
        }
    }

    /// Takes in what a call did.
    pub fn push(&mut self, call: &MappingCall) {
        let range = |range: &Range<Addr>| range.start.0..range.end.0;
        match &call.change {
            MappingChange::Mapped { range: mapped, is_reserved } => {
                let site = self.site(MappedBy::Mmap, call);
                self.map(range(mapped), site, *is_reserved);
            }
            MappingChange::Unmapped { range: unmapped } => self.unmap(range(unmapped)),
            MappingChange::BreakMoved { from, to } if from < to => {
                let site = self.site(MappedBy::Brk, call);
                self.map(from.0..to.0, site, false);
            }
            MappingChange::BreakMoved { from, to } => self.unmap(to.0..from.0),
            MappingChange::Moved { from, to, is_kept } => {
                self.remap(range(from), range(to), *is_kept, call);
            }
            MappingChange::GivenBack { range: given } => {
                for (piece, at) in self.within(range(given)) {
                    if let Some(site) = self.sites.get_mut(piece.site) {
                        site.given_back_bytes += at.end - at.start;
                    }
                }
            }
            MappingChange::Protected { range: protected, is_reserved } => {
                for (piece, at) in self.take(range(protected)) {
                    self.insert(at, piece.site, *is_reserved);
                }
            }
            MappingChange::Replaced => self.unmap(0..u64::MAX),
        }
    }

    /// What was mapped before: what of it is there still.
    pub fn before(&self) -> SiteMappings {
        self.sites.first().cloned().unwrap_or_default()
    }

    /// What all calls together mapped and is mapped now.
    pub fn net_bytes(&self) -> u64 {
        self.sites.iter().skip(1).map(SiteMappings::net_bytes).sum()
    }

    /// The sites, those first of which most is mapped now.
    pub fn sites(&self) -> Vec<SiteMappings> {
        let mut sites: Vec<SiteMappings> = self.sites.iter().skip(1).cloned().collect();
        sites.sort_by(|a, b| {
            let key = |site: &SiteMappings| (site.net_bytes(), site.mapped_bytes);
            key(b).cmp(&key(a)).then_with(|| (a.by, &a.stack).cmp(&(b.by, &b.stack)))
        });
        sites
    }

    fn site(&mut self, by: MappedBy, call: &MappingCall) -> usize {
        let next = self.sites.len();
        let index = *self.by_stack.entry((by, call.stack.clone())).or_insert(next);
        if index == next {
            let stack = call.stack.clone();
            self.sites.push(SiteMappings { by, stack, ..SiteMappings::default() });
        }
        if let Some(site) = self.sites.get_mut(index) {
            site.calls += 1;
        }
        index
    }

    fn map(&mut self, range: Range<u64>, site: usize, is_reserved: bool) {
        self.unmap(range.clone());
        if range.is_empty() {
            return;
        }
        if let Some(site) = self.sites.get_mut(site) {
            site.mapped_bytes += range.end - range.start;
        }
        self.insert(range, site, is_reserved);
    }

    fn unmap(&mut self, range: Range<u64>) {
        for (piece, at) in self.take(range) {
            if let Some(site) = self.sites.get_mut(piece.site) {
                site.unmapped_bytes += at.end - at.start;
            }
        }
    }

    /// What is moved stays with whoever mapped it; what is more is of this call.
    fn remap(&mut self, from: Range<u64>, to: Range<u64>, is_kept: bool, call: &MappingCall) {
        if is_kept {
            let site = self.site(MappedBy::Mremap, call);
            return self.map(to, site, false);
        }
        let pieces = self.take(from.clone());
        self.unmap(to.clone());
        let bytes = (from.end.saturating_sub(from.start)).min(to.end.saturating_sub(to.start));
        let (end, moved_end) = (from.start.saturating_add(bytes), to.start.saturating_add(bytes));
        for (piece, at) in pieces {
            let stays = at.start.min(end)..at.end.min(end);
            if let Some(site) = self.sites.get_mut(piece.site) {
                site.unmapped_bytes += (at.end - at.start) - (stays.end - stays.start);
            }
            if !stays.is_empty() {
                let moved = |addr: u64| addr - from.start + to.start;
                let range = moved(stays.start)..moved(stays.end);
                self.insert(range, piece.site, piece.is_reserved);
            }
        }
        if moved_end < to.end {
            let site = self.site(MappedBy::Mremap, call);
            self.map(moved_end..to.end, site, false);
        }
    }

    /// The parts of pieces that lie in a range.
    fn within(&self, range: Range<u64>) -> Vec<(Piece, Range<u64>)> {
        if range.is_empty() {
            return Vec::new();
        }
        let before = self.pieces.range(..range.start).next_back();
        let pieces = before.into_iter().chain(self.pieces.range(range.clone()));
        let parts = pieces
            .map(|(start, piece)| (*piece, (*start).max(range.start)..piece.end.min(range.end)));
        parts.filter(|(_, part)| !part.is_empty()).collect()
    }

    /// Takes a range out, and returns what was there.
    fn take(&mut self, range: Range<u64>) -> Vec<(Piece, Range<u64>)> {
        let parts = self.within(range);
        for (piece, part) in &parts {
            let at = match self.pieces.range(..=part.start).next_back() {
                Some((start, _)) => *start,
                None => continue,
            };
            self.pieces.remove(&at);
            if at < part.start {
                self.pieces.insert(at, Piece { end: part.start, ..*piece });
            }
            if part.end < piece.end {
                self.pieces.insert(part.end, *piece);
            }
            self.reserve(piece, part, false);
        }
        parts
    }

    /// Puts a piece where nothing is.
    fn insert(&mut self, range: Range<u64>, site: usize, is_reserved: bool) {
        let mut piece = Piece { end: range.end, site, is_reserved };
        self.reserve(&piece, &range, true);
        let mut start = range.start;
        let is_same = |other: &Piece| (other.site, other.is_reserved) == (site, is_reserved);
        if let Some((&at, other)) = self.pieces.range(..start).next_back()
            && other.end == start
            && is_same(other)
        {
            start = at;
        }
        if let Some(other) = self.pieces.get(&range.end).copied().filter(is_same) {
            self.pieces.remove(&range.end);
            piece.end = other.end;
        }
        self.pieces.insert(start, piece);
    }

    fn reserve(&mut self, piece: &Piece, range: &Range<u64>, is_more: bool) {
        let bytes = if piece.is_reserved { range.end - range.start } else { 0 };
        if let Some(site) = self.sites.get_mut(piece.site) {
            site.reserved_bytes = match is_more {
                true => site.reserved_bytes + bytes,
                false => site.reserved_bytes - bytes,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use model::Addr;
    use model::probe::{MappingCall, MappingChange, MonotonicNanos};

    use super::{MappedBy, Mappings, SiteMappings};

    const PAGE: u64 = 4096;

    fn call(site: u64, change: MappingChange) -> MappingCall {
        let (time, stack) = (MonotonicNanos(0), vec![Addr(site)]);
        MappingCall { time, pid: 1, thread: 1, change, stack }
    }

    fn pages(range: std::ops::Range<u64>) -> std::ops::Range<Addr> {
        Addr(range.start * PAGE)..Addr(range.end * PAGE)
    }

    fn mapped(site: u64, range: std::ops::Range<u64>) -> MappingCall {
        call(site, MappingChange::Mapped { range: pages(range), is_reserved: false })
    }

    fn moved(site: u64, from: std::ops::Range<u64>, to: std::ops::Range<u64>) -> MappingCall {
        let (from, to) = (pages(from), pages(to));
        call(site, MappingChange::Moved { from, to, is_kept: false })
    }

    /// Pages: mapped, unmapped, net, given back.
    fn figures(mappings: &Mappings, by: MappedBy, site: u64) -> [u64; 4] {
        let sites = mappings.sites();
        let found = sites.iter().find(|it| it.by == by && it.stack == [Addr(site)]);
        let found = found.cloned().unwrap_or_default();
        let bytes =
            [found.mapped_bytes, found.unmapped_bytes, found.net_bytes(), found.given_back_bytes];
        bytes.map(|bytes| bytes / PAGE)
    }

    #[test]
    fn parts_that_are_unmapped_belong_to_whoever_mapped_them() {
        let mut mappings = Mappings::new([(pages(90..100), false)]);
        mappings.push(&mapped(1, 0..10));
        mappings.push(&mapped(2, 10..20));
        // The hole in the middle, over the end of one and the begin of the other.
        mappings.push(&call(9, MappingChange::Unmapped { range: pages(8..12) }));
        // Nothing is there any more.
        mappings.push(&call(9, MappingChange::Unmapped { range: pages(9..11) }));
        assert_eq!(figures(&mappings, MappedBy::Mmap, 1), [10, 2, 8, 0]);
        assert_eq!(figures(&mappings, MappedBy::Mmap, 2), [10, 2, 8, 0]);
        // Another mapping in place of it.
        mappings.push(&mapped(3, 4..6));
        assert_eq!(figures(&mappings, MappedBy::Mmap, 1), [10, 4, 6, 0]);
        mappings.push(&call(9, MappingChange::GivenBack { range: pages(0..13) }));
        assert_eq!(figures(&mappings, MappedBy::Mmap, 1), [10, 4, 6, 6]);
        assert_eq!(figures(&mappings, MappedBy::Mmap, 2), [10, 2, 8, 1]);
        assert_eq!(figures(&mappings, MappedBy::Mmap, 3), [2, 0, 2, 2]);
        // What was there before.
        mappings.push(&call(9, MappingChange::Unmapped { range: pages(95..200) }));
        assert_eq!(mappings.before().net_bytes(), 5 * PAGE);
        mappings.push(&call(9, MappingChange::Replaced));
        assert_eq!(mappings.before().net_bytes(), 0);
        assert!(mappings.sites().iter().all(|site| site.net_bytes() == 0));
    }

    #[test]
    fn what_is_moved_stays_with_whoever_mapped_it() {
        let mut mappings = Mappings::new([]);
        mappings.push(&mapped(1, 0..4));
        mappings.push(&mapped(2, 4..8));
        // Both, to another place, and two pages more.
        mappings.push(&moved(3, 0..8, 100..110));
        assert_eq!(figures(&mappings, MappedBy::Mmap, 1), [4, 0, 4, 0]);
        assert_eq!(figures(&mappings, MappedBy::Mremap, 3), [2, 0, 2, 0]);
        // The order within is the same.
        mappings.push(&call(9, MappingChange::Unmapped { range: pages(102..105) }));
        assert_eq!(figures(&mappings, MappedBy::Mmap, 1), [4, 2, 2, 0]);
        assert_eq!(figures(&mappings, MappedBy::Mmap, 2), [4, 1, 3, 0]);
        // It shrinks where it is.
        mappings.push(&moved(4, 105..110, 105..106));
        assert_eq!(figures(&mappings, MappedBy::Mmap, 2), [4, 3, 1, 0]);
        assert_eq!(figures(&mappings, MappedBy::Mremap, 3), [2, 2, 0, 0]);
        // A second mapping of the same memory.
        let (from, to) = (pages(100..102), pages(200..202));
        mappings.push(&call(5, MappingChange::Moved { from, to, is_kept: true }));
        assert_eq!(figures(&mappings, MappedBy::Mmap, 1), [4, 2, 2, 0]);
        assert_eq!(figures(&mappings, MappedBy::Mremap, 5), [2, 0, 2, 0]);
    }

    #[test]
    fn brk_grows_and_shrinks() {
        let mut mappings = Mappings::new([]);
        let to = |site, from: u64, to: u64| {
            let (from, to) = (Addr(from * PAGE), Addr(to * PAGE));
            call(site, MappingChange::BreakMoved { from, to })
        };
        mappings.push(&to(1, 10, 20));
        mappings.push(&to(2, 20, 25));
        mappings.push(&to(1, 25, 15));
        assert_eq!(figures(&mappings, MappedBy::Brk, 1), [10, 5, 5, 0]);
        assert_eq!(figures(&mappings, MappedBy::Brk, 2), [5, 5, 0, 0]);
        let calls: Vec<u64> = mappings.sites().iter().map(|site| site.calls).collect();
        assert_eq!(calls, [1, 1]);
    }

    #[test]
    fn reserved_is_what_nothing_may_access() {
        let mut mappings = Mappings::new([]);
        let reserved = MappingChange::Mapped { range: pages(0..64), is_reserved: true };
        mappings.push(&call(1, reserved));
        mappings.push(&mapped(2, 0..4));
        let reserved = |mappings: &Mappings| -> Vec<u64> {
            mappings.sites().iter().map(|site| site.reserved_bytes / PAGE).collect()
        };
        assert_eq!(reserved(&mappings), [60, 0]);
        mappings.push(&moved(3, 32..64, 100..116));
        assert_eq!(reserved(&mappings), [44, 0]);
        let protected = |range, is_reserved| {
            call(9, MappingChange::Protected { range: pages(range), is_reserved })
        };
        mappings.push(&protected(2..8, false));
        assert_eq!(reserved(&mappings), [40, 0]);
        // Of two sites, and of what is not mapped.
        mappings.push(&protected(3..50, true));
        assert_eq!(reserved(&mappings), [44, 1]);
    }

    /// Which site each page is of, page by page.
    #[derive(Default)]
    struct ByPage {
        pages: BTreeMap<u64, (usize, bool)>,
        sites: BTreeMap<(MappedBy, u64), SiteMappings>,
        names: Vec<(MappedBy, u64)>,
    }

    impl ByPage {
        fn map(&mut self, by: MappedBy, site: u64, range: std::ops::Range<u64>, reserved: bool) {
            let name = (by, site);
            let index = self.names.iter().position(|it| *it == name).unwrap_or_else(|| {
                self.names.push(name);
                self.names.len() - 1
            });
            for page in range {
                self.unmap(page);
                self.pages.insert(page, (index, reserved));
                self.sites.entry(name).or_default().mapped_bytes += PAGE;
            }
        }

        fn unmap(&mut self, page: u64) {
            if let Some((index, _)) = self.pages.remove(&page) {
                self.sites.get_mut(&self.names[index]).unwrap().unmapped_bytes += PAGE;
            }
        }

        fn give_back(&mut self, page: u64) {
            if let Some((index, _)) = self.pages.get(&page) {
                self.sites.get_mut(&self.names[*index]).unwrap().given_back_bytes += PAGE;
            }
        }
    }

    /// xorshift64*.
    struct Random(u64);

    impl Random {
        fn below(&mut self, end: u64) -> u64 {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % end
        }

        fn range(&mut self) -> std::ops::Range<u64> {
            let start = self.below(60);
            start..start + 1 + self.below(12)
        }
    }

    /// One change to both; `brk` is where that heap ends.
    fn step(random: &mut Random, real: &mut Mappings, by_page: &mut ByPage, brk: &mut u64) {
        let (site, range) = (1 + random.below(6), random.range());
        match random.below(7) {
            0 | 1 => {
                let is_reserved = random.below(4) == 0;
                by_page.map(MappedBy::Mmap, site, range.clone(), is_reserved);
                real.push(&call(site, MappingChange::Mapped { range: pages(range), is_reserved }));
            }
            2 => {
                range.clone().for_each(|page| by_page.unmap(page));
                real.push(&call(site, MappingChange::Unmapped { range: pages(range) }));
            }
            3 => {
                range.clone().for_each(|page| by_page.give_back(page));
                real.push(&call(site, MappingChange::GivenBack { range: pages(range) }));
            }
            4 => {
                let is_reserved = random.below(2) == 0;
                let pages_within =
                    by_page.pages.iter_mut().filter(|(page, _)| range.contains(page));
                pages_within.for_each(|(_, (_, reserved))| *reserved = is_reserved);
                let range = pages(range);
                real.push(&call(site, MappingChange::Protected { range, is_reserved }));
            }
            5 => {
                let (from, to) = (*brk, 200 + random.below(20));
                *brk = to;
                (to..from).for_each(|page| by_page.unmap(page));
                if from < to {
                    by_page.map(MappedBy::Brk, site, from..to, false);
                }
                let (from, to) = (Addr(from * PAGE), Addr(to * PAGE));
                real.push(&call(site, MappingChange::BreakMoved { from, to }));
            }
            _ => {
                // To a place that does not overlap, as the kernel demands.
                let start = 100 + random.below(60);
                let to = start..start + 1 + random.below(12);
                let kept = (range.end - range.start).min(to.end - to.start);
                let old: Vec<_> =
                    range.clone().map(|page| by_page.pages.get(&page).copied()).collect();
                to.clone().for_each(|page| by_page.unmap(page));
                range.clone().skip(kept as usize).for_each(|page| by_page.unmap(page));
                for (index, page) in range.clone().take(kept as usize).enumerate() {
                    by_page.pages.remove(&page);
                    if let Some(old) = old[index] {
                        by_page.pages.insert(to.start + index as u64, old);
                    }
                }
                if to.start + kept < to.end {
                    by_page.map(MappedBy::Mremap, site, to.start + kept..to.end, false);
                }
                real.push(&moved(site, range, to));
            }
        }
    }

    #[test]
    fn it_agrees_with_a_list_of_pages() {
        for seed in 1..200 {
            let mut random = Random(seed);
            let (mut real, mut by_page, mut brk) = (Mappings::new([]), ByPage::default(), 200);
            for _ in 0..200 {
                step(&mut random, &mut real, &mut by_page, &mut brk);
            }
            let sites = real.sites();
            assert_eq!(sites.len(), by_page.sites.len(), "seed {seed}");
            for site in &sites {
                let name = (site.by, site.stack[0].0);
                let expected = &by_page.sites[&name];
                let figures =
                    |it: &SiteMappings| (it.mapped_bytes, it.unmapped_bytes, it.given_back_bytes);
                assert_eq!(figures(site), figures(expected), "seed {seed}, {name:?}");
                let reserved = by_page
                    .pages
                    .values()
                    .filter(|(index, is_reserved)| *is_reserved && by_page.names[*index] == name);
                assert_eq!(site.reserved_bytes, reserved.count() as u64 * PAGE, "seed {seed}");
            }
        }
    }
}
