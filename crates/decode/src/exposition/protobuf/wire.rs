//! Fields of messages.

use crate::bytes::Bytes;
use crate::exposition::line::Fault;

/// What a field has.
#[derive(Clone, Copy, Debug)]
pub(super) enum Field<'a> {
    Number(u64),
    Fixed(u64),
    Bytes(&'a [u8]),
}

const CUT: Fault = "a message that was cut off";
const OTHER: Fault = "a field that is of another kind";

impl<'a> Field<'a> {
    pub(super) fn number(self) -> Result<u64, Fault> {
        if let Field::Number(number) = self { Ok(number) } else { Err(OTHER) }
    }

    /// `sint32` and `sint64`.
    pub(super) fn signed(self) -> Result<i64, Fault> {
        self.number().map(unzigzag)
    }

    pub(super) fn double(self) -> Result<f64, Fault> {
        if let Field::Fixed(bits) = self { Ok(f64::from_bits(bits)) } else { Err(OTHER) }
    }

    pub(super) fn bytes(self) -> Result<&'a [u8], Fault> {
        if let Field::Bytes(bytes) = self { Ok(bytes) } else { Err(OTHER) }
    }

    pub(super) fn text(self) -> Result<&'a str, Fault> {
        std::str::from_utf8(self.bytes()?).map_err(|_| "a text that is no UTF-8")
    }

    /// Calls `each` with the numbers of a repeated field, packed or not.
    pub(super) fn signed_each(self, mut each: impl FnMut(i64)) -> Result<(), Fault> {
        let Field::Bytes(mut left) = self else { return self.signed().map(each) };
        while !left.is_empty() {
            each(unzigzag(varint(&mut left)?));
        }
        Ok(())
    }

    /// The same of doubles.
    pub(super) fn double_each(self, mut each: impl FnMut(f64)) -> Result<(), Fault> {
        let Field::Bytes(left) = self else { return self.double().map(each) };
        let (doubles, rest) = left.as_chunks();
        doubles.iter().for_each(|double| each(f64::from_le_bytes(*double)));
        if rest.is_empty() { Ok(()) } else { Err(CUT) }
    }
}

/// Calls `each` with the number and the content of each field.
pub(super) fn fields<'a>(
    mut left: &'a [u8],
    mut each: impl FnMut(u64, Field<'a>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    while !left.is_empty() {
        let tag = varint(&mut left)?;
        let field = match tag & 7 {
            0 => Field::Number(varint(&mut left)?),
            1 => Field::Fixed(u64::from_le_bytes(array(&mut left)?)),
            2 => Field::Bytes(delimited(&mut left)?),
            5 => Field::Fixed(u32::from_le_bytes(array(&mut left)?).into()),
            _ => return Err("a field of no known kind"),
        };
        each(tag >> 3, field)?;
    }
    Ok(())
}

/// Takes bytes with their length in front.
pub(super) fn delimited<'a>(left: &mut &'a [u8]) -> Result<&'a [u8], Fault> {
    let length = usize::try_from(varint(left)?).map_err(|_| CUT)?;
    let (taken, rest) = left.split_at_checked(length).ok_or(CUT)?;
    *left = rest;
    Ok(taken)
}

fn varint(left: &mut &[u8]) -> Result<u64, Fault> {
    let (value, length) = Bytes(left).uvarint(0).ok_or(CUT)?;
    *left = left.get(length..).unwrap_or_default();
    Ok(value)
}

fn array<const N: usize>(left: &mut &[u8]) -> Result<[u8; N], Fault> {
    let (array, rest) = left.split_first_chunk().ok_or(CUT)?;
    *left = rest;
    Ok(*array)
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}
