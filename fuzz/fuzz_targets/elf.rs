//! ELF headers, sections, symbols, static probes.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(elf) = decode::elf::Elf::parse(data) else { return };
    let _ = elf.symbols(&["runtime.mbuckets", "runtime.allgs"]);
    let _ = elf.build_id();
    for segment in elf.segments() {
        let _ = elf.bytes_at(segment.addr);
    }
    if let Some(section) = elf.section(".text") {
        let _ = elf.section_bytes(&section);
    }
    let _ = decode::usdt::static_probes(&elf, "otel_memory");
    let _ = decode::goruntime::Binary::open(data);
});
