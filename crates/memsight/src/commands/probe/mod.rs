//! `memsight probe`: probes in the kernel, one module each.

mod alloc;
mod exec;
mod faults;
mod mmap;
mod native;
mod oom;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use agent::probes::{AnyProcess, End};
use analyze::frames;
use anyhow::Context;
use capture::CaptureError;
use capture::find::one_process_by_name;
use model::probe::ProbeCounts;
use model::{Frame, Profile, SampleId, TargetSpec, Timestamp};
use render::paint::Paint;
use tokio::runtime::Runtime;

use crate::args::probe::ProbeCommand;
use crate::failure::Failure;
use crate::{atomic, interrupt};

/// Runs a probe.
pub(crate) fn run(command: &ProbeCommand, paint: Paint) -> Result<ExitCode, Failure> {
    match command {
        ProbeCommand::Exec(args) => exec::run(args, paint),
        ProbeCommand::Alloc(args) => alloc::run(args, paint),
        ProbeCommand::Native(args) => native::run(args, paint),
        ProbeCommand::Oom(args) => oom::run(args, paint),
        ProbeCommand::Faults(args) => faults::run(args, paint),
        ProbeCommand::Mmap(args) => mmap::run(args, paint),
    }
}

/// Until when a probe looks: for so long, or until Ctrl-C.
struct Until {
    end: Option<Instant>,
    signalled: Arc<AtomicBool>,
    _runtime: Runtime,
}

/// How often Ctrl-C is looked for.
const STEP: Duration = Duration::from_millis(100);

impl Until {
    fn new(duration: Option<Duration>) -> Result<Until, Failure> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build();
        let runtime = runtime.context("cannot handle signals")?;
        let signalled = interrupt::flag(&runtime).context("cannot handle signals")?;
        let end = duration.map(|duration| Instant::now() + duration);
        Ok(Until { end, signalled, _runtime: runtime })
    }

    /// How long to wait for the next events; `None` when it is over.
    fn step(&self) -> Option<Duration> {
        if self.signalled.load(Ordering::Relaxed) {
            return None;
        }
        let left = match self.end {
            Some(end) => end.checked_duration_since(Instant::now())?,
            None => STEP,
        };
        Some(left.min(STEP))
    }
}

/// The process that is meant; names are looked up by `by_name`.
fn process_of(
    target: &str,
    by_name: impl Fn(&str) -> Result<u32, CaptureError>,
) -> Result<u32, Failure> {
    match TargetSpec::parse(target).map_err(Failure::usage)? {
        TargetSpec::Pid(pid) => Ok(pid),
        TargetSpec::Name(pattern) => Ok(by_name(&pattern)?),
        _ => {
            let failure = Failure::usage("this probe needs a process on this machine");
            Err(failure.next("give its PID or name:REGEX"))
        }
    }
}

/// A process of whatever program.
fn any_process(target: &str) -> Result<AnyProcess, Failure> {
    Ok(AnyProcess::open(process_of(target, one_process_by_name)?)?)
}

/// Says that the probe is there: what the process does from now on is seen.
fn say_begun(process: &AnyProcess, duration: Duration) {
    let (name, pid, seconds) = (&process.target.name, process.pid, duration.as_secs_f64());
    eprintln!("memsight: looking at {name} (pid {pid}) for {seconds} s; Ctrl-C ends it early");
}

/// Says why a probe ended before it was asked to.
fn say_end(pid: u32, end: End) {
    match end {
        End::Asked => {}
        End::Ended => eprintln!("memsight: process {pid} ended"),
        End::Replaced => eprintln!("memsight: process {pid} became another program"),
        End::TooDear(share) => eprintln!(
            "memsight: ended early, as the probe took {:.1} % of a core of the process's time \
             (--max-cost)",
            share * 100.0
        ),
    }
}

/// Says what was lost, if anything was.
fn warn_of_losses(counts: &ProbeCounts) {
    if counts.dropped > 0 {
        eprintln!(
            "memsight: {} events were lost, as they came faster than they were read",
            counts.dropped
        );
    }
    if counts.table_full > 0 {
        eprintln!(
            "memsight: {} times something was left out, as a table of the kernel was full",
            counts.table_full
        );
    }
    if counts.without_stack > 0 {
        eprintln!("memsight: the stack of {} events could not be read", counts.without_stack);
    }
}

/// The calls of a sample, innermost first.
fn frames(profile: &Profile, sample: SampleId) -> Vec<Frame> {
    let stack = profile.samples.stacks.get(sample.0 as usize);
    stack.map_or_else(Vec::new, |stack| frames::of(profile, *stack))
}

fn write_profile(path: &Path, profile: &Profile) -> Result<(), Failure> {
    let bytes = decode::pprof::write(profile);
    let written = atomic::create(path, |out| out.write_all(&bytes));
    Ok(written.with_context(|| path.display().to_string())?)
}

/// The time of day that people read off a clock.
fn time_of_day(time: Timestamp) -> String {
    let time = jiff::Timestamp::from_millisecond(time.0).unwrap_or_default();
    time.to_zoned(jiff::tz::TimeZone::system()).strftime("%H:%M:%S%.3f").to_string()
}
