//! Programs that rules run: no shell, a bare environment, an end in time, bounded output.

use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

/// What is kept of a program's output.
const OUTPUT_MAX: u64 = 64 << 10;
/// How long a program has after it was asked to end.
const GRACE: Duration = Duration::from_secs(2);
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How a program ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// It ended by itself, with 0.
    pub is_success: bool,
    /// How it ended, in words.
    pub how: String,
    /// The first 64 KiB of what it wrote to both outputs.
    pub output: String,
}

impl Finished {
    /// One line for people.
    pub fn text(&self) -> String {
        match self.output.trim().lines().last() {
            Some(line) => format!("{}: {line}", self.how),
            None => self.how.clone(),
        }
    }
}

/// Runs a program and waits for it, at most `timeout` and not once `stop` is set. Whatever it
/// started that is in its process group ends with it.
///
/// # Errors
/// When it cannot be started.
pub fn run_program(
    argv: &[String],
    timeout: Duration,
    stop: &AtomicBool,
) -> Result<Finished, String> {
    let (program, arguments) = argv.split_first().ok_or("there is no program to run")?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("PATH", PATH).process_group(0).current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("{program}: {error}"))?;
    let outputs = [child.stdout.take().map(gather), child.stderr.take().map(gather)];
    let is_late = !wait(&child, timeout, || stop.load(Ordering::Relaxed));
    if is_late {
        signal(&child, Signal::TERM);
        wait(&child, GRACE, || false);
    }
    // The leader is not reaped yet, so the number still means its group.
    signal(&child, Signal::KILL);
    let status = child.wait().map_err(|error| format!("{program}: {error}"))?;
    let how = match is_late {
        true if stop.load(Ordering::Relaxed) => format!("{program} was ended: memsight stops"),
        true => format!("{program} was ended after {timeout:?}"),
        false => format!("{program} {}", words(status)),
    };
    let mut output = String::new();
    for bytes in outputs.into_iter().flatten() {
        // One that left its group may hold the pipe for ever.
        let bytes = bytes.recv_timeout(Duration::from_secs(1)).unwrap_or_default();
        output.push_str(&String::from_utf8_lossy(&bytes));
    }
    Ok(Finished { is_success: !is_late && status.success(), how, output })
}

/// Reads what is written, and stops reading when it is enough: the program then gets EPIPE.
fn gather(pipe: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What came before an error is worth keeping.
        let _ = pipe.take(OUTPUT_MAX).read_to_end(&mut bytes);
        let _ = sender.send(bytes);
    });
    receiver
}

/// Waits until the program has ended, without reaping it; false when it has not in time.
fn wait(child: &Child, at_most: Duration, is_over: impl Fn() -> bool) -> bool {
    let started = Instant::now();
    let Some(pid) = Pid::from_raw(child.id().cast_signed()) else { return true };
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    loop {
        match rustix::process::waitid(WaitId::Pid(pid), options) {
            Ok(None) => {}
            Ok(Some(_)) | Err(_) => return true,
        }
        if started.elapsed() >= at_most || is_over() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn signal(child: &Child, signal: Signal) {
    if let Some(group) = Pid::from_raw(child.id().cast_signed()) {
        // It fails when nobody is left in the group.
        let _ = rustix::process::kill_process_group(group, signal);
    }
}

fn words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, timeout: Duration) -> Finished {
        let argv = ["/bin/sh", "-c", script].map(str::to_owned);
        run_program(&argv, timeout, &AtomicBool::new(false)).unwrap()
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_program_has_its_arguments_and_nothing_else() {
        let finished = sh("env | grep -v -e PATH -e PWD -e _= -e SHLVL; pwd; echo err >&2", LONG);
        assert_eq!(finished.output, "/\nerr\n");
        assert!(finished.is_success);
        let finished = sh("echo why; exit 3", LONG);
        assert_eq!(
            (finished.is_success, finished.text().as_str()),
            (false, "/bin/sh exited with 3: why")
        );
        let missing = run_program(&["/no/such".to_owned()], LONG, &AtomicBool::new(false));
        assert!(missing.unwrap_err().contains("/no/such"));
        assert!(run_program(&[], LONG, &AtomicBool::new(false)).is_err());
    }

    #[test]
    fn what_hangs_is_ended_with_its_children() {
        let finished = sh("sleep 1000 & echo $!; wait", Duration::from_millis(200));
        assert!(!finished.is_success && finished.how.contains("was ended after"), "{finished:?}");
        let pid = finished.output.trim();
        let is_running = || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.contains("sleep") && !stat.contains(") Z")
        };
        for _ in 0..100 {
            if !is_running() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(!is_running());
        // One that ended in time leaves nothing either.
        let finished = sh("sleep 1000 & echo fine", LONG);
        assert!(finished.is_success && finished.output == "fine\n", "{finished:?}");
    }

    #[test]
    fn output_without_end_is_cut() {
        let finished = sh("yes", LONG);
        assert_eq!(finished.output.len() as u64, OUTPUT_MAX);
        assert!(!finished.is_success);
    }
}
