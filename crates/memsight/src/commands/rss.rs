//! `memsight rss`: what the resident memory of a process consists of.

use std::process::ExitCode;

use model::TargetSpec;
use render::paint::Paint;

use crate::args::rss::RssArgs;
use crate::failure::Failure;
use crate::terminal::print;

/// `memsight rss`.
pub(crate) fn run(args: &RssArgs, paint: Paint) -> Result<ExitCode, Failure> {
    let spec = TargetSpec::parse(&args.target).map_err(Failure::usage)?;
    let (target, rss) = capture::resident::of_target(&spec)?;
    let (causes, advice) = (analyze::rss::causes(&rss), analyze::rss::advice(&rss));
    if args.json {
        print(format!("{:#}\n", render::rss::value(&target, &rss, &causes, &advice)))?;
    } else {
        let tables = (args.sizes, args.maps);
        print(render::rss::text(&target, &rss, &causes, &advice, tables, paint))?;
    }
    for warning in &rss.warnings {
        eprintln!("memsight: {warning}");
    }
    Ok(ExitCode::SUCCESS)
}
