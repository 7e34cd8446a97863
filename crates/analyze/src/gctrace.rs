//! What a run of garbage collections says: how long the program stood still, what
//! collection costs, what lives, and what decides how large the heap becomes.

use model::gctrace::{GcCycle, RuntimeLine, Scavenge};

use crate::stats::{median, theil_sen};

/// Cycles that are kept; of longer logs the last ones.
pub const CYCLES_MAX: usize = 1 << 20;

/// What a log holds.
#[derive(Clone, Debug, Default)]
pub struct GcLog {
    /// Cycles, in the order of the log.
    pub cycles: Vec<GcCycle>,
    /// Earlier cycles that had no room.
    pub cycles_dropped: u64,
    /// Lines of the scavenger.
    pub scavenges: u64,
    /// Given back in the background and by allocating goroutines, KiB.
    pub scavenged_kib: (u64, u64),
    /// The last line of the scavenger.
    pub last_scavenge: Option<Scavenge>,
    /// The longest queue of goroutines without a processor, and lines of the scheduler.
    pub queue_max: u64,
    /// Lines of the scheduler.
    pub scheduler_lines: u64,
    /// Lines of the pacer.
    pub pacer_lines: u64,
    /// Runs of the program in the log: numbers of cycles start again at 1.
    pub restarts: u64,
}

impl GcLog {
    /// Adds a line.
    pub fn push(&mut self, line: &RuntimeLine) {
        match line {
            RuntimeLine::Cycle(cycle) => self.push_cycle(*cycle),
            RuntimeLine::Scavenge(scavenge) => {
                self.scavenges += 1;
                self.scavenged_kib.0 = self.scavenged_kib.0.saturating_add(scavenge.background_kib);
                let eager = scavenge.eager_kib.unwrap_or(0);
                self.scavenged_kib.1 = self.scavenged_kib.1.saturating_add(eager);
                self.last_scavenge = Some(*scavenge);
            }
            RuntimeLine::Scheduler(scheduler) => {
                self.scheduler_lines += 1;
                let local = scheduler.local_queues.iter();
                let queue = local.fold(scheduler.queue, |sum, queue| sum.saturating_add(*queue));
                self.queue_max = self.queue_max.max(queue);
            }
            RuntimeLine::PacerStart(_) | RuntimeLine::PacerEnd(_) | RuntimeLine::SweepDone(_) => {
                self.pacer_lines += 1;
            }
            RuntimeLine::Scan(_) => {}
        }
    }

    fn push_cycle(&mut self, cycle: GcCycle) {
        if self.cycles.last().is_some_and(|last| cycle.number <= last.number) {
            self.restarts += 1;
        }
        if self.cycles.len() == CYCLES_MAX {
            // Half at once, so that each cycle is moved once.
            self.cycles.drain(..CYCLES_MAX / 2);
            self.cycles_dropped += CYCLES_MAX as u64 / 2;
        }
        self.cycles.push(cycle);
    }

    /// The cycles of the last run in the log.
    pub fn last_run(&self) -> &[GcCycle] {
        let is_start = |pair: &[GcCycle]| matches!(pair, [a, b] if b.number <= a.number);
        let start = self.cycles.windows(2).rposition(is_start).map_or(0, |at| at + 1);
        self.cycles.get(start..).unwrap_or_default()
    }
}

/// Times in the middle and at the end of a distribution.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Percentiles {
    /// How many values.
    pub count: usize,
    /// Half are below.
    pub p50: f64,
    /// Nine of ten are below.
    pub p90: f64,
    /// 99 of 100 are below.
    pub p99: f64,
    /// The largest.
    pub max: f64,
    /// All together.
    pub sum: f64,
}

impl Percentiles {
    /// By nearest rank.
    pub fn of(mut values: Vec<f64>) -> Percentiles {
        values.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let rank = (share * values.len() as f64).ceil() as usize;
            values.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
        };
        Percentiles {
            count: values.len(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            max: at(1.0),
            sum: values.iter().sum(),
        }
    }
}

