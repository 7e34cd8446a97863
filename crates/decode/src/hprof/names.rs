//! The texts of a dump, by their ids, and the names made of them.
//!
//! Many fields may share one long name, and names are joined (`Class.field`), so what is
//! kept is bounded by the size of the dump.

use std::borrow::Cow;

use ahash::AHashMap;
use model::StrId;
use model::strings::StringTable;

/// Longest name that is kept.
const NAME_BYTES_MAX: usize = 1024;

/// Texts by id, and the table they are interned in.
pub(super) struct Names<'a> {
    texts: AHashMap<u64, &'a [u8]>,
    pub(super) table: StringTable,
    bytes_left: u64,
    pub(super) is_exhausted: bool,
}

impl<'a> Names<'a> {
    pub(super) fn new(texts: AHashMap<u64, &'a [u8]>, dump_bytes: usize) -> Names<'a> {
        let bytes_left = (256 << 10) + 8 * dump_bytes as u64;
        // The table numbers bytes in 32 bits.
        let bytes_left = bytes_left.min(1 << 30);
        Names { texts, table: StringTable::default(), bytes_left, is_exhausted: false }
    }

    /// The bytes of a text; empty when it is unknown.
    pub(super) fn raw(&self, id: u64) -> &'a [u8] {
        self.texts.get(&id).copied().unwrap_or(&[])
    }

    /// A text, clipped.
    pub(super) fn text(&self, id: u64) -> Cow<'a, str> {
        let raw = self.raw(id);
        String::from_utf8_lossy(raw.get(..NAME_BYTES_MAX).unwrap_or(raw))
    }

    /// Interns a name while there is room.
    pub(super) fn intern(&mut self, name: &str) -> StrId {
        if let Some(id) = self.table.lookup(name) {
            return id;
        }
        if !self.charge(name.len() + 32) {
            return StrId::default();
        }
        self.table.intern(name)
    }

    pub(super) fn intern_id(&mut self, id: u64) -> StrId {
        let text = self.text(id);
        self.intern(&text)
    }

    /// Takes bytes off what names may use; false when there are not so many left.
    pub(super) fn charge(&mut self, bytes: usize) -> bool {
        match self.bytes_left.checked_sub(bytes as u64) {
            Some(left) => self.bytes_left = left,
            None => self.is_exhausted = true,
        }
        !self.is_exhausted
    }

    /// Reports whether a text is this one.
    pub(super) fn is(&self, id: u64, text: &str) -> bool {
        self.raw(id) == text.as_bytes()
    }
}

/// The name of a class as Java writes it: `[Ljava/lang/String;` is `java.lang.String[]`.
pub(super) fn class_name(vm_name: &str) -> String {
    let dimensions = vm_name.bytes().take_while(|byte| *byte == b'[').count();
    let element = vm_name.get(dimensions..).unwrap_or("");
    let element = match element {
        _ if dimensions == 0 => element,
        "Z" => "boolean",
        "C" => "char",
        "F" => "float",
        "D" => "double",
        "B" => "byte",
        "S" => "short",
        "I" => "int",
        "J" => "long",
        _ => element.strip_prefix('L').and_then(|e| e.strip_suffix(';')).unwrap_or(element),
    };
    let mut name = element.replace('/', ".");
    name.extend(std::iter::repeat_n("[]", dimensions));
    name
}

/// The package of a class, of its elements for an array.
pub(super) fn package_of(class_name: &str) -> &str {
    let end = class_name.find(['[', '$']).unwrap_or(class_name.len());
    let head = class_name.get(..end).unwrap_or("");
    head.rfind('.').and_then(|dot| head.get(..dot)).unwrap_or("")
}
