//! Go's own type descriptors (`abi.Type`), which every binary carries, stripped or not.
//!
//! Source: internal/abi/type.go, map_swiss.go, map_noswiss.go.

use model::Addr;

use super::layout::Layout;
use super::modules::Module;
use crate::bytes::Bytes;
use crate::goruntime::MemoryImage;

/// `abi.Kind`.
pub(super) mod kind {
    pub(in super::super) const ARRAY: u8 = 17;
    pub(in super::super) const CHAN: u8 = 18;
    pub(in super::super) const FUNC: u8 = 19;
    pub(in super::super) const INTERFACE: u8 = 20;
    pub(in super::super) const MAP: u8 = 21;
    pub(in super::super) const POINTER: u8 = 22;
    pub(in super::super) const SLICE: u8 = 23;
    pub(in super::super) const STRING: u8 = 24;
    pub(in super::super) const STRUCT: u8 = 25;
    pub(in super::super) const UNSAFE_POINTER: u8 = 26;
}

/// `TFlagGCMaskOnDemand` since 1.24; before, `KindGCProg` in the kind.
const MASK_ON_DEMAND: u8 = 1 << 4;
const KIND_GC_PROG: u8 = 1 << 6;
const UNCOMMON: u8 = 1;
const EXTRA_STAR: u8 = 2;
const NAME_MAX: u64 = 4096;
const FIELDS_MAX: u64 = 1 << 16;

/// A type descriptor.
#[derive(Clone, Copy, Debug)]
pub(super) struct GoType {
    pub(super) addr: u64,
    pub(super) size: u64,
    /// Bytes of the prefix that can hold pointers.
    pub(super) ptr_bytes: u64,
    /// Of its identity; equal types of several modules have the same.
    pub(super) hash: u32,
    pub(super) kind: u8,
    /// A value of it is stored in an interface's word itself.
    pub(super) is_direct: bool,
    tflag: u8,
    has_gc_prog: bool,
    gcdata: u64,
    name: i32,
}

/// A struct's field.
#[derive(Clone, Copy, Debug)]
pub(super) struct GoField {
    pub(super) name: u64,
    pub(super) of: u64,
    pub(super) offset: u64,
}

/// Reads descriptors out of a process's memory.
#[derive(Clone, Copy)]
pub(super) struct Types<'a, 'm> {
    pub(super) memory: &'m MemoryImage<'a>,
    pub(super) modules: &'m [Module<'a>],
    pub(super) minor: u16,
}