/// What decides at which size a collection begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    /// GOGC: the goal is what lives, and so many percent of it, of stacks and of globals.
    Gogc {
        /// As the goals say; sizes are rounded, so it is about right.
        percent: f64,
    },
    /// The heap is so small that the least goal counts, 4 MiB at GOGC=100.
    Least {
        /// The goal.
        goal_mib: u64,
    },
    /// A memory limit: goals stay below what GOGC would allow.
    MemoryLimit {
        /// The goal it leaves for the heap at the end.
        goal_mib: u64,
    },
    /// The program's own calls of runtime.GC.
    Forced,
    /// Too few cycles to tell.
    Unknown,
}

/// Of one run of a program.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// How many cycles, and the numbers of the first and the last.
    pub cycles: usize,
    /// Number of the first cycle.
    pub first: u64,
    /// Number of the last cycle.
    pub last: u64,
    /// From the first cycle to the last, seconds.
    pub seconds: f64,
    /// Processors, at the end.
    pub procs: u32,
    /// Cycles that the program forced.
    pub forced: usize,
    /// Both pauses of each cycle, milliseconds.
    pub pauses_ms: Percentiles,
    /// Marking, milliseconds.
    pub mark_ms: Percentiles,
    /// CPU of collection since the program began, percent, as the last line says.
    pub cpu_percent: u32,
    /// The same of the time between the first and the last cycle of the log.
    pub window_cpu_percent: Option<f64>,
    /// Share of that which allocating goroutines had to do themselves.
    pub assist_share: f64,
    /// Least, middle and greatest size of what lives, MiB.
    pub live_mib: (u64, u64, u64),
    /// At the end.
    pub last_live_mib: u64,
    /// How fast what lives grows, MiB a minute; only where it surely does.
    pub growth_mib_a_minute: Option<f64>,
    /// First and last goal, MiB.
    pub goal_mib: (u64, u64),
    /// Cycles that ended above their goal by more than a tenth.
    pub over_goal: usize,
    /// The largest stacks and globals, MiB.
    pub stacks_mib: Option<u64>,
    /// Of the last cycle.
    pub globals_mib: Option<u64>,
    /// What decides how large the heap becomes.
    pub limit: Limit,
}

/// Sums up the last run of a log; `None` when it has no cycle.
pub fn summary(log: &GcLog) -> Option<Summary> {
    let cycles = log.last_run();
    let (first, last) = (cycles.first()?, cycles.last()?);
    let seconds = (last.at_seconds - first.at_seconds).max(0.0);
    let mut live: Vec<u64> = cycles.iter().map(|cycle| cycle.live_mib).collect();
    live.sort_unstable();
    let live_at = |index: usize| live.get(index).copied().unwrap_or(0);
    let after_first = cycles.get(1..).unwrap_or_default();
    let busy: f64 = after_first.iter().map(GcCycle::busy_cpu_ms).sum();
    let available = seconds * 1e3 * f64::from(last.procs);
    let all: f64 = cycles.iter().map(GcCycle::busy_cpu_ms).sum();
    let assists: f64 = cycles.iter().map(|cycle| cycle.assist_cpu_ms).sum();
    let over = |cycle: &&GcCycle| cycle.end_mib as f64 > cycle.goal_mib as f64 * 1.1 + 1.0;
    Some(Summary {
        cycles: cycles.len(),
        first: first.number,
        last: last.number,
        seconds,
        procs: last.procs,
        forced: cycles.iter().filter(|cycle| cycle.is_forced).count(),
        pauses_ms: Percentiles::of(
            cycles.iter().flat_map(|cycle| [cycle.sweep_term_ms, cycle.mark_term_ms]).collect(),
        ),
        mark_ms: Percentiles::of(cycles.iter().map(|cycle| cycle.mark_ms).collect()),
        cpu_percent: last.cpu_percent,
        window_cpu_percent: (available > 0.0).then(|| busy / available * 100.0),
        assist_share: if all > 0.0 { assists / all } else { 0.0 },
        live_mib: (live_at(0), live_at(live.len() / 2), live_at(live.len() - 1)),
        last_live_mib: last.live_mib,
        growth_mib_a_minute: growth(cycles),
        goal_mib: (first.goal_mib, last.goal_mib),
        over_goal: cycles.iter().filter(over).count(),
        stacks_mib: cycles.iter().filter_map(|cycle| cycle.stacks_mib).max(),
        globals_mib: last.globals_mib,
        limit: limit(cycles),
    })
}

