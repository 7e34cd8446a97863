// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//
// A table of user stacks by a hash of their frames, for programs that count by stack: one walk and
// one lookup for each event, one insertion for each stack. Only for programs that nothing else on
// their processor runs in the midst of (tracepoints, not uprobes).
#pragma once
#include "frames.h"
#include "unwind.h"

// 35 MB when it is full.
TABLE(stacks, STACKS_MAX, u64, struct stack);

SCRATCH(stack_scratch, stack);

// Code of 32 bits has other frames; the kernel knows them.
enum { CODE_OF_32_BITS = 0x23 };

INLINE u64 frames_walk(void *ctx, struct stack *stack, struct pt_regs *registers)
{
	if (registers->cs == CODE_OF_32_BITS) {
		long read = get_stack(ctx, stack->addresses, sizeof(stack->addresses), USER_STACK);
		if (read <= 0)
			return 0;
		stack->frames = read / 8;
	} else {
		stack->frames = walk_frames(stack->addresses, registers);
	}
	stack->end = END_OUTERMOST;
	u64 hash = stack->frames;
	for (u32 i = 0; i < FRAMES_MAX && i < stack->frames; i++)
		hash = mixed(hash, stack->addresses[i]);
	return hash;
}

// The id of the user stack that we are in; 0 when it is not known: it could not be read, or the
// table was full, which is counted.
INLINE u64 stack_id(void *ctx)
{
	struct stack *stack = scratch(&stack_scratch);
	struct unwinding *unwinding = scratch(&unwindings);
	if (!stack || !unwinding)
		return 0;
	struct pt_regs *registers = user_registers(current_task());
	u64 hash = 0;
	if (unwinding->has_rows && unwinding->tgid == current_tgid()) {
		struct walk walk = { .stack = stack };
		unwind(&walk, unwinding, registers, 0);
		stack->frames = walk.frames;
		stack->end = walk.end;
		hash = walk.hash;
	} else {
		hash = frames_walk(ctx, stack, registers);
	}
	if (!hash) {
		count(COUNT_NO_STACK);
		return 0;
	}
	if (map_lookup(&stacks, &hash))
		return hash;
	// What lies behind its frames is of stacks before; nobody looks at it.
	if (map_update(&stacks, &hash, stack, ANY)) {
		count(COUNT_MAP_FULL);
		return 0;
	}
	return hash;
}
