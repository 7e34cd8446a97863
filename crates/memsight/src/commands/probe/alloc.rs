//! `memsight probe alloc`.

use std::collections::{BTreeMap, HashMap};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use agent::probes::{self, Allocations};
use analyze::code;
use analyze::samples::{Estimate, GoroutineSamples, Samples, SiteSamples};
use capture::ProcessTarget;
use capture::bpf::STACK_MAX;
use capture::find::one_by_name;
use model::probe::MonotonicNanos;
use model::{Addr, Bytes, Frame, HeapGraph, Profile};
use render::paint::Paint;
use render::probe::{AllocReport, Entry, NamedGoroutine, NamedSite};

use super::{Until, frames, process_of, say_end, warn_of_losses, write_profile};
use crate::args::probe::AllocArgs;
use crate::commands::heap::source::Heap;
use crate::failure::Failure;
use crate::terminal::{Progress, print};

/// Follows the sampled objects of a process.
pub(crate) fn run(args: &AllocArgs, paint: Paint) -> Result<ExitCode, Failure> {
    let pid = process_of(&args.target, one_by_name)?;
    let target = ProcessTarget::attach(pid)?;
    let until = Until::new(Some(args.duration))?;
    let (found, types) = follow(&target, args, &until)?;
    say_end(pid, found.end);
    let profile = found.profile(&target)?;
    let sites = named(&profile, &found.sites, types, &target.binary().info.module);
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
        entries: entries(&sites),
        goroutines: goroutines(found.goroutines, &sites),
        sites,
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

/// What lives, by stack and type.
type Types = HashMap<Vec<Addr>, Vec<(String, Estimate)>>;

/// Follows the objects, and finds the types of those that live in the end, if they are wanted.
fn follow(
    target: &ProcessTarget,
    args: &AllocArgs,
    until: &Until,
) -> Result<(Allocations, Types), Failure> {
    let (begun, mut progress, mut shown) = (Instant::now(), Progress::new(), 0);
    let mut wanted = args.types.then(|| target.pid());
    let (mut snapshot, mut types, mut failure) = (None, Types::new(), None);
    let found = probes::allocations(target, args.max_cost, &mut |so_far| {
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
        if let Some(wait) = until.step() {
            return Some(wait);
        }
        // Then it looks once more: what has died by the time of the snapshot is told after it.
        if let Some(pid) = wanted.take() {
            let taken = MonotonicNanos(capture::monotonic_nanos().cast_unsigned());
            match Heap::open_named(&pid.to_string()) {
                Ok(heap) => snapshot = Some((taken, heap)),
                Err(error) => failure = Some(error),
            }
            return snapshot.is_some().then_some(Duration::ZERO);
        }
        if let Some((taken, heap)) = snapshot.take() {
            let named = heap.with(|graph| Ok(types_of(so_far.samples, taken, graph)));
            named.map_or_else(|error| failure = Some(error), |named| types = named);
        }
        None
    });
    let found = found?;
    match (failure, wanted) {
        (Some(error), _) => Err(error),
        (None, Some(_)) => {
            eprintln!("memsight: no types: the probe ended before a snapshot could be taken");
            Ok((found, types))
        }
        (None, None) => Ok((found, types)),
    }
}

fn types_of(samples: &Samples, taken: MonotonicNanos, graph: &HeapGraph<'_>) -> Types {
    let name = |address: Addr| {
        let (object, _) = graph.objects.find(address)?;
        Some(graph.type_name(graph.type_of(object)))
    };
    let owned = |types: Vec<(&str, Estimate)>| {
        types.into_iter().map(|(name, live)| (name.to_owned(), live)).collect()
    };
    let by_stack = samples.types(taken, name).into_iter();
    by_stack.map(|(stack, types)| (stack.to_vec(), owned(types))).collect()
}

/// Each site with its calls by name, and the one that is responsible. The profile has the samples
/// of the sites one after the other.
fn named(
    profile: &Profile,
    sites: &[SiteSamples],
    mut types: Types,
    module: &str,
) -> Vec<NamedSite> {
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
        let types = types.remove(&site.stack).unwrap_or_default();
        named.push(NamedSite { site: site.clone(), stack, responsible, types });
    }
    named
}

/// Where the goroutines began that have this stack; `None` where it is cut off or could not be read.
/// Not the wrapper that the compiler makes of `go f(x)`.
fn entry(named: &NamedSite) -> Option<&Frame> {
    let is_wrapper = |frame: &&Frame| {
        let name = frame.function.rsplit('.').next().unwrap_or_default();
        name.strip_prefix("gowrap").is_some_and(|rest| rest.bytes().all(|it| it.is_ascii_digit()))
    };
    let is_whole = named.site.stack.len() < STACK_MAX;
    named.stack.iter().rev().find(|frame| !is_wrapper(frame)).filter(|_| is_whole)
}

/// Sites by where their goroutines began.
fn entries(sites: &[NamedSite]) -> Vec<Entry> {
    let mut by_function: BTreeMap<Option<&str>, Entry> = BTreeMap::new();
    for named in sites {
        let (site, function) = (&named.site, entry(named).map(|frame| frame.function.as_str()));
        let entry = by_function.entry(function).or_insert_with(|| Entry {
            function: function.map(str::to_owned),
            goroutines: 0,
            allocated: Estimate::default(),
            live: Estimate::default(),
        });
        entry.goroutines += site.goroutines;
        entry.allocated.join(&site.allocated);
        entry.live.join(&site.live);
    }
    let mut entries: Vec<Entry> = by_function.into_values().collect();
    entries.sort_by(|a, b| b.allocated.bytes.total_cmp(&a.allocated.bytes));
    entries
}

fn goroutines(found: Vec<GoroutineSamples>, sites: &[NamedSite]) -> Vec<NamedGoroutine> {
    let by_stack: HashMap<&[Addr], &NamedSite> =
        sites.iter().map(|named| (named.site.stack.as_slice(), named)).collect();
    let named = |samples: GoroutineSamples| {
        let site = by_stack.get(samples.stack.as_slice());
        NamedGoroutine { entry: site.and_then(|site| entry(site)).cloned(), samples }
    };
    found.into_iter().map(named).collect()
}
