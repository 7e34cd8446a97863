// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//
// A table of user stacks by a hash of their frames, for programs that count by stack: one walk and
// one lookup for each event, one insertion for each stack. Only for programs that nothing else on
// their processor runs in the midst of (tracepoints, not uprobes).
#pragma once
#include "unwind.h"

// 35 MB when it is full.
struct {
	MAP_TYPE(MAP_HASH);
	MAP_FLAGS(NO_PREALLOC);
	MAP_ENTRIES(STACKS_MAX);
	u64 *key;
	struct stack *value;
} stacks SEC(".maps");

SCRATCH(stack_scratch, stack);

// Walks by frame pointers.
INLINE u64 kernel_walk(void *ctx, struct stack *stack)
{
	long read = get_stack(ctx, stack->addresses, sizeof(stack->addresses), USER_STACK);
	if (read <= 0)
		return 0;
	u32 frames = read / 8;
	u64 hash = frames;
	for (u32 i = 0; i < FRAMES_MAX && i < frames; i++)
		hash = mixed(hash, stack->addresses[i]);
	stack->frames = frames;
	stack->end = END_OUTERMOST;
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
	u64 hash = 0;
	if (unwinding->has_rows && unwinding->tgid == current_tgid()) {
		struct walk walk = { .stack = stack };
		unwind(&walk, unwinding, user_registers(current_task()), 0);
		stack->frames = walk.frames;
		stack->end = walk.end;
		hash = walk.hash;
	} else {
		hash = kernel_walk(ctx, stack);
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
