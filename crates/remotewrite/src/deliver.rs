//! Brings a batch to its receiver, whatever that takes.
//!
//! What cannot be sent now is tried again, slower and slower. What the receiver refuses is taken
//! apart until only the values that it refuses are left out. A receiver that answers 500 may be
//! ill, or meet one series that makes it stumble (Prometheus 2.42 and a label that is there
//! twice): then parts are tried, and a series is given up only when others went through.

use std::sync::atomic::Ordering;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use httpclient::HttpError;
use model::Labels;
use model::series::Value;

use crate::Report;
use crate::config::{Config, Protocol, QueueConfig};
use crate::exchange::{Exchange, Verdict, is_out_of_order};
use crate::item::{Counts, Item, group, runs};
use crate::numbers::{Numbers, Reason};
use crate::quarantine::Quarantine;
use crate::request::{self, CUSTOM_BOUNDS};

/// So often a 500 is taken for a receiver that is ill, before parts are tried.
const SUSPECT_AFTER: u32 = 5;
/// The same for parts.
const SUSPECT_PART_AFTER: u32 = 2;
/// How long a refused series is not sent.
const HELD: Duration = Duration::from_secs(600);

/// So many refusals are told each hour.
const REFUSED_TOLD_MAX: u64 = 10;
const REFUSED_TOLD_EACH: Duration = Duration::from_secs(3600);

