//! Probes that are at work, and what they have found so far, for whoever looks meanwhile.
//!
//! Figures are noted every second, at most so many of a run. A picture, which takes naming stacks and
//! with malloc reading the kernel's tables, is made only while somebody looks, and never takes more
//! than a tenth of the time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use analyze::samples::Estimate;
use model::probe::ProbeCounts;
use model::{CaptureKind, Frame, Profile, TargetId, Timestamp};

use crate::events::{Event, Publish};

/// Who has asked for a picture within this time still looks.
const LOOKS: Duration = Duration::from_secs(10);
/// Between two pictures and between two figures, at least.
const APART: Duration = Duration::from_secs(1);
/// Pictures are this many times further apart than what one takes to make.
const PICTURE_REST: u32 = 9;
/// Figures of a run; when there are more, every other one goes.
const FIGURES_MAX: usize = 600;
/// Sites of a picture.
pub(super) const SITES_MAX: usize = 200;

/// All runs of this process.
pub struct Runs {
    runs: Mutex<Vec<Arc<Run>>>,
    numbers: AtomicU64,
    publish: Publish,
}

/// A probe at work on a target.
#[derive(Debug)]
pub struct Run {
    number: u64,
    /// On which target.
    pub target: TargetId,
    /// Which probe.
    pub kind: CaptureKind,
    /// Why: the rule's name, or `manual`.
    pub reason: String,
    /// Since when.
    pub began: Timestamp,
    /// For how long, unless it ends early.
    pub length: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    asked: Option<Instant>,
    noted: Option<Instant>,
    figures: Vec<Figures>,
    /// Figures come this many seconds apart.
    apart: Duration,
    picture: Option<Arc<Picture>>,
    /// When the next picture may be made.
    next: Instant,
}

/// What a run has counted since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// Since it began.
    pub elapsed: Duration,
    /// What was allocated; `None` where nobody had looked.
    pub allocated: Option<Estimate>,
    /// How many of its samples were freed.
    pub deaths: Option<u64>,
    /// What of it lives; `None` where nobody had looked.
    pub live: Option<Estimate>,
    /// What was seen and lost.
    pub counts: ProbeCounts,
    /// What it cost, in the target's own time.
    pub cost: Duration,
}

/// What was found so far, by stack.
#[derive(Clone, Debug)]
pub struct Picture {
    /// When it was made, since the run began.
    pub elapsed: Duration,
    /// Mean number of bytes between two samples.
    pub sampling_bytes: Option<u64>,
    /// What lives.
    pub live: Estimate,
    /// The stacks, those of which most lives first, the largest of them.
    pub sites: Vec<PictureSite>,
    /// Stacks that are not among the sites.
    pub omitted: usize,
    /// All of it, as the capture will have it.
    pub profile: Arc<Profile>,
}

/// A stack and what came of it.
#[derive(Clone, Debug)]
pub struct PictureSite {
    /// The call that is responsible.
    pub site: Option<Frame>,
    /// All calls, innermost first.
    pub stack: Vec<Frame>,
    /// What lives.
    pub live: Estimate,
    /// What was allocated.
    pub allocated: Estimate,
    /// Which part of the samples was freed.
    pub freed_share: f64,
    /// How long half of it lives, if half of it has died.
    pub lifetime_seconds: Option<f64>,
    /// Age of the oldest that lives.
    pub oldest_seconds: Option<f64>,
}

/// What whoever looks sees.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Figures, the oldest first.
    pub figures: Vec<Figures>,
    /// `None` until the first is made.
    pub picture: Option<Arc<Picture>>,
}

/// A run is among the others while this lives.
pub struct Begun<'a> {
    runs: &'a Runs,
    run: Arc<Run>,
}

impl Runs {
    /// None yet; `publish` is told of beginnings and ends.
    pub fn new(publish: Publish) -> Runs {
        Runs { runs: Mutex::default(), numbers: AtomicU64::new(0), publish }
    }

    /// Enters a run that begins now.
    pub fn begin(
        &self,
        target: TargetId,
        kind: CaptureKind,
        reason: &str,
        length: Duration,
    ) -> Begun<'_> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let run = Arc::new(Run::new(number, target, kind, reason, length));
        self.lock().push(Arc::clone(&run));
        self.tell(&run, true);
        Begun { runs: self, run }
    }

    /// All that are at work, the oldest first.
    pub fn all(&self) -> Vec<Arc<Run>> {
        self.lock().clone()
    }

    /// The one that began last on a target.
    pub fn get(&self, target: TargetId, kind: CaptureKind) -> Option<Arc<Run>> {
        self.lock().iter().rfind(|run| run.target == target && run.kind == kind).cloned()
    }

    fn tell(&self, run: &Run, is_at_work: bool) {
        let (target, probe, reason) = (run.target, run.kind, run.reason.clone());
        (self.publish)(Event::Probe { target, probe, is_at_work, reason });
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Run>>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Begun<'_> {
    /// The run.
    pub fn run(&self) -> &Run {
        &self.run
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        self.runs.lock().retain(|run| run.number != self.run.number);
        self.runs.tell(&self.run, false);
    }
}

