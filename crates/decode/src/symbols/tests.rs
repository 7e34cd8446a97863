//! On the test program itself, which is a Rust binary with DWARF.

use super::Symbols;

#[inline(never)]
fn somewhere() -> u64 {
    // An address within this function, as it is loaded now.
    somewhere as fn() -> u64 as usize as u64 + 4
}

#[test]
fn a_function_of_this_program_is_named() {
    let file = std::fs::read("/proc/self/exe").unwrap();
    let symbols = Symbols::open(&file, None).unwrap();
    let address = somewhere();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let (start, offset) = maps
        .lines()
        .find_map(|line| {
            let mut words = line.split_whitespace();
            let (low, high) = words.next()?.split_once('-')?;
            let number = |text: &str| u64::from_str_radix(text, 16).ok();
            let (low, high) = (number(low)?, number(high)?);
            let offset = number(words.nth(1)?)?;
            (low..high).contains(&address).then_some((low, offset))
        })
        .unwrap();
    let frames = symbols.frames(symbols.link_address(address, start, offset).unwrap());
    let frame = frames.last().unwrap();
    assert!(frame.function.contains("somewhere"), "{frames:?}");
    assert!(frame.file.ends_with("symbols/tests.rs"), "{frames:?}");
    assert!(frame.line > 0);
}

#[test]
fn other_bytes_are_refused() {
    assert!(Symbols::open(b"not an object", None).is_err());
}
