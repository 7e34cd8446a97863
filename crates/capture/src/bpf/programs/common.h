// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//
// What every object has: the ring buffer, its losses, and which processes are meant.
#pragma once
#include "kernel.h"
#include "records.h"

char program_license[] SEC("license") = "Dual MIT/GPL";

// The loader sets the sizes.
struct {
	MAP_TYPE(MAP_RINGBUF);
	MAP_ENTRIES(1 << 20);
} records SEC(".maps");

struct {
	MAP_TYPE(MAP_PERCPU_ARRAY);
	MAP_ENTRIES(COUNTS);
	u32 *key;
	u64 *value;
} counts SEC(".maps");

INLINE void count(u32 which)
{
	u64 *number = map_lookup(&counts, &which);
	if (number)
		*number += 1;
}

INLINE void tell(void *record, u64 size)
{
	if (ring_output(&records, record, size, NO_WAKEUP))
		count(COUNT_DROPPED);
}

// Entries are allocated as they are needed: their number is a bound, not what it takes.
#define TABLE(name, entries, key_type, type)      \
	struct {                                  \
		MAP_TYPE(MAP_HASH);               \
		MAP_FLAGS(NO_PREALLOC);           \
		MAP_ENTRIES(entries);             \
		key_type *key;                    \
		type *value;                      \
	} name SEC(".maps")

#define ARRAY(name, entries, type)                \
	struct {                                  \
		MAP_TYPE(MAP_ARRAY);              \
		MAP_ENTRIES(entries);             \
		u32 *key;                         \
		type *value;                      \
	} name SEC(".maps")

// Memory for a record that is larger than a program's stack.
#define SCRATCH(name, record)                     \
	struct {                                  \
		MAP_TYPE(MAP_PERCPU_ARRAY);       \
		MAP_ENTRIES(1);                   \
		u32 *key;                         \
		struct record *value;             \
	} name SEC(".maps")

INLINE void *scratch(void *map)
{
	u32 zero = 0;
	return map_lookup(map, &zero);
}

INLINE u32 current_tgid(void)
{
	return current_pid_tgid() >> 32;
}
