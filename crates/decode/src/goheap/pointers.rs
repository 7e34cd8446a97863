//! Which words of an object are pointers, as the collector sees it.
//!
//! Objects up to 512 bytes have a bitmap in their span, larger ones a header that names
//! their type, whose mask is laid tile by tile over the object (it is the *element's*
//! type in arrays); spans of one large object have the type in the span. Go 1.21 has one
//! bitmap an arena. Source: runtime/mbitmap.go, mbitmap_allocheaders.go.

use std::cell::RefCell;

use ahash::AHashMap;
use model::Addr;

use super::gotype::{GoType, Mask, Types};
use super::layout::{ARENA, BITMAP_MAX, HEADER, INLINE_MARKS, Layout, PAGE};
use super::spans::{Arenas, Span};
use crate::bytes::Bytes;

/// Reads the pointers of objects.
pub(super) struct Pointers<'a, 'm> {
    types: Types<'a, 'm>,
    has_headers: bool,
    arenas: Arenas,
    masks: RefCell<AHashMap<u64, Option<std::rc::Rc<TypeMask<'a>>>>>,
}

/// A type and its mask.
pub(super) struct TypeMask<'a> {
    pub(super) of: GoType,
    mask: Mask<'a>,
}

/// Where an object's value starts in its slot, and its type where the heap itself says it.
pub(super) struct Described<'a> {
    pub(super) start: u64,
    pub(super) exact: Option<std::rc::Rc<TypeMask<'a>>>,
}

impl<'a, 'm> Pointers<'a, 'm> {
    pub(super) fn new(types: Types<'a, 'm>, layout: &Layout, arenas: Arenas) -> Self {
        Pointers { types, has_headers: layout.minor >= 22, arenas, masks: RefCell::default() }
    }

    /// The type that header or span name for a slot, if they name one.
    pub(super) fn describe(&self, span: &Span<'a>, slot: u64) -> Described<'a> {
        let nothing = Described { start: 0, exact: None };
        if span.is_noscan || !self.has_headers {
            return nothing;
        }
        if span.is_large {
            return Described { start: 0, exact: self.type_mask(span.large_type, span.elem) };
        }
        if span.elem <= BITMAP_MAX {
            return nothing;
        }
        let offset = usize::try_from(slot * span.elem).ok();
        let header = offset.and_then(|offset| Bytes(&span.bytes).u64(offset)).unwrap_or(0);
        let exact = self.type_mask(header, span.elem - HEADER);
        Described { start: HEADER, exact }
    }

    /// Where values start in the slots of a span: behind the header.
    pub(super) fn start(&self, span: &Span<'_>) -> u64 {
        let has_header =
            self.has_headers && !span.is_noscan && !span.is_large && span.elem > BITMAP_MAX;
        if has_header { HEADER } else { 0 }
    }

    /// The type at an address, of which a value fits into `room` bytes: a mask costs no more
    /// than a part of the object that names it.
    fn type_mask(&self, addr: u64, room: u64) -> Option<std::rc::Rc<TypeMask<'a>>> {
        if addr == 0 {
            return None;
        }
        let mut masks = self.masks.borrow_mut();
        if let Some(known) = masks.get(&addr) {
            return known.clone().filter(|known| known.of.size <= room);
        }
        let of = self.types.get(addr).filter(|of| (1..=room).contains(&of.size))?;
        let mask = self.types.mask(&of).map(|mask| std::rc::Rc::new(TypeMask { of, mask }));
        masks.insert(addr, mask.clone());
        mask
    }

    /// Calls `visit` with the offset and the value of every non-nil pointer of a slot, in
    /// order.
    #[inline]
    pub(super) fn each(&self, span: &Span<'a>, slot: u64, mut visit: impl FnMut(u64, u64)) {
        if span.is_noscan {
            return;
        }
        let start = slot * span.elem;
        let Some(object) = usize::try_from(start).ok().and_then(|from| {
            span.bytes.get(from..from.checked_add(usize::try_from(span.elem).ok()?)?)
        }) else {
            return;
        };
        let mut at = |offset: u64| {
            let value = Bytes(object).u64(offset as usize).unwrap_or(0);
            if value != 0 {
                visit(offset, value);
            }
        };
        if !self.has_headers {
            self.by_arena(span.base + start, span.elem, &mut at);
        } else if span.elem <= BITMAP_MAX {
            by_span_bitmap(span, start, &mut at);
        } else {
            let described = self.describe(span, slot);
            if let Some(found) = described.exact {
                tile(&found, described.start, span.elem, &mut at);
            }
        }
    }

