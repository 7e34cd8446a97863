// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//
// What a process has from malloc and its kin and has not freed: some of it, by a sample of bytes,
// with the stack that asked for it; and how long lived what was freed. Or, at the end of this file,
// what the process says of its own samples.
//
// A call is seen where the allocator's function begins and, for its result, where it returns to.
// Whether it is sampled is decided at the beginning, so that all others cost a look into two
// tables. Stacks are unwound here, by tables that user space made of .eh_frame: C code has no frame
// pointers, and what is on a stack is known only now. Code without such tables (Go, compilers that
// run in the program) is unwound by frame pointers.
#include "blocks.h"
#include "unwind.h"

// What user space says.
struct control {
	u64 target;       // the process
	u64 every;        // mean number of bytes between two samples; 1 for all
	u32 stopped;      // the tables are to stay as they are
	u32 unused;
};

enum { SAMPLED = 1, HAS_OLD = 2, BY_POINTER = 4, LEAF = 8, THROWS = 16 };

// A call that has not returned.
struct pending {
	u64 sp, caller;   // at its beginning, and where it returns to
	u64 bytes;
	u64 old_address;  // what is reallocated, or where the result is written to (BY_POINTER)
	struct object old;
	u32 flags, nested;
};

ARRAY(controls, 1, struct control);
// The loader sets its size.
TABLE(stacks, 1 << 14, u64, struct stack);
// By thread; and how many there are, as nearly every call is in none.
TABLE(calls, 1 << 16, u32, struct pending);
ARRAY(noted, 1, u64);
SCRATCH(no_stack, stack);

struct {
	MAP_TYPE(MAP_PERCPU_ARRAY);
	MAP_ENTRIES(1);
	u32 *key;
	s64 *value;
} countdowns SEC(".maps");

// Bytes until the next sample: exponentially distributed with this mean, rounded up, as
// -ln(u) * mean of a uniform u of 26 bits. The logarithm is to 16 bits, each by a squaring.
INLINE s64 exponential(u64 mean)
{
	u32 uniform = (random_u32() >> 6) + 1;
	u32 whole = 0, rest = uniform;
	if (rest >> 16)
		whole += 16, rest >>= 16;
	if (rest >> 8)
		whole += 8, rest >>= 8;
	if (rest >> 4)
		whole += 4, rest >>= 4;
	if (rest >> 2)
		whole += 2, rest >>= 2;
	if (rest >> 1)
		whole += 1;
	u64 mantissa = ((u64)uniform << (31 - whole)) & 0xffffffff;
	u32 fraction = 0;
#pragma unroll
	for (int bit = 0; bit < 16; bit++) {
		mantissa = (mantissa * mantissa) >> 31;
		fraction <<= 1;
		if (mantissa >> 32)
			fraction |= 1, mantissa >>= 1;
	}
	u64 log2 = (26ULL << 16) - (((u64)whole << 16) | fraction);
	u64 ln = (log2 * 45426) >> 16;  // ln 2 is 45426 / 65536
	return (s64)((ln * mean) >> 16) + 1;
}

INLINE bool is_sampled(struct control *control, u64 bytes)
{
	if (control->every <= 1)
		return 1;
	s64 *countdown = scratch(&countdowns);
	if (!countdown)
		return 0;
	// The first of this processor must be as likely as any other.
	if (*countdown == 0)
		*countdown = exponential(control->every);
	s64 left = __sync_fetch_and_add(countdown, -(s64)bytes) - (s64)bytes;
	if (left > 0)
		return 0;
	*countdown = exponential(control->every);
	return 1;
}

INLINE struct control *control_of_target(void)
{
	struct control *control = scratch(&controls);
	// A copy that the process made of itself has other memory.
	return control && control->target == current_tgid() ? control : 0;
}

INLINE bool note_call(u32 tid, struct pending *call, struct pending *outer)
{
	u64 *number = scratch(&noted);
	if (!number)
		return 0;
	// Too high for a moment, never too low.
	if (!outer)
		__sync_fetch_and_add(number, 1);
	if (!map_update(&calls, &tid, call, ANY))
		return 1;
	if (!outer)
		__sync_fetch_and_add(number, -1);
	count(COUNT_MAP_FULL);
	return 0;
}

INLINE void forget_call(u32 tid)
{
	u64 *number = scratch(&noted);
	if (!map_delete(&calls, &tid) && number)
		__sync_fetch_and_add(number, -1);
}

