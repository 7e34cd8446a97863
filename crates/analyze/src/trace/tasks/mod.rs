//! User tasks, regions and logs: how many of each type, and how long they took; all of some
//! tasks in detail.
//!
//! Which belong together is that of Go's summarizer (internal/trace/summary.go): a region ends
//! the one that its goroutine began last, or with its goroutine. Task 0, to which belongs what
//! is in no task, is not listed. Kept is every task, and how long each region took.

mod details;

use std::collections::BTreeMap;

use ahash::AHashMap;
pub use details::{Child, Log, Region, Task};
use details::{Details, Wanted};
use model::trace::{
    Event, GoId, GoState, GoTransition, Range, StringId, Tables, TaskId, Time, What,
};
use regex::Regex;

use super::Analysis;
use super::intern::{Name, Names};
use crate::gctrace::Percentiles;

/// What is in no task.
const BACKGROUND: TaskId = TaskId(0);

/// Everything that a program says of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tasks {
    /// From the first event to the last.
    pub duration_nanos: u64,
    /// By name.
    pub types: Vec<TaskType>,
    /// By name, then function.
    pub regions: Vec<RegionType>,
    /// Messages logged, in tasks and outside.
    pub logs: u64,
    /// Those that were asked for, in the order of their begin.
    pub tasks: Vec<Task>,
}

/// Tasks of one type.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TaskType {
    /// The type; empty when the trace lacks the begin.
    pub name: String,
    /// How many.
    pub count: u64,
    /// Those that began before the trace or ended after it.
    pub incomplete: u64,
    /// Nanoseconds of the others.
    pub nanos: Percentiles,
    /// In how much of that the collector was marking.
    pub marking_nanos: u64,
    /// Regions in them.
    pub regions: u64,
    /// Messages in them.
    pub logs: u64,
}

/// Regions of one type in goroutines that start with one function.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RegionType {
    /// The type.
    pub name: String,
    /// The outermost function; empty when the trace does not tell.
    pub function: String,
    /// How many.
    pub count: u64,
    /// Those that began before the trace or ended after it.
    pub incomplete: u64,
    /// Nanoseconds of the others.
    pub nanos: Percentiles,
}

/// Makes [`Tasks`].
#[derive(Debug)]
pub struct Tasker {
    names: Names,
    start: Option<Time>,
    end: Time,
    tasks: AHashMap<TaskId, TaskTimes>,
    /// Regions that each goroutine is in, innermost last.
    inside: AHashMap<GoId, Vec<OpenRegion>>,
    regions: BTreeMap<(Name, Option<Name>), RegionTimes>,
    logs: u64,
    marking: Marking,
    details: Details,
}

/// What is known of a task; a trace may lack any of it.
#[derive(Clone, Copy, Debug, Default)]
struct TaskTimes {
    name: Option<Name>,
    parent: Option<TaskId>,
    begin: Option<Time>,
    end: Option<Time>,
    regions: u32,
    logs: u32,
}

#[derive(Clone, Copy, Debug)]
struct OpenRegion {
    name: Name,
    function: Option<Name>,
    begin: Time,
    /// Its place among the details.
    detail: Option<usize>,
}

#[derive(Debug, Default)]
struct RegionTimes {
    incomplete: u64,
    nanos: Vec<f64>,
}

/// When the collector marked.
#[derive(Debug, Default)]
struct Marking {
    /// Begin, end, and nanoseconds of all before.
    spans: Vec<(Time, Time, u64)>,
    since: Option<Time>,
}

impl Default for Tasker {
    fn default() -> Tasker {
        Tasker::new(Wanted::Nothing)
    }
}

impl Tasker {
    /// Keeps one task in detail.
    pub fn of_task(task: TaskId) -> Tasker {
        Tasker::new(Wanted::Task(task))
    }

    /// Keeps tasks in detail whose type matches.
    pub fn of_types(types: Regex) -> Tasker {
        Tasker::new(Wanted::Types(types))
    }

