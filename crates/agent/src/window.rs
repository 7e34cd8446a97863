//! The evidence about one target that is kept in memory: bounded, older parts
//! coarser, and of each part only what is judged.
//!
//! Hundreds of targets are watched at once: a full window of a small program takes some
//! 60 KB, most of it what the program itself is like (its sites and goroutines).

use std::collections::{HashMap, HashSet};

use analyze::diagnose::{Evidence, JUDGED_METRICS, diagnose};
use analyze::growth::Series;
use analyze::outstanding::NativeLook;
use model::metrics::MetricSample;
use model::{
    Capture, Diagnosis, Frame, GoroutineGroup, GoroutineSnapshot, Observation, Profile, Rss,
    RuntimeMetrics, Target, Timestamp,
};

use crate::levels::Levels;

const HEAPS_MAX: usize = 120;
const GOROUTINES_MAX: usize = 40;
const ACCOUNTS_MAX: usize = 12;
/// What probes of malloc saw.
pub(crate) const LOOKS_MAX: usize = 4;
/// Groups that never had so many goroutines cannot have grown by what counts as growth.
const GROUP_MIN: u64 = 10;

/// Evidence so far.
#[derive(Debug, Default)]
pub struct Window {
    levels: Levels,
    /// The last observation, whole.
    latest: Option<Observation>,
    heaps: Series,
    goroutines: Goroutines,
    accounts: Vec<Rss>,
    /// The first and the last, because they are counters, and of them what is judged.
    metrics: Vec<(Timestamp, RuntimeMetrics)>,
    native: Vec<NativeLook>,
    warnings: Vec<String>,
}

impl Window {
    /// Adds level signals.
    pub fn push_observation(&mut self, mut observation: Observation) {
        self.levels.push(&mut observation);
        self.latest = Some(observation);
    }

    /// Adds a heap profile.
    pub fn push_heap(&mut self, time: Timestamp, profile: &Profile) {
        self.heaps.push(time, profile);
        self.heaps.bound(HEAPS_MAX);
    }

    /// Adds goroutines.
    pub fn push_goroutines(&mut self, time: Timestamp, snapshot: GoroutineSnapshot) {
        self.goroutines.push(time, snapshot);
    }

    /// Adds an account of the resident memory.
    pub fn push_rss(&mut self, mut rss: Rss) {
        // Of these there may be tens of thousands, and only the kinds are judged.
        rss.maps = Vec::new();
        rss.classes.shrink_to_fit();
        if let Some(before) = self.accounts.last_mut() {
            // Where free slots are is told of the last account alone.
            before.classes = Vec::new();
        }
        self.accounts.push(rss);
        halve_older(&mut self.accounts, ACCOUNTS_MAX);
    }

    /// Adds the runtime's metrics.
    pub fn push_metrics(&mut self, time: Timestamp, metrics: &RuntimeMetrics) {
        let is_judged = |sample: &&MetricSample| JUDGED_METRICS.contains(&sample.metric.name);
        let samples = metrics.samples.iter().filter(is_judged).cloned().collect();
        self.metrics.truncate(1);
        self.metrics.push((time, RuntimeMetrics { samples, ..RuntimeMetrics::default() }));
    }

    /// Adds what a probe of malloc saw of this target, of which the latest are kept.
    pub fn push_native(&mut self, target: &Target, capture: &Capture, profile: &Profile) {
        let module = target.labels.get("module").map_or("", String::as_str);
        let look = NativeLook::of(profile, module, Some(capture.id), capture.time);
        self.native.extend(look);
        if self.native.len() > LOOKS_MAX {
            self.native.remove(0);
        }
    }

    /// Notes what could not be read; says whether that is news.
    pub fn warn(&mut self, text: &str) -> bool {
        let is_new = !self.warnings.iter().any(|known| known == text);
        if is_new {
            self.warnings.push(text.to_owned());
        }
        is_new
    }

    /// Heap profiles that showed something new.
    pub fn heap_profiles(&self) -> usize {
        self.heaps.len()
    }