// An allocator's function begins; reports whether its return is to be seen. One that no other of
// them calls needs no note of calls that are not sampled.
SUBPROGRAM int begin(struct pt_regs *ctx, u64 bytes, u64 old_address, u32 flags, struct pending *outer)
{
	// What throws when there is no memory must not be waited for then: an exception does not get
	// past a return address that was changed. So large a block is the one that there may be none for.
	enum { NESTED_MAX = 16, SURE_MAX = 1 << 30 };
	struct control *control = control_of_target();
	if (!control || control->stopped)
		return 0;
	count(COUNT_SEEN);
	if (flags & THROWS && bytes >= SURE_MAX)
		return 0;
	u32 tid = current_pid_tgid();
	// One that never returned (an exception, longjmp) must not hide all that come after it.
	if (outer && ctx->sp <= outer->sp && outer->nested < NESTED_MAX) {
		outer->nested++;
		return 0;
	}
	if (is_sampled(control, bytes))
		flags |= SAMPLED;
	struct pending call = { .sp = ctx->sp, .bytes = bytes, .old_address = old_address };
	if (old_address && !(flags & BY_POINTER)) {
		// Before its memory can be another thread's; it comes back when the call fails.
		if (live_take(old_address, &call.old))
			flags |= HAS_OLD;
	}
	call.flags = flags;
	if (flags & LEAF && !(flags & SAMPLED)) {
		if (outer)
			forget_call(tid);
		return 0;
	}
	read_user(&call.caller, 8, (void *)ctx->sp);
	return note_call(tid, &call, outer);
}

SUBPROGRAM int forget(struct pt_regs *ctx)
{
	struct control *control = control_of_target();
	u64 address = ctx->di;
	if (!control || control->stopped)
		return 0;
	count(COUNT_SEEN);
	struct object object;
	return live_take(address, &object) ? died(&object) : 0;
}

// The key of the stack of these registers, which are those behind a call if `back` is 1. It is walked
// again, to keep its addresses, when it is a new one.
INLINE u64 stack_key(struct pt_regs *ctx, u32 back)
{
	struct unwinding *unwinding = scratch(&unwindings);
	if (!unwinding)
		return 0;
	struct walk walk = { 0 };
	unwind(&walk, unwinding, ctx, back);
	u64 key = walk.hash;
	if (map_lookup(&stacks, &key))
		return key;
	struct stack *empty = scratch(&no_stack);
	if (empty)
		map_update(&stacks, &key, empty, NOEXIST);
	struct stack *stack = map_lookup(&stacks, &key);
	if (!stack) {
		count(COUNT_NO_STACK);
		return 0;
	}
	walk.stack = stack;
	unwind(&walk, unwinding, ctx, back);
	// All addresses lie behind what is meant.
	if (!back)
		stack->addresses[0]++;
	stack->frames = walk.frames;
	stack->end = walk.end;
	return key;
}

// The note of the call that this thread is in.
INLINE struct pending *call_of_thread(void)
{
	u64 *number = scratch(&noted);
	if (!number || !*number)
		return 0;
	u32 tid = current_pid_tgid();
	return map_lookup(&calls, &tid);
}

INLINE bool is_return(struct pt_regs *ctx, struct pending *call)
{
	return call && ctx->sp == call->sp + 8 && ctx->ip == call->caller;
}

SUBPROGRAM int end(struct pt_regs *ctx, struct pending *pending)
{
	struct control *control = control_of_target();
	if (!control || !pending)
		return 0;
	u32 tid = current_pid_tgid();
	struct pending call = *pending;
	forget_call(tid);
	u64 address = ctx->ax;
	if (call.flags & BY_POINTER) {
		address = 0;
		if ((u32)ctx->ax == 0)
			read_user(&address, 8, (void *)call.old_address);
	}
	if (call.flags & HAS_OLD) {
		if (!address && call.bytes)
			live_put(call.old_address, &call.old);
		else
			died(&call.old);
	}
	if (!address || !(call.flags & SAMPLED))
		return 0;
	struct object object = { call.bytes, monotonic_nanos(), stack_key(ctx, 1), 0 };
	return born(address, &object);
}

