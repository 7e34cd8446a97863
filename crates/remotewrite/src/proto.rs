//! Protocol buffers, as far as they are written here.

/// Writes fields; a field with its default value is left out, as proto3 does.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    pub(crate) bytes: Vec<u8>,
}

impl Writer {
    pub(crate) fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    fn key(&mut self, field: u32, wire: u32) {
        self.varint(u64::from(field << 3 | wire));
    }

    pub(crate) fn uint(&mut self, field: u32, value: u64) {
        if value != 0 {
            self.key(field, 0);
            self.varint(value);
        }
    }

    /// `int64`: negative numbers take ten bytes.
    pub(crate) fn int(&mut self, field: u32, value: i64) {
        self.uint(field, value as u64);
    }

    /// `sint32`.
    pub(crate) fn sint(&mut self, field: u32, value: i32) {
        self.uint(field, zigzag(i64::from(value)));
    }

    /// A double that is written even when 0: a member of a oneof.
    pub(crate) fn double_always(&mut self, field: u32, value: f64) {
        self.key(field, 1);
        self.bytes.extend(value.to_bits().to_le_bytes());
    }

    /// -0 and NaN are no defaults.
    pub(crate) fn double(&mut self, field: u32, value: f64) {
        if value.to_bits() != 0 {
            self.double_always(field, value);
        }
    }

    /// An unsigned number that is written even when 0.
    pub(crate) fn uint_always(&mut self, field: u32, value: u64) {
        self.key(field, 0);
        self.varint(value);
    }

    pub(crate) fn text(&mut self, field: u32, text: &str) {
        if !text.is_empty() {
            self.message(field, text.as_bytes());
        }
    }

    /// Anything with a length in front; also when empty.
    pub(crate) fn message(&mut self, field: u32, bytes: &[u8]) {
        self.key(field, 2);
        self.varint(bytes.len() as u64);
        self.bytes.extend_from_slice(bytes);
    }

    /// A message made in place: its length is filled in afterwards.
    pub(crate) fn nested(&mut self, field: u32, fill: impl FnOnce(&mut Writer)) {
        self.key(field, 2);
        let start = self.bytes.len();
        self.bytes.push(0);
        fill(self);
        let end = self.bytes.len();
        let mut length = end - start - 1;
        // One byte is enough for most; more room is made where it is not.
        let more = (length.checked_ilog2().unwrap_or(0) / 7) as usize;
        if more > 0 {
            self.bytes.resize(end + more, 0);
            self.bytes.copy_within(start + 1..end, start + 1 + more);
        }
        for (index, byte) in self.bytes[start..=start + more].iter_mut().enumerate() {
            *byte = (length & 0x7f) as u8 | if index < more { 0x80 } else { 0 };
            length >>= 7;
        }
    }

    pub(crate) fn packed_uints(&mut self, field: u32, values: impl Iterator<Item = u64>) {
        self.packed(field, values, Writer::varint);
    }

    pub(crate) fn packed_sints(&mut self, field: u32, values: impl Iterator<Item = i64>) {
        self.packed(field, values, |writer, value| writer.varint(zigzag(value)));
    }

    pub(crate) fn packed_doubles(&mut self, field: u32, values: impl Iterator<Item = f64>) {
        self.packed(field, values, |writer, value| {
            writer.bytes.extend(value.to_bits().to_le_bytes());
        });
    }

    fn packed<T>(
        &mut self,
        field: u32,
        values: impl Iterator<Item = T>,
        mut write: impl FnMut(&mut Writer, T),
    ) {
        let mut values = values.peekable();
        if values.peek().is_some() {
            self.nested(field, |writer| values.for_each(|value| write(writer, value)));
        }
    }
}

/// Small numbers of either sign become small numbers.
pub(crate) fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63) as u64
}

/// The number that [`zigzag`] was given.
pub(crate) fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}
