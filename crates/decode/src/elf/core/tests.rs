//! Core files built by hand: every field is written where elf(5) says it is.

use super::*;

/// A note as it lies in the file.
fn note_bytes(kind: u32, body: &[u8]) -> Vec<u8> {
    let mut note = 5_u32.to_le_bytes().to_vec(); // n_namesz
    note.extend((body.len() as u32).to_le_bytes()); // n_descsz
    note.extend(kind.to_le_bytes()); // n_type
    note.extend(b"CORE\0\0\0\0"); // name, padded to 4
    note.extend(body);
    note.resize(note.len().next_multiple_of(4), 0);
    note
}

fn prstatus(thread: u32) -> Vec<u8> {
    let mut body = vec![0; 32]; // pr_info, pr_cursig, pr_sigpend, pr_sighold
    body.extend(thread.to_le_bytes()); // pr_pid
    body.resize(112, 0); // parents, times
    for index in 0..27_u64 {
        body.extend((u64::from(thread) * 100 + index).to_le_bytes()); // pr_reg
    }
    body.extend([0; 8]); // pr_fpvalid
    body
}

fn files(unit: u64, files: &[(u64, u64, u64, &str)]) -> Vec<u8> {
    let mut body = (files.len() as u64).to_le_bytes().to_vec();
    body.extend(unit.to_le_bytes());
    for (start, end, offset, _) in files {
        for word in [start, end, offset] {
            body.extend(word.to_le_bytes());
        }
    }
    for (_, _, _, path) in files {
        body.extend(path.as_bytes());
        body.push(0);
    }
    body
}

/// Kind, flags, address, memory size, and what of it is in the file.
type Header<'a> = (u32, u32, u64, u64, &'a [u8]);

