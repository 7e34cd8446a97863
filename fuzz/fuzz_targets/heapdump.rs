//! debug.WriteHeapDump; the first line is added here.
#![no_main]

use decode::heapdump::read;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let bytes = [b"go1.7 heap dump\n", data].concat();
    memsight_fuzz::read_heap(&bytes, |bytes| read(bytes).ok().map(|dump| dump.graph));
});
