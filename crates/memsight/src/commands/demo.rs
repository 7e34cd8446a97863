//! `memsight demo`: a leaking shop and its healthy twin under watch.

use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use agent::Event;
use agent::config::{Config, Logging};
use anyhow::Context;
use model::{Diagnosis, FindingKind, TargetSpec};
use render::paint::Paint;

use crate::args::DemoArgs;
use crate::failure::{Exit, Failure};
use crate::log::Log;
use crate::service::Service;
use crate::terminal::print;

/// What the shop leaks from; see examples/shop/session/session.go.
const PLANTED: &str = "shop/session.(*Registry).Track";
/// The shops' soft memory limit: what "until memory runs out" counts to.
const LIMIT: &str = "512MiB";
/// The twin is called healthy only after it has been watched this long.
const WATCH_MIN: Duration = Duration::from_secs(50);

/// A shop that is killed when we end.
struct Shop(Child);

impl Shop {
    fn start(path: &Path, leak: bool) -> Result<Shop, Failure> {
        let child = Command::new(path)
            .arg(format!("-leak={leak}"))
            .env("GOMEMLIMIT", LIMIT)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", path.display()))
            .map_err(|error| Failure::from(error).next("make demo builds it"))?;
        Ok(Shop(child))
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs the demonstration.
pub(crate) fn run(args: &DemoArgs, paint: Paint) -> Result<ExitCode, Failure> {
    let leaking = Shop::start(&args.shop, true)?;
    let twin = Shop::start(&args.shop, false)?;
    let pids = [leaking.0.id(), twin.0.id()];
    let store = std::env::temp_dir().join(format!("memsight-demo-{}", std::process::id()));
    let mut config = Config::default();
    config.store.path.clone_from(&store);
    config.web.listen.clone_from(&args.listen);
    config.targets.watch = pids.iter().map(|pid| TargetSpec::Pid(*pid)).collect();
    config.global.profile_interval = Duration::from_secs(2);
    config.global.scrape_interval = Duration::from_millis(500);
    // The shops are its own.
    (config.web.allow_snapshots, config.web.allow_traces) = (true, true);
    config.web.allow_probes = true;
    let service = Service::start(&config, false)?;
    let [shop, healthy] = pids;
    eprintln!(
        "{}",
        paint.bold("memsight demo: two shops, one of them leaks; which, where, how fast?")
    );
    eprintln!("  shop pid {shop} (leaks), its twin pid {healthy} (does not), GOMEMLIMIT={LIMIT}");
    eprintln!("  pages on {}", service.url);
    let result = watch(args, &service, pids, paint);
    if let (Ok(true), false) = (&result, args.once) {
        eprintln!("\nopen {} - Ctrl-C ends the demonstration", paint.bold(&service.url));
        let signalled = service.signalled();
        while !signalled.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(200));
        }
    }
    drop((leaking, twin));
    service.stop()?;
    let _ = std::fs::remove_dir_all(&store);
    Ok(if result? { ExitCode::SUCCESS } else { ExitCode::from(Exit::Problem as u8) })
}

/// Watches until both verdicts are right, or time is up; prints them either way.
fn watch(
    args: &DemoArgs,
    service: &Service,
    pids: [u32; 2],
    paint: Paint,
) -> Result<bool, Failure> {
    let started = Instant::now();
    let signalled = service.signalled();
    let mut log = Log::new(Logging::default(), paint);
    let mut is_right = false;
    while !is_right && started.elapsed() < args.timeout && !signalled.load(Ordering::Relaxed) {
        let Ok(record) = service.events.recv_timeout(Duration::from_millis(250)) else { continue };
        log.event(&record);
        if matches!(record.event, Event::Diagnosed { .. }) {
            let [shop, twin] = verdicts(service, pids)?;
            is_right = started.elapsed() >= WATCH_MIN
                && shop.as_ref().is_some_and(is_planted_leak)
                && twin.as_ref().is_some_and(|twin| twin.verdict() == FindingKind::Healthy);
        }
    }
    for diagnosis in verdicts(service, pids)?.iter().flatten() {
        print(format!("\n{}", render::diagnosis::text(diagnosis, paint)))?;
    }
    let seconds = started.elapsed().as_secs();
    match is_right {
        true => eprintln!("\nboth verdicts are right, {seconds} s after the shops started"),
        false => eprintln!("\nthe verdicts are not the expected ones after {seconds} s"),
    }
    Ok(is_right)
}

fn verdicts(service: &Service, pids: [u32; 2]) -> Result<[Option<Diagnosis>; 2], Failure> {
    let targets = service.store.targets()?;
    let of = |pid: u32| -> Result<Option<Diagnosis>, Failure> {
        let target = targets.iter().find(|target| target.target.pid == Some(pid));
        Ok(target.map(|target| service.store.diagnosis(target.id)).transpose()?.flatten())
    };
    let [shop, twin] = pids;
    Ok([of(shop)?, of(twin)?])
}

fn is_planted_leak(diagnosis: &Diagnosis) -> bool {
    let first = diagnosis.findings.first();
    first.is_some_and(|finding| {
        finding.kind == FindingKind::HeapLeak
            && finding.confidence.0 >= 0.8
            && finding.sites.first().is_some_and(|site| site.frame.function == PLANTED)
    })
}