fn core_file(headers: &[Header<'_>]) -> Vec<u8> {
    let mut file = vec![0; 64];
    file[..6].copy_from_slice(b"\x7fELF\x02\x01"); // e_ident
    file[16..18].copy_from_slice(&4_u16.to_le_bytes()); // e_type
    file[18..20].copy_from_slice(&62_u16.to_le_bytes()); // e_machine
    file[32..40].copy_from_slice(&64_u64.to_le_bytes()); // e_phoff
    file[54..56].copy_from_slice(&56_u16.to_le_bytes()); // e_phentsize
    file[56..58].copy_from_slice(&(headers.len() as u16).to_le_bytes()); // e_phnum
    let mut offset = 64 + 56 * headers.len() as u64;
    for (kind, flags, addr, memory, bytes) in headers {
        file.extend(kind.to_le_bytes()); // p_type
        file.extend(flags.to_le_bytes()); // p_flags
        // p_offset, p_vaddr, p_paddr, p_filesz, p_memsz, p_align
        for word in [offset, *addr, 0, bytes.len() as u64, *memory, 1] {
            file.extend(word.to_le_bytes());
        }
        offset += bytes.len() as u64;
    }
    headers.iter().for_each(|header| file.extend(header.4));
    file
}

const EXE: &str = "/opt/app";

/// An executable at 0x1000 (header page dumped, two more pages not), a heap at 0x100000.
fn sample() -> (Vec<u8>, Vec<u8>) {
    let executable: Vec<u8> = (0..0x3000_u32).map(|index| (index / 7) as u8).collect();
    let mut notes = note_bytes(1, &prstatus(7));
    notes.extend(note_bytes(1, &prstatus(8)));
    let auxv = [3_u64, 0x1040, 9, 0x2000, 0, 0];
    notes.extend(note_bytes(6, &auxv.map(u64::to_le_bytes).concat()));
    let mapped = [(0x1000, 0x4000, 0, EXE), (0x9000, 0xa000, 1, "/lib/other.so")];
    notes.extend(note_bytes(0x4649_4c45, &files(4096, &mapped)));
    let heap = [0x5a; 0x2000];
    let file = core_file(&[
        (4, 0, 0, 0, &notes),
        (1, 5, 0x1000, 0x3000, &executable[..0x1000]),
        (1, 4, 0x9000, 0x1000, &[]),
        (1, 6, 0x10_0000, 0x3000, &heap),
        (1, 0, 0x20_0000, 0x10_0000, &[]),
    ]);
    (file, executable)
}

#[test]
fn memory_is_joined_from_core_and_executable() {
    let (file, executable) = sample();
    let core = Core::parse(&file).unwrap();
    assert_eq!(core.executable().map(|file| file.path.as_str()), Some(EXE));
    assert_eq!(core.is_same_file(EXE, &executable), Some(true));
    assert_eq!(core.is_same_file(EXE, &executable[1..]), Some(false));
    assert_eq!(core.is_same_file("/lib/other.so", &executable), None);
    let (ranges, missing) = core.memory(|path| (path == EXE).then_some(&executable[..]));
    let image = crate::goruntime::MemoryImage::new(ranges);
    let read = |addr, len| crate::goruntime::Memory::read_vec(&image, Addr(addr), len);
    assert_eq!(read(0x1000, 0x3000).unwrap(), executable);
    assert_eq!(read(0x10_0000, 0x2000).unwrap(), [0x5a; 0x2000]);
    assert!(read(0x9000, 1).is_err() && read(0x10_2000, 1).is_err());
    // The other library and the last page of the heap; not what was only reserved.
    assert_eq!((missing, core.truncated_bytes), (0x2000, 0));
    let mappings = core.mappings();
    assert_eq!((mappings[0].permissions.as_str(), mappings[0].path.as_str()), ("r-xp", EXE));
    assert_eq!((mappings[1].offset, mappings[2].path.as_str()), (4096, ""));
}

#[test]
fn registers_are_those_of_the_kernels_order() {
    let (file, _) = sample();
    let core = Core::parse(&file).unwrap();
    let threads: Vec<u32> = core.threads.iter().map(|thread| thread.thread).collect();
    assert_eq!(threads, [7, 8]);
    // rip is word 16, rsp word 19, fs_base word 21 of struct user_regs_struct.
    assert_eq!((core.threads[1].pc, core.threads[1].sp), (Addr(816), Addr(819)));
    assert_eq!(core.threads[1].general.len(), 16);
    assert_eq!(core.threads[1].general[15], 821);
    assert_eq!(thread_registers(62, 1, &[0; 100]), None);
    assert_eq!(thread_registers(3, 1, &[0; 1000]), None);
}

#[test]
fn every_prefix_gives_what_is_there() {
    let (file, executable) = sample();
    let whole = Core::parse(&file).unwrap().segments.len();
    for len in 0..file.len() {
        let Ok(core) = Core::parse(&file[..len]) else { continue };
        assert!(core.segments.len() <= whole);
        let held: usize = core.segments.iter().map(|segment| segment.bytes.len()).sum();
        assert!(held <= len);
        if core.segments.len() == whole {
            assert_eq!(core.truncated_bytes, (file.len() - len) as u64);
        }
        let _ = core.memory(|_| Some(&executable));
    }
    let cut = Core::parse(&file[..file.len() - 0x1800]).unwrap();
    assert_eq!(cut.truncated_bytes, 0x1800);
}

#[test]
fn more_headers_than_sixteen_bits_count() {
    let (mut file, _) = sample();
    let sections = file.len() as u64;
    file.resize(file.len() + 64, 0);
    let at = file.len() - 64 + 44;
    file[at..at + 4].copy_from_slice(&5_u32.to_le_bytes()); // sh_info of section 0
    file[40..48].copy_from_slice(&sections.to_le_bytes()); // e_shoff
    file[56..58].copy_from_slice(&0xffff_u16.to_le_bytes()); // e_phnum
    assert_eq!(Core::parse(&file).unwrap().segments.len(), 4);
}

#[test]
fn other_files_are_refused_by_name() {
    let (mut file, _) = sample();
    file[16] = 2;
    assert_eq!(Core::parse(&file).unwrap_err(), ElfError::NotCore);
    assert_eq!(Core::parse(b"#!/bin/sh").unwrap_err(), ElfError::NotElf);
    file[4] = 1;
    assert!(matches!(Core::parse(&file), Err(ElfError::Unsupported(_))));
}

#[test]
fn overlapping_headers_cost_no_more_than_they_are_long() {
    let mapped: Vec<_> = (0..2000).map(|index| (index, 1 << 40, 0, "f")).collect();
    let notes = note_bytes(0x4649_4c45, &files(1, &mapped));
    let headers: Vec<Header<'_>> = std::iter::once((4, 0, 0, 0, &notes[..]))
        .chain((0..2000).map(|_| (1, 4, 0, 1 << 40, &[][..])))
        .collect();
    let file = core_file(&headers);
    let core = Core::parse(&file).unwrap();
    assert_eq!((core.segments.len(), core.files.len()), (2000, 2000));
    let (ranges, _) = core.memory(|_| Some(&file));
    assert!(ranges.len() <= 6000, "{}", ranges.len());
    // The same notes named twice are read once.
    let mut twice = file.clone();
    twice.copy_within(64..120, 120);
    assert!(Core::parse(&twice).unwrap().files.len() <= file.len() / 24);
}
