//! What would make resident memory smaller, by the numbers: nothing where nothing is to gain.

use model::Bytes;
use model::rss::{Rss, RssGroup, RssKind};

use super::{CauseKind, causes, largest_file, returnable_bytes, room};

/// A change, and what it would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// What to set or do.
    pub setting: String,
    /// Why, with the figures it follows from.
    pub reason: String,
    /// Resident bytes it saves, at least and at most: of those there are now, or, where a
    /// limit is about to be hit, of those there would be then.
    pub saves: (u64, u64),
    /// What it costs.
    pub risk: &'static str,
}

/// Less than this, or than this part of resident memory, is not worth a change.
const WORTH_BYTES: u64 = 8 << 20;
const WORTH_PART: u64 = 20;
/// The scavenger keeps GOMEMLIMIT from being reached from here on, and a limit of the kernel
/// needs room for what the runtime does not count.
const LIMIT_PERCENT: u64 = 90;

/// What can be gained, the most first.
pub fn advice(rss: &Rss) -> Vec<Advice> {
    let total = rss.tally.total().bytes;
    let worth = (total / WORTH_PART).max(WORTH_BYTES);
    let rules = [idle, returned, lazy, headroom, limit, fragmented, stacks, arenas, files];
    let mut found: Vec<Advice> = rules.iter().filter_map(|rule| rule(rss, worth)).collect();
    found.sort_by_key(|advice| std::cmp::Reverse((advice.saves.1, advice.saves.0)));
    found
}

fn cause(rss: &Rss, kind: CauseKind) -> u64 {
    causes(rss).into_iter().find(|cause| cause.kind == kind).map_or(0, |cause| cause.bytes)
}

fn idle(rss: &Rss, worth: u64) -> Option<Advice> {
    let (left_over, all) = (cause(rss, CauseKind::IdleHeap), rss.tally.of(RssKind::HeapIdle).bytes);
    if left_over < worth {
        return None;
    }
    // A number for the limit would be a guess: how much the peak needs is not known here.
    Some(Advice {
        setting: "debug.FreeOSMemory() after the peak, or a GOMEMLIMIT: from 95 % of it on the \
                  runtime gives memory back at once"
            .to_owned(),
        reason: format!(
            "{} of the heap hold nothing, {} more than allocations need until the next \
             collection; the runtime gives back what is beyond 110 % of the goal with 1 % of a \
             CPU, which takes seconds to minutes",
            Bytes(all),
            Bytes(left_over)
        ),
        saves: (left_over, all),
        risk: "FreeOSMemory collects at once, and memory that comes back has to be faulted in; \
               with a limit near what lives the collector runs all the time",
    })
}

fn returned(rss: &Rss, worth: u64) -> Option<Advice> {
    let back = rss.tally.of(RssKind::HeapReturned);
    if back.huge_bytes < worth {
        return None;
    }
    let ptes = rss.huge_pages.max_ptes_none;
    let setting = match ptes {
        Some(ptes) if ptes > 0 => {
            "GODEBUG=disablethp=1 (Go 1.21.6 and later), or \
             /sys/kernel/mm/transparent_hugepage/khugepaged/max_ptes_none = 0"
        }
        _ => "GODEBUG=disablethp=1 (Go 1.21.6 and later)",
    };
    let how = match ptes {
        Some(ptes) => format!(" (max_ptes_none is {ptes} of 512)"),
        None => String::new(),
    };
    Some(Advice {
        setting: setting.to_owned(),
        reason: format!(
            "{} of the heap were given back and are resident again, {} of it in huge pages: the \
             kernel makes whole ones where a few pages are used{how}",
            Bytes(back.bytes),
            Bytes(back.huge_bytes)
        ),
        saves: (back.huge_bytes, back.bytes),
        risk: "without huge pages the CPU misses its TLB more often; a later Go may drop the setting",
    })
}

fn lazy(rss: &Rss, worth: u64) -> Option<Advice> {
    let bytes = rss.lazy_free_bytes;
    (bytes >= worth && rss.has_runtime).then(|| Advice {
        setting: "GODEBUG=madvdontneed=1".to_owned(),
        reason: format!(
            "{} were given back with MADV_FREE: they count as resident until the kernel needs them",
            Bytes(bytes)
        ),
        saves: (bytes, bytes),
        risk: "memory that comes back has to be faulted in",
    })
}

fn headroom(rss: &Rss, worth: u64) -> Option<Advice> {
    let gogc = u64::try_from(rss.runtime.gogc_percent?).ok().filter(|gogc| *gogc >= 50)?;
    let goal = room(rss).goal?;
    let by_gogc = rss.runtime.heap_goal_bytes?;
    let live = rss.runtime.heap_live_bytes?;
    let bytes = cause(rss, CauseKind::GcHeadroom);
    // Where a memory limit sets the goal, GOGC does not.
    let half = by_gogc.saturating_sub(live) / 2;
    if goal < by_gogc || half < worth || bytes < worth {
        return None;
    }
    let cpu = rss.runtime.gc_cpu_fraction.unwrap_or(0.0) * 100.0;
    Some(Advice {
        setting: format!("GOGC={} instead of {gogc}", gogc / 2),
        reason: format!(
            "{} lived at the last collection, the next begins at {}; {} of the room between are \
             resident",
            Bytes(live),
            Bytes(by_gogc),
            Bytes(bytes)
        ),
        saves: (bytes.saturating_sub(half), half.min(bytes)),
        risk: cpu_risk(cpu),
    })
}

