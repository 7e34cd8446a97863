//! perf as the judge of how often something happened.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// `perf stat` on a process; it does not count before it is told.
pub(crate) struct Perf {
    child: Child,
    control: File,
    answers: File,
    folder: TempDir,
}

impl Perf {
    /// Attaches to all threads of a process; `None`, and says so, without perf.
    pub(crate) fn attach(event: &str, pid: u32) -> Option<Perf> {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["control", "answers"] {
            assert!(Command::new("mkfifo").arg(path(name)).status().unwrap().success());
        }
        let mut command = Command::new("perf");
        command.args(["stat", "-x", ",", "-D", "-1", "-e", event, "-p", &pid.to_string(), "-o"]);
        command.arg(path("counts")).arg("--control");
        command.arg(format!("fifo:{},{}", path("control").display(), path("answers").display()));
        let Ok(child) = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn() else {
            println!("skipped: there is no perf");
            return None;
        };
        // Both ends, so that opening waits for nobody.
        let open = |name: &str| {
            let mut options = OpenOptions::new();
            options.read(true).write(true).custom_flags(libc::O_NONBLOCK);
            options.open(path(name)).unwrap()
        };
        let (control, answers) = (open("control"), open("answers"));
        Some(Perf { child, control, answers, folder })
    }

    /// Has it count from now on, or not any more.
    pub(crate) fn count(&mut self, is_on: bool) {
        let word: &[u8] = if is_on { b"enable\n" } else { b"disable\n" };
        self.control.write_all(word).unwrap();
        let given_up = Instant::now() + Duration::from_secs(20);
        let (mut answer, mut piece) = (Vec::new(), [0; 16]);
        while !answer.ends_with(b"ack\n") {
            match self.answers.read(&mut piece) {
                Ok(read) => answer.extend_from_slice(&piece[..read]),
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
            // It ends a text with 0.
            answer.retain(|byte| *byte != 0);
            assert!(Instant::now() < given_up, "perf does not answer");
        }
    }

    /// Ends it; how often it happened.
    pub(crate) fn finish(mut self) -> u64 {
        let pid = self.child.id().cast_signed();
        // SAFETY: a signal to a child that was not waited for.
        assert_eq!(unsafe { libc::kill(pid, libc::SIGINT) }, 0);
        self.child.wait().unwrap();
        let text = std::fs::read_to_string(Path::new(self.folder.path()).join("counts")).unwrap();
        let line = text.lines().find(|line| !line.starts_with('#') && !line.is_empty()).unwrap();
        line.split(',').next().unwrap().parse().unwrap()
    }
}

impl Drop for Perf {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
