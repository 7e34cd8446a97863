//! Checked big-endian reads, with ids of the dump's size.

/// A position in the dump.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    id_bytes: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8], at: usize, id_bytes: usize) -> Cursor<'a> {
        Cursor { bytes, at, id_bytes }
    }

    pub(super) fn position(&self) -> usize {
        self.at
    }

    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(count)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    pub(super) fn id(&mut self) -> Option<u64> {
        match self.id_bytes {
            4 => self.u32().map(u64::from),
            _ => self.u64(),
        }
    }

    /// As many bytes as `count` ids.
    pub(super) fn ids(&mut self, count: u32) -> Option<&'a [u8]> {
        self.take((count as usize).checked_mul(self.id_bytes)?)
    }
}

/// The id at an offset of an object's data.
pub(super) fn id_at(data: &[u8], offset: usize, id_bytes: usize) -> Option<u64> {
    Cursor::new(data, offset, id_bytes).id()
}
