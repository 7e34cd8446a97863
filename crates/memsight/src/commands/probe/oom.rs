//! `memsight probe oom`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use analyze::code;
use anyhow::Context;
use capture::ProcessTarget;
use capture::bpf::{OomEvent, OomProbe, VictimProfile};
use capture::find::GoPids;
use model::{Frame, Profile};
use render::paint::Paint;
use render::probe::VictimSite;

use super::{Until, frames, time_of_day, warn_of_losses, write_profile};
use crate::args::probe::OomArgs;
use crate::failure::Failure;
use crate::terminal::print;

/// How often programs that started meanwhile are looked for.
const SCAN_EVERY: Duration = Duration::from_secs(1);

/// How many sites of a victim are shown.
const SITES: usize = 5;

/// Waits for OOM kills.
pub(crate) fn run(args: &OomArgs, paint: Paint) -> Result<ExitCode, Failure> {
    if let Some(folder) = &args.output {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    let mut watch = Watch::open()?;
    let until = Until::new(args.duration)?;
    watch.scan();
    eprintln!(
        "memsight: waiting for OOM kills; the heap profiles of {} Go processes would be kept",
        watch.targets.len()
    );
    let (mut scanned, mut kills) = (Instant::now(), 0);
    while let Some(step) = until.step() {
        let mut events = Vec::new();
        watch.probe.read(step, |event| events.push(event));
        for event in events {
            let is_last = matches!(event, OomEvent::Profile(_)) || !watch.is_known(&event);
            print(told(&watch, &event, args, paint)?)?;
            kills += u64::from(is_last);
        }
        if args.kills.is_some_and(|wanted| kills >= wanted) {
            break;
        }
        if scanned.elapsed() >= SCAN_EVERY {
            scanned = Instant::now();
            watch.scan();
        }
    }
    warn_of_losses(&watch.probe.counts());
    Ok(ExitCode::SUCCESS)
}

/// The probe and the Go processes that it was told of.
struct Watch {
    probe: OomProbe,
    pids: GoPids,
    targets: BTreeMap<u32, ProcessTarget>,
}

impl Watch {
    fn open() -> Result<Watch, Failure> {
        Ok(Watch { probe: OomProbe::open()?, pids: GoPids::default(), targets: BTreeMap::new() })
    }

    /// Whether a profile of the victim follows.
    fn is_known(&self, event: &OomEvent) -> bool {
        match event {
            OomEvent::Killed(victim) => self.targets.contains_key(&victim.pid),
            OomEvent::Profile(_) => true,
        }
    }

    /// Watches programs that started, forgets those that ended.
    fn scan(&mut self) {
        let found = self.pids.scan();
        let ended: Vec<u32> = self
            .targets
            .iter()
            .filter(|(_, of)| !of.runs_its_program())
            .map(|(pid, _)| *pid)
            .collect();
        for pid in ended {
            self.targets.remove(&pid);
            self.probe.forget(pid);
        }
        for pid in found {
            if self.targets.contains_key(&pid) {
                continue;
            }
            // What has no heap profile, or just ended, is seen without.
            let Ok(target) = ProcessTarget::attach(pid) else { continue };
            if self.probe.watch(&target).is_ok() {
                self.targets.insert(pid, target);
            }
        }
    }
}

/// What is said of an event.
fn told(watch: &Watch, event: &OomEvent, args: &OomArgs, paint: Paint) -> Result<String, Failure> {
    let copy = match event {
        OomEvent::Killed(victim) => {
            return Ok(match args.json {
                true => format!("{}\n", render::probe::victim_value(victim)),
                false => render::probe::victim_text(victim, &time_of_day(victim.time), paint),
            });
        }
        OomEvent::Profile(copy) => copy,
    };
    let Some(target) = watch.targets.get(&copy.pid) else { return Ok(String::new()) };
    let profile = match target.heap_profile_in(copy) {
        Ok(profile) => profile,
        Err(error) => {
            eprintln!("memsight: the heap profile of process {} is unknown: {error}", copy.pid);
            return Ok(String::new());
        }
    };
    let file = match &args.output {
        Some(folder) => Some(keep(folder, target, copy, &profile)?),
        None => None,
    };
    let (sites, total) = sites(&profile, &target.binary().info.module);
    let view = render::probe::VictimProfileView {
        pid: copy.pid,
        stacks: copy.buckets,
        unread: copy.unread,
        took: copy.took,
        in_use_bytes: total,
        sites: &sites,
        file: file.as_deref(),
    };
    Ok(match args.json {
        true => format!("{}\n", render::probe::victim_profile_value(&view)),
        false => render::probe::victim_profile_text(&view, paint),
    })
}

fn keep(
    folder: &Path,
    target: &ProcessTarget,
    copy: &VictimProfile,
    profile: &Profile,
) -> Result<PathBuf, Failure> {
    let file = folder.join(format!("{}-{}-oom.pb.gz", target.target().name, copy.pid));
    write_profile(&file, profile)?;
    Ok(file)
}

/// What was in use by the call that is responsible, the most first, and all of it.
fn sites(profile: &Profile, module: &str) -> (Vec<VictimSite>, u64) {
    let column = profile.column("inuse_space").unwrap_or(0);
    let mut by_frame: BTreeMap<(String, String, u32), u64> = BTreeMap::new();
    let mut total = 0;
    for sample in profile.samples.ids() {
        let bytes = profile.samples.row(sample).nth(column).unwrap_or(0);
        let bytes = u64::try_from(bytes).unwrap_or(0);
        total += bytes;
        let stack = frames(profile, sample);
        if let Some(frame) = code::responsible(&stack, module) {
            let key = (frame.function.clone(), frame.file.clone(), frame.line);
            *by_frame.entry(key).or_default() += bytes;
        }
    }
    let mut sites: Vec<VictimSite> = by_frame
        .into_iter()
        .map(|((function, file, line), bytes)| VictimSite {
            frame: Frame { function, file, line },
            bytes,
        })
        .collect();
    sites.sort_by(|a, b| {
        b.bytes.cmp(&a.bytes).then_with(|| a.frame.function.cmp(&b.frame.function))
    });
    sites.truncate(SITES);
    (sites, total)
}
