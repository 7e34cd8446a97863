//! `memsight probe alloc`.

use std::process::ExitCode;
use std::time::Instant;

use agent::probes::{self, Allocations};
use analyze::code;
use analyze::samples::SiteSamples;
use capture::ProcessTarget;
use capture::find::one_by_name;
use model::{Bytes, Profile};
use render::paint::Paint;
use render::probe::{AllocReport, NamedSite};

use super::{Until, frames, process_of, say_end, warn_of_losses, write_profile};
use crate::args::probe::AllocArgs;
use crate::failure::Failure;
use crate::terminal::{Progress, print};

/// Follows the sampled objects of a process.
pub(crate) fn run(args: &AllocArgs, paint: Paint) -> Result<ExitCode, Failure> {
    let pid = process_of(&args.target, one_by_name)?;
    let target = ProcessTarget::attach(pid)?;
    let until = Until::new(Some(args.duration))?;
    let found = follow(&target, args.max_cost, &until)?;
    say_end(pid, found.end);
    let profile = found.profile(&target)?;
    let report = AllocReport {
        target: target.target(),
        go_version: &target.binary().info.version,
        rate: found.rate,
        seconds: found.took.as_secs_f64(),
        allocated: found.allocated,
        live: found.live,
        missed_deaths: found.missed_deaths,
        counts: found.counts,
        cost_share: found.cost.share(found.took),
        sites: named(&profile, &found.sites, &target.binary().info.module),
    };
    if let Some(path) = &args.output {
        write_profile(path, &profile)?;
        eprintln!("memsight: wrote {}", path.display());
    }
    match args.json {
        true => print(format!("{:#}\n", render::probe::alloc_value(&report)))?,
        false => print(render::probe::alloc_text(&report, args.limit, paint))?,
    }
    warn_of_losses(&found.counts);
    Ok(ExitCode::SUCCESS)
}

fn follow(target: &ProcessTarget, cost_max: f64, until: &Until) -> Result<Allocations, Failure> {
    let (begun, mut progress, mut shown) = (Instant::now(), Progress::new(), 0);
    let found = probes::allocations(target, cost_max, &mut |so_far| {
        let (allocated, live) = so_far.samples.total();
        if allocated.samples > shown {
            shown = allocated.samples;
            progress.show(&format!(
                "{:.0} s: {} samples, {} allocated, {} of it lives",
                begun.elapsed().as_secs_f64(),
                allocated.samples,
                Bytes(allocated.bytes as u64),
                Bytes(live.bytes as u64),
            ));
        }
        until.step()
    });
    Ok(found?)
}

/// Each site with its calls by name, and the one that is responsible. The profile has the samples
/// of the sites one after the other.
fn named(profile: &Profile, sites: &[SiteSamples], module: &str) -> Vec<NamedSite> {
    let mut ids = profile.samples.ids();
    let mut named = Vec::with_capacity(sites.len());
    for site in sites {
        let mut stack = Vec::new();
        for (index, id) in ids.by_ref().take(site.sizes.len()).enumerate() {
            if index == 0 {
                stack = frames(profile, id);
            }
        }
        let responsible = code::responsible(&stack, module).cloned();
        named.push(NamedSite { site: site.clone(), stack, responsible });
    }
    named
}