/// Points a trend is fitted to: its cost is their square.
const TREND_POINTS: usize = 500;

fn growth(cycles: &[GcCycle]) -> Option<f64> {
    let step = cycles.len().div_ceil(TREND_POINTS).max(1);
    let points: Vec<(f64, f64)> = cycles
        .iter()
        .step_by(step)
        .map(|cycle| (cycle.at_seconds / 60.0, cycle.live_mib as f64))
        .collect();
    let trend = theil_sen(&points).filter(|_| points.len() >= 8)?;
    // Sizes are whole MiB: what grows by less in the whole time is not seen.
    let grown = trend.slope.estimate * (points.last()?.0 - points.first()?.0);
    (trend.slope.low > 0.0 && grown >= 2.0).then_some(trend.slope.estimate)
}

/// Heaps below this are too small for GOGC to be told from rounded sizes.
const RATIO_LIVE_MIN: u64 = 8;

/// What the goals follow: of a cycle the goal was set by what lived after the one before,
/// `live + (live + stacks + globals) * GOGC / 100` (`runtime/mgcpacer.go`).
fn limit(cycles: &[GcCycle]) -> Limit {
    let forced = cycles.iter().filter(|cycle| cycle.is_forced).count();
    if forced * 2 > cycles.len() {
        return Limit::Forced;
    }
    let pairs = || cycles.windows(2).filter_map(|pair| Some((pair.first()?, pair.get(1)?)));
    let Some(last) = cycles.last().filter(|_| cycles.len() >= 4) else { return Limit::Unknown };
    let ratios: Vec<f64> = pairs()
        .filter(|(before, _)| before.live_mib >= RATIO_LIVE_MIN)
        .map(|(before, cycle)| ratio(before, cycle))
        .collect();
    if ratios.len() * 2 < cycles.len() {
        let mut goals = pairs().map(|(_, cycle)| cycle.goal_mib);
        return match goals.all(|goal| goal == last.goal_mib) {
            true => Limit::Least { goal_mib: last.goal_mib },
            false => Limit::Unknown,
        };
    }
    let greatest = Percentiles::of(ratios.clone()).p90;
    let recent = ratios.get(ratios.len() - ratios.len().div_ceil(4)..).unwrap_or_default();
    let now = median(recent).unwrap_or(greatest);
    let is_steady =
        ratios.iter().filter(|ratio| (**ratio - now).abs() < 0.15 * now.max(0.1)).count() * 10
            >= ratios.len() * 8;
    let goals: Vec<f64> = cycles.iter().map(|cycle| cycle.goal_mib as f64).collect();
    let goal_now = last.goal_mib as f64;
    let recent_goals = goals.get(goals.len() - recent.len().max(1)..).unwrap_or_default();
    let is_flat = recent_goals.iter().all(|goal| (goal - goal_now).abs() <= goal_now * 0.05 + 1.0);
    match () {
        () if is_steady => Limit::Gogc { percent: now * 100.0 },
        () if is_flat && now < greatest * 0.85 => Limit::MemoryLimit { goal_mib: last.goal_mib },
        () => Limit::Unknown,
    }
}

fn ratio(before: &GcCycle, cycle: &GcCycle) -> f64 {
    let roots = before.stacks_mib.unwrap_or(0) + before.globals_mib.unwrap_or(0);
    let live = before.live_mib as f64;
    // Both are rounded down; half a MiB is right on average for each.
    (cycle.goal_mib as f64 - live) / (live + roots as f64 + 0.5)
}

#[cfg(test)]
mod tests {
    use super::{CYCLES_MAX, GcLog, Limit, Percentiles, summary};
    use model::gctrace::{GcCycle, RuntimeLine};

    fn log(cycles: impl Iterator<Item = GcCycle>) -> GcLog {
        let mut log = GcLog::default();
        cycles.for_each(|cycle| log.push(&RuntimeLine::Cycle(cycle)));
        log
    }

