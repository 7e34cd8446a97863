//! Lines of all releases, whole and damaged.

use model::gctrace::{
    GcCycle, PacerEnd, PacerStart, RuntimeLine, ScanStats, Scavenge, Scheduler, SweepDone,
};

use super::{Line, line};

fn runtime(text: &str) -> (RuntimeLine, &str) {
    match line(text) {
        Line::Runtime(found, before) => (found, before),
        other => panic!("{text}: {other:?}"),
    }
}

fn cycle(text: &str) -> GcCycle {
    match runtime(text).0 {
        RuntimeLine::Cycle(cycle) => cycle,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn a_cycle_of_today() {
    let text = "gc 12 @0.317s 4% (checking for goroutine leaks): 0.018+1.3+0.076 ms clock, \
                0.036+0.35/1.0/0.046+0.15 ms cpu, 8->9->5 MB, 10 MB goal, 1 MB stacks, 2 MB globals, \
                2 P (forced)";
    let expected = GcCycle {
        number: 12,
        at_seconds: 0.317,
        cpu_percent: 4,
        is_leak_check: true,
        sweep_term_ms: 0.018,
        mark_ms: 1.3,
        mark_term_ms: 0.076,
        sweep_term_cpu_ms: 0.036,
        assist_cpu_ms: 0.35,
        background_cpu_ms: 1.0,
        idle_cpu_ms: 0.046,
        mark_term_cpu_ms: 0.15,
        start_mib: 8,
        end_mib: 9,
        live_mib: 5,
        goal_mib: 10,
        stacks_mib: Some(1),
        globals_mib: Some(2),
        procs: 2,
        is_forced: true,
    };
    let found = cycle(text);
    assert!((found.mark_ms - 1.3).abs() < 1e-9);
    assert_eq!(GcCycle { mark_ms: 1.3, ..found }, expected);
}

#[test]
fn cycles_of_old_releases() {
    let found = cycle(
        "gc 1 @2.104s 0%: 0.018+1.3+0.076 ms clock, 0.054+0.35/1.0/0.046+0.23 ms cpu, \
         4->4->3 MB, 5 MB goal, 4 P",
    );
    assert_eq!((found.number, found.goal_mib, found.procs, found.stacks_mib), (1, 5, 4, None));
    // Go 1.5 told scanning and the installation of write barriers apart.
    let found = cycle(
        "gc 3 @0.5s 1%: 0.1+0.2+0.3+4+0.5 ms clock, 0.1+0.2+0.3+1/2/3+0.5 ms cpu, \
         4->4->3 MB, 5 MB goal, 4 P",
    );
    assert!((found.mark_ms - 4.5).abs() < 1e-9 && (found.background_cpu_ms - 2.5).abs() < 1e-9);
    assert!((found.pause_ms() - 0.6).abs() < 1e-9 && (found.assist_cpu_ms - 1.0).abs() < 1e-9);
}

#[test]
fn what_the_program_printed_on_the_same_line_is_kept() {
    let own = "gc 1 @0.010s 0%: 0+0+0 ms clock, 0+0/0/0+0 ms cpu, 4->4->3 MB, 5 MB goal, 1 P";
    for before in ["2026-01-02T03:04:05Z stderr F ", "half a line", "gc 7 is soon, ", "äöü"] {
        for after in ["", " trailing", "\r"] {
            let text = format!("{before}{own}{after}");
            let (found, kept) = runtime(&text);
            assert!(matches!(found, RuntimeLine::Cycle(_)));
            assert_eq!(kept, before);
        }
    }
}

#[test]
fn scavenger_lines() {
    let scavenge = |text| match runtime(text).0 {
        RuntimeLine::Scavenge(found) => found,
        other => panic!("{other:?}"),
    };
    let now = "scav 8 KiB work (bg), 16 KiB work (eager), 2048 KiB now, 95% util (forced)";
    let expected = Scavenge {
        background_kib: 8,
        eager_kib: Some(16),
        released_kib: 2048,
        utilisation_percent: 95,
        is_forced: true,
    };
    assert_eq!(scavenge(now), expected);
    let older = Scavenge { eager_kib: None, is_forced: false, ..expected };
    assert_eq!(scavenge("scav 8 KiB work, 2048 KiB total, 95% util"), older);
    assert_eq!(scavenge("scav 3 8 KiB work, 2048 KiB total, 95% util"), older);
}

#[test]
fn scheduler_lines() {
    let expected = Scheduler {
        at_ms: 1004,
        procs: 2,
        idle_procs: 1,
        threads: 5,
        spinning_threads: 0,
        idle_threads: 2,
        queue: 3,
        local_queues: vec![4, 0],
    };
    let start = "SCHED 1004ms: gomaxprocs=2 idleprocs=1 threads=5 spinningthreads=0 needspinning=0 \
                 idlethreads=2 runqueue=3";
    for end in [" [4 0]", " [ 4 0 ] schedticks=[ 17 4 ]"] {
        assert_eq!(runtime(&format!("{start}{end}")).0, RuntimeLine::Scheduler(expected.clone()));
    }
    let detailed = format!("{start} gcwaiting=false nmidlelocked=0 stopwait=0 sysmonwait=false");
    let expected = Scheduler { local_queues: vec![], ..expected };
    assert_eq!(runtime(&detailed).0, RuntimeLine::Scheduler(expected));
    for detail in [
        "  P0: status=0 schedtick=1 syscalltick=0 m=nil runqsize=0 gfreecnt=0 timerslen=0",
        "  M12: p=nil curg=nil mallocing=0 throwing=0 preemptoff= locks=0 dying=0 spinning=false",
        "  G1: status=4(chan receive) m=nil lockedm=nil",
    ] {
        assert_eq!(line(detail), Line::Detail);
    }
}

#[test]
fn pacer_lines_with_both_ways_to_write_numbers() {
    for ratio in ["+2.380524e+000", "2.3805236"] {
        let text = format!("pacer: assist ratio={ratio} (scan 3 MB in 4->8 MB) workers=1+0.25");
        let RuntimeLine::PacerStart(found) = runtime(&text).0 else { panic!("{text}") };
        assert!((found.assist_ratio - 2.3805).abs() < 1e-3);
        let expected = PacerStart {
            assist_ratio: found.assist_ratio,
            scan_mib: 3,
            live_mib: 4,
            goal_mib: 8,
            dedicated_workers: 1,
            fractional_worker: 0.25,
        };
        assert_eq!(found, expected);
    }
    let text = "pacer: 31% CPU (25 exp.) for 100+20+3 B work (140 B exp.) in 4000 B -> 4500 B \
                (∆goal -12, cons/mark +4.500000e+000)";
    let expected = PacerEnd {
        cpu_percent: 31,
        expected_cpu_percent: 25,
        heap_work: 100,
        stack_work: 20,
        globals_work: 3,
        expected_work: 140,
        trigger_bytes: 4000,
        end_bytes: 4500,
        goal_difference: -12,
        cons_mark: 4.5,
    };
    assert_eq!(runtime(text).0, RuntimeLine::PacerEnd(expected));
    let text = "pacer: sweep done at heap size 4MB; allocated 1MB during sweep; swept 77 pages at 0.1 pages/byte";
    let expected = SweepDone { live_mib: 4, allocated_mib: 1, pages: 77 };
    assert_eq!(runtime(text).0, RuntimeLine::SweepDone(expected));
}

#[test]
fn what_a_cycle_scanned() {
    let scan = |class: &str, objects, spans| {
        RuntimeLine::Scan(ScanStats { class: class.to_owned(), objects, spans })
    };
    assert_eq!(runtime("scan: total 1+2+3=6 objs, 4+5=9 spans").0, scan("total", 6, 9));
    assert_eq!(runtime("scan: class 48B 1+2+3=6 objs, 4+5=9 spans").0, scan("48B", 6, 9));
    assert_eq!(runtime("scan: class L 0+0+7=7 objs, 0+0=0 spans").0, scan("L", 7, 0));
    assert_eq!(runtime("scan: total 6 objs").0, scan("total", 6, 0));
}

#[test]
fn other_output_and_damage() {
    for text in [
        "",
        "gc is fine",
        "the gc 1 ran",
        "scavenger",
        "SCHED",
        "gc ",
        "pacer",
        "  P",
        "  Q0: status=",
    ] {
        assert_eq!(line(text), Line::Other, "{text}");
    }
    let whole = "gc 1 @0.010s 0%: 0+0+0 ms clock, 0+0/0/0+0 ms cpu, 4->4->3 MB, 5 MB goal, 1 P";
    let from = whole.find(" ms clock, ").unwrap() + 11;
    for end in from..whole.len() {
        match line(&whole[..end]) {
            Line::Damaged { at, expected } => assert!(at <= end && !expected.is_empty()),
            other => panic!("{other:?}"),
        }
    }
    let large = "gc 99999999999999999999 @1s 0%: 0+0+0 ms clock, ";
    assert!(!matches!(line(large), Line::Runtime(..)));
    // As many beginnings as fit: no more work than the line is long, times a few.
    let hostile = "gc 1 ".repeat(20_000) + " ms clock, ";
    assert!(!matches!(line(&hostile), Line::Runtime(..)));
}
