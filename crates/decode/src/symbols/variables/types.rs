//! Types of variables, decoded one by one when they are asked for.
//!
//! A type's id is where it stands in the debug information, so nothing is read ahead, and
//! types that contain each other need no boxes. What was decoded is kept, up to a limit.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use gimli::constants as dw;

use super::entry::Entry;
use super::sections::Sections;
use super::units::{Budget, Units};

/// Typedefs of typedefs are followed so far; Go writes two.
const TYPEDEFS_MAX: usize = 16;
/// Fields of one structure at most.
const FIELDS_MAX: usize = 1 << 18;
/// Bytes of decoded types that are kept; further ones are decoded again each time.
const KEPT_BYTES_MAX: usize = 256 << 20;

/// A type: where it stands in the debug information.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TypeId(pub u32);

/// Where a type's run-time descriptor (`abi.Type`) is: bytes behind `moduledata.types`
/// ([`Variables::types_start`](super::Variables::types_start) at link time).
///
/// So it is in every Go from 1.21 to 1.27, also in position-independent and externally
/// linked files, where the section's start says something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuntimeTypeOffset(pub u64);

/// A type, with plain typedefs followed to what they name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VarType {
    /// As the linker names it: `main.Node`, `map[string]int`, `main.Pair[string,int]`.
    pub name: String,
    /// Size of a value.
    pub bytes: u64,
    /// What it is made of.
    pub kind: TypeKind,
    /// Its descriptor; `None` where the linker kept none.
    pub runtime_type: Option<RuntimeTypeOffset>,
    /// In a generic function: which entry of the dictionary holds the real type. What is
    /// told here is the shape, which has the same layout.
    pub dictionary_index: Option<u64>,
}

/// What a type is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TypeKind {
    /// A pointer; `None` to nothing in particular (`unsafe.Pointer`).
    Pointer(Option<TypeId>),
    /// A structure, by ascending offset.
    Struct(Vec<Field>),
    /// An array.
    Array {
        /// Type of the elements.
        elem: TypeId,
        /// How many.
        count: u64,
    },
    /// A string: pointer and length.
    String,
    /// A slice of these: pointer, length, capacity.
    Slice(TypeId),
    /// An interface: two words.
    Interface {
        /// Without methods: the first word is the type, not a table with it.
        is_empty: bool,
    },
    /// A map: a pointer.
    Map {
        /// Type of the keys.
        key: TypeId,
        /// Type of the values.
        elem: TypeId,
        /// What it points to: `hash<K,V>` (to Go 1.23), `map<K,V>` with the groups' types.
        header: Option<TypeId>,
    },
    /// A channel: a pointer.
    Chan {
        /// Type of the elements.
        elem: TypeId,
        /// What it points to: `hchan<T>`.
        header: Option<TypeId>,
    },
    /// A function value: a pointer to a closure object, whose first word is the code.
    Func,
    /// A number or a truth value: no pointer.
    Scalar,
    /// Damaged, or of another language.
    #[default]
    Unknown,
}

/// A field of a structure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// As in source.
    pub name: String,
    /// Bytes into the structure.
    pub offset: u64,
    /// Its type.
    pub type_id: TypeId,
    /// The field's name is its type's, and its fields are promoted.
    pub is_embedded: bool,
}

/// `abi.Kind`.
mod kind {
    pub(super) const CHAN: u8 = 18;
    pub(super) const INTERFACE: u8 = 20;
    pub(super) const MAP: u8 = 21;
    pub(super) const SLICE: u8 = 23;
    pub(super) const STRING: u8 = 24;
}

/// The types that were decoded.
#[derive(Default)]
pub(super) struct Types {
    kept: Mutex<Kept>,
    /// Bytes of entries that decoding read.
    spent: AtomicUsize,
}

#[derive(Default)]
struct Kept {
    types: HashMap<TypeId, Arc<VarType>, ahash::RandomState>,
    bytes: usize,
}

