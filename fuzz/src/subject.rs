//! Real Go programs whose memory is damaged: `MEMSIGHT_FUZZ_HEAPS` is a folder of executables
//! (NAME.exe, and NAME.stripped without symbols) and of their memory (NAME.core), which
//! scripts/fuzz makes.

use std::path::Path;

use decode::elf::{Elf, core::Core};
use decode::goruntime::{Attached, Bias, Binary, Memory, MemoryImage, ThreadRegisters};
use model::Addr;

/// A program: its files, its memory, and where in it the tables lie that the reader follows.
pub struct Subject {
    pub exe: Vec<u8>,
    pub stripped: Vec<u8>,
    pub binary: Binary,
    pub attached: Attached,
    pub threads: Vec<ThreadRegisters>,
    ranges: Vec<(Addr, Vec<u8>)>,
    places: Vec<Vec<Place>>,
}

/// A structure or a table in memory: first address and size.
type Place = (u64, u64);

/// What was there before, to be put back: the latest change comes last.
pub type Undo = Vec<(Where, Vec<u8>)>;

/// The bytes of a file, or of the memory by index of the range, and the offset in them.
#[derive(Clone, Copy)]
pub enum Where {
    Exe(usize),
    Stripped(usize),
    Memory(usize, usize),
}

/// What a program has of variables that its file does not initialise.
const BSS_BYTES: usize = 256 << 10;

/// All programs, by name.
pub fn subjects() -> Vec<Subject> {
    let dir = std::env::var_os("MEMSIGHT_FUZZ_HEAPS").expect("scripts/fuzz sets it");
    let entries = std::fs::read_dir(dir).expect("the folder can be read");
    let mut cores: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    cores.retain(|path| path.extension().is_some_and(|extension| extension == "core"));
    cores.sort();
    assert!(!cores.is_empty(), "no program");
    cores.iter().map(|path| Subject::open(path)).collect()
}

impl Subject {
    fn open(path: &Path) -> Subject {
        let read = |extension| std::fs::read(path.with_extension(extension)).expect("a file");
        let (core, exe, stripped) = (read("core"), read("exe"), read("stripped"));
        let core = Core::parse(&core).expect("a core file");
        let elf = Elf::parse(&exe).expect("an ELF file");
        let taken = core.segments.iter().map(|segment| (segment.addr, segment.bytes.to_vec()));
        // Constants, the types and the function table among them. Code is never looked at.
        let constants = elf.segments().iter().filter(|segment| !segment.is_writable);
        let constants = constants
            .filter_map(|segment| Some((segment.addr, elf.bytes_at(segment.addr)?.to_vec())));
        let ranges: Vec<_> = taken.chain(constants).collect();
        let binary = Binary::open(&exe).expect("a Go program");
        let image = image(&ranges);
        let attached = binary.attach(&exe, Bias(0), &image).expect("the runtime is found");
        let places = Places { image: &image, minor: binary.version.minor }.of(&elf);
        let threads = core.threads.clone();
        Subject { exe, stripped, binary, attached, threads, ranges, places }
    }

