//! The events of format 2: names, how many arguments, and which of them are ids of strings
//! and stacks. Source: internal/trace/tracev2/events.go; numbers never change there.

// Structure of the file.
pub(super) const EVENT_BATCH: u8 = 1;
pub(super) const STACKS: u8 = 2;
pub(super) const STACK: u8 = 3;
pub(super) const STRINGS: u8 = 4;
pub(super) const STRING: u8 = 5;
pub(super) const CPU_SAMPLES: u8 = 6;
pub(super) const CPU_SAMPLE: u8 = 7;
pub(super) const FREQUENCY: u8 = 8;
pub(super) const EXPERIMENTAL_BATCH: u8 = 49;
pub(super) const SYNC: u8 = 50;
pub(super) const CLOCK_SNAPSHOT: u8 = 51;
pub(super) const END_OF_GENERATION: u8 = 52;

// Ps.
pub(super) const PROCS_CHANGE: u8 = 9;
pub(super) const PROC_START: u8 = 10;
pub(super) const PROC_STOP: u8 = 11;
pub(super) const PROC_STEAL: u8 = 12;
pub(super) const PROC_STATUS: u8 = 13;

// Goroutines.
pub(super) const GO_CREATE: u8 = 14;
pub(super) const GO_CREATE_SYSCALL: u8 = 15;
pub(super) const GO_START: u8 = 16;
pub(super) const GO_DESTROY: u8 = 17;
pub(super) const GO_DESTROY_SYSCALL: u8 = 18;
pub(super) const GO_STOP: u8 = 19;
pub(super) const GO_BLOCK: u8 = 20;
pub(super) const GO_UNBLOCK: u8 = 21;
pub(super) const GO_SYSCALL_BEGIN: u8 = 22;
pub(super) const GO_SYSCALL_END: u8 = 23;
pub(super) const GO_SYSCALL_END_BLOCKED: u8 = 24;
pub(super) const GO_STATUS: u8 = 25;
pub(super) const GO_SWITCH: u8 = 45;
pub(super) const GO_SWITCH_DESTROY: u8 = 46;
pub(super) const GO_CREATE_BLOCKED: u8 = 47;
pub(super) const GO_STATUS_STACK: u8 = 48;

// Stops and the collector.
pub(super) const STW_BEGIN: u8 = 26;
pub(super) const STW_END: u8 = 27;
pub(super) const GC_ACTIVE: u8 = 28;
pub(super) const GC_BEGIN: u8 = 29;
pub(super) const GC_END: u8 = 30;
pub(super) const GC_SWEEP_ACTIVE: u8 = 31;
pub(super) const GC_SWEEP_BEGIN: u8 = 32;
pub(super) const GC_SWEEP_END: u8 = 33;
pub(super) const GC_ASSIST_ACTIVE: u8 = 34;
pub(super) const GC_ASSIST_BEGIN: u8 = 35;
pub(super) const GC_ASSIST_END: u8 = 36;
pub(super) const HEAP_ALLOC: u8 = 37;
pub(super) const HEAP_GOAL: u8 = 38;

// What the program says.
pub(super) const GO_LABEL: u8 = 39;
pub(super) const TASK_BEGIN: u8 = 40;
pub(super) const TASK_END: u8 = 41;
pub(super) const REGION_BEGIN: u8 = 42;
pub(super) const REGION_END: u8 = 43;
pub(super) const USER_LOG: u8 = 44;

// The experiment AllocFree.
pub(super) const SPAN: u8 = 128;
pub(super) const GOROUTINE_STACK_FREE: u8 = 136;

/// A kind of event with a time. Positions count from 1 behind the time; 0 is none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spec {
    /// Its name in the format.
    pub(super) name: &'static str,
    /// How many arguments follow the time.
    pub(super) arguments: u8,
    /// Which are stacks; the first is where the event happened.
    pub(super) stacks: [u8; 2],
    /// Which are strings that must exist.
    pub(super) strings: [u8; 2],
}

/// The kind with this number, when it is one with a time.
pub(super) fn timed(kind: u8) -> Option<&'static Spec> {
    TIMED.get(usize::from(kind))?.as_ref()
}

/// The name of any kind.
pub(super) fn name(kind: u8) -> &'static str {
    timed(kind).map_or("an event without a time", |spec| spec.name)
}

static TIMED: [Option<Spec>; 256] = table();

const NONE: [u8; 2] = [0, 0];

