//! What a process of any program maps and unmaps, by the stack that mapped it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use analyze::mappings::{MappedBy, Mappings, SiteMappings};
use capture::CaptureError;
use capture::bpf::{MmapProbe, mapped};
use model::probe::{MappingChange, ProbeCounts};
use model::{Addr, Label, LabelValue, Profile, StackId};

use super::{AnyProcess, End, stamp, too_dear};

/// What one takes more while it is looked at (bench/probes).
const CALL: Duration = Duration::from_nanos(1100);

/// A look that has begun.
pub struct MappingLook {
    probe: MmapProbe,
    mappings: Mappings,
}

/// What was seen.
#[derive(Clone, Debug)]
pub struct MappingsSeen {
    /// What became of that which was mapped before.
    pub before: SiteMappings,
    /// By the stacks of the profile, those with the most bytes that stay first.
    pub sites: Vec<(StackId, SiteMappings)>,
    /// The bytes, with the label `call`.
    pub profile: Profile,
    /// What was lost.
    pub counts: ProbeCounts,
    /// How long it was looked at.
    pub took: Duration,
    /// Why it is over.
    pub end: End,
}

impl MappingLook {
    /// Begins to look: what the process does from now on is seen.
    ///
    /// # Errors
    /// When the process may not be read, it is a 32-bit program, or the probe cannot be used.
    pub fn begin(process: &AnyProcess) -> Result<MappingLook, CaptureError> {
        let mut probe = MmapProbe::open(&process.names)?;
        let mappings = Mappings::new(probe.attach(process.pid)?);
        Ok(MappingLook { probe, mappings })
    }

    /// Looks for as long as `step`, which is told how many calls there were and how many bytes of
    /// them are mapped still, says how long to wait, and it takes no more than `cost_max` of a core.
    pub fn follow(
        mut self,
        process: &mut AnyProcess,
        cost_max: f64,
        step: &mut dyn FnMut(u64, u64) -> Option<Duration>,
    ) -> MappingsSeen {
        let (took, end) = self.read(process, cost_max, step);
        let counts = self.probe.counts();
        drop(self.probe);
        let (mut profile, sites) = named(process, &self.mappings);
        stamp(&mut profile, took);
        let before = self.mappings.before();
        MappingsSeen { before, sites, profile, counts, took, end }
    }

    fn read(
        &mut self,
        process: &mut AnyProcess,
        cost_max: f64,
        step: &mut dyn FnMut(u64, u64) -> Option<Duration>,
    ) -> (Duration, End) {
        let (begun, mut calls) = (Instant::now(), 0);
        loop {
            if let Some(end) = too_dear(CALL, calls, begun.elapsed(), cost_max) {
                return (begun.elapsed(), end);
            }
            let Some(wait) = step(calls, self.mappings.net_bytes()) else {
                return (begun.elapsed(), End::Asked);
            };
            let (pid, mappings) = (process.pid, &mut self.mappings);
            self.probe.read(wait, |call| {
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
                let _ = self.probe.refresh(&process.names);
            }
            if !process.names.is_alive() {
                return (begun.elapsed(), End::Ended);
            }
        }
    }
}

/// A profile with one sample for each site, and the sites: stacks of the same names are one.
fn named(process: &mut AnyProcess, mappings: &Mappings) -> (Profile, Vec<(StackId, SiteMappings)>) {
    let types =
        [("mapped", "bytes"), ("unmapped", "bytes"), ("given_back", "bytes"), ("net", "bytes")];
    let mut profile = Profile::new(&types);
    let found = mappings.sites();
    let stacks: Vec<&[Addr]> = found.iter().map(|site| &site.stack[..]).collect();
    let ids = process.name(&mut profile, &stacks);
    let mut merged: BTreeMap<(StackId, MappedBy), SiteMappings> = BTreeMap::new();
    for (site, id) in found.iter().zip(ids) {
        merged.entry((id, site.by)).or_default().join(site);
    }
    let mut sites: Vec<(StackId, SiteMappings)> =
        merged.into_iter().map(|((id, _), site)| (id, site)).collect();
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
