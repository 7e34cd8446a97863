//! Streams that may be compressed: gzip, zstd, or plain.

use std::io::{self, BufRead, BufReader, Read};

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// Inflates `input` when its first bytes say that it is compressed.
///
/// # Errors
/// When the first bytes cannot be read, or a zstd header is damaged.
pub fn reader<'a>(input: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    // Go's profiles are gzip already; some put them into zstd archives as they are.
    layer(layer(Box::new(input))?)
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
