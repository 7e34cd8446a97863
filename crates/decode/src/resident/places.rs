//! What mappings are by their names, their neighbours, and the marks that glibc's malloc
//! leaves in its memory.
//!
//! Sources: glibc malloc/arena.c (heap_info), malloc/malloc.c (malloc_chunk), nptl.

use std::ops::Range;

use ahash::AHashSet;
use model::Addr;
use model::rss::RssKind;

use super::Input;
use super::pages::ResidentMap;
use super::space::Area;
use crate::bytes::Bytes;
use crate::goruntime::Memory;
use crate::procfs::Mapping;

/// `HEAP_MAX_SIZE` on 64 bits: arenas of threads are aligned to it.
const ARENA: u64 = 64 << 20;
/// The largest gap that is still a guard below a thread's stack.
const GUARD_MAX: u64 = 64 << 10;
/// What glibc gives a thread where the limit says nothing.
const STACK: u64 = 8 << 20;
/// Variables of a shared object that its file does not have.
const BSS_MAX: u64 = 16 << 20;

/// The kind of each mapping as a whole.
pub(super) fn kinds(input: &Input<'_>) -> Vec<RssKind> {
    let mapping = |map: &ResidentMap| map.map.mapping.clone();
    let all: Vec<Mapping> = input.maps.iter().map(mapping).collect();
    let is_code = |mapping: &&Mapping| mapping.inode != 0 && mapping.permissions.contains('x');
    let code: AHashSet<u64> = all.iter().filter(is_code).map(|mapping| mapping.inode).collect();
    let mut kinds: Vec<RssKind> = Vec::new();
    let mut before: Option<&Mapping> = None;
    for mapping in &all {
        let mut kind = kind(mapping, input, &code);
        // What a file's variables need beyond the file is mapped right behind it.
        let owner = before
            .zip(kinds.last())
            .filter(|(before, _)| before.end == mapping.start && before.permissions.contains('w'));
        if kind == RssKind::Anonymous && mapping.permissions.contains('w') {
            kind = match owner {
                Some((before, RssKind::ExeData)) if before.inode != 0 => RssKind::ExeData,
                Some((before, RssKind::Library))
                    if before.inode != 0 && mapping.end - mapping.start <= BSS_MAX =>
                {
                    RssKind::Library
                }
                _ => kind,
            };
        }
        kinds.push(kind);
        before = Some(mapping);
    }
    kinds
}

fn kind(mapping: &Mapping, input: &Input<'_>, code: &AHashSet<u64>) -> RssKind {
    let is_exe = input.exe_inode != 0 && mapping.inode == input.exe_inode
        || !input.exe_path.is_empty() && mapping.path == input.exe_path;
    let path = mapping.path.as_str();
    let is_shared = ["/dev/zero", "/SYSV", "/memfd:", "/dev/shm/", "[anon_shmem:"];
    match path {
        "" | "/anon_hugepage" => RssKind::Anonymous,
        "[heap]" => RssKind::MallocHeap,
        "[stack]" => RssKind::ThreadStack,
        _ if is_shared.iter().any(|start| path.starts_with(start)) => RssKind::Shared,
        _ if path.starts_with("[anon") => RssKind::Anonymous,
        _ if path.starts_with("[v") || path == "[uprobes]" => RssKind::Vdso,
        _ if is_exe => {
            if mapping.permissions.contains('x') {
                RssKind::ExeText
            } else if mapping.permissions.contains('w') {
                RssKind::ExeData
            } else {
                RssKind::ExeRodata
            }
        }
        _ if code.contains(&mapping.inode) => RssKind::Library,
        _ => RssKind::File,
    }
}

/// The parts of anonymous mappings that are C's: arenas and large blocks of malloc, stacks
/// of threads. `taken` are ranges that are something else for sure, ascending.
pub(super) fn native(
    input: &Input<'_>,
    kinds: &[RssKind],
    taken: &[Range<u64>],
    memory: Option<&dyn Memory>,
) -> Native {
    let mut native = Native::default();
    let has_glibc = input.maps.iter().any(|map| {
        let file = map.map.mapping.path.rsplit('/').next().unwrap_or_default();
        file.starts_with("libc.so") || file.starts_with("libc-2.")
    });
    let taken = Taken(taken);
    native.stacks(input, kinds, taken);
    if let Some(memory) = memory.filter(|_| has_glibc) {
        for (map, kind) in input.maps.iter().zip(kinds) {
            if *kind == RssKind::Anonymous && map.map.mapping.permissions.starts_with("rw") {
                native.malloc(map, taken, memory);
            }
        }
    }
    native.areas.sort_by_key(|area| area.range.start);
    native
}

