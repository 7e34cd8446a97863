// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//
// Calls of some processes that change their mappings, with arguments, result and the stack.
//
// Every system call of the machine comes by here, so that what is cheapest comes first: its number.
// Calls are told as they return: of two threads, one of which is given at once what the other gives
// up, the second may be told first, if the first is held up on the last steps out of the kernel.
#include "stacks.h"

// The processes, and where the heap of brk of each ends.
TABLE(targets, 1 << 10, u32, u64);

// On x86-64.
enum { CALL_MMAP = 9, CALL_MPROTECT = 10, CALL_MUNMAP = 11, CALL_BRK = 12, CALL_MREMAP = 25, CALL_MADVISE = 28 };
enum { CALL_EXECVE = 59, CALL_EXECVEAT = 322, CALL_PKEY_MPROTECT = 329 };
enum { MADV_DONTNEED = 4, MADV_FREE = 8, MADV_REMOVE = 9, MADV_DONTNEED_LOCKED = 24 };

INLINE bool is_exec(u64 number)
{
	return number == CALL_EXECVE || number == CALL_EXECVEAT;
}

INLINE bool is_ours(u64 number)
{
	return (number >= CALL_MMAP && number <= CALL_BRK) || number == CALL_MREMAP ||
	       number == CALL_MADVISE || number == CALL_PKEY_MPROTECT || is_exec(number);
}

INLINE bool gives_back(u64 advice)
{
	return advice == MADV_DONTNEED || advice == MADV_FREE || advice == MADV_REMOVE ||
	       advice == MADV_DONTNEED_LOCKED;
}

INLINE u64 current_task_brk(void)
{
	struct task_struct *task = current_task();
	return task->mm->brk;
}

// A call has returned: the registers of its arguments are as they were.
SEC("tp_btf/sys_exit")
int call_ends(u64 *ctx)
{
	struct pt_regs *regs = (void *)ctx[0];
	u64 number = regs->orig_ax, result = ctx[1];
	// After an error nothing has changed.
	if (!is_ours(number) || result > -4096ull)
		return 0;
	u64 thread = current_pid_tgid();
	u32 tgid = thread >> 32;
	u64 *brk = map_lookup(&targets, &tgid);
	if (!brk || (number == CALL_MADVISE && !gives_back(regs->dx)))
		return 0;
	count(COUNT_SEEN);
	struct call_record call = {
		.kind = KIND_CALL,
		.tgid = tgid,
		.tid = thread,
		.number = number,
		.nanos = monotonic_nanos(),
		.result = result,
		.brk = *brk,
	};
	call.arguments[0] = regs->di;
	call.arguments[1] = regs->si;
	call.arguments[2] = regs->dx;
	call.arguments[3] = regs->r10;
	call.arguments[4] = regs->r8;
	if (number == CALL_BRK)
		*brk = result;
	// The program that an exec leaves has no names any more.
	if (is_exec(number))
		*brk = current_task_brk();
	else
		call.stack = stack_id(ctx);
	tell(&call, sizeof(call));
	return 0;
}
