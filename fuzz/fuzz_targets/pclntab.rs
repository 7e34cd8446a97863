//! The function table: every function, and frames of addresses all over it.
#![no_main]

use decode::pclntab::Pclntab;
use libfuzzer_sys::fuzz_target;
use model::Addr;

fuzz_target!(|data: &[u8]| {
    // Function data (inline trees) lie in another section: the second half.
    let (table, gofunc) = data.split_at(data.len() / 2);
    let Ok(table) = Pclntab::parse(table, Addr(0x40_1000), gofunc) else { return };
    for index in 0..table.len().min(64) {
        if let Some(func) = table.func(index) {
            let _ = (func.raw_name(), func.start_line(), func.id());
            let _ = (func.frame_size(Addr(0x40_1010)), func.file(Addr(0x40_1010)));
        }
    }
    let _ = table.funcs_named(&["main.main"]);
    for pc in (0x40_1000..0x40_2000).step_by(37) {
        let _ = table.frames(Addr(pc));
    }
});