/// Ranges in ascending order.
#[derive(Clone, Copy)]
struct Taken<'a>(&'a [Range<u64>]);

impl<'a> Taken<'a> {
    /// Those that end behind `addr`.
    fn from(self, addr: u64) -> impl Iterator<Item = &'a Range<u64>> {
        self.0.iter().skip(self.0.partition_point(|range| range.end <= addr))
    }

    fn has(self, addr: u64) -> bool {
        self.from(addr).next().is_some_and(|range| range.contains(&addr))
    }
}

/// What was found of C.
#[derive(Debug, Default)]
pub(super) struct Native {
    pub(super) areas: Vec<Area>,
    pub(super) malloc_arenas: u64,
}

impl Native {
    fn push(&mut self, range: Range<u64>, kind: RssKind) {
        if range.start < range.end {
            self.areas.push(Area { range, kind, is_counted: false });
        }
    }

    /// Stacks of threads: what has a stack pointer in it, and for threads that were running
    /// and told none, what has the size of a stack and a guard below.
    fn stacks(&mut self, input: &Input<'_>, kinds: &[RssKind], taken: Taken<'_>) {
        let size = input.stack_limit.unwrap_or(STACK);
        let mut pointers = input.stack_pointers.to_vec();
        pointers.sort_unstable();
        let mut left = input.threads.saturating_sub(pointers.len() as u64);
        let mut below: Option<&Mapping> = None;
        for (map, kind) in input.maps.iter().zip(kinds) {
            let mapping = &map.map.mapping;
            let has_guard = below.is_some_and(|below| {
                below.permissions.starts_with("---")
                    && below.end == mapping.start
                    && below.end - below.start <= GUARD_MAX
            });
            below = Some(mapping);
            if *kind != RssKind::Anonymous || !mapping.permissions.starts_with("rw") {
                continue;
            }
            // New versions of glibc have guards that are no mappings. But in a Go program whose
            // heap is not known, stack pointers of goroutines point into that.
            let is_open = has_guard || !input.is_go || !taken.0.is_empty();
            let first = pointers.partition_point(|sp| *sp < mapping.start);
            let inside = pointers.iter().skip(first).take_while(|sp| **sp < mapping.end);
            let last = inside.filter(|sp| is_open && !taken.has(**sp)).last();
            let bytes = mapping.end - mapping.start;
            if let Some(sp) = last {
                let end = mapping.start.saturating_add(size).max(sp + 1).min(mapping.end);
                self.push(mapping.start..end, RssKind::ThreadStack);
            } else if left > 0
                && has_guard
                && bytes <= size
                && bytes + GUARD_MAX >= size
                && !taken.has(mapping.start)
            {
                self.push(mapping.start..mapping.end, RssKind::ThreadStack);
                left -= 1;
            }
        }
    }

    /// Arenas and large blocks of malloc in a mapping. Only pages that are resident are
    /// looked at: reading others would have the kernel map its page of zeros there.
    fn malloc(&mut self, map: &ResidentMap, taken: Taken<'_>, memory: &dyn Memory) {
        let (start, end) = (map.map.mapping.start, map.map.mapping.end);
        let is_there = |at: u64| map.resident(&(at..at.saturating_add(32))).bytes == 32;
        let first = start.checked_next_multiple_of(ARENA).unwrap_or(end);
        for at in (first..end).step_by(ARENA as usize) {
            let found = (is_there(at) && !taken.has(at)).then(|| arena(memory, at)).flatten();
            if let Some((arena, size)) = found {
                self.push(at..at.saturating_add(size).min(end), RssKind::MallocArena);
                // A large arena consists of several of these.
                self.malloc_arenas += u64::from(arena.wrapping_sub(at) < ARENA);
            }
        }
        // New mappings are put below others, so that the newest block comes first.
        let ends = taken.from(start).map(|range| range.end).take_while(|at| *at < end);
        for from in std::iter::once(start).chain(ends) {
            let mut at = from;
            while at < end && is_there(at) {
                let Some(size) = large_block(memory, at).filter(|size| *size <= end - at) else {
                    break;
                };
                at += size;
            }
            self.push(from..at, RssKind::MallocLarge);
        }
    }
}

