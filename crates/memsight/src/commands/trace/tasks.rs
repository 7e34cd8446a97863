//! `memsight trace tasks`.

use std::process::ExitCode;

use analyze::trace::tasks::Tasker;
use model::trace::TaskId;
use render::paint::Paint;

use super::analyze;
use crate::args::trace::TraceTasksArgs;
use crate::failure::Failure;
use crate::terminal::print;

/// Prints the program's tasks and regions by type, and those that were asked for.
pub(crate) fn run(args: &TraceTasksArgs, paint: Paint) -> Result<ExitCode, Failure> {
    let mut tasker = match (args.task, &args.types) {
        (Some(task), _) => Tasker::of_task(TaskId(task)),
        (None, Some(types)) => Tasker::of_types(types.clone()),
        (None, None) => Tasker::default(),
    };
    let done = analyze(&args.trace.file, &mut tasker)?;
    let tasks = tasker.finish();
    if let Some(task) = args.task.filter(|_| tasks.tasks.is_empty()) {
        let failure = Failure::usage(format!("the trace has no task {task}"));
        return Err(failure.next("--type REGEX shows tasks with their numbers"));
    }
    let warning = done.warning.as_deref();
    print(match args.trace.json {
        true => format!("{:#}\n", render::trace::tasks::value(&tasks, args.n, warning)),
        false => render::trace::tasks::text(&tasks, args.n, warning, paint),
    })?;
    Ok(ExitCode::SUCCESS)
}
