//! Where a probe goes into a Go function: `push %rbp`.
//!
//! A function begins with the check for stack space (`cmp 0x10(%r14),%rsp; jbe`), then sets up its
//! frame (`push %rbp; mov %rsp,%rbp`). On the push the arguments still are in their registers, the
//! kernel emulates the instruction instead of single-stepping it, the caller can be read off the
//! stack, and a stack that has to grow, which runs the function from its entry again, is not
//! counted twice.

use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic, OpKind, Register};
use model::Addr;

use super::{Attached, Binary, RuntimeError};
use crate::elf::Elf;

/// A place in a file for a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbePoint {
    /// Its address as linked.
    pub address: Addr,
    /// Where it lies in the file.
    pub file_offset: u64,
}

/// Bytes that are looked through: a check of a large frame takes 25.
const PROLOGUE_MAX: usize = 48;

impl Binary {
    /// Where to probe functions of a Go program; `None` for each that it does not have, or whose
    /// beginning is not as the compiler writes it. The entry would do, but single-stepped and
    /// called twice when the stack grows.
    ///
    /// # Errors
    /// When the executable is damaged.
    pub fn probe_points(
        &self,
        file: &[u8],
        attached: &Attached,
        functions: &[&str],
    ) -> Result<Vec<Option<ProbePoint>>, RuntimeError> {
        let elf = Elf::parse(file)?;
        let table = self.table(&elf, attached)?;
        let point = |entry: Addr| {
            let code = elf.bytes_at(entry)?;
            let skip = frame_push(code.get(..PROLOGUE_MAX.min(code.len()))?)?;
            let address = entry.checked_add(skip)?;
            let file_offset = elf.file_offset(address)?;
            Some(ProbePoint { address, file_offset })
        };
        let found = table.funcs_named(functions);
        Ok(found.into_iter().map(|func| point(func?.entry)).collect())
    }
}

/// How far into a function `push %rbp` is, when nothing before it changes an argument.
fn frame_push(code: &[u8]) -> Option<u64> {
    let mut decoder = Decoder::new(64, code, DecoderOptions::NONE);
    let mut instruction = Instruction::default();
    while decoder.can_decode() {
        decoder.decode_out(&mut instruction);
        if instruction.mnemonic() == Mnemonic::Push && instruction.op0_register() == Register::RBP {
            return Some(instruction.ip());
        }
        let is_check = match instruction.mnemonic() {
            Mnemonic::Cmp | Mnemonic::Jbe | Mnemonic::Jb | Mnemonic::Nop => true,
            // What the stack pointer would become, in a register that is free.
            Mnemonic::Lea | Mnemonic::Mov | Mnemonic::Sub => {
                instruction.op0_kind() == OpKind::Register
                    && [Register::R12, Register::R13].contains(&instruction.op0_register())
            }
            _ => false,
        };
        if !is_check || instruction.flow_control() == FlowControl::Return {
            return None;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::frame_push;

    #[test]
    fn the_push_is_found_behind_each_kind_of_check() {
        // cmp 0x10(%r14),%rsp; jbe; push %rbp; mov %rsp,%rbp
        let small = [0x49, 0x3b, 0x66, 0x10, 0x76, 0x20, 0x55, 0x48, 0x89, 0xe5];
        assert_eq!(frame_push(&small), Some(6));
        // lea -0x1f8(%rsp),%r12; cmp 0x10(%r14),%r12; jbe near; push %rbp
        let large = [
            0x4c, 0x8d, 0xa4, 0x24, 0x08, 0xfe, 0xff, 0xff, 0x4d, 0x3b, 0x66, 0x10, 0x0f, 0x86,
            0x11, 0x02, 0x00, 0x00, 0x55,
        ];
        assert_eq!(frame_push(&large), Some(18));
        // mov %rsp,%r12; sub $0x12345,%r12; jb; cmp; jbe; push %rbp
        let huge = [
            0x49, 0x89, 0xe4, 0x49, 0x81, 0xec, 0x45, 0x23, 0x01, 0x00, 0x72, 0x30, 0x4d, 0x3b,
            0x66, 0x10, 0x76, 0x20, 0x55,
        ];
        assert_eq!(frame_push(&huge), Some(18));
        // Without a check.
        assert_eq!(frame_push(&[0x55, 0x48, 0x89, 0xe5]), Some(0));
    }

    #[test]
    fn what_changes_an_argument_is_no_prologue() {
        // mov %rbx,%rax; push %rbp
        assert_eq!(frame_push(&[0x48, 0x89, 0xd8, 0x55]), None);
        // ret
        assert_eq!(frame_push(&[0xc3, 0x55]), None);
        assert_eq!(frame_push(&[0x49, 0x3b]), None);
        assert_eq!(frame_push(&[]), None);
    }
}
