//! `memsight probe faults`.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use analyze::faults::{FaultedMemory, ResidentCurve, sums};
use capture::bpf::FaultProbe;
use capture::resident;
use capture::signals;
use decode::resident::Areas;
use model::probe::{FaultAccess, FaultCount, MonotonicNanos};
use model::{Addr, Label, LabelValue, Profile, StackId};
use render::faults::{FaultSite, FaultsReport, faults_text, faults_value};
use render::paint::Paint;

use super::stacks::{AnyProcess, frames_of};
use super::{Until, warn_of_losses, write_profile};
use crate::args::probe::StacksArgs;
use crate::failure::Failure;
use crate::terminal::{Progress, print};

/// Counts the page faults of a process.
pub(crate) fn run(args: &StacksArgs, paint: Paint) -> Result<ExitCode, Failure> {
    let mut process = AnyProcess::find(&args.target)?;
    let mut areas = resident::areas(process.pid)?;
    let mut probe = FaultProbe::open(&process.names)?;
    let until = Until::new(Some(args.duration))?;
    let (before, begun) = (signals::process(process.pid, false), now());
    probe.attach(process.pid)?;
    process.say_begun(args.duration);
    let mut curve = ResidentCurve::default();
    let took = follow(&mut probe, &mut process, &mut areas, &mut curve, &until);
    let faults = probe.faults(process.pid);
    let (user, kernel) = probe.total(process.pid);
    let counts = probe.counts();
    drop(probe);
    let after = signals::process(process.pid, false);
    // Of one that ended, what was known last.
    if let Ok(last) = resident::areas(process.pid) {
        areas = last;
    }
    let (profile, rows) = named(&mut process, &faults, &areas, took);
    let by_memory = rows.iter().map(|(of, faults)| (of.memory.clone(), of.access, *faults));
    let report = FaultsReport {
        target: &process.target,
        seconds: took.as_secs_f64(),
        user,
        kernel,
        major: after.major_faults.zip(before.major_faults).map(|(after, before)| after - before),
        resident_before: before.rss_bytes,
        resident_after: after.rss_bytes,
        begun,
        curve: &curve,
        huge_pages: resident::huge_pages().enabled,
        memory: sums(by_memory),
        sites: sites(&process, &profile, &rows),
        counts,
    };
    if let Some(path) = &args.output {
        write_profile(path, &profile)?;
        eprintln!("memsight: wrote {}", path.display());
    }
    match args.json {
        true => print(format!("{:#}\n", faults_value(&report)))?,
        false => print(faults_text(&report, args.limit, paint))?,
    }
    warn_of_losses(&counts);
    Ok(ExitCode::SUCCESS)
}

fn now() -> MonotonicNanos {
    MonotonicNanos(capture::monotonic_nanos().cast_unsigned())
}

/// Reads until it is over or the process has ended; returns how long that was.
fn follow(
    probe: &mut FaultProbe,
    process: &mut AnyProcess,
    areas: &mut Areas,
    curve: &mut ResidentCurve,
    until: &Until,
) -> Duration {
    let (begun, mut progress) = (Instant::now(), Progress::new());
    while let Some(step) = until.step() {
        probe.read(step, |sample| curve.push(sample));
        let (user, kernel) = probe.total(process.pid);
        let seconds = begun.elapsed().as_secs_f64();
        progress.show(&format!("{seconds:.0} s: {} page faults", user + kernel));
        if process.refresh() {
            // What cannot be written is unwound by frame pointers.
            let _ = probe.refresh(&process.names);
            if let Ok(now) = resident::areas(process.pid) {
                *areas = now;
            }
        }
        if !process.names.is_alive() {
            drop(progress);
            eprintln!("memsight: process {} ended", process.pid);
            break;
        }
    }
    begun.elapsed()
}

fn sites(process: &AnyProcess, profile: &Profile, rows: &[(Kind, u64)]) -> Vec<FaultSite> {
    let by_stack =
        rows.iter().map(|(of, faults)| ((of.stack, of.memory.clone()), of.access, *faults));
    let site = |((stack, memory), sum)| FaultSite {
        memory,
        sum,
        stack: frames_of(profile, StackId(stack)),
        responsible: process.site(profile, StackId(stack)),
    };
    sums(by_stack).into_iter().map(site).collect()
}

/// What faults have in common that are one sample.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    stack: u32,
    memory: FaultedMemory,
    access: FaultAccess,
}

/// A profile with one sample for each row, and the rows.
fn named(
    process: &mut AnyProcess,
    faults: &[FaultCount],
    areas: &Areas,
    took: Duration,
) -> (Profile, Vec<(Kind, u64)>) {
    let mut profile = Profile::new(&[("faults", "count")]);
    profile.duration_nanos = took.as_nanos() as i64;
    let stacks: Vec<&[Addr]> = faults.iter().map(|of| &of.stack[..]).collect();
    let ids = process.name(&mut profile, &stacks);
    let mut rows: BTreeMap<Kind, u64> = BTreeMap::new();
    for (of, id) in faults.iter().zip(ids) {
        let memory = FaultedMemory::of(of, |at| areas.of(at));
        *rows.entry(Kind { stack: id.0, memory, access: of.access }).or_default() += of.faults;
    }
    let (region, access) = (profile.strings.intern("region"), profile.strings.intern("access"));
    for (kind, faults) in &rows {
        let mut text = |text: &str| LabelValue::Str(profile.strings.intern(text));
        let labels = [
            Label { key: region, value: text(&render::faults::memory_name(&kind.memory)) },
            Label { key: access, value: text(kind.access.as_str()) },
        ];
        profile.samples.push(StackId(kind.stack), &[faults.cast_signed()], &labels);
    }
    (profile, rows.into_iter().collect())
}
