//! Static probes of programs (USDT): where they are, and where their arguments are then, by the
//! notes that <sys/sdt.h> leaves in an object. See SystemTap's UserSpaceProbeImplementation.

use model::Addr;

use crate::bytes::Bytes;
use crate::elf::Elf;

/// A static probe: an instruction that does nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticProbe {
    /// Who defines it.
    pub provider: String,
    /// Its name.
    pub name: String,
    /// The instruction, as an offset in the file.
    pub file_offset: u64,
    /// Offset of a count of those who look, by which the program knows that somebody does; 0 if it
    /// does not want to know.
    pub count_offset: u64,
    /// Its arguments; `None` for one in a place that is not known here.
    pub arguments: Vec<Option<Argument>>,
}

/// Where an argument is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argument {
    /// Its bytes: 1, 2, 4 or 8.
    pub size: u8,
    /// Whether smaller ones are signed.
    pub is_signed: bool,
    /// Its place.
    pub operand: Operand,
}

/// An operand of x86-64's assembly language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operand {
    /// A number.
    Constant(i64),
    /// The content of a register.
    Register(Register),
    /// What lies in memory.
    Memory {
        /// Added to the registers.
        offset: i64,
        /// The first register.
        base: Option<Register>,
        /// The second, and what it is multiplied by.
        index: Option<(Register, u8)>,
    },
}

/// A register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are their names")]
pub enum Register {
    Rax,
    Rbx,
    Rcx,
    Rdx,
    Rsi,
    Rdi,
    Rbp,
    Rsp,
    R8,
    R9,
    R10,
    R11,
    R12,
    R13,
    R14,
    R15,
}

/// NT_STAPSDT.
const NOTE_KIND: u32 = 3;
/// More are not looked at.
const PROBES_MAX: usize = 1 << 16;
/// No probe has more (STAP_PROBEV).
const ARGUMENTS_MAX: usize = 12;

/// The static probes of an object that a provider defines. What is damaged is left out.
pub fn static_probes(elf: &Elf<'_>, provider: &str) -> Vec<StaticProbe> {
    const X86_64: u16 = 62;
    let notes = elf.section(".note.stapsdt").and_then(|section| elf.section_bytes(&section));
    let (Some(notes), X86_64) = (notes, elf.machine) else { return Vec::new() };
    // Addresses in notes are those before the object was linked for good (prelink).
    let base = elf.section(".stapsdt.base").map(|section| section.addr.0);
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some((note, next)) = note_at(notes, at)
        && found.len() < PROBES_MAX
    {
        at = next;
        found.extend(note.and_then(|note| probe(elf, base, provider, note)));
    }
    found
}

/// The description of the note at an offset, if it is one of a probe, and where the next one is.
fn note_at(notes: &[u8], at: usize) -> Option<(Option<&[u8]>, usize)> {
    let bytes = Bytes(notes);
    let (name_size, size) = (bytes.u32(at)? as usize, bytes.u32(at.checked_add(4)?)? as usize);
    let kind = bytes.u32(at.checked_add(8)?)?;
    let name_at = at.checked_add(12)?;
    let start = name_at.checked_add(name_size.checked_next_multiple_of(4)?)?;
    let name = notes.get(name_at..name_at.checked_add(name_size)?)?;
    let content = notes.get(start..start.checked_add(size)?)?;
    let is_probe = kind == NOTE_KIND && name == b"stapsdt\0";
    Some((is_probe.then_some(content), start.checked_add(size.checked_next_multiple_of(4)?)?))
}

fn probe(elf: &Elf<'_>, base: Option<u64>, provider: &str, note: &[u8]) -> Option<StaticProbe> {
    let bytes = Bytes(note);
    let (address, base_then, count) = (bytes.u64(0)?, bytes.u64(8)?, bytes.u64(16)?);
    let mut texts = note.get(24..)?.split(|byte| *byte == 0);
    let mut text = || std::str::from_utf8(texts.next()?).ok();
    let (of, name) = (text()?, text()?);
    if of != provider {
        return None;
    }
    let moved = base.map_or(0, |base| base.wrapping_sub(base_then));
    let offset = |address: u64| elf.file_offset(Addr(address.wrapping_add(moved)));
    let arguments = text().unwrap_or_default().split_whitespace().take(ARGUMENTS_MAX);
    Some(StaticProbe {
        provider: of.to_owned(),
        name: name.to_owned(),
        file_offset: offset(address)?,
        count_offset: if count == 0 { 0 } else { offset(count)? },
        arguments: arguments.map(argument).collect(),
    })
}

