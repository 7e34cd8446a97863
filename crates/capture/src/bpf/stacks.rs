//! The kernel's tables of user stacks (programs/unwind.h): each stack is there once, however often it
//! is counted.

use model::Addr;
use model::probe::{CallStack, StackEnd};

use super::object::Object;
use super::record::FRAMES_MAX;

#[repr(C)]
#[derive(Clone, Copy)]
struct Stack {
    frames: u32,
    end: u32,
    addresses: [u64; FRAMES_MAX],
}

const _: () = assert!(size_of::<Stack>() == 1024);

// SAFETY: integers, any bytes are a value.
unsafe impl aya::Pod for Stack {}

/// A stack by its key; `None` when it is not known.
pub(super) fn call_stack(object: &mut Object, id: u64) -> Option<CallStack> {
    let stack = object.table::<u64, Stack>("stacks").get(&id, 0).ok()?;
    let frames = (stack.frames as usize).min(FRAMES_MAX);
    let end = match stack.end {
        1 => StackEnd::Outermost,
        3 => StackEnd::Deep,
        _ => StackEnd::Lost,
    };
    Some(CallStack { calls: stack.addresses[..frames].iter().copied().map(Addr).collect(), end })
}

/// The addresses of a stack, innermost first; empty when it is not known.
pub(super) fn frames(object: &mut Object, id: u64) -> Vec<Addr> {
    let stack = (id != 0).then(|| call_stack(object, id)).flatten();
    stack.map_or_else(Vec::new, |stack| stack.calls)
}
