//! Causes and advice on pictures with known truths.

use model::Rss;
use model::rss::{HugePages, RssBytes, RssClass, RssKind, RssMap, RssStacks};

use super::{CauseKind, advice, causes, returnable_bytes};

const MIB: u64 = 1 << 20;

fn rss(parts: &[(RssKind, u64)]) -> Rss {
    let mut rss = Rss { has_runtime: true, ..Rss::default() };
    for (kind, mib) in parts {
        rss.tally.add(*kind, RssBytes { bytes: mib * MIB, huge_bytes: 0 });
    }
    rss.runtime.gogc_percent = Some(100);
    rss.runtime.gomemlimit_bytes = Some(i64::MAX);
    rss.runtime.heap_goal_bytes = Some(4 * MIB);
    rss
}

fn check(rss: &Rss, main: CauseKind, mib: u64, settings: &[&str]) {
    let causes = causes(rss);
    assert_eq!((causes[0].kind, causes[0].bytes / MIB), (main, mib), "{causes:#?}");
    let all: u64 = causes.iter().map(|cause| cause.bytes).sum();
    assert_eq!(all, rss.tally.total().bytes);
    let found = advice(rss);
    assert_eq!(found.len(), settings.len(), "{found:#?}");
    for (found, part) in found.iter().zip(settings) {
        assert!(found.setting.contains(part), "{found:?}");
        assert!(found.saves.0 <= found.saves.1 && found.saves.1 <= all, "{found:?}");
    }
}

#[test]
fn room_until_the_next_collection_is_no_waste() {
    // Just swept: what was garbage is free now and will be allocated again.
    let mut steady = rss(&[
        (RssKind::HeapMarked, 100),
        (RssKind::HeapNew, 10),
        (RssKind::HeapFree, 30),
        (RssKind::HeapIdle, 60),
    ]);
    steady.runtime.heap_goal_bytes = Some(200 * MIB);
    steady.runtime.heap_live_bytes = Some(100 * MIB);
    let found = causes(&steady);
    assert_eq!((found[1].kind, found[1].bytes), (CauseKind::GcHeadroom, 100 * MIB));
    check(&steady, CauseKind::LiveHeap, 100, &["GOGC=50 instead of 100"]);
    assert_eq!(advice(&steady)[0].saves, (50 * MIB, 50 * MIB));
    // A limit sets the goal: halving GOGC would change nothing.
    steady.runtime.gomemlimit_bytes = Some(160 << 20);
    steady.runtime.sys_bytes = Some(200 * MIB);
    steady.runtime.heap_released_bytes = Some(0);
    steady.runtime.heap_idle_bytes = Some(60 * MIB);
    steady.runtime.heap_alloc_bytes = Some(110 * MIB);
    check(&steady, CauseKind::LiveHeap, 100, &["FreeOSMemory"]);
}

#[test]
fn idle_heap_is_what_is_left_over() {
    let idle = rss(&[(RssKind::HeapMarked, 2), (RssKind::HeapIdle, 302)]);
    check(&idle, CauseKind::IdleHeap, 300, &["FreeOSMemory"]);
    assert_eq!(advice(&idle)[0].saves, (300 * MIB, 302 * MIB));
    let little = rss(&[(RssKind::ExeText, 5), (RssKind::HeapIdle, 8)]);
    check(&little, CauseKind::Code, 5, &[]);
}

#[test]
fn pinned_spans_are_fragmentation() {
    let mut pinned =
        rss(&[(RssKind::HeapMarked, 2), (RssKind::HeapFree, 120), (RssKind::HeapTail, 4)]);
    let class = RssClass {
        slot_bytes: Some(128),
        spans: 16128,
        span_bytes: 126 * MIB,
        free_bytes: 120 * MIB,
        slots: 16128 * 63,
        objects: 16128,
        sparse_spans: 16128,
        sparse_bytes: 126 * MIB,
        sparse_objects: 16128,
        ..RssClass::default()
    };
    assert_eq!(returnable_bytes(&class), (16128 - 256) * 8192);
    assert_eq!(returnable_bytes(&RssClass { room: 20000, ..class }), 126 * MIB);
    pinned.classes = vec![class];
    check(&pinned, CauseKind::Fragmentation, 122, &["128-byte slots"]);
    assert_eq!(causes(&pinned)[0].detail.as_deref(), Some("120 MiB in slots of 128 bytes"));
}

#[test]
fn what_is_not_heap_has_its_own_advice() {
    let mut stacks = rss(&[(RssKind::StackInUse, 90), (RssKind::HeapNew, 3)]);
    stacks.stacks = Some(RssStacks { goroutines: 3000, bytes: 90 * MIB, largest_bytes: 64 << 10 });
    check(&stacks, CauseKind::Stacks, 90, &["fewer goroutines"]);
    let mut native = rss(&[(RssKind::MallocArena, 200), (RssKind::MallocHeap, 10)]);
    native.malloc_arenas = 7;
    check(&native, CauseKind::Native, 210, &["MALLOC_ARENA_MAX=2"]);
    native.malloc_arenas = 1;
    check(&native, CauseKind::Native, 210, &[]);
    let mut files = rss(&[(RssKind::File, 64)]);
    let map = RssMap { path: "/data/index".to_owned(), tally: files.tally, ..RssMap::default() };
    files.maps = vec![map];
    check(&files, CauseKind::Files, 64, &["MADV_DONTNEED"]);
    assert_eq!(causes(&files)[0].detail.as_deref(), Some("64.0 MiB in /data/index"));
}

#[test]
fn huge_pages_are_advised_against_only_where_they_bring_memory_back() {
    let mut back = rss(&[(RssKind::HeapMarked, 20)]);
    let bytes = RssBytes { bytes: 100 * MIB, huge_bytes: 90 * MIB };
    back.tally.add(RssKind::HeapReturned, bytes);
    back.huge_pages = HugePages { enabled: "always".to_owned(), max_ptes_none: Some(511) };
    check(&back, CauseKind::ReturnedHeap, 100, &["max_ptes_none = 0"]);
    assert_eq!(advice(&back)[0].saves, (90 * MIB, 100 * MIB));
    let mut live = rss(&[]);
    live.tally.add(RssKind::HeapMarked, RssBytes { bytes: 100 * MIB, huge_bytes: 100 * MIB });
    check(&live, CauseKind::LiveHeap, 100, &[]);
}

#[test]
fn a_goal_beyond_the_limit_wants_a_memory_limit() {
    let mut tight = rss(&[(RssKind::HeapMarked, 300), (RssKind::HeapNew, 20)]);
    tight.runtime.heap_goal_bytes = Some(600 * MIB);
    tight.runtime.heap_live_bytes = Some(300 * MIB);
    tight.cgroup.limit_bytes = Some(512 * MIB);
    let found = advice(&tight);
    assert_eq!(found[0].setting, "GOMEMLIMIT=460MiB", "{found:#?}");
    assert!(found[0].reason.contains("600 MiB are resident"), "{found:#?}");
    tight.runtime.gomemlimit_bytes = Some(500 << 20);
    assert!(!advice(&tight).iter().any(|one| one.setting.starts_with("GOMEMLIMIT=")));
}
