//! Lives of processes, from their beginnings, programs and ends: the newest, within bounds.
//!
//! One entry for each process that lives and for each that ended not long ago. What is forgotten and
//! what was not entered is counted.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use model::probe::{PresentProcess, ProcessChange, ProcessEnd, ProcessEvent};
use model::{Bytes, TargetId, Timestamp};

/// Processes that live and are entered; with more, the others are known once they end.
const ALIVE_MAX: usize = 16 << 10;
/// Kills whose process may not be known yet.
const KILLS_MAX: usize = 256;
/// The clock of the one who tells of a kill and that of the kernel may differ by this.
const KILL_SLACK_MILLIS: i64 = 2_000;
/// What an entry takes beside its texts.
const ENTRY_BYTES: usize = size_of::<Life>();

/// Names an entry; they count up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LifeId(pub u64);

/// A process from its beginning to its end.
#[derive(Clone, Debug, PartialEq)]
pub struct Life {
    /// Names it.
    pub id: LifeId,
    /// Its process id, which others have after it.
    pub pid: u32,
    /// The process id of its parent; `None` when its beginning was not seen.
    pub parent: Option<u32>,
    /// The parent's entry, where it has one.
    pub parent_life: Option<LifeId>,
    /// Its name in the kernel, at most 15 bytes.
    pub name: String,
    /// Its arguments, the name it was called by first; empty where they are not known.
    pub command: String,
    /// When it began.
    pub started: Timestamp,
    /// When it ended; `None` while it lives.
    pub ended: Option<Timestamp>,
    /// How it ended; `None` while it lives, or where the end was not seen.
    pub end: Option<ProcessEnd>,
    /// The most memory that was resident at once, known at the end.
    pub peak: Option<Bytes>,
    /// How often it became another program.
    pub programs: u32,
    /// The OOM killer took it.
    pub is_oom_kill: bool,
    /// It was under watch.
    pub target: Option<TargetId>,
}

impl Life {
    fn bytes(&self) -> usize {
        ENTRY_BYTES + self.name.len() + self.command.len()
    }

    /// Whether it lived at some time from `from` to `until`.
    pub fn overlaps(&self, from: Timestamp, until: Timestamp) -> bool {
        self.started <= until && self.ended.is_none_or(|ended| ended >= from)
    }
}

/// What is known.
#[derive(Debug)]
pub struct Lives {
    next: u64,
    alive: HashMap<u32, Life>,
    ended: VecDeque<Life>,
    ended_bytes: usize,
    bytes_max: usize,
    kills: VecDeque<(u32, Timestamp)>,
    /// What is told of before this was seen by looking already.
    present_at: Timestamp,
    left_out: Omitted,
}

/// What is not there, and why. All numbers are of the whole time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Omitted {
    /// Ended too long ago: there was no room for them any more.
    pub forgotten: u64,
    /// The newest of those ended then; all that ended later is there.
    pub forgotten_until: Option<Timestamp>,
    /// Living processes that are not entered before they end, as there are too many.
    pub not_entered: u64,
    /// Ends that were not seen.
    pub unseen_ends: u64,
}

impl Lives {
    /// Of nobody yet; those that have ended take at most so many bytes.
    pub fn new(bytes_max: usize) -> Lives {
        Lives {
            next: 0,
            alive: HashMap::new(),
            ended: VecDeque::new(),
            ended_bytes: 0,
            bytes_max,
            kills: VecDeque::new(),
            present_at: Timestamp(i64::MIN),
            left_out: Omitted::default(),
        }
    }

    /// Enters those that are there at a time, for a beginning.
    pub fn enter_present(&mut self, present: Vec<PresentProcess>, now: Timestamp) {
        self.present_at = now;
        for process in present {
            let mut life = self.life(process.pid, process.started, &process.name);
            (life.parent, life.command) = (Some(process.parent), process.command);
            self.enter(life);
        }
        // A parent may come after its children: process ids are used again.
        let ids: HashMap<u32, LifeId> =
            self.alive.values().map(|life| (life.pid, life.id)).collect();
        for life in self.alive.values_mut() {
            life.parent_life = life.parent.and_then(|parent| ids.get(&parent).copied());
        }
    }