    /// The verdict on what is known.
    pub fn diagnose(&self, target: &Target) -> Diagnosis {
        let snapshots = self.goroutines.snapshots();
        let goroutines: Vec<_> = snapshots.iter().map(|(time, g)| (*time, g)).collect();
        let mut observations = self.levels.observations();
        if let (Some(last), Some(latest)) = (observations.last_mut(), &self.latest) {
            last.clone_from(latest);
        }
        diagnose(&Evidence {
            target: target.clone(),
            observations: &observations,
            heaps: &self.heaps,
            goroutines: &goroutines,
            accounts: &self.accounts,
            metrics: &self.metrics,
            native: &self.native,
            process_start: None,
            warnings: self.warnings.clone(),
        })
    }
}

/// How many goroutines each group had over time. What a group is, is kept once.
#[derive(Debug, Default)]
struct Goroutines {
    groups: Vec<Group>,
    index: HashMap<Group, u32>,
    counts: Vec<(Timestamp, Vec<Count>)>,
}

/// What makes goroutines alike.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Group {
    stack: std::sync::Arc<[Frame]>,
    created_by: Option<Frame>,
    state: &'static str,
    wait_reason: String,
}

#[derive(Clone, Copy, Debug)]
struct Count {
    group: u32,
    count: u64,
    stack_bytes: u64,
    wait_seconds_max: Option<f64>,
}

impl Goroutines {
    fn push(&mut self, time: Timestamp, mut snapshot: GoroutineSnapshot) {
        let mut counts = Vec::new();
        for group in snapshot.groups.into_iter().filter(|group| !group.is_system) {
            let stack = snapshot.stacks.get_mut(group.stack);
            let stack = stack.map(|stack| stack.clone().into()).unwrap_or_default();
            let GoroutineGroup { created_by, state, wait_reason, .. } = group;
            let group_id = self.enter(Group { stack, created_by, state, wait_reason });
            let GoroutineGroup { count, stack_bytes, wait_seconds_max, .. } = group;
            counts.push(Count { group: group_id, count, stack_bytes, wait_seconds_max });
        }
        counts.shrink_to_fit();
        self.counts.push((time, counts));
        if self.counts.len() > GOROUTINES_MAX {
            halve_older(&mut self.counts, GOROUTINES_MAX);
            self.forget_unused();
        }
    }

    fn enter(&mut self, group: Group) -> u32 {
        if let Some(id) = self.index.get(&group) {
            return *id;
        }
        let id = u32::try_from(self.groups.len()).unwrap_or(u32::MAX);
        self.groups.push(group.clone());
        self.index.insert(group, id);
        id
    }

    /// Forgets the groups that no snapshot has any more.
    fn forget_unused(&mut self) {
        let used: HashSet<u32> =
            self.counts.iter().flat_map(|(_, counts)| counts).map(|count| count.group).collect();
        if used.len() == self.groups.len() {
            return;
        }
        let old = std::mem::take(&mut self.groups);
        self.index.clear();
        let mut new_ids = HashMap::new();
        for (id, group) in (0..).zip(old) {
            if used.contains(&id) {
                new_ids.insert(id, self.enter(group));
            }
        }
        for count in self.counts.iter_mut().flat_map(|(_, counts)| counts) {
            count.group = new_ids.get(&count.group).copied().unwrap_or(count.group);
        }
    }

    /// The snapshots, with the groups that may have grown.
    fn snapshots(&self) -> Vec<(Timestamp, GoroutineSnapshot)> {
        let counts = self.counts.iter().flat_map(|(_, counts)| counts);
        let large: HashSet<u32> =
            counts.filter(|count| count.count >= GROUP_MIN).map(|count| count.group).collect();
        let snapshot = |(time, counts): &(Timestamp, Vec<Count>)| {
            let mut snapshot = GoroutineSnapshot::default();
            for count in counts.iter().filter(|count| large.contains(&count.group)) {
                let Some(group) = self.groups.get(count.group as usize) else { continue };
                snapshot.groups.push(GoroutineGroup {
                    count: count.count,
                    state: group.state,
                    wait_reason: group.wait_reason.clone(),
                    wait_seconds_max: count.wait_seconds_max,
                    stack_bytes: count.stack_bytes,
                    stack: snapshot.stacks.len(),
                    created_by: group.created_by.clone(),
                    is_system: false,
                });
                snapshot.stacks.push(group.stack.to_vec());
            }
            (*time, snapshot)
        };
        self.counts.iter().map(snapshot).collect()
    }
}

