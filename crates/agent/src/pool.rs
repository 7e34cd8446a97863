//! The threads that do what is due for targets: a few, however many targets there are.
//!
//! A thread of its own for each target would be simpler, and costs a quarter of a megabyte each:
//! its stack, and what malloc keeps at hand for it. Here a task is a function that is called
//! when it is due, does one thing, and says when to call it again.
//!
//! One that stops answering holds up nobody: a worker that has been with one task for
//! [`STUCK`] no longer counts, and another takes its place.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Enough to wait for disks and the kernel while others work.
const WORKERS: usize = 4;
/// What takes longer than this may take for ever.
const STUCK: Duration = Duration::from_secs(2);
const STACK_BYTES: usize = 1 << 20;

/// Which way a task takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// As soon as it is due.
    Quick,
    /// One after the other: it takes a megabyte or two for a moment, and hundreds that do so in
    /// turn take that once.
    Heavy,
}

/// When a task is to be called again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Next {
    pub(crate) at: Instant,
    pub(crate) lane: Lane,
}

/// Does one thing, and says when to go on; `None` when it is over. It may be called before it
/// is due.
pub(crate) type Task = Box<dyn FnMut(Lane) -> Option<Next> + Send>;

/// The workers, and what they have to do.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// There may be something to do.
    changed: Condvar,
    /// For tasks that have a thread of their own.
    hurried: Condvar,
}

#[derive(Default)]
struct State {
    quick: BinaryHeap<Reverse<Waiting>>,
    heavy: BinaryHeap<Reverse<Waiting>>,
    /// By worker: since when it is with a task, and of which lane.
    working: HashMap<u64, (Instant, Lane)>,
    /// Until when a worker waits at most, the one that waits for what is due next. The others wait
    /// for a sign: that all of them wake up for each task would cost more than many a task.
    lookout: Option<Instant>,
    workers: usize,
    last_worker: u64,
    hurries: u64,
    is_ending: bool,
}

struct Waiting {
    at: Instant,
    task: Task,
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Waiting) -> bool {
        self.at == other.at
    }
}

impl Eq for Waiting {}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Waiting) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Waiting) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

impl Pool {
    /// Without workers: [`keep_up`](Self::keep_up) starts them.
    pub(crate) fn new() -> Pool {
        Pool { shared: Arc::default(), threads: Vec::new() }
    }

    /// Calls a task from now on.
    pub(crate) fn add(&self, task: Task) {
        self.shared.lock().put(Next { at: Instant::now(), lane: Lane::Quick }, task);
        self.shared.changed.notify_one();
    }

    /// Gives a task a thread of its own: one that waits for others most of the time.
    ///
    /// # Errors
    /// When there can be no more threads.
    pub(crate) fn add_apart(&mut self, mut task: Task) -> std::io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let run = move || {
            let mut lane = Lane::Quick;
            while let Some(next) = task(lane) {
                lane = next.lane;
                if !shared.pause(next.at) {
                    // It was hurried, perhaps to end.
                    lane = Lane::Quick;
                }
            }
        };
        self.threads.push(spawn("watch apart".to_owned(), run)?);
        Ok(())
    }

    /// Has enough workers who are not stuck. To be called again and again.
    ///
    /// # Errors
    /// When there can be no more threads.
    pub(crate) fn keep_up(&mut self) -> std::io::Result<()> {
        self.threads.retain(|thread| !thread.is_finished());
        let mut state = self.shared.lock();
        while state.workers < WORKERS + state.stuck(Instant::now()) {
            state.last_worker += 1;
            let (shared, number) = (Arc::clone(&self.shared), state.last_worker);
            let run = move || shared.work(number);
            self.threads.push(spawn(format!("watch {number}"), run)?);
            state.workers += 1;
        }
        Ok(())
    }

    /// Calls every task at once, due or not: something has changed.
    pub(crate) fn hurry(&self) {
        self.shared.lock().hurry();
        self.shared.changed.notify_all();
        self.shared.hurried.notify_all();
    }

    /// Calls every task once more, and waits until all are done.
    pub(crate) fn end(mut self) {
        // Without workers nothing would be called.
        let _ = self.keep_up();
        let mut state = self.shared.lock();
        state.is_ending = true;
        state.hurry();
        drop(state);
        self.shared.changed.notify_all();
        self.shared.hurried.notify_all();
        for thread in self.threads {
            // A thread that panicked has nothing more to say.
            let _ = thread.join();
        }
    }
}

