//! What is asked of the kernel for one cgroup, and how it is read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use decode::procfs;
use model::CgroupVersion;
use rustix::event::EventfdFlags;
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;

use super::level::{Level, Reading};
use super::{Source, SourceState};
use crate::signals::{self, CgroupDirs};

/// A stall that wakes us: tasks waited for memory `stall` out of `window`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PsiTrigger {
    /// All tasks waited, not only some.
    pub full: bool,
    /// How long within the window.
    pub stall: Duration,
    /// The window, 500 ms to 10 s.
    pub window: Duration,
}

impl Default for PsiTrigger {
    /// A tenth of two seconds, which needs no privilege.
    fn default() -> PsiTrigger {
        let (stall, window) = (Duration::from_millis(200), Duration::from_secs(2));
        PsiTrigger { full: false, stall, window }
    }
}

const WINDOW_MIN: Duration = Duration::from_millis(500);
const WINDOW_MAX: Duration = Duration::from_secs(10);
/// Windows of whoever lacks CAP_SYS_RESOURCE are multiples of this.
const WINDOW_STEP: u64 = 2;

impl PsiTrigger {
    /// The same share of a window that the kernel takes from everybody.
    fn rounded(&self) -> PsiTrigger {
        let steps = self.window.as_secs_f64() / WINDOW_STEP as f64;
        let window = Duration::from_secs((steps.ceil() as u64).clamp(1, 5) * WINDOW_STEP);
        let share = self.stall.as_secs_f64() / self.window.as_secs_f64().max(0.001);
        let stall = Duration::from_secs_f64(window.as_secs_f64() * share.clamp(0.001, 1.0));
        PsiTrigger { full: self.full, stall, window }
    }

    fn line(&self) -> String {
        let word = if self.full { "full" } else { "some" };
        format!("{word} {} {}\0", self.stall.as_micros(), self.window.as_micros())
    }
}

/// A pressure file with a trigger on it.
#[derive(Debug)]
pub(super) struct Trigger {
    pub(super) fd: OwnedFd,
}

pub(super) fn host_trigger(wanted: &PsiTrigger) -> Result<(Trigger, PsiTrigger), String> {
    trigger(Path::new("/proc/pressure/memory"), wanted)
}

fn trigger(path: &Path, wanted: &PsiTrigger) -> Result<(Trigger, PsiTrigger), String> {
    let place = path.display();
    if wanted.window < WINDOW_MIN || wanted.window > WINDOW_MAX || wanted.stall > wanted.window {
        return Err(format!("{place}: a window is 500 ms to 10 s, and a stall no longer than it"));
    }
    let told = |error: io::Error| match error.raw_os_error() {
        Some(libc::EOPNOTSUPP) => {
            format!("{place}: pressure is off in this kernel: boot with psi=1")
        }
        _ => format!("{place}: {error}"),
    };
    let set = |wanted: &PsiTrigger| -> io::Result<Trigger> {
        // One trigger a descriptor: a second try needs the file opened anew.
        let mut options = OpenOptions::new();
        let mut file = options.read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path)?;
        file.write_all(wanted.line().as_bytes())?;
        Ok(Trigger { fd: file.into() })
    };
    match set(wanted) {
        Ok(trigger) => Ok((trigger, *wanted)),
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            let rounded = wanted.rounded();
            set(&rounded).map(|trigger| (trigger, rounded)).map_err(told)
        }
        Err(error) => Err(told(error)),
    }
}

/// A cgroup with everything the kernel agreed to tell of it.
#[derive(Debug)]
pub(super) struct Armed {
    pub(super) name: Arc<Path>,
    pub(super) dirs: CgroupDirs,
    pub(super) level: Level,
    /// The limit that the thresholds are shares of.
    pub(super) limit: Option<u64>,
    /// Tells the directory from one made anew under the same name.
    inode: Option<u64>,
    /// Version 1: written when a threshold is crossed, and when memory has run out.
    pub(super) eventfd: Option<OwnedFd>,
    /// Version 1: written while the kernel reclaims, hundreds of times a second.
    pub(super) pressure_level: Option<OwnedFd>,
    /// Version 2: memory.events, which polls as exceptional when it has changed.
    pub(super) events: Option<OwnedFd>,
    pub(super) psi: Option<Trigger>,
    pub(super) states: Vec<SourceState>,
}