/// Forgets every other item of the older half when there are too many.
pub(crate) fn halve_older<T>(items: &mut Vec<T>, max: usize) {
    if items.len() <= max {
        return;
    }
    let half = items.len() / 2;
    let mut index = 0;
    items.retain(|_| {
        index += 1;
        index > half || index % 2 == 1
    });
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use analyze::diagnose::{Evidence, diagnose};
    use analyze::outstanding::older_comment;
    use model::metrics::{Histogram, MetricValue};
    use model::rss::{RssBytes, RssClass, RssKind, RssMap};
    use model::{CaptureId, CaptureKind, TargetId, TargetSpec, Timestamp};

    use super::*;

    #[test]
    fn the_older_half_gets_coarser() {
        let mut items: Vec<u32> = (0..9).collect();
        halve_older(&mut items, 8);
        assert_eq!(items, [0, 2, 4, 5, 6, 7, 8]);
        halve_older(&mut items, 8);
        assert_eq!(items.len(), 7);
    }

    fn observation(step: u64) -> Observation {
        let mut observation =
            Observation { time: Timestamp(step as i64 * 10_000), ..Observation::default() };
        let mib = |amount: u64| Some(amount << 20);
        observation.process.rss_bytes = mib(100 + step * 3);
        observation.cgroup.limit_bytes = mib(1000);
        observation.cgroup.usage_bytes = mib(120 + step * 3);
        observation.cgroup.file_bytes = mib(step % 4);
        observation.host.total_bytes = mib(8000);
        let runtime = &mut observation.runtime;
        runtime.heap_live_bytes = mib(40 + step * 2);
        runtime.heap_in_use_bytes = mib(60 + step * 2);
        runtime.heap_idle_bytes = mib(10);
        runtime.heap_released_bytes = (!step.is_multiple_of(3)).then_some(4 << 20);
        runtime.heap_alloc_bytes = mib(50 + step * 2);
        runtime.stacks_bytes = mib(2 + step);
        runtime.sys_bytes = mib(90 + step * 3);
        runtime.gc_cycles = Some(step);
        runtime.gogc_percent = Some(100);
        observation
    }

    /// Free slots of a class, more and more.
    fn account(time: Timestamp, step: u64) -> Rss {
        let (mut rss, free_bytes) = (Rss { time, has_runtime: true, ..Rss::default() }, step << 20);
        let bytes = RssBytes { bytes: free_bytes, huge_bytes: 0 };
        rss.tally.add(RssKind::HeapFree, bytes);
        rss.tally.add(RssKind::MallocArena, bytes);
        rss.classes = vec![RssClass { slot_bytes: Some(48), free_bytes, ..RssClass::default() }];
        rss.maps = vec![RssMap::default()];
        rss
    }

    fn frame(function: &str) -> Frame {
        Frame { function: function.to_owned(), file: "main.go".to_owned(), line: 7 }
    }

    /// A group that leaks, one of many that does not, and one that is alone.
    fn goroutines(step: u64) -> GoroutineSnapshot {
        let group = |count, stack, wait_reason: &str| GoroutineGroup {
            count,
            state: "waiting",
            wait_reason: wait_reason.to_owned(),
            wait_seconds_max: Some(step as f64 * 10.0),
            stack_bytes: count * 2048,
            stack,
            created_by: Some(frame("main.main")),
            is_system: stack == 3,
        };
        let stacks = ["main.send", "main.work", "main.serve", "runtime.bgsweep"]
            .map(|name| vec![frame(name)]);
        GoroutineSnapshot {
            stacks: stacks.to_vec(),
            groups: vec![
                group(5 + step * 20, 0, "chan send"),
                group(50, 1, "select"),
                group(1, 2, "IO wait"),
                group(100 + step, 3, "GC sweep wait"),
            ],
            ..GoroutineSnapshot::default()
        }
    }

    #[test]
    fn what_is_left_out_changes_no_verdict() {
        let labels = [("module".to_owned(), "main".to_owned())].into();
        let target =
            Target { name: "shop".to_owned(), spec: TargetSpec::Pid(7), pid: Some(7), labels };
        let mut window = Window::default();
        let (mut observations, mut snapshots, mut metrics) = (Vec::new(), Vec::new(), Vec::new());
        let mut accounts = Vec::new();
        for step in 0..GOROUTINES_MAX as u64 {
            let (observation, snapshot) = (observation(step), goroutines(step));
            let time = observation.time;
            let mut figures = RuntimeMetrics::default();
            for name in ["gc/total", "gc/mark/assist", "idle", "total"] {
                let seconds = step as f64 * name.len() as f64;
                figures.push_float(&format!("/cpu/classes/{name}:cpu-seconds"), seconds);
            }
            figures.push_unsigned("/gc/cycles/total:gc-cycles", step);
            figures.push_unsigned("/gc/heap/live:bytes", step);
            let bounds = [0.0, 1e-6, 1e-3, f64::INFINITY].into();
            let pauses = Histogram { bounds, counts: vec![step, 90 * step, 2 * step] };
            let pauses = MetricValue::Histogram(pauses);
            figures.push("/sched/pauses/total/gc:seconds", pauses);
            window.push_observation(observation.clone());
            window.push_goroutines(time, snapshot.clone());
            window.push_metrics(time, &figures);
            if step.is_multiple_of(10) {
                let rss = account(time, step);
                window.push_rss(rss.clone());
                accounts.push(rss);
            }
            observations.push(observation);
            snapshots.push((time, snapshot));
            metrics.push((time, figures));
        }
        let goroutines: Vec<_> = snapshots.iter().map(|(time, g)| (*time, g)).collect();
        let whole = diagnose(&Evidence {
            target: target.clone(),
            observations: &observations,
            heaps: &Series::default(),
            goroutines: &goroutines,
            accounts: &accounts,
            metrics: &metrics,
            native: &[],
            process_start: None,
            warnings: Vec::new(),
        });
        assert!(whole.findings.len() > 1, "{whole:?}");
        assert_eq!(window.diagnose(&target), whole);
    }

    #[test]
    fn the_latest_looks_at_malloc_are_kept() {
        let labels = Default::default();
        let target =
            Target { name: "shop".to_owned(), spec: TargetSpec::Pid(7), pid: Some(7), labels };
        let mut profile = Profile::new(&[("inuse_objects", "count"), ("inuse_space", "bytes")]);
        let mut window = Window::default();
        let capture = |id: i64| Capture {
            id: CaptureId(id),
            target: TargetId(1),
            kind: CaptureKind::Native,
            time: Timestamp(id * 1000),
            reason: "manual".to_owned(),
            bytes: 1,
            cost_micros: 1,
            checksum: 1,
        };
        // Another profile with these columns is no look.
        window.push_native(&target, &capture(1), &profile);
        assert!(window.native.is_empty());
        let comment = older_comment(Duration::from_secs(5));
        profile.comments.push(profile.strings.intern(&comment));
        (2..12).for_each(|id| window.push_native(&target, &capture(id), &profile));
        let kept: Vec<Option<CaptureId>> = window.native.iter().map(|look| look.capture).collect();
        assert_eq!(kept, [8, 9, 10, 11].map(|id| Some(CaptureId(id))));
    }

    #[test]
    fn groups_that_come_and_go_are_forgotten() {
        let mut goroutines = Goroutines::default();
        for step in 0..1000_u64 {
            let group = GoroutineGroup { count: 20, ..GoroutineGroup::default() };
            let snapshot = GoroutineSnapshot {
                stacks: vec![vec![frame(&format!("main.f{step}"))]],
                groups: vec![group],
                ..GoroutineSnapshot::default()
            };
            goroutines.push(Timestamp(step as i64), snapshot);
        }
        assert!(goroutines.groups.len() <= GOROUTINES_MAX + 1, "{}", goroutines.groups.len());
        let (_, last) = goroutines.snapshots().pop().unwrap();
        assert_eq!(last.stacks[0][0].function, "main.f999");
    }
}
