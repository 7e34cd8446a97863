//! Java heap dumps, with both ways of holding statics; the first byte chooses and puts a
//! header before the rest, so that mutations reach the records.
#![no_main]

use decode::hprof::{Options, Statics, read};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((choice, rest)) = data.split_first() else { return };
    let id_bytes = if choice & 1 == 0 { 4_u32 } else { 8 };
    let statics = if choice & 2 == 0 { Statics::Globals } else { Statics::Classes };
    let options = Options { inflated_bytes_max: 1 << 20, statics };
    let mut bytes = rest.to_vec();
    if choice & 4 == 0 {
        bytes = b"JAVA PROFILE 1.0.2\0".to_vec();
        bytes.extend(id_bytes.to_be_bytes());
        bytes.extend([0; 8]);
        bytes.extend(rest);
    }
    // A compressed stream may be a thousand times its size.
    if decode::compress::is_compressed(&bytes) {
        let _ = read(&bytes, &options);
        return;
    }
    memsight_fuzz::read_heap(&bytes, |bytes| read(bytes, &options).ok());
});
