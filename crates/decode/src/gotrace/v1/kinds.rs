//! The events of format 1: since when they are, how many arguments they have, and whether
//! the last one is a stack. Source: internal/trace/internal/tracev1/parser.go.

pub(super) const BATCH: u8 = 1;
pub(super) const FREQUENCY: u8 = 2;
pub(super) const STACK: u8 = 3;
pub(super) const GOMAXPROCS: u8 = 4;
pub(super) const PROC_START: u8 = 5;
pub(super) const PROC_STOP: u8 = 6;
pub(super) const GC_START: u8 = 7;
pub(super) const GC_DONE: u8 = 8;
pub(super) const STW_START: u8 = 9;
pub(super) const STW_DONE: u8 = 10;
pub(super) const SWEEP_START: u8 = 11;
pub(super) const SWEEP_DONE: u8 = 12;
pub(super) const GO_CREATE: u8 = 13;
pub(super) const GO_START: u8 = 14;
pub(super) const GO_END: u8 = 15;
pub(super) const GO_STOP: u8 = 16;
pub(super) const GO_SCHED: u8 = 17;
pub(super) const GO_PREEMPT: u8 = 18;
pub(super) const GO_SLEEP: u8 = 19;
pub(super) const GO_BLOCK: u8 = 20;
pub(super) const GO_UNBLOCK: u8 = 21;
pub(super) const GO_BLOCK_SEND: u8 = 22;
pub(super) const GO_BLOCK_RECV: u8 = 23;
pub(super) const GO_BLOCK_SELECT: u8 = 24;
pub(super) const GO_BLOCK_SYNC: u8 = 25;
pub(super) const GO_BLOCK_COND: u8 = 26;
pub(super) const GO_BLOCK_NET: u8 = 27;
pub(super) const GO_SYS_CALL: u8 = 28;
pub(super) const GO_SYS_EXIT: u8 = 29;
pub(super) const GO_SYS_BLOCK: u8 = 30;
pub(super) const GO_WAITING: u8 = 31;
pub(super) const GO_IN_SYSCALL: u8 = 32;
pub(super) const HEAP_ALLOC: u8 = 33;
pub(super) const HEAP_GOAL: u8 = 34;
pub(super) const TIMER_GOROUTINE: u8 = 35;
pub(super) const STRING: u8 = 37;
pub(super) const GO_START_LOCAL: u8 = 38;
pub(super) const GO_UNBLOCK_LOCAL: u8 = 39;
pub(super) const GO_SYS_EXIT_LOCAL: u8 = 40;
pub(super) const GO_START_LABEL: u8 = 41;
pub(super) const GO_BLOCK_GC: u8 = 42;
pub(super) const ASSIST_START: u8 = 43;
pub(super) const ASSIST_DONE: u8 = 44;
pub(super) const TASK_CREATE: u8 = 45;
pub(super) const TASK_END: u8 = 46;
pub(super) const REGION: u8 = 47;
pub(super) const LOG: u8 = 48;
pub(super) const CPU_SAMPLE: u8 = 49;

/// Events that no P has, but something: places for them among the Ps.
pub(super) const TIMER_PROC: i32 = 1_000_001;
pub(super) const NETPOLL_PROC: i32 = 1_000_002;
pub(super) const SYSCALL_PROC: i32 = 1_000_003;
pub(super) const GC_PROC: i32 = 1_000_004;

/// One kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    pub(super) name: &'static str,
    /// The first version that has it.
    since: u32,
    pub(super) has_stack: bool,
    /// Without time and stack.
    arguments: usize,
}

impl Kind {
    /// How many numbers it has in the file.
    pub(super) fn numbers(&self, kind: u8) -> usize {
        let has_time = !matches!(kind, BATCH | FREQUENCY | TIMER_GOROUTINE);
        self.arguments + usize::from(self.has_stack) + usize::from(has_time)
    }
}

/// The kind with this number, if the version has it.
pub(super) fn kind(number: u8, version: u32) -> Option<&'static Kind> {
    KINDS.get(usize::from(number)).filter(|kind| kind.since != 0 && kind.since <= version)
}

const fn row(name: &'static str, since: u32, has_stack: bool, arguments: usize) -> Kind {
    Kind { name, since, has_stack, arguments }
}

static KINDS: [Kind; 50] = [
    row("None", 0, false, 0),
    row("Batch", 5, false, 2),
    row("Frequency", 5, false, 1),
    row("Stack", 5, false, 2),
    row("Gomaxprocs", 5, true, 1),
    row("ProcStart", 5, false, 1),
    row("ProcStop", 5, false, 0),
    row("GCStart", 5, true, 1),
    row("GCDone", 5, false, 0),
    row("GCSTWStart", 5, false, 1),
    row("GCSTWDone", 5, false, 0),
    row("GCSweepStart", 5, true, 0),
    row("GCSweepDone", 5, false, 2),
    row("GoCreate", 5, true, 2),
    row("GoStart", 5, false, 2),
    row("GoEnd", 5, false, 0),
    row("GoStop", 5, true, 0),
    row("GoSched", 5, true, 0),
    row("GoPreempt", 5, true, 0),
    row("GoSleep", 5, true, 0),
    row("GoBlock", 5, true, 0),
    row("GoUnblock", 5, true, 2),
    row("GoBlockSend", 5, true, 0),
    row("GoBlockRecv", 5, true, 0),
    row("GoBlockSelect", 5, true, 0),
    row("GoBlockSync", 5, true, 0),
    row("GoBlockCond", 5, true, 0),
    row("GoBlockNet", 5, true, 0),
    row("GoSysCall", 5, true, 0),
    row("GoSysExit", 5, false, 3),
    row("GoSysBlock", 5, false, 0),
    row("GoWaiting", 5, false, 1),
    row("GoInSyscall", 5, false, 1),
    row("HeapAlloc", 5, false, 1),
    row("HeapGoal", 5, false, 1),
    row("TimerGoroutine", 5, false, 1),
    row("FutileWakeup", 5, false, 0),
    row("String", 7, false, 0),
    row("GoStartLocal", 7, false, 1),
    row("GoUnblockLocal", 7, true, 1),
    row("GoSysExitLocal", 7, false, 2),
    row("GoStartLabel", 8, false, 3),
    row("GoBlockGC", 8, true, 0),
    row("GCMarkAssistStart", 9, true, 0),
    row("GCMarkAssistDone", 9, false, 0),
    row("UserTaskCreate", 11, true, 3),
    row("UserTaskEnd", 11, true, 1),
    row("UserRegion", 11, true, 3),
    row("UserLog", 11, true, 2),
    row("CPUSample", 19, true, 3),
];
