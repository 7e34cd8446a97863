//! The functions of memory allocators in an object, by the names they have: those of C and C++, and
//! those that jemalloc, tcmalloc and mimalloc add.

use ahash::AHashMap;
use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic};
use model::Addr;

use crate::code;
use crate::elf::Elf;

/// Where an allocator's function has what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Signature {
    /// `(size, ..)`
    Size,
    /// `(alignment, size)`
    SecondSize,
    /// `(number, size)`
    Product,
    /// `(old, size, ..)`
    Realloc,
    /// `(old, number, size)`
    ReallocProduct,
    /// `(result, alignment, size)`; returns 0 when it succeeded.
    ByPointer,
    /// `(address, ..)`
    Free,
}

/// A function of an allocator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllocatorFunction {
    /// What it is called; one name of several.
    pub name: String,
    /// Where it has what.
    pub signature: Signature,
    /// Where a probe goes, as an offset in the file: arguments and stack are there as they are
    /// where the function begins.
    pub file_offset: u64,
    /// It may call another of these functions for what it is asked for, as far as is known.
    pub may_call: bool,
    /// It throws an exception when there is no memory. A probe of its return changes the return
    /// address on the stack, past which an exception does not find its way: the program would end.
    pub may_throw: bool,
}

/// All names that are known are shorter.
const NAME_MAX: usize = 64;

/// The functions of allocators that an object has, by offset.
pub fn functions(elf: &Elf<'_>) -> Vec<AllocatorFunction> {
    let mut by_address: AHashMap<Addr, (&str, Signature)> = AHashMap::new();
    let named = elf.functions(NAME_MAX);
    let has_operators = named.iter().any(|(name, _)| {
        matches!(*name, "mallocx" | "je_mallocx" | "je_malloc" | "tc_malloc" | "mi_malloc")
    });
    // Its calloc is made of the same parts as its malloc; that of others may call theirs.
    let is_glibc = named.iter().any(|(name, _)| *name == "gnu_get_libc_version");
    for (name, address) in named {
        let found = signature(name).or_else(|| operator(name).filter(|_| has_operators));
        let Some(signature) = found else { continue };
        // The plain name says most.
        let known = by_address.entry(address).or_insert((name, signature));
        if (name.starts_with('_'), name.len(), name)
            < (known.0.starts_with('_'), known.0.len(), known.0)
        {
            *known = (name, signature);
        }
    }
    let mut functions: Vec<AllocatorFunction> = by_address
        .iter()
        .filter_map(|(address, (name, signature))| {
            let code = elf.bytes_at(*address)?;
            let jump = jump(code, address.0);
            // One that jumps to another is seen there.
            if jump.is_some_and(|to| by_address.contains_key(&Addr(to))) {
                return None;
            }
            let place = address.checked_add(code::probe_place(code))?;
            Some(AllocatorFunction {
                name: (*name).to_owned(),
                signature: *signature,
                file_offset: elf.file_offset(place)?,
                may_call: match signature {
                    // What aligns asks the function of C that does.
                    Signature::Size => jump.is_some() || name.contains("align"),
                    Signature::Product => !is_glibc,
                    _ => true,
                },
                may_throw: may_throw(name),
            })
        })
        .collect();
    functions.sort_by_key(|function| function.file_offset);
    functions
}

fn signature(name: &str) -> Option<Signature> {
    // What C libraries call their own, and the prefixes of allocators that stand beside them.
    let prefixes = ["__libc_", "je_", "tc_", "mi_"];
    let plain = prefixes.iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name);
    Some(match plain {
        "malloc" | "valloc" | "pvalloc" => Signature::Size,
        "mallocx" => Signature::Size,
        "memalign" | "aligned_alloc" => Signature::SecondSize,
        "calloc" => Signature::Product,
        "realloc" | "reallocf" | "rallocx" => Signature::Realloc,
        "reallocarray" => Signature::ReallocProduct,
        "posix_memalign" => Signature::ByPointer,
        "free" | "cfree" | "free_sized" | "free_aligned_sized" | "dallocx" | "sdallocx" => {
            Signature::Free
        }
        _ => return of_one_allocator(name),
    })
}

