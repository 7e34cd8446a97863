//! Memory outside the Go runtime that grows, and what looks at malloc tell of it.

use model::{CaptureId, Diagnosis, FindingKind, Frame, Observation, Target, TargetSpec, Timestamp};

use crate::diagnose::{Evidence, diagnose, is_native_growth, series};
use crate::outstanding::{NativeLook, NativeSite};
use crate::samples::Estimate;

const MIB: f64 = 1024.0 * 1024.0;

/// A process whose memory outside the Go runtime grows by 1 MiB a second for a minute.
fn verdict(native: &[NativeLook]) -> Diagnosis {
    let observation = |second: u64| {
        let time = Timestamp(second as i64 * 1000);
        let mut observation = Observation { time, ..Observation::default() };
        observation.process.rss_bytes = Some((60 + second) << 20);
        observation.runtime.sys_bytes = Some(40 << 20);
        observation.runtime.heap_released_bytes = Some(0);
        observation
    };
    let observations: Vec<Observation> = (0..=60).map(observation).collect();
    let (name, spec) = ("sim".into(), TargetSpec::Pid(77));
    let diagnosis = diagnose(&Evidence {
        native,
        accounts: &[],
        metrics: &[],
        target: Target { name, spec, pid: Some(77), labels: Default::default() },
        observations: &observations,
        heaps: &series([]),
        goroutines: &[],
        process_start: None,
        warnings: Vec::new(),
    });
    assert_eq!(diagnosis.verdict(), FindingKind::NativeGrowth, "{diagnosis:?}");
    assert!(is_native_growth(&diagnosis));
    diagnosis
}

fn frame(function: &str, line: u32) -> Frame {
    Frame { function: function.to_owned(), file: "/src/shop/main.go".to_owned(), line }
}

/// Ten seconds in which these functions kept so many MiB, each with an error of one tenth.
fn look(capture: i64, second: i64, kept: &[(&str, f64)]) -> NativeLook {
    let live = |mib: f64| Estimate {
        samples: 100,
        objects: 1000.0,
        bytes: mib * MIB,
        bytes_error: mib * MIB / 10.0,
    };
    let site = |(function, mib): &(&str, f64)| NativeSite {
        frame: frame(function, 12),
        caller: Some(frame("main.work", 30)),
        live: live(*mib),
        stack: vec![frame(function, 12), frame("runtime.cgocall", 9), frame("main.work", 30)],
    };
    NativeLook {
        capture: Some(CaptureId(capture)),
        time: Timestamp(second * 1000),
        span_seconds: 10.0,
        older_seconds: 2.5,
        total: live(kept.iter().map(|(_, mib)| mib).sum()),
        sites: kept.iter().map(site).collect(),
    }
}

#[test]
fn without_a_look_it_is_said_how_to_get_one() {
    let finding = verdict(&[]).findings.remove(0);
    assert!(finding.sites.is_empty() && finding.captures.is_empty());
    for part in
        ["memsight probe native 77 --for 1m", "{capture: native, for: 30s}", "probe mmap 77"]
    {
        assert!(finding.next.contains(part), "{}", finding.next);
    }
    // One that was too short for a pace is none.
    let short = NativeLook { span_seconds: 0.3, ..look(1, 60, &[("keep", 9.0)]) };
    let finding = verdict(&[short]).findings.remove(0);
    assert!(finding.sites.is_empty() && finding.next.contains("memsight probe native 77"));
    assert!(finding.evidence[0].starts_with("capture 1 (native) looked for 2.8 s, too short"));
}

#[test]
fn a_look_names_who_does_not_free() {
    let finding = verdict(&[look(17, 60, &[("keep", 9.0), ("cache", 1.0)])]).findings.remove(0);
    let who = "keep (main.go:12), which main.work (main.go:30) calls,";
    let summary = format!("{who} does not free 922 KiB/s (741 KiB to 1.08 MiB); memory outside");
    assert!(finding.summary.starts_with(&summary), "{}", finding.summary);
    assert_eq!(finding.captures, [CaptureId(17)]);
    let sites: Vec<_> =
        finding.sites.iter().map(|site| (site.frame.function.as_str(), site.share)).collect();
    assert_eq!(sites, [("keep", 0.9), ("cache", 0.1)]);
    assert_eq!(finding.sites[0].rate.estimate, 0.9 * MIB);
    assert_eq!(finding.sites[0].stack.len(), 3);
    let told = "capture 17 (native) saw 10.0 MiB ± 1.00 MiB of malloc that nobody freed within 2 s, in 10 s";
    assert_eq!(finding.evidence[0], told);
    assert_eq!(
        finding.evidence[1],
        "keep (main.go:12), which main.work (main.go:30) calls, has 9.00 MiB ± 922 KiB of it, 90 %"
    );
    assert!(finding.next.contains("/capture/17"), "{}", finding.next);
}

#[test]
fn two_looks_tell_whether_it_goes_on() {
    let first = look(17, 20, &[("keep", 11.0), ("warm", 9.0)]);
    let second = look(23, 60, &[("keep", 9.0), ("warm", 1.0)]);
    let finding = verdict(&[first, second]).findings.remove(0);
    assert_eq!(finding.captures, [CaptureId(17), CaptureId(23)]);
    assert_eq!(finding.sites[0].rate.estimate, 1.0 * MIB);
    // Of two independent looks: sqrt(1.1² + 0.9²) / 20 s.
    let half = (finding.sites[0].rate.high - finding.sites[0].rate.estimate) / 1.96;
    assert!((half / MIB - 0.07106).abs() < 1e-4, "{half}");
    let has = |text: &str| finding.evidence.iter().any(|line| line.contains(text));
    assert!(
        has(
            "keep (main.go:12) kept 1.10 MiB/s ± 113 KiB/s, then 922 KiB/s ± 92.2 KiB/s in the 2 looks: it goes on"
        ),
        "{:#?}",
        finding.evidence
    );
    assert!(has("warm (main.go:12)") && has("slows down"), "{:#?}", finding.evidence);
}

#[test]
fn what_malloc_does_not_explain_is_looked_for_among_the_mappings() {
    let finding = verdict(&[look(17, 60, &[("keep", 0.1)])]).findings.remove(0);
    assert!(finding.sites.is_empty());
    assert!(finding.evidence[1].contains("malloc does not explain it"), "{:?}", finding.evidence);
    assert!(finding.next.contains("memsight probe mmap 77"), "{}", finding.next);
    assert_eq!(finding.captures, [CaptureId(17)]);
}

#[test]
fn an_old_look_says_so() {
    let finding = verdict(&[look(17, -7200, &[("keep", 9.0)])]).findings.remove(0);
    assert!(
        finding.evidence[0].starts_with("capture 17 of 2.0 h ago (native)"),
        "{:?}",
        finding.evidence
    );
}
