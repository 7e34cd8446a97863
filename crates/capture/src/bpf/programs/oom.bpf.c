// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//
// Whom the OOM killer takes and, of Go processes that are known, the heap profile: copied by the
// victim itself while it delivers its last signal, before its memory is gone.
#include "common.h"

// Where the heap profile of a process lies: runtime.mbuckets, MemProfileRate and mProfCycle.
struct profile {
	u64 buckets, rate, cycle;
	u64 counts_bytes;  // what a bucket has behind its stack
};

TABLE(targets, 1 << 14, u32, struct profile);

// Those that were chosen and still run: when.
TABLE(victims, 1 << 10, u32, u64);

SCRATCH(buckets, bucket_record);

SCRATCH(chosen, victim_record);

// A cgroup's limit is reached when not even a batch of pages fits: the kernel charges 64 at once.
enum { CHARGE_BATCH = 64 };

INLINE void note_cgroups(struct victim_record *record, struct task_struct *task)
{
	struct cgroup_subsys_state *css =
		task->cgroups->subsys[ENUM_VALUE(enum cgroup_subsys_id, memory_cgrp_id)];
	record->limit_pages = record->usage_pages = record->limit_level = 0;
#pragma unroll
	for (int level = 0; level < CGROUP_LEVELS; level++) {
		record->cgroup[level][0] = 0;
		if (!css)
			continue;
		// The verifier does not know that this is more than its css, so that it is copied.
		struct mem_cgroup *group = (void *)css;
		u64 usage = 0;
		unsigned long max = 0;
		read_kernel(&usage, sizeof(usage), &group->memory.usage.counter);
		read_kernel(&max, sizeof(max), &group->memory.max);
		if (!record->limit_pages && usage + CHARGE_BATCH >= max) {
			record->usage_pages = usage;
			record->limit_pages = max;
			record->limit_level = level;
		}
		read_kernel_text(record->cgroup[level], CGROUP_NAME_MAX, css->cgroup->kn->name);
		css = css->parent;
	}
}

// Since Linux 6.9; before, the tracepoint has no more than the thread's number.
SEC("tp_btf/mark_victim")
int mark_victim(u64 *ctx)
{
	struct task_struct *task = (void *)ctx[0];
	struct victim_record *record = scratch(&chosen);
	if (!record)
		return 0;
	count(COUNT_SEEN);
	u32 tgid = task->tgid;
	u64 now = monotonic_nanos();
	record->kind = KIND_VICTIM;
	record->tgid = tgid;
	record->nanos = now;
	record->is_target = map_lookup(&targets, &tgid) != 0;
	record->total_pages = record->pages[0] = record->pages[1] = record->pages[2] = record->pages[3] = 0;
	read_kernel(record->comm, sizeof(record->comm), task->comm);
	note_cgroups(record, task);
	struct mm_struct *mm = task->mm;
	if (mm) {
		record->total_pages = mm->total_vm;
		struct mm_struct___percpu *percpu = (void *)mm;
		if (FIELD_EXISTS(percpu->rss_stat[0].count)) {
			record->pages[0] = percpu->rss_stat[0].count;
			record->pages[1] = percpu->rss_stat[1].count;
			record->pages[2] = percpu->rss_stat[2].count;
			record->pages[3] = percpu->rss_stat[3].count;
		}
	}
	if (record->is_target)
		map_update(&victims, &tgid, &now, ANY);
	tell(record, sizeof(*record));
	return 0;
}

// What a bucket begins with (runtime/mprof.go); nstk return addresses and its counts follow.
struct bucket {
	u64 next, all_next, kind, hash, size, frames;
};
enum { MEM_PROFILE = 1, GO_FRAMES_MAX = 1024, COUNTS_BYTES_MAX = 128, BUCKETS_MAX = 1 << 17 };

struct walk {
	u64 place, counts_bytes;
	u32 tgid, told, unread;
};

static long dump_bucket(u32 index, struct walk *walk)
{
	struct bucket_record *record = scratch(&buckets);
	if (!walk->place || !record)
		return 1;
	struct bucket *bucket = (void *)record->memory;
	if (read_user(bucket, sizeof(*bucket), (void *)walk->place) || bucket->kind != MEM_PROFILE ||
	    bucket->frames > GO_FRAMES_MAX) {
		// Without it the rest cannot be found.
		walk->unread++;
		return 1;
	}
	u64 next = bucket->all_next;
	u64 bytes = sizeof(*bucket) + bucket->frames * 8 + walk->counts_bytes;
	record->kind = KIND_BUCKET;
	record->tgid = walk->tgid;
	record->address = walk->place;
	record->bytes = bytes;
	walk->place = next;
	if (bytes > BUCKET_MAX || read_user(record->memory, bytes, (void *)record->address)) {
		walk->unread++;
		return 0;
	}
	tell(record, sizeof(*record) - BUCKET_MAX + bytes);
	walk->told++;
	return 0;
}

SEC("tp_btf/signal_deliver")
int signal_deliver(u64 *ctx)
{
	if ((s32)ctx[0] != 9)
		return 0;
	u32 tgid = current_tgid();
	u64 *since = map_lookup(&victims, &tgid);
	if (!since)
		return 0;
	u64 victim_nanos = *since;
	struct profile *profile = map_lookup(&targets, &tgid);
	// The first thread that comes here does the work.
	if (map_delete(&victims, &tgid) || !profile)
		return 0;
	struct dumped_record record = { .kind = KIND_DUMPED, .tgid = tgid, .victim_nanos = victim_nanos };
	if (read_user(&record.first, sizeof(record.first), (void *)profile->buckets) ||
	    read_user(&record.rate, sizeof(record.rate), (void *)profile->rate) ||
	    read_user(&record.cycle, sizeof(record.cycle), (void *)profile->cycle))
		record.unread++;
	struct walk walk = { .place = record.first, .tgid = tgid, .counts_bytes = profile->counts_bytes };
	if (walk.counts_bytes > COUNTS_BYTES_MAX)
		walk.counts_bytes = COUNTS_BYTES_MAX;
	loop(BUCKETS_MAX, dump_bucket, &walk, 0);
	record.nanos = monotonic_nanos();
	record.buckets = walk.told;
	record.unread += walk.unread;
	tell(&record, sizeof(record));
	return 0;
}
