//! Checked little-endian reads from a byte slice. Every decoder here reads
//! through these, so that damaged input ends in `None` and never in a panic.

/// A cursor-free view of bytes with checked access.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bytes<'a>(pub(crate) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(crate) fn slice(self, offset: usize, len: usize) -> Option<Bytes<'a>> {
        self.0.get(offset..offset.checked_add(len)?).map(Bytes)
    }

    pub(crate) fn from(self, offset: usize) -> Option<Bytes<'a>> {
        self.0.get(offset..).map(Bytes)
    }

    fn array<const N: usize>(self, offset: usize) -> Option<[u8; N]> {
        self.0.get(offset..offset.checked_add(N)?)?.try_into().ok()
    }

    pub(crate) fn u8(self, offset: usize) -> Option<u8> {
        self.0.get(offset).copied()
    }

    pub(crate) fn u16(self, offset: usize) -> Option<u16> {
        self.array(offset).map(u16::from_le_bytes)
    }

    pub(crate) fn u32(self, offset: usize) -> Option<u32> {
        self.array(offset).map(u32::from_le_bytes)
    }

    pub(crate) fn i32(self, offset: usize) -> Option<i32> {
        self.array(offset).map(i32::from_le_bytes)
    }

    pub(crate) fn u64(self, offset: usize) -> Option<u64> {
        self.array(offset).map(u64::from_le_bytes)
    }

    /// A `u64` that is used as an index into memory.
    pub(crate) fn index(self, offset: usize) -> Option<usize> {
        self.u64(offset).and_then(|value| usize::try_from(value).ok())
    }

    /// The NUL-terminated text at `offset`, at most `limit` bytes long.
    pub(crate) fn c_str(self, offset: usize, limit: usize) -> Option<&'a str> {
        let tail = self.0.get(offset..)?;
        let window = tail.get(..limit.min(tail.len()))?;
        let end = window.iter().position(|&byte| byte == 0)?;
        std::str::from_utf8(window.get(..end)?).ok()
    }

    /// An unsigned LEB128 number of at most 32 bits and the bytes it took.
    pub(crate) fn uvarint32(self, offset: usize) -> Option<(u32, usize)> {
        let mut value = 0_u32;
        for index in 0..5 {
            let byte = self.u8(offset.checked_add(index)?)?;
            value |= u32::from(byte & 0x7f).checked_shl(7 * index as u32)?;
            if byte & 0x80 == 0 {
                return Some((value, index + 1));
            }
        }
        None
    }

    /// An unsigned LEB128 number of at most 64 bits and the bytes it took.
    pub(crate) fn uvarint(self, offset: usize) -> Option<(u64, usize)> {
        let mut value = 0_u64;
        for index in 0..10 {
            let byte = self.u8(offset.checked_add(index)?)?;
            value |= u64::from(byte & 0x7f).checked_shl(7 * index as u32)?;
            if byte & 0x80 == 0 {
                return Some((value, index + 1));
            }
        }
        None
    }
}