/// The `heap_info` at an aligned address, if there is one: the arena it belongs to, whose
/// structure follows the first `heap_info`, and its size. Between the two is the one before.
fn arena(memory: &dyn Memory, at: u64) -> Option<(u64, u64)> {
    let bytes = memory.read_vec(Addr(at), 32).ok()?;
    let bytes = Bytes(&bytes);
    let (arena, previous, size) = (bytes.u64(0)?, bytes.u64(8)?, bytes.u64(16)?);
    let is_arena = arena != 0 && (24..=512).contains(&(arena % ARENA));
    let is_heap = previous % ARENA == 0 && size % 4096 == 0 && (1..=ARENA).contains(&size);
    (is_arena && is_heap).then_some((arena, size))
}

/// The size of the block at an address, if malloc mapped one there for itself: it begins with
/// a header of two words, nothing and its size with the flag IS_MMAPPED.
fn large_block(memory: &dyn Memory, at: u64) -> Option<u64> {
    let header = memory.read_vec(Addr(at), 16).ok()?;
    let (before, size) = (Bytes(&header).u64(0)?, Bytes(&header).u64(8)?);
    let bytes = size & !7;
    let is_block = before == 0 && size & 7 == 2 && bytes > 0 && bytes.is_multiple_of(4096);
    is_block.then_some(bytes)
}

#[cfg(test)]
mod tests {
    use model::Addr;
    use model::rss::{Rss, RssKind};

    use super::super::{Input, Pages, ResidentMap, attribute};
    use crate::goruntime::MemoryImage;
    use crate::procfs::smaps;

    /// All of it resident, none of it Go's.
    fn picture(text: &str, stack_pointers: &[u64], threads: u64, image: &MemoryImage<'_>) -> Rss {
        let maps = smaps(text).into_iter().map(|map| ResidentMap { map, pages: Pages::Uniform });
        let maps: Vec<ResidentMap> = maps.collect();
        let input = Input {
            maps: &maps,
            exe_inode: 7,
            exe_path: "/bin/layered",
            stack_pointers,
            threads,
            stack_limit: Some(0x10000),
            is_go: false,
        };
        attribute(&input, None, Some(image))
    }