    fn new(wanted: Wanted) -> Tasker {
        Tasker {
            names: Names::default(),
            start: None,
            end: Time(0),
            tasks: AHashMap::new(),
            inside: AHashMap::new(),
            regions: BTreeMap::new(),
            logs: 0,
            marking: Marking::default(),
            details: Details::new(wanted),
        }
    }

    /// Ends; regions that go on are incomplete.
    pub fn finish(mut self) -> Tasks {
        for region in std::mem::take(&mut self.inside).into_values().flatten() {
            self.regions.entry((region.name, region.function)).or_default().incomplete += 1;
        }
        self.marking.ends(self.end);
        let start = self.start.unwrap_or(self.end);
        Tasks {
            duration_nanos: self.end.nanos_since(start),
            types: self.types(),
            regions: self.region_types(),
            logs: self.logs,
            tasks: self.details(start),
        }
    }

    fn types(&self) -> Vec<TaskType> {
        let mut types: BTreeMap<&str, (TaskType, Vec<f64>)> = BTreeMap::new();
        for task in self.tasks.values() {
            let name = task.name.map_or("", |name| self.names.text(name));
            let (of, nanos) = types.entry(name).or_default();
            of.count += 1;
            of.regions += u64::from(task.regions);
            of.logs += u64::from(task.logs);
            match task.begin.zip(task.end) {
                Some((begin, end)) => {
                    nanos.push(end.nanos_since(begin) as f64);
                    let marked = self.marking.within(begin, end);
                    of.marking_nanos = of.marking_nanos.saturating_add(marked);
                }
                None => of.incomplete += 1,
            }
        }
        let types = types.into_iter().map(|(name, (of, nanos))| TaskType {
            name: name.to_owned(),
            nanos: Percentiles::of(nanos),
            ..of
        });
        types.collect()
    }

    fn region_types(&mut self) -> Vec<RegionType> {
        let text = |name: Name| self.names.text(name).to_owned();
        let mut types: Vec<RegionType> = Vec::with_capacity(self.regions.len());
        for ((name, function), times) in std::mem::take(&mut self.regions) {
            types.push(RegionType {
                name: text(name),
                function: function.map_or(String::new(), text),
                count: times.incomplete + times.nanos.len() as u64,
                incomplete: times.incomplete,
                nanos: Percentiles::of(times.nanos),
            });
        }
        types.sort_by(|a, b| a.name.cmp(&b.name).then_with(|| a.function.cmp(&b.function)));
        types
    }

    fn task(&mut self, id: TaskId) -> Option<&mut TaskTimes> {
        (id != BACKGROUND).then(|| self.tasks.entry(id).or_default())
    }

    fn task_begins(&mut self, event: &Event, id: TaskId, parent: TaskId, name: Name) {
        let Some(task) = self.task(id) else { return };
        task.name = Some(name);
        task.begin = Some(event.time);
        task.parent = Some(parent).filter(|parent| *parent != TaskId::NONE);
        self.details.begins(id, self.names.text(name));
        self.details.touches(id, event.goroutine);
    }

    fn task_ends(&mut self, event: &Event, id: TaskId, parent: TaskId) {
        let Some(task) = self.task(id) else { return };
        task.end = Some(event.time);
        if parent != TaskId::NONE {
            task.parent = Some(parent);
        }
        self.details.touches(id, event.goroutine);
    }

    fn region_begins(&mut self, event: &Event, id: TaskId, name: Name, tables: &Tables<'_>) {
        if let Some(task) = self.task(id) {
            task.regions += 1;
        }
        let outermost = tables.stack(event.stack).last().and_then(|frame| tables.frame(*frame));
        let function = outermost.map(|frame| self.names.of(frame.function, tables));
        let begin = Some(event.time);
        let detail = self.details.region(id, self.names.text(name), event.goroutine, begin);
        let region = OpenRegion { name, function, begin: event.time, detail };
        self.inside.entry(event.goroutine).or_default().push(region);
    }

