//! The container: a header, named columns, their directory and a trailer. Knows nothing of
//! heaps. Writing buffers 64 bytes a column; reading copies nothing but the directory.

use std::borrow::Cow;
use std::io;

use bytemuck::Pod;

use super::error::HeapFileError;
use crate::bytes::Bytes;

pub(super) const MAGIC: &[u8; 14] = b"memsight heap\n";
const END: &[u8; 8] = b"heap end";
const VERSION: u32 = 1;

const HEAD_BYTES: usize = 24;
const ENTRY_BYTES: usize = 64;
const TRAILER_BYTES: usize = 32;
const NAME_BYTES: usize = 32;
const ALIGN: u64 = 8;

/// Columns up to this size count as small.
const SMALL_BYTES: usize = 1 << 20;
/// Numbers that are converted before they are written, at a time.
const CHUNK: usize = 1024;

/// Which checksums are compared when a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    /// Those of all columns: reads the whole file once.
    All,
    /// Those of columns below 1 MiB; what is read of the larger ones is only checked to
    /// be a graph.
    Small,
}

/// A type of numbers a column can have.
pub(super) trait Number: Pod {
    /// The type's code in the directory.
    const CODE: u32;
    /// The type's name in errors.
    const NAME: &'static str;
    /// From the file's byte order to the machine's, or back.
    fn little(self) -> Self;
}

macro_rules! number {
    ($type:ty, $code:expr) => {
        impl Number for $type {
            const CODE: u32 = $code;
            const NAME: &'static str = stringify!($type);
            fn little(self) -> Self {
                self.to_le()
            }
        }
    };
}
number!(u8, 1);
number!(u32, 2);
number!(u64, 3);

/// The code of UTF-8 text.
const TEXT: u32 = 4;

fn code_name(code: u32) -> String {
    match code {
        u8::CODE => u8::NAME.to_owned(),
        u32::CODE => u32::NAME.to_owned(),
        u64::CODE => u64::NAME.to_owned(),
        TEXT => "text".to_owned(),
        code => format!("type {code}"),
    }
}

/// Writes a file front to back.
pub(super) struct Writer<'w, W> {
    out: &'w mut W,
    at: u64,
    directory: Vec<u8>,
}

impl<'w, W: io::Write> Writer<'w, W> {
    /// Writes the header.
    pub(super) fn start(out: &'w mut W) -> io::Result<Writer<'w, W>> {
        out.write_all(&head())?;
        Ok(Writer { out, at: HEAD_BYTES as u64, directory: Vec::new() })
    }

    /// Writes a column that is at hand as it will lie in the file.
    pub(super) fn column<T: Number>(&mut self, name: &str, values: &[T]) -> io::Result<()> {
        if cfg!(target_endian = "little") {
            return self.parts(name, T::CODE, std::iter::once(bytemuck::cast_slice(values)));
        }
        self.numbers(name, values.iter().copied())
    }

    /// Writes a column of computed values.
    pub(super) fn numbers<T: Number>(
        &mut self,
        name: &str,
        values: impl Iterator<Item = T>,
    ) -> io::Result<()> {
        let mut column = Part::start(self, name, T::CODE)?;
        let mut chunk = Vec::with_capacity(CHUNK);
        for value in values {
            chunk.push(value.little());
            if chunk.len() == CHUNK {
                column.push(bytemuck::cast_slice(&chunk))?;
                chunk.clear();
            }
        }
        column.push(bytemuck::cast_slice(&chunk))?;
        column.end()
    }

    /// Writes a text, which may come in parts.
    pub(super) fn text<'t>(
        &mut self,
        name: &str,
        parts: impl Iterator<Item = &'t str>,
    ) -> io::Result<()> {
        self.parts(name, TEXT, parts.map(str::as_bytes))
    }

    fn parts<'t>(
        &mut self,
        name: &str,
        code: u32,
        parts: impl Iterator<Item = &'t [u8]>,
    ) -> io::Result<()> {
        let mut column = Part::start(self, name, code)?;
        for part in parts {
            column.push(part)?;
        }
        column.end()
    }

    fn pad(&mut self) -> io::Result<()> {
        let gap = (self.at.next_multiple_of(ALIGN) - self.at) as usize;
        self.out.write_all([0; ALIGN as usize].get(..gap).unwrap_or(&[]))?;
        self.at += gap as u64;
        Ok(())
    }

    /// Writes directory and trailer; returns the length of the file.
    pub(super) fn end(mut self) -> io::Result<u64> {
        self.pad()?;
        self.out.write_all(&self.directory)?;
        let count = (self.directory.len() / ENTRY_BYTES) as u64;
        let crc = directory_crc(&head(), &self.directory, self.at, count);
        self.out.write_all(&self.at.to_le_bytes())?;
        self.out.write_all(&count.to_le_bytes())?;
        self.out.write_all(&u64::from(crc).to_le_bytes())?;
        self.out.write_all(END)?;
        Ok(self.at + (self.directory.len() + TRAILER_BYTES) as u64)
    }
}

