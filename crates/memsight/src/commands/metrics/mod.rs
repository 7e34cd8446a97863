//! `memsight metrics`: what runtime/metrics tells, from outside.

mod watch;

use std::process::ExitCode;

use capture::LiveTarget;
use model::{RuntimeMetrics, TargetSpec};
use regex::Regex;
use render::metrics;
use render::paint::Paint;

use crate::args::metrics::MetricsArgs;
use crate::failure::Failure;
use crate::terminal::print;

/// Runs the command.
pub(crate) fn run(args: &MetricsArgs, paint: Paint) -> Result<ExitCode, Failure> {
    let spec = TargetSpec::parse(&args.target).map_err(Failure::usage)?;
    let wanted = Wanted::new(&args.names)?;
    let live = LiveTarget::attach_for_metrics(&spec)?;
    if let Some(interval) = args.watch {
        return watch::run(&live, &wanted, interval, args.json, paint);
    }
    let found = wanted.of(live.runtime_metrics()?)?;
    let target = live.target();
    print(match () {
        () if args.json => format!("{:#}\n", metrics::value(&found, target, capture::now())),
        () if args.csv => metrics::csv(&found),
        () if args.openmetrics => metrics::openmetrics(&found),
        () => metrics::text(&found, target, paint),
    })?;
    warn(&found);
    Ok(ExitCode::SUCCESS)
}

fn warn(found: &RuntimeMetrics) {
    for warning in &found.warnings {
        eprintln!("memsight: {warning}");
    }
}

/// Which metrics are asked for.
struct Wanted(Vec<Regex>);

impl Wanted {
    fn new(names: &[String]) -> Result<Wanted, Failure> {
        let compile = |name: &String| Regex::new(name).map_err(Failure::usage);
        Ok(Wanted(names.iter().map(compile).collect::<Result<_, _>>()?))
    }

    /// What of the metrics is asked for, which must be something.
    fn of(&self, mut found: RuntimeMetrics) -> Result<RuntimeMetrics, Failure> {
        if self.0.is_empty() {
            return Ok(found);
        }
        let is_wanted = |name: &str| self.0.iter().any(|wanted| wanted.is_match(name));
        let count = found.samples.len();
        found.samples.retain(|sample| is_wanted(sample.metric.name));
        found.moved.retain(|name| is_wanted(name));
        found.collector = model::metrics::CollectorFigures::default();
        if found.samples.is_empty() {
            return Err(Failure::usage(format!("none of the {count} metrics has such a name"))
                .next("names are those of Go's runtime/metrics; without one all are listed"));
        }
        Ok(found)
    }
}