/// One line for each kind: number, name, arguments, stacks, strings.
type Row = (u8, &'static str, u8, [u8; 2], [u8; 2]);

const ROWS: &[Row] = &[
    (PROCS_CHANGE, "ProcsChange", 2, [2, 0], NONE),
    (PROC_START, "ProcStart", 2, NONE, NONE),
    (PROC_STOP, "ProcStop", 0, NONE, NONE),
    (PROC_STEAL, "ProcSteal", 3, NONE, NONE),
    (PROC_STATUS, "ProcStatus", 2, NONE, NONE),
    (GO_CREATE, "GoCreate", 3, [3, 2], NONE),
    (GO_CREATE_SYSCALL, "GoCreateSyscall", 1, NONE, NONE),
    (GO_START, "GoStart", 2, NONE, NONE),
    (GO_DESTROY, "GoDestroy", 0, NONE, NONE),
    (GO_DESTROY_SYSCALL, "GoDestroySyscall", 0, NONE, NONE),
    (GO_STOP, "GoStop", 2, [2, 0], [1, 0]),
    (GO_BLOCK, "GoBlock", 2, [2, 0], [1, 0]),
    (GO_UNBLOCK, "GoUnblock", 3, [3, 0], NONE),
    (GO_SYSCALL_BEGIN, "GoSyscallBegin", 2, [2, 0], NONE),
    (GO_SYSCALL_END, "GoSyscallEnd", 0, NONE, NONE),
    (GO_SYSCALL_END_BLOCKED, "GoSyscallEndBlocked", 0, NONE, NONE),
    (GO_STATUS, "GoStatus", 3, NONE, NONE),
    (STW_BEGIN, "STWBegin", 2, [2, 0], [1, 0]),
    (STW_END, "STWEnd", 0, NONE, NONE),
    (GC_ACTIVE, "GCActive", 1, NONE, NONE),
    (GC_BEGIN, "GCBegin", 2, [2, 0], NONE),
    (GC_END, "GCEnd", 1, NONE, NONE),
    (GC_SWEEP_ACTIVE, "GCSweepActive", 1, NONE, NONE),
    (GC_SWEEP_BEGIN, "GCSweepBegin", 1, [1, 0], NONE),
    (GC_SWEEP_END, "GCSweepEnd", 2, NONE, NONE),
    (GC_ASSIST_ACTIVE, "GCMarkAssistActive", 1, NONE, NONE),
    (GC_ASSIST_BEGIN, "GCMarkAssistBegin", 1, [1, 0], NONE),
    (GC_ASSIST_END, "GCMarkAssistEnd", 0, NONE, NONE),
    (HEAP_ALLOC, "HeapAlloc", 1, NONE, NONE),
    (HEAP_GOAL, "HeapGoal", 1, NONE, NONE),
    (GO_LABEL, "GoLabel", 1, NONE, [1, 0]),
    (TASK_BEGIN, "UserTaskBegin", 4, [4, 0], [3, 0]),
    (TASK_END, "UserTaskEnd", 2, [2, 0], NONE),
    (REGION_BEGIN, "UserRegionBegin", 3, [3, 0], [2, 0]),
    (REGION_END, "UserRegionEnd", 3, [3, 0], [2, 0]),
    (USER_LOG, "UserLog", 4, [4, 0], [2, 3]),
    (GO_SWITCH, "GoSwitch", 2, NONE, NONE),
    (GO_SWITCH_DESTROY, "GoSwitchDestroy", 2, NONE, NONE),
    (GO_CREATE_BLOCKED, "GoCreateBlocked", 3, [3, 2], NONE),
    (GO_STATUS_STACK, "GoStatusStack", 4, [4, 0], NONE),
    (CLOCK_SNAPSHOT, "ClockSnapshot", 3, NONE, NONE),
    (SPAN, "Span", 3, NONE, NONE),
    (129, "SpanAlloc", 3, NONE, NONE),
    (130, "SpanFree", 1, NONE, NONE),
    (131, "HeapObject", 2, NONE, NONE),
    (132, "HeapObjectAlloc", 2, NONE, NONE),
    (133, "HeapObjectFree", 1, NONE, NONE),
    (134, "GoroutineStack", 2, NONE, NONE),
    (135, "GoroutineStackAlloc", 2, NONE, NONE),
    (GOROUTINE_STACK_FREE, "GoroutineStackFree", 1, NONE, NONE),
];

#[expect(clippy::indexing_slicing, reason = "computed while compiling, where a panic is an error")]
const fn table() -> [Option<Spec>; 256] {
    let mut table = [const { None }; 256];
    let mut row = 0;
    while row < ROWS.len() {
        let (kind, name, arguments, stacks, strings) = ROWS[row];
        table[kind as usize] = Some(Spec { name, arguments, stacks, strings });
        row += 1;
    }
    table
}