    /// The memory as it is now.
    pub fn image(&self) -> MemoryImage<'_> {
        image(&self.ranges)
    }

    /// Memory that holds nothing but these bytes where the executable has none: its variables,
    /// and some pages at addresses that are easily made.
    pub fn made_of<'a>(&'a self, data: &'a [u8]) -> MemoryImage<'a> {
        let elf = Elf::parse(&self.exe).expect("an ELF file");
        let mut ranges: Vec<(Addr, &[u8])> = Vec::new();
        for segment in elf.segments() {
            let bytes = self.exe.get(segment.offset as usize..).unwrap_or(&[]);
            let bytes = bytes.get(..segment.file_size as usize).unwrap_or(bytes);
            ranges.push((segment.addr, bytes));
            // Variables without a value follow.
            let end = segment.addr.0 + segment.file_size;
            let copies = (BSS_BYTES / data.len().max(64)) as u64;
            let copies = if segment.is_writable { copies } else { 0 };
            ranges.extend((0..copies).map(|copy| (Addr(end + copy * data.len() as u64), data)));
        }
        ranges.extend([0, 0x10000, 0xc0_0000_0000].map(|start| (Addr(start), data)));
        MemoryImage::new(ranges)
    }

    /// Writes what the input says where the input says, see [`Changes`].
    pub fn damage(&mut self, input: &[u8]) -> Undo {
        let mut changes = Changes { input, undo: Vec::new() };
        while changes.next(self).is_some() {}
        changes.undo
    }

    /// Takes the damage back.
    pub fn restore(&mut self, undo: Undo) {
        for (at, bytes) in undo.into_iter().rev() {
            self.write(at, &bytes);
        }
    }

    /// Where a word of a place is: the pools of places in memory, and then the files.
    fn find(&self, pool: u8, item: u16, word: u16) -> Option<(Where, u64)> {
        let index = usize::from(pool) % (self.places.len() + 2);
        let Some(places) = self.places.get(index) else {
            let len = if index == self.places.len() { self.exe.len() } else { self.stripped.len() };
            let at = (usize::from(item) << 12 | usize::from(word) & 0xfff) % (len - 8);
            let place =
                if index == self.places.len() { Where::Exe(at) } else { Where::Stripped(at) };
            return Some((place, 0));
        };
        let (start, size) = places[usize::from(item) % places.len()];
        let address = start + u64::from(word) * 8 % size.max(8);
        let within = |(start, bytes): &(Addr, Vec<u8>)| {
            (start.0..(start.0 + bytes.len() as u64).saturating_sub(7)).contains(&address)
        };
        let range = self.ranges.iter().position(within)?;
        Some((Where::Memory(range, (address - self.ranges[range].0.0) as usize), address))
    }

    fn bytes(&mut self, at: Where) -> &mut [u8] {
        match at {
            Where::Exe(offset) => &mut self.exe[offset..],
            Where::Stripped(offset) => &mut self.stripped[offset..],
            Where::Memory(range, offset) => &mut self.ranges[range].1[offset..],
        }
    }

    fn write(&mut self, at: Where, bytes: &[u8]) {
        self.bytes(at)[..bytes.len()].copy_from_slice(bytes);
    }
}

fn image(ranges: &[(Addr, Vec<u8>)]) -> MemoryImage<'_> {
    MemoryImage::new(ranges.iter().map(|(start, bytes)| (*start, &bytes[..])).collect())
}

/// Reads changes from the input: pool, place, word, and what to do with it.
struct Changes<'a> {
    input: &'a [u8],
    undo: Undo,
}

impl Changes<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.input.split_first_chunk()?;
        self.input = rest;
        Some(*head)
    }

    fn place(&mut self, subject: &Subject) -> Option<Option<(Where, u64)>> {
        let [pool, a, b, c, d] = self.take()?;
        Some(subject.find(pool, u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d])))
    }

    fn next(&mut self, subject: &mut Subject) -> Option<()> {
        let found = self.place(subject)?;
        let [operation] = self.take()?;
        let Some((at, address)) = found else { return Some(()) };
        let old = u64::from_le_bytes(subject.bytes(at)[..8].try_into().expect("eight bytes"));
        let bytes = match operation % 8 {
            0 => self.take::<8>()?.to_vec(),
            1 => self.take::<4>()?.to_vec(),
            2 => old
                .wrapping_add_signed(i64::from(i8::from_le_bytes(self.take()?)))
                .to_le_bytes()
                .to_vec(),
            3 => (old ^ 1 << (self.take::<1>()?[0] % 64)).to_le_bytes().to_vec(),
            // The address of another place: lists that run in circles, tables that overlap.
            4 => self.place(subject)?.map_or(0, |(_, address)| address).to_le_bytes().to_vec(),
            // A neighbour, which may be itself.
            5 => address
                .wrapping_add_signed(8 * i64::from(i8::from_le_bytes(self.take()?)))
                .to_le_bytes()
                .to_vec(),
            // What is in another place.
            6 => {
                let other = self.place(subject)?;
                other.map_or_else(Vec::new, |(other, _)| subject.bytes(other)[..8].to_vec())
            }
            // A run of bytes.
            _ => {
                let [len] = self.take()?;
                let (run, rest) = self.input.split_at(usize::from(len).min(self.input.len()));
                self.input = rest;
                run.to_vec()
            }
        };
        let room = subject.bytes(at).len();
        let bytes = &bytes[..bytes.len().min(room)];
        let before = subject.bytes(at)[..bytes.len()].to_vec();
        self.undo.push((at, before));
        subject.write(at, bytes);
        Some(())
    }
}

