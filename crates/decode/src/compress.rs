//! Streams that may be compressed: gzip, zstd, or plain.
//!
//! A stream may not inflate to much more than real profiles do, so that memory stays
//! bounded by the size of the input.

use std::cell::Cell;
use std::io::{self, BufRead, BufReader, Read};
use std::rc::Rc;

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// Any input may inflate to this much.
const FREE_BYTES: u64 = 16 << 20;

/// Real profiles are 5 to 50 times smaller when compressed; DEFLATE reaches 1,032.
const RATIO_MAX: u64 = 500;

/// How many bytes an input of `bytes` may inflate to.
pub fn inflated_bytes_max(bytes: u64) -> u64 {
    FREE_BYTES.saturating_add(bytes.saturating_mul(RATIO_MAX))
}

/// Inflates `input` when its first bytes say that it is compressed, to at most `bytes_max`
/// bytes: for files that are mostly zeros, such as cores, and of which a caller knows how
/// much is too much.
///
/// # Errors
/// As [`reader`].
pub fn reader_up_to<'a>(input: impl Read + 'a, bytes_max: u64) -> io::Result<Box<dyn Read + 'a>> {
    Ok(Box::new(layer(Box::new(input))?.take(bytes_max)))
}

/// Reports whether bytes begin as a compressed stream does.
pub fn is_compressed(bytes: &[u8]) -> bool {
    bytes.starts_with(GZIP) || bytes.starts_with(ZSTD)
}

/// Inflates `input` when its first bytes say that it is compressed; reading fails when it
/// inflates to more than [`inflated_bytes_max`].
///
/// # Errors
/// When the first bytes cannot be read, or a zstd header is damaged.
pub fn reader<'a>(input: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    reader_with(input, 0)
}

/// As [`reader`], for inputs that may inflate to `free_bytes` at least: heap dumps hold
/// arrays of zeros, which shrink a thousandfold.
///
/// # Errors
/// As [`reader`].
pub fn reader_with<'a>(input: impl Read + 'a, free_bytes: u64) -> io::Result<Box<dyn Read + 'a>> {
    let consumed = Rc::new(Cell::new(0));
    let input = Counted { input, consumed: Rc::clone(&consumed) };
    // Go's profiles are gzip already; some put them into zstd archives as they are.
    let output = layer(layer(Box::new(input))?)?;
    Ok(Box::new(Guarded { output, consumed, produced: 0, free_bytes }))
}

/// Counts what is read.
struct Counted<R> {
    input: R,
    consumed: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.consumed.set(self.consumed.get().saturating_add(count as u64));
        Ok(count)
    }
}

/// Ends a stream that inflates to too much.
struct Guarded<'a> {
    output: Box<dyn Read + 'a>,
    consumed: Rc<Cell<u64>>,
    produced: u64,
    free_bytes: u64,
}

impl Read for Guarded<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.output.read(buffer)?;
        self.produced = self.produced.saturating_add(count as u64);
        if self.produced > inflated_bytes_max(self.consumed.get()).max(self.free_bytes) {
            let message = format!("it inflates to more than {RATIO_MAX} times its size");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        Ok(count)
    }
}

fn layer<'a>(input: Box<dyn Read + 'a>) -> io::Result<Box<dyn Read + 'a>> {
    let mut input = BufReader::with_capacity(64 << 10, input);
    let head = match input.fill_buf() {
        Ok(head) => head,
        // Whoever reads on gets the error, with what came before it.
        Err(error) => return Ok(Box::new(Failed(Some(error)))),
    };
    if head.starts_with(GZIP) {
        return Ok(Box::new(flate2::bufread::MultiGzDecoder::new(input)));
    }
    if head.starts_with(ZSTD) {
        let decoder = ruzstd::decoding::StreamingDecoder::new(input)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
        return Ok(Box::new(decoder));
    }
    Ok(Box::new(input))
}

/// A stream that fails at once.
struct Failed(Option<io::Error>);

impl Read for Failed {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        match self.0.take() {
            Some(error) => Err(error),
            None => Ok(0),
        }
    }
}