    /// A heap that grows by `step` MiB a cycle under GOGC and a limit.
    fn heap(count: u64, start: u64, step: u64, gogc: u64, limit: u64) -> GcLog {
        let live = move |number: u64| start + step * number;
        log((1..=count).map(move |number| {
            let goal = (live(number - 1) * (100 + gogc) / 100).min(limit).max(4);
            GcCycle {
                number,
                at_seconds: number as f64,
                sweep_term_ms: 0.1,
                mark_ms: 10.0,
                mark_term_ms: if number == 7 { 5.0 } else { 0.2 },
                assist_cpu_ms: 5.0,
                background_cpu_ms: 15.0,
                start_mib: goal,
                end_mib: goal,
                live_mib: live(number),
                goal_mib: goal,
                procs: 2,
                ..GcCycle::default()
            }
        }))
    }

    #[test]
    fn what_decides_the_size() {
        for gogc in [50, 100, 300] {
            match summary(&heap(40, 100, 3, gogc, 1 << 30)).unwrap().limit {
                Limit::Gogc { percent } => {
                    assert!((percent - gogc as f64).abs() < gogc as f64 * 0.1 + 2.0, "{percent}");
                }
                other => panic!("{other:?}"),
            }
        }
        let limited = summary(&heap(60, 100, 5, 100, 400)).unwrap();
        assert_eq!(limited.limit, Limit::MemoryLimit { goal_mib: 400 });
        assert_eq!(
            summary(&heap(40, 1, 0, 100, 1 << 30)).unwrap().limit,
            Limit::Least { goal_mib: 4 }
        );
        assert_eq!(summary(&heap(2, 100, 0, 100, 1 << 30)).unwrap().limit, Limit::Unknown);
        let mut forced = heap(20, 100, 1, 100, 1 << 30);
        forced.cycles.iter_mut().for_each(|cycle| cycle.is_forced = true);
        assert_eq!(summary(&forced).unwrap().limit, Limit::Forced);
    }

    #[test]
    fn figures_of_a_run() {
        let found = summary(&heap(40, 100, 3, 100, 1 << 30)).unwrap();
        assert_eq!((found.cycles, found.first, found.last), (40, 1, 40));
        assert!((found.seconds - 39.0).abs() < 1e-9);
        assert_eq!((found.pauses_ms.count, found.pauses_ms.max), (80, 5.0));
        assert!(
            (found.pauses_ms.p50 - 0.1).abs() < 1e-9 && (found.pauses_ms.p90 - 0.2).abs() < 1e-9
        );
        // 20 ms of 2,000 ms a cycle.
        assert!((found.window_cpu_percent.unwrap() - 1.0).abs() < 0.1);
        assert!((found.assist_share - 0.25).abs() < 0.01);
        assert!((found.growth_mib_a_minute.unwrap() - 180.0).abs() < 1.0);
        assert_eq!(found.live_mib, (103, 163, 220));
        assert_eq!(summary(&heap(40, 100, 0, 100, 1 << 30)).unwrap().growth_mib_a_minute, None);
    }

    #[test]
    fn only_the_last_run_counts() {
        let mut both = heap(30, 500, 0, 100, 1 << 30);
        heap(10, 100, 0, 100, 1 << 30)
            .cycles
            .iter()
            .for_each(|cycle| both.push(&RuntimeLine::Cycle(*cycle)));
        let found = summary(&both).unwrap();
        assert_eq!((both.restarts, found.cycles, found.last_live_mib), (1, 10, 100));
        assert_eq!(summary(&GcLog::default()), None);
    }

    #[test]
    fn long_logs_keep_their_end() {
        let count = CYCLES_MAX as u64 + 10;
        let found = log((1..=count).map(|number| GcCycle { number, ..GcCycle::default() }));
        assert_eq!(found.cycles.len() as u64 + found.cycles_dropped, count);
        assert_eq!(found.cycles.last().map(|cycle| cycle.number), Some(count));
        assert_eq!(found.restarts, 0);
    }

    #[test]
    fn percentiles_by_nearest_rank() {
        let found = Percentiles::of((1..=100).map(f64::from).collect());
        assert_eq!((found.p50, found.p90, found.p99, found.max), (50.0, 90.0, 99.0, 100.0));
        assert_eq!(Percentiles::of(vec![]), Percentiles::default());
    }
}
