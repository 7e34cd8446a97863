//! Bytes of records. Heap records are segments of about a mebibyte, so that nothing larger
//! is ever in memory.

use std::io::{self, Write};

const SEGMENT_BYTES: usize = 1 << 20;

/// Where a dump is written to.
pub(super) struct Output<'w, W: Write> {
    writer: &'w mut W,
    /// The segment that is being filled.
    segment: Vec<u8>,
    /// A sub-record larger than a segment goes to the writer in pieces.
    is_direct: bool,
    bytes: u64,
}

impl<'w, W: Write> Output<'w, W> {
    pub(super) fn new(writer: &'w mut W) -> Output<'w, W> {
        Output { writer, segment: Vec::new(), is_direct: false, bytes: 0 }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes += bytes.len() as u64;
        self.writer.write_all(bytes)
    }

    pub(super) fn header(&mut self, millis: u64) -> io::Result<()> {
        self.write(b"JAVA PROFILE 1.0.2\0")?;
        self.write(&8_u32.to_be_bytes())?;
        self.write(&millis.to_be_bytes())
    }

    /// A record that is no heap.
    pub(super) fn record(&mut self, tag: u8, parts: &[&[u8]]) -> io::Result<()> {
        let length = parts.iter().map(|part| part.len()).sum::<usize>();
        self.record_head(tag, length as u64)?;
        parts.iter().try_for_each(|part| self.write(part))
    }

    fn record_head(&mut self, tag: u8, length: u64) -> io::Result<()> {
        let length = u32::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge)?;
        self.write(&[tag, 0, 0, 0, 0])?;
        self.write(&length.to_be_bytes())
    }

    /// Begins a sub-record of exactly so many bytes.
    pub(super) fn begin(&mut self, bytes: u64) -> io::Result<()> {
        self.flush_piece()?;
        if self.segment.len() as u64 + bytes > SEGMENT_BYTES as u64 {
            self.end_segment()?;
        }
        if bytes > SEGMENT_BYTES as u64 {
            self.record_head(0x1c, bytes)?;
            self.is_direct = true;
        }
        Ok(())
    }

    fn end_segment(&mut self) -> io::Result<()> {
        if self.segment.is_empty() {
            return Ok(());
        }
        self.record_head(0x1c, self.segment.len() as u64)?;
        self.bytes += self.segment.len() as u64;
        self.writer.write_all(&self.segment)?;
        self.segment.clear();
        Ok(())
    }

    /// Writes what is there of a sub-record larger than a segment.
    fn flush_piece(&mut self) -> io::Result<()> {
        if self.is_direct {
            self.bytes += self.segment.len() as u64;
            self.writer.write_all(&self.segment)?;
            self.segment.clear();
            self.is_direct = false;
        }
        Ok(())
    }

    pub(super) fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.is_direct && self.segment.len() + bytes.len() > SEGMENT_BYTES {
            self.flush_piece()?;
            self.is_direct = true;
        }
        self.segment.extend_from_slice(bytes);
        Ok(())
    }

    pub(super) fn u16(&mut self, value: u16) -> io::Result<()> {
        self.put(&value.to_be_bytes())
    }

    pub(super) fn u32(&mut self, value: u32) -> io::Result<()> {
        self.put(&value.to_be_bytes())
    }

    pub(super) fn u64(&mut self, value: u64) -> io::Result<()> {
        self.put(&value.to_be_bytes())
    }

    pub(super) fn zeros(&mut self, mut count: u64) -> io::Result<()> {
        const ZEROS: [u8; 4096] = [0; 4096];
        while count > 0 {
            let piece = count.min(ZEROS.len() as u64);
            self.put(ZEROS.get(..piece as usize).unwrap_or(&[]))?;
            count -= piece;
        }
        Ok(())
    }

    /// Ends the dump and says how large it is.
    pub(super) fn finish(mut self) -> io::Result<u64> {
        self.flush_piece()?;
        self.end_segment()?;
        self.record(0x2c, &[])?;
        self.writer.flush()?;
        Ok(self.bytes)
    }
}
