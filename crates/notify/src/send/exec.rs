//! A program that is started for each notification: no shell, the webhook's payload as input,
//! killed with its whole process group when it takes too long.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use httpclient::Secret;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::{Failure, Words};
use crate::config;
use crate::template::Templates;

/// So much is kept of what it prints: the end of it.
const OUTPUT_BYTES_MAX: usize = 4096;
/// How often it is looked whether it is done.
const POLL: Duration = Duration::from_millis(20);
/// After its end, children of it may hold its output open for so long.
const OUTPUT_WAIT: Duration = Duration::from_millis(500);
/// From our own environment it gets only these.
const ENVIRONMENT: [&str; 6] = ["PATH", "HOME", "LANG", "TZ", "TMPDIR", "USER"];

pub(super) struct Exec {
    program: String,
    arguments: Vec<String>,
    environment: BTreeMap<String, Secret>,
    timeout: Duration,
}

impl Exec {
    pub(super) fn new(config: &config::Exec, templates: &Templates) -> Result<Exec, String> {
        let (program, arguments) = config.command.split_first().ok_or("command is empty")?;
        arguments.iter().try_for_each(|argument| templates.check(argument))?;
        Ok(Exec {
            program: program.clone(),
            arguments: arguments.to_vec(),
            environment: config.env.clone(),
            timeout: if config.timeout.0.is_zero() {
                Duration::from_secs(60)
            } else {
                config.timeout.0
            },
        })
    }

    pub(super) fn send(&self, words: &Words<'_>) -> Result<(), Failure> {
        let arguments = self.arguments.iter().map(|argument| words.text(argument));
        let arguments = arguments.collect::<Result<Vec<String>, Failure>>()?;
        let mut child = self.start(&arguments).map_err(|error| self.not_started(&error))?;
        let input = words.message.to_json();
        let mut pipes = Pipes::new(&mut child, input.as_bytes());
        let is_ended = self.wait(&child, &mut pipes);
        // It is not reaped yet, so that its group's number is nobody else's: what it left behind
        // goes with it.
        kill_group(&child);
        self.judge(is_ended, child.wait(), &pipes.tail)
    }

    fn start(&self, arguments: &[String]) -> std::io::Result<Child> {
        let inherited =
            ENVIRONMENT.iter().filter_map(|name| Some((*name, std::env::var_os(name)?)));
        Command::new(&self.program)
            .args(arguments)
            .env_clear()
            .envs(inherited)
            .envs(self.environment.iter().map(|(name, value)| (name, value.reveal())))
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
    }

    fn not_started(&self, error: &std::io::Error) -> Failure {
        let message = format!("cannot start {}: {error}", self.program);
        match error.kind() {
            ErrorKind::NotFound | ErrorKind::PermissionDenied => Failure::refused("exec", message),
            _ => Failure::retry("exec", message),
        }
    }

    /// Waits for its end, without reaping it; `false` when it took too long.
    fn wait(&self, child: &Child, pipes: &mut Pipes<'_>) -> bool {
        let until = Instant::now() + self.timeout;
        let mut output_until = None;
        loop {
            let is_open = pipes.exchange();
            let now = Instant::now();
            if output_until.is_none() && has_ended(child) {
                output_until = Some(now + OUTPUT_WAIT);
            }
            match output_until {
                // Children of it that live on may keep its output open.
                Some(output_until) if !is_open || now >= output_until => return true,
                None if now >= until => return false,
                _ => {}
            }
        }
    }

    fn judge(
        &self,
        is_ended: bool,
        status: std::io::Result<ExitStatus>,
        tail: &VecDeque<u8>,
    ) -> Result<(), Failure> {
        let tail: Vec<u8> = tail.iter().copied().collect();
        let tail = String::from_utf8_lossy(&tail);
        let tail = last(tail.trim());
        if !is_ended {
            let limit = model::units::format_duration(self.timeout);
            return Err(Failure::unsure("timeout", format!("killed after {limit}: {tail}")));
        }
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(Failure::retry("exec", format!("{status}: {tail}"))),
            Err(error) => Err(Failure::unsure("exec", error.to_string())),
        }
    }
}

/// The end of a text that is cut at its end elsewhere.
fn last(text: &str) -> String {
    let count = text.chars().count();
    text.chars().skip(count.saturating_sub(400)).collect()
}

fn process(child: &Child) -> Option<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw)
}

fn kill_group(child: &Child) {
    if let Some(pid) = process(child) {
        // Nobody may be left in it.
        let _ = kill_process_group(pid, Signal::KILL);
    }
}

fn has_ended(child: &Child) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let waited = process(child).map(|pid| waitid(WaitId::Pid(pid), options));
    // Without a child to wait for there is nothing to wait for.
    !matches!(waited, Some(Ok(None)))
}

/// Input that is left and output that is kept, moved without blocking.
struct Pipes<'a> {
    input: Option<ChildStdin>,
    left: &'a [u8],
    outputs: Vec<File>,
    tail: VecDeque<u8>,
}

impl<'a> Pipes<'a> {
    fn new(child: &mut Child, input: &'a [u8]) -> Pipes<'a> {
        let outputs = [
            child.stdout.take().map(|stream| File::from(OwnedFd::from(stream))),
            child.stderr.take().map(|stream| File::from(OwnedFd::from(stream))),
        ];
        let outputs: Vec<File> = outputs.into_iter().flatten().collect();
        let stdin = child.stdin.take();
        for fd in outputs.iter().map(AsFd::as_fd).chain(stdin.iter().map(AsFd::as_fd)) {
            // Our ends of pipes that were just made.
            let _ = rustix::fs::fcntl_setfl(fd, rustix::fs::OFlags::NONBLOCK);
        }
        Pipes { input: stdin, left: input, outputs, tail: VecDeque::new() }
    }

    /// Moves what can be moved within a moment; `false` when its output is closed.
    fn exchange(&mut self) -> bool {
        if self.outputs.is_empty() {
            // It closed its output and goes on.
            std::thread::sleep(POLL);
        }
        let outputs = self.outputs.iter().map(|output| PollFd::new(output, PollFlags::IN));
        let input = self.input.iter().map(|input| PollFd::new(input, PollFlags::OUT));
        let mut fds: Vec<PollFd<'_>> = outputs.chain(input).collect();
        let wait = Timespec { tv_sec: 0, tv_nsec: i64::from(POLL.subsec_nanos()) };
        let _ = poll(&mut fds, Some(&wait));
        drop(fds);
        self.feed();
        let tail = &mut self.tail;
        self.outputs.retain_mut(|output| keep_tail(output, tail));
        !self.outputs.is_empty()
    }

    fn feed(&mut self) {
        let Some(input) = &mut self.input else { return };
        match input.write(self.left) {
            Ok(count) => self.left = self.left.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            // It need not read its input.
            Err(_) => self.left = &[],
        }
        if self.left.is_empty() {
            self.input = None;
        }
    }
}

/// Reads what is there; `false` at its end.
fn keep_tail(output: &mut File, tail: &mut VecDeque<u8>) -> bool {
    let mut chunk = [0; 65_536];
    match output.read(&mut chunk) {
        Ok(0) => false,
        Ok(count) => {
            tail.extend(chunk.get(..count).unwrap_or_default());
            let excess = tail.len().saturating_sub(OUTPUT_BYTES_MAX);
            tail.drain(..excess);
            true
        }
        Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
    }
}
