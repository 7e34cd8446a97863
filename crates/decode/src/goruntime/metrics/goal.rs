//! The pacer's figures, and the heap size it aims at: runtime/mgcpacer.go.

use crate::bytes::Bytes;

/// Bytes of runtime.gcControllerState that are looked at; alike in Go 1.21 to 1.27.
pub(in crate::goruntime) const CONTROLLER_BYTES: usize = 320;

/// memoryLimitMinHeapGoalHeadroom
const HEADROOM_MIN: u64 = 1 << 20;
/// memoryLimitHeapGoalHeadroomPercent
const HEADROOM_PERCENT: u64 = 3;
/// Least distance from where a cycle was triggered to its goal.
const RUNWAY_MIN: u64 = 64 << 10;

/// What is read of runtime.gcControllerState.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::goruntime) struct Controller {
    pub(in crate::goruntime) gogc_percent: i32,
    pub(in crate::goruntime) memory_limit: u64,
    gogc_goal: u64,
    sweep_trigger: u64,
    triggered: u64,
    pub(super) heap_scan: u64,
    pub(super) stack_scan: u64,
    pub(super) globals_scan: u64,
    pub(in crate::goruntime) heap_marked: u64,
    heap_free: u64,
    total_alloc: u64,
    total_free: u64,
    mapped_ready: u64,
}

impl Controller {
    pub(in crate::goruntime) fn parse(bytes: &[u8]) -> Option<Controller> {
        let bytes = Bytes(bytes);
        Some(Controller {
            gogc_percent: bytes.i32(0)?,
            memory_limit: bytes.u64(8)?,
            gogc_goal: bytes.u64(72)?,
            sweep_trigger: bytes.u64(80)?,
            triggered: bytes.u64(88)?,
            heap_scan: bytes.u64(112)?,
            stack_scan: bytes.u64(128)?,
            globals_scan: bytes.u64(144)?,
            heap_marked: bytes.u64(152)?,
            heap_free: bytes.u64(288)?,
            total_alloc: bytes.u64(296)?,
            total_free: bytes.u64(304)?,
            mapped_ready: bytes.u64(312)?,
        })
    }

    /// heapGoalInternal: GOGC's goal, unless the memory limit allows less.
    pub(in crate::goruntime) fn heap_goal(&self) -> u64 {
        let of_limit = self.limit_goal();
        if of_limit < self.gogc_goal {
            return of_limit;
        }
        let goal = self.gogc_goal.max(self.sweep_trigger);
        match self.triggered {
            u64::MAX => goal,
            triggered => goal.max(triggered.wrapping_add(RUNWAY_MIN)),
        }
    }

    /// memoryLimitHeapGoal
    fn limit_goal(&self) -> u64 {
        let heap_alloc = self.total_alloc.wrapping_sub(self.total_free);
        let not_heap = self.mapped_ready.saturating_sub(self.heap_free.wrapping_add(heap_alloc));
        let overage = self.mapped_ready.saturating_sub(self.memory_limit);
        let Some(goal) = self.memory_limit.checked_sub(not_heap.saturating_add(overage)) else {
            return self.heap_marked;
        };
        if goal == 0 {
            return self.heap_marked;
        }
        let headroom = (goal / 100 * HEADROOM_PERCENT).max(HEADROOM_MIN);
        goal.saturating_sub(headroom).max(headroom).max(self.heap_marked)
    }
}

#[cfg(test)]
mod tests {
    use super::Controller;

    #[test]
    fn the_goal_is_the_lesser_of_two() {
        let unlimited = Controller {
            memory_limit: i64::MAX as u64,
            gogc_goal: 4 << 20,
            triggered: u64::MAX,
            mapped_ready: 8 << 20,
            ..Controller::default()
        };
        assert_eq!(unlimited.heap_goal(), 4 << 20);
        let swept = Controller { sweep_trigger: 5 << 20, ..unlimited };
        assert_eq!(swept.heap_goal(), 5 << 20);
        let triggered = Controller { triggered: 6 << 20, ..swept };
        assert_eq!(triggered.heap_goal(), (6 << 20) + (64 << 10));
        // 100 MiB of which 8 are not heap: 92, less three percent.
        let limited = Controller { memory_limit: 100 << 20, gogc_goal: u64::MAX, ..unlimited };
        let goal = 92_u64 << 20;
        assert_eq!(limited.heap_goal(), goal - goal / 100 * 3);
        let small = Controller { memory_limit: 9 << 20, ..limited };
        assert_eq!(small.heap_goal(), 1 << 20);
        let over = Controller { memory_limit: 7 << 20, heap_marked: 3, ..limited };
        assert_eq!(over.heap_goal(), 3);
    }
}
