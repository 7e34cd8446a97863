//! `--enable-profiling`: sampling is switched on in the target and off again.
//!
//! A second process of ours waits for the end of a pipe whose other end we hold. We
//! end, in whatever way, the kernel closes the pipe, and it restores the word. It is
//! in a process group of its own, so that Ctrl-C does not reach it.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};

use anyhow::Context;
use capture::LiveTarget;
use capture::profiling::{DEFAULT_RATE, RateWord};
use model::{Addr, TargetSpec};

use crate::args::RestoreArgs;
use crate::failure::Failure;

/// Sampling is on while this lives.
pub(crate) struct ProfilingOn {
    watchdog: Child,
    pipe: Option<ChildStdin>,
}

impl ProfilingOn {
    /// Switches sampling on where it is off; `None` where it is on already.
    pub(crate) fn enable(spec: &TargetSpec) -> Result<Option<ProfilingOn>, Failure> {
        let LiveTarget::Process(process) = LiveTarget::attach(spec)? else {
            let failure = Failure::usage("--enable-profiling needs a process on this machine");
            return Err(failure.next("give its PID or name:REGEX instead of a URL"));
        };
        let word = process.profile_rate_word()?;
        if word.original != 0 {
            return Ok(None);
        }
        // The watchdog first: from the write on there is somebody to undo it.
        let mut command = Command::new(std::env::current_exe().context("our own executable")?);
        let numbers = [
            u64::from(word.pid).to_string(),
            word.start_ticks.to_string(),
            word.address.0.to_string(),
        ];
        command.arg("restore-profiling").args(numbers).process_group(0).stdin(Stdio::piped());
        let mut watchdog = command.spawn().context("cannot start the watchdog")?;
        let pipe = watchdog.stdin.take();
        let on = ProfilingOn { watchdog, pipe };
        word.write(DEFAULT_RATE)?;
        eprintln!(
            "memsight: wrote runtime.MemProfileRate = {DEFAULT_RATE} into process {}; it is \
             restored when memsight ends",
            word.pid
        );
        Ok(Some(on))
    }
}

impl Drop for ProfilingOn {
    fn drop(&mut self) {
        drop(self.pipe.take());
        let _ = self.watchdog.wait();
    }
}

/// The watchdog: waits for the end of standard input, then restores.
pub(crate) fn restore(args: &RestoreArgs) -> Result<ExitCode, Failure> {
    let mut nothing = Vec::new();
    let _ = std::io::stdin().lock().read_to_end(&mut nothing);
    let word = RateWord {
        pid: args.pid,
        start_ticks: args.start_ticks,
        address: Addr(args.address),
        original: 0,
    };
    word.restore(DEFAULT_RATE)?;
    Ok(ExitCode::SUCCESS)
}
