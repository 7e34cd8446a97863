// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//
// Page faults of some processes, counted by stack, by what memory it was and by what was done to
// it; and how much of them is resident, as it changes.
//
// What is counted is what the kernel's own event `page-faults` counts: faults of user code, and
// those of the kernel on behalf of it. Where the kernel reads memory that must not fault (as our own
// reads of stacks), an exception is no page fault.
#include "stacks.h"

// The processes, and how many faults each had, which is exact also when the tables below are full.
TABLE(targets, 1 << 10, u32, struct target);

TABLE(faults, FAULTS_MAX, struct fault_key, struct fault_count);

TABLE(regions, REGIONS_MAX, struct region_key, struct region);

SCRATCH(region_scratch, region);

// The mapping of a chunk of the address space that faulted last. To look a mapping up is dear where
// interrupts are off, as here: the kernel must have itself interrupted for it. It is the same as
// long as no mapping of the process has changed.
struct chunk {
	u64 tgid;
	u64 number;
};

struct place {
	struct region_key region;
	u64 end;
	u64 version;
};

TABLE(places, 1 << 16, struct chunk, struct place);

// Bits of an error code of the processor: what a fault was.
enum { CODE_PRESENT = 1, CODE_WRITE = 2, CODE_FETCH = 16 };
enum { TMPFS_MAGIC = 0x01021994, HUGETLBFS_MAGIC = 0x958458f6 };
enum { RLIMIT_STACK = 3, BUSY = -16 };
// So much is free below a stack that may grow without limit.
enum { STACK_MAX = 128 << 20 };
// Of the address space of a process; the kernel's half has the highest bit.
#define USER_END (1ull << 63)
#define CHUNK_BYTES (2ull << 20)

INLINE u32 kind_of(struct vm_area_struct *vma)
{
	struct file *file = vma->vm_file;
	if (file) {
		u64 magic = file->f_inode->i_sb->s_magic;
		return magic == TMPFS_MAGIC || magic == HUGETLBFS_MAGIC ? REGION_SHARED : REGION_FILE;
	}
	struct mm_struct *mm = vma->vm_mm;
	if (vma->vm_start < mm->brk && vma->vm_end > mm->start_brk)
		return REGION_BRK;
	if (vma->vm_start <= mm->start_stack && vma->vm_end >= mm->start_stack)
		return REGION_STACK;
	return REGION_ANONYMOUS;
}

static long note_region(struct task_struct *task, struct vm_area_struct *vma, struct place *place)
{
	struct file *file = vma->vm_file;
	place->region.kind = kind_of(vma);
	place->region.start = vma->vm_start;
	place->region.inode = file ? file->f_inode->i_ino : 0;
	place->end = vma->vm_end;
	struct region *known = map_lookup(&regions, &place->region);
	if (known) {
		// It grows.
		known->end = vma->vm_end;
		return 0;
	}
	struct region *region = scratch(&region_scratch);
	if (!region)
		return 0;
	region->end = vma->vm_end;
	region->flags = vma->vm_flags;
	region->name[0] = 0;
	if (file)
		read_kernel_text(region->name, sizeof(region->name), file->f_path.dentry->d_name.name);
	if (map_update(&regions, &place->region, region, ANY))
		count(COUNT_MAP_FULL);
	return 0;
}

// Changes with every change of the mappings, and when another program begins; 0 when it is not known.
INLINE u64 version_of(struct mm_struct *mm)
{
	struct mm_struct___sequence *sequence = (void *)mm;
	struct mm_struct___integer *integer = (void *)mm;
	u32 number = 0;
	if (FIELD_EXISTS(sequence->mm_lock_seq.sequence))
		number = sequence->mm_lock_seq.sequence;
	else if (FIELD_EXISTS(integer->mm_lock_seq))
		number = integer->mm_lock_seq;
	else
		return 0;
	// Each program has its arguments at another address.
	return (mm->arg_start << 16) + number + 1;
}

// Where nothing is mapped, a stack is about to grow, or the program is in error.
INLINE void note_gap(struct place *place, struct task_struct *task, struct mm_struct *mm, u64 address)
{
	u64 below = mm->start_stack - address, limit = task->signal->rlim[RLIMIT_STACK].rlim_cur;
	place->region.kind = below < limit && below < STACK_MAX ? REGION_STACK : REGION_UNKNOWN;
	place->region.start = address & ~(CHUNK_BYTES - 1);
	place->region.inode = 0;
}