fn spawn(name: String, run: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name).stack_size(STACK_BYTES).spawn(run)
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self, number: u64) {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            if state.workers > WORKERS + state.stuck(now) {
                break;
            }
            let Some((lane, mut task)) = state.take(now) else {
                if state.is_ending {
                    break;
                }
                state = self.wait(state, now);
                continue;
            };
            state.working.insert(number, (now, lane));
            // Somebody else has to wait for what is due next.
            self.changed.notify_one();
            drop(state);
            // A task that panics is over; the others are not.
            let next = catch_unwind(AssertUnwindSafe(|| task(lane))).unwrap_or_default();
            // What is over is dropped before it is locked again: that may take a while.
            let again = next.map(|next| (next, task));
            state = self.lock();
            state.working.remove(&number);
            if let Some((next, task)) = again.filter(|_| !state.is_ending) {
                state.put(next, task);
            }
        }
        state.workers -= 1;
        self.changed.notify_one();
    }

    /// Waits until something is due, or may be.
    fn wait<'a>(&self, mut state: MutexGuard<'a, State>, now: Instant) -> MutexGuard<'a, State> {
        /// A heavy task that is stuck lets the next one go without telling.
        const LONGEST: Duration = Duration::from_secs(1);
        let longest = now + LONGEST;
        let until = state.next_due(now).map_or(longest, |at| at.min(longest));
        // Whoever is on the lookout gives a sign when it leaves; that it may be stuck is no matter,
        // as it waits for time alone.
        if state.lookout.is_some_and(|at| at <= until) {
            return self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.lookout = Some(until);
        let waited = self.changed.wait_timeout(state, until.saturating_duration_since(now));
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        if state.lookout == Some(until) {
            state.lookout = None;
        }
        state
    }

    /// Waits until then; `false` when it was hurried before.
    fn pause(&self, until: Instant) -> bool {
        let mut state = self.lock();
        let hurries = state.hurries;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || state.hurries != hurries {
                return state.hurries == hurries;
            }
            let waited = self.hurried.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl State {
    fn put(&mut self, next: Next, task: Task) {
        let waiting = Reverse(Waiting { at: next.at, task });
        match next.lane {
            Lane::Quick => self.quick.push(waiting),
            Lane::Heavy => self.heavy.push(waiting),
        }
    }

    /// What is due.
    fn take(&mut self, now: Instant) -> Option<(Lane, Task)> {
        let is_due = |waiting: Option<&Reverse<Waiting>>| {
            waiting.is_some_and(|Reverse(waiting)| waiting.at <= now)
        };
        if is_due(self.quick.peek()) {
            return self.quick.pop().map(|Reverse(waiting)| (Lane::Quick, waiting.task));
        }
        if is_due(self.heavy.peek()) && !self.is_heavy_taken(now) {
            return self.heavy.pop().map(|Reverse(waiting)| (Lane::Heavy, waiting.task));
        }
        None
    }

    fn next_due(&self, now: Instant) -> Option<Instant> {
        let at = |heap: &BinaryHeap<Reverse<Waiting>>| heap.peek().map(|waiting| waiting.0.at);
        let heavy = at(&self.heavy).filter(|_| !self.is_heavy_taken(now));
        at(&self.quick).into_iter().chain(heavy).min()
    }

    fn is_heavy_taken(&self, now: Instant) -> bool {
        let is_taken = |(since, lane): &(Instant, Lane)| {
            *lane == Lane::Heavy && now.saturating_duration_since(*since) < STUCK
        };
        self.working.values().any(is_taken)
    }

    fn stuck(&self, now: Instant) -> usize {
        let is_stuck =
            |(since, _): &&(Instant, Lane)| now.saturating_duration_since(*since) >= STUCK;
        self.working.values().filter(is_stuck).count()
    }

    /// Makes everything due, in the quick lane: tasks know themselves what they have to do.
    fn hurry(&mut self) {
        self.hurries += 1;
        let now = Instant::now();
        let all = self.quick.drain().chain(self.heavy.drain());
        let due = all.map(|Reverse(waiting)| Reverse(Waiting { at: now, ..waiting }));
        self.quick = due.collect();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    fn soon(lane: Lane) -> Option<Next> {
        Some(Next { at: Instant::now(), lane })
    }

    /// Calls until `is_so`, with as many workers as it takes.
    fn until(pool: &mut Pool, mut is_so: impl FnMut() -> bool) {
        while !is_so() {
            pool.keep_up().unwrap();
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn few_threads_do_everything_and_heavy_things_one_by_one() {
        let (mut pool, done) = (Pool::new(), Arc::new(AtomicUsize::new(0)));
        let heavy = Arc::new(AtomicUsize::new(0));
        for _ in 0..100 {
            let (done, heavy, mut steps) = (Arc::clone(&done), Arc::clone(&heavy), 0);
            pool.add(Box::new(move |lane| {
                steps += 1;
                if lane == Lane::Heavy {
                    assert_eq!(heavy.fetch_add(1, Ordering::SeqCst), 0);
                    std::thread::yield_now();
                    heavy.fetch_sub(1, Ordering::SeqCst);
                }
                if steps == 6 {
                    done.fetch_add(1, Ordering::SeqCst);
                    return None;
                }
                soon(if steps % 2 == 0 { Lane::Heavy } else { Lane::Quick })
            }));
        }
        until(&mut pool, || done.load(Ordering::SeqCst) == 100);
        assert!(pool.threads.len() <= WORKERS);
        pool.end();
    }

    #[test]
    fn what_does_not_answer_or_panics_holds_up_nobody() {
        let (mut pool, done) = (Pool::new(), Arc::new(AtomicUsize::new(0)));
        let mut answers: Vec<Sender<()>> = Vec::new();
        for _ in 0..2 * WORKERS {
            let (sender, receiver) = channel::<()>();
            answers.push(sender);
            pool.add(Box::new(move |_| {
                let _ = receiver.recv();
                None
            }));
        }
        pool.add(Box::new(|_| panic!("this one is meant to")));
        let counted = Arc::clone(&done);
        pool.add(Box::new(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            None
        }));
        until(&mut pool, || done.load(Ordering::SeqCst) == 1);
        drop(answers);
        // Those who took the place of others go.
        let shared = Arc::clone(&pool.shared);
        until(&mut pool, || shared.lock().workers == WORKERS);
        pool.end();
    }

    #[test]
    fn at_the_end_everything_is_called_once_more() {
        let (mut pool, ended) = (Pool::new(), Arc::new(AtomicUsize::new(0)));
        let is_over = Arc::new(AtomicUsize::new(0));
        let task = || -> Task {
            let (ended, is_over) = (Arc::clone(&ended), Arc::clone(&is_over));
            Box::new(move |_| {
                if is_over.load(Ordering::SeqCst) == 1 {
                    ended.fetch_add(1, Ordering::SeqCst);
                    return None;
                }
                is_over.fetch_add(2, Ordering::SeqCst);
                Some(Next { at: Instant::now() + Duration::from_secs(3600), lane: Lane::Heavy })
            })
        };
        pool.add(task());
        pool.add(task());
        pool.add_apart(task()).unwrap();
        until(&mut pool, || is_over.load(Ordering::SeqCst) == 6);
        is_over.store(1, Ordering::SeqCst);
        pool.end();
        assert_eq!(ended.load(Ordering::SeqCst), 3);
    }
}
