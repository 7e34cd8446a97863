//! `memsight probe faults`.

use std::process::ExitCode;
use std::time::Instant;

use agent::probes::{AnyProcess, FaultLook, FaultsSeen};
use analyze::faults::sums;
use analyze::frames;
use capture::resident;
use render::faults::{FaultSite, FaultsReport, faults_text, faults_value};
use render::paint::Paint;

use super::{Until, any_process, say_begun, say_end, warn_of_losses, write_profile};
use crate::args::probe::StacksArgs;
use crate::failure::Failure;
use crate::terminal::{Progress, print};

/// Counts the page faults of a process.
pub(crate) fn run(args: &StacksArgs, paint: Paint) -> Result<ExitCode, Failure> {
    let mut process = any_process(&args.target)?;
    let look = FaultLook::begin(&process)?;
    let until = Until::new(Some(args.duration))?;
    say_begun(&process, args.duration);
    let (begun, mut progress) = (Instant::now(), Progress::new());
    let seen = look.follow(&mut process, f64::INFINITY, &mut |faults| {
        progress.show(&format!("{:.0} s: {faults} page faults", begun.elapsed().as_secs_f64()));
        until.step()
    });
    drop(progress);
    say_end(process.pid, seen.end);
    let of_memory = seen.rows.iter().map(|row| (row.memory.clone(), row.access, row.faults));
    let report = FaultsReport {
        target: &process.target,
        seconds: seen.took.as_secs_f64(),
        user: seen.user,
        kernel: seen.kernel,
        major: seen.major,
        resident_before: seen.resident_before,
        resident_after: seen.resident_after,
        begun: seen.begun,
        curve: &seen.curve,
        huge_pages: resident::huge_pages().enabled,
        memory: sums(of_memory),
        sites: sites(&process, &seen),
        counts: seen.counts,
    };
    if let Some(path) = &args.output {
        write_profile(path, &seen.profile)?;
        eprintln!("memsight: wrote {}", path.display());
    }
    match args.json {
        true => print(format!("{:#}\n", faults_value(&report)))?,
        false => print(faults_text(&report, args.limit, paint))?,
    }
    warn_of_losses(&seen.counts);
    Ok(ExitCode::SUCCESS)
}

fn sites(process: &AnyProcess, seen: &FaultsSeen) -> Vec<FaultSite> {
    let of_stack =
        seen.rows.iter().map(|row| ((row.stack, row.memory.clone()), row.access, row.faults));
    let site = |((stack, memory), sum)| FaultSite {
        memory,
        sum,
        stack: frames::of(&seen.profile, stack),
        responsible: process.site(&seen.profile, stack),
    };
    sums(of_stack).into_iter().map(site).collect()
}
