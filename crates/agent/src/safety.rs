//! Whether a capture could itself cause the kill it is to explain.
//!
//! Pure: [`Situation`] has the figures, [`check`] decides. Profiles, goroutines and metrics are
//! read from outside and cost the target nothing; an object graph clones the target, whose pages
//! are copied as it goes on writing (the figures are those of `capture::snapshot`); traces and the
//! profile of leaked goroutines run code in the target.

use std::path::Path;

use capture::signals;
use model::{Bytes, CaptureKind, CgroupMemory};

/// The memory and disk around a target; `None` is unknown and stops nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Situation {
    /// Resident set of the target.
    pub rss_bytes: Option<u64>,
    /// Anonymous memory of it, swapped out or not.
    pub anon_bytes: Option<u64>,
    /// What its cgroup may still take before memory runs out there.
    pub headroom_bytes: Option<u64>,
    /// What ours may still take.
    pub own_headroom_bytes: Option<u64>,
    /// What our own budget leaves.
    pub own_budget_bytes: Option<u64>,
    /// We live below the same limit: what we take, the target cannot have.
    pub shares_limit: bool,
    /// Available on the machine.
    pub available_bytes: Option<u64>,
    /// All memory of the machine.
    pub total_bytes: Option<u64>,
    /// Free on the disk of the store.
    pub disk_free_bytes: Option<u64>,
    /// Goroutines of the target.
    pub goroutines: Option<u64>,
}

/// What a capture may take for a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Need {
    /// In the target's cgroup.
    pub target_bytes: u64,
    /// In ours.
    pub own_bytes: u64,
    /// On the disk.
    pub disk_bytes: u64,
}

const MIB: u64 = 1 << 20;
/// Reading the largest profiles takes some megabytes, and they are stored compressed.
const PROFILE: Need = Need { target_bytes: 0, own_bytes: 8 * MIB, disk_bytes: MIB };
/// The state of one goroutine while stacks are read.
const GOROUTINE_BYTES: u64 = 256;
/// Trace buffers in the target, and a trace of some seconds of a busy program.
const TRACE: Need = Need { target_bytes: 16 * MIB, own_bytes: 4 * MIB, disk_bytes: 128 * MIB };
/// The machine keeps this share for itself when something heavy is taken.
const RESERVE_SHARE: u64 = 20;

/// What a capture of a kind may take.
pub fn need(kind: CaptureKind, situation: &Situation) -> Need {
    let anon = situation.anon_bytes.or(situation.rss_bytes).unwrap_or(0);
    let rss = situation.rss_bytes.unwrap_or(anon);
    match kind {
        CaptureKind::Heap | CaptureKind::Runtime | CaptureKind::Rss => PROFILE,
        CaptureKind::Goroutine => {
            let stacks = situation.goroutines.unwrap_or(0).saturating_mul(GOROUTINE_BYTES);
            Need { own_bytes: PROFILE.own_bytes.saturating_add(stacks), ..PROFILE }
        }
        // The program stops, and marks what is reachable: a few bits an object.
        CaptureKind::GoroutineLeak => Need { target_bytes: 8 * MIB + anon / 64, ..PROFILE },
        // The kernel's tables, and names.
        CaptureKind::Alloc | CaptureKind::Native | CaptureKind::Faults | CaptureKind::Mmap => {
            Need { own_bytes: 32 * MIB, ..PROFILE }
        }
        CaptureKind::Trace => TRACE,
        CaptureKind::Graph => Need {
            // Half of it may be written to while the clone lives, page tables are copied, and
            // the target goes on allocating.
            target_bytes: (anon / 2)
                .saturating_add(rss / 512)
                .saturating_add((64 * MIB).max(anon / 32)),
            own_bytes: 16 * MIB + anon / 8,
            // The copy, and 45 bytes for each object of some 64.
            disk_bytes: anon.saturating_add(anon / 64 * 45),
        },
    }
}

/// Whether a capture can be taken without harm; else why not.
///
/// # Errors
/// Says what it would take, what there is, and where.
pub fn check(kind: CaptureKind, situation: &Situation) -> Result<Need, String> {
    let need = need(kind, situation);
    let refuse = |bytes: u64, left: u64, place: &str| {
        let (word, bytes, left) = (kind.as_str(), Bytes(bytes), Bytes(left));
        Err(format!("a capture of kind {word} may take {bytes}, but {place} leaves {left}"))
    };
    let shared = if situation.shares_limit { need.own_bytes } else { 0 };
    let in_target = need.target_bytes.saturating_add(shared);
    if let Some(left) = situation.headroom_bytes.filter(|left| *left < in_target) {
        let place = match situation.shares_limit {
            true => "the memory limit it shares with memsight",
            false => "its memory limit",
        };
        return refuse(in_target, left, place);
    }
    if let Some(left) = situation.own_headroom_bytes.filter(|left| *left < need.own_bytes) {
        return refuse(need.own_bytes, left, "memsight's own memory limit");
    }
    // A profile is small, and may be all that is left of the target in a moment.
    let is_large = need.own_bytes > PROFILE.own_bytes;
    if let Some(left) = situation.own_budget_bytes.filter(|left| is_large && *left < need.own_bytes)
    {
        return refuse(need.own_bytes, left, "memsight's budget.memory");
    }
    let all = need.target_bytes.saturating_add(need.own_bytes);
    let is_heavy = need.target_bytes > 0;
    let reserve = if is_heavy { situation.total_bytes.unwrap_or(0) / RESERVE_SHARE } else { 0 };
    let available = situation.available_bytes.map(|bytes| bytes.saturating_sub(reserve));
    if let Some(left) = available.filter(|left| *left < all) {
        return refuse(all, left, "the machine");
    }
    match situation.disk_free_bytes {
        Some(left) if left < need.disk_bytes => refuse(need.disk_bytes, left, "the store's disk"),
        _ => Ok(need),
    }
}