/// Twice as many collections cost twice the CPU.
fn cpu_risk(percent: f64) -> &'static str {
    match percent {
        ..1.0 => "about twice as many collections, which now take less than 1 % of the CPU",
        1.0..5.0 => "about twice as many collections, which now take 1 to 5 % of the CPU",
        _ => "about twice as many collections, which take more than 5 % of the CPU already",
    }
}

fn limit(rss: &Rss, _worth: u64) -> Option<Advice> {
    let limit = rss.cgroup.limit_bytes?;
    let is_unset = rss.runtime.gomemlimit_bytes == Some(i64::MAX);
    let room = room(rss);
    let used = [RssKind::HeapMarked, RssKind::HeapNew, RssKind::HeapDead];
    let used: u64 = used.iter().map(|kind| rss.tally.of(*kind).bytes).sum();
    let more = room.goal?.saturating_sub(used).saturating_sub(room.free + room.idle);
    let then = rss.tally.total().bytes.saturating_add(more);
    if !is_unset || then <= limit {
        return None;
    }
    let beside: u64 = [RssGroup::Native, RssGroup::Mapped]
        .iter()
        .map(|group| rss.tally.group(*group).bytes)
        .sum();
    let fits = (limit / 100 * LIMIT_PERCENT).checked_sub(beside).filter(|fits| *fits > 0)?;
    Some(Advice {
        setting: format!("GOMEMLIMIT={}MiB", fits >> 20),
        reason: format!(
            "the next collection begins when {} are resident, and the cgroup's limit is {}",
            Bytes(then),
            Bytes(limit)
        ),
        saves: (then - limit, then.saturating_sub(fits)),
        risk: "when what lives comes near the limit, the collector runs all the time",
    })
}

fn fragmented(rss: &Rss, worth: u64) -> Option<Advice> {
    let bytes = cause(rss, CauseKind::Fragmentation);
    let returnable: u64 = rss.classes.iter().map(returnable_bytes).sum();
    let worst = rss.classes.iter().max_by_key(|class| returnable_bytes(class))?;
    if returnable < worth || bytes < worth {
        return None;
    }
    let (spans, objects) = rss.classes.iter().fold((0, 0), |(spans, objects), class| {
        (spans + class.sparse_spans, objects + class.sparse_objects)
    });
    let slots = worst.slot_bytes.map_or("large".to_owned(), |bytes| format!("{bytes}-byte"));
    Some(Advice {
        setting: format!(
            "allocate long-lived objects of {slots} slots apart from short-lived ones \
             (`memsight heap waste TARGET` names their types)"
        ),
        reason: format!(
            "{objects} objects pin {spans} spans that are at most a quarter full; {} would go back \
             if those moved together, {} of it in {slots} slots",
            Bytes(returnable),
            Bytes(returnable_bytes(worst))
        ),
        saves: (0, returnable),
        risk: "a change of the program",
    })
}

fn stacks(rss: &Rss, worth: u64) -> Option<Advice> {
    let (bytes, stacks) = (rss.tally.of(RssKind::StackInUse).bytes, rss.stacks?);
    let each = stacks.bytes / stacks.goroutines.max(1);
    (bytes >= worth).then(|| Advice {
        setting: "fewer goroutines or shallower calls (`memsight goroutines TARGET` says where \
                  they are)"
            .to_owned(),
        reason: format!(
            "{} goroutines have stacks of {} on average, the largest {}; a stack shrinks only when \
             a collection finds less than a quarter of it used",
            stacks.goroutines,
            Bytes(each),
            Bytes(stacks.largest_bytes)
        ),
        saves: (0, bytes),
        risk: "a change of the program",
    })
}

fn arenas(rss: &Rss, worth: u64) -> Option<Advice> {
    let bytes = rss.tally.of(RssKind::MallocArena).bytes;
    (bytes >= worth && rss.malloc_arenas > 2).then(|| Advice {
        setting: "MALLOC_ARENA_MAX=2, or malloc_trim(0) after the peak".to_owned(),
        reason: format!(
            "malloc of C keeps {} in {} arenas; what one thread freed is not used by others, and \
             how much of it is free cannot be seen from outside",
            Bytes(bytes),
            rss.malloc_arenas
        ),
        saves: (0, bytes),
        risk: "threads wait for each other in malloc; nothing is saved where C code holds it",
    })
}

fn files(rss: &Rss, worth: u64) -> Option<Advice> {
    let bytes = rss.tally.of(RssKind::File).bytes;
    let (path, most) = largest_file(rss)?;
    (bytes >= worth).then(|| Advice {
        setting: "madvise(MADV_DONTNEED) on parts that are done with, or a limit that counts page \
                  cache"
            .to_owned(),
        reason: format!(
            "{} of files are mapped and resident, {} of {path}; the kernel drops clean pages when \
             memory is short",
            Bytes(bytes),
            Bytes(most)
        ),
        saves: (0, bytes),
        risk: "what is needed again is read from disk",
    })
}
