//! Where a profile comes from: a file, standard input, a URL, or a live target.

use std::io::Read;
use std::path::Path;

use analyze::code::fold_type_arguments;
use analyze::report::{FramePredicate, Reading, Select, Stacks};
use anyhow::Context;
use capture::LiveTarget;
use model::{Profile, TargetSpec};
use regex::Regex;

use crate::args::{ProfileArgs, ProfileKind};
use crate::failure::Failure;
use crate::files;

/// Reads the profiles of all sources and adds them up.
pub(crate) fn merged(sources: &[String], kind: ProfileKind) -> Result<Profile, Failure> {
    let read = sources.iter().map(|source| profile(source, kind));
    let profiles = read.collect::<Result<Vec<Profile>, Failure>>()?;
    let periods: Vec<i64> = profiles.iter().map(|profile| profile.period).collect();
    let mut merged = analyze::pprof::merge::combine(profiles).map_err(Failure::usage)?;
    // No single period tells how certain values from differently sampled profiles are.
    if periods.windows(2).any(|pair| pair.first() != pair.last()) {
        merged.period = 0;
    }
    Ok(merged)
}

/// Reads a profile from `source`.
pub(crate) fn profile(source: &str, kind: ProfileKind) -> Result<Profile, Failure> {
    if source == "-" {
        return decoded(source, std::io::stdin().lock());
    }
    if Path::new(source).exists() && source.parse::<u32>().is_err() {
        return decoded(source, files::open(Path::new(source)).with_context(|| source.to_owned())?);
    }
    if let Some((base, path)) = source.split_once("/debug/pprof/") {
        let target = capture::http::HttpTarget::attach(base)?;
        return decoded(source, target.get(path)?.as_slice());
    }
    let spec = TargetSpec::parse(source).map_err(|message| {
        let is_path = source.contains('/') || source.contains('.');
        let failure = Failure::usage(if is_path { no_file(source) } else { message });
        failure.next("a source is a file, a URL, a PID, name:REGEX, or - for standard input")
    })?;
    let live = LiveTarget::attach(&spec)?;
    match kind {
        ProfileKind::Heap => Ok(live.heap_profile()?.profile),
        ProfileKind::Goroutine => {
            Ok(decode::pprof::goroutines::to_profile(&live.goroutines()?, capture::now()))
        }
    }
}

fn no_file(source: &str) -> String {
    format!("{source}: no such file")
}

fn decoded(source: &str, input: impl Read) -> Result<Profile, Failure> {
    let parsed = decode::profile::read(input).with_context(|| source.to_owned())?;
    for warning in &parsed.warnings {
        eprintln!("memsight: {source}: {warning}");
    }
    Ok(parsed.profile)
}

/// Takes the wanted column and stacks of a profile, against a base where one is given.
pub(crate) fn stacks(
    profile: &Profile,
    base: Option<&Profile>,
    args: &ProfileArgs,
) -> Result<Stacks, Failure> {
    column(profile, base, args.sample.as_deref(), args)
}

/// As [`stacks`], of this column; `None` is the profile's default.
pub(crate) fn column(
    profile: &Profile,
    base: Option<&Profile>,
    column: Option<&str>,
    args: &ProfileArgs,
) -> Result<Stacks, Failure> {
    let focus = args.focus.as_deref().map(regex).transpose()?;
    let ignore = args.ignore.as_deref().map(regex).transpose()?;
    // Names match as they are and as they are shown.
    let matches = |regex: &Option<Regex>, function: &str, file: &str| {
        regex.as_ref().is_some_and(|regex| {
            let is_named =
                regex.is_match(function) || regex.is_match(&fold_type_arguments(function));
            is_named || regex.is_match(file)
        })
    };
    let in_focus = |function: &str, file: &str| matches(&focus, function, file);
    let is_ignored = |function: &str, file: &str| matches(&ignore, function, file);
    let select = Select {
        column,
        focus: focus.as_ref().map(|_| &in_focus as FramePredicate<'_>),
        ignore: ignore.as_ref().map(|_| &is_ignored as FramePredicate<'_>),
    };
    let stacks = match base {
        Some(base) => Stacks::diff(profile, base, &select),
        None => Stacks::of(profile, &select),
    };
    let mut stacks =
        stacks.map_err(|unknown| Failure::usage(unknown).next("--sample chooses one of them"))?;
    let ProfileArgs { full_names, runtime_frames, stack_depth, .. } = *args;
    stacks.read(&Reading { full_names, runtime_frames, depth: stack_depth });
    Ok(stacks)
}

/// Compiles a regular expression of the command line.
pub(crate) fn regex(pattern: &str) -> Result<Regex, Failure> {
    Regex::new(pattern).map_err(Failure::usage)
}
