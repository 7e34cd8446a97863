//! One instruction in Go's syntax: operands from left to right, sizes as suffixes,
//! registers without them.

use iced_x86::{Code, Instruction, Mnemonic, OpKind, Register};

use super::Lookup;

/// Operations whose name carries their size.
const WITH_SUFFIX: [Mnemonic; 57] = {
    use Mnemonic::*;
    [
        Adc, Add, And, Bsf, Bsr, Bt, Btc, Btr, Bts, Cmp, Cmpxchg, Cvtsi2sd, Cvtsi2ss, Cvtsd2si,
        Cvtss2si, Cvttsd2si, Cvttss2si, Dec, Div, Fldenv, Frstor, Idiv, Imul, In, Inc, Lea, Mov,
        Movnti, Mul, Neg, Nop, Not, Or, Out, Pop, Popa, Popcnt, Push, Pusha, Rcl, Rcr, Rol, Ror,
        Sar, Sbb, Shl, Shld, Shr, Shrd, Sub, Test, Xadd, Xchg, Xor, Popad, Pushad, Sal,
    ]
};

pub(super) fn text(instruction: &Instruction, bytes: &[u8], lookup: Lookup<'_>) -> String {
    if instruction.mnemonic() == Mnemonic::Int3 {
        return "INT $0x3".to_owned();
    }
    let mut operands: Vec<String> = (0..instruction.op_count())
        .rev()
        .map(|index| operand(instruction, index, lookup))
        .collect();
    // Comparisons read from left to right (go.dev/issue/60920).
    if instruction.mnemonic() == Mnemonic::Cmp {
        operands.swap(0, 1);
    }
    let mut text = String::new();
    if instruction.has_rep_prefix() && !is_mandatory(instruction) {
        text.push_str("REP; ");
    } else if instruction.has_repne_prefix() && !is_mandatory(instruction) {
        text.push_str("REPNE; ");
    }
    if instruction.has_lock_prefix() {
        text.push_str("LOCK ");
    }
    text.push_str(&name(instruction));
    if WITH_SUFFIX.contains(&instruction.mnemonic()) {
        text.push_str(match size(instruction, bytes) {
            8 => "B",
            16 => "W",
            32 => "L",
            64 => "Q",
            _ => "",
        });
    }
    if !operands.is_empty() {
        text.push(' ');
        text.push_str(&operands.join(", "));
    }
    text
}

/// The prefix is part of the operation's code.
fn is_mandatory(instruction: &Instruction) -> bool {
    instruction.mnemonic() == Mnemonic::Pause
}

fn name(instruction: &Instruction) -> String {
    let name = format!("{:?}", instruction.mnemonic()).to_uppercase();
    let has_vector = (0..instruction.op_count()).any(|i| instruction.op_register(i).is_xmm());
    match name.as_str() {
        "MOVSD" | "CMPSD" if has_vector => format!("{name}_XMM"),
        "SAL" => "SHL".to_owned(),
        _ => name,
    }
}

/// Bits that the operation works on.
fn size(instruction: &Instruction, bytes: &[u8]) -> usize {
    let memory = instruction.memory_size().size();
    let has_memory =
        (0..instruction.op_count()).any(|index| instruction.op_kind(index) == OpKind::Memory);
    if has_memory && memory > 0 && instruction.mnemonic() != Mnemonic::Nop {
        return memory * 8;
    }
    if instruction.op_count() == 1 && instruction.op0_register().is_gpr64() {
        return 64;
    }
    data_size(instruction, bytes)
}

fn data_size(instruction: &Instruction, bytes: &[u8]) -> usize {
    match instruction.code() {
        Code::Nopw | Code::Nop_rm16 => return 16,
        Code::Nopd | Code::Nop_rm32 => return 32,
        Code::Nopq | Code::Nop_rm64 => return 64,
        _ => {}
    }
    // Registers of one byte do not say so in Go's table of operations.
    let wide = [instruction.op0_register(), instruction.op1_register()];
    let wide = wide.into_iter().find(|register| register.is_gpr() && register.size() > 1);
    if let Some(register) = wide {
        return register.size() * 8;
    }
    if has_rex_w(bytes) { 64 } else { 32 }
}

/// Reports whether the prefix right before the operation widens it to 64 bits.
fn has_rex_w(bytes: &[u8]) -> bool {
    const LEGACY: [u8; 11] = [0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x2e, 0x36, 0x3e, 0x26, 0x64, 0x65];
    let rex = bytes.iter().find(|byte| !LEGACY.contains(byte));
    rex.is_some_and(|byte| byte & 0xf8 == 0x48)
}

fn operand(instruction: &Instruction, index: u32, lookup: Lookup<'_>) -> String {
    match instruction.op_kind(index) {
        OpKind::Register => register(instruction.op_register(index)),
        OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64 => {
            let target = instruction.near_branch_target();
            match lookup(target) {
                Some((name, start)) if start == target => format!("{name}(SB)"),
                _ => format!("{target:#x}"),
            }
        }
        OpKind::Memory => memory(instruction, lookup),
        OpKind::MemoryESDI | OpKind::MemoryESEDI | OpKind::MemoryESRDI => "ES:0(DI)".to_owned(),
        OpKind::MemorySegDI | OpKind::MemorySegEDI | OpKind::MemorySegRDI => "DS:0(DI)".to_owned(),
        OpKind::MemorySegSI | OpKind::MemorySegESI | OpKind::MemorySegRSI => "DS:0(SI)".to_owned(),
        _ => immediate(instruction, index, lookup),
    }
}

