//! `memsight serve`.

use std::process::ExitCode;
use std::time::Duration;

use agent::config::Config;
use capture::LiveTarget;
use model::TargetSpec;
use render::paint::Paint;

use crate::args::ServeArgs;
use crate::failure::Failure;

/// Watches and serves until Ctrl-C.
pub(crate) fn run(args: &ServeArgs, paint: Paint) -> Result<ExitCode, Failure> {
    let config = config(args)?;
    if config.targets.watch.is_empty() && !config.targets.all_go {
        let failure = Failure::usage("nothing to watch");
        return Err(failure.next("give --pid, --name, --url or --all-go"));
    }
    super::agent::watch(&config, &|| self::config(args), args.repair, paint)
}

/// What the file says, and over it what the flags say.
fn config(args: &ServeArgs) -> Result<Config, Failure> {
    let mut config = match &args.config {
        Some(path) => Config::load(path).map_err(Failure::usage)?,
        None => Config::default(),
    };
    targets(args, &mut config.targets.watch)?;
    config.targets.all_go |= args.all_go;
    config.targets.graphs |= args.graph;
    config.web.allow_snapshots |= args.allow_snapshots;
    config.web.allow_traces |= args.allow_traces;
    config.web.allow_probes |= args.allow_probes;
    if args.token.is_some() {
        config.web.token.clone_from(&args.token);
    }
    let Config { web, store, global, .. } = &mut config;
    set(&mut web.listen, args.listen.as_ref());
    set(&mut store.path, args.store.as_ref());
    set(&mut store.keep, args.keep.as_ref());
    set(&mut store.keep_bytes, args.keep_bytes.as_ref());
    // Who gives no file wants to see something soon.
    let every = args.every.or(args.config.is_none().then_some(Duration::from_secs(10)));
    set(&mut global.profile_interval, every.as_ref());
    if args.config.is_none() {
        // Levels are cheap: several between two profiles.
        let fifth = global.profile_interval / 5;
        global.scrape_interval = fifth.clamp(Duration::from_millis(500), Duration::from_secs(10));
    }
    Ok(config)
}

fn set<T: Clone>(place: &mut T, value: Option<&T>) {
    if let Some(value) = value {
        place.clone_from(value);
    }
}

fn targets(args: &ServeArgs, targets: &mut Vec<TargetSpec>) -> Result<(), Failure> {
    for spec in args.pid.iter().map(|pid| TargetSpec::Pid(*pid)) {
        // A wrong pid would be watched in vain; names and URLs may come later.
        LiveTarget::attach(&spec)?;
        targets.push(spec);
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
    Ok(())
}