impl Run {
    fn new(
        number: u64,
        target: TargetId,
        kind: CaptureKind,
        reason: &str,
        length: Duration,
    ) -> Run {
        let state = State {
            asked: None,
            noted: None,
            figures: Vec::new(),
            apart: APART,
            picture: None,
            next: Instant::now(),
        };
        let (reason, state, began) = (reason.to_owned(), Mutex::new(state), capture::now());
        Run { number, target, kind, reason, began, length, state }
    }

    /// One that is not among the others: nobody can look at it meanwhile.
    pub fn alone(kind: CaptureKind, length: Duration) -> Run {
        Run::new(0, TargetId(0), kind, "manual", length)
    }

    /// What was found so far. Whoever asks gets new pictures for some time.
    pub fn look(&self) -> Seen {
        let mut state = self.lock();
        state.asked = Some(Instant::now());
        Seen { figures: state.figures.clone(), picture: state.picture.clone() }
    }

    /// Calls `figures` when it is time to note some, and `picture` when somebody looks and it is
    /// time for one; that comes with figures of its own.
    pub(super) fn step<T>(
        &self,
        of: &mut T,
        figures: impl FnOnce(&mut T) -> Figures,
        picture: impl FnOnce(&mut T) -> Option<(Figures, Picture)>,
    ) {
        let now = Instant::now();
        let (wants_figures, wants_picture) = {
            let state = self.lock();
            let looks = state.asked.is_some_and(|at| now.duration_since(at) < LOOKS);
            let is_due = state.noted.is_none_or(|at| now.duration_since(at) >= state.apart);
            (is_due, looks && now >= state.next)
        };
        if wants_picture {
            let made = picture(of);
            let mut state = self.lock();
            state.next = Instant::now() + APART.max(now.elapsed() * PICTURE_REST);
            if let Some((figures, picture)) = made {
                state.picture = Some(Arc::new(picture));
                state.note(figures, now);
            }
        } else if wants_figures {
            let figures = figures(of);
            self.lock().note(figures, now);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn note(&mut self, figures: Figures, now: Instant) {
        self.noted = Some(now);
        self.figures.push(figures);
        if self.figures.len() > FIGURES_MAX {
            let mut index = 0;
            self.figures.retain(|_| {
                index += 1;
                index % 2 == 1
            });
            self.apart *= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use model::{CaptureKind, Profile, TargetId};

    use super::{FIGURES_MAX, Figures, Picture, Run, Runs};
    use crate::events::Event;

    fn run() -> Run {
        Run::new(0, TargetId(1), CaptureKind::Alloc, "manual", Duration::from_secs(10))
    }

    fn figures(seconds: u64) -> Figures {
        Figures { elapsed: Duration::from_secs(seconds), ..Figures::default() }
    }

    fn picture() -> Picture {
        Picture {
            elapsed: Duration::ZERO,
            sampling_bytes: Some(1),
            live: Default::default(),
            sites: Vec::new(),
            omitted: 0,
            profile: Arc::new(Profile::new(&[])),
        }
    }

    #[test]
    fn runs_are_told_and_found_while_they_last() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&told);
        let runs = Runs::new(Arc::new(move |event| into.lock().unwrap().push(event)));
        let (target, kind) = (TargetId(7), CaptureKind::Native);
        let first = runs.begin(target, kind, "growth", Duration::from_secs(1));
        let second = runs.begin(target, kind, "manual", Duration::from_secs(2));
        assert_eq!(runs.get(target, kind).unwrap().reason, "manual");
        drop(second);
        assert_eq!(runs.get(target, kind).unwrap().reason, "growth");
        assert!(runs.get(target, CaptureKind::Alloc).is_none());
        assert!(runs.get(TargetId(8), kind).is_none());
        assert_eq!(runs.all().len(), 1);
        drop(first);
        assert!(runs.all().is_empty());
        let told = told.lock().unwrap();
        let at_work: Vec<(&str, bool)> = told
            .iter()
            .map(|event| match event {
                Event::Probe { is_at_work, reason, .. } => (reason.as_str(), *is_at_work),
                _ => panic!("{event:?}"),
            })
            .collect();
        let expected = [("growth", true), ("manual", true), ("manual", false), ("growth", false)];
        assert_eq!(at_work, expected);
    }

    #[test]
    fn a_picture_is_made_for_who_looks_only() {
        let (run, mut made) = (run(), 0);
        let mut step = |run: &Run| {
            let picture = |made: &mut i32| {
                *made += 1;
                Some((figures(1), picture()))
            };
            run.step(&mut made, |_| figures(0), picture);
            made
        };
        assert_eq!(step(&run), 0);
        let seen = run.look();
        assert_eq!((seen.figures.len(), seen.picture.is_none()), (1, true));
        assert_eq!(step(&run), 1);
        // The next one is not due yet.
        assert_eq!(step(&run), 1);
        assert!(run.look().picture.is_some());
    }

    #[test]
    fn figures_of_a_long_run_are_thinned() {
        let run = run();
        let count = 4 * FIGURES_MAX as u64;
        for seconds in 0..count {
            run.lock().note(figures(seconds), std::time::Instant::now());
        }
        let seen = run.look().figures;
        assert!(seen.len() <= FIGURES_MAX && seen.len() >= FIGURES_MAX / 2, "{}", seen.len());
        assert_eq!(seen[0], figures(0));
        assert_eq!(seen[seen.len() - 1], figures(count - 1));
        assert!(seen.is_sorted_by_key(|figures| figures.elapsed));
    }
}