/// `-4@8(%rsp)`: size, negative when signed, and operand.
fn argument(text: &str) -> Option<Argument> {
    let (size, operand) = text.split_once('@')?;
    let size: i8 = size.parse().ok()?;
    if ![1, 2, 4, 8].contains(&size.unsigned_abs()) {
        return None;
    }
    let operand = operand_of(operand)?;
    Some(Argument { size: size.unsigned_abs(), is_signed: size < 0, operand })
}

fn operand_of(text: &str) -> Option<Operand> {
    if let Some(number) = text.strip_prefix('$') {
        return number_of(number).map(Operand::Constant);
    }
    if let Some(name) = text.strip_prefix('%') {
        return register(name).map(Operand::Register);
    }
    let (offset, registers) = text.strip_suffix(')')?.split_once('(')?;
    let offset = if offset.is_empty() { 0 } else { number_of(offset)? };
    let mut parts = registers.split(',');
    let of = |name: &str| name.trim().strip_prefix('%').and_then(register);
    let base = match parts.next()?.trim() {
        "" => None,
        name => Some(of(name)?),
    };
    let index = match (parts.next(), parts.next()) {
        (None, _) => None,
        (Some(name), None) => Some((of(name)?, 1)),
        (Some(name), Some(scale)) => Some((of(name)?, scale.trim().parse().ok()?)),
    };
    Some(Operand::Memory { offset, base, index })
}

fn number_of(text: &str) -> Option<i64> {
    let (is_negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let number = match digits.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok()?,
        None => digits.parse().ok()?,
    };
    // Large constants are written without sign, small ones with.
    let number = number.cast_signed();
    Some(if is_negative { number.wrapping_neg() } else { number })
}

/// A register by any of its names: the size says how much of it counts.
fn register(name: &str) -> Option<Register> {
    Some(match name {
        "rax" | "eax" | "ax" | "al" => Register::Rax,
        "rbx" | "ebx" | "bx" | "bl" => Register::Rbx,
        "rcx" | "ecx" | "cx" | "cl" => Register::Rcx,
        "rdx" | "edx" | "dx" | "dl" => Register::Rdx,
        "rsi" | "esi" | "si" | "sil" => Register::Rsi,
        "rdi" | "edi" | "di" | "dil" => Register::Rdi,
        "rbp" | "ebp" | "bp" | "bpl" => Register::Rbp,
        "rsp" | "esp" | "sp" | "spl" => Register::Rsp,
        _ => match name.trim_end_matches(['d', 'w', 'b']) {
            "r8" => Register::R8,
            "r9" => Register::R9,
            "r10" => Register::R10,
            "r11" => Register::R11,
            "r12" => Register::R12,
            "r13" => Register::R13,
            "r14" => Register::R14,
            "r15" => Register::R15,
            _ => return None,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_where_the_compiler_put_them() {
        let of = |text| argument(text).map(|it| (it.size, it.is_signed, it.operand));
        let memory = |offset, base, index| Operand::Memory { offset, base, index };
        assert_eq!(of("8@%rdi"), Some((8, false, Operand::Register(Register::Rdi))));
        assert_eq!(of("-4@%r10d"), Some((4, true, Operand::Register(Register::R10))));
        assert_eq!(of("-4@$-7"), Some((4, true, Operand::Constant(-7))));
        assert_eq!(of("8@$18446744073709551615"), Some((8, false, Operand::Constant(-1))));
        let stack = memory(-24, Some(Register::Rbp), None);
        assert_eq!(of("8@-24(%rbp)"), Some((8, false, stack)));
        let array = memory(8, Some(Register::Rax), Some((Register::Rbx, 4)));
        assert_eq!(of("2@8(%rax,%rbx,4)"), Some((2, false, array)));
        assert_eq!(of("8@(,%rbx,8)"), Some((8, false, memory(0, None, Some((Register::Rbx, 8))))));
    }

    #[test]
    fn arguments_elsewhere_are_not_known() {
        for text in
            ["8@counter(%rip)", "8f@%xmm0", "8@", "@%rax", "3@%rax", "8@%ah", "8@(%rax", "x"]
        {
            assert_eq!(argument(text), None, "{text}");
        }
    }

    #[test]
    fn damaged_notes_end_the_list() {
        for note in [&b""[..], &[255; 12], &[8, 0, 0, 0, 255, 255, 255, 255, 3, 0, 0, 0, 0]] {
            assert_eq!(note_at(note, 0), None);
        }
        assert_eq!(note_at(&[0; 64], usize::MAX - 2), None);
    }
}
