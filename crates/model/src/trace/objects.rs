//! What the experiment AllocFree of the runtime (GODEBUG=traceallocfree=1, Go 1.23 and later)
//! says of heap objects. Source: runtime/traceallocfree.go.
//!
//! Spans, objects and stacks go by their distance from the lowest page, in units that
//! [`HeapInfo`] tells; types by ids that hold as long as those of strings.

use crate::units::Addr;

/// Units of the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeapInfo {
    /// The address that distances count from.
    pub base: Addr,
    /// Bytes of a page, the unit of spans.
    pub page_bytes: u64,
    /// What objects are aligned to, their unit.
    pub align_bytes: u64,
    /// Bytes of the smallest stack, the unit of stacks.
    pub stack_bytes: u64,
}

/// A type of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectType<'a> {
    /// Of its description in the program's read-only data.
    pub address: Addr,
    /// Of one value; objects of arrays and slices have the type of their elements.
    pub bytes: u64,
    /// Bytes up to the end of the last pointer; 0 when it has none.
    pub pointer_bytes: u64,
    /// As reflection prints it: `main.Order`.
    pub name: &'a [u8],
}

/// A type in [`super::Tables`]; 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectTypeId(pub u64);

/// One event of the experiment. Those of goroutines' stacks are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectEvent {
    /// A span was there when the trace began, or was allocated.
    Span {
        /// Pages from the base.
        page: u64,
        /// How many pages.
        pages: u64,
        /// What it is for.
        class: SpanClass,
    },
    /// A span is about to be freed.
    SpanFree {
        /// Pages from the base.
        page: u64,
    },
    /// An object was there when the trace began.
    Existed {
        /// Units of alignment from the base.
        object: u64,
        /// Known of few.
        of: ObjectTypeId,
    },
    /// An object was allocated.
    Alloc {
        /// Units of alignment from the base; behind the header, where there is one.
        object: u64,
        /// None of what the runtime allocates as plain bytes, as strings.
        of: ObjectTypeId,
    },
    /// An object was found dead by the sweeper.
    Free {
        /// Units of alignment from the base.
        object: u64,
    },
}

/// What a span is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanClass {
    /// Stacks and the runtime's own data.
    Manual,
    /// Objects of this size class; 0 is one large object.
    Objects {
        /// Index into [`crate::go::CLASS_SIZES`].
        size_class: u8,
        /// Its objects hold no pointers.
        is_noscan: bool,
    },
}

impl SpanClass {
    /// The class 2 without pointers, whose slots tiny objects share.
    pub const TINY: SpanClass = SpanClass::Objects { size_class: 2, is_noscan: true };

    /// The lowest bit says that it is manual; above it is the class, whose lowest bit is
    /// that of having no pointers.
    fn from_wire(value: u64) -> SpanClass {
        if value & 1 != 0 {
            return SpanClass::Manual;
        }
        let size_class = (value >> 2).min(u8::MAX.into()) as u8;
        SpanClass::Objects { size_class, is_noscan: value & 2 != 0 }
    }
}

impl ObjectEvent {
    /// Reads an event of [`super::What::Experiment`].
    #[inline]
    pub fn of(code: u8, [first, second, third]: [u64; 3]) -> Option<ObjectEvent> {
        let of = ObjectTypeId(second);
        Some(match code {
            128 | 129 => {
                let class = SpanClass::from_wire(third);
                ObjectEvent::Span { page: first, pages: second, class }
            }
            130 => ObjectEvent::SpanFree { page: first },
            131 => ObjectEvent::Existed { object: first, of },
            132 => ObjectEvent::Alloc { object: first, of },
            133 => ObjectEvent::Free { object: first },
            _ => return None,
        })
    }
}
