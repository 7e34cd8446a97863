// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//
// Births and deaths of the objects that Go's own heap sampler takes, in any number of processes.
//
// Both probes lie behind the check for stack space, on `push %rbp` of the prologue, where the
// arguments still are in their registers.
#include "common.h"
#include "frames.h"

struct place {
	u64 address;
	u64 tgid;
};

struct birth {
	u64 nanos;
	u64 bytes;
};

// Objects that were told and live: the truth when records were dropped.
TABLE(live, 1 << 18, struct place, struct birth);

// Where the number of a goroutine lies in its g, by process.
struct {
	MAP_TYPE(MAP_HASH);
	MAP_ENTRIES(1024);
	u32 *key;
	u32 *value;
} goids SEC(".maps");

SCRATCH(allocs, alloc_record);

// func profilealloc(mp *m, x unsafe.Pointer, size uintptr)
SEC("uprobe")
int go_alloc(struct pt_regs *ctx)
{
	count(COUNT_SEEN);
	struct alloc_record *record = scratch(&allocs);
	if (!record)
		return 0;
	u64 id = current_pid_tgid();
	record->kind = KIND_ALLOC;
	record->tgid = id >> 32;
	record->tid = id;
	struct place place = { ctx->bx, id >> 32 };
	struct birth birth = { monotonic_nanos(), ctx->cx };
	record->nanos = birth.nanos;
	record->address = place.address;
	record->bytes = birth.bytes;
	record->goroutine = 0;
	u32 *goid = map_lookup(&goids, &record->tgid);
	if (goid)
		read_user(&record->goroutine, 8, (void *)(ctx->r14 + *goid));
	record->caller = 0;
	read_user(&record->caller, 8, (void *)ctx->sp);
	if (map_update(&live, &place, &birth, ANY)) {
		// Its end would never be told.
		count(COUNT_MAP_FULL);
		return 0;
	}
	record->frames = walk_frames(record->stack, ctx);
	// Where kernels preempt, another thread on this processor may have begun its record meanwhile:
	// in the same memory, so that neither of them is right.
	if (record->tid != (u32)id) {
		record->tid = 0;
		count(COUNT_DROPPED);
		return 0;
	}
	u64 size = sizeof(*record) - sizeof(record->stack) + record->frames * 8;
	tell(record, size > sizeof(*record) ? sizeof(*record) : size);
	return 0;
}

// func freeSpecial(s *special, p unsafe.Pointer, size uintptr)
SEC("uprobe")
int go_free(struct pt_regs *ctx)
{
	struct place place = { ctx->bx, current_tgid() };
	struct birth *birth = map_lookup(&live, &place);
	// Of something else than a sample, or of one from before.
	if (!birth)
		return 0;
	struct free_record record = {
		.kind = KIND_FREE,
		.tgid = place.tgid,
		.nanos = monotonic_nanos(),
		.address = place.address,
		.bytes = birth->bytes,
		.born_nanos = birth->nanos,
	};
	map_delete(&live, &place);
	tell(&record, sizeof(record));
	return 0;
}