    fn region_ends(&mut self, event: &Event, id: TaskId, name: Name) {
        let inside = self.inside.get_mut(&event.goroutine);
        if let Some(region) = inside.and_then(Vec::pop) {
            self.ends(region, event.time);
            return;
        }
        // It began before the trace.
        if let Some(task) = self.task(id) {
            task.regions += 1;
        }
        let detail = self.details.region(id, self.names.text(name), event.goroutine, None);
        self.details.region_ends(detail, event.time);
        self.regions.entry((name, None)).or_default().incomplete += 1;
    }

    fn ends(&mut self, region: OpenRegion, end: Time) {
        let times = self.regions.entry((region.name, region.function)).or_default();
        times.nanos.push(end.nanos_since(region.begin) as f64);
        self.details.region_ends(region.detail, end);
    }

    fn logged(&mut self, event: &Event, id: TaskId, texts: [StringId; 2], tables: &Tables<'_>) {
        self.logs += 1;
        if let Some(task) = self.task(id) {
            task.logs += 1;
        }
        let texts = || texts.map(|text| tables.text(text).into_owned());
        self.details.logged(id, event.goroutine, event.time, texts);
    }

    /// A goroutine that ends, or blocks for ever, ends its regions.
    fn goroutine(&mut self, event: &Event, change: &GoTransition, tables: &Tables<'_>) {
        let is_over = match change.to {
            GoState::NotExist => true,
            GoState::Waiting => {
                let reason = self.names.of(change.reason, tables);
                self.names.text(reason) == "forever"
            }
            _ => false,
        };
        if is_over && let Some(inside) = self.inside.remove(&change.goroutine) {
            for region in inside {
                self.ends(region, event.time);
            }
        }
    }
}

impl Marking {
    fn begins(&mut self, time: Time) {
        self.since.get_or_insert(time);
    }

    fn ends(&mut self, time: Time) {
        if let Some(since) = self.since.take() {
            let before = self.spans.last().map_or(0, |last| last.2 + last.1.nanos_since(last.0));
            self.spans.push((since, time, before));
        }
    }

    /// Nanoseconds of marking before a time.
    fn until(&self, time: Time) -> u64 {
        let at = self.spans.partition_point(|span| span.0 < time);
        let span = at.checked_sub(1).and_then(|at| self.spans.get(at));
        span.map_or(0, |span| span.2 + time.min(span.1).nanos_since(span.0))
    }

    fn within(&self, begin: Time, end: Time) -> u64 {
        self.until(end).saturating_sub(self.until(begin))
    }
}

impl Analysis for Tasker {
    fn event(&mut self, event: &Event, tables: &Tables<'_>) {
        let start = *self.start.get_or_insert(event.time);
        self.end = event.time;
        match event.what {
            What::Sync { .. } => self.names.forget_ids(),
            What::TaskBegin { task, parent, name } => {
                let name = self.names.of(name, tables);
                self.task_begins(event, task, parent, name);
            }
            What::TaskEnd { task, parent } => self.task_ends(event, task, parent),
            What::RegionBegin { task, name } => {
                let name = self.names.of(name, tables);
                self.region_begins(event, task, name, tables);
            }
            What::RegionEnd { task, name } => {
                let name = self.names.of(name, tables);
                self.region_ends(event, task, name);
            }
            What::Log { task, category, message } => {
                self.logged(event, task, [category, message], tables);
            }
            What::Goroutine(change) if !self.inside.is_empty() => {
                self.goroutine(event, &change, tables);
            }
            What::RangeBegin(Range::Mark) => self.marking.begins(event.time),
            // In every generation; the first is news, and began before the trace.
            What::RangeActive(Range::Mark) => self.marking.begins(start),
            What::RangeEnd(Range::Mark) => self.marking.ends(event.time),
            _ => {}
        }
    }
}
