// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//
// The blocks of memory in the sample: those that live, and sums of all that came and went.
#pragma once
#include "common.h"

struct object {
	u64 bytes, nanos;
	u64 stack;        // key of `stacks`
	u64 weight;       // bytes that it stands for, where the process says so
};

// What a stack asked for, by size; and what of it was freed, also by how long it lived. Sizes and
// times are eighths of a power of two (`eighth`), so that the table does not grow with the blocks.
struct turnover_key {
	u64 stack;
	u32 size;
	u32 lived;        // nanoseconds; BORN for all that were asked for
};

enum { BORN = ~0U };

struct turnover {
	u64 blocks, bytes, weight;
};

// By address. The loader sets its size.
TABLE(live, 1 << 18, u64, struct object);
TABLE(turnovers, 1 << 17, struct turnover_key, struct turnover);
SCRATCH(no_turnover, turnover);

// How many blocks live by some bits of their address. Nearly every block that is freed is of nobody's
// interest: to know that, this is looked at, which stays in a processor's cache where `live` does not.
// It may be too high for a moment, never too low.
enum { LIVE_BITS = 12 };
ARRAY(live_by_bits, 1 << LIVE_BITS, u64);

INLINE u64 *live_like(u64 address)
{
	u32 bits = address * 0x9e3779b97f4a7c15 >> (64 - LIVE_BITS);
	return map_lookup(&live_by_bits, &bits);
}

INLINE long live_put(u64 address, struct object *object)
{
	u64 *like = live_like(address);
	if (like)
		__sync_fetch_and_add(like, 1);
	long failed = map_update(&live, &address, object, NOEXIST);
	if (failed && like)
		__sync_fetch_and_add(like, -1);
	// The end of one that lay there before was not seen.
	return failed == EXISTS ? map_update(&live, &address, object, ANY) : failed;
}

// Takes a block out of those that live. Whoever gets it tells of it, if two threads free it at once.
INLINE bool live_take(u64 address, struct object *object)
{
	u64 *like = live_like(address);
	if (!like || !*like)
		return 0;
	struct object *found = map_lookup(&live, &address);
	if (!found)
		return 0;
	*object = *found;
	if (map_delete(&live, &address))
		return 0;
	__sync_fetch_and_add(like, -1);
	return 1;
}

INLINE u32 eighth(u64 number)
{
	u32 whole = 0;
	u64 rest = number;
#pragma unroll
	for (u32 bit = 32; bit; bit >>= 1)
		if (rest >> bit)
			whole += bit, rest >>= bit;
	return whole < 3 ? number : (whole - 2) * 8 + ((number >> (whole - 3)) & 7);
}

INLINE void add(struct object *object, u32 lived)
{
	struct turnover_key key = { object->stack, eighth(object->bytes), lived };
	struct turnover *sum = map_lookup(&turnovers, &key);
	if (!sum) {
		struct turnover *none = scratch(&no_turnover);
		if (none)
			map_update(&turnovers, &key, none, NOEXIST);
		sum = map_lookup(&turnovers, &key);
	}
	if (!sum) {
		count(COUNT_MAP_FULL);
		return;
	}
	__sync_fetch_and_add(&sum->blocks, 1);
	__sync_fetch_and_add(&sum->bytes, object->bytes);
	__sync_fetch_and_add(&sum->weight, object->weight);
}

SUBPROGRAM int born(u64 address, struct object *object)
{
	if (live_put(address, object))
		count(COUNT_MAP_FULL);
	else
		add(object, BORN);
	return 0;
}

SUBPROGRAM int died(struct object *object)
{
	add(object, eighth(monotonic_nanos() - object->nanos));
	return 0;
}
