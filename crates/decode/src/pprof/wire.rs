//! The protobuf wire format: tags, varints, length-delimited fields.

use super::PprofError;
use crate::bytes::Bytes;

/// A field of a message.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    /// Wire type 0.
    Varint(u64),
    /// Wire type 2: the bytes and where they start.
    Bytes(&'a [u8], usize),
    /// Wire types 1 and 5, which the format does not use.
    Fixed,
}

/// Walks the fields of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Offset of `bytes` in the whole profile, for error messages.
    base: usize,
}

impl<'a> Fields<'a> {
    pub(super) fn new(bytes: &'a [u8], base: usize) -> Fields<'a> {
        Fields { bytes, at: 0, base }
    }

    fn damaged(&self, what: &'static str) -> PprofError {
        PprofError::Damaged { what, offset: self.base + self.at }
    }

    fn varint(&mut self) -> Result<u64, PprofError> {
        let rest = self.bytes.get(self.at..).unwrap_or(&[]);
        let (value, len) = varint(rest).ok_or_else(|| self.damaged("a number"))?;
        self.at += len;
        Ok(value)
    }

    /// The next field: its number and value.
    pub(super) fn next(&mut self) -> Option<Result<(u64, Value<'a>), PprofError>> {
        (self.at < self.bytes.len()).then(|| self.field())
    }

    fn field(&mut self) -> Result<(u64, Value<'a>), PprofError> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => self.skip(8)?,
            5 => self.skip(4)?,
            2 => {
                let len = self.varint()?;
                let start = self.at;
                let end = usize::try_from(len).ok().and_then(|len| start.checked_add(len));
                let bytes = end.and_then(|end| self.bytes.get(start..end));
                let bytes = bytes.ok_or_else(|| self.damaged("a length within the message"))?;
                self.at += bytes.len();
                Value::Bytes(bytes, self.base + start)
            }
            _ => return Err(self.damaged("a known wire type")),
        };
        Ok((tag >> 3, value))
    }

    fn skip(&mut self, len: usize) -> Result<Value<'a>, PprofError> {
        if self.bytes.len() - self.at < len {
            return Err(self.damaged("a whole field"));
        }
        self.at += len;
        Ok(Value::Fixed)
    }
}

/// The number at the start of `bytes` and its length. Most take up to four bytes.
#[inline(always)]
pub(super) fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    if let Some(&[a, b, c, d]) = bytes.first_chunk::<4>() {
        if a < 0x80 {
            return Some((u64::from(a), 1));
        }
        let low = u64::from(a & 0x7f);
        if b < 0x80 {
            return Some((low | u64::from(b) << 7, 2));
        }
        let low = low | u64::from(b & 0x7f) << 7;
        if c < 0x80 {
            return Some((low | u64::from(c) << 14, 3));
        }
        if d < 0x80 {
            return Some((low | u64::from(c & 0x7f) << 14 | u64::from(d) << 21, 4));
        }
    }
    long_varint(bytes)
}

#[cold]
fn long_varint(bytes: &[u8]) -> Option<(u64, usize)> {
    Bytes(bytes).uvarint(0)
}

/// Calls `each` with the numbers of a repeated field, packed or not.
#[inline]
pub(super) fn each_number(value: Value<'_>, mut each: impl FnMut(u64)) -> Result<(), PprofError> {
    match value {
        Value::Varint(number) => each(number),
        Value::Bytes(mut bytes, base) => {
            let whole = bytes.len();
            while !bytes.is_empty() {
                let damaged =
                    || PprofError::Damaged { what: "a number", offset: base + whole - bytes.len() };
                let (number, len) = varint(bytes).ok_or_else(damaged)?;
                each(number);
                bytes = bytes.get(len..).unwrap_or(&[]);
            }
        }
        Value::Fixed => {}
    }
    Ok(())
}

/// Appends the numbers of a repeated field, packed or not.
pub(super) fn numbers(value: Value<'_>, into: &mut Vec<u64>) -> Result<(), PprofError> {
    each_number(value, |number| into.push(number))
}

/// Writes a varint.
pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Writes a number field, unless it is zero (the default).
pub(super) fn put_number(out: &mut Vec<u8>, field: u64, value: u64) {
    if value != 0 {
        put_varint(out, field << 3);
        put_varint(out, value);
    }
}

/// Writes a length-delimited field.
pub(super) fn put_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put_varint(out, field << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}
