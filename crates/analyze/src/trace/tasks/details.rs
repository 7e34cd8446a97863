//! All that is known of the tasks that were asked for.

use std::collections::BTreeSet;

use ahash::{AHashMap, AHashSet};
use model::trace::{GoId, TaskId, Time};
use regex::Regex;

use super::Tasker;

/// A task in detail. Times are nanoseconds from the begin of the trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Its number.
    pub id: TaskId,
    /// Its type; empty when the trace lacks its begin.
    pub name: String,
    /// The task within which it is.
    pub parent: Option<TaskId>,
    /// Tasks within it, in the order of their begin.
    pub children: Vec<Child>,
    /// `None` when it was before the trace.
    pub begin_nanos: Option<u64>,
    /// `None` when it is after the trace.
    pub end_nanos: Option<u64>,
    /// In how much of it the collector was marking.
    pub marking_nanos: u64,
    /// Those that began or ended it, had a region in it, or logged.
    pub goroutines: Vec<GoId>,
    /// Its regions, in the order in which they turn up.
    pub regions: Vec<Region>,
    /// Its messages.
    pub logs: Vec<Log>,
}

/// A task within another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    /// Its number.
    pub id: TaskId,
    /// Its type.
    pub name: String,
    /// `None` when it was before the trace.
    pub begin_nanos: Option<u64>,
    /// `None` when it is after the trace.
    pub end_nanos: Option<u64>,
}

/// A region of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// Its type.
    pub name: String,
    /// Whose it is.
    pub goroutine: GoId,
    /// `None` when it was before the trace.
    pub begin_nanos: Option<u64>,
    /// `None` when it is after the trace.
    pub end_nanos: Option<u64>,
}

/// A message of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// When.
    pub at_nanos: u64,
    /// By whom.
    pub goroutine: GoId,
    /// Its category; may be empty.
    pub category: String,
    /// What it says.
    pub message: String,
}

/// Which tasks are kept in detail.
#[derive(Debug)]
pub(super) enum Wanted {
    Nothing,
    Task(TaskId),
    Types(Regex),
}

#[derive(Debug)]
pub(super) struct Details {
    wanted: Wanted,
    /// Those whose type matched when they began.
    chosen: AHashSet<TaskId>,
    goroutines: AHashMap<TaskId, BTreeSet<GoId>>,
    regions: Vec<(TaskId, Region, [Option<Time>; 2])>,
    logs: Vec<(TaskId, Log, Time)>,
}

impl Details {
    pub(super) fn new(wanted: Wanted) -> Details {
        Details {
            wanted,
            chosen: AHashSet::new(),
            goroutines: AHashMap::new(),
            regions: Vec::new(),
            logs: Vec::new(),
        }
    }

    fn wants(&self, id: TaskId) -> bool {
        match self.wanted {
            Wanted::Nothing => false,
            Wanted::Task(task) => task == id,
            Wanted::Types(_) => self.chosen.contains(&id),
        }
    }

    pub(super) fn begins(&mut self, id: TaskId, name: &str) {
        if let Wanted::Types(types) = &self.wanted
            && types.is_match(name)
        {
            self.chosen.insert(id);
        }
    }

    pub(super) fn touches(&mut self, id: TaskId, goroutine: GoId) {
        if self.wants(id) {
            self.goroutines.entry(id).or_default().insert(goroutine);
        }
    }

    /// Where it is kept, if it is.
    pub(super) fn region(
        &mut self,
        id: TaskId,
        name: &str,
        goroutine: GoId,
        begin: Option<Time>,
    ) -> Option<usize> {
        if !self.wants(id) {
            return None;
        }
        self.touches(id, goroutine);
        let (name, begin_nanos, end_nanos) = (name.to_owned(), None, None);
        let region = Region { name, goroutine, begin_nanos, end_nanos };
        self.regions.push((id, region, [begin, None]));
        Some(self.regions.len() - 1)
    }

    pub(super) fn region_ends(&mut self, at: Option<usize>, time: Time) {
        if let Some((_, _, [_, end])) = at.and_then(|at| self.regions.get_mut(at)) {
            *end = Some(time);
        }
    }

    pub(super) fn logged(
        &mut self,
        id: TaskId,
        goroutine: GoId,
        time: Time,
        texts: impl FnOnce() -> [String; 2],
    ) {
        if self.wants(id) {
            self.touches(id, goroutine);
            let [category, message] = texts();
            self.logs.push((id, Log { at_nanos: 0, goroutine, category, message }, time));
        }
    }
}

impl Tasker {
    /// The tasks that were asked for, in the order of their begin.
    pub(super) fn details(&mut self, start: Time) -> Vec<Task> {
        let nanos = |time: Option<Time>| time.map(|time| time.nanos_since(start));
        let mut found: AHashMap<TaskId, Task> = AHashMap::new();
        for (id, times) in &self.tasks {
            if self.details.wants(*id) {
                let (begin, end) = (times.begin.unwrap_or(start), times.end.unwrap_or(self.end));
                let goroutines = self.details.goroutines.remove(id).unwrap_or_default();
                found.insert(
                    *id,
                    Task {
                        id: *id,
                        name: times.name.map_or("", |name| self.names.text(name)).to_owned(),
                        parent: times.parent,
                        children: Vec::new(),
                        begin_nanos: nanos(times.begin),
                        end_nanos: nanos(times.end),
                        marking_nanos: self.marking.within(begin, end),
                        goroutines: goroutines.into_iter().collect(),
                        regions: Vec::new(),
                        logs: Vec::new(),
                    },
                );
            }
        }
        for (id, times) in &self.tasks {
            if let Some(parent) = times.parent.and_then(|parent| found.get_mut(&parent)) {
                parent.children.push(Child {
                    id: *id,
                    name: times.name.map_or("", |name| self.names.text(name)).to_owned(),
                    begin_nanos: nanos(times.begin),
                    end_nanos: nanos(times.end),
                });
            }
        }
        for (id, mut region, times) in std::mem::take(&mut self.details.regions) {
            [region.begin_nanos, region.end_nanos] = times.map(nanos);
            if let Some(task) = found.get_mut(&id) {
                task.regions.push(region);
            }
        }
        for (id, mut log, time) in std::mem::take(&mut self.details.logs) {
            log.at_nanos = time.nanos_since(start);
            if let Some(task) = found.get_mut(&id) {
                task.logs.push(log);
            }
        }
        let mut tasks: Vec<Task> = found.into_values().collect();
        for task in &mut tasks {
            task.children.sort_by_key(|child| (child.begin_nanos, child.id));
        }
        tasks.sort_by_key(|task| (task.begin_nanos, task.id));
        tasks
    }
}
