//! What the standard library keeps behind pointers that do not tell their type: the arrays
//! and rings of sync.Pool, and the entries of the hash tries in sync.Map and unique.
//!
//! Objects up to 512 bytes have no header, and no descriptor leads to these types, so they
//! are written down here; their layout is the same in Go 1.21 to 1.27 wherever the release
//! has them. Source: sync/pool.go, sync/poolqueue.go, internal/sync/hashtriemap.go
//! (internal/concurrent in 1.23), unique/canonmap.go.

use model::heap::{Field, HeapType, TypeId, TypeKind};

use super::gotype::GoType;
use super::typetable::{Part, Source, TypeTable, What};

/// A type that nothing describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Hidden {
    /// `sync.poolLocal`: what one processor keeps of a pool.
    PoolLocal,
    /// `sync.poolChainElt`: a ring of pooled values.
    PoolRing,
    /// `sync.eface`: a value in a ring.
    PoolSlot,
    /// `entry[K,V]` of the trie whose inner nodes have this type.
    TrieEntry(TypeId),
}

/// Types of sync by name, size and fields.
type Fixed = (Hidden, &'static str, u64, &'static [(u64, &'static str)]);

const POOL: [Fixed; 3] = [
    (
        Hidden::PoolLocal,
        "sync.poolLocal",
        128,
        &[(0, "private"), (16, "shared.head"), (24, "shared.tail")],
    ),
    (Hidden::PoolRing, "sync.poolChainElt", 48, &[(8, "vals"), (32, "next"), (40, "prev")]),
    (Hidden::PoolSlot, "sync.eface", 16, &[]),
];

/// Packages with tries.
const TRIES: [&str; 3] = ["internal/sync", "internal/concurrent", "unique"];
/// An entry begins with `isEntry` and `overflow`.
const OVERFLOW: u64 = 8;
const KEY: u64 = 16;

/// The fields of an entry behind its header.
#[derive(Default)]
struct Entry {
    /// Offset, name and content of each field whose place is known.
    fields: Vec<(u64, &'static str, Option<What>)>,
    /// 0 where a field's size is not known.
    bytes: u64,
}

impl TypeTable<'_, '_> {
    /// The type that is written down here for a descriptor or for debug information.
    pub(super) fn hidden_of(&self, source: Source) -> Option<Hidden> {
        let fixed = |name: &str| POOL.iter().find(|fixed| fixed.1 == name).map(|fixed| fixed.0);
        match source {
            Source::Go(addr) => {
                let go = self.go.get(addr)?;
                let hidden = fixed(self.go.name(&go)?)?;
                (self.go.package(&go) == Some("sync")).then_some(hidden)
            }
            // Names in debug information begin with the whole path.
            Source::Debug(id) => fixed(&self.described(id)?.name),
            _ => None,
        }
    }

    pub(super) fn make_hidden(&mut self, hidden: Hidden) -> HeapType {
        let (name, package, bytes) = match hidden {
            Hidden::TrieEntry(inner) => {
                let (package, bytes) = (self.package_of(inner), self.entry(inner).bytes);
                (self.name_of(inner).replacen(".indirect[", ".entry[", 1), package, bytes)
            }
            _ => {
                let fixed = POOL.iter().find(|fixed| fixed.0 == hidden);
                let (_, name, bytes, _) = fixed.copied().unwrap_or((hidden, "", 0, &[]));
                (name.to_owned(), "sync".to_owned(), bytes)
            }
        };
        let (name, package) = (self.strings.intern(&name), self.strings.intern(&package));
        HeapType { name, package, kind: TypeKind::Struct, bytes, ..HeapType::default() }
    }

    pub(super) fn hidden_parts(&mut self, hidden: Hidden, parts: &mut Vec<Part>) -> u64 {
        let ring = What::Pointer(self.id(Source::Hidden(Hidden::PoolRing)));
        let mut put = |offset, what| parts.push(Part { offset, what });
        match hidden {
            Hidden::PoolLocal => {
                put(0, What::Empty);
                put(16, ring);
                put(24, ring);
                128
            }
            Hidden::PoolRing => {
                put(8, What::Slice(self.id(Source::Hidden(Hidden::PoolSlot))));
                put(32, ring);
                put(40, ring);
                48
            }
            Hidden::PoolSlot => {
                put(0, What::Empty);
                16
            }
            Hidden::TrieEntry(inner) => {
                let entry = self.id(Source::Hidden(hidden));
                put(OVERFLOW, What::TrieNode { inner, entry });
                let found = self.entry(inner);
                for (offset, _, what) in found.fields {
                    what.into_iter().for_each(|what| put(offset, what));
                }
                found.bytes
            }
        }
    }

    pub(super) fn hidden_fields(&mut self, hidden: Hidden) -> Vec<Field> {
        if let Hidden::TrieEntry(inner) = hidden {
            let mut fields = vec![self.field(OVERFLOW, "overflow", None)];
            for (offset, name, _) in self.entry(inner).fields {
                fields.push(self.field(offset, name, None));
            }
            return fields;
        }
        let fixed = POOL.iter().find(|fixed| fixed.0 == hidden);
        let fields = fixed.map_or(&[][..], |fixed| fixed.3);
        fields.iter().map(|(offset, name)| self.field(*offset, name, None)).collect()
    }

    /// What a field of a sync.Pool points to, by its name: arrays whose length comes next.
    pub(super) fn pool_part(&mut self, field: &str) -> Option<What> {
        let is_array = matches!(field, "local" | "victim");
        is_array.then(|| What::Counted(self.id(Source::Hidden(Hidden::PoolLocal))))
    }

    /// Reports whether a descriptor is that of sync.Pool.
    pub(super) fn is_pool(&self, found: &GoType) -> bool {
        self.go.name(found) == Some("sync.Pool") && self.go.package(found) == Some("sync")
    }

    /// Children of a trie's inner node are entries or inner nodes, as their first byte
    /// says; their declared type is that byte alone.
    pub(super) fn link_trie(&mut self, of: TypeId, parts: &mut [Part]) {
        let is_inner = self.name_of(of).contains(".indirect[")
            && TRIES.contains(&self.package_of(of).as_str());
        if !is_inner {
            return;
        }
        let entry = self.id(Source::Hidden(Hidden::TrieEntry(of)));
        for part in parts {
            if let What::Pointer(to) = part.what
                && self.name_of(to).contains(".node[")
            {
                part.what = What::TrieNode { inner: of, entry };
            }
        }
    }

    fn name_of(&self, id: TypeId) -> &str {
        self.types.get(id.0 as usize).map_or("", |found| self.strings.get(found.name))
    }

    fn package_of(&self, id: TypeId) -> String {
        let package = self.types.get(id.0 as usize).map(|found| found.package);
        self.strings.get(package.unwrap_or_default()).to_owned()
    }

    /// An entry as the type arguments of its trie make it.
    fn entry(&self, inner: TypeId) -> Entry {
        let name = self.name_of(inner);
        let arguments = name.split_once('[').and_then(|(_, rest)| rest.strip_suffix(']'));
        let arguments = split(arguments.unwrap_or(""));
        if self.package_of(inner) == "unique" {
            // A weak pointer and the hash.
            return Entry { fields: vec![(KEY, "key", None), (KEY + 8, "hash", None)], bytes: 32 };
        }
        let mut entry = Entry::default();
        let mut offset = KEY;
        for (argument, name) in arguments.into_iter().zip(["key", "value"]) {
            let Some((bytes, what)) = argument_of(argument) else { return entry };
            entry.fields.push((offset, name, what));
            offset += bytes;
        }
        entry.bytes = if entry.fields.len() == 2 { offset } else { 0 };
        entry
    }
}

/// Size and content of a type argument, where its name tells.
fn argument_of(name: &str) -> Option<(u64, Option<What>)> {
    let is_pointer = name.starts_with('*')
        || name.starts_with("weak.Pointer[")
        || name.contains("/weak.Pointer[");
    match name {
        "interface {}" => Some((16, Some(What::Empty))),
        "string" => Some((16, Some(What::Text))),
        _ => is_pointer.then_some((8, None)),
    }
}

/// Type arguments, which may have type arguments themselves.
fn split(arguments: &str) -> Vec<&str> {
    let mut depth = 0_u32;
    let is_border = |letter: char| {
        match letter {
            '[' | '(' | '{' => depth = depth.saturating_add(1),
            ']' | ')' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        letter == ',' && depth == 0
    };
    arguments.split(is_border).map(str::trim).collect()
}

#[cfg(test)]
mod tests {
    use super::{argument_of, split};

    #[test]
    fn type_arguments_are_told_apart() {
        let check = |text, expected: &[&str]| assert_eq!(split(text), expected, "{text}");
        check("interface {},interface {}", &["interface {}", "interface {}"]);
        check("*internal/abi.Type,interface {}", &["*internal/abi.Type", "interface {}"]);
        check(
            "map[string]a.B[int,bool],func(int, bool)",
            &["map[string]a.B[int,bool]", "func(int, bool)"],
        );
        check("]],string", &["]]", "string"]);
    }

    #[test]
    fn sizes_are_told_only_where_names_do() {
        let bytes = |name| argument_of(name).map(|(bytes, _)| bytes);
        assert_eq!(bytes("interface {}"), Some(16));
        assert_eq!(bytes("*internal/abi.Type"), Some(8));
        assert_eq!(bytes("internal/weak.Pointer[net/netip.addrDetail]"), Some(8));
        assert_eq!(bytes("net/netip.addrDetail"), None);
        assert_eq!(bytes("interface { Close() error }"), None);
    }
}
