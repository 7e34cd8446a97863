//! Types of objects.

use crate::strings::StrId;

/// Index into the graph's types.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TypeId(pub u32);

/// What a type is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum TypeKind {
    /// Nothing told the object's type; the name says its size class.
    #[default]
    Unknown,
    /// A number, a pointer, an interface, or anything else without parts.
    Scalar,
    /// Fields at offsets.
    Struct,
    /// Elements one after the other.
    Array,
    /// The bytes of strings.
    Text,
    /// A function with the variables it captured.
    Closure,
    /// A map's header, groups or buckets.
    Map,
    /// A channel.
    Channel,
}

/// A type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeapType {
    /// As the language writes it: `main.Order`, `[]*main.Order`.
    pub name: StrId,
    /// Import path of the package that declares it; empty for predeclared ones.
    pub package: StrId,
    /// What it is.
    pub kind: TypeKind,
    /// Bytes of one value (of one element, for arrays of any length).
    pub bytes: u64,
    /// Where its fields lie in the graph's fields.
    pub fields: std::ops::Range<u32>,
    /// Type of an array's elements.
    pub element: Option<TypeId>,
}

/// A field of a type, ordered by offset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Field {
    /// From the start of the value, in bytes (in fields, where slots count fields).
    pub offset: u64,
    /// Its name.
    pub name: StrId,
    /// Its type where that has parts of its own.
    pub of: Option<TypeId>,
}
