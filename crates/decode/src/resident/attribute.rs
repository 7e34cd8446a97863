//! The books: which kind each resident byte of each mapping is booked on.

use std::collections::BTreeMap;
use std::ops::Range;

use model::rss::{RssBytes, RssClass, RssKind, RssMap, RssTally};

use super::pages::Pages;
use super::space::{Area, Space};
use super::spans::{Holds, Slot, Slots, Span, SpanTable};
use super::{GoTables, Input, places};

/// A span is sparse when at most one slot in this many holds an object, as in
/// `analyze::heap::waste`.
const SPARSE_PART: u64 = 4;

/// Ranges that are the runtime's for sure, ascending.
pub(super) fn taken(space: &Space) -> Vec<Range<u64>> {
    let areas = space.areas.iter().map(|area| area.range.clone());
    let mut taken: Vec<Range<u64>> = space.heap.iter().cloned().chain(areas).collect();
    taken.sort_by_key(|range| range.start);
    taken
}

pub(super) struct Books<'a> {
    input: &'a Input<'a>,
    /// The kind of each mapping as a whole.
    pub(super) kinds: Vec<RssKind>,
    tallies: Vec<RssTally>,
    /// Areas that were booked, ascending and apart.
    areas: Vec<Area>,
}

impl<'a> Books<'a> {
    /// Books every mapping as a whole.
    pub(super) fn new(input: &'a Input<'a>) -> Books<'a> {
        let kinds = places::kinds(input);
        let tally = |(map, kind): (&super::ResidentMap, &RssKind)| {
            let mut tally = RssTally::default();
            // Of unknown pages at least their number is known.
            let total = match map.pages {
                Pages::Unknown => {
                    RssBytes { bytes: map.map.rss_bytes, huge_bytes: map.map.huge_bytes }
                }
                _ => map.total(),
            };
            tally.add(*kind, total);
            tally
        };
        let tallies = input.maps.iter().zip(&kinds).map(tally).collect();
        Books { input, kinds, tallies, areas: Vec::new() }
    }

    /// Indices of the mappings that a range touches.
    fn touched(&self, range: &Range<u64>) -> Range<usize> {
        let maps = self.input.maps;
        let first = maps.partition_point(|map| map.map.mapping.end <= range.start);
        let rest = maps.iter().skip(first);
        let count = rest.take_while(|map| map.map.mapping.start < range.end).count();
        first..first + count
    }

    /// Which mappings one of these ranges touches.
    fn has_any<'r>(&self, ranges: impl Iterator<Item = &'r Range<u64>>) -> Vec<bool> {
        let mut has = vec![false; self.tallies.len()];
        for range in ranges {
            let touched = self.touched(range);
            has.iter_mut().skip(touched.start).take(touched.len()).for_each(|has| *has = true);
        }
        has
    }

    /// Moves what is resident of a range from one kind to another; `None` is the mapping's
    /// own kind.
    fn book(&mut self, range: &Range<u64>, from: Option<RssKind>, to: RssKind) -> RssBytes {
        let mut sum = RssBytes::default();
        for index in self.touched(range) {
            let map = self.input.maps.get(index);
            let place = self.kinds.get(index).zip(self.tallies.get_mut(index));
            let Some((map, (kind, tally))) = map.zip(place) else { continue };
            let bytes = map.resident(range);
            tally.move_to(from.unwrap_or(*kind), to, bytes);
            sum += bytes;
        }
        sum
    }

    /// Resident bytes of a range, and the mapping that holds it all if one does.
    fn resident(&self, range: &Range<u64>) -> (RssBytes, Option<usize>) {
        let touched = self.touched(range);
        let mut sum = RssBytes::default();
        for map in self.input.maps.iter().skip(touched.start).take(touched.len()) {
            sum += map.resident(range);
        }
        (sum, (touched.len() == 1).then_some(touched.start))
    }

    /// Books the runtime's and C's areas, and the heap as idle. Of areas that overlap the
    /// first counts: one of them was read while it changed.
    pub(super) fn areas(&mut self, go: &[Area], native: &[Area], heap: &[Range<u64>]) {
        let heap = heap.iter().map(|range| Area {
            range: range.clone(),
            kind: RssKind::HeapIdle,
            is_counted: false,
        });
        let mut runtime: Vec<Area> = heap.chain(go.iter().cloned()).collect();
        runtime.sort_by_key(|area| area.range.start);
        let mut end = 0;
        runtime.retain(|area| {
            let is_apart = area.range.start >= end;
            end = end.max(area.range.end);
            is_apart
        });
        // Stacks may lie in the same mapping as the runtime's areas, which have the last word.
        let mut all: Vec<Area> = Vec::new();
        for area in native {
            let mut start = area.range.start;
            let end = area.range.end;
            let first = runtime.partition_point(|other| other.range.end <= start);
            let others = runtime.iter().skip(first).take_while(|other| other.range.start < end);
            for other in others {
                if other.range.start > start {
                    all.push(Area { range: start..other.range.start, ..area.clone() });
                }
                start = start.max(other.range.end);
            }
            if start < end {
                all.push(Area { range: start..end, ..area.clone() });
            }
        }
        all.sort_by_key(|area| area.range.start);
        let mut end = 0;
        all.retain(|area| {
            let is_apart = area.range.start >= end;
            end = end.max(area.range.end);
            is_apart
        });
        all.extend(runtime);
        all.sort_by_key(|area| area.range.start);
        for area in &all {
            self.book(&area.range, None, area.kind);
        }
        self.areas = all;
    }

    fn area_at(&self, addr: u64) -> Option<RssKind> {
        let index = self.areas.partition_point(|area| area.range.end <= addr);
        let area = self.areas.get(index)?;
        area.range.contains(&addr).then_some(area.kind)
    }

    /// Books parts of areas.
    pub(super) fn parts(&mut self, parts: &[Area]) {
        let mut end = 0;
        for part in parts.iter() {
            if part.range.start < end {
                continue;
            }
            end = part.range.end;
            let from = self.area_at(part.range.start);
            if from != Some(part.kind) {
                self.book(&part.range, from, part.kind);
            }
        }
    }

    /// Books all spans; their size classes.
    pub(super) fn heap(&mut self, space: &Space, table: &SpanTable) -> Vec<RssClass> {
        let mut classes: BTreeMap<(Option<u64>, bool), RssClass> = BTreeMap::new();
        for span in &table.spans {
            let index = space.heap.partition_point(|range| range.end <= span.range.start);
            let is_inside =
                space.heap.get(index).is_some_and(|range| range.contains(&span.range.start));
            // User arenas are outside of what the page allocator has.
            let from = is_inside.then_some(RssKind::HeapIdle);
            let slots = match &span.holds {
                Holds::Objects(slots) => slots,
                Holds::Stacks => {
                    self.book(&span.range, from, RssKind::StackOther);
                    continue;
                }
                Holds::WorkBufs => {
                    self.book(&span.range, from, RssKind::WorkBufs);
                    continue;
                }
            };
            let slot_bytes = (!slots.is_large).then_some(slots.bytes);
            let class = classes.entry((slot_bytes, slots.is_noscan)).or_default();
            (class.slot_bytes, class.is_noscan) = (slot_bytes, slots.is_noscan);
            self.span(span, slots, table, from, class);
        }
        classes.into_values().collect()
    }

    fn span(
        &mut self,
        span: &Span,
        slots: &Slots,
        table: &SpanTable,
        from: Option<RssKind>,
        class: &mut RssClass,
    ) {
        let mut counts = [0_u64; 3];
        for words in table.words(slots) {
            for (count, word) in counts.iter_mut().zip(words) {
                *count += u64::from(word.count_ones());
            }
        }
        let [marked, new, dead] = counts;
        let size = span.range.end - span.range.start;
        let (resident, only) = self.resident(&span.range);
        let parts = match only {
            Some(index) if resident.bytes == size => {
                let all = u64::from(slots.count);
                let free = all - (marked + new + dead).min(all);
                let parts = [marked, new, dead, free].map(|count| count * slots.bytes);
                let [marked, new, dead, free] = parts;
                let parts = [marked, new, dead, free, size - all * slots.bytes];
                self.book_whole(index, from, parts, resident);
                parts
            }
            _ => self.book_slots(span, slots, table, from),
        };
        let sums = [
            &mut class.marked_bytes,
            &mut class.new_bytes,
            &mut class.dead_bytes,
            &mut class.free_bytes,
            &mut class.tail_bytes,
        ];
        sums.into_iter().zip(parts).for_each(|(sum, part)| *sum += part);
        let (count, objects) = (u64::from(slots.count), marked + new);
        class.spans += 1;
        class.span_bytes += parts.iter().sum::<u64>();
        class.slots += count;
        class.objects += objects;
        if objects > 0 && objects * SPARSE_PART <= count && !slots.is_cached {
            class.sparse_spans += 1;
            class.sparse_bytes += resident.bytes;
            class.sparse_objects += objects;
        } else if objects > 0 {
            class.room += count - objects.min(count);
        }
    }

    /// Books a span of which every page is resident.
    fn book_whole(
        &mut self,
        index: usize,
        from: Option<RssKind>,
        parts: [u64; 5],
        resident: RssBytes,
    ) {
        let place = self.kinds.get(index).zip(self.tallies.get_mut(index));
        let Some((kind, tally)) = place else { return };
        for (to, bytes) in SLOT_KINDS.into_iter().zip(parts) {
            let huge = u128::from(resident.huge_bytes) * u128::from(bytes);
            let huge_bytes = (huge / u128::from(resident.bytes.max(1))) as u64;
            tally.move_to(from.unwrap_or(*kind), to, RssBytes { bytes, huge_bytes });
        }
    }

    /// Books a span slot by slot, where some pages are not resident.
    fn book_slots(
        &mut self,
        span: &Span,
        slots: &Slots,
        table: &SpanTable,
        from: Option<RssKind>,
    ) -> [u64; 5] {
        let mut parts = [0; 5];
        let mut run: Option<(Slot, Range<u64>)> = None;
        let start = span.range.start;
        let mut close = |books: &mut Self, run: Option<(Slot, Range<u64>)>| {
            let Some((slot, range)) = run else { return };
            let index = slot as usize;
            if let Some((to, part)) = SLOT_KINDS.get(index).zip(parts.get_mut(index)) {
                *part += books.book(&range, from, *to).bytes;
            }
        };
        for (word, words) in (0..).zip(table.words(slots)) {
            let first = word * 64;
            for bit in 0..64.min(u64::from(slots.count).saturating_sub(first)) {
                let slot = Slots::slot(words, bit as u32);
                let at = start + (first + bit) * slots.bytes;
                match &mut run {
                    Some((last, range)) if *last == slot => range.end = at + slots.bytes,
                    _ => close(self, run.replace((slot, at..at + slots.bytes))),
                }
            }
        }
        close(self, run);
        let tail = start + u64::from(slots.count) * slots.bytes..span.range.end;
        parts[4] = self.book(&tail, from, RssKind::HeapTail).bytes;
        parts
    }

    /// Books idle pages that were given back and are resident again; bytes that are not.
    pub(super) fn returned(&mut self, ranges: &[Range<u64>]) -> u64 {
        let mut released = 0;
        for range in ranges {
            let back = self.book(range, Some(RssKind::HeapIdle), RssKind::HeapReturned);
            released += (range.end - range.start).saturating_sub(back.bytes);
        }
        released
    }

    /// Books goroutines' stacks, which lie in spans of stacks; that of a goroutine which C
    /// called is its thread's.
    pub(super) fn stacks(&mut self, ranges: &[Range<u64>]) {
        for range in ranges {
            if self.area_at(range.start) == Some(RssKind::HeapIdle) {
                self.book(range, Some(RssKind::StackOther), RssKind::StackInUse);
            }
        }
    }

    /// Anonymous memory beside the runtime's own, in the same mapping, may be the runtime's:
    /// as much as it has from the system beyond what its tables show stays unattributed.
    pub(super) fn unknown(&mut self, go: &GoTables) {
        let writable = |area: &Area| -> u64 {
            let maps = self.touched(&area.range);
            let maps = self.input.maps.iter().skip(maps.start).take(maps.len());
            let maps = maps.filter(|map| map.map.mapping.permissions.contains('w'));
            let within = |start: u64, end: u64| {
                end.min(area.range.end).saturating_sub(start.max(area.range.start))
            };
            maps.map(|map| within(map.map.mapping.start, map.map.mapping.end)).sum()
        };
        let counted = go.space.areas.iter().filter(|area| area.is_counted);
        let known: u64 = counted.map(writable).sum();
        let work = go.table.spans.iter().filter(|span| span.holds == Holds::WorkBufs);
        let work: u64 = work.map(|span| span.range.end - span.range.start).sum();
        let mut left = go
            .metadata_bytes
            .map_or(u64::MAX, |all| all.saturating_sub(known).saturating_sub(work));
        let is_own = self.has_any(go.space.areas.iter().map(|area| &area.range));
        for (tally, is_own) in self.tallies.iter_mut().zip(is_own) {
            let beside = tally.of(RssKind::Anonymous);
            if is_own && left > 0 {
                let (bytes, huge_bytes) = (beside.bytes.min(left), beside.huge_bytes.min(left));
                let taken = RssBytes { bytes, huge_bytes };
                tally.move_to(RssKind::Anonymous, RssKind::Unattributed, taken);
                left -= taken.bytes;
            }
        }
    }

    /// Nobody knows what the anonymous memory of a Go program is whose runtime was not read.
    pub(super) fn unread(&mut self) {
        for tally in &mut self.tallies {
            let all = tally.of(RssKind::Anonymous);
            tally.move_to(RssKind::Anonymous, RssKind::Unattributed, all);
        }
    }

    /// The sums.
    pub(super) fn finish(self, warnings: &mut Vec<String>) -> (RssTally, Vec<RssMap>) {
        let mut sum = RssTally::default();
        let mut maps = Vec::new();
        let mut unknown = 0_u64;
        let has_areas = self.has_any(self.areas.iter().map(|area| &area.range));
        let rows = self.input.maps.iter().zip(&self.kinds).zip(self.tallies);
        for (((resident, kind), mut tally), has_areas) in rows.zip(has_areas) {
            let map = &resident.map;
            // Whose pages these are is unknown where several have a part of the mapping.
            if resident.pages == Pages::Unknown && *kind == RssKind::Anonymous && has_areas {
                let all = tally.of(*kind);
                tally.move_to(*kind, RssKind::Unattributed, all);
                unknown += all.bytes;
            }
            tally
                .scale_huge(map.huge_bytes.min(tally.total().huge_bytes), tally.total().huge_bytes);
            sum.merge(&tally);
            if tally.total().bytes > 0 || map.swap_bytes > 0 {
                maps.push(RssMap {
                    range: map.mapping.start..map.mapping.end,
                    permissions: map.mapping.permissions.clone(),
                    path: map.mapping.path.clone(),
                    tally,
                    swap_bytes: map.swap_bytes,
                });
            }
        }
        if unknown > 0 {
            let what = "of mappings with pages of several kinds it is not known which are resident";
            warnings.push(format!("{what}; {} stay unattributed", model::Bytes(unknown)));
        }
        (sum, maps)
    }
}

/// The kinds of [`Slot`]s in their order, then what is behind the last.
const SLOT_KINDS: [RssKind; 5] = [
    RssKind::HeapMarked,
    RssKind::HeapNew,
    RssKind::HeapDead,
    RssKind::HeapFree,
    RssKind::HeapTail,
];
