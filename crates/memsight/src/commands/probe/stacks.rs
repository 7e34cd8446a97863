//! Stacks of any process, by name; and what the commands that show them have in common.

use std::time::{Duration, Instant};

use analyze::code;
use analyze::outstanding::{NativeFrame, responsible};
use capture::ProcessTarget;
use capture::find::{binary_name, one_process_by_name};
use capture::names::{ProcessNames, StackNamer};
use model::{Addr, Frame, Profile, StackId, Target, TargetSpec};

use crate::failure::Failure;

/// A process of whatever program.
pub(super) struct AnyProcess {
    pub(super) target: Target,
    pub(super) pid: u32,
    pub(super) names: ProcessNames,
    /// Module of a Go program; `None` of others.
    module: Option<String>,
    looked: Instant,
    /// How long until it is looked at again.
    pause: Duration,
}

/// Libraries are loaded early, most of the time.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LAST_PAUSE: Duration = Duration::from_secs(16);

impl AnyProcess {
    /// Finds it by its id or name.
    pub(super) fn find(target: &str) -> Result<AnyProcess, Failure> {
        let pid = super::process_of(target, one_process_by_name)?;
        let names = ProcessNames::open(pid)?;
        let go = ProcessTarget::attach(pid).ok();
        let name = binary_name(pid, names.executable());
        let spec = TargetSpec::Pid(pid);
        Ok(AnyProcess {
            target: Target { name, spec, pid: Some(pid), labels: Default::default() },
            pid,
            names,
            module: go.map(|go| go.binary().info.module.clone()),
            looked: Instant::now(),
            pause: FIRST_PAUSE,
        })
    }

    /// Says that the probe is there: what the process does from now on is seen.
    pub(super) fn say_begun(&self, duration: Duration) {
        let (name, pid, seconds) = (&self.target.name, self.pid, duration.as_secs_f64());
        eprintln!("memsight: looking at {name} (pid {pid}) for {seconds} s; Ctrl-C ends it early");
    }

    /// Reads again what is mapped, so that it has names when it has ended: soon, then more and more
    /// seldom. Says whether it was time to.
    pub(super) fn refresh(&mut self) -> bool {
        let is_due = self.looked.elapsed() >= self.pause;
        if is_due {
            // It may have ended, which the caller sees.
            let _ = self.names.refresh();
            self.looked = Instant::now();
            self.pause = (self.pause * 2).min(LAST_PAUSE);
        }
        is_due
    }

    /// Puts stacks into a profile, by name.
    pub(super) fn name(&mut self, profile: &mut Profile, stacks: &[&[Addr]]) -> Vec<StackId> {
        let code: Vec<Vec<Addr>> = stacks.iter().map(|stack| instructions(stack)).collect();
        self.names.look_up(code.iter().flatten().copied());
        let mut namer = StackNamer::new(profile, &self.names);
        code.iter().map(|stack| namer.stack(profile, &self.names, stack)).collect()
    }

    /// The call that is responsible for a stack.
    pub(super) fn site(&self, profile: &Profile, stack: StackId) -> Option<Frame> {
        match &self.module {
            Some(module) => code::responsible(&frames_of(profile, stack), module).cloned(),
            None => {
                let frames = frames_with_objects(profile, stack);
                responsible(&frames, self.names.executable()).cloned().map(without_object)
            }
        }
    }
}

/// The frames of a stack, innermost first.
pub(super) fn frames_of(profile: &Profile, stack: StackId) -> Vec<Frame> {
    frames_with_objects(profile, stack).into_iter().map(without_object).collect()
}

fn without_object(frame: NativeFrame) -> Frame {
    Frame { function: frame.function, file: frame.file, line: frame.line }
}

/// The calls of a stack, innermost first, those inlined included.
pub(super) fn frames_with_objects(profile: &Profile, stack: StackId) -> Vec<NativeFrame> {
    let mut frames = Vec::new();
    for location in profile.stacks.get(stack) {
        let Some(location) = profile.locations.get(location.0 as usize) else { continue };
        let mapping = location.mapping.and_then(|id| profile.mappings.get(id.0 as usize));
        let object = mapping.map_or("", |mapping| profile.str(mapping.filename));
        frames.extend(location.lines.iter().map(|line| {
            let function = profile.functions.get(line.function.0 as usize).copied();
            let function = function.unwrap_or_default();
            NativeFrame {
                function: profile.str(function.name).to_owned(),
                file: profile.str(function.filename).to_owned(),
                line: u32::try_from(line.line).unwrap_or(0),
                object: object.to_owned(),
            }
        }));
    }
    frames
}

/// Addresses of instructions: the first is one, the others are those behind a call.
fn instructions(stack: &[Addr]) -> Vec<Addr> {
    let back = |(index, at): (usize, &Addr)| Addr(at.0.saturating_sub(u64::from(index > 0)));
    stack.iter().enumerate().map(back).collect()
}