/// Finds the tables of an undamaged program.
struct Places<'i, 'a> {
    image: &'i MemoryImage<'a>,
    minor: u16,
}

impl Places<'_, '_> {
    fn word(&self, address: u64) -> u64 {
        self.image.read_u64(Addr(address)).unwrap_or(0)
    }

    /// The words of a slice, by the address of its header.
    fn list(&self, header: u64) -> Vec<u64> {
        let (first, count) = (self.word(header), self.word(header + 8).min(1 << 16));
        (0..count).map(|index| self.word(first + index * 8)).collect()
    }

    /// Pools of places, the small ones first.
    fn of(&self, elf: &Elf<'_>) -> Vec<Vec<Place>> {
        let names =
            ["runtime.mheap_", "runtime.firstmoduledata", "runtime.allgs", "runtime.allfin"];
        let found = elf.symbols(&names);
        let [mheap, module, allgs, allfin] = [0, 1, 2, 3].map(|at| found[at].map_or(0, |at| at.0));
        let allspans = self.list(mheap + 65864);
        // runtime.mspan: startAddr at 24, npages at 32, specials at 128.
        let shift = if self.minor == 21 { 8 } else { 0 };
        let in_use = |span: &&u64| self.image.read_vec(Addr(**span + 99 + shift), 1) == Ok(vec![1]);
        let spans: Vec<u64> = allspans.iter().filter(in_use).copied().collect();
        let memory = spans.iter().map(|span| (self.word(span + 24), self.word(span + 32) * 8192));
        let memory: Vec<Place> = memory.collect();
        // Bitmaps and inline marks lie at the end, headers at the beginning of objects.
        let ends = memory.iter().map(|(start, size)| (start + size - 256, 256)).collect();
        let mut specials = Vec::new();
        for span in &spans {
            let mut next = self.word(span + 128 + shift);
            while next != 0 && specials.len() < 1000 {
                specials.push((next, 48));
                next = self.word(next);
            }
        }
        specials.push((self.word(allfin), 400));
        let routines = self.list(allgs);
        // stack.lo, stack.hi, sched.sp at 56.
        let stacks = routines.iter().map(|g| (self.word(*g), self.word(g + 8), self.word(g + 56)));
        let stacks =
            stacks.map(|(low, high, sp)| (sp.clamp(low, high), high - sp.clamp(low, high)));
        let machines = routines.iter().map(|g| (self.word(g + 48), 1200)).filter(|m| m.0 != 0);
        let etypes = if self.minor >= 27 { 312 } else { 304 };
        let types = (self.word(module + 296), self.word(module + etypes));
        let bounds = |at| (self.word(module + at), self.word(module + at + 8));
        let size = |(from, to): (u64, u64)| (from, to.saturating_sub(from).min(8 * 0x10000));
        // A word is chosen by 16 bits: long tables become many places.
        let parts = |(from, to): (u64, u64)| (from..to).step_by(4096).map(|at| (at, 4096));
        let table = self.word(module);
        vec![
            vec![
                (mheap + 65848, 64),
                (mheap + 65984, 64),
                (self.word(mheap + 65864), allspans.len() as u64 * 8),
            ],
            spans.iter().map(|span| (*span, 168)).collect(),
            memory,
            ends,
            vec![(module, 640)],
            parts(types).collect(),
            vec![(table, 72), (table, 4096)],
            parts((table, table + (1 << 19))).collect(),
            vec![size(bounds(208)), size(bounds(224))],
            specials,
            vec![(allgs, 24), (self.word(allgs), routines.len() as u64 * 8)],
            routines.iter().map(|g| (*g, 440)).chain(machines).collect(),
            stacks.collect(),
        ]
    }
}