impl Armed {
    pub(super) fn new(dirs: CgroupDirs, percents: &[u8]) -> Armed {
        let mut armed = Armed {
            name: dirs.own.clone().into(),
            level: Level::new(percents),
            limit: None,
            inode: None,
            eventfd: None,
            pressure_level: None,
            events: None,
            psi: None,
            states: Vec::new(),
            dirs,
        };
        armed.arm();
        armed
    }

    /// Asks the kernel for everything, in place of what was asked before.
    pub(super) fn arm(&mut self) {
        self.states.clear();
        (self.eventfd, self.pressure_level, self.events, self.psi) = (None, None, None, None);
        self.inode = inode(&self.dirs.own);
        self.limit = self.read().limit;
        match self.dirs.version {
            CgroupVersion::V1 => self.arm_v1(),
            CgroupVersion::V2 => self.arm_v2(),
        }
        if let Some(dir) = &self.dirs.pressure {
            let result = trigger(&dir.join("memory.pressure"), &PsiTrigger::default());
            self.psi = self.note(Source::CgroupPsi, result.map(|(trigger, _)| trigger));
        }
        let works = match self.limit {
            Some(_) => Ok(()),
            None => Err("the cgroup has no limit: there are no shares of it to pass".to_owned()),
        };
        self.note(Source::Polled, works);
    }

    /// Remembers how a source works, and returns what it gave.
    fn note<T>(&mut self, source: Source, result: Result<T, String>) -> Option<T> {
        let (given, works) = match result {
            Ok(given) => (Some(given), Ok(())),
            Err(why) => (None, Err(why)),
        };
        self.states.push(SourceState { source, works });
        given
    }

    fn arm_v1(&mut self) {
        let CgroupDirs { own, limit: limit_dir, .. } = self.dirs.clone();
        let eventfd = match eventfd() {
            Ok(fd) => fd,
            Err(error) => {
                for source in [Source::UsageThreshold, Source::OomControl] {
                    self.note::<()>(source, Err(error.to_string()));
                }
                return;
            }
        };
        let thresholds = match self.limit {
            // A threshold that nothing reaches tells whether later ones can be set.
            None => register(&eventfd, &limit_dir, "memory.usage_in_bytes", "1125899906842624"),
            Some(limit) => self.level.thresholds(limit).try_for_each(|bytes| {
                register(&eventfd, &limit_dir, "memory.usage_in_bytes", &bytes.to_string())
            }),
        };
        self.note(Source::UsageThreshold, thresholds);
        let oom = register(&eventfd, &own, "memory.oom_control", "");
        self.note(Source::OomControl, oom);
        self.eventfd = Some(eventfd);
        let pressure = self::eventfd().map_err(|error| error.to_string()).and_then(|fd| {
            register(&fd, &limit_dir, "memory.pressure_level", "medium").map(|()| fd)
        });
        self.pressure_level = self.note(Source::PressureLevel, pressure);
    }

    fn arm_v2(&mut self) {
        let path = self.dirs.limit.join("memory.events");
        let opened = open_notifying(&path).map_err(|error| format!("{}: {error}", path.display()));
        self.events = self.note(Source::MemoryEvents, opened);
    }

    /// How well each source works.
    pub(super) fn states(&self) -> Vec<SourceState> {
        self.states.clone()
    }

    /// The kernel wakes us when a threshold is crossed.
    pub(super) fn has_thresholds(&self) -> bool {
        self.states
            .iter()
            .any(|state| state.source == Source::UsageThreshold && state.works.is_ok())
    }

    /// Reads the figures now.
    pub(super) fn read(&self) -> Reading {
        let CgroupDirs { version, own, limit, .. } = &self.dirs;
        let text = |dir: &Path, file: &str| fs::read_to_string(dir.join(file)).ok();
        let number = |file: &str| text(limit, file)?.trim().parse().ok();
        match version {
            CgroupVersion::V1 => Reading {
                usage: number("memory.usage_in_bytes"),
                limit: text(limit, "memory.limit_in_bytes").and_then(|text| procfs::limit(&text)),
                // Each cgroup counts its own victims, also when an ancestor's limit was hit.
                oom_kills: text(own, "memory.oom_control")
                    .and_then(|text| procfs::flat_field(&text, "oom_kill")),
                limit_hits: number("memory.failcnt"),
                highs: None,
            },
            CgroupVersion::V2 => {
                let events = text(limit, "memory.events").unwrap_or_default();
                Reading {
                    usage: number("memory.current"),
                    limit: text(limit, "memory.max").and_then(|text| procfs::limit(&text)),
                    oom_kills: procfs::flat_field(&events, "oom_kill"),
                    limit_hits: procfs::flat_field(&events, "max"),
                    highs: procfs::flat_field(&events, "high"),
                }
            }
        }
    }

