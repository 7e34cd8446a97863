//! What objects of well-known classes say about others: which arrays are texts, and how
//! full collections are.

use model::heap::{Fill, FillKind, ObjectId};

use super::classes::{Class, Classes};
use super::names::Names;
use super::subrecords::{FieldDump, INT, LONG, OBJECT};

/// Collections: class, field of the size, field of the array, kind.
const COLLECTIONS: [(&str, &str, &str, FillKind); 9] = [
    ("java.util.ArrayList", "size", "elementData", FillKind::List),
    ("java.util.Vector", "elementCount", "elementData", FillKind::List),
    ("java.util.PriorityQueue", "size", "queue", FillKind::List),
    ("java.util.HashMap", "size", "table", FillKind::Map),
    ("java.util.Hashtable", "count", "table", FillKind::Map),
    ("java.util.IdentityHashMap", "size", "table", FillKind::Map),
    ("java.util.WeakHashMap", "size", "table", FillKind::Map),
    ("java.util.concurrent.ConcurrentHashMap", "baseCount", "table", FillKind::Map),
    ("java.util.concurrent.ArrayBlockingQueue", "count", "items", FillKind::Channel),
];

/// Where a number lies in an instance's data, and its type.
type Number = (usize, u8);

/// What the instances of a class tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fact {
    /// A string, and where the reference to its array lies. Before JDK 7u6 strings shared
    /// arrays; then where the first character and their number lie.
    Text { array: usize, part: Option<(Number, Number)> },
    /// A collection.
    Fill { kind: FillKind, used: Number, array: usize },
}

/// What instances of a class tell, if anything.
pub(super) fn of_class(classes: &Classes<'_>, names: &Names<'_>, class: usize) -> Option<Fact> {
    let mut next = classes.get(class);
    for _ in 0..64 {
        let found = next?;
        let name = names.table.get(found.name);
        if name == "java.lang.String" {
            return text(classes, names, class, found);
        }
        if let Some((_, used, array, kind)) = COLLECTIONS.iter().find(|known| known.0 == name) {
            let used = field(classes, names, class, found, used).filter(is_number)?;
            let array = field(classes, names, class, found, array).filter(is_reference)?;
            return Some(Fact::Fill { kind: *kind, used, array: array.0 });
        }
        next = found.parent.and_then(|parent| classes.get(parent));
    }
    None
}

fn text(classes: &Classes<'_>, names: &Names<'_>, class: usize, owner: &Class<'_>) -> Option<Fact> {
    let array = field(classes, names, class, owner, "value").filter(is_reference)?.0;
    let offset = field(classes, names, class, owner, "offset").filter(is_number);
    let count = field(classes, names, class, owner, "count").filter(is_number);
    Some(Fact::Text { array, part: offset.zip(count) })
}

fn is_number(field: &Number) -> bool {
    matches!(field.1, INT | LONG)
}

fn is_reference(field: &Number) -> bool {
    field.1 == OBJECT
}

fn field(
    classes: &Classes<'_>,
    names: &Names<'_>,
    class: usize,
    owner: &Class<'_>,
    name: &str,
) -> Option<Number> {
    let mut found = None;
    classes.each_field(class, |declaring, _, offset, field: FieldDump<'_>| {
        if declaring.dump.id == owner.dump.id && names.is(field.name, name) {
            found = Some((offset, field.kind));
        }
        found.is_none()
    });
    found
}

/// The value of a number; negative ones are none.
pub(super) fn number(data: &[u8], (offset, kind): Number) -> Option<u64> {
    let value = match kind {
        INT => i64::from(i32::from_be_bytes(data.get(offset..offset + 4)?.try_into().ok()?)),
        _ => i64::from_be_bytes(data.get(offset..offset + 8)?.try_into().ok()?),
    };
    u64::try_from(value).ok()
}

/// Part of an array that a text uses, in elements; `None` for all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TextUse {
    pub(super) array: u32,
    pub(super) low: u32,
    pub(super) end: u32,
}

impl TextUse {
    pub(super) fn new(data: &[u8], array: ObjectId, part: Option<(Number, Number)>) -> TextUse {
        let part = part.and_then(|(low, count)| Some((number(data, low)?, number(data, count)?)));
        let (low, count) = part.unwrap_or((0, u64::from(u32::MAX)));
        let clip = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        TextUse { array: array.0, low: clip(low), end: clip(low.saturating_add(count)) }
    }
}

/// How full a collection is.
pub(super) fn fill(
    object: ObjectId,
    kind: FillKind,
    used: u64,
    capacity: u32,
    element_bytes: u64,
) -> Fill {
    Fill { object, kind, used, capacity: u64::from(capacity), element_bytes }
}
