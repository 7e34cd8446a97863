//! The event bus: what one part of the watch publishes, all others hear: the log, the store,
//! pages and whoever listens from outside.
//!
//! Publishing never waits. A subscriber that does not keep up loses events, and learns how many.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::Timestamp;

use crate::events::{Event, Publish};

/// An event with its number and time.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Counts up from the bus's start.
    pub number: u64,
    /// When it was published.
    pub time: Timestamp,
    /// What.
    pub event: Event,
}

/// Where events go; clones are the same bus.
#[derive(Clone, Default)]
pub struct Bus {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    numbers: AtomicU64,
    lost: AtomicU64,
    counts: Mutex<BTreeMap<&'static str, u64>>,
    subscribers: Mutex<Vec<SyncSender<Arc<Record>>>>,
}

impl Bus {
    /// Tells all subscribers.
    pub fn publish(&self, event: Event) {
        let number = self.shared.numbers.fetch_add(1, Ordering::Relaxed);
        *self.counts().entry(event.kind()).or_default() += 1;
        let record = Arc::new(Record { number, time: capture::now(), event });
        let mut subscribers =
            self.shared.subscribers.lock().unwrap_or_else(PoisonError::into_inner);
        subscribers.retain(|subscriber| match subscriber.try_send(Arc::clone(&record)) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                self.shared.lost.fetch_add(1, Ordering::Relaxed);
                true
            }
            Err(TrySendError::Disconnected(_)) => false,
        });
    }

    /// A new subscriber, which may lag `capacity` events behind before it loses some.
    pub fn subscribe(&self, capacity: usize) -> Receiver<Arc<Record>> {
        let (sender, receiver) = sync_channel(capacity);
        self.shared.subscribers.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        receiver
    }

    /// Published so far, by kind.
    pub fn published(&self) -> Vec<(&'static str, u64)> {
        self.counts().iter().map(|(kind, count)| (*kind, *count)).collect()
    }

    /// Not delivered, as a subscriber was too slow.
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }

    fn counts(&self) -> MutexGuard<'_, BTreeMap<&'static str, u64>> {
        self.shared.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As a function.
    pub fn publisher(&self) -> Publish {
        let bus = self.clone();
        Arc::new(move |event| bus.publish(event))
    }
}

#[cfg(test)]
mod tests {
    use model::TargetId;

    use super::Bus;
    use crate::events::Event;

    #[test]
    fn all_hear_and_the_slow_lose() {
        let bus = Bus::default();
        let (fast, slow) = (bus.subscribe(10), bus.subscribe(1));
        drop(bus.subscribe(1));
        for target in 0..3 {
            bus.publish(Event::TargetEnded { target: TargetId(target) });
        }
        let numbers = |receiver: &std::sync::mpsc::Receiver<std::sync::Arc<super::Record>>| {
            receiver.try_iter().map(|record| record.number).collect::<Vec<_>>()
        };
        assert_eq!((numbers(&fast), numbers(&slow)), (vec![0, 1, 2], vec![0]));
        assert_eq!((bus.published(), bus.lost()), (vec![("target", 3)], 2));
    }
}