    /// Takes in what happened.
    pub fn push(&mut self, event: ProcessEvent) {
        let ProcessEvent { time, pid, name, change } = event;
        match change {
            ProcessChange::Forked { parent } => self.forked(time, pid, &name, parent),
            ProcessChange::Executed { parent, path, arguments } => {
                let command = if arguments.is_empty() { path } else { arguments.join(" ") };
                self.executed(time, pid, name, parent, command);
            }
            ProcessChange::Exited { lived, peak_rss, end } => {
                self.exited(time, pid, &name, lived, (peak_rss, end));
            }
        }
    }

    fn forked(&mut self, time: Timestamp, pid: u32, name: &str, parent: u32) {
        if let Some(known) = self.alive.get(&pid) {
            if time <= self.present_at {
                return;
            }
            // The process id is used again: an end was missed.
            let known = known.pid;
            self.end_unseen(known, time);
        }
        let mut life = self.life(pid, time, name);
        life.parent = Some(parent);
        life.parent_life = self.alive.get(&parent).map(|parent| parent.id);
        self.enter(life);
    }

    fn executed(&mut self, time: Timestamp, pid: u32, name: String, parent: u32, command: String) {
        if !self.alive.contains_key(&pid) {
            // Its beginning was lost; when it ends, that is known.
            let life = self.life(pid, time, &name);
            self.enter(life);
        }
        let parent_life = self.alive.get(&parent).map(|parent| parent.id);
        if let Some(life) = self.alive.get_mut(&pid) {
            (life.name, life.command, life.programs) = (name, command, life.programs + 1);
            if life.parent.is_none() {
                (life.parent, life.parent_life) = (Some(parent), parent_life);
            }
        }
    }

    fn exited(
        &mut self,
        time: Timestamp,
        pid: u32,
        name: &str,
        lived: Duration,
        (peak, end): (Bytes, ProcessEnd),
    ) {
        let known = self.alive.remove(&pid);
        let mut life = known.unwrap_or_else(|| self.life(pid, time, name));
        let lived = i64::try_from(lived.as_millis()).unwrap_or(i64::MAX);
        // What the kernel itself says, also of those whose beginning was not told.
        life.started = Timestamp(time.0.saturating_sub(lived));
        (life.ended, life.end, life.peak) = (Some(time), Some(end), Some(peak));
        let is_killed = self.kills.iter().any(|kill| is_of(&life, *kill));
        life.is_oom_kill |= is_killed;
        self.keep(life);
    }

    /// The OOM killer chose a process.
    pub fn killed(&mut self, pid: u32, time: Timestamp) {
        self.kills.push_back((pid, time));
        if self.kills.len() > KILLS_MAX {
            self.kills.pop_front();
        }
        let ended = self.ended.iter_mut().rev().find(|life| is_of(life, (pid, time)));
        match ended {
            Some(life) => life.is_oom_kill = true,
            None => {
                if let Some(life) = self.alive.get_mut(&pid) {
                    life.is_oom_kill = true;
                }
            }
        }
    }

    /// A process is under watch as this target.
    pub fn watched(&mut self, pid: u32, target: TargetId) {
        if let Some(life) = self.alive.get_mut(&pid) {
            life.target = Some(target);
        }
    }

    /// Ends those that live no longer, where ends were lost.
    pub fn check(&mut self, lives: impl Fn(u32) -> bool, now: Timestamp) {
        let gone: Vec<u32> = self.alive.keys().copied().filter(|pid| !lives(*pid)).collect();
        for pid in gone {
            self.end_unseen(pid, now);
        }
    }

