//! Where in a compiled function a probe costs least: on an instruction that the kernel emulates.
//! All others it single-steps, in a copy, which is a second trap.

use iced_x86::{
    Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess,
    OpKind, Register,
};

/// Bytes that are looked through.
const LOOK_MAX: usize = 48;

/// What must be as it was at the beginning: arguments and the stack.
const KEPT: [Register; 7] = [
    Register::RDI,
    Register::RSI,
    Register::RDX,
    Register::RCX,
    Register::R8,
    Register::R9,
    Register::RSP,
];

/// How far into a function of C a probe goes: to the first instruction that the kernel emulates,
/// as long as arguments and stack are there as they were; else to the beginning. Every call comes
/// by, as it is not behind a branch.
pub fn probe_place(code: &[u8]) -> u64 {
    let code = code.get(..LOOK_MAX).unwrap_or(code);
    let mut decoder = Decoder::new(64, code, DecoderOptions::NONE);
    let mut instruction = Instruction::default();
    let mut factory = InstructionInfoFactory::new();
    while decoder.can_decode() {
        decoder.decode_out(&mut instruction);
        if instruction.is_invalid() {
            return 0;
        }
        if is_emulated(&instruction) {
            return instruction.ip();
        }
        let used = factory.info(&instruction).used_registers();
        let changes = used.iter().any(|used| {
            let is_read = matches!(used.access(), OpAccess::Read | OpAccess::CondRead);
            !is_read && KEPT.contains(&used.register().full_register())
        });
        if changes || instruction.flow_control() != FlowControl::Next {
            return 0;
        }
    }
    0
}

/// Reports whether the kernel emulates an instruction (arch/x86/kernel/uprobes.c).
fn is_emulated(instruction: &Instruction) -> bool {
    match instruction.mnemonic() {
        Mnemonic::Push => {
            instruction.op0_kind() == OpKind::Register && instruction.op0_register().is_gpr64()
        }
        Mnemonic::Nop => instruction.len() == 1,
        _ => instruction.is_jcc_short_or_near() || instruction.is_jmp_short_or_near(),
    }
}

#[cfg(test)]
mod tests {
    use super::probe_place;

    #[test]
    fn the_first_instruction_that_is_emulated_is_taken() {
        // endbr64; push %r12
        assert_eq!(probe_place(&[0xf3, 0x0f, 0x1e, 0xfa, 0x41, 0x54]), 4);
        // push %rbp
        assert_eq!(probe_place(&[0x55]), 0);
        // test %rdi,%rdi; je
        assert_eq!(probe_place(&[0x48, 0x85, 0xff, 0x74, 0x10]), 3);
        // mov %rdi,%rax; push %r13
        assert_eq!(probe_place(&[0x48, 0x89, 0xf8, 0x41, 0x55]), 3);
        // mov %rdi,%rax; ret; push %rbp
        assert_eq!(probe_place(&[0x48, 0x89, 0xf8, 0xc3, 0x55]), 0);
    }

    #[test]
    fn what_changes_an_argument_or_the_stack_is_not_passed() {
        // sub $0x18,%rsp; push %rbp
        assert_eq!(probe_place(&[0x48, 0x83, 0xec, 0x18, 0x55]), 0);
        // mov %edi,%edi; push %rbp
        assert_eq!(probe_place(&[0x89, 0xff, 0x55]), 0);
        // mul %rdx; push %rbp: into rdx
        assert_eq!(probe_place(&[0x48, 0xf7, 0xe2, 0x55]), 0);
        assert_eq!(probe_place(&[]), 0);
    }
}
