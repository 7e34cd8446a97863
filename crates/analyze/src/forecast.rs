//! When memory runs out: the level, its pace, and the nearest limit.

use model::{Interval, Observation};

/// A limit that growth will meet.
#[derive(Clone, Debug, PartialEq)]
pub struct Limit {
    /// What it is, for people: `the cgroup's 512 MiB limit`.
    pub name: String,
    /// Where it lies.
    pub bytes: u64,
    /// How much is used of it now.
    pub used_bytes: u64,
}

impl Limit {
    /// Bytes left.
    pub fn headroom(&self) -> u64 {
        self.bytes.saturating_sub(self.used_bytes)
    }
}

/// The limit that leaves the least headroom: the cgroup's, GOMEMLIMIT (past it the
/// GC runs without end), else the machine's available memory.
pub fn nearest_limit(observation: &Observation) -> Option<Limit> {
    let mut limits = Vec::new();
    let cgroup = &observation.cgroup;
    if let (Some(bytes), Some(used)) =
        (cgroup.limit_bytes, cgroup.working_set_bytes.or(cgroup.usage_bytes))
    {
        let name = format!("the cgroup's limit of {}", model::Bytes(bytes));
        limits.push(Limit { name, bytes, used_bytes: used });
    }
    let runtime = &observation.runtime;
    if let Some(limit) = runtime.gomemlimit_bytes.filter(|limit| *limit < i64::MAX) {
        let bytes = u64::try_from(limit).unwrap_or(0);
        // The limit counts what the runtime has mapped less what it gave back.
        if let (Some(sys), Some(released)) = (runtime.sys_bytes, runtime.heap_released_bytes) {
            let name = format!("GOMEMLIMIT ({})", model::Bytes(bytes));
            limits.push(Limit { name, bytes, used_bytes: sys.saturating_sub(released) });
        }
    }
    let host = &observation.host;
    if let (Some(total), Some(available)) = (host.total_bytes, host.available_bytes) {
        let name = format!("the machine's {}", model::Bytes(total));
        limits.push(Limit { name, bytes: total, used_bytes: total.saturating_sub(available) });
    }
    limits.into_iter().min_by_key(Limit::headroom)
}

/// Seconds until `headroom` bytes are used up at this pace; `None` when it does
/// not grow. A pace whose lower bound is not positive may never get there: the
/// upper bound is then infinite.
pub fn time_to_limit(headroom: u64, rate: Interval) -> Option<Interval> {
    if rate.estimate <= 0.0 {
        return None;
    }
    let headroom = headroom as f64;
    Some(Interval {
        estimate: headroom / rate.estimate,
        low: headroom / rate.high.max(rate.estimate),
        high: if rate.low > 0.0 { headroom / rate.low } else { f64::INFINITY },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{CgroupMemory, HostMemory, RuntimeMemory};

    #[test]
    fn the_limit_with_least_headroom_counts() {
        let observation = Observation {
            cgroup: CgroupMemory {
                limit_bytes: Some(1000),
                usage_bytes: Some(900),
                working_set_bytes: Some(700),
                ..CgroupMemory::default()
            },
            runtime: RuntimeMemory {
                gomemlimit_bytes: Some(800),
                sys_bytes: Some(700),
                heap_released_bytes: Some(50),
                ..RuntimeMemory::default()
            },
            host: HostMemory {
                total_bytes: Some(1 << 40),
                available_bytes: Some(1 << 39),
                ..HostMemory::default()
            },
            ..Observation::default()
        };
        let limit = nearest_limit(&observation).unwrap();
        assert!(limit.name.starts_with("GOMEMLIMIT"));
        assert_eq!(limit.headroom(), 150);
    }

    #[test]
    fn times_carry_the_interval() {
        let rate = Interval { estimate: 10.0, low: 5.0, high: 20.0 };
        let time = time_to_limit(100, rate).unwrap();
        assert_eq!((time.low, time.estimate, time.high), (5.0, 10.0, 20.0));
        let unsure = Interval { estimate: 1.0, low: -1.0, high: 3.0 };
        assert_eq!(time_to_limit(100, unsure).unwrap().high, f64::INFINITY);
        assert_eq!(time_to_limit(100, Interval::default()), None);
    }
}
