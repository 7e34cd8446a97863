//! What series cost: CPU of an append, bytes of a sample, memory.
//!
//!     cargo run --release -p memsight-store --example series_cost [SERIES] [HOURS]

use std::time::Duration;

use model::series::{NAME, Sample, Value};
use model::{Labels, Timestamp};
use store::{MatchOp, Matcher, SeriesOptions, SeriesStore};

fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

fn status(field: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
    line.trim_matches([':', ' ', '\t', 'k', 'B']).parse().unwrap_or(0)
}

fn noise(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

/// Series as a watch of programs has them.
fn series(count: usize) -> Vec<(Labels, Sample)> {
    let of = |index: usize| {
        let (name, pid) = (format!("go_memstats_metric_{}_bytes", index % 80), index / 80);
        let (number, service) = ((20_000 + pid).to_string(), format!("service-{pid}"));
        let labels = Labels::new([(NAME, name), ("pid", number), ("service", service)]);
        (labels, Sample { time: Timestamp(0), value: Value::Float(1e8) })
    };
    (0..count).map(of).collect()
}

/// Settings and limits; counters of bytes; gauges of pages, half of them at rest.
fn change(batch: &mut [(Labels, Sample)], time: i64, seed: &mut u64) {
    for (index, (_, sample)) in batch.iter_mut().enumerate() {
        sample.time = Timestamp(time);
        let Value::Float(value) = &mut sample.value else { continue };
        match index % 4 {
            0 => {}
            1 => *value += (noise(seed) % 100_000) as f64,
            _ if noise(seed).is_multiple_of(2) => {
                *value += (noise(seed) % 64) as f64 * 4096.0 - 31.0 * 4096.0;
            }
            _ => {}
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<usize>());
    let count = arguments.next().transpose()?.unwrap_or(16_000);
    let hours = arguments.next().transpose()?.unwrap_or(2);
    let dir = tempfile::tempdir()?;
    let store = SeriesStore::open(dir.path(), SeriesOptions::default())?;
    let mut batch = series(count);
    let before = status("VmRSS");
    let (mut seed, mut spent, mut worst) = (7, 0.0, 0.0_f64);
    let (start, appends) = (1_795_700_000_000, hours * 360);
    let mut now = start;
    for _ in 0..appends {
        now += 10_000;
        // Whoever wakes us is a few milliseconds late.
        let late = (noise(&mut seed) % 5) as i64;
        change(&mut batch, now + late, &mut seed);
        let begun = cpu();
        store.append(&batch)?;
        let cost = (cpu() - begun).as_secs_f64() * 1e3;
        (spent, worst) = (spent + cost, worst.max(cost));
        store.tick(Timestamp(now))?;
    }
    let mean = spent / appends as f64;
    println!("{count} series, {appends} appends: {mean:.1} ms of CPU each, at most {worst:.1} ms");
    let more = |field: &str| status(field).saturating_sub(before) as f64 / 1024.0;
    println!("memory: {:.1} MB more than before, at most {:.1} MB", more("VmRSS"), more("VmHWM"));
    let stats = store.stats();
    let each = stats.block_bytes as f64 / stats.block_samples as f64;
    println!("{stats:?}\n{each:.2} bytes a sample in blocks");
    let one = [Matcher::new("pid", MatchOp::Equal, "20007")?];
    for (matchers, from) in [(&one[..], start), (&[], now - 300_000)] {
        let begun = cpu();
        let found = store.select(matchers, Timestamp(from), Timestamp(now))?;
        let (cost, seconds) = ((cpu() - begun).as_secs_f64() * 1e3, (now - from) / 1000);
        println!("{} series, {seconds} s: {cost:.1} ms to read", found.series.len());
    }
    drop(store);
    let begun = cpu();
    SeriesStore::open(dir.path(), SeriesOptions::default())?;
    println!("opening: {:.1} ms", (cpu() - begun).as_secs_f64() * 1e3);
    Ok(())
}