    fn end_unseen(&mut self, pid: u32, time: Timestamp) {
        if let Some(mut life) = self.alive.remove(&pid) {
            life.ended = Some(time);
            self.left_out.unseen_ends += 1;
            self.keep(life);
        }
    }

    fn life(&mut self, pid: u32, started: Timestamp, name: &str) -> Life {
        self.next += 1;
        Life {
            id: LifeId(self.next),
            pid,
            parent: None,
            parent_life: None,
            name: name.to_owned(),
            command: String::new(),
            started,
            ended: None,
            end: None,
            peak: None,
            programs: 0,
            is_oom_kill: false,
            target: None,
        }
    }

    fn enter(&mut self, life: Life) {
        if self.alive.len() < ALIVE_MAX || self.alive.contains_key(&life.pid) {
            self.alive.insert(life.pid, life);
        } else {
            self.left_out.not_entered += 1;
        }
    }

    fn keep(&mut self, life: Life) {
        self.ended_bytes += life.bytes();
        self.ended.push_back(life);
        while self.ended_bytes > self.bytes_max
            && let Some(oldest) = self.ended.pop_front()
        {
            self.ended_bytes -= oldest.bytes();
            self.left_out.forgotten += 1;
            self.left_out.forgotten_until = oldest.ended;
        }
    }

    /// All that are known, in no order.
    pub fn all(&self) -> impl Iterator<Item = &Life> {
        self.ended.iter().chain(self.alive.values())
    }

    /// What is not among them.
    pub fn omitted(&self) -> Omitted {
        self.left_out
    }
}

/// A kill is of the process that had the id then and ended by it soon after.
fn is_of(life: &Life, (pid, time): (u32, Timestamp)) -> bool {
    let is_at = |ended: Timestamp| ended.0.saturating_add(KILL_SLACK_MILLIS) >= time.0;
    life.pid == pid
        && life.started.0 <= time.0.saturating_add(KILL_SLACK_MILLIS)
        && life.ended.is_some_and(is_at)
        && !matches!(life.end, Some(ProcessEnd::Code(_)))
}

/// Which lives are wanted.
pub struct Wanted<'a> {
    /// They lived after this.
    pub from: Timestamp,
    /// And before this.
    pub until: Timestamp,
    /// Which of them.
    pub matches: &'a dyn Fn(&Life) -> bool,
    /// So many.
    pub limit: usize,
    /// Into so many parts is the time divided that beginnings are counted in.
    pub parts: usize,
}

/// What was chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct Chosen {
    /// The lives: of those that match the ones that matter most, by when they began.
    pub lives: Vec<Life>,
    /// How many match.
    pub matching: usize,
    /// How many of those began in each part of the time.
    pub beginnings: Vec<u64>,
}

impl Lives {
    /// Chooses: killed ones first, then those under watch and those that live, then those that held
    /// the most memory.
    pub fn choose(&self, wanted: &Wanted<'_>) -> Chosen {
        let (from, until) = (wanted.from, wanted.until);
        let is_wanted = |life: &&Life| life.overlaps(from, until) && (wanted.matches)(life);
        let mut matching: Vec<&Life> = self.all().filter(is_wanted).collect();
        let mut beginnings = vec![0; wanted.parts];
        let span = until.0.saturating_sub(from.0).max(1) as f64;
        for life in &matching {
            let share = life.started.0.saturating_sub(from.0) as f64 / span;
            let part = (share * wanted.parts as f64) as usize;
            if share >= 0.0
                && let Some(count) = beginnings.get_mut(part.min(wanted.parts.saturating_sub(1)))
            {
                *count += 1;
            }
        }
        let count = matching.len();
        matching.sort_by_key(|life| {
            let first = (life.is_oom_kill, life.target.is_some(), life.ended.is_none());
            std::cmp::Reverse((first, life.peak.unwrap_or_default(), life.id))
        });
        let mut lives: Vec<Life> = matching.into_iter().take(wanted.limit).cloned().collect();
        lives.sort_by_key(|life| (life.started, life.id));
        Chosen { lives, matching: count, beginnings }
    }
}

