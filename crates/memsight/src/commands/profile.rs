//! `memsight top`, `tree`, `peek`, `flame`, `diff` and `convert`.

use std::path::Path;
use std::process::ExitCode;

use analyze::report::{CallTree, Direction, Stacks};
use anyhow::Context;
use model::Profile;
use render::profile::report::Options;
use render::profile::{firefox, flame, folded, report, samples, speedscope};

use crate::args::{
    ConvertArgs, ConvertTo, DiffArgs, FlameArgs, PeekArgs, ProfileArgs, TableArgs, TopArgs,
};
use crate::failure::Failure;
use crate::sources;
use crate::terminal::print;

/// Frames that a flame graph file holds at most.
const FLAME_NODES_MAX: usize = 50_000;
/// All functions, for programs that read tables.
const ALL_ROWS: Options = Options { rows: 0, by_cumulative: false };

/// `memsight top`.
pub(crate) fn top(args: &TopArgs) -> Result<ExitCode, Failure> {
    let profile = sources::merged(&args.sources, args.profile.kind)?;
    let stacks = sources::stacks(&profile, None, &args.profile)?;
    table(&stacks, Options { rows: args.n, by_cumulative: args.cum }, &args.table)
}

fn table(stacks: &Stacks, options: Options, format: &TableArgs) -> Result<ExitCode, Failure> {
    print(match format {
        TableArgs { json: true, .. } => format!("{:#}\n", report::top_json(stacks, options)),
        TableArgs { csv: true, .. } => report::top_csv(stacks, options),
        TableArgs { markdown: true, .. } => report::top_markdown(stacks, options),
        _ => report::top_text(stacks, options),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// `memsight tree`.
pub(crate) fn tree(args: &TopArgs) -> Result<ExitCode, Failure> {
    if args.table.csv || args.table.markdown {
        let failure = Failure::usage("a tree has no rows for a table");
        return Err(failure.next("use --json, or top --csv or --markdown"));
    }
    let profile = sources::merged(&args.sources, args.profile.kind)?;
    let stacks = sources::stacks(&profile, None, &args.profile)?;
    let options = Options { rows: args.n, by_cumulative: args.cum };
    print(match args.table.json {
        true => format!("{:#}\n", report::tree_json(&stacks, options)),
        false => report::tree_text(&stacks, options),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// `memsight peek`.
pub(crate) fn peek(args: &PeekArgs) -> Result<ExitCode, Failure> {
    let pattern = sources::regex(&args.pattern)?;
    let profile = sources::merged(&args.sources, args.profile.kind)?;
    let stacks = sources::stacks(&profile, None, &args.profile)?;
    let wanted = |function: &str| pattern.is_match(function);
    let text = match args.json {
        true => report::peek_json(&stacks, wanted).map(|value| format!("{value:#}\n")),
        false => report::peek_text(&stacks, wanted),
    };
    print(text.ok_or_else(|| {
        let failure = Failure::usage(format!("no function matches {}", args.pattern));
        failure.next("memsight top -n 0 lists the functions there are")
    })?)?;
    Ok(ExitCode::SUCCESS)
}

/// `memsight diff`.
pub(crate) fn diff(args: &DiffArgs) -> Result<ExitCode, Failure> {
    let base = sources::profile(&args.base, args.profile.kind)?;
    let profile = sources::profile(&args.new, args.profile.kind)?;
    let stacks = sources::stacks(&profile, Some(&base), &args.profile)?;
    table(&stacks, Options { rows: args.n, by_cumulative: false }, &args.table)
}

/// `memsight flame`.
pub(crate) fn flame(args: &FlameArgs) -> Result<ExitCode, Failure> {
    let ending = args.output.extension().and_then(|ending| ending.to_str());
    let is_page = match ending {
        Some("svg") => false,
        Some("html" | "htm") => true,
        _ => {
            let message = format!("{}: unknown ending", args.output.display());
            return Err(Failure::usage(message).next("name the file .svg or .html"));
        }
    };
    let kind = args.profile.kind;
    let base = (!args.base.is_empty()).then(|| sources::merged(&args.base, kind)).transpose()?;
    let profile = sources::merged(&args.sources, kind)?;
    let mut stacks = sources::stacks(&profile, base.as_ref(), &args.profile)?;
    let view = flame::View { inverted: args.inverted, reverse: args.reverse };
    let mut title = title(&args.sources);
    if base.is_some() {
        title = format!("{title} against {}", args.base.join(", "));
    }
    // The page turns the tree round by itself.
    let direction = match args.reverse && !is_page {
        true => Direction::Callers,
        false => Direction::Callees,
    };
    let tree = CallTree::directed(&mut stacks, direction, FLAME_NODES_MAX);
    let text = match is_page {
        true => flame::html(&stacks, &tree, &title, view),
        false => flame::svg(&stacks, &tree, &title, view),
    };
    write(&args.output, text.as_bytes())?;
    eprintln!("wrote {} ({} frames)", args.output.display(), tree.nodes.len());
    if tree.merged > 0 {
        eprintln!("{} small frames are merged into \"(other)\"", tree.merged);
    }
    Ok(ExitCode::SUCCESS)
}

fn title(sources: &[String]) -> String {
    sources.join(", ")
}

/// `memsight convert`.
pub(crate) fn convert(args: &ConvertArgs) -> Result<ExitCode, Failure> {
    let profile = sources::merged(&args.sources, args.profile.kind)?;
    let title = title(&args.sources);
    let one = || sources::stacks(&profile, None, &args.profile);
    let bytes = match args.to {
        ConvertTo::Pprof => decode::pprof::write(&profile),
        ConvertTo::Json => format!("{}\n", samples::value(&profile)).into_bytes(),
        ConvertTo::Folded => folded::write(&one()?).into_bytes(),
        ConvertTo::Csv => report::top_csv(&one()?, ALL_ROWS).into_bytes(),
        ConvertTo::Markdown => report::top_markdown(&one()?, ALL_ROWS).into_bytes(),
        ConvertTo::Speedscope => {
            let (columns, shown) = columns(&profile, &args.profile)?;
            format!("{}\n", speedscope::value(&columns, shown, &title)).into_bytes()
        }
        ConvertTo::Firefox => {
            let (columns, shown) = columns(&profile, &args.profile)?;
            let time = profile.time_nanos;
            firefox::write(&columns, shown, &title, time)?.into_bytes()
        }
    };
    match &args.output {
        Some(path) => write(path, &bytes)?,
        None => print(bytes)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Every column of a profile, and which of them is shown first.
fn columns(profile: &Profile, args: &ProfileArgs) -> Result<(Vec<Stacks>, usize), Failure> {
    let shown = sources::stacks(profile, None, args)?.kind;
    let mut columns = Vec::with_capacity(profile.sample_types.len());
    for value_type in &profile.sample_types {
        let kind = profile.str(value_type.kind);
        columns.push(sources::column(profile, None, Some(kind), args)?);
    }
    let shown = columns.iter().position(|column| column.kind == shown).unwrap_or(0);
    Ok((columns, shown))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    std::fs::write(path, bytes).with_context(|| path.display().to_string())?;
    Ok(())
}
