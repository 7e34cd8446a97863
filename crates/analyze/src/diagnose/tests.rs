//! Simulated processes with a known truth.

mod native;

use model::profile::Location;
use model::{
    FindingKind, Function, FunctionId, Label, LabelValue, Line, LocationId, Observation, Profile,
    StrId, Target, TargetSpec, Timestamp,
};

use super::{Evidence, diagnose, series};

const RATE: f64 = 524_288.0;

/// A small generator (SplitMix64); the tests must not depend on the platform.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn chance(&mut self, p: f64) -> bool {
        ((self.next() >> 11) as f64) < p * (1_u64 << 53) as f64
    }
}

/// One simulated allocation site: objects of one size, sampled as Go samples.
struct SimSite {
    name: &'static str,
    size: f64,
    live: std::collections::VecDeque<bool>,
    allocs: f64,
    frees: f64,
}

impl SimSite {
    fn new(name: &'static str, size: f64) -> SimSite {
        SimSite { name, size, live: Default::default(), allocs: 0.0, frees: 0.0 }
    }

    fn allocate(&mut self, count: u64, random: &mut Random) {
        let p = 1.0 - (-self.size / RATE).exp();
        for _ in 0..count {
            let sampled = random.chance(p);
            self.allocs += f64::from(u8::from(sampled));
            self.live.push_back(sampled);
        }
    }

    fn free_oldest_beyond(&mut self, keep: usize) {
        while self.live.len() > keep {
            self.frees += f64::from(u8::from(self.live.pop_front() == Some(true)));
        }
    }
}

fn profile(sites: &[SimSite]) -> Profile {
    let mut profile = Profile::new(&[
        ("alloc_objects", "count"),
        ("alloc_space", "bytes"),
        ("inuse_objects", "count"),
        ("inuse_space", "bytes"),
    ]);
    profile.period = RATE as i64;
    let key = profile.strings.intern("bytes");
    for (index, site) in sites.iter().enumerate() {
        let name = profile.strings.intern(site.name);
        profile.functions.push(Function { name, ..Function::default() });
        let line = Line { function: FunctionId(index as u32), line: 7, column: 0 };
        profile.locations.push(Location { lines: vec![line], ..Location::default() });
        let scale = 1.0 / (1.0 - (-site.size / RATE).exp());
        let scaled = |samples: f64| (samples * scale) as i64;
        let (allocs, in_use) = (scaled(site.allocs), scaled(site.allocs - site.frees));
        let size = site.size as i64;
        let label = Label { key, value: LabelValue::Num(size, StrId(0)) };
        let values = [allocs, allocs * size, in_use, in_use * size];
        profile.push_sample(&[LocationId(index as u32)], &values, &[label]);
    }
    profile
}

/// Runs a simulation for `seconds`, a profile every 2 s, and diagnoses it.
/// `step` advances the sites by one second.
fn verdict(
    seed: u64,
    seconds: u64,
    mut step: impl FnMut(u64, &mut [SimSite], &mut Random),
) -> (FindingKind, f64, String) {
    let mut random = Random(seed);
    let mut sites = vec![SimSite::new("main.subject", 1024.0), SimSite::new("main.churn", 256.0)];
    let mut observations = Vec::new();
    let mut profiles = Vec::new();
    for second in 0..=seconds {
        step(second, &mut sites, &mut random);
        sites[1].allocate(4000, &mut random);
        sites[1].free_oldest_beyond(2000);
        let live: f64 = sites.iter().map(|site| site.live.len() as f64 * site.size).sum();
        let mut observation =
            Observation { time: Timestamp(second as i64 * 1000), ..Observation::default() };
        observation.runtime.heap_live_bytes = Some(live as u64);
        observation.runtime.gc_cycles = Some(second);
        observation.runtime.gogc_percent = Some(100);
        observation.host.total_bytes = Some(8 << 30);
        observation.host.available_bytes = Some(4 << 30);
        observations.push(observation);
        if second % 2 == 0 {
            profiles.push((Timestamp(second as i64 * 1000), profile(&sites)));
        }
    }
    let heaps = series(profiles.iter().map(|(time, profile)| (*time, profile)));
    let target = Target {
        name: "sim".into(),
        spec: TargetSpec::Pid(1),
        pid: None,
        labels: Default::default(),
    };
    let diagnosis = diagnose(&Evidence {
        native: &[],
        accounts: &[],
        metrics: &[],
        target,
        observations: &observations,
        heaps: &heaps,
        goroutines: &[],
        process_start: None,
        warnings: Vec::new(),
    });
    let first = &diagnosis.findings[0];
    (first.kind, first.confidence.0, first.summary.clone())
}

/// Of `runs` seeds, how many give a leak with confidence of at least one half.
fn leaks(runs: u64, seconds: u64, step: impl Fn(u64, &mut [SimSite], &mut Random) + Copy) -> u64 {
    (0..runs)
        .filter(|seed| {
            let (kind, confidence, _) = verdict(seed * 7919 + 1, seconds, step);
            kind.is_leak() && confidence >= 0.5
        })
        .count() as u64
}

#[test]
fn a_steady_leak_of_one_mebibyte_a_second_is_found() {
    let found = leaks(40, 60, |_, sites, random| sites[0].allocate(1024, random));
    assert!(found >= 38, "{found} of 40");
    let (kind, confidence, summary) =
        verdict(3, 60, |_, sites, random| sites[0].allocate(1024, random));
    assert_eq!(kind, FindingKind::HeapLeak);
    assert!(confidence > 0.7, "{confidence}");
    assert!(summary.starts_with("main.subject"), "{summary}");
}

#[test]
fn a_cache_that_filled_is_no_leak() {
    let found = leaks(40, 60, |second, sites, random| {
        if second < 20 {
            sites[0].allocate(2048, random);
        }
    });
    assert_eq!(found, 0);
}

#[test]
fn an_lru_at_its_bound_is_no_leak() {
    let found = leaks(40, 60, |_, sites, random| {
        sites[0].allocate(2048, random);
        sites[0].free_oldest_beyond(16_384);
    });
    assert!(found <= 1, "{found} of 40");
}

#[test]
fn a_batch_that_gives_back_is_no_leak() {
    let found = leaks(40, 60, |second, sites, random| {
        sites[0].allocate(2048, random);
        if second % 15 == 14 {
            sites[0].free_oldest_beyond(0);
        }
    });
    assert!(found <= 1, "{found} of 40");
}

#[test]
fn nothing_at_all_is_healthy() {
    let (kind, ..) = verdict(1, 60, |second, sites, random| {
        if second == 0 {
            sites[0].allocate(20_000, random);
        }
    });
    assert_eq!(kind, FindingKind::Healthy);
}

#[test]
fn a_short_window_decides_nothing() {
    let (kind, ..) = verdict(1, 8, |_, sites, random| sites[0].allocate(1024, random));
    assert_eq!(kind, FindingKind::InsufficientEvidence);
}
