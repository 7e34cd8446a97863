//! What the watch costs with the Go processes of a name: `watch_cost NAME EVERY_SECONDS RUN_SECONDS`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use agent::config::ProbeUse;
use agent::{Config, Event, Watch};
use model::{Bytes, TargetSpec};
use store::{Options, Store};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let seconds = |index: usize| Duration::from_secs(arguments[index].parse().unwrap());
    let (name, every, run) = (arguments[1].clone(), seconds(2), seconds(3));
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(dir.path(), Options::default()).unwrap());
    let counts = Arc::new([const { AtomicUsize::new(0) }; 3]);
    let seen = Arc::clone(&counts);
    let publish = Arc::new(move |event| {
        let index = match event {
            Event::TargetFound { .. } => 0,
            Event::Captured { .. } => 1,
            Event::Warning { text, .. } => {
                println!("{text}");
                2
            }
            _ => return,
        };
        seen[index].fetch_add(1, Ordering::Relaxed);
    });
    let stop = Arc::new(AtomicBool::new(false));
    let targets = vec![TargetSpec::Name(name)];
    let observe = (every / 5).clamp(Duration::from_millis(500), Duration::from_secs(10));
    let (all_go, exclude, graphs, cpu_share) = (false, Vec::new(), false, 0.03);
    let (oom_probe, exec_probe) = (ProbeUse::Never, ProbeUse::Never);
    let config = Config {
        targets,
        all_go,
        exclude,
        observe,
        every,
        graphs,
        oom_probe,
        exec_probe,
        cpu_share,
    };
    let watch = Watch::new(store, config, publish, Arc::clone(&stop));
    let thread = std::thread::spawn(move || watch.run());
    let own = || capture::signals::process(std::process::id(), false);
    let cpu = || own().cpu_seconds.unwrap_or(0.0);
    // Attaching to all of them is paid once.
    let warm = run / 4;
    std::thread::sleep(warm);
    let (before, attached) = (cpu(), own().rss_bytes.unwrap_or(0));
    println!("after {warm:?}: {before:.2} s of CPU, {}", Bytes(attached));
    std::thread::sleep(run - warm);
    let spent = cpu() - before;
    let share = spent / (run - warm).as_secs_f64() * 100.0;
    let [targets, captures, warnings] =
        [0, 1, 2].map(|index: usize| counts[index].load(Ordering::Relaxed));
    println!(
        "{targets} targets, {captures} captures, {warnings} warnings: {share:.2} % of a core, {} resident ({} at most), {} anonymous, {} threads",
        Bytes(own().rss_bytes.unwrap_or(0)),
        Bytes(own().rss_peak_bytes.unwrap_or(0)),
        Bytes(own().rss_anon_bytes.unwrap_or(0)),
        own().threads.unwrap_or(0),
    );
    stop.store(true, Ordering::Relaxed);
    let _ = thread.join();
}
