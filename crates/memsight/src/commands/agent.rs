//! `memsight agent`, and the loop it shares with `serve`.

use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Duration;

use agent::Level;
use agent::config::Config;
use render::paint::Paint;

use crate::args::agent::AgentArgs;
use crate::failure::Failure;
use crate::log::{Line, Log};
use crate::service::Service;
use crate::supervisor::Supervisor;
use crate::terminal::print;

/// Watches as a file says.
pub(crate) fn run(args: &AgentArgs, paint: Paint) -> Result<ExitCode, Failure> {
    let Some(file) = &args.config else {
        print(example())?;
        return Ok(ExitCode::SUCCESS);
    };
    let config = config(file, args)?;
    if args.check_config {
        print(format!("{}: {}\n", file.display(), config.summary()))?;
        return Ok(ExitCode::SUCCESS);
    }
    watch(&config, &|| self::config(file, args), args.repair, paint)
}

/// What the package installs, with a store that needs no directory of the system's.
fn example() -> String {
    let installed = include_str!("../../../../packaging/memsight.yaml");
    installed.replace("path: /var/lib/memsight", "path: memsight-store")
}

fn config(file: &Path, args: &AgentArgs) -> Result<Config, Failure> {
    let mut config = Config::load(file).map_err(Failure::usage)?;
    if let Some(level) = args.log_level {
        config.log.level = level;
    }
    if let Some(format) = args.log_format {
        config.log.format = format;
    }
    Ok(config)
}

/// Watches until Ctrl-C or SIGTERM. `again` gives the configuration anew after a SIGHUP.
pub(crate) fn watch(
    config: &Config,
    again: &dyn Fn() -> Result<Config, Failure>,
    repair: bool,
    paint: Paint,
) -> Result<ExitCode, Failure> {
    let mut supervisor = Supervisor::from_env();
    let service = Service::start(config, repair)?;
    let mut log = Log::new(config.log, paint);
    for warning in service.store.warnings() {
        log.write(&Line::new(Level::Warn, "warning", warning));
    }
    let store = config.store.path.display();
    let text = format!("pages on {}, captures in {store}", service.url);
    log.write(&Line::new(Level::Info, "started", text));
    supervisor.ready(&config.summary());
    let (stop, reload, called) = (service.signalled(), service.hung_up(), service.called());
    while !stop.load(Ordering::Relaxed) {
        supervisor.alive();
        if let Ok(record) = service.events.recv_timeout(Duration::from_millis(250)) {
            log.event(&record);
        }
        if called.swap(false, Ordering::Relaxed) {
            service.call();
        }
        if reload.swap(false, Ordering::Relaxed) {
            supervisor.reloading();
            let line = match again() {
                Ok(config) => {
                    log.options = config.log;
                    supervisor.ready(&config.summary());
                    match service.reload(&config) {
                        Ok(()) => {
                            Line::new(Level::Info, "reloaded", "the configuration was read again")
                        }
                        Err(faults) => {
                            let text = format!("not all of it: {}", faults.join("; "));
                            Line::new(Level::Error, "reloaded", text)
                        }
                    }
                }
                Err(failure) => {
                    agent::Part::Config.failed();
                    let text = format!("the configuration stays as it was: {:#}", failure.error);
                    supervisor.ready("the new configuration is faulty");
                    Line::new(Level::Error, "reloaded", text)
                }
            };
            log.write(&line);
        }
    }
    supervisor.stopping();
    log.write(&Line::new(Level::Info, "stopping", "stopping"));
    service.stop()?;
    Ok(ExitCode::SUCCESS)
}