    fn check(rss: &Rss, expected: &[(RssKind, u64)]) {
        let found: Vec<(RssKind, u64)> = RssKind::all()
            .map(|kind| (kind, rss.tally.of(kind).bytes))
            .filter(|(_, bytes)| *bytes > 0)
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn mappings_are_told_by_name_and_neighbour() {
        let text = "1000-2000 r-xp 00000000 fe:00 7 /bin/x\nRss: 4 kB\n\
                    2000-3000 r--p 00001000 fe:00 6 /bin/layered\nRss: 4 kB\n\
                    3000-4000 rw-p 00002000 fe:00 7 /bin/x\nRss: 4 kB\n\
                    4000-6000 rw-p 00000000 00:00 0 \nRss: 8 kB\n\
                    8000-9000 rw-p 00000000 00:00 0 [heap]\nRss: 4 kB\n\
                    a000-b000 r-xp 00000000 fe:00 8 /lib/y.so\nRss: 4 kB\n\
                    b000-c000 rw-p 00001000 fe:00 8 /lib/y.so\nRss: 4 kB\n\
                    c000-d000 rw-p 00000000 00:00 0 \nRss: 4 kB\n\
                    e000-f000 rw-s 00000000 fe:00 9 /var/db\nRss: 4 kB\n\
                    f000-10000 rw-p 00000000 00:00 0 \nRss: 4 kB\n\
                    10000-11000 rw-s 00000000 00:01 3 /memfd:ring (deleted)\nRss: 4 kB\n\
                    12000-13000 rw-p 00000000 00:00 0 [stack]\nRss: 4 kB\n\
                    13000-14000 r-xp 00000000 00:00 0 [vdso]\nRss: 4 kB\n";
        let expected = [
            (RssKind::ExeText, 0x1000),
            (RssKind::ExeRodata, 0x1000),
            (RssKind::ExeData, 0x3000),
            (RssKind::Library, 0x3000),
            (RssKind::MallocHeap, 0x1000),
            (RssKind::ThreadStack, 0x1000),
            (RssKind::Anonymous, 0x1000),
            (RssKind::File, 0x1000),
            (RssKind::Shared, 0x1000),
            (RssKind::Vdso, 0x1000),
        ];
        check(&picture(text, &[], 1, &MemoryImage::default()), &expected);
    }

    const LIBC: &str = "1000-2000 r-xp 00000000 fe:00 8 /lib/libc.so.6\nRss: 4 kB\n";

    #[test]
    fn malloc_leaves_marks() {
        let words = |words: &[u64]| words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let arena = 64 << 20;
        // heap_info: arena, previous, size, mprotect_size; a second heap of the same arena.
        let first: Vec<u8> = words(&[arena + 0x30, 0, 0x8000, 0x8000]);
        let second: Vec<u8> = words(&[arena + 0x30, arena, 0x3000, 0x3000]);
        let third: Vec<u8> = words(&[5 * arena / 2 + 8, 0, 0x3000, 0]);
        // malloc_chunk: two blocks, then something else.
        let block: Vec<u8> = words(&[0, 0x2002, 0, 0]);
        let no_block: Vec<u8> = words(&[0, 0x2003, 0, 0]);
        let image = MemoryImage::new(vec![
            (Addr(arena), &first),
            (Addr(2 * arena), &second),
            (Addr(3 * arena), &third),
            (Addr(0x7000_0000), &block),
            (Addr(0x7000_2000), &block),
            (Addr(0x7000_4000), &no_block),
        ]);
        let text = format!(
            "{LIBC}4000000-4008000 rw-p 00000000 00:00 0 \nRss: 32 kB\n\
             8000000-8004000 rw-p 00000000 00:00 0 \nRss: 16 kB\n\
             c000000-c004000 rw-p 00000000 00:00 0 \nRss: 16 kB\n\
             70000000-70006000 rw-p 00000000 00:00 0 \nRss: 24 kB\n"
        );
        let rss = picture(&text, &[], 1, &image);
        let expected = [
            (RssKind::Library, 0x1000),
            (RssKind::MallocArena, 0xb000),
            (RssKind::MallocLarge, 0x4000),
            (RssKind::Anonymous, 0x1000 + 0x4000 + 0x2000),
        ];
        check(&rss, &expected);
        assert_eq!(rss.malloc_arenas, 1);
        // Without glibc the same bytes mean nothing.
        let rss = picture(text.strip_prefix(LIBC).unwrap(), &[], 1, &image);
        check(&rss, &[(RssKind::Anonymous, 0x8000 + 0x4000 + 0x4000 + 0x6000)]);
    }

    #[test]
    fn stacks_have_a_pointer_in_them_or_a_guard_below() {
        let text = "10000-11000 ---p 00000000 00:00 0 \nRss: 0 kB\n\
                    11000-20000 rw-p 00000000 00:00 0 \nRss: 60 kB\n\
                    20000-21000 ---p 00000000 00:00 0 \nRss: 0 kB\n\
                    21000-30000 rw-p 00000000 00:00 0 \nRss: 60 kB\n\
                    40000-80000 rw-p 00000000 00:00 0 \nRss: 256 kB\n\
                    90000-9f000 rw-p 00000000 00:00 0 \nRss: 60 kB\n";
        let image = MemoryImage::default();
        let check = |pointers: &[u64], threads: u64, stacks: u64| {
            let rss = picture(text, pointers, threads, &image);
            assert_eq!(rss.tally.of(RssKind::ThreadStack).bytes, stacks, "{pointers:x?}");
        };
        check(&[], 0, 0);
        check(&[0x12000], 1, 0xf000);
        // One thread was running.
        check(&[0x12000], 2, 0x1e000);
        check(&[0x12000], 5, 0x1e000);
        // Of a larger mapping only what a stack may have.
        check(&[0x41000], 1, 0x10000);
        check(&[0x9e000], 1, 0xf000);
    }
}
