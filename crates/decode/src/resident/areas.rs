//! What an address is used for, without looking at every page: the mappings, and what the tables of
//! the Go runtime and malloc's marks say of what lies in them.

use std::ops::Range;

use model::Addr;
use model::probe::MemoryUse;
use model::rss::{RssGroup, RssKind};

use super::attribute::taken;
use super::space::Area;
use super::{GoTables, Input, places};
use crate::goruntime::Memory;

/// What the parts of an address space are used for.
#[derive(Clone, Debug, Default)]
pub struct Areas {
    /// In the order in which they are asked; each ascending and apart.
    layers: [Vec<(Range<u64>, MemoryUse)>; 4],
}

impl Areas {
    /// Reads them. `memory` is what the marks of malloc are looked for in.
    pub fn read(input: &Input<'_>, go: Option<&GoTables>, memory: Option<&dyn Memory>) -> Areas {
        let kinds = places::kinds(input);
        let taken = go.map(|go| taken(&go.space)).unwrap_or_default();
        let native = places::native(input, &kinds, &taken, memory);
        let heap = go.map_or(&[][..], |go| &go.space.heap).iter();
        let heap = heap.map(|range| (range.clone(), MemoryUse::GoHeap));
        let maps = input.maps.iter().zip(&kinds).map(|(map, kind)| {
            let mapping = &map.map.mapping;
            (mapping.start..mapping.end, use_of(*kind))
        });
        let areas = |areas: &[Area]| {
            apart(areas.iter().map(|area| (area.range.clone(), use_of(area.kind))).collect())
        };
        let go = areas(go.map_or(&[][..], |go| &go.space.areas));
        Areas { layers: [apart(heap.collect()), go, areas(&native.areas), apart(maps.collect())] }
    }

    /// What an address is used for; `None` when nothing is mapped there.
    pub fn of(&self, address: Addr) -> Option<MemoryUse> {
        self.layers.iter().find_map(|layer| {
            let index = layer.partition_point(|(range, _)| range.end <= address.0);
            let (range, found) = layer.get(index)?;
            range.contains(&address.0).then_some(*found)
        })
    }
}

/// Sorted; of those that overlap the first counts.
fn apart(mut ranges: Vec<(Range<u64>, MemoryUse)>) -> Vec<(Range<u64>, MemoryUse)> {
    ranges.sort_by_key(|(range, _)| range.start);
    let mut end = 0;
    ranges.retain(|(range, _)| {
        let is_apart = range.start >= end && !range.is_empty();
        end = end.max(range.end);
        is_apart
    });
    ranges
}

fn use_of(kind: RssKind) -> MemoryUse {
    match kind {
        RssKind::MallocHeap | RssKind::MallocArena | RssKind::MallocLarge => MemoryUse::Malloc,
        RssKind::ThreadStack => MemoryUse::ThreadStack,
        RssKind::Anonymous => MemoryUse::Anonymous,
        RssKind::File => MemoryUse::File,
        RssKind::Shared => MemoryUse::Shared,
        RssKind::Unattributed => MemoryUse::Unknown,
        _ => match kind.group() {
            RssGroup::Heap | RssGroup::Stacks => MemoryUse::GoHeap,
            RssGroup::Runtime => MemoryUse::GoRuntime,
            _ => MemoryUse::Code,
        },
    }
}

#[cfg(test)]
mod tests {
    use model::Addr;
    use model::probe::MemoryUse;

    use super::{Areas, apart};
    use crate::goruntime::MemoryImage;
    use crate::procfs::smaps;
    use crate::resident::{Input, Pages, ResidentMap};

    #[test]
    fn what_lies_in_a_mapping_counts_more_than_the_mapping() {
        let text = "1000-2000 r-xp 00000000 fe:00 7 /bin/x\nRss: 4 kB\n\
                    4000-8000 rw-p 00000000 00:00 0 [heap]\nRss: 16 kB\n\
                    10000-20000 rw-p 00000000 00:00 0 \nRss: 64 kB\n\
                    20000-30000 rw-p 00000000 00:00 0 \nRss: 64 kB\n\
                    40000-41000 rw-s 00000000 fe:00 9 /var/db\nRss: 4 kB\n\
                    50000-51000 rw-s 00000000 00:01 3 /memfd:ring (deleted)\nRss: 4 kB\n";
        let maps: Vec<ResidentMap> =
            smaps(text).into_iter().map(|map| ResidentMap { map, pages: Pages::Uniform }).collect();
        let input = Input {
            maps: &maps,
            exe_inode: 7,
            exe_path: "/bin/x",
            // Of a thread whose stack is the upper part of what the kernel has as one mapping.
            stack_pointers: &[0x28000],
            threads: 1,
            stack_limit: Some(0x10000),
            is_go: false,
        };
        let areas = Areas::read(&input, None, Some(&MemoryImage::default()));
        for (address, used) in [
            (0x1800, Some(MemoryUse::Code)),
            (0x2000, None),
            (0x4000, Some(MemoryUse::Malloc)),
            (0x10000, Some(MemoryUse::Anonymous)),
            (0x20000, Some(MemoryUse::ThreadStack)),
            (0x2ffff, Some(MemoryUse::ThreadStack)),
            (0x40000, Some(MemoryUse::File)),
            (0x50fff, Some(MemoryUse::Shared)),
            (0x51000, None),
        ] {
            assert_eq!(areas.of(Addr(address)), used, "{address:#x}");
        }
    }

    #[test]
    fn of_ranges_that_overlap_the_first_counts() {
        let (heap, code) = (MemoryUse::GoHeap, MemoryUse::Code);
        let found = apart(vec![(5..8, code), (1..6, heap), (8..8, heap), (9..10, code)]);
        assert_eq!(found, [(1..6, heap), (9..10, code)]);
    }
}