impl<'a, 'm> Types<'a, 'm> {
    pub(super) fn new(
        memory: &'m MemoryImage<'a>,
        modules: &'m [Module<'a>],
        layout: &Layout,
    ) -> Types<'a, 'm> {
        Types { memory, modules, minor: layout.minor }
    }

    fn bytes(&self, addr: u64, len: u64) -> Option<Bytes<'a>> {
        self.memory.slice(Addr(addr), len).map(Bytes)
    }

    pub(super) fn word(&self, addr: u64, offset: u64) -> Option<u64> {
        self.bytes(addr.checked_add(offset)?, 8)?.u64(0)
    }

    /// The descriptor at an address, if one can be there.
    pub(super) fn get(&self, addr: u64) -> Option<GoType> {
        if !addr.is_multiple_of(8) {
            return None;
        }
        let bytes = self.bytes(addr, 48)?;
        let (size, ptr_bytes) = (bytes.u64(0)?, bytes.u64(8)?);
        let (tflag, kind) = (bytes.u8(20)?, bytes.u8(23)?);
        let found = GoType {
            addr,
            size,
            ptr_bytes,
            hash: bytes.u32(16)?,
            kind: kind & 0x1f,
            // A flag of the kind up to 1.25, of the type since.
            is_direct: if self.minor >= 26 { tflag & 1 << 5 != 0 } else { kind & 1 << 5 != 0 },
            tflag,
            has_gc_prog: self.minor < 24 && kind & KIND_GC_PROG != 0,
            gcdata: bytes.u64(32)?,
            name: bytes.i32(40)?,
        };
        // Kind 0 is of types the runtime makes up for their masks: large objects with a GC
        // program (to 1.23) and user arenas.
        let is_sound =
            found.kind <= 26 && ptr_bytes <= size && size <= 1 << 48 && ptr_bytes % 8 == 0;
        is_sound.then_some(found)
    }

    /// The same, where only descriptors of the program's own modules count: for words of
    /// which it is not known that they are descriptors.
    pub(super) fn get_listed(&self, addr: u64) -> Option<GoType> {
        let is_listed = self.modules.iter().any(|module| module.has_type(addr));
        is_listed.then(|| self.get(addr)).flatten().filter(|found| found.kind != 0)
    }

    /// The function whose code is at an address.
    pub(super) fn function(&self, pc: u64) -> Option<String> {
        let module = self.modules.iter().find(|module| module.has_code(pc))?;
        module.table.as_ref()?.func_at(Addr(pc))?.raw_name().map(str::to_owned)
    }

    /// The dynamic type that the first word of a non-empty interface names.
    pub(super) fn of_itab(&self, itab: u64) -> Option<GoType> {
        self.get_listed(self.word(itab, 8)?)
    }

    /// `map[string]*main.User`
    pub(super) fn name(&self, found: &GoType) -> Option<&'a str> {
        let name = self.resolve(found.addr, found.name)?;
        let name = self.text(name)?;
        Some(if found.tflag & EXTRA_STAR != 0 { name.strip_prefix('*')? } else { name })
    }

    /// Import path of the package that declares it.
    pub(super) fn package(&self, found: &GoType) -> Option<&'a str> {
        if found.tflag & UNCOMMON == 0 {
            return None;
        }
        let uncommon = match found.kind {
            kind::STRUCT | kind::INTERFACE => 80,
            kind::POINTER | kind::SLICE | kind::FUNC => 56,
            kind::ARRAY => 72,
            kind::CHAN => 64,
            kind::MAP if self.minor <= 23 => 88,
            kind::MAP if self.minor <= 26 => 112,
            kind::MAP => return None,
            _ => 48,
        };
        let offset = self.bytes(found.addr.checked_add(uncommon)?, 4)?.i32(0)?;
        self.text(self.resolve(found.addr, offset)?)
    }

    /// `resolveNameOff`: offsets count from the types of the descriptor's module.
    fn resolve(&self, addr: u64, offset: i32) -> Option<u64> {
        let module = self.modules.iter().find(|module| module.has_type(addr))?;
        (offset != 0).then(|| module.types.checked_add_signed(offset.into()))?
    }

    /// An encoded name: flags, length, bytes.
    pub(super) fn text(&self, addr: u64) -> Option<&'a str> {
        let tail = self.memory.tail(Addr(addr))?;
        let (len, used) = Bytes(tail).uvarint32(1)?;
        let text = tail.get(1 + used..(1 + used).checked_add(len as usize)?)?;
        (u64::from(len) <= NAME_MAX).then(|| std::str::from_utf8(text).ok())?
    }

    /// Element of a pointer, slice, array or channel; key of a map.
    pub(super) fn elem(&self, found: &GoType) -> Option<GoType> {
        self.get(self.word(found.addr, 48)?)
    }

    /// Value type of a map.
    pub(super) fn map_value(&self, found: &GoType) -> Option<GoType> {
        self.get(self.word(found.addr, 56)?)
    }

    /// Group of a Swiss map, bucket of an older one.
    pub(super) fn map_group(&self, found: &GoType) -> Option<GoType> {
        self.get(self.word(found.addr, 64)?)
    }

    /// Length of an array type.
    pub(super) fn array_len(&self, found: &GoType) -> u64 {
        self.word(found.addr, 64).unwrap_or(0)
    }

    /// Reports whether an interface type has no methods: its first word is then a type.
    pub(super) fn is_empty_interface(&self, found: &GoType) -> bool {
        self.word(found.addr, 64) == Some(0)
    }

    /// The fields of a struct.
    pub(super) fn fields(&self, found: &GoType) -> Vec<GoField> {
        let read = || {
            let (list, count) = (self.word(found.addr, 56)?, self.word(found.addr, 64)?);
            self.bytes(list, count.min(FIELDS_MAX) * 24)
        };
        let Some(Bytes(bytes)) = read() else { return Vec::new() };
        let field = |entry: &[u8]| {
            let entry = Bytes(entry);
            Some(GoField { name: entry.u64(0)?, of: entry.u64(8)?, offset: entry.u64(16)? })
        };
        bytes.chunks_exact(24).filter_map(field).collect()
    }

    /// A bit for each word of the type's first `ptr_bytes` that holds a pointer.
    pub(super) fn mask(&self, found: &GoType) -> Option<Mask<'a>> {
        let bytes = (found.ptr_bytes / 8).div_ceil(8);
        if found.ptr_bytes == 0 {
            return Some(Mask::Borrowed(&[]));
        }
        let is_on_demand = self.minor >= 24 && found.tflag & MASK_ON_DEMAND != 0;
        if !is_on_demand && !found.has_gc_prog {
            return self.memory.slice(Addr(found.gcdata), bytes).map(Mask::Borrowed);
        }
        self.build_mask(found)
    }

    /// The runtime builds masks of large types when it first needs them; the descriptor's
    /// structure says the same at any time.
    fn build_mask(&self, found: &GoType) -> Option<Mask<'a>> {
        let words = found.ptr_bytes / 8;
        if words > MASK_WORDS_MAX {
            return None;
        }
        let mut bits = vec![0_u8; words.div_ceil(8) as usize];
        let mut budget = MASK_STEPS_FREE + words * MASK_STEPS_PER_WORD;
        self.mark(found, 0, &mut bits, 0, &mut budget)?;
        Some(Mask::Owned(bits))
    }

    fn mark(
        &self,
        found: &GoType,
        at: u64,
        bits: &mut [u8],
        depth: u32,
        budget: &mut u64,
    ) -> Option<()> {
        *budget = budget.checked_sub(1)?;
        if found.ptr_bytes == 0 {
            return Some(());
        }
        if depth > DEPTH_MAX {
            return None;
        }
        let mut set = |at: u64| {
            let word = at / 8;
            if let Some(byte) = bits.get_mut((word / 8) as usize) {
                *byte |= 1 << (word % 8);
            }
        };
        match found.kind {
            kind::STRUCT => {
                let fields = self.fields(found);
                *budget = budget.checked_sub(fields.len() as u64)?;
                for field in fields {
                    let of = self.get(field.of)?;
                    self.mark(&of, at.checked_add(field.offset)?, bits, depth + 1, budget)?;
                }
            }
            kind::ARRAY => {
                let elem = self.elem(found)?;
                for index in 0..self.array_len(found) {
                    let at = at.checked_add(index.checked_mul(elem.size)?)?;
                    self.mark(&elem, at, bits, depth + 1, budget)?;
                }
            }
            // The first word never points to the heap, and the compiler's masks leave it out.
            kind::INTERFACE => set(at.checked_add(8)?),
            _ => set(at),
        }
        Some(())
    }
}

/// A gibibyte of pointers in one type; larger ones are damage.
const MASK_WORDS_MAX: u64 = 1 << 27;
/// Fields and values that are looked at for a mask: eight bytes and some nesting a word.
const MASK_STEPS_PER_WORD: u64 = 64;
const MASK_STEPS_FREE: u64 = 1 << 16;
const DEPTH_MAX: u32 = 100;

/// Which words of a value are pointers.
#[derive(Clone, Debug)]
pub(super) enum Mask<'a> {
    /// As the linker wrote it.
    Borrowed(&'a [u8]),
    /// Built from the descriptor.
    Owned(Vec<u8>),
}

impl Mask<'_> {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Mask::Borrowed(bytes) => bytes,
            Mask::Owned(bytes) => bytes,
        }
    }
}
