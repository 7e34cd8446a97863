//! Segments of the queue of remote write: as they are, and as the body of a record whose checksum
//! is right.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = remotewrite::segment_contents(bytes);
    let Some(([kind, flags], body)) = bytes.split_first_chunk() else { return };
    let (kind, flags, count) = (kind % 6 + 1, flags % 2, 1_u32.to_le_bytes());
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[kind, flags]);
    hasher.update(&count);
    hasher.update(body);
    let mut segment = b"msrwlog\x01".to_vec();
    segment.extend((body.len() as u32).to_le_bytes());
    segment.extend(hasher.finalize().to_le_bytes());
    segment.extend([kind, flags]);
    segment.extend(count);
    segment.extend(body);
    let contents = remotewrite::segment_contents(&segment);
    assert!(contents.values <= body.len() as u64 || flags == 1);
});