/// Reads the figures of a process, or of a target known only by a URL. `budget` is what we may
/// hold in memory.
pub fn situation(
    pid: Option<u32>,
    goroutines: Option<u64>,
    budget: Option<u64>,
    store: &Path,
) -> Situation {
    let (host, own) = (signals::host(), signals::cgroup(std::process::id()));
    let (process, cgroup) = match pid {
        Some(pid) => (signals::process(pid, false), signals::cgroup(pid)),
        None => Default::default(),
    };
    let anon = process.rss_anon_bytes.map(|anon| anon + process.swap_bytes.unwrap_or(0));
    let shares_limit = cgroup.limit_bytes.is_some() && cgroup.limit_path == own.limit_path;
    let disk = rustix::fs::statvfs(store).ok();
    Situation {
        rss_bytes: process.rss_bytes,
        anon_bytes: anon,
        headroom_bytes: headroom(&cgroup),
        own_headroom_bytes: headroom(&own),
        own_budget_bytes: budget.map(left_of),
        shares_limit,
        available_bytes: host.available_bytes,
        total_bytes: host.total_bytes,
        disk_free_bytes: disk.map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize)),
        goroutines,
    }
}

fn left_of(budget: u64) -> u64 {
    let held = signals::process(std::process::id(), false).rss_bytes.unwrap_or(0);
    budget.saturating_sub(held)
}

/// Pages of files that nobody uses are given back before anything is killed.
fn headroom(cgroup: &CgroupMemory) -> Option<u64> {
    let used = cgroup.working_set_bytes.or(cgroup.usage_bytes)?;
    Some(cgroup.limit_bytes?.saturating_sub(used))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn roomy() -> Situation {
        Situation {
            rss_bytes: Some(GIB),
            anon_bytes: Some(GIB),
            headroom_bytes: Some(GIB),
            own_headroom_bytes: Some(GIB),
            own_budget_bytes: None,
            shares_limit: false,
            available_bytes: Some(8 * GIB),
            total_bytes: Some(16 * GIB),
            disk_free_bytes: Some(100 * GIB),
            goroutines: Some(1000),
        }
    }

    fn check_refused(kind: CaptureKind, situation: &Situation, expected: &str) {
        let why = check(kind, situation).unwrap_err();
        assert!(why.contains(expected), "{why}");
    }

    #[test]
    fn profiles_are_taken_where_graphs_no_longer_are() {
        for kind in CaptureKind::ALL {
            check(kind, &roomy()).unwrap();
            check(kind, &Situation::default()).unwrap();
        }
        let tight = Situation { headroom_bytes: Some(MIB), ..roomy() };
        check_refused(CaptureKind::Graph, &tight, "its memory limit leaves 1.00 MiB");
        check_refused(CaptureKind::Trace, &tight, "its memory limit");
        for kind in [CaptureKind::Heap, CaptureKind::Goroutine, CaptureKind::Runtime] {
            check(kind, &tight).unwrap();
        }
        // The machine itself is short: what is heavy leaves it a reserve, what is light need not.
        let short = Situation { available_bytes: Some(GIB), ..roomy() };
        check_refused(CaptureKind::Graph, &short, "the machine");
        check(CaptureKind::Heap, &Situation { available_bytes: Some(9 * MIB), ..short }).unwrap();
        check_refused(
            CaptureKind::Heap,
            &Situation { available_bytes: Some(7 * MIB), ..short },
            "the machine leaves 7.00 MiB",
        );
    }

    #[test]
    fn what_we_take_counts_where_the_limit_is_ours_too() {
        let shared = Situation { shares_limit: true, headroom_bytes: Some(4 * MIB), ..roomy() };
        check_refused(CaptureKind::Heap, &shared, "shares with memsight");
        let many =
            Situation { goroutines: Some(1 << 20), own_headroom_bytes: Some(64 * MIB), ..roomy() };
        check_refused(CaptureKind::Goroutine, &many, "memsight's own memory limit");
        check(CaptureKind::Heap, &many).unwrap();
    }

    #[test]
    fn a_budget_bounds_what_is_large() {
        let spent = Situation { own_budget_bytes: Some(MIB), ..roomy() };
        check_refused(CaptureKind::Graph, &spent, "memsight's budget.memory leaves 1.00 MiB");
        check(CaptureKind::Heap, &spent).unwrap();
        check(CaptureKind::Graph, &Situation { own_budget_bytes: Some(GIB), ..roomy() }).unwrap();
        let store = std::env::temp_dir();
        let read = |budget| situation(None, None, budget, &store).own_budget_bytes;
        assert_eq!((read(None), read(Some(1))), (None, Some(0)));
        assert!(read(Some(GIB)).is_some_and(|left| left > 0 && left < GIB));
    }

    #[test]
    fn a_full_disk_takes_nothing() {
        let full = Situation { disk_free_bytes: Some(0), ..roomy() };
        check_refused(CaptureKind::Heap, &full, "the store's disk leaves 0 B");
        let huge = Situation { anon_bytes: Some(u64::MAX), rss_bytes: Some(u64::MAX), ..roomy() };
        check_refused(CaptureKind::Graph, &huge, "its memory limit");
    }
}
