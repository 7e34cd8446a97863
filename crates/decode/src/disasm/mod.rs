//! x86-64 machine code in the syntax of Go's assembler, as `go tool objdump` and
//! `go tool pprof` print it (golang.org/x/arch/x86/x86asm, plan9x.go).

mod plan9;

use iced_x86::{Decoder, DecoderOptions};

/// An instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Where it lies.
    pub address: u64,
    /// What it does; `?` for bytes that are no instruction.
    pub text: String,
}

/// Name and start of the symbol that holds an address.
pub type Lookup<'a> = &'a dyn Fn(u64) -> Option<(String, u64)>;

/// Disassembles `code`, which lies at `address`.
pub fn x86_64(code: &[u8], address: u64, lookup: Lookup<'_>) -> Vec<Instruction> {
    let mut instructions = Vec::new();
    let mut at = 0;
    while let Some(rest) = code.get(at..).filter(|rest| !rest.is_empty()) {
        let pc = address.wrapping_add(at as u64);
        let mut decoder = Decoder::with_ip(64, rest, pc, DecoderOptions::NONE);
        let decoded = decoder.decode();
        let (text, len) = match decoded.is_invalid() {
            true => ("?".to_owned(), 1),
            false => (plan9::text(&decoded, rest, lookup), decoded.len()),
        };
        instructions.push(Instruction { address: pc, text });
        at += len.max(1);
    }
    instructions
}

#[cfg(test)]
mod tests;