fn immediate(instruction: &Instruction, index: u32, lookup: Lookup<'_>) -> String {
    let value = instruction.immediate(index).cast_signed();
    let value = match instruction.op_kind(index) {
        OpKind::Immediate16 => i64::from(value as i16),
        OpKind::Immediate32 => i64::from(value as i32),
        _ => value,
    };
    // A 32-bit constant that is moved may be an address (go.dev/issue/72942).
    let is_moved = matches!(instruction.mnemonic(), Mnemonic::Mov | Mnemonic::Push);
    if is_moved
        && instruction.op_kind(index) == OpKind::Immediate32
        && let Some((name, start)) = lookup(value.cast_unsigned())
    {
        return match value.cast_unsigned().wrapping_sub(start) {
            0 => format!("${name}(SB)"),
            offset => format!("${name}+{offset}(SB)"),
        };
    }
    match i64::from(value as i32) == value && value < 0 {
        true => format!("$-{:#x}", value.unsigned_abs()),
        false => format!("${:#x}", value.cast_unsigned()),
    }
}

/// Moves between the accumulator and an address of eight bytes.
fn is_whole_address(code: Code) -> bool {
    use Code::{
        Mov_AL_moffs8, Mov_AX_moffs16, Mov_EAX_moffs32, Mov_RAX_moffs64, Mov_moffs8_AL,
        Mov_moffs16_AX, Mov_moffs32_EAX, Mov_moffs64_RAX,
    };
    matches!(
        code,
        Mov_AL_moffs8
            | Mov_AX_moffs16
            | Mov_EAX_moffs32
            | Mov_RAX_moffs64
            | Mov_moffs8_AL
            | Mov_moffs16_AX
            | Mov_moffs32_EAX
            | Mov_moffs64_RAX
    )
}

fn memory(instruction: &Instruction, lookup: Lookup<'_>) -> String {
    let base = instruction.memory_base();
    let index = instruction.memory_index();
    let segment = instruction.segment_prefix();
    let is_relative = instruction.is_ip_rel_memory_operand();
    let displacement = match is_relative {
        true => {
            let target = instruction.ip_rel_memory_address();
            target.wrapping_sub(instruction.next_ip()).cast_signed()
        }
        false => instruction.memory_displacement64().cast_signed(),
    };
    // Go reads the four bytes of a displacement without their sign.
    let displacement = match instruction.memory_displ_size() {
        4 | 8 if !is_whole_address(instruction.code()) => displacement & 0xffff_ffff,
        _ => displacement,
    };
    if segment == Register::None && index == Register::None && displacement != 0 {
        let target = match (is_relative, base) {
            (true, _) => Some(instruction.ip_rel_memory_address()),
            (false, Register::None) => Some(displacement.cast_unsigned()),
            _ => None,
        };
        if let Some((target, (name, start))) = target.and_then(|t| Some((t, lookup(t)?))) {
            return match target.wrapping_sub(start) {
                0 => format!("{name}(SB)"),
                offset => format!("{name}+{offset}(SB)"),
            };
        }
    }
    let mut text = String::new();
    if segment != Register::None {
        text.push_str(&format!("{}:", register(segment)));
    }
    text.push_str(&match displacement {
        0 => "0".to_owned(),
        1.. => format!("{displacement:#x}"),
        _ => format!("-{:#x}", displacement.unsigned_abs()),
    });
    if is_relative {
        text.push_str("(IP)");
    } else if base != Register::None {
        text.push_str(&format!("({})", register(base)));
    }
    if index != Register::None {
        text.push_str(&format!("({}*{})", register(index), instruction.memory_index_scale()));
    }
    text
}

/// A register without its size.
fn register(register: Register) -> String {
    if register.is_xmm() || register.is_ymm() || register.is_zmm() {
        let prefix = match register {
            register if register.is_xmm() => "X",
            register if register.is_ymm() => "Y",
            _ => "Z",
        };
        return format!("{prefix}{}", register.number());
    }
    if matches!(register, Register::AH | Register::BH | Register::CH | Register::DH)
        || register.is_gpr8() && register.number() < 4
    {
        return format!("{register:?}").to_uppercase();
    }
    if register.is_gpr() {
        return match register.full_register() {
            Register::RAX => "AX".to_owned(),
            Register::RBX => "BX".to_owned(),
            Register::RCX => "CX".to_owned(),
            Register::RDX => "DX".to_owned(),
            Register::RSP => "SP".to_owned(),
            Register::RBP => "BP".to_owned(),
            Register::RSI => "SI".to_owned(),
            Register::RDI => "DI".to_owned(),
            other => format!("{other:?}").to_uppercase(),
        };
    }
    format!("{register:?}").to_uppercase()
}