impl Types {
    pub(super) fn get(&self, sections: &Sections<'_>, units: &Units, id: TypeId) -> Arc<VarType> {
        // Nothing can panic while the lock is held.
        let lock = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lock().types.get(&id) {
            return known.clone();
        }
        let spent = self.spent.load(Ordering::Relaxed);
        let budget = Budget::new(bytes_max(sections).saturating_sub(spent));
        let before = budget.left();
        let decoder = Decoder { sections, units, budget: &budget };
        let decoded = Arc::new(decoder.decode(id).unwrap_or_default());
        self.spent.fetch_add(before - budget.left(), Ordering::Relaxed);
        let bytes = size_of_type(&decoded);
        let mut kept = lock();
        if kept.bytes + bytes <= KEPT_BYTES_MAX {
            kept.bytes += bytes;
            kept.types.insert(id, decoded.clone());
        }
        decoded
    }
}

/// What decoding may read in all: each type once, and much of it again where types are too
/// many to keep.
pub(super) fn bytes_max(sections: &Sections<'_>) -> usize {
    sections.info_len().saturating_mul(64).saturating_add(64 << 20)
}

/// Roughly what keeping a type costs.
fn size_of_type(kept: &VarType) -> usize {
    let fields = match &kept.kind {
        TypeKind::Struct(fields) => fields.as_slice(),
        _ => &[],
    };
    let names: usize = fields.iter().map(|field| field.name.len()).sum();
    128 + size_of::<VarType>() + kept.name.len() + names + size_of_val(fields)
}

struct Decoder<'d, 'a> {
    sections: &'d Sections<'a>,
    units: &'d Units,
    budget: &'d Budget,
}

/// The size of a value of a type; 0 when it is not known.
pub(super) fn size_of_value(
    sections: &Sections<'_>,
    units: &Units,
    id: TypeId,
    budget: &Budget,
) -> u64 {
    let decoder = Decoder { sections, units, budget };
    decoder.resolve(id).and_then(|(entry, _)| decoder.size(&entry)).unwrap_or(0)
}

/// An offset as an id.
pub(super) fn type_id(offset: usize) -> Option<TypeId> {
    u32::try_from(offset).ok().map(TypeId)
}