/// A column that is being written.
struct Part<'p, 'w, W> {
    writer: &'p mut Writer<'w, W>,
    name: [u8; NAME_BYTES],
    code: u32,
    start: u64,
    crc: crc32fast::Hasher,
}

impl<'p, 'w, W: io::Write> Part<'p, 'w, W> {
    fn start(writer: &'p mut Writer<'w, W>, name: &str, code: u32) -> io::Result<Self> {
        writer.pad()?;
        let mut padded = [0; NAME_BYTES];
        let place = padded.get_mut(..name.len()).ok_or_else(|| io::Error::other("long name"))?;
        place.copy_from_slice(name.as_bytes());
        let start = writer.at;
        Ok(Part { writer, name: padded, code, start, crc: crc32fast::Hasher::new() })
    }

    fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.crc.update(bytes);
        self.writer.out.write_all(bytes)?;
        self.writer.at += bytes.len() as u64;
        Ok(())
    }

    fn end(self) -> io::Result<()> {
        let Writer { at, directory, .. } = self.writer;
        directory.extend_from_slice(&self.name);
        directory.extend_from_slice(&self.code.to_le_bytes());
        directory.extend_from_slice(&self.crc.finalize().to_le_bytes());
        directory.extend_from_slice(&self.start.to_le_bytes());
        directory.extend_from_slice(&(*at - self.start).to_le_bytes());
        directory.extend_from_slice(&0_u64.to_le_bytes());
        Ok(())
    }
}

fn head() -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    let version = VERSION.to_le_bytes();
    let bytes = MAGIC.iter().chain(&[0, 0]).chain(&version);
    head.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    head
}

fn directory_crc(head: &[u8], directory: &[u8], offset: u64, count: u64) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(head);
    crc.update(directory);
    crc.update(&offset.to_le_bytes());
    crc.update(&count.to_le_bytes());
    crc.finalize()
}

/// The columns of a file.
pub(super) struct Columns<'a> {
    entries: Vec<Entry<'a>>,
}

struct Entry<'a> {
    name: &'a str,
    code: u32,
    bytes: &'a [u8],
}

impl<'a> Columns<'a> {
    /// Reads the directory and compares checksums.
    pub(super) fn open(file: &'a [u8], verify: Verify) -> Result<Columns<'a>, HeapFileError> {
        let (directory, at) = directory(file)?;
        let mut entries = Vec::with_capacity(directory.len() / ENTRY_BYTES);
        let mut free = HEAD_BYTES as u64;
        for (index, entry) in directory.chunks_exact(ENTRY_BYTES).enumerate() {
            let offset = at + (index * ENTRY_BYTES) as u64;
            let damaged = |what| HeapFileError::Directory { what, offset };
            let (entry, start, crc) = Entry::parse(file, entry).map_err(damaged)?;
            // Columns lie in the order of the directory, so none is counted twice.
            if start < free || !start.is_multiple_of(ALIGN) {
                return Err(damaged("a column out of place"));
            }
            free = start + entry.bytes.len() as u64;
            if verify == Verify::All || entry.bytes.len() <= SMALL_BYTES {
                entry.check(start, crc)?;
            }
            entries.push(entry);
        }
        if free > at {
            return Err(HeapFileError::Directory { what: "a column out of place", offset: at });
        }
        entries.sort_by_key(|entry| entry.name);
        if entries.windows(2).any(|pair| matches!(pair, [a, b] if a.name == b.name)) {
            return Err(HeapFileError::Directory { what: "a column twice", offset: at });
        }
        Ok(Columns { entries })
    }

    fn find(&self, name: &str) -> Option<&Entry<'a>> {
        let index = self.entries.binary_search_by_key(&name, |entry| entry.name).ok()?;
        self.entries.get(index)
    }

