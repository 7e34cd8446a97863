// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//
// What of the kernel our programs read and call, so that neither its headers nor a vmlinux.h of
// 2.8 MB are needed. Field offsets are those of the running kernel: the loader relocates each
// access to a type below by the kernel's BTF (CO-RE), so that only the names must be right here.
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef signed int s32;
typedef signed long long s64;
typedef _Bool bool;

#define SEC(name) __attribute__((section(name), used))
#define INLINE static inline __attribute__((always_inline))
// Once in the object instead of once for each place that calls it.
#define SUBPROGRAM static __attribute__((noinline))

// Maps as the loader reads them from BTF.
#define MAP_TYPE(number) int(*type)[number]
#define MAP_ENTRIES(number) int(*max_entries)[number]
#define MAP_FLAGS(number) int(*map_flags)[number]
enum { MAP_HASH = 1, MAP_ARRAY = 2, MAP_PERCPU_ARRAY = 6, MAP_RINGBUF = 27 };
enum { ANY = 0, NOEXIST = 1, EXISTS = -17 };
enum { NO_PREALLOC = 1 };
enum { USER_STACK = 256 };
// Whoever reads a ring buffer looks for himself.
enum { NO_WAKEUP = 1 };

// Helpers by their number in the kernel's list (uapi/linux/bpf.h).
struct pt_regs;
static void *(*map_lookup)(void *map, const void *key) = (void *)1;
static long (*map_update)(void *map, const void *key, const void *value, u64 flags) = (void *)2;
static long (*map_delete)(void *map, const void *key) = (void *)3;
static u64 (*monotonic_nanos)(void) = (void *)5;
static u32 (*random_u32)(void) = (void *)7;
static u64 (*current_pid_tgid)(void) = (void *)14;
static long (*current_comm)(void *to, u32 size) = (void *)16;
static long (*get_stack)(void *ctx, void *to, u32 size, u64 flags) = (void *)67;
static long (*read_user)(void *to, u32 size, const void *from) = (void *)112;
static long (*read_kernel)(void *to, u32 size, const void *from) = (void *)113;
static long (*read_kernel_text)(void *to, u32 size, const void *from) = (void *)115;
static long (*ring_output)(void *ring, void *data, u64 size, u64 flags) = (void *)130;
static void *(*current_task)(void) = (void *)158;
static struct pt_regs *(*user_registers)(void *task) = (void *)175;
static long (*find_vma)(void *task, u64 address, void *step, void *context, u64 flags) = (void *)180;
static long (*loop)(u32 times, void *step, void *context, u64 flags) = (void *)181;

// Registers at a uprobe; a fixed part of the kernel's interface.
struct pt_regs {
	unsigned long r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax, ip, cs,
		flags, sp, ss;
};

#define RELOCATED __attribute__((preserve_access_index))

struct mm_struct {
	unsigned long arg_start, arg_end, total_vm, hiwater_rss;
	unsigned long start_brk, brk, start_stack;
	struct task_struct *owner;
} RELOCATED;

// Resident pages by kind: file, anonymous, swapped out, shared. Since Linux 6.2 most of each number
// is in `count`, and what each processor has not added yet is left out.
struct percpu_counter {
	s64 count;
} RELOCATED;

struct mm_struct___percpu {
	struct percpu_counter rss_stat[4];
} RELOCATED;

// Odd while mappings change, another number after that: since Linux 6.13, and from 6.4 on an integer.
struct seqcount {
	u32 sequence;
} RELOCATED;

struct mm_struct___sequence {
	struct seqcount mm_lock_seq;
} RELOCATED;

struct mm_struct___integer {
	s32 mm_lock_seq;
} RELOCATED;

struct rlimit {
	unsigned long rlim_cur;
} RELOCATED;

struct signal_struct {
	unsigned long maxrss;
	s32 group_exit_code;
	struct rlimit rlim[16];
} RELOCATED;

struct atomic_long {
	s64 counter;
} RELOCATED;

struct page_counter {
	struct atomic_long usage;
	unsigned long max;
} RELOCATED;

struct kernfs_node {
	const char *name;
} RELOCATED;

struct cgroup {
	struct kernfs_node *kn;
} RELOCATED;

struct cgroup_subsys_state {
	struct cgroup *cgroup;
	struct cgroup_subsys_state *parent;
} RELOCATED;

// Begins with its css.
struct mem_cgroup {
	struct page_counter memory;
} RELOCATED;

enum cgroup_subsys_id { memory_cgrp_id = 4 };

struct css_set {
	struct cgroup_subsys_state *subsys[16];
} RELOCATED;

struct task_struct {
	s32 pid, tgid, exit_code;
	s32 pagefault_disabled;
	u64 start_time;
	struct task_struct *real_parent, *group_leader;
	struct mm_struct *mm;
	struct signal_struct *signal;
	struct css_set *cgroups;
	char comm[16];
} RELOCATED;

struct super_block {
	unsigned long s_magic;
} RELOCATED;

struct inode {
	unsigned long i_ino;
	struct super_block *i_sb;
} RELOCATED;

struct qstr {
	const char *name;
} RELOCATED;

struct dentry {
	struct qstr d_name;
} RELOCATED;

struct path {
	struct dentry *dentry;
} RELOCATED;

struct file {
	struct inode *f_inode;
	struct path f_path;
} RELOCATED;

struct vm_area_struct {
	unsigned long vm_start, vm_end, vm_flags;
	struct mm_struct *vm_mm;
	struct file *vm_file;
} RELOCATED;

struct linux_binprm {
	const char *filename;
} RELOCATED;

#define FIELD_EXISTS(field) __builtin_preserve_field_info(field, 2)
#define ENUM_VALUE(type, value) __builtin_preserve_enum_value(*(type *)value, 1)
