//! `memsight serve`.

use std::collections::HashMap;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Duration;

use agent::{Config, Event};
use capture::LiveTarget;
use model::{TargetId, TargetSpec};
use render::paint::Paint;

use crate::args::ServeArgs;
use crate::failure::Failure;
use crate::service::{Options, Service};

/// Watches and serves until Ctrl-C.
pub(crate) fn run(args: &ServeArgs, paint: Paint) -> Result<ExitCode, Failure> {
    let targets = targets(args)?;
    if targets.is_empty() && !args.all_go {
        let failure = Failure::usage("nothing to watch");
        return Err(failure.next("give --pid, --name, --url or --all-go"));
    }
    let service = Service::start(&Options {
        store: &args.store,
        store_options: store::Options {
            repair: args.repair,
            keep: args.keep,
            keep_bytes: args.keep_bytes,
        },
        listen: &args.listen,
        token: args.token.as_deref(),
        watch: Config { targets, all_go: args.all_go, every: args.every, graphs: args.graph },
        may_take_heaps: args.allow_snapshots,
        may_take_traces: args.allow_traces,
    })?;
    for warning in service.store.warnings() {
        eprintln!("memsight: {warning}");
    }
    eprintln!("memsight: pages on {}, captures in {}", service.url, args.store.display());
    let signalled = service.signalled();
    let mut names = HashMap::new();
    while !signalled.load(Ordering::Relaxed) {
        if let Ok(event) = service.events.recv_timeout(Duration::from_millis(250)) {
            report(&event, &mut names, paint);
        }
    }
    eprintln!("memsight: stopping");
    service.stop()?;
    Ok(ExitCode::SUCCESS)
}

fn targets(args: &ServeArgs) -> Result<Vec<TargetSpec>, Failure> {
    let mut targets: Vec<TargetSpec> = args.pid.iter().map(|pid| TargetSpec::Pid(*pid)).collect();
    for spec in &targets {
        // A wrong pid would be watched in vain; names and URLs may come later.
        LiveTarget::attach(spec)?;
    }
    for pattern in &args.name {
        regex::Regex::new(pattern).map_err(Failure::usage)?;
        targets.push(TargetSpec::Name(pattern.clone()));
    }
    for url in &args.url {
        let spec = TargetSpec::parse(url).map_err(Failure::usage)?;
        if !matches!(spec, TargetSpec::Url(_)) {
            return Err(Failure::usage(format!("--url {url}: not a URL")));
        }
        targets.push(spec);
    }
    Ok(targets)
}

/// One line for what a person wants to know at once.
pub(crate) fn report(event: &Event, names: &mut HashMap<TargetId, String>, paint: Paint) {
    let time = jiff::Zoned::now().strftime("%H:%M:%S").to_string();
    let name = |names: &HashMap<TargetId, String>, id: &TargetId| {
        names.get(id).cloned().unwrap_or_else(|| format!("target {}", id.0))
    };
    let line = match event {
        Event::TargetFound { target, name, pid } => {
            let pid = pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default();
            names.insert(*target, format!("{name}{pid}"));
            format!("watching {name}{pid}")
        }
        Event::TargetEnded { target } => format!("{} has ended", name(names, target)),
        Event::Diagnosed { target, verdict, is_new: true, summary, .. } => {
            let word = verdict.as_str();
            let word = if verdict.is_leak() { paint.bad(word) } else { word.to_owned() };
            format!("{}: {word}: {summary}", name(names, target))
        }
        Event::Warning { text, .. } => paint.warn(text),
        _ => return,
    };
    eprintln!("{} {line}", paint.dim(&time));
}
