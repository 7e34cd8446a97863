//! The Go runtime in a hostile process: the executable is real (MEMSIGHT_FUZZ_SUBJECT),
//! every word of its writable memory is the fuzzer's.
#![no_main]

use std::sync::OnceLock;

use decode::elf::Elf;
use decode::goruntime::{Bias, Binary, Memory, MemoryError, Process};
use libfuzzer_sys::fuzz_target;
use model::Addr;

/// Initialised data is as in the file, so that the runtime is found; the rest (.bss,
/// heap, stacks) comes from the input.
struct Hostile<'a> {
    elf: &'a Elf<'a>,
    data: &'a [u8],
}

impl Memory for Hostile<'_> {
    fn read(&self, addr: Addr, buffer: &mut [u8]) -> Result<(), MemoryError> {
        if let Some(bytes) = self.elf.bytes_at(addr).and_then(|bytes| bytes.get(..buffer.len())) {
            buffer.copy_from_slice(bytes);
            return Ok(());
        }
        if self.data.is_empty() || addr.0 > 1 << 48 {
            return Err(MemoryError::Unmapped(addr));
        }
        for (index, byte) in buffer.iter_mut().enumerate() {
            let at = (addr.0 as usize).wrapping_add(index) % self.data.len();
            *byte = self.data[at];
        }
        Ok(())
    }
}

fn subject() -> &'static [u8] {
    static SUBJECT: OnceLock<Vec<u8>> = OnceLock::new();
    SUBJECT.get_or_init(|| {
        let path = std::env::var_os("MEMSIGHT_FUZZ_SUBJECT").expect("scripts/fuzz sets it");
        std::fs::read(path).expect("the subject can be read")
    })
}

fuzz_target!(|data: &[u8]| {
    let file = subject();
    let elf = Elf::parse(file).expect("the subject is an ELF file");
    let binary = Binary::open(file).expect("the subject is a Go program");
    let memory = Hostile { elf: &elf, data };
    let Ok(attached) = binary.attach(file, Bias(0), &memory) else { return };
    let Ok(process) = Process::new(&binary, &attached, file, &memory) else { return };
    let _ = process.heap_profile();
    let _ = process.runtime_memory();
    let _ = process.runtime_metrics();
    let _ = process.goroutines(1 << 40);
});
