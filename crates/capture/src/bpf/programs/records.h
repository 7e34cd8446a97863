// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//
// What the programs tell: records of a ring buffer. record.rs has the same; both assert the sizes.
#pragma once

#define FRAMES_MAX 127
#define COMMAND_MAX 256
#define PATH_MAX 128
#define CGROUP_LEVELS 6
#define CGROUP_NAME_MAX 72
// A header of 48 bytes, 1024 return addresses, four counts of 32 bytes.
#define BUCKET_MAX 8368

// How often something was not told, and why; the index into the map `counts`.
enum count {
	COUNT_SEEN = 0,      // what happened, told or not
	COUNT_DROPPED = 1,   // the ring buffer was full
	COUNT_MAP_FULL = 2,  // a map was full
	COUNT_NO_STACK = 3,  // the stack could not be read
	COUNTS = 4,
};

enum kind {
	KIND_EXEC = 1,
	KIND_EXIT = 2,
	KIND_FORK = 3,
	KIND_ALLOC = 4,
	KIND_FREE = 5,
	KIND_VICTIM = 6,
	KIND_BUCKET = 7,
	KIND_DUMPED = 8,
	KIND_RESIDENT = 20,
	KIND_CALL = 21,
};

// A process that became another program.
struct exec_record {
	u32 kind;
	u32 tgid;
	u64 nanos;          // CLOCK_MONOTONIC, as all times here
	u32 parent;
	u32 command_bytes;  // of what follows: arguments, each ended by 0
	char comm[16];
	char path[PATH_MAX];
	char command[COMMAND_MAX];
};

// A process that began as a copy of another.
struct fork_record {
	u32 kind;
	u32 tgid;
	u64 nanos;
	u32 parent;
	u32 unused;
	char comm[16];
};

// A process whose last thread ended.
struct exit_record {
	u32 kind;
	u32 tgid;
	u64 nanos;
	u64 started_nanos;
	u64 peak_pages;     // of resident memory
	u32 status;         // as wait(2) has it
	u32 unused;
	char comm[16];
};

// An object of Go's heap that its sampler took.
struct alloc_record {
	u32 kind;
	u32 tgid;
	u64 nanos;
	u64 address;
	u64 bytes;
	u64 goroutine;      // its number, or 0
	u32 tid;
	u32 frames;
	u64 caller;         // the return address on top of the stack
	u64 stack[FRAMES_MAX];
};

// One of them was freed.
struct free_record {
	u32 kind;
	u32 tgid;
	u64 nanos;
	u64 address;
	u64 bytes;
	u64 born_nanos;
};

// A process that the OOM killer chose.
struct victim_record {
	u32 kind;
	u32 tgid;
	u64 nanos;
	u64 total_pages;    // of address space
	u64 pages[4];       // resident: of files, anonymous, swapped out, shared
	u64 usage_pages;    // of the cgroup that is at its limit, itself or one above
	u64 limit_pages;    // 0 when none is: the machine is out of memory
	char comm[16];
	u32 limit_level;    // which of the names that is
	u32 is_target;      // whether its heap profile follows
	char cgroup[CGROUP_LEVELS][CGROUP_NAME_MAX];  // from its own upwards
};

// Memory of a Go process that holds its heap profile (runtime.mbuckets): one bucket.
struct bucket_record {
	u32 kind;
	u32 tgid;
	u64 address;
	u64 bytes;          // of what follows
	u8 memory[BUCKET_MAX];
};

// The profile is complete.
struct dumped_record {
	u32 kind;
	u32 tgid;
	u64 nanos;
	u64 victim_nanos;   // when the kernel chose it
	u64 first;          // what runtime.mbuckets holds
	u64 rate;           // what runtime.MemProfileRate holds
	u32 cycle;          // what runtime.mProfCycle holds
	u32 buckets;
	u32 unread;         // buckets, or one of these three, that could not be read
	u32 unused;
};

// Keys and values of tables that user space reads.
enum { STACKS_MAX = 1 << 15, FAULTS_MAX = 1 << 16, REGIONS_MAX = 1 << 14 };
enum { RESIDENT_NANOS = 10000000, REGION_NAME_MAX = 64 };

enum region_kind {
	REGION_UNKNOWN = 0,    // a chunk of the address space
	REGION_ANONYMOUS = 1,
	REGION_BRK = 2,
	REGION_STACK = 3,      // of the first thread
	REGION_FILE = 4,
	REGION_SHARED = 5,
};

struct region_key {
	u32 tgid;
	u32 kind;
	u64 start;
	u64 inode;
};

struct region {
	u64 end;
	u64 flags;          // of the mapping, as the kernel has them
	char name[REGION_NAME_MAX];  // of the file, without its folder
};

struct fault_key {
	struct region_key region;
	u64 stack;          // 0 when it is not known
	u64 code;           // what was done to the memory
};

struct fault_count {
	u64 count;
	u64 low, high;      // the pages
};

// A process whose faults are counted.
struct target {
	u64 user, kernel;   // faults, by who ran
	u64 told_nanos;     // when its resident memory was told last
};

// How much of a process is resident.
struct resident_record {
	u32 kind;
	u32 tgid;
	u64 nanos;
	u64 pages[4];       // as in victim_record
};

// A call that changed mappings.
struct call_record {
	u32 kind;
	u32 tgid;
	u64 nanos;
	u32 tid;
	u32 number;         // of the system call
	u64 arguments[5];
	u64 result;
	u64 brk;            // where the heap of brk ended before
	u64 stack;          // as in fault_key
};

_Static_assert(sizeof(struct call_record) == 88, "call_record");
_Static_assert(sizeof(struct region_key) == 24, "region_key");
_Static_assert(sizeof(struct region) == 80, "region");
_Static_assert(sizeof(struct fault_key) == 40, "fault_key");
_Static_assert(sizeof(struct fault_count) == 24, "fault_count");
_Static_assert(sizeof(struct resident_record) == 48, "resident_record");
_Static_assert(sizeof(struct exec_record) == 424, "exec_record");
_Static_assert(sizeof(struct fork_record) == 40, "fork_record");
_Static_assert(sizeof(struct exit_record) == 56, "exit_record");
_Static_assert(sizeof(struct alloc_record) == 1072, "alloc_record");
_Static_assert(sizeof(struct free_record) == 40, "free_record");
_Static_assert(sizeof(struct victim_record) == 528, "victim_record");
_Static_assert(sizeof(struct bucket_record) == 8392, "bucket_record");
_Static_assert(sizeof(struct dumped_record) == 56, "dumped_record");
