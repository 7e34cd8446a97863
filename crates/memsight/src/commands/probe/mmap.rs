//! `memsight probe mmap`.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use analyze::mappings::{MappedBy, Mappings, SiteMappings};
use capture::bpf::{MmapProbe, mapped};
use model::probe::MappingChange;
use model::{Addr, Bytes, Label, LabelValue, Profile, StackId};
use render::mappings::{MappingSite, MappingsReport, mappings_text, mappings_value};
use render::paint::Paint;

use super::stacks::{AnyProcess, frames_of};
use super::{Until, warn_of_losses, write_profile};
use crate::args::probe::StacksArgs;
use crate::failure::Failure;
use crate::terminal::{Progress, print};

/// Follows what a process maps and unmaps.
pub(crate) fn run(args: &StacksArgs, paint: Paint) -> Result<ExitCode, Failure> {
    let mut process = AnyProcess::find(&args.target)?;
    let mut probe = MmapProbe::open(&process.names)?;
    let until = Until::new(Some(args.duration))?;
    let mut mappings = Mappings::new(probe.attach(process.pid)?);
    process.say_begun(args.duration);
    let took = follow(&mut probe, &mut process, &mut mappings, &until);
    let counts = probe.counts();
    drop(probe);
    let (profile, sites) = named(&mut process, &mappings, took);
    let site = |(stack, site): (StackId, SiteMappings)| MappingSite {
        site,
        stack: frames_of(&profile, stack),
        responsible: process.site(&profile, stack),
    };
    let report = MappingsReport {
        target: &process.target,
        seconds: took.as_secs_f64(),
        before: mappings.before(),
        sites: sites.into_iter().map(site).collect(),
        counts,
    };
    if let Some(path) = &args.output {
        write_profile(path, &profile)?;
        eprintln!("memsight: wrote {}", path.display());
    }
    match args.json {
        true => print(format!("{:#}\n", mappings_value(&report)))?,
        false => print(mappings_text(&report, args.limit, paint))?,
    }
    warn_of_losses(&counts);
    Ok(ExitCode::SUCCESS)
}

/// Reads until it is over or the process has ended; returns how long that was.
fn follow(
    probe: &mut MmapProbe,
    process: &mut AnyProcess,
    mappings: &mut Mappings,
    until: &Until,
) -> Duration {
    let (begun, mut progress) = (Instant::now(), Progress::new());
    let mut calls: u64 = 0;
    while let Some(step) = until.step() {
        let pid = process.pid;
        probe.read(step, |call| {
            calls += 1;
            mappings.push(&call);
            if call.change == MappingChange::Replaced {
                // What the kernel mapped for the new program, and what that has mapped since, of
                // which the calls follow.
                mappings.add(mapped(pid).unwrap_or_default());
            }
        });
        if process.refresh() {
            // What cannot be written is unwound by frame pointers.
            let _ = probe.refresh(&process.names);
        }
        let net = mappings.net_bytes();
        let seconds = begun.elapsed().as_secs_f64();
        progress.show(&format!("{seconds:.0} s: {calls} calls, {} mapped", Bytes(net)));
        if !process.names.is_alive() {
            drop(progress);
            eprintln!("memsight: process {} ended", process.pid);
            break;
        }
    }
    begun.elapsed()
}

/// A profile with one sample for each site, and the sites: stacks of the same names are one.
fn named(
    process: &mut AnyProcess,
    mappings: &Mappings,
    took: Duration,
) -> (Profile, Vec<(StackId, SiteMappings)>) {
    let types =
        [("mapped", "bytes"), ("unmapped", "bytes"), ("given_back", "bytes"), ("net", "bytes")];
    let mut profile = Profile::new(&types);
    profile.duration_nanos = took.as_nanos() as i64;
    let found = mappings.sites();
    let stacks: Vec<&[Addr]> = found.iter().map(|site| &site.stack[..]).collect();
    let ids = process.name(&mut profile, &stacks);
    let mut merged: BTreeMap<(u32, MappedBy), SiteMappings> = BTreeMap::new();
    for (site, id) in found.iter().zip(ids) {
        merged.entry((id.0, site.by)).or_default().join(site);
    }
    let mut sites: Vec<(StackId, SiteMappings)> =
        merged.into_iter().map(|((id, _), site)| (StackId(id), site)).collect();
    sites.sort_by_key(|(_, site)| std::cmp::Reverse((site.net_bytes(), site.mapped_bytes)));
    let call = profile.strings.intern("call");
    for (id, site) in &sites {
        let value = LabelValue::Str(profile.strings.intern(site.by.as_str()));
        let values =
            [site.mapped_bytes, site.unmapped_bytes, site.given_back_bytes, site.net_bytes()];
        let values = values.map(u64::cast_signed);
        profile.samples.push(*id, &values, &[Label { key: call, value }]);
    }
    (profile, sites)
}
