//! What a probe has found so far, as whoever looks meanwhile sees it.

use std::sync::Arc;

use analyze::frames;
use analyze::outstanding::{self, Outstanding};
use capture::ProcessTarget;
use model::{Frame, Profile, StackId};

use super::alloc::{Allocations, AllocationsSoFar};
use super::native::{NativeSeen, NativeSoFar, cost};
use super::runs::{Figures, Picture, PictureSite, Run, SITES_MAX};

/// To be called again and again while sampled objects are followed.
pub(crate) fn show_allocations(
    run: &Run,
    process: &ProcessTarget,
    so_far: &mut AllocationsSoFar<'_>,
) {
    let figures = |so_far: &mut AllocationsSoFar<'_>| {
        let (allocated, live) = so_far.samples.total();
        Figures {
            elapsed: so_far.elapsed(),
            allocated: Some(allocated),
            deaths: Some(allocated.samples - live.samples),
            live: Some(live),
            counts: so_far.counts(),
            cost: so_far.cost().time(),
        }
    };
    run.step(so_far, figures, |so_far| {
        let found = so_far.found();
        // It may have ended just now; then the last picture stays.
        let profile = found.profile(process).ok()?;
        Some((figures(so_far), of_allocations(&found, profile, process)))
    });
}

fn of_allocations(found: &Allocations, profile: Profile, process: &ProcessTarget) -> Picture {
    let module = &process.binary().info.module;
    let (mut sites, mut sample) = (Vec::new(), 0);
    for site in found.sites.iter().take(SITES_MAX) {
        // Those of a site come one after the other.
        let stack = profile.samples.stacks.get(sample).copied();
        sample += site.sizes.len();
        let stack: Vec<Frame> = stack.map_or_else(Vec::new, |id| frames::of(&profile, id));
        sites.push(PictureSite {
            site: analyze::code::responsible(&stack, module).cloned(),
            stack,
            live: site.live,
            allocated: site.allocated,
            freed_share: site.freed_share(),
            lifetime_seconds: site.lifetime_seconds,
            oldest_seconds: site.oldest_seconds,
        });
    }
    Picture {
        elapsed: found.took,
        sampling_bytes: Some(found.rate.max(0).cast_unsigned()),
        live: found.live,
        omitted: found.sites.len() - sites.len(),
        sites,
        profile: Arc::new(profile),
    }
}

/// The same while malloc is looked at.
pub(crate) fn show_native(run: &Run, so_far: &mut NativeSoFar<'_>) {
    let figures = |so_far: &mut NativeSoFar<'_>| {
        let (elapsed, counts) = (so_far.elapsed(), so_far.counts());
        Figures { elapsed, counts, cost: cost(&counts), ..Figures::default() }
    };
    run.step(so_far, figures, |so_far| {
        let seen = so_far.found();
        let (allocated, freed) = (seen.found.allocated, seen.found.freed);
        let picture = of_native(seen, so_far.executable());
        let figures = Figures {
            allocated: Some(allocated),
            deaths: Some(freed.samples),
            live: Some(picture.live),
            ..figures(so_far)
        };
        Some((figures, picture))
    });
}

fn of_native(seen: NativeSeen, executable: &str) -> Picture {
    let NativeSeen { found, profile, every, took, .. } = seen;
    let site = |of: &Outstanding| {
        let with_objects = |id: StackId| frames::with_objects(&profile, id);
        let stack = of.stack.map_or_else(Vec::new, with_objects);
        PictureSite {
            site: outstanding::responsible(&stack, executable).cloned().map(Frame::from),
            stack: stack.into_iter().map(Frame::from).collect(),
            live: of.live,
            allocated: of.allocated,
            freed_share: of.freed_share(),
            lifetime_seconds: of.lifetime_seconds,
            oldest_seconds: of.oldest_seconds,
        }
    };
    let sites: Vec<PictureSite> = found.stacks.iter().take(SITES_MAX).map(site).collect();
    Picture {
        elapsed: took,
        sampling_bytes: every,
        live: found.total,
        omitted: found.stacks.len() - sites.len(),
        sites,
        profile: Arc::new(profile),
    }
}