// Each kind of function has two programs. One is for its beginning, with `end_call` at the return.
// The other, a session (since Linux 6.13), is for both: it says at the beginning whether the return
// is to be seen, so that a call that is not sampled has one trap instead of two.
#define FUNCTION(name, bytes, old_address, flags)                  \
	SEC("uprobe") int begin_##name(struct pt_regs *ctx)        \
	{                                                          \
		begin(ctx, bytes, old_address, flags, call_of_thread()); \
		return 0;                                          \
	}                                                          \
	SEC("uprobe") int session_##name(struct pt_regs *ctx)      \
	{                                                          \
		struct pending *call = call_of_thread();           \
		if (is_return(ctx, call)) {                        \
			end(ctx, call);                            \
			return 0;                                  \
		}                                                  \
		return !begin(ctx, bytes, old_address, flags, call); \
	}

// malloc(size) and all that have the size first
FUNCTION(size, ctx->di, 0, LEAF)
// the same that may call others of them
FUNCTION(outer_size, ctx->di, 0, 0)
// operator new(size)
FUNCTION(throwing_size, ctx->di, 0, LEAF | THROWS)
FUNCTION(throwing_outer_size, ctx->di, 0, THROWS)
// memalign(alignment, size)
FUNCTION(second_size, ctx->si, 0, 0)
// calloc(number, size)
FUNCTION(product, ctx->di * ctx->si, 0, LEAF)
FUNCTION(outer_product, ctx->di * ctx->si, 0, 0)
// realloc(old, size)
FUNCTION(realloc, ctx->si, ctx->di, 0)
// reallocarray(old, number, size)
FUNCTION(realloc_product, ctx->si * ctx->dx, ctx->di, 0)
// posix_memalign(result, alignment, size)
FUNCTION(by_pointer, ctx->dx, ctx->di, BY_POINTER)

// free(address) and all that have the address first
SEC("uprobe")
int begin_free(struct pt_regs *ctx)
{
	return forget(ctx);
}

SEC("uprobe")
int session_free(struct pt_regs *ctx)
{
	forget(ctx);
	return 1;
}

// Any of the others returns.
SEC("uretprobe")
int end_call(struct pt_regs *ctx)
{
	struct pending *call = call_of_thread();
	return is_return(ctx, call) ? end(ctx, call) : 0;
}

// Static probes (USDT) by which the process itself tells what it samples: OpenTelemetry's
// otel_memory:alloc(address, size, weighted_bytes) and otel_memory:free(address).

// Where an argument of one is.
struct argument {
	s64 number;           // itself, or what is added to the registers
	u16 base, index;      // registers, by their offset; NO_REGISTER for none
	u8 scale, size, is_signed, is_memory;
};

struct static_probe {
	struct argument arguments[3];
};
_Static_assert(sizeof(struct argument) == 16, "arguments");

enum { NO_REGISTER = 0xffff };

// By address of the instruction.
TABLE(static_probes, 1 << 8, u64, struct static_probe);

INLINE u64 register_of(struct pt_regs *ctx, u16 offset)
{
	u64 value = 0;
	if (offset < sizeof(*ctx))
		read_kernel(&value, sizeof(value), (void *)ctx + offset);
	return value;
}

INLINE u64 argument(struct pt_regs *ctx, struct argument *at)
{
	u64 value = at->number + register_of(ctx, at->base) + register_of(ctx, at->index) * at->scale;
	u32 size = at->size > 8 ? 8 : at->size;
	if (at->is_memory) {
		u64 word = 0;
		read_user(&word, size, (void *)value);
		value = word;
	}
	u32 unused = (8 - size) * 8 & 63;
	return at->is_signed ? (u64)((s64)(value << unused) >> unused) : value << unused >> unused;
}

INLINE struct static_probe *static_probe(struct pt_regs *ctx)
{
	struct control *control = control_of_target();
	u64 place = ctx->ip;
	return control && !control->stopped ? map_lookup(&static_probes, &place) : 0;
}

SEC("uprobe")
int static_alloc(struct pt_regs *ctx)
{
	struct static_probe *probe = static_probe(ctx);
	if (!probe)
		return 0;
	count(COUNT_SEEN);
	u64 address = argument(ctx, &probe->arguments[0]);
	struct object object = {
		.bytes = argument(ctx, &probe->arguments[1]),
		.nanos = monotonic_nanos(),
		.stack = stack_key(ctx, 0),
		.weight = argument(ctx, &probe->arguments[2]),
	};
	return address ? born(address, &object) : 0;
}

SEC("uprobe")
int static_free(struct pt_regs *ctx)
{
	struct static_probe *probe = static_probe(ctx);
	if (!probe)
		return 0;
	count(COUNT_SEEN);
	struct object object;
	return live_take(argument(ctx, &probe->arguments[0]), &object) ? died(&object) : 0;
}