/// Tells threads to end, and wakes those that sleep.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    is_set: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    pub(crate) fn set(&self) {
        *self.is_set.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    pub(crate) fn is_set(&self) -> bool {
        *self.is_set.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sleeps; answers whether it is over.
    pub(crate) fn wait(&self, duration: Duration) -> bool {
        let is_set = self.is_set.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(is_set, duration, |is_set| !*is_set);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// The process is to end: what is not done stays in the log.
pub(crate) struct Stopped;

/// Sends batches to one receiver.
pub(crate) struct Delivery {
    pub(crate) exchange: Exchange,
    pub(crate) numbers: Mutex<Numbers>,
    pub(crate) stop: Stop,
    title: String,
    queue: QueueConfig,
    has_exemplars: bool,
    quarantine: Quarantine,
    report: Report,
}

/// What became of a part.
enum Outcome {
    Done,
    Refused {
        status: u16,
        words: String,
    },
    TooLarge {
        words: String,
    },
    /// The receiver answers 500 again and again.
    Suspect {
        words: String,
    },
}

/// What a pass over a batch left.
#[derive(Default)]
struct Pass {
    /// Values of series that got nothing but 500.
    suspects: Vec<Item>,
    words: String,
    /// Something went through.
    has_success: bool,
}

impl Delivery {
    pub(crate) fn new(
        config: &Config,
        quarantine: Quarantine,
        report: Report,
    ) -> Result<Delivery, HttpError> {
        Ok(Delivery {
            exchange: Exchange::new(config)?,
            numbers: Mutex::new(Numbers::default()),
            stop: Stop::default(),
            title: config.title(),
            queue: config.queue_config.clone(),
            has_exemplars: config.send_exemplars,
            quarantine,
            report,
        })
    }

    /// Counts something.
    pub(crate) fn count<T>(&self, change: impl FnOnce(&mut Numbers) -> T) -> T {
        change(&mut self.numbers.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Brings a batch to the receiver. `more` gives what is queued behind it, for when nothing
    /// of the batch goes through.
    pub(crate) fn deliver(
        &self,
        mut items: Vec<Item>,
        mut more: impl FnMut() -> Vec<Item>,
    ) -> Result<(), Stopped> {
        let began = Instant::now();
        let (mut all, mut values) = (Counts::of(&items), items.len());
        let mut backoff = Backoff::new(&self.queue);
        loop {
            group(&mut items);
            let mut pass = self.pass(items)?;
            if pass.suspects.is_empty() {
                break;
            }
            if pass.has_success {
                self.judge(&pass.suspects, &pass.words)?;
                break;
            }
            if self.stop.wait(backoff.next(None)) {
                return Err(Stopped);
            }
            items = std::mem::take(&mut pass.suspects);
            if items.len() < self.queue.capacity {
                let added = more();
                values += added.len();
                all = sum(all, Counts::of(&added));
                items.extend(added);
            }
        }
        self.count(|numbers| {
            numbers.sub_pending(all);
            numbers.out += values as u64;
            numbers.out_seconds += began.elapsed().as_secs_f64();
        });
        Ok(())
    }

    /// Sends grouped values, in parts where the whole is refused.
    fn pass(&self, items: Vec<Item>) -> Result<Pass, Stopped> {
        let mut pass = Pass::default();
        let mut parts = vec![items];
        let mut patience = SUSPECT_AFTER;
        while let Some(part) = parts.pop() {
            let mut part = self.sendable(part);
            if part.is_empty() {
                continue;
            }
            let outcome = self.insist(&mut part, patience)?;
            let is_one_series = runs(&part).nth(1).is_none();
            match outcome {
                Outcome::Done => pass.has_success = true,
                Outcome::Refused { status, words } if part.len() == 1 => {
                    self.give_up(&part, status, &words);
                }
                Outcome::TooLarge { words } if part.len() == 1 => self.give_up(&part, 413, &words),
                Outcome::Suspect { words } if is_one_series => {
                    pass.words = words;
                    pass.suspects.append(&mut part);
                }
                Outcome::Refused { .. } | Outcome::TooLarge { .. } | Outcome::Suspect { .. } => {
                    if patience == SUSPECT_AFTER {
                        self.count(|numbers| numbers.bisected += 1);
                    }
                    patience = SUSPECT_PART_AFTER;
                    let rest = halve(&mut part);
                    parts.push(rest);
                    parts.push(part);
                }
            }
        }
        Ok(pass)
    }

    /// Others went through: series that still get 500 are given up.
    fn judge(&self, suspects: &[Item], words: &str) -> Result<(), Stopped> {
        for run in runs(suspects) {
            let mut part = self.sendable(run.to_vec());
            if part.is_empty() {
                continue;
            }
            match self.insist(&mut part, 1)? {
                Outcome::Done => {}
                Outcome::Refused { status, words } => self.give_up(&part, status, &words),
                Outcome::TooLarge { .. } | Outcome::Suspect { .. } => {
                    self.give_up(&part, 500, words);
                }
            }
        }
        Ok(())
    }

    /// Sends a part until the answer is about what is in it. After `patience` answers of 500 it
    /// may be that, too.
    fn insist(&self, part: &mut Vec<Item>, patience: u32) -> Result<Outcome, Stopped> {
        let mut backoff = Backoff::new(&self.queue);
        let (mut attempt, mut suspicion) = (0, 0);
        loop {
            if self.stop.is_set() {
                return Err(Stopped);
            }
            let counts = Counts::of(part);
            let after = match self.attempt(part, counts, attempt) {
                Verdict::Stored => {
                    self.stored(part, counts);
                    return Ok(Outcome::Done);
                }
                Verdict::Partly { missing, status, words } => {
                    self.partly(part, counts, missing, status, &words);
                    return Ok(Outcome::Done);
                }
                Verdict::OtherProtocol { words } => {
                    self.fall_back(&words);
                    *part = self.sendable(std::mem::take(part));
                    if part.is_empty() {
                        return Ok(Outcome::Done);
                    }
                    continue;
                }
                Verdict::Refused { status, words } => {
                    return Ok(Outcome::Refused { status, words });
                }
                Verdict::TooLarge { words } => return Ok(Outcome::TooLarge { words }),
                Verdict::RateLimited { words } => {
                    self.dropped(part, Reason::RateLimited, &words);
                    return Ok(Outcome::Done);
                }
                Verdict::Again { after, is_suspect, words } => {
                    suspicion = if is_suspect { suspicion + 1 } else { 0 };
                    if suspicion >= patience {
                        return Ok(Outcome::Suspect { words });
                    }
                    // Of parts, some go through: that is no receiver that fails. And a first
                    // failure may be a connection that was closed while nothing was sent.
                    if attempt > 0 && (!is_suspect || patience == SUSPECT_AFTER) {
                        self.failing(&words);
                    }
                    after
                }
            };
            self.count(|numbers| numbers.add_retried(counts));
            attempt += 1;
            if self.stop.wait(backoff.next(after)) {
                return Err(Stopped);
            }
            *part = self.sendable(std::mem::take(part));
            if part.is_empty() {
                return Ok(Outcome::Done);
            }
        }
    }

    fn attempt(&self, part: &[Item], counts: Counts, attempt: u32) -> Verdict {
        let protocol = self.exchange.protocol();
        let message = match protocol {
            Protocol::V1 => request::v1(part, self.has_exemplars),
            Protocol::V2 => request::v2(part, self.has_exemplars),
        };
        let packed = match snap::raw::Encoder::new().compress_vec(&message) {
            Ok(packed) => packed,
            // Only messages of more than 4 GB cannot be compressed.
            Err(error) => return Verdict::TooLarge { words: error.to_string() },
        };
        drop(message);
        let began = Instant::now();
        let answer = self.exchange.send(protocol, &packed, attempt);
        self.count(|numbers| {
            numbers.observe(began.elapsed());
            numbers.bytes += packed.len() as u64;
        });
        let verdict = self.exchange.verdict(protocol, counts, answer);
        // That the receiver knows another protocol only is no failure.
        if !matches!(verdict, Verdict::Stored | Verdict::OtherProtocol { .. }) {
            self.count(|numbers| numbers.requests_failed += 1);
        }
        verdict
    }

    /// Without what is too old, and what the message has no form for.
    fn sendable(&self, items: Vec<Item>) -> Vec<Item> {
        let limit = self.queue.sample_age_limit;
        let oldest = (!limit.is_zero()).then(|| now_millis() - limit.as_millis() as i64);
        let is_v1 = self.exchange.protocol() == Protocol::V1;
        let is_old = |item: &Item| oldest.is_some_and(|oldest| item.time < oldest);
        let has_no_form = |item: &Item| match &item.value {
            Value::Histogram(value) => is_v1 && value.schema == CUSTOM_BOUNDS,
            Value::Float(_) => false,
        };
        if !items.iter().any(|item| is_old(item) || has_no_form(item)) {
            return items;
        }
        let (old, rest): (Vec<Item>, Vec<Item>) = items.into_iter().partition(is_old);
        let (formless, rest): (Vec<Item>, Vec<Item>) = rest.into_iter().partition(has_no_form);
        self.count(|numbers| {
            for (reason, items) in [(Reason::TooOld, old), (Reason::CustomBounds, formless)] {
                let counts = Counts::of(&items);
                if !counts.is_nothing() {
                    numbers.drop(reason, counts);
                }
            }
        });
        rest
    }

    fn stored(&self, part: &[Item], counts: Counts) {
        let highest = part.iter().map(|item| item.time).max().unwrap_or_default();
        let is_recovered = self.count(|numbers| {
            numbers.add_sent(counts);
            numbers.highest_sent = numbers.highest_sent.max(highest);
            numbers.last_sent = Some(SystemTime::now());
            std::mem::take(&mut numbers.is_failing)
        });
        if is_recovered {
            self.tell(false, "the receiver takes samples again".to_owned());
        }
    }

    fn partly(&self, part: &[Item], counts: Counts, missing: u64, status: u16, words: &str) {
        let missing = missing.min(counts.samples + counts.histograms);
        let of_samples = missing.min(counts.samples);
        let lost = Counts { samples: of_samples, histograms: missing - of_samples, exemplars: 0 };
        let kept = Counts {
            samples: counts.samples - lost.samples,
            histograms: counts.histograms - lost.histograms,
            exemplars: counts.exemplars,
        };
        self.stored(part, kept);
        let reason = if is_out_of_order(words) { Reason::OutOfOrder } else { Reason::Rejected };
        let is_first = self.count(|numbers| {
            let is_first = !numbers.dropped.contains_key(&reason);
            numbers.add_failed(lost);
            numbers.drop(reason, lost);
            is_first
        });
        // Which ones, only the receiver's words tell.
        if reason == Reason::Rejected {
            self.quarantine.add(&[], status, words);
        }
        if is_first || reason == Reason::Rejected {
            self.refused(&format!("{missing} of {} values", part.len()), words);
        }
    }

    fn fall_back(&self, words: &str) {
        self.exchange.fall_back();
        let times = self.count(|numbers| {
            numbers.fallbacks += 1;
            numbers.fallbacks
        });
        if times == 1 {
            let text = "the receiver does not know remote write 2.0: using 1.0, and trying again \
                        every 10 minutes";
            self.tell(true, format!("{text} ({words})"));
        }
    }

    /// One value, or one series, that the receiver does not take.
    fn give_up(&self, part: &[Item], status: u16, words: &str) {
        let counts = Counts::of(part);
        if is_out_of_order(words) {
            self.dropped(part, Reason::OutOfOrder, words);
            return;
        }
        self.count(|numbers| {
            numbers.add_failed(counts);
            numbers.drop(Reason::Rejected, counts);
        });
        let Some(first) = part.first() else { return };
        let until = now_millis() + HELD.as_millis() as i64;
        first.series.held_until.store(until, Ordering::Relaxed);
        self.quarantine.add(part, status, words);
        self.refused(&first.series.labels.to_string(), words);
    }

    fn dropped(&self, part: &[Item], reason: Reason, words: &str) {
        let counts = Counts::of(part);
        let is_first = self.count(|numbers| {
            let is_first = !numbers.dropped.contains_key(&reason);
            numbers.drop(reason, counts);
            numbers.add_failed(counts);
            is_first
        });
        if is_first {
            let what = part.first().map(|item| item.series.labels.clone());
            let what = what.unwrap_or_else(Labels::empty);
            let reason = reason.as_str();
            let text = format!("dropped samples ({reason}), the first of {what}: {words}");
            self.tell(true, format!("{text}; counted from now on, not reported"));
        }
    }

    /// Reports the first refusals of an hour; the others are in the file and in the numbers.
    fn refused(&self, what: &str, words: &str) {
        let text = format!("the receiver refuses {what}: {words}");
        let turn = self.count(|numbers| {
            let now = SystemTime::now();
            numbers.last_error = Some((now, text.clone()));
            let since = numbers.refused.0.filter(|since| {
                now.duration_since(*since).is_ok_and(|age| age < REFUSED_TOLD_EACH)
            });
            let turn = if since.is_some() { numbers.refused.1 + 1 } else { 1 };
            numbers.refused = (since.or(Some(now)), turn);
            turn
        });
        match turn {
            1..REFUSED_TOLD_MAX => self.tell(true, text),
            REFUSED_TOLD_MAX => {
                let more = "more of them within the hour are only in the quarantine file";
                self.tell(true, format!("{text}; {more}"));
            }
            _ => {}
        }
    }

    /// Reports the first failure of a row.
    fn failing(&self, words: &str) {
        let was_failing = self.count(|numbers| {
            numbers.last_error = Some((SystemTime::now(), words.to_owned()));
            std::mem::replace(&mut numbers.is_failing, true)
        });
        if !was_failing {
            self.tell(true, format!("cannot send, trying again: {words}"));
        }
    }

    pub(crate) fn tell(&self, is_problem: bool, text: String) {
        let destination = Some(self.title.clone());
        (self.report)(crate::Notice { destination, is_problem, text });
    }
}

/// Splits between two series, or within the only one; answers the second half.
fn halve(part: &mut Vec<Item>) -> Vec<Item> {
    let mut end = 0;
    let mut ends = Vec::new();
    for run in runs(part) {
        end += run.len();
        ends.push(end);
    }
    let middle = part.len() / 2;
    let between = ends.len().checked_sub(2).and_then(|last| {
        let nearest = ends.partition_point(|end| *end < middle);
        ends.get(nearest.min(last)).copied()
    });
    part.split_off(between.unwrap_or(middle))
}

fn sum(one: Counts, other: Counts) -> Counts {
    Counts {
        samples: one.samples + other.samples,
        histograms: one.histograms + other.histograms,
        exemplars: one.exemplars + other.exemplars,
    }
}

pub(crate) fn now_millis() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

/// Waits that double, with some chance in them so that many senders do not come at once.
struct Backoff {
    next: Duration,
    most: Duration,
    chance: u64,
}

impl Backoff {
    fn new(queue: &QueueConfig) -> Backoff {
        let chance = ahash::RandomState::new().hash_one(0_u8);
        Backoff { next: queue.min_backoff, most: queue.max_backoff, chance }
    }

    /// What the receiver asks for counts more.
    fn next(&mut self, asked: Option<Duration>) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(self.most);
        // xorshift
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        let share = 0.8 + 0.4 * (self.chance % 1000) as f64 / 1000.0;
        // None at all would be asked for in vain.
        let asked = asked.filter(|asked| !asked.is_zero());
        asked.unwrap_or_else(|| wait.mul_f64(share).min(self.most))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Backoff;
    use crate::config::QueueConfig;

    #[test]
    fn waits_double_up_to_the_most() {
        let mut backoff = Backoff::new(&QueueConfig::default());
        for millis in [30, 60, 120, 240, 480, 960, 1920, 3840, 5000, 5000] {
            let wait = backoff.next(None).as_secs_f64() * 1000.0;
            let expected = f64::from(millis);
            assert!((0.8 * expected..=1.2 * expected).contains(&wait), "{wait} {expected}");
            assert!(wait <= 5000.0);
        }
        let asked = Duration::from_secs(17);
        assert_eq!(backoff.next(Some(asked)), asked);
    }
}
