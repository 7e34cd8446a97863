//! The loop that waits for all sources at once.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::AsFd;

use super::kernel::{Armed, Trigger, settle};
use super::{Command, EventKind, KernelEvent, QUIET, Shared, Source};
use crate::live::now;

/// Whether a cgroup is still there and its limit still the same is looked at this often; so
/// is what a lost wake-up would have told.
const REFRESH: Duration = Duration::from_secs(5);

pub(super) struct Waiting {
    shared: Arc<Shared>,
    out: SyncSender<KernelEvent>,
    watched: BTreeMap<u64, Watched>,
    triggers: Vec<Trigger>,
}

struct Watched {
    armed: Armed,
    is_gone: bool,
    /// When its files are read next, also when nothing wakes us.
    due: Instant,
    refresh: Instant,
    /// Pressure is told again from then on.
    quiet_until: Instant,
}

/// What a descriptor in the poll set belongs to.
#[derive(Clone, Copy)]
enum Slot {
    Wake,
    Host,
    Level(u64),
    PressureLevel(u64),
    Events(u64),
    Psi(u64),
}

impl Waiting {
    pub(super) fn new(shared: Arc<Shared>, out: SyncSender<KernelEvent>) -> Waiting {
        Waiting { shared, out, watched: BTreeMap::new(), triggers: Vec::new() }
    }

    pub(super) fn run(mut self) {
        while !self.shared.stop.load(Ordering::Relaxed) {
            self.take_commands();
            for slot in self.wait() {
                self.woken(slot);
            }
            let now = Instant::now();
            for watched in self.watched.values_mut().filter(|watched| watched.due <= now) {
                watched.look(&self.shared, &self.out, Source::Polled);
            }
        }
    }

    fn take_commands(&mut self) {
        let mut inbox = self.shared.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        for command in inbox.drain(..) {
            match command {
                Command::Watch(id, armed) => {
                    self.watched.insert(id, Watched::new(*armed));
                }
                Command::Unwatch(id) => {
                    self.watched.remove(&id);
                }
                Command::Trigger(trigger) => self.triggers.push(trigger),
            }
        }
    }

    /// Waits until something happens or is due; returns what was woken.
    fn wait(&self) -> Vec<Slot> {
        let now = Instant::now();
        let mut slots = vec![Slot::Wake];
        let mut fds = vec![PollFd::new(&self.shared.wake, PollFlags::IN)];
        let mut add = |slot, fd| {
            slots.push(slot);
            fds.push(fd);
        };
        for trigger in &self.triggers {
            add(Slot::Host, PollFd::new(&trigger.fd, PollFlags::PRI));
        }
        for (&id, Watched { armed, is_gone, quiet_until, .. }) in &self.watched {
            if *is_gone {
                continue;
            }
            if let Some(fd) = &armed.eventfd {
                add(Slot::Level(id), PollFd::new(fd, PollFlags::IN));
            }
            if let Some(fd) = &armed.events {
                add(Slot::Events(id), PollFd::new(fd, PollFlags::PRI));
            }
            if *quiet_until > now {
                continue;
            }
            if let Some(fd) = &armed.pressure_level {
                add(Slot::PressureLevel(id), PollFd::new(fd, PollFlags::IN));
            }
            if let Some(trigger) = &armed.psi {
                add(Slot::Psi(id), PollFd::new(&trigger.fd, PollFlags::PRI));
            }
        }
        let until = self.watched.values().map(|watched| watched.due.max(now)).min();
        let left = until.map_or(REFRESH, |until| until - now);
        let timeout =
            Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
        match poll(&mut fds, Some(&timeout)) {
            Ok(count) if count > 0 => {}
            _ => return Vec::new(),
        }
        let is_woken = |fd: &PollFd<'_>| !fd.revents().is_empty();
        slots.into_iter().zip(&fds).filter(|(_, fd)| is_woken(fd)).map(|(slot, _)| slot).collect()
    }

    fn woken(&mut self, slot: Slot) {
        match slot {
            Slot::Wake => drain(&self.shared.wake),
            Slot::Host => tell(&self.shared, &self.out, Source::Psi, None, EventKind::Pressure),
            Slot::Level(id) | Slot::Events(id) | Slot::PressureLevel(id) | Slot::Psi(id) => {
                if let Some(watched) = self.watched.get_mut(&id) {
                    watched.woken(slot, &self.shared, &self.out);
                }
            }
        }
    }
}

fn tell(
    shared: &Shared,
    out: &SyncSender<KernelEvent>,
    source: Source,
    cgroup: Option<&Arc<Path>>,
    kind: EventKind,
) {
    shared.send(out, KernelEvent { time: now(), source, cgroup: cgroup.cloned(), kind });
}

/// Takes what an eventfd has counted.
fn drain(fd: impl AsFd) {
    // Nothing to take is no failure: another wake-up took it.
    let _ = rustix::io::read(fd, &mut [0_u8; 8]);
}

impl Watched {
    fn new(armed: Armed) -> Watched {
        let now = Instant::now();
        // Read at once: what was passed before the thresholds were set wakes nobody.
        Watched { armed, is_gone: false, due: now, refresh: now + REFRESH, quiet_until: now }
    }

    fn woken(&mut self, slot: Slot, shared: &Shared, out: &SyncSender<KernelEvent>) {
        match slot {
            Slot::Level(_) => {
                self.armed.eventfd.iter().for_each(drain);
                self.look(shared, out, Source::UsageThreshold);
            }
            Slot::Events(_) => {
                let settled = self.armed.events.as_ref().map(settle);
                if settled.is_some_and(|settled| settled.is_err()) {
                    // The cgroup is gone; its file would wake us for ever.
                    self.armed.events = None;
                }
                self.look(shared, out, Source::MemoryEvents);
            }
            Slot::PressureLevel(_) | Slot::Psi(_) => {
                self.armed.pressure_level.iter().for_each(drain);
                self.quiet_until = Instant::now() + QUIET;
                let source = match slot {
                    Slot::Psi(_) => Source::CgroupPsi,
                    _ => Source::PressureLevel,
                };
                // A cgroup that goes away wakes all its waiters.
                self.look(shared, out, source);
                if !self.is_gone {
                    tell(shared, out, source, Some(&self.armed.name), EventKind::Pressure);
                }
            }
            Slot::Wake | Slot::Host => {}
        }
    }

    /// Reads the files and tells what has happened.
    fn look(&mut self, shared: &Shared, out: &SyncSender<KernelEvent>, by: Source) {
        let now = Instant::now();
        if now >= self.refresh {
            self.refresh = now + REFRESH;
            self.armed.refresh();
        }
        self.due = self.refresh;
        let was_gone = std::mem::replace(&mut self.is_gone, self.armed.is_gone());
        if self.is_gone {
            if !was_gone {
                tell(shared, out, by, Some(&self.armed.name), EventKind::Removed);
            }
            return;
        }
        let reading = self.armed.read();
        for kind in self.armed.level.step(&reading, now) {
            let source = match kind {
                EventKind::OomKill { .. } if by == Source::UsageThreshold => Source::OomControl,
                _ => by,
            };
            tell(shared, out, source, Some(&self.armed.name), kind);
        }
        if !self.armed.has_thresholds() {
            self.due = self.due.min(now + self.armed.level.poll_interval(&reading));
        }
    }
}