#[cfg(test)]
mod tests {
    use model::probe::{ProcessChange, ProcessEnd, ProcessEvent};

    use super::*;

    fn event(time: i64, pid: u32, change: ProcessChange) -> ProcessEvent {
        ProcessEvent { time: Timestamp(time), pid, name: format!("p{pid}"), change }
    }

    fn forked(time: i64, pid: u32, parent: u32) -> ProcessEvent {
        event(time, pid, ProcessChange::Forked { parent })
    }

    fn executed(time: i64, pid: u32, command: &str) -> ProcessEvent {
        let arguments = command.split(' ').map(str::to_owned).collect();
        let change = ProcessChange::Executed { parent: 1, path: "/x".to_owned(), arguments };
        event(time, pid, change)
    }

    fn exited(time: i64, pid: u32, lived_millis: u64, peak: u64, end: ProcessEnd) -> ProcessEvent {
        let lived = Duration::from_millis(lived_millis);
        event(time, pid, ProcessChange::Exited { lived, peak_rss: Bytes(peak), end })
    }

    fn lives(bytes_max: usize, events: impl IntoIterator<Item = ProcessEvent>) -> Lives {
        let mut lives = Lives::new(bytes_max);
        events.into_iter().for_each(|event| lives.push(event));
        lives
    }

    fn choose(lives: &Lives, from: i64, until: i64, limit: usize) -> Chosen {
        let (from, until) = (Timestamp(from), Timestamp(until));
        lives.choose(&Wanted { from, until, matches: &|_| true, limit, parts: 4 })
    }

    const SIGKILL: ProcessEnd = ProcessEnd::Signal(9);

    #[test]
    fn a_process_has_one_life_from_fork_to_exit() {
        let lives = lives(
            1 << 20,
            [
                forked(1000, 10, 1),
                executed(1001, 10, "sh -c make"),
                forked(1100, 11, 10),
                executed(1101, 11, "cc a.c"),
                exited(1500, 11, 400, 7 << 20, ProcessEnd::Code(3)),
            ],
        );
        let found = choose(&lives, 0, 5000, 10).lives;
        assert_eq!(found.len(), 2);
        let (shell, cc) = (&found[0], &found[1]);
        assert_eq!((shell.command.as_str(), shell.ended, shell.programs), ("sh -c make", None, 1));
        assert_eq!((cc.parent, cc.parent_life), (Some(10), Some(shell.id)));
        assert_eq!((cc.started, cc.ended), (Timestamp(1100), Some(Timestamp(1500))));
        assert_eq!((cc.end, cc.peak), (Some(ProcessEnd::Code(3)), Some(Bytes(7 << 20))));
    }

    #[test]
    fn what_was_not_told_is_made_up_for() {
        let mut lives = lives(
            1 << 20,
            [
                // Its beginning was lost, and that of the next, of which only the end is told.
                executed(1000, 10, "a"),
                exited(3000, 10, 2500, 1, ProcessEnd::Code(0)),
                exited(4000, 12, 100, 1, ProcessEnd::Code(0)),
                // Its end was lost: the process id is used again.
                forked(5000, 13, 1),
                forked(6000, 13, 1),
                // And of this one, which is found out by looking.
                forked(7000, 14, 1),
            ],
        );
        lives.check(|pid| pid != 14, Timestamp(8000));
        let spans: Vec<_> = choose(&lives, 0, 9000, 10)
            .lives
            .iter()
            .map(|life| (life.pid, life.started.0, life.ended.map(|ended| ended.0)))
            .collect();
        let expected = [
            (10, 500, Some(3000)),
            (12, 3900, Some(4000)),
            (13, 5000, Some(6000)),
            (13, 6000, None),
            (14, 7000, Some(8000)),
        ];
        assert_eq!(spans, expected);
        assert_eq!(lives.omitted().unseen_ends, 2);
    }

