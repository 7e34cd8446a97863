//! The heap of a hostile Go process. The first byte says what the rest is:
//!
//! - damage to the memory of a real program (fuzz/subject) and to its executable, placed in
//!   the tables and lists that the reader follows, or
//! - all of the memory that the executable does not initialise.
//!
//! Whatever it finds there, the reader ends soon, needs memory in proportion to what it was
//! given, and what it makes of that is a sound graph.
#![no_main]

use std::cell::RefCell;
use std::time::{Duration, Instant};

use decode::goheap::{self, Input, Keep};
use decode::goruntime::{MemoryImage, ThreadRegisters};
use libfuzzer_sys::fuzz_target;
use memsight_fuzz::bounded;
use memsight_fuzz::subject::{Subject, subjects};
use model::Addr;

/// What the reader may use whatever its input, and for each byte of memory and executable.
const BYTES_FREE: usize = 32 << 20;
const BYTES_PER_BYTE: usize = 4;
/// The undamaged program takes a hundredth of it.
const TIME_MAX: Duration = Duration::from_secs(10);

thread_local! {
    static SUBJECTS: RefCell<Vec<Subject>> = RefCell::new(subjects());
}

fuzz_target!(|data: &[u8]| {
    let Some(([choice, mode], rest)) = data.split_first_chunk() else { return };
    SUBJECTS.with_borrow_mut(|subjects| {
        let count = subjects.len();
        let subject = &mut subjects[usize::from(*choice) % count];
        let keep = [Keep::Nothing, Keep::Strings, Keep::All][usize::from(mode >> 1) % 3];
        // Debug information is large; mostly the reader goes without.
        let has_debug = mode >> 4 == 0;
        if mode & 1 == 0 {
            let undo = subject.damage(rest);
            read(subject, &subject.image(), has_debug, keep);
            subject.restore(undo);
        } else {
            read(subject, &subject.made_of(rest), has_debug, keep);
        }
    });
});

fn read(subject: &Subject, image: &MemoryImage<'_>, has_debug: bool, contents: Keep) {
    let file = if has_debug { &subject.exe } else { &subject.stripped };
    let size: usize = image.ranges().iter().map(|(_, bytes)| bytes.len()).sum();
    let bytes_max = BYTES_FREE + BYTES_PER_BYTE * (size + file.len());
    let threads: &[ThreadRegisters] = &subject.threads;
    let (binary, attached) = (&subject.binary, &subject.attached);
    let input =
        Input { binary, attached, file, debug_file: None, libraries: &[], image, threads, contents };
    let begun = Instant::now();
    let result = bounded(bytes_max, || goheap::read(&input));
    let took = begun.elapsed();
    assert!(took < TIME_MAX, "it took {took:?}");
    let Ok(graph) = result else { return };
    graph.check().expect("a sound graph");
    for pointer in &graph.root_pointers {
        assert!(graph.objects.address(pointer.target) > Some(Addr(0)));
    }
}
