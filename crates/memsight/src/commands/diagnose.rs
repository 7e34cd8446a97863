//! `memsight diagnose`.

use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use agent::probes::Run;
use agent::{Window, captures};
use analyze::diagnose::{Evidence, add_growth, diagnose, is_heap_leak, is_native_growth};
use analyze::heap::Dominators;
use analyze::heap::diff::Side;
use analyze::heap::growth::{Growth, growth};
use analyze::outstanding::NativeLook;
use anyhow::Context;
use capture::{LiveTarget, ScratchColumns};
use model::{Capture, CaptureKind, Diagnosis, HeapGraph, Target, TargetSpec, Timestamp};
use render::paint::Paint;
use store::{Options, Store, StoredTarget};

use crate::args::DiagnoseArgs;
use crate::failure::{Exit, Failure};
use crate::heaps;
use crate::sampling::Samples;
use crate::switch::SwitchedOn;
use crate::terminal::{Progress, print};

/// Samples a target, or reads a store, and prints the verdict.
pub(crate) fn run(args: &DiagnoseArgs, paint: Paint) -> Result<ExitCode, Failure> {
    let diagnosis = match &args.store {
        Some(store) => stored(store, &args.target)?,
        None => live(args)?,
    };
    if args.json {
        print(format!("{:#}\n", render::diagnosis::value(&diagnosis)))?;
    } else {
        print(render::diagnosis::text(&diagnosis, paint))?;
    }
    let is_problem = args.check && diagnosis.is_leak();
    Ok(if is_problem { ExitCode::from(Exit::Problem as u8) } else { ExitCode::SUCCESS })
}

fn live(args: &DiagnoseArgs) -> Result<Diagnosis, Failure> {
    let spec = TargetSpec::parse(&args.target).map_err(Failure::usage)?;
    let _profiling = match args.enable_profiling {
        true => SwitchedOn::profiling(&spec)?,
        false => None,
    };
    let samples = Samples::collect(&spec, args.duration)?;
    let snapshots: Vec<_> =
        samples.goroutines.iter().map(|(time, snapshot)| (*time, snapshot)).collect();
    let mut evidence = Evidence {
        target: samples.target.clone(),
        observations: &samples.observations,
        heaps: &samples.heaps,
        goroutines: &snapshots,
        accounts: &samples.accounts,
        metrics: &samples.metrics,
        native: &[],
        process_start: None,
        warnings: samples.warnings.clone(),
    };
    let mut diagnosis = diagnose(&evidence);
    let mut look = Vec::new();
    if args.native && is_native_growth(&diagnosis) {
        match looked_at_malloc(&samples.target, args.duration) {
            Ok(found) => look.extend(found),
            // The verdict stands without it.
            Err(failure) => evidence.warnings.push(without("no look at malloc", &failure)),
        }
        evidence.native = &look;
        diagnosis = diagnose(&evidence);
    }
    if args.graph && is_heap_leak(&diagnosis) {
        match grown(&spec, args.duration) {
            Ok(growth) => add_growth(&mut diagnosis, &growth),
            // The verdict stands without it.
            Err(failure) => {
                diagnosis.warnings.push(without("no snapshot of the heap", &failure));
            }
        }
    }
    Ok(diagnosis)
}

fn without(what: &str, failure: &Failure) -> String {
    let next = failure.next.as_ref().map(|next| format!(" ({next})")).unwrap_or_default();
    format!("{what}: {:#}{next}", failure.error)
}

/// What a probe of malloc sees in half as long again as was sampled.
fn looked_at_malloc(target: &Target, sampled: Duration) -> Result<Option<NativeLook>, Failure> {
    let length = (sampled / 2).clamp(APART_MIN, APART_MAX);
    let mut progress = Progress::new();
    let seconds = length.as_secs();
    progress.show(&format!("memory outside Go grows: looking at malloc for {seconds} s"));
    let live = LiveTarget::attach(&target.spec)?;
    let taken =
        captures::probe(&live, &Run::alone(CaptureKind::Native, length), &AtomicBool::new(false))?;
    let profile = decode::pprof::read(&taken.bytes).context("what the probe saw")?.profile;
    let module = target.labels.get("module").map_or("", String::as_str);
    Ok(NativeLook::of(&profile, module, None, taken.time))
}

/// Between two snapshots: half as long again as was sampled, within these limits.
const APART_MIN: Duration = Duration::from_secs(5);
const APART_MAX: Duration = Duration::from_secs(60);

