//! Numbers and pieces of bytes, with the place where reading failed.

/// A place in the bytes of a trace; reads move it on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    rest: &'a [u8],
    /// Where `rest` begins in the file.
    offset: u64,
}

/// Why a number cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// The bytes end within it.
    Ended,
    /// It has more than 64 bits.
    TooLarge,
}

impl<'a> Place<'a> {
    pub(super) fn new(bytes: &'a [u8], offset: u64) -> Place<'a> {
        Place { rest: bytes, offset }
    }

    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) fn len(&self) -> usize {
        self.rest.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    #[inline]
    pub(super) fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        self.offset += 1;
        Some(byte)
    }

    /// The next `len` bytes.
    pub(super) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        self.offset += len as u64;
        Some(taken)
    }

    /// A number of 7 bits a byte, lowest first. Longer than necessary is right: the runtime
    /// fills the size of a batch in later.
    #[inline]
    pub(super) fn number(&mut self) -> Result<u64, Unread> {
        match self.rest {
            [byte, rest @ ..] if *byte < 0x80 => {
                self.rest = rest;
                self.offset += 1;
                Ok(u64::from(*byte))
            }
            _ => self.long_number(),
        }
    }

    fn long_number(&mut self) -> Result<u64, Unread> {
        let mut value = 0_u64;
        for (index, &byte) in self.rest.iter().enumerate() {
            // The tenth byte holds the highest bit.
            if index == 9 && byte > 1 {
                return Err(Unread::TooLarge);
            }
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                self.rest = self.rest.get(index + 1..).unwrap_or_default();
                self.offset += index as u64 + 1;
                return Ok(value);
            }
        }
        Err(Unread::Ended)
    }
}
