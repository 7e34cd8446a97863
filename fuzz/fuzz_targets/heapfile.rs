//! Snapshot files: bounded memory, no panic, and what is read can be written again. The first
//! byte says whether checksums are put right, without which nearly every mutation ends there.
#![no_main]

use decode::heapfile::{self, Verify};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((choice, rest)) = data.split_first() else { return };
    let mut file = rest.to_vec();
    if choice % 4 != 0 {
        let _ = memsight_fuzz::mend_heapfile(&mut file);
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
