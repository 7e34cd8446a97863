//! `memsight trace lifetimes`.

use std::cmp::{Ordering, Reverse};
use std::process::ExitCode;

use analyze::trace::lifetimes::{Lifetimes, Options, Tracker, TypeLifetimes};
use model::HeapGraph;
use render::paint::Paint;
use render::trace::lifetimes::{View, text, value};

use super::analyze;
use crate::args::lifetimes::{LifetimesArgs, LifetimesSort};
use crate::commands::heap::source::Heap;
use crate::failure::Failure;
use crate::sources::regex;
use crate::terminal::print;

/// Prints how long objects lived.
pub(crate) fn run(args: &LifetimesArgs, paint: Paint) -> Result<ExitCode, Failure> {
    match &args.snapshot {
        Some(snapshot) => Heap::open_named(snapshot)?.with(|heap| show(args, Some(&**heap), paint)),
        None => show(args, None, paint),
    }
}

fn show(
    args: &LifetimesArgs,
    snapshot: Option<&HeapGraph<'_>>,
    paint: Paint,
) -> Result<ExitCode, Failure> {
    let within_nanos = u64::try_from(args.within.as_nanos()).unwrap_or(u64::MAX);
    let options = Options { gcs: args.gcs.into(), within_nanos };
    let mut tracker = Tracker::new(options, snapshot);
    let done = analyze(&args.trace.file, &mut tracker)?;
    let lifetimes = tracker.finish();
    if !lifetimes.has_objects() {
        return Err(nothing(done.version));
    }
    let types = types(&lifetimes, args)?;
    let view = View {
        types: &types,
        limit: args.n,
        is_detailed: args.types.is_some(),
        options,
        has_snapshot: snapshot.is_some(),
        warning: done.warning.as_deref(),
    };
    print(match args.trace.json {
        true => format!("{:#}\n", value(&lifetimes, &view)),
        false => text(&lifetimes, &view, paint),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The first format with events about objects.
const FORMAT_MIN: u32 = 23;

fn nothing(version: u32) -> Failure {
    let failure = Failure::usage("the trace has no events about objects");
    failure.next(if version < FORMAT_MIN {
        "it is of Go 1.22 or earlier; the runtime writes them from Go 1.23 on"
    } else {
        "take it with `memsight trace record --allocfree`, or with GODEBUG=traceallocfree=1"
    })
}

/// The types that were asked for, in order.
fn types<'l>(all: &'l Lifetimes, args: &LifetimesArgs) -> Result<Vec<&'l TypeLifetimes>, Failure> {
    let wanted = args.types.as_deref().map(regex).transpose()?;
    let is_wanted = |of: &&TypeLifetimes| wanted.as_ref().is_none_or(|it| it.is_match(&of.name));
    let mut types: Vec<&TypeLifetimes> = all.types.iter().filter(is_wanted).collect();
    if types.is_empty() {
        let pattern = args.types.as_deref().unwrap_or_default();
        let failure = Failure::usage(format!("no type matches {pattern:?}"));
        return Err(failure.next("-n 0 without --type lists all"));
    }
    let by = |key: fn(&TypeLifetimes) -> u64| move |it: &&TypeLifetimes| Reverse(key(it));
    // They come by bytes, which stays the order of those that are equal.
    match args.sort {
        LifetimesSort::Bytes => {}
        LifetimesSort::Objects => types.sort_by_key(by(|it| it.allocated.objects)),
        LifetimesSort::Young => types.sort_by_key(by(|it| it.young.bytes)),
        LifetimesSort::Within => types.sort_by_key(by(|it| it.within.bytes)),
        LifetimesSort::Survivors => types.sort_by_key(by(|it| it.survivors)),
        LifetimesSort::Living => types.sort_by_key(by(|it| it.living().bytes)),
        LifetimesSort::Survival => types.sort_by(|a, b| more(a.survival, b.survival)),
        LifetimesSort::Name => types.sort_by(|a, b| a.name.cmp(&b.name)),
    }
    Ok(types)
}

/// The larger share first; unknown ones last.
fn more(a: Option<f64>, b: Option<f64>) -> Ordering {
    b.unwrap_or(-1.0).total_cmp(&a.unwrap_or(-1.0))
}
