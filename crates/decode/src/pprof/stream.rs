//! The fields of a profile as they come out of a reader, so that neither the file
//! nor its inflated bytes are ever in memory as a whole.

use std::io::{self, Read};

use super::PprofError;
use super::wire::{self, Value};

/// Bytes asked of the reader at once.
const CHUNK: usize = 256 << 10;

/// Reads top-level fields.
pub(super) struct FieldStream<R> {
    reader: R,
    buffer: Vec<u8>,
    start: usize,
    /// Bytes taken out of `buffer` so far.
    consumed: u64,
    limit: u64,
    is_at_end: bool,
    /// The compressed stream ended early.
    pub(super) is_truncated: bool,
}

/// A field's number and what it holds.
pub(super) enum Field<'a> {
    /// A number.
    Number(u64, u64),
    /// Bytes, and their offset in the profile.
    Bytes(u64, &'a [u8], usize),
}

impl<R: Read> FieldStream<R> {
    /// Starts with bytes that were read already; stops with an error past `limit`.
    pub(super) fn new(head: Vec<u8>, reader: R, limit: u64) -> FieldStream<R> {
        FieldStream {
            reader,
            buffer: head,
            start: 0,
            consumed: 0,
            limit,
            is_at_end: false,
            is_truncated: false,
        }
    }

    fn available(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// Makes `wanted` bytes available, fewer only at the end.
    fn fill(&mut self, wanted: usize) -> Result<usize, PprofError> {
        while self.available() < wanted && !self.is_at_end {
            if self.start > 0 {
                self.buffer.drain(..self.start);
                self.start = 0;
            }
            let more = (wanted - self.available()).clamp(CHUNK, 16 * CHUNK);
            let before = self.buffer.len();
            let result = self.reader.by_ref().take(more as u64).read_to_end(&mut self.buffer);
            match result {
                Ok(0) => self.is_at_end = true,
                Ok(_) => {}
                Err(error) if is_end(&error) => (self.is_at_end, self.is_truncated) = (true, true),
                Err(error) => return Err(error.into()),
            }
            let grown = (self.buffer.len() - before) as u64;
            if self.consumed + self.available() as u64 > self.limit && grown > 0 {
                return Err(PprofError::TooLarge(self.limit));
            }
        }
        Ok(self.available().min(wanted))
    }

    fn varint(&mut self) -> Result<u64, PprofError> {
        if self.available() < 10 {
            self.fill(10)?;
        }
        let rest = self.buffer.get(self.start..).unwrap_or(&[]);
        let (value, len) = wire::varint(rest).ok_or_else(|| self.damaged("a number"))?;
        self.skip(len);
        Ok(value)
    }

    fn skip(&mut self, len: usize) {
        self.start += len;
        self.consumed += len as u64;
    }

    fn damaged(&self, what: &'static str) -> PprofError {
        PprofError::Damaged { what, offset: self.consumed as usize }
    }

    /// The next field; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Field<'_>>, PprofError> {
        loop {
            if self.available() == 0 && self.fill(1)? == 0 {
                return Ok(None);
            }
            let tag = self.varint()?;
            match tag & 7 {
                0 => return Ok(Some(Field::Number(tag >> 3, self.varint()?))),
                2 => {
                    let len = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
                    if self.available() < len && self.fill(len)? < len {
                        return Err(self.damaged("a length within the message"));
                    }
                    let (start, at) = (self.start, self.consumed as usize);
                    self.skip(len);
                    let bytes = self.buffer.get(start..start + len).unwrap_or(&[]);
                    return Ok(Some(Field::Bytes(tag >> 3, bytes, at)));
                }
                fixed @ (1 | 5) => {
                    let len = if fixed == 1 { 8 } else { 4 };
                    if self.fill(len)? < len {
                        return Err(self.damaged("a whole field"));
                    }
                    self.skip(len);
                }
                _ => return Err(self.damaged("a known wire type")),
            }
        }
    }
}

fn is_end(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::UnexpectedEof
}

/// The numbers of a repeated field, packed or not.
pub(super) fn numbers(field: &Field<'_>, into: &mut Vec<u64>) -> Result<(), PprofError> {
    match field {
        Field::Number(_, number) => into.push(*number),
        Field::Bytes(_, bytes, at) => wire::numbers(Value::Bytes(bytes, *at), into)?,
    }
    Ok(())
}