/// What grows between two snapshots of the heap, which lie in scratch files.
fn grown(spec: &TargetSpec, sampled: Duration) -> Result<Growth, Failure> {
    let apart = (sampled / 2).clamp(APART_MIN, APART_MAX);
    let mut progress = Progress::new();
    progress.show("it leaks: taking a snapshot of the heap");
    let columns = ScratchColumns::new(std::env::temp_dir());
    let before = heaps::take(spec, &columns)?;
    let seconds = apart.as_secs();
    progress.show(&format!("it leaks: the second snapshot comes in {seconds} s"));
    std::thread::sleep(apart);
    let after = heaps::take(spec, &columns)?;
    progress.show("comparing the snapshots");
    let dominators = (Dominators::of(&before), Dominators::of(&after));
    let time = |graph: &HeapGraph<'_>| graph.source.time.map(|time| time.0);
    let apart_millis = time(&after).zip(time(&before)).map(|(after, before)| after - before);
    let seconds = apart_millis.map_or(apart.as_secs_f64(), |millis| millis as f64 / 1000.0);
    let before = Side { graph: &before, dominators: &dominators.0 };
    Ok(growth(before, Side { graph: &after, dominators: &dominators.1 }, seconds))
}

/// Judges what a store holds about a target. The server must not have it open.
fn stored(dir: &Path, wanted: &str) -> Result<Diagnosis, Failure> {
    if !dir.join("catalog.db").exists() {
        let failure = Failure::usage(format!("{}: no store", dir.display()));
        return Err(failure.next("name the directory that serve was given with --store"));
    }
    let store = Store::open(dir, Options::default()).map_err(|error| {
        let next = error.next_step().unwrap_or("a running server answers /api/v1/targets instead");
        Failure::usage(&error).next(next)
    })?;
    let found = find(&store, wanted)?;
    let mut window = Window::default();
    for observation in store.observations(found.id, Timestamp(0), Timestamp(i64::MAX))? {
        window.push_observation(observation);
    }
    let captures = store.captures(found.id, None, usize::MAX)?;
    for capture in captures.iter().rev().filter(|capture| !capture.kind.is_large()) {
        if let Err(error) = take_up(&mut window, &store, &found, capture) {
            window.warn(&error.to_string());
        }
    }
    Ok(window.diagnose(&found.target))
}

/// Adds what a capture tells to the evidence.
fn take_up(
    window: &mut Window,
    store: &Store,
    of: &StoredTarget,
    capture: &Capture,
) -> anyhow::Result<()> {
    let bytes = store.read_capture(capture.id)?;
    match capture.kind {
        CaptureKind::Heap => {
            window.push_heap(capture.time, &decode::pprof::read(&bytes)?.profile);
        }
        CaptureKind::Goroutine => {
            let profile = decode::pprof::read(&bytes)?.profile;
            window.push_goroutines(capture.time, decode::pprof::goroutines::from_profile(&profile));
        }
        CaptureKind::Runtime => {
            let (time, metrics) = decode::records::read_metrics(&bytes)?;
            window.push_metrics(time, &metrics);
        }
        CaptureKind::Rss => window.push_rss(decode::records::read_rss(&bytes)?),
        CaptureKind::Native => {
            let profile = decode::pprof::read(&bytes)?.profile;
            window.push_native(&of.target, capture, &profile);
        }
        CaptureKind::GoroutineLeak
        | CaptureKind::Graph
        | CaptureKind::Trace
        | CaptureKind::Alloc
        | CaptureKind::Faults
        | CaptureKind::Mmap => {}
    }
    Ok(())
}

fn find(store: &Store, wanted: &str) -> Result<StoredTarget, Failure> {
    let mut found = store.targets()?;
    let is_wanted = |target: &StoredTarget| {
        target.target.name == wanted || target.target.spec.to_string() == wanted
    };
    let names: Vec<String> = found
        .iter()
        .map(|target| format!("{} ({})", target.target.name, target.target.spec))
        .collect();
    found.retain(is_wanted);
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(Failure::usage(format!("the store has no target {wanted}"))
            .next(format!("it has {}", names.join(", ")))),
        _ => Err(Failure::usage(format!("the store has several targets named {wanted}"))
            .next(format!("name one by its pid: {}", names.join(", ")))),
    }
}
