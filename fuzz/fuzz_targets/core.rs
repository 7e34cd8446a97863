//! ELF core files: headers, notes, and memory joined from core and executable.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(core) = decode::elf::core::Core::parse(data) else { return };
    // Whatever the headers say: nothing is counted twice, nothing is made up.
    let notes = core.threads.len() * 100 + core.files.len() * 24;
    assert!(notes <= data.len() && core.segments.len() * 56 <= data.len());
    let names: Vec<&str> = core.files.iter().map(|file| file.path.as_str()).collect();
    let (ranges, _) = core.memory(|path| names.contains(&path).then_some(data));
    let image = decode::goruntime::MemoryImage::new(ranges);
    for mapping in core.mappings() {
        let _ = image.slice(model::Addr(mapping.start), 8);
    }
    if let Some(file) = core.executable() {
        let _ = (core.start_of(&file.path), core.is_same_file(&file.path, data));
    }
});
