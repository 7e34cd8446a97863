//! Snapshot files: bounded memory, no panic, and what is read can be written again. The first
//! byte says whether checksums are put right, without which nearly every mutation ends there.
#![no_main]

use decode::heapfile::{self, Verify};
use libfuzzer_sys::fuzz_target;

const HEAD_BYTES: usize = 24;
const ENTRY_BYTES: usize = 64;
const TRAILER_BYTES: usize = 32;

fn index(bytes: &[u8], at: usize) -> Option<usize> {
    let field: [u8; 8] = bytes.get(at..at + 8)?.try_into().ok()?;
    usize::try_from(u64::from_le_bytes(field)).ok()
}

/// Gives every column and the directory the checksum of its bytes.
fn mend(file: &mut [u8]) -> Option<()> {
    let end = file.len().checked_sub(TRAILER_BYTES)?;
    let (start, count) = (index(file, end)?, index(file, end + 8)?);
    let directory = start..start.checked_add(count.checked_mul(ENTRY_BYTES)?)?;
    file.get(directory.clone())?;
    for entry in directory.clone().step_by(ENTRY_BYTES) {
        let (from, len) = (index(file, entry + 40)?, index(file, entry + 48)?);
        if let Some(column) = file.get(from..from.checked_add(len)?) {
            let crc = crc32fast::hash(column).to_le_bytes();
            file.get_mut(entry + 36..entry + 40)?.copy_from_slice(&crc);
        }
    }
    let mut crc = crc32fast::Hasher::new();
    crc.update(file.get(..HEAD_BYTES)?);
    crc.update(file.get(directory)?);
    crc.update(file.get(end..end + 16)?);
    let crc = u64::from(crc.finalize()).to_le_bytes();
    file.get_mut(end + 16..end + 24)?.copy_from_slice(&crc);
    Some(())
}

fuzz_target!(|data: &[u8]| {
    let Some((choice, rest)) = data.split_first() else { return };
    let mut file = rest.to_vec();
    if choice % 4 != 0 {
        let _ = mend(&mut file);
    }
    let bytes_max = (2 << 20) + memsight_fuzz::BYTES_PER_BYTE * file.len();
    let read = memsight_fuzz::bounded(bytes_max, || heapfile::read(&file, Verify::All));
    let Ok(graph) = read else { return };
    let mut written = Vec::new();
    heapfile::write(&graph, &mut written).expect("what was read can be written");
    let again = heapfile::read(&written, Verify::All).expect("what was written can be read");
    assert_eq!(again.len(), graph.len());
    assert_eq!(again.edges.len(), graph.edges.len());
    assert_eq!(again.stacks, graph.stacks);
});
