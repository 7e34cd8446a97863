//! tcmalloc and Go heaps, growth and fragmentation, and the memory map behind them.
#![no_main]

use libfuzzer_sys::fuzz_target;

const HEADS: &[&[u8]] = &[
    b"heap profile: 1: 2 [ 3: 4] @ heap_v2/524288\n",
    b"heap profile: 1: 2 [ 3: 4] @ heapprofile\n",
    b"heap profile: 1: 2 [ 3: 4] @ heap/1048576\n",
    b"heap profile: 1: 2 [ 3: 4] @ heapz_v2/1\n",
    b"heap profile: 1: 2 [ 3: 4] @ growthz\n",
    b"heap profile: 1: 2 [ 3: 4] @ fragmentationz\n",
    b"heap profile: 1: 2 [ 1: 2] @ heap_v2/1\n1: 2 [ 1: 2] @ 0x401000\nMAPPED_LIBRARIES:\n",
];

fuzz_target!(|data: &[u8]| memsight_fuzz::read_with_head(HEADS, data));
