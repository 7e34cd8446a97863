//! `memsight goroutines` and `runtime`: a live program's own figures.

use std::process::ExitCode;

use capture::LiveTarget;
use model::{Bytes, GoroutineSnapshot, TargetSpec};
use render::paint::Paint;
use render::table::{Align, Table};
use serde_json::json;

use crate::args::{GoroutinesArgs, RuntimeArgs};
use crate::failure::Failure;
use crate::terminal::print;

/// `memsight goroutines`.
pub(crate) fn goroutines(args: &GoroutinesArgs, paint: Paint) -> Result<ExitCode, Failure> {
    let spec = TargetSpec::parse(&args.target).map_err(Failure::usage)?;
    let mut snapshot = LiveTarget::attach(&spec)?.goroutines()?;
    if !args.system {
        snapshot.groups.retain(|group| !group.is_system);
    }
    let shown = if args.n == 0 { usize::MAX } else { args.n };
    if args.json {
        print(format!("{:#}\n", render::goroutines::value(&snapshot)))?;
    } else {
        print(render::goroutines::text(&snapshot, shown, paint))?;
    }
    warn(&snapshot);
    Ok(ExitCode::SUCCESS)
}

fn warn(snapshot: &GoroutineSnapshot) {
    for warning in &snapshot.warnings {
        eprintln!("memsight: {warning}");
    }
}

/// `memsight runtime`.
pub(crate) fn runtime(args: &RuntimeArgs) -> Result<ExitCode, Failure> {
    let spec = TargetSpec::parse(&args.target).map_err(Failure::usage)?;
    let live = LiveTarget::attach(&spec)?;
    let observation = live.observe()?;
    let figures = render::observation::figures(&observation);
    if args.json {
        let values = figures.iter().map(|figure| (figure.name.to_owned(), figure.value.into()));
        let values: serde_json::Map<String, serde_json::Value> = values.collect();
        print(format!(
            "{:#}\n",
            json!({ "target": render::json::target(live.target()),
                                        "time_ms": observation.time.0, "figures": values })
        ))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table =
        Table::new(&[("figure", Align::Left), ("value", Align::Right), ("meaning", Align::Left)]);
    for figure in figures {
        let value = match figure.value {
            None => "unknown".to_owned(),
            Some(value) if figure.is_bytes => Bytes(value.max(0).cast_unsigned()).to_string(),
            Some(value) => value.to_string(),
        };
        table.push(vec![figure.name.to_owned(), value, figure.meaning.to_owned()]);
    }
    print(table.text())?;
    Ok(ExitCode::SUCCESS)
}