    /// Reports whether there is a column of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// A column of numbers, borrowed where it is aligned.
    pub(super) fn numbers<T: Number>(
        &self,
        name: &'static str,
    ) -> Result<Cow<'a, [T]>, HeapFileError> {
        let entry = self.find(name).ok_or(HeapFileError::Missing(name))?;
        entry.expect(name, T::CODE)?;
        if !entry.bytes.len().is_multiple_of(size_of::<T>()) {
            return Err(HeapFileError::Column {
                column: name,
                expected: format!("a multiple of {} bytes", size_of::<T>()),
                found: format!("{} bytes", entry.bytes.len()),
            });
        }
        match bytemuck::try_cast_slice(entry.bytes) {
            Ok(values) if cfg!(target_endian = "little") => Ok(Cow::Borrowed(values)),
            _ => {
                let values = entry.bytes.chunks_exact(size_of::<T>());
                let read = |bytes| bytemuck::pod_read_unaligned::<T>(bytes).little();
                Ok(Cow::Owned(values.map(read).collect()))
            }
        }
    }

    /// A column of as many numbers as another one has.
    pub(super) fn same<T: Number>(
        &self,
        name: &'static str,
        count: usize,
    ) -> Result<Cow<'a, [T]>, HeapFileError> {
        let values = self.numbers::<T>(name)?;
        if values.len() == count {
            return Ok(values);
        }
        Err(HeapFileError::Column {
            column: name,
            expected: format!("{count} values"),
            found: format!("{} values", values.len()),
        })
    }

    /// A column of text.
    pub(super) fn text(&self, name: &'static str) -> Result<&'a str, HeapFileError> {
        let entry = self.find(name).ok_or(HeapFileError::Missing(name))?;
        entry.expect(name, TEXT)?;
        std::str::from_utf8(entry.bytes).map_err(|error| HeapFileError::Column {
            column: name,
            expected: "UTF-8 text".to_owned(),
            found: format!("something else at byte {}", error.valid_up_to()),
        })
    }
}

impl<'a> Entry<'a> {
    fn parse(file: &'a [u8], entry: &'a [u8]) -> Result<(Entry<'a>, u64, u32), &'static str> {
        let field = Bytes(entry);
        let name = field.0.get(..NAME_BYTES).unwrap_or(&[]);
        let name = name.split(|byte| *byte == 0).next().unwrap_or(&[]);
        let name = std::str::from_utf8(name).map_err(|_| "a name that is not text")?;
        let numbers = || Some((field.u32(32)?, field.u32(36)?, field.index(40)?, field.index(48)?));
        let (code, crc, start, len) = numbers().ok_or("an entry without numbers")?;
        let bytes = Bytes(file).slice(start, len).ok_or("a column outside the file")?;
        Ok((Entry { name, code, bytes: bytes.0 }, start as u64, crc))
    }

    fn check(&self, offset: u64, expected: u32) -> Result<(), HeapFileError> {
        let found = crc32fast::hash(self.bytes);
        if found == expected {
            return Ok(());
        }
        Err(HeapFileError::Checksum { column: self.name.to_owned(), offset, expected, found })
    }

    fn expect(&self, column: &'static str, code: u32) -> Result<(), HeapFileError> {
        if self.code == code {
            return Ok(());
        }
        let (expected, found) = (code_name(code), code_name(self.code));
        Err(HeapFileError::Column { column, expected, found })
    }
}

/// The directory's bytes and where they begin.
fn directory(file: &[u8]) -> Result<(&[u8], u64), HeapFileError> {
    if !file.starts_with(MAGIC) {
        return Err(HeapFileError::NotHeapFile);
    }
    let truncated = HeapFileError::Truncated { bytes: file.len() as u64 };
    let bytes = Bytes(file);
    let found = bytes.u32(16).ok_or(truncated.clone())?;
    if found != VERSION {
        return Err(HeapFileError::Version { expected: VERSION, found });
    }
    let end = file.len().checked_sub(TRAILER_BYTES).filter(|end| *end >= HEAD_BYTES);
    let end = end.ok_or(truncated.clone())?;
    let trailer = bytes.slice(end, TRAILER_BYTES).ok_or(truncated.clone())?;
    if !trailer.0.ends_with(END) {
        return Err(truncated);
    }
    let damaged = HeapFileError::Directory { what: "a wrong place", offset: end as u64 };
    let read = || Some((trailer.index(0)?, trailer.index(8)?, trailer.u64(16)?));
    let (at, count, crc) = read().ok_or(damaged.clone())?;
    let len = count.checked_mul(ENTRY_BYTES).ok_or(damaged.clone())?;
    let directory = bytes.slice(at, len).filter(|_| at.checked_add(len) == Some(end));
    let directory = directory.ok_or(damaged)?.0;
    let head = file.get(..HEAD_BYTES).unwrap_or(&[]);
    if crc != u64::from(directory_crc(head, directory, at as u64, count as u64)) {
        let what = "a wrong checksum";
        return Err(HeapFileError::Directory { what, offset: at as u64 });
    }
    Ok((directory, at as u64))
}
