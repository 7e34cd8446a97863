// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//
// Processes that come and go, with the most memory that each held.
#include "common.h"

SCRATCH(execs, exec_record);

SEC("tp_btf/sched_process_exec")
int process_exec(u64 *ctx)
{
	struct task_struct *task = (void *)ctx[0];
	struct linux_binprm *program = (void *)ctx[2];
	struct exec_record *record = scratch(&execs);
	if (!record)
		return 0;
	count(COUNT_SEEN);
	record->kind = KIND_EXEC;
	record->tgid = task->tgid;
	record->nanos = monotonic_nanos();
	record->parent = task->real_parent->tgid;
	current_comm(record->comm, sizeof(record->comm));
	record->path[0] = 0;
	read_kernel_text(record->path, sizeof(record->path), program->filename);
	struct mm_struct *mm = task->mm;
	record->command_bytes = 0;
	u64 size = sizeof(*record) - COMMAND_MAX;
	if (mm) {
		u64 start = mm->arg_start, length = mm->arg_end - start;
		if (length > COMMAND_MAX)
			length = COMMAND_MAX;
		if (!read_user(record->command, length, (void *)start)) {
			record->command_bytes = length;
			size += length;
		}
	}
	tell(record, size);
	return 0;
}

SEC("tp_btf/sched_process_fork")
int process_fork(u64 *ctx)
{
	struct task_struct *parent = (void *)ctx[0], *child = (void *)ctx[1];
	// A thread belongs to a process that is there already.
	if (child->pid != child->tgid)
		return 0;
	count(COUNT_SEEN);
	struct fork_record record = {
		.kind = KIND_FORK,
		.tgid = child->tgid,
		.nanos = monotonic_nanos(),
		.parent = parent->tgid,
	};
	current_comm(record.comm, sizeof(record.comm));
	tell(&record, sizeof(record));
	return 0;
}

struct signal_struct___live {
	struct {
		s32 counter;
	} live;
} RELOCATED;

// The most pages that were resident in a program. The kernel's own figure for the process counts
// what its parent held when it was a copy of that, too.
INLINE u64 peak_pages(struct mm_struct *mm)
{
	struct mm_struct___percpu *percpu = (void *)mm;
	s64 now = 0, peak = mm->hiwater_rss;
	if (FIELD_EXISTS(percpu->rss_stat[0].count))
		now = percpu->rss_stat[0].count + percpu->rss_stat[1].count + percpu->rss_stat[3].count;
	return now > peak ? now : peak;
}

SEC("tp_btf/sched_process_exit")
int process_exit(u64 *ctx)
{
	struct task_struct *task = (void *)ctx[0];
	struct signal_struct *signal = task->signal;
	// Whoever ends last, which need not be the first thread.
	if (((struct signal_struct___live *)signal)->live.counter > 0)
		return 0;
	count(COUNT_SEEN);
	struct exit_record record = {
		.kind = KIND_EXIT,
		.tgid = task->tgid,
		.nanos = monotonic_nanos(),
		.started_nanos = task->group_leader->start_time,
		// Before Linux 6.16 the memory is gone here.
		.peak_pages = task->mm ? peak_pages(task->mm) : signal->maxrss,
		.status = signal->group_exit_code ? signal->group_exit_code : task->exit_code,
	};
	read_kernel(record.comm, sizeof(record.comm), task->group_leader->comm);
	tell(&record, sizeof(record));
	return 0;
}