    /// Go 1.21: a bit a word for the whole arena, and bits that say "nothing further".
    fn by_arena(&self, addr: u64, size: u64, at: &mut impl FnMut(u64)) {
        const NO_MORE: u64 = 1 << 20;
        let mut offset = 0;
        while offset < size {
            let word = (addr + offset) % ARENA / 8;
            let Some(arena) = self.arenas.of(self.types.memory, addr + offset) else { return };
            let word_of = |at: u64, len| self.types.memory.slice(Addr(arena.wrapping_add(at)), len);
            let Some(bits) = word_of(word / 64 * 8, 8).and_then(|b| Bytes(b).u64(0)) else {
                return;
            };
            let valid = (64 - word % 64).min((size - offset) / 8);
            let mut left = bits >> (word % 64);
            if valid < 64 {
                left &= (1 << valid) - 1;
            }
            while left != 0 {
                at(offset + u64::from(left.trailing_zeros()) * 8);
                left &= left - 1;
            }
            let chunk = word / 64;
            let stop = word_of(NO_MORE + chunk / 8, 1).and_then(<[u8]>::first);
            if stop.is_none_or(|byte| byte >> (chunk % 8) & 1 != 0) {
                return;
            }
            offset += valid * 8;
        }
    }
}

/// Up to 512 bytes: the bitmap lies at the end of the span, before inline marks.
#[inline]
fn by_span_bitmap(span: &Span<'_>, start: u64, at: &mut impl FnMut(u64)) {
    let size = span.pages * PAGE;
    let marks = if span.has_inline_marks { INLINE_MARKS.1 } else { 0 };
    let Some(from) = size.checked_sub(size / 64 + marks) else { return };
    let first = start / 8;
    // At most 64 words: they lie in at most two words of the bitmap.
    let (index, shift) = (first / 64, first % 64);
    let bitmap = Bytes(&span.bytes);
    let word = |index: u64| bitmap.u64((from + index * 8) as usize).unwrap_or(0);
    let mut bits = word(index) >> shift;
    let count = span.elem / 8;
    if shift + count > 64 {
        bits |= word(index + 1) << (64 - shift);
    }
    if count < 64 {
        bits &= (1 << count) - 1;
    }
    while bits != 0 {
        at(u64::from(bits.trailing_zeros()) * 8);
        bits &= bits - 1;
    }
}

/// Lays a type's mask over an object, element after element, to the end of the slot as
/// the collector does.
fn tile(found: &TypeMask<'_>, start: u64, size: u64, at: &mut impl FnMut(u64)) {
    let (step, ptr_bytes) = (found.of.size, found.of.ptr_bytes);
    let mask = found.mask.bytes();
    let mut base = start;
    while base < size && ptr_bytes > 0 {
        for (index, byte) in mask.iter().enumerate() {
            let mut left = *byte;
            while left != 0 {
                let offset = index as u64 * 64 + u64::from(left.trailing_zeros()) * 8;
                if offset < ptr_bytes && base + offset + 8 <= size {
                    at(base + offset);
                }
                left &= left - 1;
            }
        }
        base += step;
    }
}

/// Calls `visit` with the offset and value of each non-nil word whose bit in `mask` is set.
pub(super) fn each_masked(bytes: &[u8], mask: &[u8], mut visit: impl FnMut(u64, u64)) {
    // A damaged mask can be far longer than what it is of.
    for (index, byte) in mask.iter().take(bytes.len().div_ceil(64)).enumerate() {
        let mut left = *byte;
        while left != 0 {
            let offset = index * 64 + left.trailing_zeros() as usize * 8;
            left &= left - 1;
            match Bytes(bytes).u64(offset) {
                Some(value) if value != 0 => visit(offset as u64, value),
                _ => {}
            }
        }
    }
}
