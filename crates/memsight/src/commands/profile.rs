//! `memsight top`, `tree`, `flame`, `diff` and `convert`.

use std::path::Path;
use std::process::ExitCode;

use analyze::report::CallTree;
use anyhow::Context;
use render::profile::report::Options;
use render::profile::{flame, folded, report, samples, speedscope};

use crate::args::{ConvertArgs, ConvertTo, DiffArgs, FlameArgs, TopArgs};
use crate::failure::Failure;
use crate::sources;
use crate::terminal::print;

/// Frames that a flame graph file holds at most.
const FLAME_NODES_MAX: usize = 50_000;

/// `memsight top`.
pub(crate) fn top(args: &TopArgs) -> Result<ExitCode, Failure> {
    let profile = sources::profile(&args.source, args.profile.kind)?;
    let stacks = sources::stacks(&profile, None, &args.profile)?;
    let options = Options { rows: args.n, by_cumulative: args.cum };
    print(match (args.json, args.csv) {
        (true, _) => format!("{:#}\n", report::top_json(&stacks, options)),
        (_, true) => report::top_csv(&stacks, options),
        _ => report::top_text(&stacks, options),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// `memsight tree`.
pub(crate) fn tree(args: &TopArgs) -> Result<ExitCode, Failure> {
    if args.csv {
        return Err(Failure::usage("a tree has no rows for CSV").next("use --json, or top --csv"));
    }
    let profile = sources::profile(&args.source, args.profile.kind)?;
    let stacks = sources::stacks(&profile, None, &args.profile)?;
    let options = Options { rows: args.n, by_cumulative: args.cum };
    print(match args.json {
        true => format!("{:#}\n", report::tree_json(&stacks, options)),
        false => report::tree_text(&stacks, options),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// `memsight diff`.
pub(crate) fn diff(args: &DiffArgs) -> Result<ExitCode, Failure> {
    let base = sources::profile(&args.base, args.profile.kind)?;
    let profile = sources::profile(&args.new, args.profile.kind)?;
    let stacks = sources::stacks(&profile, Some(&base), &args.profile)?;
    let options = Options { rows: args.n, by_cumulative: false };
    print(match (args.json, args.csv) {
        (true, _) => format!("{:#}\n", report::top_json(&stacks, options)),
        (_, true) => report::top_csv(&stacks, options),
        _ => report::top_text(&stacks, options),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// `memsight flame`.
pub(crate) fn flame(args: &FlameArgs) -> Result<ExitCode, Failure> {
    let draw = match args.output.extension().and_then(|ending| ending.to_str()) {
        Some("svg") => flame::svg,
        Some("html" | "htm") => flame::html,
        _ => {
            let message = format!("{}: unknown ending", args.output.display());
            return Err(Failure::usage(message).next("name the file .svg or .html"));
        }
    };
    let base = args.base.as_deref().map(|base| sources::profile(base, args.profile.kind));
    let base = base.transpose()?;
    let profile = sources::profile(&args.source, args.profile.kind)?;
    let mut stacks = sources::stacks(&profile, base.as_ref(), &args.profile)?;
    let tree = CallTree::build(&mut stacks, FLAME_NODES_MAX);
    write(&args.output, draw(&stacks, &tree, &args.source).as_bytes())?;
    eprintln!("wrote {} ({} frames)", args.output.display(), tree.nodes.len());
    if tree.merged > 0 {
        eprintln!("{} small frames are merged into \"(other)\"", tree.merged);
    }
    Ok(ExitCode::SUCCESS)
}

/// `memsight convert`.
pub(crate) fn convert(args: &ConvertArgs) -> Result<ExitCode, Failure> {
    let profile = sources::profile(&args.source, args.profile.kind)?;
    let bytes = match args.to {
        ConvertTo::Pprof => decode::pprof::write(&profile),
        ConvertTo::Json => format!("{}\n", samples::value(&profile)).into_bytes(),
        ConvertTo::Folded => {
            folded::write(&sources::stacks(&profile, None, &args.profile)?).into_bytes()
        }
        ConvertTo::Speedscope => {
            let stacks = sources::stacks(&profile, None, &args.profile)?;
            format!("{}\n", speedscope::value(&stacks, &args.source)).into_bytes()
        }
    };
    match &args.output {
        Some(path) => write(path, &bytes)?,
        None => print(bytes)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    std::fs::write(path, bytes).with_context(|| path.display().to_string())?;
    Ok(())
}