    #[test]
    fn those_that_were_there_before_have_one_life_too() {
        let present = |pid, parent| PresentProcess {
            pid,
            parent,
            name: "p".to_owned(),
            command: "p -x".to_owned(),
            started: Timestamp(100),
        };
        let mut lives = Lives::new(1 << 20);
        lives.enter_present(vec![present(20, 30), present(30, 1)], Timestamp(1000));
        // Told of after they were seen.
        lives.push(forked(999, 20, 30));
        lives.push(exited(2000, 20, 1900, 5, ProcessEnd::Code(0)));
        let found = choose(&lives, 0, 3000, 10).lives;
        assert_eq!(found.len(), 2);
        let of = |pid| found.iter().find(|life| life.pid == pid).unwrap();
        assert_eq!(of(20).parent_life, Some(of(30).id));
        assert_eq!((of(20).command.as_str(), of(20).ended), ("p -x", Some(Timestamp(2000))));
    }

    #[test]
    fn kills_are_marked_whichever_is_told_first() {
        let mut lives = lives(1 << 20, [forked(1000, 10, 1), forked(1000, 11, 1)]);
        lives.killed(10, Timestamp(2000));
        lives.push(exited(2100, 10, 1100, 1, SIGKILL));
        lives.push(exited(3000, 11, 2000, 1, SIGKILL));
        lives.killed(11, Timestamp(2990));
        // Whoever has the id later is another.
        lives.push(forked(90_000, 10, 1));
        lives.push(exited(91_000, 10, 1000, 1, SIGKILL));
        let found = choose(&lives, 0, 100_000, 10).lives;
        let killed: Vec<_> = found.iter().map(|life| (life.pid, life.is_oom_kill)).collect();
        assert_eq!(killed, [(10, true), (11, true), (10, false)]);
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_rest_is_counted() {
        let one = |pid: u32| {
            let time = i64::from(pid) * 10;
            [forked(time, pid, 1), exited(time + 5, pid, 5, 1, ProcessEnd::Code(0))]
        };
        let lives = lives(100 * (ENTRY_BYTES + 8), (1000..11_000).flat_map(one));
        let omitted = lives.omitted();
        let kept = lives.all().count();
        assert!((95..=105).contains(&kept), "{kept}");
        assert_eq!(omitted.forgotten as usize + kept, 10_000);
        // All that ended later is there.
        let until = omitted.forgotten_until.unwrap();
        assert_eq!(choose(&lives, until.0 + 1, i64::MAX, usize::MAX).lives.len(), kept);
        // A machine full of processes that live.
        let mut many = Lives::new(0);
        (0..20_000).for_each(|pid| many.push(forked(1, pid, 1)));
        assert_eq!(many.all().count(), ALIVE_MAX);
        assert_eq!(many.omitted().not_entered, 20_000 - ALIVE_MAX as u64);
    }

    #[test]
    fn those_that_matter_are_chosen_and_all_are_counted() {
        let mut lives = Lives::new(1 << 20);
        for pid in 0..100 {
            let (time, peak) = (1000 + i64::from(pid) * 10, u64::from(pid % 50));
            lives.push(forked(time, pid, 1));
            lives.push(exited(time + 1, pid, 1, peak, SIGKILL));
        }
        lives.killed(3, Timestamp(1031));
        let chosen = choose(&lives, 1000, 2000, 3);
        let pids: Vec<u32> = chosen.lives.iter().map(|life| life.pid).collect();
        assert_eq!((pids, chosen.matching), (vec![3, 49, 99], 100));
        assert_eq!(chosen.beginnings, [25, 25, 25, 25]);
        assert_eq!(choose(&lives, 1500, 1600, 99).matching, 11);
        assert_eq!(choose(&lives, 5000, 6000, 99).beginnings, [0; 4]);
    }
}