    /// The directory that was armed is there no more.
    pub(super) fn is_gone(&self) -> bool {
        self.inode.is_none() || inode(&self.dirs.own) != self.inode
    }

    /// Looks for the directory under the same name, and for another limit; arms anew where
    /// something changed.
    pub(super) fn refresh(&mut self) {
        let found = inode(&self.dirs.own);
        let limit_dir = signals::limit_dir(&self.dirs);
        let is_same =
            found == self.inode && limit_dir == self.dirs.limit && self.read().limit == self.limit;
        if found.is_some() && !is_same {
            self.dirs.limit = limit_dir;
            self.arm();
        }
    }
}

fn inode(dir: &Path) -> Option<u64> {
    fs::metadata(dir).ok().map(|metadata| metadata.ino())
}

fn eventfd() -> io::Result<OwnedFd> {
    Ok(rustix::event::eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?)
}

/// Asks version 1 to write to `fd` about a file; it stays asked until `fd` is closed.
fn register(fd: &OwnedFd, dir: &Path, file: &str, argument: &str) -> Result<(), String> {
    let ask = || -> io::Result<()> {
        let about = File::open(dir.join(file))?;
        let mut control = OpenOptions::new().write(true).open(dir.join("cgroup.event_control"))?;
        let line = format!("{} {} {argument}", fd.as_raw_fd(), about.as_raw_fd());
        control.write_all(line.as_bytes())
    };
    ask().map_err(|error| format!("{}: {error}", dir.join("cgroup.event_control").display()))
}

/// Opens a file of a cgroup that polls as exceptional once it has changed since it was read.
fn open_notifying(path: &Path) -> io::Result<OwnedFd> {
    let fd = OwnedFd::from(File::open(path)?);
    settle(&fd)?;
    Ok(fd)
}

/// Reads from such a file, after which it waits for the next change.
pub(super) fn settle(fd: impl AsFd) -> Result<(), Errno> {
    let mut buffer = [0_u8; 512];
    rustix::io::pread(fd, &mut buffer, 0).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_rounded_with_their_share() {
        let (stall, window) = (Duration::from_millis(100), Duration::from_millis(500));
        let rounded = PsiTrigger { full: true, stall, window }.rounded();
        assert_eq!(rounded.line(), "full 400000 2000000\0");
        let (stall, window) = (Duration::from_secs(9), Duration::from_secs(9));
        assert_eq!(PsiTrigger { full: false, stall, window }.rounded().window.as_secs(), 10);
    }

    #[test]
    fn a_changed_file_of_the_unified_hierarchy_wakes() {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let dir = Path::new("/sys/fs/cgroup/unified")
            .join(format!("memsight-test-{}", std::process::id()));
        if fs::create_dir(&dir).is_err() {
            println!("skipped: no cgroup can be made in /sys/fs/cgroup/unified");
            return;
        }
        // memory.events needs the memory controller; cgroup.events is told the same way.
        let fd = open_notifying(&dir.join("cgroup.events")).unwrap();
        let is_told = |millis: i64| {
            let mut fds = [PollFd::new(&fd, PollFlags::PRI)];
            let timeout = Timespec { tv_sec: millis / 1000, tv_nsec: millis % 1000 * 1_000_000 };
            poll(&mut fds, Some(&timeout)).unwrap() > 0
        };
        assert!(!is_told(50));
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        fs::write(dir.join("cgroup.procs"), child.id().to_string()).unwrap();
        assert!(is_told(5000));
        settle(&fd).unwrap();
        assert!(!is_told(50), "once read it waits again");
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(is_told(5000));
        fs::remove_dir(&dir).unwrap();
    }
}
