//! `memsight probe mmap`.

use std::process::ExitCode;
use std::time::Instant;

use agent::probes::MappingLook;
use analyze::frames;
use analyze::mappings::SiteMappings;
use model::{Bytes, StackId};
use render::mappings::{MappingSite, MappingsReport, mappings_text, mappings_value};
use render::paint::Paint;

use super::{Until, any_process, say_begun, say_end, warn_of_losses, write_profile};
use crate::args::probe::StacksArgs;
use crate::failure::Failure;
use crate::terminal::{Progress, print};

/// Follows what a process maps and unmaps.
pub(crate) fn run(args: &StacksArgs, paint: Paint) -> Result<ExitCode, Failure> {
    let mut process = any_process(&args.target)?;
    let look = MappingLook::begin(&process)?;
    let until = Until::new(Some(args.duration))?;
    say_begun(&process, args.duration);
    let (begun, mut progress) = (Instant::now(), Progress::new());
    let seen = look.follow(&mut process, f64::INFINITY, &mut |calls, net| {
        let seconds = begun.elapsed().as_secs_f64();
        progress.show(&format!("{seconds:.0} s: {calls} calls, {} mapped", Bytes(net)));
        until.step()
    });
    drop(progress);
    say_end(process.pid, seen.end);
    let site = |(stack, site): &(StackId, SiteMappings)| MappingSite {
        site: site.clone(),
        stack: frames::of(&seen.profile, *stack),
        responsible: process.site(&seen.profile, *stack),
    };
    let report = MappingsReport {
        target: &process.target,
        seconds: seen.took.as_secs_f64(),
        before: seen.before,
        sites: seen.sites.iter().map(site).collect(),
        counts: seen.counts,
    };
    if let Some(path) = &args.output {
        write_profile(path, &seen.profile)?;
        eprintln!("memsight: wrote {}", path.display());
    }
    match args.json {
        true => print(format!("{:#}\n", mappings_value(&report)))?,
        false => print(mappings_text(&report, args.limit, paint))?,
    }
    warn_of_losses(&seen.counts);
    Ok(ExitCode::SUCCESS)
}
