//! The queues between the reader of the log and those who send.
//!
//! A series is always of the same shard, so its values stay in order. Queues are bounded: the
//! reader waits when one is full, and the log is what grows.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::config::QueueConfig;
use crate::cursor::Cursor;
use crate::item::{Item, Position};

/// How often those who wait look whether they are still wanted.
const LOOK: Duration = Duration::from_millis(200);

/// All shards of a destination.
#[derive(Debug)]
pub(crate) struct Shards {
    list: Vec<Shard>,
    config: QueueConfig,
    /// Send what is there without waiting for more.
    is_flushing: AtomicBool,
    /// Nothing more is taken; what is queued stays in the log.
    is_closed: AtomicBool,
}

#[derive(Debug)]
struct Shard {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Item>,
    /// When the first of the queue came.
    since: Option<Instant>,
    /// The earliest value that was taken and is not done.
    in_flight: Option<Position>,
    /// The place after the last value that was taken.
    taken: Position,
    /// Of this shard, everything before it is done, also by an earlier process.
    floor: Position,
}

impl Shards {
    pub(crate) fn new(config: &QueueConfig, floors: &[Position]) -> Shards {
        let shard = |floor: &Position| {
            let state = Mutex::new(State { floor: *floor, ..State::default() });
            Shard { state, changed: Condvar::new() }
        };
        Shards {
            list: floors.iter().map(shard).collect(),
            config: config.clone(),
            is_flushing: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    fn lock(&self, index: usize) -> Option<(&Shard, MutexGuard<'_, State>)> {
        let shard = self.list.get(index)?;
        Some((shard, shard.state.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// The shard of a series with this key.
    pub(crate) fn of(&self, key: u32) -> usize {
        key as usize % self.list.len().max(1)
    }

    /// What is before it was done by an earlier process.
    pub(crate) fn floor(&self, index: usize) -> Position {
        self.lock(index).map_or_else(Position::default, |(_, state)| state.floor)
    }

    /// Queues values, waiting for room. Answers whether all were, and how often it had to wait.
    pub(crate) fn push(&self, index: usize, items: &mut Vec<Item>) -> (bool, u64) {
        let Some((shard, mut state)) = self.lock(index) else { return (false, 0) };
        let mut waits = 0;
        let mut items = items.drain(..).peekable();
        while items.peek().is_some() {
            if self.is_closed() {
                return (false, waits);
            }
            let room = self.config.capacity.saturating_sub(state.queue.len());
            if room == 0 {
                waits += 1;
                state = shard
                    .changed
                    .wait_timeout(state, LOOK)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0;
                continue;
            }
            state.queue.extend(items.by_ref().take(room));
            state.since.get_or_insert_with(Instant::now);
            shard.changed.notify_all();
        }
        (true, waits)
    }

    /// The next batch of a shard; nothing when it is over.
    pub(crate) fn take(&self, index: usize) -> Option<Vec<Item>> {
        let (shard, mut state) = self.lock(index)?;
        loop {
            if self.is_closed() {
                return None;
            }
            let age = state.since.map(|since| since.elapsed()).unwrap_or_default();
            let is_due = self.is_flushing() || age >= self.config.batch_send_deadline;
            let is_full = state.queue.len() >= self.config.max_samples_per_send;
            if is_full || (is_due && !state.queue.is_empty()) {
                return Some(self.take_now(shard, &mut state));
            }
            let rest = self.config.batch_send_deadline.saturating_sub(age);
            let wait = if state.queue.is_empty() { LOOK } else { rest.min(LOOK) };
            let waited = shard.changed.wait_timeout(state, wait.max(Duration::from_millis(1)));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// More for a batch that gets nowhere alone.
    pub(crate) fn take_more(&self, index: usize) -> Vec<Item> {
        let Some((shard, mut state)) = self.lock(index) else { return Vec::new() };
        self.take_now(shard, &mut state)
    }

    fn take_now(&self, shard: &Shard, state: &mut State) -> Vec<Item> {
        let count = state.queue.len().min(self.config.max_samples_per_send);
        let items: Vec<Item> = state.queue.drain(..count).collect();
        state.since = (!state.queue.is_empty()).then(Instant::now);
        let first = items.first().map(|item| item.position);
        state.in_flight = state.in_flight.or(first);
        if let Some(last) = items.last() {
            state.taken = last.position;
            state.taken.index += 1;
        }
        shard.changed.notify_all();
        items
    }

    /// The batch is done, one way or the other.
    pub(crate) fn done(&self, index: usize) {
        if let Some((shard, mut state)) = self.lock(index) {
            state.in_flight = None;
            state.floor = state.floor.max(state.taken);
            shard.changed.notify_all();
        }
    }

    /// Where to go on after `reader`, the place up to which values were queued.
    pub(crate) fn cursor(&self, reader: Position) -> Cursor {
        let place = |index: usize| {
            let Some((_, state)) = self.lock(index) else { return reader };
            let queued = state.queue.front().map(|item| item.position);
            state.in_flight.or(queued).unwrap_or_else(|| reader.max(state.floor))
        };
        let shards: Vec<Position> = (0..self.list.len()).map(place).collect();
        // A floor may lie beyond the reader, which has to read up to there all the same.
        let reached = shards.iter().copied().min().unwrap_or(reader).min(reader);
        Cursor { reached, shards }
    }

    /// Nothing is queued or on its way.
    pub(crate) fn is_idle(&self) -> bool {
        (0..self.list.len()).all(|index| {
            let state = self.lock(index);
            state.is_none_or(|(_, state)| state.queue.is_empty() && state.in_flight.is_none())
        })
    }

    fn is_flushing(&self) -> bool {
        self.is_flushing.load(Ordering::Relaxed)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed)
    }

    /// From now on nothing waits for a full batch.
    pub(crate) fn flush(&self) {
        self.is_flushing.store(true, Ordering::Relaxed);
        self.wake();
    }

    /// Ends the shards after what they are sending.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
        self.wake();
    }

    fn wake(&self) {
        for index in 0..self.list.len() {
            if let Some((shard, _)) = self.lock(index) {
                shard.changed.notify_all();
            }
        }
    }
}
