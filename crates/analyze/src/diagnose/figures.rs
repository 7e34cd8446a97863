//! What accounts of the resident memory and the runtime's own metrics add to the levels: which
//! size classes, how many stacks, what the collector costs.

use model::metrics::RuntimeMetrics;
use model::rss::{Rss, RssClass, RssGroup, RssKind};
use model::{Bytes, Timestamp};

use crate::metrics::{added, quantile};
use crate::rss::{CauseKind, causes, returnable_bytes};

/// Parts that are named of what grew or is wasted.
const PARTS: usize = 3;

/// Accounts of the resident memory.
#[derive(Clone, Copy)]
pub(super) struct Accounts<'a> {
    all: &'a [Rss],
    first: &'a Rss,
    last: &'a Rss,
}

impl<'a> Accounts<'a> {
    pub(super) fn of(accounts: &'a [Rss]) -> Option<Accounts<'a>> {
        Some(Accounts { all: accounts, first: accounts.first()?, last: accounts.last()? })
    }

    /// The least bytes that these causes had together in the later half of the accounts;
    /// `None` where the runtime was not read.
    pub(super) fn persistent(&self, kinds: &[CauseKind]) -> Option<f64> {
        let bytes = |rss: &Rss| {
            let causes = causes(rss).into_iter().filter(|cause| kinds.contains(&cause.kind));
            causes.map(|cause| cause.bytes).sum::<u64>() as f64
        };
        let later = self.all.get(self.all.len() / 2..)?;
        let is_whole = later.iter().all(|rss| rss.has_runtime);
        later.iter().map(bytes).min_by(f64::total_cmp).filter(|_| is_whole)
    }

    /// Parts outside the Go runtime that grew, the most first: `malloc, arenas of threads: 12 MiB
    /// to 90 MiB`.
    pub(super) fn native_growth(&self) -> Vec<String> {
        let is_native = |kind: &RssKind| {
            matches!(kind.group(), RssGroup::Native | RssGroup::Mapped | RssGroup::Code)
        };
        let mut grown: Vec<(u64, String)> = RssKind::all()
            .filter(is_native)
            .filter_map(|kind| {
                let (before, after) = (self.first.tally.of(kind), self.last.tally.of(kind));
                let more = after.bytes.checked_sub(before.bytes).filter(|more| *more > 1 << 20)?;
                let (before, after) = (Bytes(before.bytes), Bytes(after.bytes));
                Some((more, format!("{}: {before} to {after} resident", kind.label())))
            })
            .collect();
        grown.sort_by_key(|(more, _)| std::cmp::Reverse(*more));
        grown.into_iter().take(PARTS).map(|(_, text)| text).collect()
    }

    /// How many goroutines have how large stacks, then and now.
    pub(super) fn stacks(&self) -> Option<String> {
        let (before, now) = (self.first.stacks?, self.last.stacks?);
        let mean = now.bytes / now.goroutines.max(1);
        Some(format!(
            "{} goroutines had stacks of {}, {} have {} now: {} each, the largest {}",
            before.goroutines,
            Bytes(before.bytes),
            now.goroutines,
            Bytes(now.bytes),
            Bytes(mean),
            Bytes(now.largest_bytes)
        ))
    }

    /// Where free slots are, most bytes first.
    pub(super) fn fragments(&self) -> Vec<String> {
        let mut classes: Vec<&RssClass> =
            self.last.classes.iter().filter(|class| class.free_bytes > 1 << 20).collect();
        classes.sort_by_key(|class| std::cmp::Reverse(class.free_bytes));
        classes.into_iter().take(PARTS).map(fragment).collect()
    }

    /// Idle heap, what of it is in huge pages, and what came back.
    pub(super) fn idle(&self) -> String {
        let (idle, back) =
            (self.last.tally.of(RssKind::HeapIdle), self.last.tally.of(RssKind::HeapReturned));
        format!(
            "idle spans have {} resident, {} of it in huge pages; {} were given back and are \
             resident again",
            Bytes(idle.bytes),
            Bytes(idle.huge_bytes),
            Bytes(back.bytes)
        )
    }
}

fn fragment(class: &RssClass) -> String {
    let slots = class.slot_bytes.map_or("large objects".to_owned(), |slot| {
        let pointers = if class.is_noscan { "without pointers" } else { "with pointers" };
        format!("slots of {slot} bytes {pointers}")
    });
    format!(
        "{slots}: {} free beside {} in use in {} spans; {} would go back if sparse spans were \
         emptied",
        Bytes(class.free_bytes),
        Bytes(class.marked_bytes.saturating_add(class.new_bytes)),
        class.spans,
        Bytes(returnable_bytes(class))
    )
}

/// The runtime's metrics that are judged: whoever keeps evidence may leave out the others.
pub const JUDGED_METRICS: [&str; 7] = [
    "/cpu/classes/gc/mark/assist:cpu-seconds",
    "/cpu/classes/gc/total:cpu-seconds",
    "/cpu/classes/idle:cpu-seconds",
    "/cpu/classes/total:cpu-seconds",
    "/gc/cycles/total:gc-cycles",
    PAUSES[0],
    PAUSES[1],
];

/// Go 1.21 has no histogram of the stops as a whole.
const PAUSES: [&str; 2] = ["/sched/pauses/total/gc:seconds", "/gc/pauses:seconds"];

/// What the collector cost between the first reading and the last.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Collecting {
    /// Its share of the CPU time that was used.
    pub(super) share: f64,
    /// Of that the share of goroutines that had to help.
    pub(super) assists: f64,
    /// Collections a second.
    pub(super) per_second: f64,
    /// In which 99 of 100 stops of the world ended, seconds.
    pub(super) pause_p99: Option<f64>,
}

