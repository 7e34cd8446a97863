//! `memsight probe native`.

use std::process::ExitCode;

use agent::probes;
use analyze::frames;
use analyze::outstanding::{OutstandingBlocks, responsible};
use capture::bpf::{Allocator, Method, NativeProbe, Source};
use capture::find::{binary_name, one_process_by_name};
use capture::names::ProcessNames;
use model::Profile;
use render::paint::Paint;
use render::probe::{NativeReport, NativeSite};

use super::{Until, process_of, say_end, warn_of_losses, write_profile};
use crate::args::probe::NativeArgs;
use crate::failure::Failure;
use crate::terminal::print;

/// Looks at what a process asks malloc for, and shows what it keeps.
pub(crate) fn run(args: &NativeArgs, paint: Paint) -> Result<ExitCode, Failure> {
    let pid = process_of(&args.target, one_process_by_name)?;
    let mut names = ProcessNames::open(pid)?;
    let source = match args.usdt {
        true => Source::Usdt,
        false => Source::Malloc { every: args.every },
    };
    let probe = NativeProbe::attach(&names, source, Method::Best)?;
    let until = Until::new(Some(args.duration))?;
    say_what_is_followed(probe.allocators());
    let allocators = probe.allocators().iter().map(|of| of.path.clone()).collect();
    let mut step = |_: &mut probes::NativeSoFar<'_>| until.step();
    let older = |_| args.older;
    let seen = probes::native(probe, &mut names, &older, args.max_cost, &mut step)?;
    say_end(pid, seen.end);
    if let Some(path) = &args.output {
        write_profile(path, &seen.profile)?;
        eprintln!("memsight: wrote {}", path.display());
    }
    let report = NativeReport {
        pid,
        name: &binary_name(pid, names.executable()),
        allocators,
        seconds: seen.took.as_secs_f64(),
        every: seen.every,
        older_seconds: args.older.as_secs_f64(),
        allocated: seen.found.allocated,
        total: seen.found.total,
        young: seen.found.young,
        cut: seen.found.cut,
        counts: seen.counts,
        sites: sites(&seen.profile, &seen.found, names.executable()),
    };
    match args.json {
        true => print(format!("{:#}\n", render::probe::native_value(&report)))?,
        false => print(render::probe::native_text(&report, args.limit, paint))?,
    }
    warn_of_losses(&seen.counts);
    Ok(ExitCode::SUCCESS)
}

/// Says that it begins; an allocator's `operator new` is looked at only where it will not throw.
fn say_what_is_followed(allocators: &[Allocator]) {
    for allocator in allocators {
        eprintln!(
            "memsight: follows {} functions of {}",
            allocator.functions.len(),
            allocator.path
        );
        if !allocator.unfollowed.is_empty() {
            eprintln!(
                "memsight: its operator new is not among them, and what that gives is missing: the \
                 process has a limit of memory, and an exception would not get past the probe, or \
                 the kernel is older than 6.13"
            );
        }
    }
}

fn sites(profile: &Profile, found: &OutstandingBlocks, executable: &str) -> Vec<NativeSite> {
    let site = |of: &analyze::outstanding::Outstanding| {
        let stack = of.stack.map(|stack| frames::with_objects(profile, stack)).unwrap_or_default();
        NativeSite {
            live: of.live,
            allocated: of.allocated,
            freed_share: of.freed_share(),
            lifetime_seconds: of.lifetime_seconds,
            oldest_seconds: of.oldest_seconds,
            responsible: responsible(&stack, executable).cloned(),
            stack,
        }
    };
    found.stacks.iter().map(site).collect()
}