/// What only tcmalloc or mimalloc has.
fn of_one_allocator(name: &str) -> Option<Signature> {
    Some(match name {
        "tc_malloc_skip_new_handler" => Signature::Size,
        "mi_malloc_small" | "mi_zalloc" | "mi_zalloc_small" | "mi_malloc_aligned"
        | "mi_zalloc_aligned" => Signature::Size,
        "mi_mallocn" | "mi_new_n" => Signature::Product,
        "mi_rezalloc" | "mi_realloc_aligned" | "mi_rezalloc_aligned" => Signature::Realloc,
        "mi_reallocn" | "mi_recalloc" => Signature::ReallocProduct,
        "mi_free_size" | "mi_free_size_aligned" | "mi_free_aligned" => Signature::Free,
        _ if name.starts_with("tc_new") => Signature::Size,
        "mi_new" | "mi_new_nothrow" | "mi_new_aligned" | "mi_new_aligned_nothrow" => {
            Signature::Size
        }
        _ if name.starts_with("tc_delete") || name == "tc_free_sized" => Signature::Free,
        _ => return None,
    })
}

/// The operators of C++. Those of its library call malloc; only allocators have others.
fn operator(name: &str) -> Option<Signature> {
    if name.starts_with("_Znwm") || name.starts_with("_Znam") {
        return Some(Signature::Size);
    }
    let is_delete = name.starts_with("_ZdlPv") || name.starts_with("_ZdaPv");
    is_delete.then_some(Signature::Free)
}

/// The operators that are not for who wants no exception, and what allocators call the same.
fn may_throw(name: &str) -> bool {
    let prefixes = ["_Znwm", "_Znam", "tc_new", "mi_new"];
    let is_operator = prefixes.iter().any(|prefix| name.starts_with(prefix));
    is_operator && !name.contains("nothrow")
}

/// Where a function jumps to at once.
fn jump(code: &[u8], address: u64) -> Option<u64> {
    let mut decoder =
        Decoder::with_ip(64, code.get(..24).unwrap_or(code), address, DecoderOptions::NONE);
    let mut instruction = Instruction::default();
    while decoder.can_decode() {
        decoder.decode_out(&mut instruction);
        if instruction.mnemonic() != Mnemonic::Endbr64 {
            break;
        }
    }
    let is_jump = instruction.flow_control() == FlowControl::UnconditionalBranch;
    is_jump.then(|| instruction.near_branch_target())
}

#[cfg(test)]
mod tests {
    use super::{Signature, jump, may_throw, operator, signature};

    #[test]
    fn names_have_signatures() {
        assert_eq!(signature("malloc"), Some(Signature::Size));
        assert_eq!(signature("__libc_memalign"), Some(Signature::SecondSize));
        assert_eq!(signature("je_sdallocx"), Some(Signature::Free));
        assert_eq!(signature("mi_new_n"), Some(Signature::Product));
        assert_eq!(signature("malloc_usable_size"), None);
        assert_eq!(signature("my_malloc"), None);
        assert_eq!(operator("_ZnwmSt11align_val_t"), Some(Signature::Size));
        assert_eq!(operator("_ZdaPvm"), Some(Signature::Free));
        assert_eq!(operator("_ZN3foo3barEv"), None);
        let throwing = ["_Znwm", "_ZnamRKSt9nothrow_t", "mi_new_n", "malloc"].map(may_throw);
        assert_eq!(throwing, [true, false, true, false]);
    }

    #[test]
    fn functions_that_jump_on_are_told() {
        // endbr64; jmp +0x10
        let code = [0xf3, 0x0f, 0x1e, 0xfa, 0xe9, 0x10, 0, 0, 0];
        assert_eq!(jump(&code, 0x1000), Some(0x1019));
        assert_eq!(jump(&[0x55, 0xe9, 0, 0, 0, 0], 0x1000), None);
    }
}
