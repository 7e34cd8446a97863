//! What a heap dump record holds: roots, classes, instances and arrays.

use super::cursor::Cursor;

/// Basic types: the format's codes.
pub(super) const OBJECT: u8 = 2;
const BOOLEAN: u8 = 4;
pub(super) const CHAR: u8 = 5;
pub(super) const BYTE: u8 = 8;
pub(super) const INT: u8 = 10;
pub(super) const LONG: u8 = 11;

const OBJECT_ARRAY: u8 = 0x22;

/// Bytes a value takes in the dump; `None` for an unknown type.
pub(super) fn value_bytes(kind: u8, id_bytes: usize) -> Option<usize> {
    Some(match kind {
        OBJECT => id_bytes,
        BOOLEAN | BYTE => 1,
        CHAR | 9 => 2,
        6 | INT => 4,
        7 | LONG => 8,
        _ => return None,
    })
}

/// Why an object is a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum RootKind {
    SystemClass,
    Unknown,
    JniGlobal,
    Monitor,
    InternedString,
    Finalizing,
    Debugger,
    ReferenceCleanup,
    VmInternal,
    // Those of a thread come last.
    Thread,
    JavaFrame,
    JniLocal,
    NativeStack,
    ThreadBlock,
    JniMonitor,
}

/// A root.
#[derive(Clone, Copy, Debug)]
pub(super) struct Root {
    pub(super) id: u64,
    pub(super) kind: RootKind,
    /// Serial number of the thread, where the kind has one.
    pub(super) thread: u32,
    /// Index of the frame; of a thread object, serial number of the stack trace.
    pub(super) frame: u32,
}

/// A class as it is dumped.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClassDump<'a> {
    pub(super) id: u64,
    pub(super) super_id: u64,
    pub(super) loader: u64,
    pub(super) signers: u64,
    pub(super) domain: u64,
    pub(super) instance_bytes: u32,
    /// Static fields: name, type, value.
    pub(super) statics: &'a [u8],
    /// Fields of instances: name and type.
    pub(super) fields: &'a [u8],
}

/// A sub-record.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sub<'a> {
    Root(Root),
    Class(ClassDump<'a>),
    Instance { id: u64, class: u64, data: &'a [u8] },
    ObjectArray { id: u64, class: u64, count: u32, data: &'a [u8] },
    PrimitiveArray { id: u64, kind: u8, count: u32, data: &'a [u8] },
    Nothing,
}

/// Why there is no next sub-record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The bytes end within it.
    Truncated,
    /// The tag is unknown: nobody can tell where the next one begins.
    Unknown(u8),
}

/// The sub-record at the cursor.
pub(super) fn next<'a>(cursor: &mut Cursor<'a>, id_bytes: usize) -> Result<Sub<'a>, Stop> {
    let tag = cursor.u8().ok_or(Stop::Truncated)?;
    if let Some(sub) = root(tag, cursor) {
        return sub.ok_or(Stop::Truncated);
    }
    let sub = match tag {
        0x20 => class(cursor, id_bytes),
        0x21 => instance(cursor),
        OBJECT_ARRAY => object_array(cursor),
        // Android leaves the contents of arrays out on request: C3.
        0x23 | 0xc3 => return primitive_array(cursor, id_bytes, tag == 0xc3),
        // Android: objects that nothing reaches; which heap the next objects lie in.
        0x90 => cursor.id().map(|_| Sub::Nothing),
        0xfe => cursor.u32().and_then(|_| cursor.id()).map(|_| Sub::Nothing),
        _ => return Err(Stop::Unknown(tag)),
    };
    sub.ok_or(Stop::Truncated)
}

/// `None` when the tag is not a root's, `Some(None)` when it ends early.
fn root<'a>(tag: u8, cursor: &mut Cursor<'a>) -> Option<Option<Sub<'a>>> {
    let (kind, numbers) = match tag {
        0xff => (RootKind::Unknown, 0),
        0x01 => (RootKind::JniGlobal, 0),
        0x02 => (RootKind::JniLocal, 2),
        0x03 => (RootKind::JavaFrame, 2),
        0x04 => (RootKind::NativeStack, 1),
        0x05 => (RootKind::SystemClass, 0),
        0x06 => (RootKind::ThreadBlock, 1),
        0x07 => (RootKind::Monitor, 0),
        0x08 => (RootKind::Thread, 2),
        0x89 => (RootKind::InternedString, 0),
        0x8a => (RootKind::Finalizing, 0),
        0x8b => (RootKind::Debugger, 0),
        0x8c => (RootKind::ReferenceCleanup, 0),
        0x8d => (RootKind::VmInternal, 0),
        0x8e => (RootKind::JniMonitor, 2),
        _ => return None,
    };
    let mut read = || {
        let id = cursor.id()?;
        if kind == RootKind::JniGlobal {
            cursor.id()?;
        }
        let thread = if numbers > 0 { cursor.u32()? } else { 0 };
        let frame = if numbers > 1 { cursor.u32()? } else { u32::MAX };
        Some(Sub::Root(Root { id, kind, thread, frame }))
    };
    Some(read())
}

