//! The runtime's own mark bits, straight from a process's memory.
//!
//! Nothing here is the decoder's under test: where a field lies is asked of the program's
//! debug information by name. A span that was swept since the last collection has the marks
//! of that collection as its `allocBits`, one that was not has them in `gcmarkBits` and, of
//! small objects since Go 1.25, in the last bytes of its page (`spanInlineMarkBits`).
//! Source: runtime/mheap.go (mspan.sweepgen), mgcsweep.go, mgcmark_greenteagc.go.

use decode::elf::Elf;
use decode::goruntime::{Memory, MemoryImage};
use decode::symbols::variables::{TypeId, TypeKind, Variables};
use model::Addr;

/// A span in use and which of its slots the last collection marked.
pub(crate) struct MarkedSpan {
    pub(crate) base: u64,
    pub(crate) elem: u64,
    pub(crate) marked: Vec<bool>,
    /// The sweeper has not seen it since: nothing was allocated in it either.
    pub(crate) is_unswept: bool,
    pub(crate) has_inline_marks: bool,
}

/// What the collector has marked.
pub(crate) struct Marks {
    pub(crate) spans: Vec<MarkedSpan>,
    /// It is marking: nothing is said by what is marked.
    pub(crate) is_marking: bool,
}

struct Reader<'m> {
    memory: &'m MemoryImage<'m>,
    debug: &'m Variables<'m>,
}

impl Reader<'_> {
    /// Where a field lies, and its type.
    fn field(&self, of: TypeId, name: &str) -> Option<(u64, TypeId)> {
        let found = self.debug.get(of);
        let TypeKind::Struct(fields) = &found.kind else { panic!("{}: no struct", found.name) };
        let field = fields.iter().find(|field| field.name == name)?;
        Some((field.offset, field.type_id))
    }

    fn offset(&self, of: TypeId, name: &str) -> u64 {
        self.field(of, name).unwrap_or_else(|| panic!("no field {name}")).0
    }

    /// What a pointer, slice or array is of.
    fn elem(&self, of: TypeId) -> TypeId {
        let found = self.debug.get(of);
        match &found.kind {
            TypeKind::Pointer(Some(elem)) | TypeKind::Slice(elem) => *elem,
            TypeKind::Array { elem, .. } => *elem,
            kind => panic!("{}: {kind:?}", found.name),
        }
    }

    fn bytes<const N: usize>(&self, at: u64) -> [u8; N] {
        let mut bytes = [0; N];
        self.memory.read(Addr(at), &mut bytes).unwrap();
        bytes
    }

    fn word(&self, at: u64) -> u64 {
        u64::from_le_bytes(self.bytes(at))
    }

    fn bits(&self, at: u64, count: u64) -> Vec<bool> {
        (0..count).map(|bit| self.bytes::<1>(at + bit / 8)[0] >> (bit % 8) & 1 != 0).collect()
    }
}

/// Reads all spans of a program that is linked to fixed addresses.
pub(crate) fn read(exe: &[u8], memory: &MemoryImage<'_>) -> Marks {
    let debug = Variables::open(exe, None).unwrap();
    let symbols = Elf::parse(exe).unwrap().symbols(&["runtime.gcphase"]);
    let reader = Reader { memory, debug: &debug };
    let mheap = debug.globals().named("runtime.mheap_").unwrap();
    let (heap, at) = (mheap.type_id, mheap.addr.0);
    let (all, all_type) = reader.field(heap, "allspans").unwrap();
    let (list, count) = (reader.word(at + all), reader.word(at + all + 8));
    let mspan = reader.elem(reader.elem(all_type));
    let sweepgen = u32::from_le_bytes(reader.bytes(at + reader.offset(heap, "sweepgen")));
    let arenas = Arenas::of(&reader, heap, at);
    let spans = (0..count).filter_map(|index| {
        let span = reader.word(list + index * 8);
        marked_span(&reader, mspan, span, sweepgen, &arenas)
    });
    let phase = symbols[0].map(|addr| u32::from_le_bytes(reader.bytes(addr.0)));
    Marks { spans: spans.collect(), is_marking: phase != Some(0) }
}

/// `mheap_.arenas`, to tell which pages keep their marks within.
struct Arenas {
    table: u64,
    /// Where `pageUseSpanInlineMarkBits` lies; `None` before Go 1.25.
    inline_bits: Option<u64>,
}

impl Arenas {
    fn of(reader: &Reader<'_>, heap: TypeId, at: u64) -> Arenas {
        let (offset, of) = reader.field(heap, "arenas").unwrap();
        let arena = reader.elem(reader.elem(reader.elem(reader.elem(of))));
        let inline_bits = reader.field(arena, "pageUseSpanInlineMarkBits").map(|found| found.0);
        Arenas { table: reader.word(at + offset), inline_bits }
    }

    fn has_inline_marks(&self, reader: &Reader<'_>, base: u64) -> bool {
        let Some(bits) = self.inline_bits else { return false };
        // Arenas of 64 MiB from -2^47 on; pages of 8 KiB.
        let arena = reader.word(self.table + (base.wrapping_add(1 << 47) >> 26) * 8);
        let page = base >> 13 & 8191;
        reader.bits(arena + bits, page + 1)[page as usize]
    }
}

fn marked_span(
    reader: &Reader<'_>,
    mspan: TypeId,
    span: u64,
    sweepgen: u32,
    arenas: &Arenas,
) -> Option<MarkedSpan> {
    let at = |name: &str| span + reader.offset(mspan, name);
    // mSpanInUse.
    if reader.bytes::<1>(at("state"))[0] != 1 {
        return None;
    }
    let (base, elem) = (reader.word(at("startAddr")), reader.word(at("elemsize")));
    let (nelems, of) = reader.field(mspan, "nelems").unwrap();
    let slots = match reader.debug.get(of).bytes {
        8 => reader.word(span + nelems),
        _ => u16::from_le_bytes(reader.bytes(span + nelems)).into(),
    };
    let own = u32::from_le_bytes(reader.bytes(at("sweepgen")));
    // Two behind: not swept. One ahead: cached since before, not swept. Equal, and three
    // ahead when cached: swept. One behind: being swept, which nobody can tell anything of.
    let is_unswept = own == sweepgen.wrapping_sub(2) || own == sweepgen.wrapping_add(1);
    let is_swept = own == sweepgen || own == sweepgen.wrapping_add(3);
    if !is_unswept && !is_swept {
        return None;
    }
    let has_inline_marks = arenas.has_inline_marks(reader, base);
    let bits = if is_unswept { "gcmarkBits" } else { "allocBits" };
    let mut marked = reader.bits(reader.word(at(bits)), slots);
    if is_unswept && has_inline_marks {
        // The last 128 bytes of the page: 63 of scans, one of its owner, 63 of marks, a class.
        let inline = reader.bits(base + 8192 - 64, slots);
        marked.iter_mut().zip(inline).for_each(|(bit, inline)| *bit |= inline);
    }
    Some(MarkedSpan { base, elem, marked, is_unswept, has_inline_marks })
}
