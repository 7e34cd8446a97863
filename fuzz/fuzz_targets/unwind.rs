//! Binaries as sources of what unwinds stacks and of functions of allocators, and texts as maps of
//! code that was made as a program runs.
#![no_main]

use decode::elf::Elf;
use decode::symbols::demangle::{Mode, readable};
use decode::symbols::perf_map::PerfMap;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    decode::code::probe_place(data);
    if let Ok(text) = std::str::from_utf8(data) {
        PerfMap::parse(text).at(0x1000);
        readable(text, Mode::Templates);
    }
    let Ok(elf) = Elf::parse(data) else { return };
    assert!(decode::unwind::rows(&elf).is_sorted_by_key(|row| row.address));
    decode::allocators::functions(&elf);
});