impl Collecting {
    pub(super) fn of(readings: &[(Timestamp, RuntimeMetrics)]) -> Option<Collecting> {
        let ((from, first), (to, last)) = (readings.first()?, readings.last()?);
        let seconds = to.seconds_since(*from);
        let grown = |name: &str| Some(last.number(name)? - first.number(name)?);
        let collector = grown("/cpu/classes/gc/total:cpu-seconds")?;
        let idle = grown("/cpu/classes/idle:cpu-seconds")?;
        let used = grown("/cpu/classes/total:cpu-seconds")? - idle;
        let assists = grown("/cpu/classes/gc/mark/assist:cpu-seconds")?;
        let cycles = grown("/gc/cycles/total:gc-cycles")?;
        // The runtime sums its CPU time up at the end of each collection.
        let is_sound = seconds > 0.0 && used > 0.0 && collector >= 0.0 && cycles >= 1.0;
        is_sound.then(|| Collecting {
            share: (collector / used).min(1.0),
            assists: if collector > 0.0 { (assists / collector).clamp(0.0, 1.0) } else { 0.0 },
            per_second: cycles / seconds,
            pause_p99: pause(first, last),
        })
    }
}

fn pause(first: &RuntimeMetrics, last: &RuntimeMetrics) -> Option<f64> {
    let histogram = |metrics: &'_ RuntimeMetrics| {
        PAUSES.into_iter().find_map(|name| metrics.histogram(name).cloned())
    };
    let (_, high) = quantile(&added(&histogram(last)?, &histogram(first)?)?, 0.99)?;
    high.is_finite().then_some(high)
}

#[cfg(test)]
mod tests {
    use model::Timestamp;
    use model::metrics::RuntimeMetrics;
    use model::rss::{Rss, RssBytes, RssClass, RssKind, RssStacks};

    use super::{Accounts, Collecting};
    use crate::rss::CauseKind;

    fn account(kinds: &[(RssKind, u64)]) -> Rss {
        let mut rss = Rss { has_runtime: true, ..Rss::default() };
        for (kind, mib) in kinds {
            rss.tally.add(*kind, RssBytes { bytes: mib << 20, huge_bytes: 0 });
        }
        rss
    }

    #[test]
    fn what_goes_back_soon_is_no_waste() {
        let idle = |mib: u64| account(&[(RssKind::HeapIdle, mib), (RssKind::HeapReturned, 5)]);
        let kinds = [CauseKind::IdleHeap, CauseKind::ReturnedHeap];
        let all = [idle(900), idle(800), idle(200), idle(300)];
        let found = Accounts::of(&all).unwrap().persistent(&kinds);
        assert_eq!(found, Some(205.0 * 1024.0 * 1024.0));
        // Without the runtime's structures nothing is known.
        let all = [Rss { has_runtime: false, ..idle(900) }];
        assert_eq!(Accounts::of(&all).unwrap().persistent(&kinds), None);
    }

    #[test]
    fn parts_that_grew_and_slots_that_are_free_are_named() {
        let mut before = account(&[(RssKind::MallocArena, 10), (RssKind::File, 30)]);
        let mut after = account(&[(RssKind::MallocArena, 90), (RssKind::File, 30)]);
        before.stacks = Some(RssStacks { goroutines: 10, bytes: 80 << 10, largest_bytes: 8 << 10 });
        after.stacks =
            Some(RssStacks { goroutines: 1000, bytes: 8 << 20, largest_bytes: 64 << 10 });
        let class = |slot: u64, free: u64| RssClass {
            slot_bytes: Some(slot),
            free_bytes: free << 20,
            spans: 7,
            ..RssClass::default()
        };
        after.classes = vec![class(48, 2), class(512, 40), class(64, 0)];
        let all = [before, after];
        let accounts = Accounts::of(&all).unwrap();
        let label = RssKind::MallocArena.label();
        assert_eq!(accounts.native_growth(), [format!("{label}: 10.0 MiB to 90.0 MiB resident")]);
        let fragments = accounts.fragments();
        assert!(fragments[0].starts_with("slots of 512 bytes with pointers: 40.0 MiB free"));
        assert_eq!(fragments.len(), 2);
        let stacks = accounts.stacks().unwrap();
        assert!(stacks.ends_with("1000 have 8.00 MiB now: 8.19 KiB each, the largest 64.0 KiB"));
    }

    #[test]
    fn the_collectors_share_is_of_used_time() {
        let reading = |gc: f64, idle: f64, total: f64, cycles: u64| {
            let mut metrics = RuntimeMetrics::default();
            metrics.push_float("/cpu/classes/gc/total:cpu-seconds", gc);
            metrics.push_float("/cpu/classes/gc/mark/assist:cpu-seconds", gc / 2.0);
            metrics.push_float("/cpu/classes/idle:cpu-seconds", idle);
            metrics.push_float("/cpu/classes/total:cpu-seconds", total);
            metrics.push_unsigned("/gc/cycles/total:gc-cycles", cycles);
            metrics
        };
        let readings = [
            (Timestamp(0), reading(1.0, 10.0, 20.0, 5)),
            (Timestamp(10_000), reading(4.0, 20.0, 40.0, 25)),
        ];
        let found = Collecting::of(&readings).unwrap();
        assert_eq!((found.share, found.assists, found.per_second), (0.3, 0.5, 2.0));
        // Without a collection between the two nothing is known.
        assert_eq!(Collecting::of(&readings[..1]), None);
        assert_eq!(Collecting::of(&[]), None);
    }
}
