//! What is switched on in a target while memsight runs: `--enable-profiling`, and
//! `trace record --allocfree`.
//!
//! A second process of ours waits for the end of a pipe whose other end we hold. We
//! end, in whatever way, the kernel closes the pipe, and it restores the word. It is
//! in a process group of its own, so that Ctrl-C does not reach it.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};

use anyhow::Context;
use capture::LiveTarget;
use capture::switch::{DEFAULT_RATE, Width, Word};
use model::{Addr, TargetSpec};

use crate::args::RestoreArgs;
use crate::failure::Failure;

/// Something is on in a target while this lives.
pub(crate) struct SwitchedOn {
    watchdog: Child,
    pipe: Option<ChildStdin>,
}

impl SwitchedOn {
    /// Switches sampling on where it is off; `None` where it is on already.
    pub(crate) fn profiling(spec: &TargetSpec) -> Result<Option<SwitchedOn>, Failure> {
        let LiveTarget::Process(process) = LiveTarget::attach(spec)? else {
            let failure = Failure::usage("--enable-profiling needs a process on this machine");
            return Err(failure.next("give its PID or name:REGEX instead of a URL"));
        };
        let word = process.profile_rate_word()?;
        if word.original != 0 {
            return Ok(None);
        }
        SwitchedOn::write(&word, DEFAULT_RATE, "runtime.MemProfileRate").map(Some)
    }

    /// Lets traces have events about heap objects.
    pub(crate) fn trace_objects(word: &Word) -> Result<SwitchedOn, Failure> {
        SwitchedOn::write(word, 1, "runtime.debug.traceallocfree")
    }

    fn write(word: &Word, value: i64, name: &str) -> Result<SwitchedOn, Failure> {
        // The watchdog first: from the write on there is somebody to undo it.
        let mut command = Command::new(std::env::current_exe().context("our own executable")?);
        let numbers = [
            u64::from(word.pid).to_string(),
            word.start_ticks.to_string(),
            word.address.0.to_string(),
            word.width.bytes().to_string(),
            word.original.to_string(),
            value.to_string(),
        ];
        command.arg("restore-word").args(numbers).process_group(0).stdin(Stdio::piped());
        let mut watchdog = command.spawn().context("cannot start the watchdog")?;
        let pipe = watchdog.stdin.take();
        let on = SwitchedOn { watchdog, pipe };
        word.write(value)?;
        eprintln!(
            "memsight: wrote {name} = {value} into process {}; it is restored when memsight ends",
            word.pid
        );
        Ok(on)
    }
}

impl Drop for SwitchedOn {
    fn drop(&mut self) {
        drop(self.pipe.take());
        let _ = self.watchdog.wait();
    }
}

/// The watchdog: waits for the end of standard input, then restores.
pub(crate) fn restore(args: &RestoreArgs) -> Result<ExitCode, Failure> {
    let mut nothing = Vec::new();
    let _ = std::io::stdin().lock().read_to_end(&mut nothing);
    let width = Width::of_bytes(args.bytes).context("a word has 4 or 8 bytes")?;
    let word = Word {
        pid: args.pid,
        start_ticks: args.start_ticks,
        address: Addr(args.address),
        width,
        original: args.original,
    };
    word.restore(args.written)?;
    Ok(ExitCode::SUCCESS)
}
