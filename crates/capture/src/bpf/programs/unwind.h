// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//
// Stacks of compiled code, unwound in the kernel by tables that user space made of .eh_frame: C has
// no frame pointers, and what lies on a stack is known only now. Code without such tables (Go,
// compilers that run in the program) is unwound by frame pointers.
//
// The tables are of one process. A call costs two binary searches and two reads of its stack.
#pragma once
#include "common.h"

// Why a stack has no more calls.
enum end { END_OUTERMOST = 1, END_LOST = 2, END_DEEP = 3 };

struct stack {
	u32 frames, end;
	u64 addresses[FRAMES_MAX];  // innermost first
};

INLINE u64 mixed(u64 hash, u64 word)
{
	hash = (hash ^ word) * 0x9e3779b97f4a7c15;
	return hash ^ hash >> 29;
}

enum { CODE_MAX = 1 << 12, ROWS_LOG2_MAX = 24 };

// What user space says.
struct unwinding {
	u32 tgid;
	u32 half;         // which half of `code` counts
	u32 code[2];      // how many there are in each
	u32 has_rows;     // whether there is any: without, frame pointers are as good
	u32 unused;
};

// A mapping with code.
struct code {
	u64 start, end;
	u64 bias;         // what its addresses are above those of the linker
	u32 row, rows;    // what of `rows` is about it
};

// How the caller's registers are found, from an address on.
enum rule {
	RULE_NONE = 0,    // not told: by frame pointer
	RULE_SP = 1,      // the frame ends at sp + cfa
	RULE_BP = 2,      // at bp + cfa
	RULE_PLT = 3,     // a stub of the linker: at sp + 8, or + 16 behind its push
	RULE_DEREF = 4,   // where the word at bp + cfa points to
	RULE_OUTERMOST = 5,
	RULE_OTHER = 6,   // in a way that is not known here
};

enum bp_rule {
	BP_SAME = 0,
	BP_AT_CFA = 1,    // saved at the frame's end + bp
	BP_AT_BP = 2,     // saved at bp + bp
};

struct row {
	u32 address;      // of the linker
	s32 cfa;
	signed short bp;
	u8 rule, bp_rule;
};
_Static_assert(sizeof(struct row) == 12 && sizeof(struct code) == 32, "tables");

ARRAY(unwindings, 1, struct unwinding);
ARRAY(code, 2 * CODE_MAX, struct code);
// The loader sets its size.
ARRAY(rows, 1, struct row);

struct walk {
	u64 pc, sp, bp;
	u64 hash;
	struct stack *stack;  // where the addresses are kept, if they are
	u32 first, codes;     // of the half that counts
	u32 back;             // 1 when `pc` is behind a call
	u32 frames, end;
};

INLINE struct code *code_at(struct walk *walk, u64 pc)
{
	u32 low = 0, left = walk->codes;
#pragma clang loop unroll(disable)
	for (int i = 0; i < 13 && left; i++) {
		u32 at = walk->first + low + left / 2;
		struct code *found = map_lookup(&code, &at);
		if (!found)
			return 0;
		if (found->start <= pc) {
			low += left / 2 + 1;
			left -= left / 2 + 1;
		} else {
			left /= 2;
		}
	}
	u32 at = walk->first + low - 1;
	struct code *found = low ? map_lookup(&code, &at) : 0;
	return found && pc < found->end ? found : 0;
}

INLINE struct row *row_at(struct code *code, u64 pc)
{
	u32 first = code->row, low = 0, left = code->rows;
	u32 address = pc - code->bias;
#pragma clang loop unroll(disable)
	for (int i = 0; i < ROWS_LOG2_MAX && left; i++) {
		u32 at = first + low + left / 2;
		struct row *row = map_lookup(&rows, &at);
		if (!row)
			return 0;
		if (row->address <= address) {
			low += left / 2 + 1;
			left -= left / 2 + 1;
		} else {
			left /= 2;
		}
	}
	u32 at = first + low - 1;
	return low ? map_lookup(&rows, &at) : 0;
}

INLINE long ends(struct walk *walk, u32 end)
{
	walk->end = end;
	return 1;
}

// One call outwards by the frame pointer; nothing tells whether there is one.
INLINE long by_frame_pointer(struct walk *walk)
{
	u64 frame[2];
	if (!walk->bp)
		return ends(walk, END_OUTERMOST);
	if (walk->bp & 7 || read_user(frame, sizeof(frame), (void *)walk->bp))
		return ends(walk, END_LOST);
	if (!frame[1])
		return ends(walk, END_OUTERMOST);
	if (!code_at(walk, frame[1] - 1))
		return ends(walk, END_LOST);
	walk->sp = walk->bp + 16;
	walk->bp = frame[0];
	walk->pc = frame[1];
	return 0;
}

INLINE long by_row(struct walk *walk, struct row *row)
{
	u64 cfa = 0, bp = walk->bp;
	if (row->rule == RULE_OUTERMOST)
		return ends(walk, END_OUTERMOST);
	if (row->rule == RULE_SP)
		cfa = walk->sp + row->cfa;
	else if (row->rule == RULE_BP)
		cfa = walk->bp + row->cfa;
	else if (row->rule == RULE_PLT)
		cfa = walk->sp + ((walk->pc & 15) >= 11 ? 16 : 8);
	else if (row->rule != RULE_DEREF || read_user(&cfa, 8, (void *)(walk->bp + row->cfa)))
		return ends(walk, END_LOST);
	if (cfa <= walk->sp)
		return ends(walk, END_LOST);
	if (row->bp_rule == BP_AT_CFA && read_user(&bp, 8, (void *)(cfa + row->bp)))
		return ends(walk, END_LOST);
	if (row->bp_rule == BP_AT_BP && read_user(&bp, 8, (void *)(walk->bp + row->bp)))
		return ends(walk, END_LOST);
	if (read_user(&walk->pc, 8, (void *)(cfa - 8)))
		return ends(walk, END_LOST);
	walk->sp = cfa;
	walk->bp = bp;
	return walk->pc ? 0 : ends(walk, END_OUTERMOST);
}

// Notes an address, and goes to the one outside of it.
static long unwind_step(u32 index, struct walk *walk)
{
	if (index >= FRAMES_MAX)
		return 1;
	if (walk->stack)
		walk->stack->addresses[index] = walk->pc;
	walk->frames++;
	walk->hash = mixed(walk->hash, walk->pc);
	// Of a call itself, which may be the last instruction of its function.
	u64 pc = walk->pc - walk->back;
	walk->back = 1;
	struct code *code = code_at(walk, pc);
	struct row *row = code ? row_at(code, pc) : 0;
	if (row && row->rule != RULE_NONE)
		return by_row(walk, row);
	return by_frame_pointer(walk);
}

// Walks the stack of these registers. `back` is 1 where they are those behind a call, 0 where they
// are those of an instruction that has not been completed.
INLINE void unwind(struct walk *walk, struct unwinding *unwinding, struct pt_regs *registers, u32 back)
{
	u32 half = unwinding->half & 1;
	walk->pc = registers->ip;
	walk->sp = registers->sp;
	walk->bp = registers->bp;
	walk->hash = 1;
	walk->first = half * CODE_MAX;
	walk->codes = half ? unwinding->code[1] : unwinding->code[0];
	walk->back = back;
	walk->frames = 0;
	walk->end = END_DEEP;
	loop(FRAMES_MAX, unwind_step, walk, 0);
}
