//! Many small reads in address order, joined into few large ones.

use model::Addr;

use crate::bytes::Bytes;
use crate::goruntime::Memory;

/// So much is read at once at most.
const WINDOW: u64 = 256 << 10;
/// What lies further apart is not read together.
const GAP_MAX: u64 = 4096;

/// A piece of memory that is wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    pub(super) addr: u64,
    pub(super) len: u64,
    /// What the caller knows it by.
    pub(super) id: usize,
}

/// Reads all pieces, of at most 64 KiB each, and calls `visit` with each that could be read;
/// returns how many could not.
pub(super) fn read_pieces<M: Memory + ?Sized>(
    memory: &M,
    mut pieces: Vec<Piece>,
    mut visit: impl FnMut(&Piece, Bytes<'_>),
) -> u64 {
    pieces.sort_unstable_by_key(|piece| piece.addr);
    let mut failed = 0;
    let mut rest = pieces.as_slice();
    let mut buffer = Vec::new();
    while let Some(first) = rest.first() {
        let mut end = first.addr.saturating_add(first.len);
        let is_near = |piece: &&Piece| {
            let next = end.max(piece.addr.saturating_add(piece.len));
            let is_near = piece.addr <= end.saturating_add(GAP_MAX) && next - first.addr <= WINDOW;
            end = if is_near { next } else { end };
            is_near
        };
        let count = rest.iter().skip(1).take_while(is_near).count() + 1;
        let (group, later) = rest.split_at(count);
        rest = later;
        let is_whole = read(memory, &mut buffer, first.addr, end - first.addr);
        for piece in group {
            // What lies between two pieces may not be mapped.
            let offset = match is_whole {
                true => (piece.addr - first.addr) as usize,
                false if read(memory, &mut buffer, piece.addr, piece.len) => 0,
                false => usize::MAX,
            };
            match Bytes(&buffer).slice(offset, piece.len as usize) {
                Some(bytes) => visit(piece, bytes),
                None => failed += 1,
            }
        }
    }
    failed
}

fn read<M: Memory + ?Sized>(memory: &M, buffer: &mut Vec<u8>, addr: u64, len: u64) -> bool {
    buffer.resize(len.min(WINDOW) as usize, 0);
    memory.read(Addr(addr), buffer).is_ok()
}

/// Reads `count` words, a window at a time; ends where memory does.
pub(super) fn read_words<M: Memory + ?Sized>(memory: &M, addr: u64, count: u64) -> Vec<u64> {
    let mut words = Vec::new();
    let mut buffer = Vec::new();
    let mut at = addr;
    let mut left = count;
    while left > 0 {
        let some = left.min(WINDOW / 8);
        if !read(memory, &mut buffer, at, some * 8) {
            break;
        }
        let chunks = buffer.chunks_exact(8);
        words.extend(chunks.filter_map(|word| Bytes(word).u64(0)));
        left -= some;
        at = at.saturating_add(some * 8);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::{Piece, read_pieces, read_words};
    use crate::goruntime::MemoryImage;
    use model::Addr;

    #[test]
    fn pieces_are_joined_and_holes_cost_only_what_is_in_them() {
        let bytes: Vec<u8> = (0..=255).collect();
        let image = MemoryImage::new(vec![(Addr(0x1000), &bytes), (Addr(0x2000), &bytes)]);
        let piece = |addr: u64, id: usize| Piece { addr, len: 8, id };
        let wanted = vec![piece(0x2008, 0), piece(0x1010, 1), piece(0x1800, 2), piece(0x1004, 3)];
        let mut found = Vec::new();
        let failed = read_pieces(&image, wanted, |piece, bytes| {
            found.push((piece.id, bytes.u8(0)));
        });
        assert_eq!(failed, 1);
        assert_eq!(found, [(3, Some(4)), (1, Some(16)), (0, Some(8))]);
        assert_eq!(read_words(&image, 0x1000, 32).len(), 32);
        assert_eq!(read_words(&image, 0x1000, 40).len(), 0);
    }
}
