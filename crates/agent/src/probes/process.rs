//! A process of whatever program, and stacks of it by name.

use std::time::{Duration, Instant};

use analyze::frames;
use capture::find::binary_name;
use capture::names::{ProcessNames, StackNamer};
use capture::{CaptureError, ProcessTarget};
use model::{Addr, Frame, Profile, StackId, Target, TargetSpec};

/// A process of whatever program.
pub struct AnyProcess {
    /// What it is.
    pub target: Target,
    /// Its id.
    pub pid: u32,
    /// Names of its code.
    pub names: ProcessNames,
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
    /// Reads what is mapped in it.
    ///
    /// # Errors
    /// When there is no such process, or it may not be read.
    pub fn open(pid: u32) -> Result<AnyProcess, CaptureError> {
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
    pub fn site(&self, profile: &Profile, stack: StackId) -> Option<Frame> {
        frames::responsible(profile, stack, self.module.as_deref(), self.names.executable())
    }
}

/// Addresses of instructions: the first is one, the others are those behind a call.
fn instructions(stack: &[Addr]) -> Vec<Addr> {
    let back = |(index, at): (usize, &Addr)| Addr(at.0.saturating_sub(u64::from(index > 0)));
    stack.iter().enumerate().map(back).collect()
}