impl<'d> Decoder<'d, '_> {
    fn entry(&self, offset: usize) -> Option<Entry<'d>> {
        self.units.entry(self.sections, offset, self.budget)
    }

    /// Follows typedefs that say nothing themselves, and notes a dictionary's index.
    fn resolve(&self, id: TypeId) -> Option<(Entry<'d>, Option<u64>)> {
        let mut entry = self.entry(id.0 as usize)?;
        let mut dictionary_index = None;
        for _ in 0..TYPEDEFS_MAX {
            if entry.tag != dw::DW_TAG_typedef || entry.go_kind != 0 {
                return Some((entry, dictionary_index));
            }
            dictionary_index = dictionary_index.or(entry.dictionary_index);
            entry = self.entry(entry.type_ref?)?;
        }
        None
    }

    /// What lies under an entry, to the bottom.
    fn underlying(&self, entry: &Entry<'d>) -> Option<Entry<'d>> {
        let mut entry = entry.clone();
        for _ in 0..TYPEDEFS_MAX {
            if entry.tag != dw::DW_TAG_typedef {
                return Some(entry);
            }
            entry = self.entry(entry.type_ref?)?;
        }
        None
    }

    fn size(&self, entry: &Entry<'d>) -> Option<u64> {
        let under = self.underlying(entry)?;
        match under.tag {
            dw::DW_TAG_pointer_type | dw::DW_TAG_subroutine_type => {
                Some(under.byte_size.unwrap_or(8))
            }
            _ => under.byte_size,
        }
    }

    fn decode(&self, id: TypeId) -> Option<VarType> {
        let (entry, dictionary_index) = self.resolve(id)?;
        Some(VarType {
            name: entry.name(),
            bytes: self.size(&entry).unwrap_or(0),
            kind: self.kind(&entry).unwrap_or_default(),
            runtime_type: self.runtime_type(&entry),
            dictionary_index,
        })
    }

    fn runtime_type(&self, entry: &Entry<'d>) -> Option<RuntimeTypeOffset> {
        // Up to Go 1.22 the linker tells the address of this one instead.
        let version = self.units.holding(entry.offset)?.encoding().version;
        if version <= 4 && entry.tag == dw::DW_TAG_base_type && entry.name == Some(b"uintptr") {
            return None;
        }
        // The linker sees to it that no type has the offset 0.
        entry.runtime_type.filter(|at| *at != 0).map(RuntimeTypeOffset)
    }

    fn kind(&self, entry: &Entry<'d>) -> Option<TypeKind> {
        let key = || entry.key.and_then(type_id);
        let elem = || entry.elem.and_then(type_id);
        match (entry.go_kind, entry.tag) {
            (kind::STRING, _) => Some(TypeKind::String),
            (kind::SLICE, _) => {
                let elem = elem().or_else(|| self.slice_elem(entry));
                elem.map(TypeKind::Slice)
            }
            (kind::INTERFACE, _) => {
                let under = self.underlying(entry)?;
                Some(TypeKind::Interface { is_empty: under.name == Some(b"runtime.eface") })
            }
            (kind::MAP, _) => {
                Some(TypeKind::Map { key: key()?, elem: elem()?, header: self.header(entry) })
            }
            (kind::CHAN, _) => Some(TypeKind::Chan { elem: elem()?, header: self.header(entry) }),
            (_, dw::DW_TAG_structure_type) => Some(TypeKind::Struct(self.fields(entry))),
            (_, dw::DW_TAG_pointer_type) => {
                // `*T` names what it points to; unsafe.Pointer does not.
                Some(TypeKind::Pointer(entry.type_ref.and_then(type_id)))
            }
            (_, dw::DW_TAG_array_type) => {
                let elem = type_id(entry.type_ref?)?;
                Some(TypeKind::Array { elem, count: self.count(entry)? })
            }
            (_, dw::DW_TAG_subroutine_type) => Some(TypeKind::Func),
            (_, dw::DW_TAG_base_type) => Some(TypeKind::Scalar),
            _ => None,
        }
    }

    /// What the pointer under a map or a channel points to.
    fn header(&self, entry: &Entry<'d>) -> Option<TypeId> {
        let under = self.underlying(entry)?;
        (under.tag == dw::DW_TAG_pointer_type).then_some(())?;
        type_id(under.type_ref?)
    }

    fn slice_elem(&self, entry: &Entry<'d>) -> Option<TypeId> {
        let array = self.fields(entry).into_iter().find(|field| field.name == "array")?;
        let (pointer, _) = self.resolve(array.type_id)?;
        type_id(pointer.type_ref?)
    }

    fn fields(&self, entry: &Entry<'d>) -> Vec<Field> {
        let mut fields = Vec::new();
        self.children(entry.offset, |child| {
            let field = (child.tag == dw::DW_TAG_member).then(|| field(child)).flatten();
            fields.extend(field);
            fields.len() < FIELDS_MAX
        });
        fields.sort_by_key(|field| field.offset);
        fields
    }

    fn count(&self, entry: &Entry<'d>) -> Option<u64> {
        let mut count = None;
        self.children(entry.offset, |child| {
            count = child.count;
            child.tag != dw::DW_TAG_subrange_type
        });
        count
    }

    /// Calls `visit` with the children of an entry until it returns `false`.
    fn children(&self, offset: usize, mut visit: impl FnMut(&Entry<'d>) -> bool) -> Option<()> {
        let unit = self.units.holding(offset)?;
        let header = unit.header(self.sections)?;
        let mut entries = unit.entries_from(&header, offset)?;
        let mut is_first = true;
        while !entries.is_empty() {
            let depth = entries.next_depth();
            if depth <= 0 && !is_first {
                break;
            }
            is_first = false;
            let start = entries.next_offset().0;
            let offset = unit.start.checked_add(start)?;
            let Some(abbreviation) = entries.read_abbreviation().ok()? else { continue };
            let (tag, specs) = (abbreviation.tag(), abbreviation.attributes());
            let child = if depth == 1 {
                Some(unit.entry(self.sections, &mut entries, offset, tag, specs)?)
            } else {
                entries.skip_attributes(specs).ok()?;
                None
            };
            self.budget.spend(entries.next_offset().0.checked_sub(start)?)?;
            if child.is_some_and(|child| !visit(&child)) {
                break;
            }
        }
        Some(())
    }
}

fn field(entry: &Entry<'_>) -> Option<Field> {
    Some(Field {
        name: entry.name(),
        offset: entry.member_offset?,
        type_id: type_id(entry.type_ref?)?,
        is_embedded: entry.is_embedded,
    })
}