fn class<'a>(cursor: &mut Cursor<'a>, id_bytes: usize) -> Option<Sub<'a>> {
    let id = cursor.id()?;
    cursor.u32()?;
    let (super_id, loader, signers, domain) =
        (cursor.id()?, cursor.id()?, cursor.id()?, cursor.id()?);
    cursor.ids(2)?;
    let instance_bytes = cursor.u32()?;
    for _ in 0..cursor.u16()? {
        cursor.u16()?;
        let kind = cursor.u8()?;
        cursor.take(value_bytes(kind, id_bytes)?)?;
    }
    let count = cursor.u16()?;
    let mut end = *cursor;
    for _ in 0..count {
        end.id()?;
        let kind = end.u8()?;
        end.take(value_bytes(kind, id_bytes)?)?;
    }
    let statics = cursor.take(end.position() - cursor.position())?;
    let count = usize::from(cursor.u16()?);
    let fields = cursor.take(count * (id_bytes + 1))?;
    let class =
        ClassDump { id, super_id, loader, signers, domain, instance_bytes, statics, fields };
    Some(Sub::Class(class))
}

fn instance<'a>(cursor: &mut Cursor<'a>) -> Option<Sub<'a>> {
    let id = cursor.id()?;
    cursor.u32()?;
    let class = cursor.id()?;
    let count = cursor.u32()?;
    Some(Sub::Instance { id, class, data: cursor.take(count as usize)? })
}

fn object_array<'a>(cursor: &mut Cursor<'a>) -> Option<Sub<'a>> {
    let id = cursor.id()?;
    cursor.u32()?;
    let count = cursor.u32()?;
    let class = cursor.id()?;
    Some(Sub::ObjectArray { id, class, count, data: cursor.ids(count)? })
}

fn primitive_array<'a>(
    cursor: &mut Cursor<'a>,
    id_bytes: usize,
    is_empty: bool,
) -> Result<Sub<'a>, Stop> {
    let mut head = || {
        let id = cursor.id()?;
        cursor.u32()?;
        Some((id, cursor.u32()?, cursor.u8()?))
    };
    let (id, count, kind) = head().ok_or(Stop::Truncated)?;
    let bytes = value_bytes(kind, id_bytes).filter(|_| kind != OBJECT);
    let bytes = bytes.ok_or(Stop::Unknown(kind))?;
    let bytes = if is_empty { Some(0) } else { (count as usize).checked_mul(bytes) };
    let data = bytes.and_then(|bytes| cursor.take(bytes)).ok_or(Stop::Truncated)?;
    Ok(Sub::PrimitiveArray { id, kind, count, data })
}

/// A field's name, type and, for static ones, value.
#[derive(Clone, Copy, Debug)]
pub(super) struct FieldDump<'a> {
    pub(super) name: u64,
    pub(super) kind: u8,
    pub(super) value: &'a [u8],
}

/// The static fields of a class.
pub(super) fn statics(bytes: &[u8], id_bytes: usize) -> impl Iterator<Item = FieldDump<'_>> {
    let mut cursor = Cursor::new(bytes, 0, id_bytes);
    std::iter::from_fn(move || {
        let (name, kind) = (cursor.id()?, cursor.u8()?);
        let value = cursor.take(value_bytes(kind, id_bytes)?)?;
        Some(FieldDump { name, kind, value })
    })
}

/// The fields that a class declares for its instances.
pub(super) fn fields(bytes: &[u8], id_bytes: usize) -> impl Iterator<Item = FieldDump<'_>> {
    let mut cursor = Cursor::new(bytes, 0, id_bytes);
    std::iter::from_fn(move || {
        Some(FieldDump { name: cursor.id()?, kind: cursor.u8()?, value: &[] })
    })
}