// What is known of a chunk of the target, if it holds the address.
INLINE struct place *known_place(struct chunk *chunk, u64 address)
{
	struct place *known = map_lookup(&places, chunk);
	return known && address >= known->region.start && address < known->end ? known : 0;
}

INLINE void note_place(struct place *place, struct task_struct *task, u64 address)
{
	struct mm_struct *mm = task->mm;
	if (!mm)
		return;
	struct chunk chunk = { .tgid = place->region.tgid, .number = address / CHUNK_BYTES };
	u64 version = version_of(mm);
	struct place *known = known_place(&chunk, address);
	if (known && version && known->version == version) {
		*place = *known;
		return;
	}
	place->version = version;
	long failed = find_vma(task, address, note_region, place, 0);
	if (!failed) {
		map_update(&places, &chunk, place, ANY);
		return;
	}
	if (failed != BUSY) {
		note_gap(place, task, mm, address);
		return;
	}
	// Most likely it is another mapping that is being changed, and this one as it was, or the one
	// that reaches into the chunk from one beside it.
	struct chunk below = { chunk.tgid, chunk.number - 1 }, above = { chunk.tgid, chunk.number + 1 };
	if (!known)
		known = known_place(&below, address);
	if (!known)
		known = known_place(&above, address);
	if (!known) {
		note_gap(place, task, mm, address);
		return;
	}
	*place = *known;
	// For the next one; it is looked up when that is possible again.
	place->version = 0;
	map_update(&places, &chunk, place, ANY);
}

INLINE void note_fault(void *ctx, struct fault_key *key, u64 address)
{
	struct fault_count *known = map_lookup(&faults, key);
	if (known) {
		__sync_fetch_and_add(&known->count, 1);
		// Races cost a page at most.
		if (address < known->low)
			known->low = address;
		if (address > known->high)
			known->high = address;
		return;
	}
	struct fault_count first = { .count = 1, .low = address, .high = address };
	if (!map_update(&faults, key, &first, NOEXIST))
		return;
	// Another thread was first, or it is full.
	known = map_lookup(&faults, key);
	if (known)
		__sync_fetch_and_add(&known->count, 1);
	else
		count(COUNT_MAP_FULL);
}

INLINE int fault(u64 *ctx, bool is_user)
{
	u32 tgid = current_tgid();
	struct target *target = map_lookup(&targets, &tgid);
	u64 address = ctx[0], code = ctx[2];
	if (!target || address >= USER_END)
		return 0;
	struct task_struct *task = current_task();
	if (!is_user && task->pagefault_disabled)
		return 0;
	count(COUNT_SEEN);
	__sync_fetch_and_add(is_user ? &target->user : &target->kernel, 1);
	struct place place = { .region.tgid = tgid };
	note_place(&place, task, address);
	struct fault_key key = {};
	key.code = code & (CODE_PRESENT | CODE_WRITE | CODE_FETCH);
	key.region = place.region;
	key.stack = stack_id(ctx);
	note_fault(ctx, &key, address & ~4095ull);
	return 0;
}

SEC("tp_btf/page_fault_user")
int fault_user(u64 *ctx)
{
	return fault(ctx, 1);
}

SEC("tp_btf/page_fault_kernel")
int fault_kernel(u64 *ctx)
{
	return fault(ctx, 0);
}

SEC("tp_btf/rss_stat")
int resident(u64 *ctx)
{
	struct mm_struct *mm = (void *)ctx[0];
	u32 tgid = current_tgid();
	if (FIELD_EXISTS(mm->owner)) {
		// Whoever changes it: also who takes pages away when memory is short.
		tgid = mm->owner->tgid;
	} else {
		// Without memory cgroups nobody knows whose it is, but itself.
		struct task_struct *task = current_task();
		if (task->mm != mm)
			return 0;
	}
	struct target *target = map_lookup(&targets, &tgid);
	u64 now = monotonic_nanos();
	if (!target || now - target->told_nanos < RESIDENT_NANOS)
		return 0;
	target->told_nanos = now;
	struct mm_struct___percpu *percpu = (void *)mm;
	if (!FIELD_EXISTS(percpu->rss_stat[0].count))
		return 0;
	struct resident_record record = {
		.kind = KIND_RESIDENT,
		.tgid = tgid,
		.nanos = now,
	};
	record.pages[0] = percpu->rss_stat[0].count;
	record.pages[1] = percpu->rss_stat[1].count;
	record.pages[2] = percpu->rss_stat[2].count;
	record.pages[3] = percpu->rss_stat[3].count;
	tell(&record, sizeof(record));
	return 0;
}
