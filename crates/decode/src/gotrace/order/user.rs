//! What the program says through runtime/trace: labels, tasks, regions and logs.

use model::trace::{StackId, StringId, TaskId, What};

use super::{Disorder, Outcome, Part, Region, Scheduler, Step};
use crate::gotrace::spec;

impl<'a> Scheduler<'a> {
    /// Labels and logs change nothing.
    pub(super) fn note(&mut self, step: Step<'_>) -> Outcome {
        step.now.needs_all()?;
        if step.raw.kind == spec::GO_LABEL {
            let what = What::Label(StringId(step.argument(0)));
            return self.done(step, step.now, StackId(0), what);
        }
        let what = What::Log {
            task: TaskId(step.argument(0)),
            category: StringId(step.argument(1)),
            message: StringId(step.argument(2)),
        };
        self.done(step, step.now, step.stack(3), what)
    }

    /// Tasks may be used before they begin and end twice; only two beginnings are wrong.
    pub(super) fn task_begin(&mut self, step: Step<'_>, part: &Part<'_, 'a>) -> Outcome {
        let task = TaskId(step.argument(0));
        if self.tasks.contains_key(&task) {
            return Err(format!("task ID conflict: {}", task.0));
        }
        let parent = match step.argument(1) {
            0 => TaskId::NONE,
            parent => TaskId(parent),
        };
        let name = StringId(step.argument(2));
        text(step, name, part)?;
        self.tasks.insert(task, parent);
        step.now.needs_all()?;
        self.done(step, step.now, step.stack(3), What::TaskBegin { task, parent, name })
    }

    pub(super) fn task_end(&mut self, step: Step<'_>) -> Outcome {
        let task = TaskId(step.argument(0));
        let parent = self.tasks.remove(&task).unwrap_or(TaskId::NONE);
        step.now.needs_all()?;
        self.done(step, step.now, step.stack(1), What::TaskEnd { task, parent })
    }

    pub(super) fn region_begin(&mut self, step: Step<'_>, part: &Part<'_, 'a>) -> Outcome {
        step.now.needs_all()?;
        let (task, name) = (step.argument(0), StringId(step.argument(1)));
        let region = Region { task, name: text(step, name, part)? };
        self.current(step)?.regions.push(region);
        let what = What::RegionBegin { task: TaskId(task), name };
        self.done(step, step.now, step.stack(2), what)
    }

    pub(super) fn region_end(&mut self, step: Step<'_>, part: &Part<'_, 'a>) -> Outcome {
        step.now.needs_all()?;
        let (task, name) = (step.argument(0), StringId(step.argument(1)));
        let region = Region { task, name: text(step, name, part)? };
        let regions = &mut self.current(step)?.regions;
        // Without an open one, it began before the trace.
        if let Some(inner) = regions.pop()
            && inner != region
            && !part.is_cut
        {
            return Err(format!(
                "misuse of region in goroutine {}: {:?} ends within {:?}",
                step.now.goroutine.0,
                String::from_utf8_lossy(region.name),
                String::from_utf8_lossy(inner.name),
            ));
        }
        let what = What::RegionEnd { task: TaskId(task), name };
        self.done(step, step.now, step.stack(2), what)
    }
}

fn text<'a>(step: Step<'_>, id: StringId, part: &Part<'_, 'a>) -> Result<&'a [u8], Disorder> {
    match part.tables.string(id) {
        Some(text) => Ok(text),
        None if part.is_cut => Ok(b""),
        None => Err(format!("invalid string ID {} for {} event", id.0, step.name())),
    }
}
