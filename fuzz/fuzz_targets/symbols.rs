//! Binaries as symbol sources, and any bytes as machine code.
#![no_main]

use decode::symbols::Symbols;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    decode::disasm::x86_64(data, 0x1000, &|address| Some(("f".to_owned(), address & !15)));
    let Ok(symbols) = Symbols::open(data, None) else { return };
    symbols.debug_link();
    for address in [0, 0x1000, 0x40_1000, u64::MAX] {
        symbols.frames(address);
        symbols.link_address(address, 0x1000, 0x10);
    }
});
